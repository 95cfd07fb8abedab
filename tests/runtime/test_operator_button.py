"""The operator's button: it stops at once, stays stopped until it is released, and a replay repeats it."""

import io
import json
import threading

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


def test_a_press_holds_a_period_though_it_is_released_in_the_same_one():
    fake, button = Fake(), Button()

    def presses(now):
        button.press()
        button.release()
        fake.control_branch.obey(button, now)

    at(fake, (0.6, presses), (1.0, lambda now: fake.control_branch.release("operator", now)))
    assert not orders_between(fake, 0.6 + PERIOD_S, 1.0)
    assert orders_between(fake, 1.2, 3.0)


@pytest.mark.parametrize("name", ["policy", "operators", "operator ", ""])
def test_nobody_but_the_operator_takes_back_a_press_that_the_gate_has_not_seen(name):
    fake = Fake()
    fake.control_branch.press()
    with pytest.raises(InputError, match="released by the operator"):
        fake.control_branch.release(name, 0.0)
    assert fake.control_branch.stop is not None


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


def test_a_press_holds_a_period_though_an_older_stop_is_latched_and_released_in_the_same_one():
    """The older stop may be taken back, but not with it the press that came just before."""
    fake, button = Fake(), Button()

    def presses(now):
        assert fake.control_branch.state.stop is not None
        button.press()
        button.release()
        fake.control_branch.obey(button, now)

    control = fake.control_branch
    at(
        fake,
        (0.5, lambda now: control.press("an older one")),
        (0.8, presses),
        (1.2, lambda now: control.release("operator", now)),
    )
    assert not orders_between(fake, 0.5 + PERIOD_S, 1.2)
    assert orders_between(fake, 1.4, 3.0)


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


def test_the_keys_are_stop_release_pause_and_continue_and_whatever_else_is_typed_stops():
    button = Button()
    listen(button, io.StringIO("s\nr\np\nc\nhelp\n\n")).join()
    assert button.taken() == ["stop", "release", "pause", "resume", "stop", "stop"]
    assert button.taken() == []


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_a_stop_is_never_lost_however_often_is_pressed(count):
    button = Button()
    for _ in range(count):
        button.release()
    button.press()
    for _ in range(count):
        button.release()
    button.pause()
    taken = button.taken()
    assert "stop" in taken
    assert len(taken) <= 64
    assert count < 63 or taken[-1] != "pause" or "stop" in taken[:-1]


def test_words_that_are_too_many_release_nothing_after_a_stop_that_came_last():
    button = Button()
    for _ in range(64):
        button.release()
    button.press()
    assert button.taken() == ["stop"]


def undecodable():
    yield "r\n"
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


def dies():
    raise SystemExit  # what ends a thread without a word
    yield


DEATHS = {
    "its input has ended": lambda: io.StringIO("r\n"),
    "UnicodeDecodeError": undecodable,
    "what reads it has ended": dies,
}


@pytest.mark.parametrize("why", DEATHS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_key_that_nobody_hears_any_more_holds_the_needle(why):
    button = Button()
    listen(button, DEATHS[why]()).join()
    fake = Fake(clock=RealClock())
    fake.run(Pace(longest_s=0.6), button=button)
    assert not fake.robot.sent
    assert why in fake.control_branch.unheard
    said = [what["text"] for _, what in fake.notes.on("/event")]
    assert sum("the operator's stop key cannot be heard" in text for text in said) == 1
    assert fake.control_branch.held_because["fault"] > 5


def test_as_long_as_somebody_listens_all_is_well():
    button, waits = Button(), threading.Event()

    def lines():
        waits.wait(10.0)
        yield "s\n"

    thread = listen(button, lines())
    assert button.unheard is None
    waits.set()
    thread.join()
    assert button.unheard is not None
    assert Button().unheard is None


def test_pause_and_continue_by_the_button_latch_nothing_and_are_replayed(tmp_path):
    path, button = tmp_path / "run.mcap", Button()

    def deeds(fake):
        left = [(0.5, button.pause), (0.9, button.resume)]

        def watch(now, capture, observation):
            while left and now >= left[0][0]:
                left.pop(0)[1]()
            fake.control_branch.obey(button, now)

        return fake.run(PACE, watch=watch)

    fake = record(path, run=deeds)
    assert not orders_between(fake, 0.5 + PERIOD_S, 0.9)
    assert orders_between(fake, 1.0, 3.0)
    assert fake.control_branch.held_because["held"] > 30
    all_equal(again(path), fake)


def test_a_recording_that_does_not_say_which_scale_the_gate_was_told_is_not_equal(tmp_path):
    path = tmp_path / "run.mcap"
    record(path, run=lambda f: f.run(Pace(longest_s=0.3)))
    with pytest.MonkeyPatch.context() as patch:
        messages = RunReader.messages

        def older(self, *topics):
            for message in messages(self, *topics):
                if message.topic == "/tick":
                    message.what.pop("spacing")
                yield message

        patch.setattr(RunReader, "messages", older)
        done = again(path)
    assert not done.equal["verdict"]
    assert "it does not say which scale the gate was told" in done.lacks
