"""Questions to the detector: asked in a thread of their own, applied when they are due, stored with their answers."""

import copy
import pickle
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.inference.needle_detector import UNCALIBRATED, DetectorAnswer
from sonosteer.trackers import questions
from sonosteer.trackers.questions import DetectorDesk, Question, heard


def answer_of(column):
    """An answer with one tip."""
    cells = np.zeros((8, 30, 40), np.float32)
    cells[:2] = -8.0
    cells[1, 12, column] = 3.0
    return DetectorAnswer("whole", cells, (2.0, 2.0), corner_px=(0, 0), picture_px=320.0, calibration=UNCALIBRATED)


def question(frame_index, due_s, *, answered=True):
    future = Future()
    if answered:
        future.set_result(answer_of(10 + frame_index))
    return Question(frame_index, 0.05 * frame_index, due_s, (1.0, 2.0), (30.5, 20.0), 2, future)


ASKED = (question(2, 0.3), question(4, 0.4), question(6, 0.5))
WAITING = tuple(question(q.frame_index, q.due_s, answered=False) for q in ASKED)


def listen(asked, time_s, *, waits=True, applied=None, index=0):
    """(frame asked about of the answer that is applied, frames asked about of those left)."""
    now, left = heard(asked, time_s, waits=waits, applied=applied, index=index)
    return None if now is None else now.frame_index, [q.frame_index for q in left]


@pytest.mark.parametrize("asked", [ASKED, WAITING], ids=["there", "not there yet"])
def test_an_answer_is_applied_when_it_is_due_whether_or_not_it_is_there(asked):
    assert listen(asked, 0.29) == (None, [2, 4, 6])
    assert listen(asked, 0.3) == (2, [4, 6])
    assert listen(asked, 0.1 + 0.2) == (2, [4, 6])
    assert listen(asked, 9.0) == (2, [4, 6])
    assert listen(asked[1:], 9.0) == (4, [6])
    assert listen((), 9.0) == (None, [])


def test_live_nothing_is_waited_for():
    assert listen(WAITING, 9.0, waits=False) == (None, [2, 4, 6])
    assert listen(ASKED, 0.29, waits=False) == (None, [2, 4, 6])
    assert listen(ASKED, 0.3, waits=False) == (2, [4, 6])


def test_an_answer_that_comes_drops_older_questions():
    assert listen((WAITING[0], *ASKED[1:]), 9.0, waits=False) == (4, [6])


@pytest.mark.parametrize("waits", [True, False])
def test_what_was_recorded_is_applied_again_and_nothing_else(waits):
    applied = {7: 2, 13: 6}
    for index in (0, 6, 8, 12):
        assert listen(WAITING, 9.0, waits=waits, applied=applied, index=index) == (None, [2, 4, 6])
    assert listen(WAITING, 0.0, waits=waits, applied=applied, index=7) == (2, [4, 6])
    assert listen(WAITING[1:], 0.0, waits=waits, applied=applied, index=13) == (6, [])


class SlowFuture(Future):
    """Says when it is waited for."""

    def __init__(self):
        super().__init__()
        self.waited_for = threading.Event()

    def result(self, timeout=None):
        self.waited_for.set()
        return super().result(timeout)


@pytest.mark.parametrize("store", [pickle.dumps, copy.deepcopy])
def test_a_stored_question_waits_for_its_answer(store):
    future = SlowFuture()
    asked = Question(3, 0.15, 0.4, (1.0, 2.0), None, 1, future)
    stored = []
    thread = threading.Thread(target=lambda: stored.append(store(asked)))
    thread.start()
    assert future.waited_for.wait(60)
    assert stored == []
    future.set_result(answer_of(13))
    thread.join(60)
    [kept] = stored
    again = pickle.loads(kept) if isinstance(kept, bytes) else kept
    for name in ("frame_index", "time_s", "due_s", "moved_px", "tip_px", "targets"):
        assert getattr(again, name) == getattr(asked, name)
    assert again.future.done()
    assert again.future.result().needles == answer_of(13).needles
    assert len(again.future.result().needles) == 1


def test_an_answer_is_the_same_after_storing_whether_or_not_it_was_read():
    read, unread = answer_of(20), answer_of(20)
    assert len(read.needles) == 1
    for answer in (read, unread):
        again = pickle.loads(pickle.dumps(answer))
        assert again.needles == read.needles
        assert again.at((100.0, 60.0)) == read.at((100.0, 60.0))


class Watched:
    """A detector that says what it was shown, and by which thread."""

    made = 0

    def __init__(self, model, *, threads):
        type(self).made += 1
        self.model, self.threads = model, threads

    def look(self, pixels, earlier):
        return pixels, earlier, threading.current_thread().name


def test_the_detector_is_loaded_once_when_it_is_needed_and_works_in_one_thread(monkeypatch):
    monkeypatch.setattr(questions, "NeedleDetector", Watched)
    monkeypatch.setattr(Watched, "made", 0)
    desk = DetectorDesk("mine", 2)
    assert Watched.made == 0
    now, earlier = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    said = [desk.ask(now, before).result() for before in (earlier, None)]
    assert Watched.made == 1
    assert (desk.detector.model, desk.detector.threads) == ("mine", 2)
    assert [s[0] is now for s in said] == [True, True]
    assert said[0][1] is earlier
    assert said[1][1] is None
    assert {s[2] for s in said} == {"needle-detector_0"}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda desk: pickle.loads(pickle.dumps(desk))])
def test_a_copy_of_a_desk_loads_the_same_detector_anew(monkeypatch, again):
    monkeypatch.setattr(questions, "NeedleDetector", Watched)
    desk = DetectorDesk("mine", 3)
    desk.ask(np.zeros((4, 4), np.uint8), None).result()
    other = again(desk)
    assert other.detector is not desk.detector
    assert (other.detector.model, other.detector.threads) == ("mine", 3)


def test_a_detector_that_is_not_there_is_one_line_where_it_is_asked():
    with pytest.raises(InputError, match="there is no model 'nowhere'"):
        DetectorDesk("nowhere", 1).ask(np.zeros((4, 4), np.uint8), None)
