"""The operator frees a needle whose tip is lost: a press moves it a little, on its own way, through the gate."""

import numpy as np
import pytest
from fake_rig import Fake, FakeTracker, act
from test_replay import PACE, again, all_equal, record

from sonosteer.core.types import Lost
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.button import Button
from sonosteer.runtime.by_hand import STEP_S, HandMotion
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.gate import Refused
from sonosteer.safety.limits import Limits

LIMITS = Limits()


class LostFrom(FakeTracker):
    """Sees the tip in its first frames only."""

    def step(self, state, frame):
        state, said = super().step(state, frame)
        return state, said if frame.index < 20 else Lost(frame.index, frame.time_s, "hidden")


def driven(*presses, say=lambda k, seen: act(seen, 10.0), longest_s=6.0, **more):
    """A run whose tip is lost after 0.8 s, with presses of keys (time, word). Returns it and the depths."""
    fake, button, left, depths = Fake(say, tracker=LostFrom(), **more), Button(), list(presses), []

    def watch(now, capture, seen):
        while left and now >= left[0][0]:
            getattr(button, left.pop(0)[1])()
        fake.control_branch.obey(button, now)
        depths.append((now, fake.needle.depth_mm))

    fake.run(Pace(longest_s=longest_s, patience_s=9.0), watch=watch)
    return fake, np.array(depths)


def depth_at(depths, time_s):
    return float(np.interp(time_s, depths[:, 0], depths[:, 1]))


def reasons(fake):
    return [what["verdict"].reason for _, what in fake.notes.on("/tick") if isinstance(what["verdict"], Refused)]


def test_nothing_moves_by_hand_unless_the_operator_asks():
    fake, depths = driven()
    assert not any(what["by_hand"] for _, what in fake.notes.on("/tick"))
    assert depth_at(depths, 5.9) == depth_at(depths, 2.0)


def test_a_press_moves_a_needle_whose_tip_is_lost_a_millimetre_at_most():
    _, depths = driven((2.0, "back"), (4.0, "forth"))
    drawn = depth_at(depths, 2.0) - depth_at(depths, 3.5)
    assert 0.5 < drawn <= LIMITS.unseen_mm_s * (STEP_S + 0.15)
    assert 0.5 < depth_at(depths, 5.5) - depth_at(depths, 3.5) <= drawn
    assert np.abs(np.diff(depths[200:, 1])).max() <= LIMITS.unseen_mm_s * 0.01 + 1e-9


def test_by_hand_it_goes_no_further_than_3_mm_and_no_deeper_than_it_has_been():
    many = [(2.0 + 0.3 * k, "back") for k in range(20)]
    fake, depths = driven(*many, longest_s=9.0)
    assert 2.0 < depth_at(depths, 2.0) - depths[-1, 1] <= LIMITS.unseen_mm
    assert any("way by hand while the tip is lost" in said for said in reasons(fake))
    fake, depths = driven((2.0, "forth"))
    assert depths[-1, 1] <= depth_at(depths, 2.0) + 0.05
    assert any("depth by hand while the tip is lost" in said for said in reasons(fake))


@pytest.mark.parametrize("word", ["press", "pause"])
def test_who_stops_or_pauses_moves_nothing_by_hand_either(word):
    _, depths = driven((1.9, word), (2.0, "back"))
    assert depths[-1, 1] == depth_at(depths, 1.9)


def test_while_the_tip_is_seen_a_press_is_under_the_rules_of_every_order():
    fake = Fake(lambda k, seen: act(seen, 0.0), limits=Limits(depth_mm=(19.5, 180.0)))
    fake.control_branch.drive("back", 0.0)
    fake.control_branch.hand = HandMotion("back", 3.0)
    fake.run(Pace(longest_s=3.0, patience_s=9.0))
    assert 19.5 <= fake.needle.depth_mm < 20.0


def test_before_the_first_estimate_and_after_the_moment_there_is_no_motion_by_hand():
    fake = Fake()
    motion = HandMotion("forth", 1.0)
    robot_state = fake.needle.robot_state()

    def ask(now_s, estimate):
        return motion.action(now_s, LIMITS, estimate=estimate, robot_state=robot_state, kept_rad=None)

    assert ask(0.5, None) is None
    assert ask(1.0, Lost(3, 0.9, "hidden")) is None
    wanted = ask(0.5, Lost(3, 0.4, "hidden"))
    assert (wanted.frame_index, wanted.capture_time_s) == (3, 0.4)
    assert wanted.command.insertion_angle_rad == robot_state.insertion_angle_rad


def test_motion_by_hand_is_recorded_and_a_replay_repeats_it(tmp_path):
    path, left = tmp_path / "run.mcap", [(1.5, "back"), (2.4, "forth")]

    def run(fake):
        def watch(now, capture, seen):
            while left and now >= left[0][0]:
                fake.control_branch.drive(left.pop(0)[1], now)

        return fake.run(PACE, watch=watch)

    fake = record(path, run=run, tracker=LostFrom())
    ticks = [message.what for message in RunReader(path).messages("/tick")]
    assert sum(what["hand"] is not None and "rule" not in what["verdict"] for what in ticks) > 50
    all_equal(again(path, tracker=LostFrom()), fake)
