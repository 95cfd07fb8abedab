"""The worker: does one thing after another, leaves off when told, and is started again when it dies."""

import queue

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.jobs import Jobs
from sonosteer.console.worker import ClipPlace, OverlayWork, ScreenWork, TrackWork
from sonosteer.core.types import Hint

PATIENCE_S = 240


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return b.write_clip(tmp_path_factory.mktemp("clip") / "spot.mp4", [b.dot()] * 400)


class Told:
    """Runs what the jobs call in this thread, and keeps the news."""

    def __init__(self):
        self.calls, self.news = queue.Queue(), []
        self.jobs = Jobs(self.calls.put)

    def heard(self, job, news, more):
        self.news.append((job.number, news, more))

    def put(self, work):
        return self.jobs.put("work", work, self.heard).number

    def until(self, number, *names):
        while True:
            found = next((n for n in self.news if n[0] == number and n[1] in names), None)
            if found is not None:
                return found
            self.calls.get(timeout=PATIENCE_S)()


@pytest.fixture
def told():
    made = Told()
    yield made
    made.jobs.close()


def test_a_clip_is_tracked_in_order_and_a_second_piece_waits(told, clip):
    one = told.put(TrackWork(clip=ClipPlace(str(clip), None), method="auto", hint=Hint(), first=380))
    two = told.put(ScreenWork(ClipPlace(str(clip), None)))
    assert told.until(two, "done", "failed")[1] == "done"
    rows = [e.frame_index for n, news, more in told.news if (n, news) == (one, "rows") for e in more[0]]
    assert rows == list(range(380, 400))
    order = [(n, news) for n, news, _ in told.news if news in ("begun", "done")]
    assert order == [(one, "begun"), (one, "done"), (two, "begun"), (two, "done")]


def test_work_that_is_told_to_leave_off_does_and_the_next_goes_on(told, clip, tmp_path):
    one = told.put(OverlayWork(ClipPlace(str(clip), None), tmp_path / "overlay.mp4", {}, {}))
    waits = told.put(ScreenWork(ClipPlace(str(clip), None)))
    last = told.put(ScreenWork(ClipPlace(str(clip), None)))
    told.until(one, "progress")
    assert told.jobs.leave_off(waits)
    assert told.jobs.leave_off(one)
    assert told.until(one, "left off", "done")[1] == "left off"
    assert told.until(last, "done", "failed")[1] == "done"
    assert [news for n, news, _ in told.news if n == waits] == ["waits", "left off"]
    assert not told.jobs.leave_off(last)


def test_a_worker_that_dies_is_said_and_started_again(told, clip):
    one = told.put(TrackWork(clip=ClipPlace(str(clip), None), method="auto", hint=Hint(), first=0))
    told.until(one, "progress", "rows")
    told.jobs._process.kill()
    _, news, more = told.until(one, "failed", "done")
    assert (news, "exit code -9" in more[0]) == ("failed", True)
    two = told.put(ScreenWork(ClipPlace(str(clip), None)))
    assert told.until(two, "done", "failed")[1] == "done"


def test_wrong_input_is_one_line(told, clip):
    unknown = told.put(TrackWork(clip=ClipPlace(str(clip), None), method="kf+f", hint=Hint(), first=0))
    _, news, more = told.until(unknown, "failed", "done")
    assert news == "failed"
    assert "scale is unknown" in more[0]
    gone = told.put(ScreenWork(ClipPlace("/nowhere/clip.mp4", None)))
    assert "does not exist" in told.until(gone, "failed", "done")[2][0]
