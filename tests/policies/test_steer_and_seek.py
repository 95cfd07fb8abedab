"""`steer` turns the bevel over where it would miss; `seek` looks across the plane for a tip it sees badly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane import Lane, run, task

from sonosteer.core.errors import InputError
from sonosteer.core.types import Track
from sonosteer.policies.hold import HoldPolicy
from sonosteer.policies.principle import Principle
from sonosteer.policies.seek import Seek
from sonosteer.policies.steer import Steer, event_points
from sonosteer.policies.visibility import Visibility

NO_TURN_OF_THE_NEEDLE = Visibility(Principle(max_turn_rad=0.0))


class Bent(Lane):
    """A needle whose bevel pulls it aside: towards the probe at roll 0, away from it at half a turn."""

    curvature_per_mm = 1e-3
    heading_rad = 0.0
    aside_mm = 0.0

    @property
    def tip_mm(self):
        x, z = super().tip_mm
        c, s = math.cos(self.angle_rad), math.sin(self.angle_rad)
        return x - self.side * self.aside_mm * s, z + self.aside_mm * c

    def move(self, action, dt_s=0.1):
        before = self.depth_mm
        super().move(action, dt_s)
        way = self.depth_mm - before
        self.aside_mm += self.heading_rad * way
        self.heading_rad -= self.curvature_per_mm * math.cos(self.roll_rad) * way


@given(st.floats(-2e-3, 2e-3), st.floats(-0.1, 0.1), st.floats(10, 80), st.floats(-5, 5))
def test_turned_over_now_and_never_are_mirror_images(pull, slope, left, across):
    over = event_points(pull, slope, left, across)
    under = event_points(-pull, -slope, left, -across)
    assert over == pytest.approx(under, abs=1e-9)


def test_a_bevel_turned_over_in_good_time_ends_on_the_line():
    left, pull = 60.0, 1e-3
    never, best = event_points(pull, 0.0, left, 0.0, 200)[-1], min(event_points(pull, 0.0, left, 0.0, 200))
    assert never == pytest.approx(0.5 * pull * left**2, rel=0.01)
    assert best < 0.02


@pytest.mark.parametrize("enters", ["left", "right"])
@pytest.mark.parametrize("roll", [0.0, math.pi])
def test_a_bent_needle_comes_nearer_to_the_target_with_turns_of_the_bevel(enters, roll):
    misses = []
    for policy in (NO_TURN_OF_THE_NEEDLE, Steer(NO_TURN_OF_THE_NEEDLE)):
        lane = Bent(task(enters=enters, along_mm=70.0), roll_rad=roll)
        actions, _ = run(policy, lane)
        assert actions[-1].command.stop
        misses.append(lane.miss_mm)
    assert misses[0] > 2.0
    assert misses[1] < 0.5 * misses[0]


def test_turns_are_few_half_and_there_and_back():
    lane = Bent(task(along_mm=120.0), roll_rad=0.0)
    actions, _ = run(Steer(NO_TURN_OF_THE_NEEDLE), lane)
    rolls = [a.command.roll_rad for a in actions]
    assert len(set(np.round(np.abs(np.diff(rolls)), 6))) <= 2
    assert set(np.round(rolls, 3)) <= {0.0, 3.142}
    assert sum(np.abs(np.diff(rolls)) > 1) <= Steer().max_turns


def test_a_bevel_is_not_turned_while_the_tip_is_not_seen():
    lane = Bent(task(along_mm=70.0), roll_rad=0.0, state=Track.COASTING)
    actions, _ = run(Steer(NO_TURN_OF_THE_NEEDLE), lane, steps=80)
    assert {a.command.roll_rad for a in actions} == {0.0}


def out_of_plane(lane):
    """Visibility falls with the probe's distance from a needle at y = 2.5 mm."""
    lane.visible = 0.05 + 0.9 * math.exp(-(((lane.probe_mm[1] - 2.5) / 1.5) ** 2))


@pytest.mark.parametrize("first_y", [-1.5, 0.0, 6.0])
def test_the_probe_finds_the_plane_in_which_the_tip_is_seen(first_y):
    lane = Lane(task(along_mm=60.0), probe_mm=(0.0, first_y, 0.0))
    run(Seek(), lane, change=out_of_plane)
    assert abs(lane.probe_mm[1] - 2.5) < 1.5
    assert lane.miss_mm < 2.0


def test_it_searches_while_the_tip_is_lost_and_the_needle_rests():
    def hidden(lane):
        out_of_plane(lane)
        lane.state = Track.TRACKING if lane.visible > 0.4 else Track.LOST

    lane = Lane(task(along_mm=40.0))
    actions, _ = run(Seek(), lane, change=hidden)
    assert actions[-1].command.stop
    first = next(k for k, a in enumerate(actions) if a.command.insertion_speed_mm_s > 0)
    assert first > 5
    assert any(a.command.probe_velocity_mm_s[1] != 0 for a in actions[:first])


def test_what_is_seen_well_is_left_alone():
    plain, _ = run(Visibility(), Lane())
    seeking, _ = run(Seek(), Lane())
    assert plain == seeking


def test_travel_and_speed_are_bounded_and_a_vain_search_ends_where_it_was_best():
    policy = Seek(max_travel_mm=(4.0, 3.0, 0.8))
    lane = Lane(task(along_mm=200.0), visible=0.1)
    places = []

    def note(lane):
        places.append(lane.probe_mm)

    actions, _ = run(policy, lane, steps=300, change=note)
    for axis in range(3):
        assert max(abs(place[axis]) for place in places) <= policy.max_travel_mm[axis] + 0.3
        assert max(abs(place[axis]) for place in places) > 0.5 * policy.max_travel_mm[axis]
        assert max(abs(a.command.probe_velocity_mm_s[axis]) for a in actions) <= policy.probe_mm_s[axis]
    assert any(
        a.command.probe_velocity_mm_s[1] == 0.0 and a.command.insertion_speed_mm_s > policy.max_speed_mm_s
        for a in actions[5:]
    )


def test_the_needle_is_slow_while_the_probe_searches():
    lane = Lane(task(along_mm=100.0), visible=0.1)
    actions, _ = run(Seek(), lane, steps=40)
    assert all(a.command.insertion_speed_mm_s <= 2.0 for a in actions if a.command.probe_velocity_mm_s[1] != 0.0)


def test_any_policy_can_be_wrapped_by_name_or_as_it_is():
    assert Seek("hold").policy == Seek(HoldPolicy()).policy
    lane = Lane(visible=0.1)
    actions, _ = run(Seek("hold"), lane, steps=20)
    assert lane.depth_mm == 10.0
    assert any(a.command.probe_velocity_mm_s[1] != 0.0 for a in actions)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="there is no policy"):
        Seek("nobody")
    with pytest.raises(InputError, match="step_mm"):
        Seek(step_mm=(0.0, 1.0, 1.0))
    with pytest.raises(InputError, match="kappa_sd_per_mm"):
        Steer(kappa_sd_per_mm=0.0)
