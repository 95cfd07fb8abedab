"""The operator's button: it stops at once, stays stopped until it is released, and a replay repeats it."""

import io
import json

import pytest
from fake_rig import Fake
from test_replay import PACE, again, all_equal, record

from sonosteer.core.clock import RealClock
from sonosteer.core.errors import InputError
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.button import Button, listen
from sonosteer.runtime.insertion import Pace

PERIOD_S = 0.01


def at(fake, *deeds):
    """Run with these (time, what to do) in the hand's own thread."""
    left = list(deeds)

    def watch(now, capture, observation):
        while left and now >= left[0][0]:
            left.pop(0)[1](now)

    return fake.run(PACE, watch=watch)


def orders_between(fake, begin_s, end_s):
    return [t for t in fake.robot.sent if begin_s < t.time_s < end_s]


def test_nothing_moves_from_the_press_to_the_release_and_all_of_it_after():
    fake = Fake()
    at(
        fake,
        (0.6, lambda now: fake.control_branch.press()),
        (1.4, lambda now: fake.control_branch.release("operator", now)),
    )
    assert orders_between(fake, 0.3, 0.6)
    assert not orders_between(fake, 0.6 + PERIOD_S, 1.4)
    assert orders_between(fake, 1.6, 3.0)
    assert fake.control_branch.held_because["stopped"] > 50


def test_a_stop_stays_without_a_release():
    fake = Fake()
    at(
        fake,
        (0.6, lambda now: fake.control_branch.press()),
        (1.0, lambda now: setattr(fake.control_branch, "stop", None)),
    )
    assert not orders_between(fake, 0.6 + PERIOD_S, 3.0)


def test_nobody_but_the_operator_releases():
    fake = Fake()

    def policy_tries(now):
        with pytest.raises(InputError, match="not by 'policy'"):
            fake.control_branch.release("policy", now)

    at(fake, (0.6, lambda now: fake.control_branch.press()), (1.0, policy_tries))
    assert fake.control_branch.stop is not None
    assert not orders_between(fake, 0.6 + PERIOD_S, 3.0)


def test_press_and_release_are_replayed_and_a_release_left_out_is_found(tmp_path):
    path = tmp_path / "run.mcap"
    deeds = [
        (0.5, lambda f, now: f.control_branch.press()),
        (0.9, lambda f, now: f.control_branch.release("operator", now)),
    ]
    fake = record(path, run=lambda f: at(f, *[(t, lambda now, d=d: d(f, now)) for t, d in deeds]))
    assert orders_between(fake, 1.2, 3.0)
    all_equal(again(path), fake)
    said = [m.what for m in RunReader(path).messages("/event")]
    assert any(what.get("released_by") == "operator" for what in said)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonosteer.runtime.replay.RELEASED_BY", "something else")
        assert again(path).first is not None


def test_a_live_hand_obeys_the_button_pressed_in_another_thread():
    button = Button()
    fake = Fake(clock=RealClock())
    button.press()
    run = fake.run(Pace(longest_s=0.6), button=button)
    assert run.ended
    assert not fake.robot.sent
    assert fake.control_branch.held_because["stopped"] > 0


def test_a_release_that_is_not_possible_is_said_and_changes_nothing():
    fake = Fake()
    button = Button()
    fake.run(PACE)
    fake.control_branch.press()
    fake.control_branch.tick(3.1, None)
    button.release()
    fake.control_branch.obey(button, 0.5)  # before the stop
    assert fake.control_branch.state.stop is not None
    assert "not released" in json.dumps([what["text"] for _, what in fake.notes.on("/event")])


def test_the_keys_are_stop_and_release_and_whatever_else_is_typed_stops():
    button = Button()
    listen(button, io.StringIO("s\nr\nhelp\n\n")).join()
    assert button.taken() == ["stop", "release", "stop", "stop"]
    assert button.taken() == []
