"""The clip room without a browser: what tabs are told, and what is written."""

import asyncio

import browser as b
import numpy as np
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.clip_frames import ClipFrames
from sonosteer.console.clip_room import ClipRoom, OpenedClip
from sonosteer.console.label_book import LabelBook
from sonosteer.console.words import Export, LayRuler, PlaceLabel, StartTrack, TypeScale, Undo
from sonosteer.console.worker import DataSetWork, TrackWork
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Lost, TipEstimate, Track
from sonosteer.recording.tips import read_tips
from sonosteer.sources.opening import open_source


class FakeJobs:
    """Takes work down, and lets the test say what comes of it."""

    def __init__(self):
        self.work = []

    def put(self, name, work, heard):
        job = type(
            "Job", (), {"number": len(self.work) + 1, "name": name, "work": work, "heard": staticmethod(heard)}
        )()
        self.work.append(job)
        heard(job, "waits", ())
        return job


class Tab:
    def __init__(self, name="a"):
        self.name, self.told = name, []

    def tell(self, said):
        self.told.append(said)

    def last(self, t):
        return [m for m in self.told if m["t"] == t][-1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return b.write_clip(tmp_path_factory.mktemp("clip") / "spot.mp4", [b.dot()] * 20)


@pytest.fixture
def room(clip, tmp_path):
    frames = ClipFrames(open_source(clip))
    book = LabelBook(tmp_path, frames.info, today=lambda: "today")
    made = ClipRoom(OpenedClip(str(clip), 0, tmp_path, "run"), frames, book, FakeJobs(), formats=("coco",))
    made.tab = Tab()
    made.tabs.add(made.tab)
    return made


def say(room, *words):
    async def run():
        for word in words:
            await room.hear(room.tab, word)
        return room.tab.last("said")

    return asyncio.run(run())


def tip(frame, x):
    place = (float(x), 50.0)
    return TipEstimate(frame, frame / 20, place, 0.5, None, 0.9, Track.TRACKING, (0.0, 0.0), covariance_px2=np.eye(2))


def finish(room, rows):
    job = room.jobs.work[-1]
    job.heard(job, "begun", ())
    job.heard(job, "rows", (rows,))
    job.heard(job, "done", ({"timing": {"median_ms": 3.0}},))


def test_a_new_tab_is_told_everything(room):
    say(room, PlaceLabel(1, 3, (10.0, 20.0), 0), StartTrack(id=2, method="auto"))
    finish(room, [tip(i, i) for i in range(20)])
    late = Tab("b")
    room.hello(late)
    assert late.last("hello")["clip"]["frames"] == 20
    assert late.last("labels")["labels"] == [[3, [10.0, 20.0], 1]]
    assert late.last("track")["median_ms"] == 3.0
    assert [row[0] for row in late.last("rows")["rows"]] == list(range(20))
    assert late.last("scale")["spacing_mm"] is None


def test_every_tab_hears_of_a_label_and_an_undo(room):
    other = Tab("b")
    room.tabs.add(other)
    say(room, PlaceLabel(1, 3, (10.0, 20.0), 0))
    assert other.last("label")["tip"] == [10.0, 20.0]
    say(room, Undo(2))
    assert (other.last("label")["tip"], other.last("label")["revision"]) == (None, 0)
    late = Tab("c")
    room.hello(late)
    assert late.last("labels")["labels"] == [[3, None, 0]]


def test_a_track_from_here_changes_later_frames_only(room):
    say(room, StartTrack(id=1, method="auto"))
    finish(room, [tip(i, i) for i in range(20)])
    say(room, StartTrack(id=2, method="auto", first=12, start=(300.0, 50.0), into="auto"))
    work = room.jobs.work[-1].work
    assert isinstance(work, TrackWork)
    assert (work.first, work.hint.start_px) == (12, (300.0, 50.0))
    finish(room, [tip(i, 300 + i) for i in range(12, 20)])
    found = [room.tracks["auto"].estimates[i].tip_px[0] for i in range(20)]
    assert found == [*range(12), *range(312, 320)]


def test_a_track_that_never_began_is_gone_with_its_reason(room):
    say(room, StartTrack(id=1, method="kf+f"))
    job = room.jobs.work[-1]
    job.heard(job, "begun", ())
    job.heard(job, "failed", ("no scale",))
    assert room.tracks == {}
    assert room.tab.last("job")["says"] == "no scale"
    assert room.tab.last("forgot")["track"] == "kf+f"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (StartTrack(id=1, method="os:system"), "no tracking method"),
        (StartTrack(id=1, method="auto", first=20), "no frame 20"),
        (StartTrack(id=1, method="auto", angle_deg=(50.0, 40.0)), "LOW:HIGH"),
        (StartTrack(id=1, method="auto", into="gone"), "no track gone"),
        (PlaceLabel(1, 99, "hidden", 0), "no frame 99"),
        (LayRuler(1, (0.0, 0.0), (3.0, 0.0), 10.0), "too short"),
        (LayRuler(1, (0.0, 0.0), (30.0, 0.0), 0.0), "too short"),
        (TypeScale(1, (0.0, 1.0)), "positive"),
        (Export(1, "tips"), "no track to export"),
        (Export(1, "data set"), "no label"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_a_reason(room, word, why):
    said = say(room, word)
    assert said["ok"] is False
    assert why in said["reason"]


def test_the_ruler_gives_the_scale_and_work_gets_it(room):
    say(room, LayRuler(1, (10.0, 10.0), (10.0, 110.0), 20.0), StartTrack(id=2, method="auto"))
    assert room.tab.last("scale")["spacing_mm"] == [0.2, 0.2]
    assert "20 mm = 100.0 px" in room.tab.last("scale")["how"]
    assert room.jobs.work[-1].work.clip.spacing == Spacing(0.2, 0.2)
    say(room, TypeScale(3, None))
    assert room.tab.last("scale")["given"] is False


def test_tips_have_a_row_for_every_frame(room, tmp_path):
    say(room, StartTrack(id=1, method="auto"))
    finish(room, [tip(3, 30), Lost(4, 0.2, "no")])
    said = say(room, Export(2, "tips", "auto"))
    rows = read_tips(tmp_path / "tips-auto.csv")
    assert said["file"] == str(tmp_path / "tips-auto.csv")
    assert [r.frame for r in rows] == list(range(20))
    assert [r.state for r in rows].count("tracking") == 1
    assert rows[3].tip_px == (30.0, 50.0)


def test_a_data_set_needs_labels_and_a_scale_and_names_the_marks(room, tmp_path):
    say(room, PlaceLabel(1, 3, (10.0, 20.0), 0))
    assert "give the scale" in say(room, Export(2, "data set"))["reason"]
    say(room, TypeScale(3, (0.1, 0.1)))
    assert "no format" in say(room, Export(4, "data set", form="none"))["reason"]
    assert say(room, Export(5, "data set", form="coco"))["ok"]
    work = room.jobs.work[-1].work
    assert isinstance(work, DataSetWork)
    assert (work.marks, work.out) == (tmp_path / "labels.csv", tmp_path / "data-set-coco")
