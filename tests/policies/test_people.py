"""`operator` and `expert`: people who see late, tremble, hesitate and look away."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane import Lane, run, task

from sonosteer.core.errors import InputError
from sonosteer.core.types import Track
from sonosteer.policies.expert import OPERATOR_MODELS, Expert
from sonosteer.policies.noise import DRIFT_S, TREMOR_S, lapse, wave
from sonosteer.policies.simulated_operator import BY_HAND, SimulatedOperator
from sonosteer.policies.simulated_person import OperatorModel, SimulatedPerson

STEADY_HAND = OperatorModel(offset_sd_mm=0.0, speed_sd_fraction=0.0)


def runs(build, seeds=range(12), **lane):
    return [run(build(seed), Lane(task(**lane), noise_mm=0.2)) for seed in seeds]


def test_nothing_is_done_before_the_first_look_was_taken_in():
    actions, _ = run(SimulatedOperator(), Lane(), steps=4)
    assert [a.command.insertion_speed_mm_s > 0 for a in actions] == [False, False, False, True]


def test_the_hand_goes_on_for_a_reaction_time():
    policy, lane = Wrapped(OperatorModel(offset_sd_mm=0.0, speed_sd_fraction=0.0, delay_s=0.25)), Lane()

    def lose(lane):
        lane.state = Track.LOST if lane.time_s > 0.95 else Track.TRACKING

    actions, _ = run(policy, lane, steps=20, change=lose)
    pushed = [a.capture_time_s for a in actions if a.command.insertion_speed_mm_s > 0]
    assert max(pushed) == pytest.approx(1.2)


class Wrapped(SimulatedPerson):
    """A person as a policy."""

    def prepare(self):
        pass


def test_the_same_seed_is_the_same_person_and_another_is_another():
    one, again, other = (run(SimulatedOperator(seed=s), Lane())[0] for s in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_hand_trembles_wanders_and_leaves_the_plane_and_a_robot_does_not():
    (hand, by_hand), (controls, by_robot) = (
        run(build, Lane(task(along_mm=80.0)), until_stop=False, steps=60)
        for build in (SimulatedOperator(seed=3), Expert(seed=3))
    )
    assert np.std([a.command.probe_velocity_mm_s[1] for a in hand]) > 0.2
    assert abs(by_hand.probe_mm[1]) > 0.0
    assert all(a.command.probe_velocity_mm_s[1] == 0.0 for a in controls)
    assert by_robot.probe_mm[1] == 0.0
    turn = [np.std(np.diff([a.command.insertion_angle_rad for a in actions])) for actions in (hand, controls)]
    assert turn[0] > turn[1]


def test_an_operator_mostly_arrives_and_not_as_exactly_as_an_expert():
    hands, experts = runs(lambda s: SimulatedOperator(seed=s)), runs(lambda s: Expert("careful", seed=s))
    assert all(actions[-1].command.stop for actions, _ in (*hands, *experts))
    by_hand, by_expert = ([lane.miss_mm for _, lane in group] for group in (hands, experts))
    assert np.mean(np.array(by_hand) < 5.0) >= 0.8
    assert max(by_expert) < 3.0
    assert np.mean(by_expert) < np.mean(by_hand)


def test_experts_differ_in_pace():
    times = {
        m: np.mean([lane.time_s for _, lane in runs(lambda s, m=m: Expert(m, seed=s), range(5))])
        for m in OPERATOR_MODELS
    }
    assert times["careful"] > times["steady"] > times["quick"]


def test_an_expert_slows_where_the_tip_is_seen_badly():
    well, badly = (run(Expert(seed=1), Lane(visible=v))[1].time_s for v in (0.95, 0.3))
    assert badly > 1.5 * well


def test_hesitations_rest_and_lapses_do_not_look():
    pauses = dataclasses.replace(STEADY_HAND, pause_every_s=2.0, pause_s=(0.5, 0.5))
    actions, _ = run(Wrapped(pauses), Lane(task(along_mm=80.0)))
    rests = sum(a.command.insertion_speed_mm_s == 0 for a in actions[5:-1])
    assert rests >= 5
    lapses = dataclasses.replace(STEADY_HAND, lapse_every_s=4.0, lapse_s=(1.5, 1.5))
    _, absent = run(Wrapped(lapses), Lane(task(along_mm=20.0)))
    _, awake = run(Wrapped(STEADY_HAND), Lane(task(along_mm=20.0)))
    assert awake.miss_mm < 1.5
    assert absent.miss_mm > awake.miss_mm


@given(st.integers(0, 2**40), st.integers(0, 9), st.floats(-100, 1000))
def test_chance_is_a_function_of_time(seed, channel, time_s):
    assert wave(seed, channel, time_s, DRIFT_S) == wave(seed, channel, time_s, DRIFT_S)
    assert abs(wave(seed, channel, time_s, TREMOR_S)) <= 3.0


def test_a_wave_has_a_deviation_of_one():
    values = [wave(seed, 0, t, DRIFT_S) for seed in range(40) for t in np.arange(0.0, 30.0, 0.5)]
    assert np.std(values) == pytest.approx(1.0, abs=0.05)
    assert np.mean(values) == pytest.approx(0.0, abs=0.1)


def test_spells_take_their_share_of_the_time():
    times = np.arange(0.0, 600.0, 0.01)
    share = np.mean([lapse(4, 6, t, every_s=6.0, lasts_s=(0.2, 0.6)) for t in times])
    assert share == pytest.approx(0.4 / 6.0, abs=0.01)
    assert not any(lapse(4, 6, t, every_s=0.0, lasts_s=(0.2, 0.6)) for t in times[:100])


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="there is no expert called 'lazy'"):
        Expert("lazy")
    with pytest.raises(InputError, match="seed is -1"):
        SimulatedOperator(seed=-1).start(task())
    with pytest.raises(InputError, match="pause_s"):
        dataclasses.replace(BY_HAND, pause_s=(1.0, 0.5))
