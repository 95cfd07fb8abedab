"""Data sets: made, interrupted, described, read, exported, imported; and the samples drawn from them."""

import csv
import dataclasses
import errno
import json
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.datasets import make_videos as making
from sonosteer.datasets.card import choose_frames, describe
from sonosteer.datasets.crops import Augmentation, Sampler
from sonosteer.datasets.exporting import angle_rad, export_set
from sonosteer.datasets.importing import counts, import_frames
from sonosteer.datasets.make_videos import make_video_set, plan_videos
from sonosteer.datasets.videos import (
    BOX_MM,
    FRAMES_FILE,
    DataSet,
    Entry,
    FramesWriter,
    Label,
    LabelWriter,
    Video,
    write_index,
)
from sonosteer.imaging.crops import crop
from sonosteer.recording.clips import MetaImageWriter
from sonosteer.recording.truths import read_truth
from sonosteer.sim.scenes import make_scene
from sonosteer.sources.opening import open_source


def silent(what, done, total):
    pass


def small(name, videos, seed):
    """Short, small scenes instead of those of a set."""
    look = {"end_rest_frames": 0, "width_px": 96, "height_px": 96, "spacing_mm": 0.4}
    return [
        (f"{k:03d}-short", make_scene("in-plane-linear/train", seed + k, speed_mm_s=60.0, end_mm=30.0, **look))
        for k in range(videos)
    ]


def hurried(name, videos, seed):
    """The scenes of a set, in a quarter of the frames."""
    less = {"speed_mm_s": 80.0, "rest_frames": 2, "end_rest_frames": 4}
    return [(n, dataclasses.replace(scene, **less)) for n, scene in plan_videos(name, videos, seed)]


def made(out, *, videos, name="d-encoder", seed=0, executor="serial", progress=silent):
    return make_video_set(name, out=out, videos=videos, seed=seed, executor=executor, progress=progress)


def files(folder):
    """Bytes of all frames and labels."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.glob("videos/*/*"))}


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    """The smallest d-track with less rest and a faster needle, and what make said of it."""
    out = tmp_path_factory.mktemp("d-track") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "plan_videos", hurried)
        return out, made(out, name="d-track", videos=10)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Three short videos."""
    out = tmp_path_factory.mktemp("short") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "plan_videos", small)
        made(out, videos=3)
    return out


@pytest.fixture
def copy(short, tmp_path):
    """A copy to damage."""
    return shutil.copytree(short, tmp_path / "copy")


# -- making ----------------------------------------------------------------------------------------------------


def test_the_shares_of_the_splits_are_the_papers(track):
    sets = plan_videos("d-track", 239, 0)
    assert Counter(s.mode for _, s in sets) == {"ips": 105, "ipm": 134}
    shares = Counter(s.split for _, s in sets)
    assert shares == {"train": 168, "validation": 23, "test": 48}
    assert {s.material for _, s in sets} == {"pork", "agar", "silicone"}
    _, said = track
    assert {k: v["videos"] for k, v in said["by_split"].items()} == {"train": 7, "validation": 1, "test": 2}
    assert said["complete"]
    assert said["incomplete"] == []


def test_splits_differ_in_seed_and_tissue_and_look():
    scenes = [s for _, s in plan_videos("d-track", 60, 0)]
    looks, tissues, greys = {}, {}, {}
    for s in scenes:
        looks.setdefault(s.split, set()).add(repr((s.tissue, s.anatomy)))
        tissues.setdefault(s.split, set()).add(repr(s.tissue))
        greys.setdefault(s.split, set()).add(s.grey)
    for things in (looks, tissues, greys):
        assert set(things) == {"train", "validation", "test"}
        for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not things[a] & things[b]
    assert len({s.name for s in scenes}) == 60
    assert len({s.seed for s in scenes}) == 60
    encoder = [s for _, s in plan_videos("d-encoder", 60, 0)]
    assert {s.split for s in encoder} == {"train"}
    assert not {s.name for s in scenes} & {s.name for s in encoder}


def test_the_box_is_a_square_of_box_mm_around_the_tip(track):
    out, _ = track
    for video in DataSet(out).videos():
        rows = list(csv.DictReader((video.folder / "labels.csv").read_text().splitlines()))
        assert len(rows) == len(video.frames) == video.entry.frames
        for row in rows:
            x, y, x0, y0, x1, y1 = (
                float(row[k]) for k in ["tip_x_px", "tip_y_px", "box_x0_px", "box_y0_px", "box_x1_px", "box_y1_px"]
            )
            assert (x1 - x0) * video.spacing.x_mm == pytest.approx(BOX_MM, abs=1e-3)
            assert (y1 - y0) * video.spacing.y_mm == pytest.approx(BOX_MM, abs=1e-3)
            assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((x, y), abs=1e-3)


def test_what_is_said_of_a_set_is_counted_in_it(track):
    out, said = track
    videos = DataSet(out).videos()
    assert said["frames"] == sum(len(v.frames) for v in videos)
    assert said["frames_visible"] == sum(int(v.visible.sum()) for v in videos)
    assert said["visible_share"] == pytest.approx(said["frames_visible"] / said["frames"], abs=1e-4)
    assert said["size_bytes"] == sum(p.stat().st_size for p in out.glob("videos/*/*"))
    assert sum(n["frames"] for n in said["by_material"].values()) == said["frames"]
    assert said["scales_mm_per_px"] == [(0.25, 0.25)]
    json.dumps(said)
    card = (out / "README.md").read_text()
    assert f"sonosteer dataset make d-track --out {out} --videos 10 --seed 0" in card
    for words in ("not a medical device", "simulated", "10 mm", "`visibility_db`", "| **all** |"):
        assert words in card
    assert f"| **train** | all | all | 7 | {said['by_split']['train']['frames']} |" in card


def test_the_contact_sheets_show_marked_frames_of_every_split(track):
    out, said = track
    assert set(said["sheets"]) == {"train", "validation", "test"}
    for split in said["sheets"]:
        picture = cv2.imread(str(out / f"contact-{split}.png"))
        assert picture.shape == (924, 1084, 3)
        green = (picture[..., 1].astype(int) - picture[..., 2] > 60).sum()
        assert green > 300  # boxes and marks
        shown = choose_frames(DataSet(out).videos(split))
        assert len(shown) == 12
        assert len({(v.entry.name, t) for v, t in shown}) == 12
        assert {v.entry.name for v, _ in shown} == {v.entry.name for v in DataSet(out).videos(split)}


def test_an_interrupted_making_goes_on_to_the_same_bytes(short, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "plan_videos", small)
    out = tmp_path / "set"

    def stop(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(out, videos=3, progress=stop)
    assert [e.name for e in DataSet(out).entries] == ["000-short"]
    assert len(DataSet(out).videos()[0].frames) > 3
    assert describe(out, write=False)["incomplete"] == ["1 of 3 videos are made: the same command goes on"]
    half = out / "videos" / "001-short"  # what a killed process leaves
    half.mkdir()
    (half / FRAMES_FILE).write_bytes(b"half")
    first = (out / "videos" / "000-short" / FRAMES_FILE).stat().st_mtime_ns
    assert made(out, videos=3)["complete"]
    assert (out / "videos" / "000-short" / FRAMES_FILE).stat().st_mtime_ns == first
    assert files(out) == files(short)
    assert (out / "dataset.json").read_bytes() == (short / "dataset.json").read_bytes()


@pytest.mark.slow
def test_processes_make_the_same_bytes(short, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "plan_videos", small)
    made(tmp_path / "set", videos=3, executor="process")
    assert files(tmp_path / "set") == files(short)


def test_another_seed_makes_other_frames(short, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "plan_videos", small)
    made(tmp_path / "set", videos=1, seed=7)
    ours, theirs = files(tmp_path / "set"), files(short)
    assert all(ours[k] != theirs[k] for k in ours)


def test_a_full_disk_keeps_the_finished_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "plan_videos", small)

    class Full(FramesWriter):
        def __init__(self, path, shape):
            super().__init__(path, shape)
            self.full = "001" in str(path)

        def add(self, grey):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().add(grey)

    monkeypatch.setattr(making, "FramesWriter", Full)
    with pytest.raises(InputError, match=r"the disk is full: .*001-short cannot grow; the videos made so far are kept"):
        made(tmp_path / "set", videos=3)
    assert sorted(p.name for p in (tmp_path / "set" / "videos").iterdir()) == ["000-short"]
    assert [e.name for e in DataSet(tmp_path / "set").entries] == ["000-short"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"name": "d-dreams"}, "no data set called 'd-dreams'"),
        ({"name": "d-track", "videos": 9}, "needs at least 10"),
        ({"name": "d-encoder", "videos": 1}, "must be at least 2"),
        ({"executor": "cloud"}, "no executor 'cloud'"),
        ({"seed": -1}, "`seed` is -1"),
        ({"seed": 5}, "holds another data set \\(seed 0 instead of 5\\)"),
    ],
)
def test_what_cannot_be_made_is_one_line(copy, tmp_path, words, said):
    out = copy if words.get("seed") == 5 else tmp_path / "set"
    with pytest.raises(InputError, match=said) as e:
        made(out, **{"videos": 3, **words})
    assert "\n" not in str(e.value)


# -- reading ---------------------------------------------------------------------------------------------------


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


DAMAGES = {
    "no index": (lambda s: (s / "dataset.json").unlink(), "is no data set: it has no dataset.json"),
    "cut index": (lambda s: (s / "dataset.json").write_text('{"videos": [{"na'), "cannot be used"),
    "a list": (lambda s: (s / "dataset.json").write_text("[1]"), "cannot be used"),
    "odd entries": (lambda s: (s / "dataset.json").write_text('{"videos": [1]}'), "cannot be used"),
    "no frames key": (lambda s: edit(s / "dataset.json", '"frames": ', '"pictures": '), "no setting 'pictures'"),
    "no such split": (lambda s: edit(s / "dataset.json", '"train"', '"trian"'), "in split 'trian'"),
    "no labels": (lambda s: (s / "videos/000-short/labels.csv").unlink(), "labels.csv does not exist"),
    "a word": (lambda s: edit(s / "videos/000-short/labels.csv", "\n1,", "\n1,soon"), "line 3"),
    "lacks a column": (lambda s: edit(s / "videos/000-short/labels.csv", ",visible,", ",seen,"), "lacks the column"),
    "no pixels": (lambda s: (s / "videos/000-short/frames.npy").unlink(), "cannot be read"),
    "empty pixels": (lambda s: (s / "videos/000-short/frames.npy").write_bytes(b""), "cannot be read"),
    "cut pixels": (
        lambda s: (s / "videos/000-short/frames.npy").write_bytes(
            (s / "videos/000-short/frames.npy").read_bytes()[:-9000]
        ),
        "cannot be read",
    ),
    "other pixels": (
        lambda s: np.save(s / "videos/000-short/frames.npy", np.zeros((2, 5, 5), np.uint8)),
        "does not fit",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_set_is_one_line(copy, name):
    damage, said = DAMAGES[name]
    damage(copy)
    with pytest.raises(InputError) as e:
        for video in DataSet(copy).videos():
            assert len(video.frames) == len(video.labels)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_what_is_damaged_is_not_counted_but_said(copy):
    DAMAGES["cut pixels"][0](copy)
    said = describe(copy)
    assert said["videos"] == 2
    assert not said["complete"]
    assert len(said["incomplete"]) == 1
    assert said["incomplete"][0].startswith("000-short: ")
    assert "**Not complete.**" in (copy / "README.md").read_text()


def test_videos_of_a_split(track):
    data = DataSet(track[0])
    assert {v.entry.split for v in data.videos("validation", "test")} == {"validation", "test"}
    with pytest.raises(InputError, match="there is no split 'exam'"):
        data.videos("exam")


# -- samples ---------------------------------------------------------------------------------------------------

STEP = Spacing(0.2, 0.25)
PLAIN = Augmentation(
    wide=0.0, blind=0.0, away=0.0, blur=0.0, noise=0.0, label_sd_mm=0.0, gain=(1.0, 1.0), gamma=(1.0, 1.0), gaps=(0,)
)


def written(folder, frames, tips, *, seen=None, name="blob"):
    """A video of these frames and tips."""
    folder.mkdir(parents=True)
    with FramesWriter(folder / FRAMES_FILE, frames.shape) as pixels, LabelWriter(folder / "labels.csv", STEP) as labels:
        for i, (frame, tip) in enumerate(zip(frames, tips, strict=True)):
            pixels.add(frame)
            labels.add(Label(i, i / 20, tip, tip is not None and (seen is None or seen[i])))
    return Video(folder, Entry(name, "train", len(frames), (STEP.x_mm, STEP.y_mm)))


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    """A bright blob on black, moving, with the tip in its middle."""
    y, x = np.mgrid[0:240, 0:320].astype(float)
    tips = [(150.0 + 7.3 * i, 110.0 + 4.1 * i) for i in range(8)]
    frames = [200 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 3.0**2)) for a, b in tips]
    return written(tmp_path_factory.mktemp("blob") / "v", np.array(frames).astype(np.uint8), tips)


def centroid(picture):
    """Middle of what is bright, as a share of the side, like a label."""
    weight = picture.astype(float)
    i, j = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    at = np.array([(weight * j).sum(), (weight * i).sum()]) / weight.sum()
    return (at + 0.5) / picture.shape[0]


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_a_crop_has_the_tip_where_its_label_says(blob, flip, scale):
    augmentation = dataclasses.replace(PLAIN, flip=flip, scale=(scale, scale), template_shift_mm=0.0)
    batch = Sampler([blob], 96, 48, 0.4, seed=3, augmentation=augmentation).batch(0, 20)
    for i in range(20):
        for picture in batch.search[i]:
            assert centroid(picture) == pytest.approx(batch.centre[i], abs=0.4 / 96)
        assert centroid(batch.template[i, 0]) == pytest.approx((0.5, 0.5), abs=0.4 / 48)
        assert batch.size[i] == pytest.approx([BOX_MM / (96 * 0.4 * scale)] * 2, rel=1e-5)
    assert np.ptp(batch.centre, axis=0).min() > 0.3  # they lie all over the crop
    assert batch.present.all()
    assert batch.visible.all()


def test_both_frames_of_a_pair_are_cut_at_the_same_place(blob):
    augmentation = dataclasses.replace(PLAIN, flip=0.0, scale=(1.0, 1.0), gaps=(1,))
    batch = Sampler([blob], 128, 32, 0.2, seed=0, augmentation=augmentation).batch(0, 40)
    moved = np.array([7.3 * STEP.x_mm, 4.1 * STEP.y_mm]) / (128 * 0.2)
    steps = np.array([centroid(b) - centroid(a) for a, b in batch.search])
    rested = np.abs(steps).max(axis=1) < 1e-9  # the first frame has none before it
    assert 0 < rested.sum() < 20
    assert steps[~rested] == pytest.approx(np.tile(moved, ((~rested).sum(), 1)), abs=0.5 / 128)


def test_the_same_seed_and_number_give_the_same_sample(blob):
    def draw(seed, first, count):
        return Sampler([blob], 48, 24, 0.5, seed=seed).batch(first, count)

    whole, start, end = draw(1, 0, 6), draw(1, 0, 2), draw(1, 2, 4)
    for name in ("template", "search", "centre", "size", "visible", "present", "weight"):
        joined = np.concatenate([getattr(start, name), getattr(end, name)])
        np.testing.assert_array_equal(getattr(whole, name), joined)
    assert not np.array_equal(whole.search, draw(2, 0, 6).search)


def test_what_lies_outside_the_image_is_black(tmp_path):
    white = np.full((3, 60, 80), 255, np.uint8)
    cut = crop(white[0], (0.0, 0.0), 21, (1.0, 1.0))
    assert (cut[:10] == 0).all()
    assert (cut[:, :10] == 0).all()
    assert (cut[10:, 10:] == 255).all()
    corner = written(tmp_path / "v", white, [(0.0, 0.0), (79.0, 59.0), (0.0, 59.0)])
    batch = Sampler([corner], 64, 32, 0.3, seed=0).batch(0, 12)
    for i in range(12):
        assert (batch.search[i] == 0).any()
        assert (batch.search[i][0] == 0).mean() == pytest.approx((batch.search[i][1] == 0).mean(), abs=0.5)
    plain = Sampler([corner], 64, 32, 0.3, seed=0, augmentation=PLAIN).batch(0, 12)
    assert set(np.unique(plain.search)) == {0, 255}


def test_blank_templates_and_crops_without_a_tip_are_as_many_as_asked(blob):
    augmentation = dataclasses.replace(PLAIN, blind=0.3, away=0.2)
    batch = Sampler([blob], 16, 16, 1.0, seed=0, augmentation=augmentation).batch(0, 600)
    assert (batch.template.reshape(600, -1).max(axis=1) == 0).mean() == pytest.approx(0.3, abs=0.06)
    assert (batch.present == 0).mean() == pytest.approx(0.2, abs=0.06)
    outside = ((batch.centre < 0) | (batch.centre > 1)).any(axis=1)
    np.testing.assert_array_equal(outside, batch.present == 0)


def test_hidden_tips_are_drawn_and_weigh_less(tmp_path):
    frames = np.full((6, 60, 80), 90, np.uint8)
    tips = [None, (20.0, 20.0), (22.0, 22.0), (24.0, 24.0), (26.0, 26.0), None]
    video = written(tmp_path / "v", frames, tips, seen=[0, 1, 1, 0, 0, 0])
    batch = Sampler([video], 16, 16, 0.5, seed=0, augmentation=PLAIN).batch(0, 80)
    assert batch.present.all()
    assert 0.3 < batch.visible.mean() < 0.7
    np.testing.assert_allclose(batch.weight, np.where(batch.visible > 0, 1.0, PLAIN.unseen_weight))
    with pytest.raises(InputError, match="no video has two frames with a visible tip"):
        Sampler([written(tmp_path / "w", frames, tips, seen=[0] * 6)], 16, 16, 0.5, seed=0)


# -- export and import -----------------------------------------------------------------------------------------


def imported(source, out, labels=None, spacing=None, *, rate_hz=20.0, seed=0):
    return import_frames(
        source, labels, out=out, spacing=spacing, rate_hz=rate_hz, seed=seed, command="sonosteer", progress=silent
    )


def same(a, b):
    """The same videos: frames, tips, what is seen, times, splits and scale."""
    ours = {v.entry.name: v for v in DataSet(a).videos()}
    theirs = {v.entry.name: v for v in DataSet(b).videos()}
    assert set(ours) == set(theirs)
    for name, x in ours.items():
        y = theirs[name]
        np.testing.assert_array_equal(x.frames, y.frames)
        np.testing.assert_array_equal(x.tips_px, y.tips_px)
        np.testing.assert_array_equal(x.visible, y.visible)
        np.testing.assert_array_equal(x.times_s, y.times_s)
        assert (x.entry.split, x.entry.spacing_mm) == (y.entry.split, y.entry.spacing_mm)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A small set with three splits, pixels that are not square, frames without a tip, and hidden tips."""
    root = tmp_path_factory.mktemp("mixed") / "set"
    rng = np.random.default_rng(0)
    entries = []
    for k, split in enumerate(("train", "train", "validation", "test")):
        frames = rng.integers(0, 255, (5, 48 + k, 64), np.uint8, endpoint=True)
        tips = [None, (10.25, 5.5), (12.0 + k, 8.125), (-0.4, 47.3), (63.0, 9.0)]
        written(root / "videos" / f"v{k}", frames, tips, seen=[0, 1, 1, 0, 1])
        entries.append(Entry(f"v{k}", split, 5, (STEP.x_mm, STEP.y_mm)))
    write_index(root, {"name": "mixed", "command": "by hand"}, entries)
    return root


def exported(folder, out, form, splits=()):
    return export_set(folder, out=out, form=form, splits=splits, progress=silent)


def test_pictures_come_back_as_they_were(mixed, tmp_path):
    said = exported(mixed, tmp_path / "png", "png")
    assert said["by_split"] == {"train": 2, "validation": 1, "test": 1}
    imported(tmp_path / "png", tmp_path / "back")
    same(mixed, tmp_path / "back")
    source = open_source(tmp_path / "png" / "test" / "v3")  # a folder that every command opens
    assert source.info.spacing == STEP
    assert source.info.frames == 5


def test_clips_have_their_truth(mixed, tmp_path):
    exported(mixed, tmp_path / "mp4", "mp4", ("test",))
    assert [p.name for p in (tmp_path / "mp4").iterdir()] == ["test"]
    folder = tmp_path / "mp4" / "test" / "v3"
    (video,) = DataSet(mixed).videos("test")
    truth = read_truth(folder / "truth.csv")
    assert [t.tip_px for t in truth] == [label.tip_px for label in video.labels]
    assert [t.visible and t.tip_px is not None for t in truth] == video.visible.tolist()
    frames = list(open_source(folder / "clip.mp4").frames())
    assert frames[0].spacing == STEP
    assert [f.time_s for f in frames] == pytest.approx(video.times_s.tolist(), abs=1e-4)
    assert frames[0].grey().shape[0] == 52  # H.264 has even sizes only


def test_a_clip_looks_like_the_video_and_has_the_scenes_angle(short, tmp_path):
    exported(short, tmp_path / "mp4", "mp4")
    for video in DataSet(short).videos():
        clip = open_source(tmp_path / "mp4" / "train" / video.entry.name / "clip.mp4")
        off = [np.abs(f.grey().astype(int) - g).mean() for f, g in zip(clip.frames(), video.frames, strict=True)]
        assert max(off) < 1.5
        scene = make_scene("in-plane-linear/train", int(video.entry.source.partition("#")[2]))
        wanted = scene.angle_deg if scene.enters == "left" else 180 - scene.angle_deg
        assert np.degrees(angle_rad(video)) == pytest.approx(wanted)


def test_the_angle_of_unknown_videos_is_that_of_the_tips_way(blob):
    assert angle_rad(blob) == pytest.approx(np.arctan2(4.1 * STEP.y_mm, 7.3 * STEP.x_mm), abs=1e-3)


def test_coco_boxes_are_cut_at_the_edge_and_begin_at_the_corner(mixed, tmp_path):
    exported(mixed, tmp_path / "coco", "coco", ("train", "validation"))
    assert sorted(p.name for p in (tmp_path / "coco").iterdir()) == ["train", "validation"]
    root = tmp_path / "coco" / "train"
    said = json.loads((root / "annotations.json").read_text())
    assert [c["name"] for c in said["categories"]] == ["needle tip"]
    assert len(said["images"]) == 10
    assert len(said["annotations"]) == 8  # two frames have no tip
    by_id = {i["id"]: i for i in said["images"]}
    assert len({a["id"] for a in said["annotations"]}) == 8
    for image in said["images"]:
        pixels = cv2.imread(str(root / image["file_name"]), cv2.IMREAD_UNCHANGED)
        assert pixels.shape == (image["height"], image["width"])
    w, h = BOX_MM / STEP.x_mm, BOX_MM / STEP.y_mm
    for mark in said["annotations"]:
        image, (x, y, wide, high) = by_id[mark["image_id"]], mark["bbox"]
        assert min(x, y) >= 0
        assert x + wide <= image["width"] + 1e-6
        assert y + high <= image["height"] + 1e-6
        assert mark["area"] == pytest.approx(wide * high, rel=1e-3)
        tip = mark["keypoints"][:2]  # counted from the centre of the first pixel, as ours
        assert x == pytest.approx(max(tip[0] + 0.5 - w / 2, 0), abs=1e-3)
        assert y == pytest.approx(max(tip[1] + 0.5 - h / 2, 0), abs=1e-3)


@pytest.mark.parametrize(
    ("form", "splits", "said"),
    [("gif", (), "`format` 'gif'"), ("png", ("exam",), "no split 'exam'"), ("png", ("test",), "has no video in test")],
)
def test_what_cannot_be_exported_is_one_line(short, tmp_path, form, splits, said):
    with pytest.raises(InputError, match=said):
        exported(short, tmp_path / "x", form, splits)
    assert not (tmp_path / "x").exists()


def test_a_damaged_set_is_not_exported_by_half(copy, tmp_path):
    DAMAGES["cut pixels"][0](copy)
    with pytest.raises(InputError, match="cannot be read"):
        exported(copy, tmp_path / "x", "png")
    assert not (tmp_path / "x").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        exported(copy, tmp_path / "full", "png")


def pictures(folder, names, size=(40, 30), bits=8):
    """Noise pictures; returns them by name."""
    rng = np.random.default_rng(1)
    out = {}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        out[name] = rng.integers(0, 2**bits, size[::-1]).astype(np.uint8 if bits == 8 else np.uint16)
        cv2.imwrite(str(folder / name), out[name])
    return out


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_sub_folders_are_videos_in_natural_order(tmp_path):
    names = [f"{v}/f{i}.png" for v in ("a", "b/c", "d") for i in (1, 2, 10)]
    known = pictures(tmp_path / "p", names)
    pictures(tmp_path / "p", ["a/unlabelled.png"])
    rows = [f"{n},{3 + i},4" if i % 3 else f"{n},," for i, n in enumerate(names)]
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px", *reversed(rows))
    said = imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.2), rate_hz=10.0)
    assert said["left_out"] == 1
    videos = {v.entry.name: v for v in DataSet(tmp_path / "set").videos()}
    assert set(videos) == {"a", "b-c", "d"}
    assert Counter(v.entry.split for v in videos.values()) == {"train": 1, "validation": 1, "test": 1}
    for v, sub in ((videos["a"], "a"), (videos["b-c"], "b/c")):
        for frame, k in zip(v.frames, (1, 2, 10), strict=True):
            np.testing.assert_array_equal(frame, known[f"{sub}/f{k}.png"])
        assert v.times_s.tolist() == [0.0, 0.1, 0.2]
        assert v.visible.tolist() == [False, True, True]
        assert v.entry.spacing_mm == (0.1, 0.2)
    assert "imported from labelled pictures" in (tmp_path / "set" / "README.md").read_text()


def test_the_seed_decides_the_split_and_it_is_7_1_2(tmp_path):
    names = [f"v{k:02d}/0.png" for k in range(20)]
    pictures(tmp_path / "p", names, size=(8, 8))
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px", *(f"{n},1,1" for n in names))

    def splits(seed, name):
        imported(tmp_path / "p", tmp_path / name, labels, Spacing(1, 1), seed=seed)
        return [e.split for e in DataSet(tmp_path / name).entries]

    first = splits(0, "a")
    assert Counter(first) == {"train": 14, "validation": 2, "test": 4}
    assert splits(0, "b") == first
    assert splits(1, "c") != first
    assert [counts(n) for n in (1, 2, 3, 5, 10)] == [(1, 0, 0), (1, 0, 1), (1, 1, 1), (3, 1, 1), (7, 1, 2)]


def test_one_video_is_cut_in_time_order(tmp_path):
    names = [f"f{i}.png" for i in range(10)]
    known = pictures(tmp_path / "p", names)
    times = [5.0 + 0.5 * (9 - i) for i in range(10)]  # the last picture is the earliest
    rows = [f"{n},3,4,{t},{i % 2}" for i, (n, t) in enumerate(zip(names, times, strict=True))]
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px,time_s,visible", *rows)
    imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.1))
    videos = DataSet(tmp_path / "set").videos()
    assert [v.entry.name for v in videos] == ["p-train", "p-validation", "p-test"]
    assert [len(v.frames) for v in videos] == [7, 1, 2]
    assert np.concatenate([v.times_s for v in videos]).tolist() == sorted(times)
    shown = np.concatenate([v.frames for v in videos])
    np.testing.assert_array_equal(shown, np.array([known[n] for n in reversed(names)]))
    assert np.concatenate([v.visible for v in videos]).tolist() == [i % 2 == 1 for i in reversed(range(10))]


def test_a_column_says_video_and_split(tmp_path):
    pictures(tmp_path / "p", ["0.png", "1.png", "2.png"])
    rows = ("0.png,1,1,left,test", "1.png,2,2,left,test", "2.png,,,right,train")
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px,video,split", *rows)
    imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.1))
    assert [(e.name, e.split, e.frames) for e in DataSet(tmp_path / "set").entries] == [
        ("left", "test", 2),
        ("right", "train", 1),
    ]


def test_deep_and_coloured_pictures_become_grey(tmp_path):
    deep = pictures(tmp_path / "p", ["deep.png"], bits=16)["deep.png"]
    colour = np.zeros((30, 40, 3), np.uint8)
    colour[..., 2] = 200  # red, in OpenCV's order
    cv2.imwrite(str(tmp_path / "p" / "red.png"), colour)
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px,video", "deep.png,1,1,a", "red.png,1,1,b")
    imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.1))
    a, b = DataSet(tmp_path / "set").videos()
    assert np.abs(a.frames[0].astype(float) - deep / 257).max() <= 0.51
    assert (b.frames == 60).all()


def test_marks_may_say_how_sure_they_are(tmp_path):
    pictures(tmp_path / "p", ["0.png", "1.png"])
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px,uncertainty_px", "0.png,1,1,15", "1.png,2,2,")
    imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.1))
    clip_of(tmp_path / "c.mha")
    marks = table(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px,uncertainty_px", "0,1,1,15", "3,2,2,")
    imported(tmp_path / "c.mha", tmp_path / "other", marks)
    for name in ("set", "other"):
        tips = np.concatenate([v.tips_px for v in DataSet(tmp_path / name).videos()])
        assert sorted(tips.tolist()) == [[1.0, 1.0], [2.0, 2.0]]


def test_dark_16_bit_pictures_of_a_video_are_imported_alike_bright(tmp_path):
    (tmp_path / "p").mkdir()
    for i, top in enumerate((4000, 1000, 2000)):
        cv2.imwrite(str(tmp_path / "p" / f"{i}.png"), np.full((6, 8), top, np.uint16))
    labels = table(tmp_path / "t.csv", "image,tip_x_px,tip_y_px,split", *(f"{i}.png,1,1,train" for i in range(3)))
    imported(tmp_path / "p", tmp_path / "set", labels, Spacing(0.1, 0.1))
    (video,) = DataSet(tmp_path / "set").videos()
    assert [int(f[0, 0]) for f in video.frames] == [round(top * 255 / 4095) for top in (4000, 1000, 2000)]


def clip_of(path, count=20):
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 255, (count, 30, 40)).astype(np.uint8)
    writer = MetaImageWriter(path, SourceInfo("x", "metaimage", (40, 30), count, 20.0, Spacing(0.3, 0.3)))
    for i, frame in enumerate(frames):
        writer.add(frame, i / 20)
    writer.close()
    return frames


def test_a_clip_with_a_table_of_its_frames(tmp_path):
    frames = clip_of(tmp_path / "c.mha")
    rows = [f"{i},{i},{i + 0.5},{int(i != 7)}" for i in range(3, 13)]
    labels = table(tmp_path / "t.csv", "frame,tip_x_px,tip_y_px,visible", *rows)
    said = imported(tmp_path / "c.mha", tmp_path / "set", labels)
    assert said["left_out"] == 10
    videos = DataSet(tmp_path / "set").videos()
    assert [v.entry.name for v in videos] == ["c-train", "c-validation", "c-test"]
    np.testing.assert_array_equal(np.concatenate([v.frames for v in videos]), frames[3:13])
    assert np.concatenate([v.times_s for v in videos]) == pytest.approx(np.arange(3, 13) / 20)
    assert np.concatenate([v.tips_px for v in videos]).tolist() == [[i, i + 0.5] for i in range(3, 13)]
    assert videos[0].visible.tolist() == [i != 7 for i in range(3, 10)]
    assert videos[0].spacing == Spacing(0.3, 0.3)


def test_truth_of_a_simulation_is_a_table_too(short, tmp_path):
    exported(short, tmp_path / "mp4", "mp4")
    folder = tmp_path / "mp4" / "train" / "000-short"
    imported(folder / "clip.mp4", tmp_path / "set", folder / "truth.csv")
    tips = np.concatenate([v.tips_px for v in DataSet(tmp_path / "set").videos()])
    np.testing.assert_array_equal(tips, DataSet(short).videos()[0].tips_px)


def test_a_training_draws_from_imported_frames(mixed, tmp_path):
    exported(mixed, tmp_path / "png", "png")
    imported(tmp_path / "png", tmp_path / "set")
    batch = Sampler(DataSet(tmp_path / "set").videos("train"), 32, 16, 0.5, seed=0).batch(0, 4)
    assert batch.search.max() > 0


HEAD = "image,tip_x_px,tip_y_px"
MISTAKES = {
    "no such table": (None, "t.csv does not exist"),
    "empty table": (["", ""], "is empty"),
    "no rows": ([HEAD], "has no rows"),
    "lacks a column": (["image,x,y", "0.png,1,1"], "lacks the column 'tip_x_px'"),
    "unknown column": ([HEAD + ",mood", "0.png,1,1,good"], "column 'mood', which is not known"),
    "no such picture": ([HEAD, "0.png,1,1", "9.png,1,1"], "line 3: there is no picture"),
    "no picture named": ([HEAD, ",1,1"], "line 2: image is empty"),
    "twice": ([HEAD, "0.png,1,1", "1.png,1,1", "./0.png,2,2"], "line 4: ./0.png stands in line 2, too"),
    "outside": ([HEAD, "0.png,40,1"], "line 2: the tip 40,1 lies outside 0.png, which is 40x30"),
    "above": ([HEAD, "0.png,4,-1"], "line 2: the tip 4,-1 lies outside"),
    "half a tip": ([HEAD, "0.png,4,"], "line 2: one of tip_x_px and tip_y_px is empty"),
    "no number": ([HEAD, "0.png,4,low"], "tip_y_px is 'low', which is not a number"),
    "not finite": ([HEAD, "0.png,nan,1"], "not a finite number"),
    "wrong split": ([HEAD + ",split", "0.png,1,1,exam"], "line 2: split is 'exam'; there are: train, validation, test"),
    "two splits": ([HEAD + ",split", "0.png,1,1,test", "1.png,1,1,train"], "has pictures in test and train"),
    "two sizes": ([HEAD, "0.png,1,1", "1.png,1,1", "wide.png,1,1"], "wide.png is 50x30, others of video p are 40x30"),
    "same time": ([HEAD + ",time_s", "0.png,1,1,2", "1.png,1,1,2"], "line 3: 2 s is the time of line 2, too"),
    "no picture at all": ([HEAD, "notes.png,1,1"], "not a picture"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_table_are_one_line_and_nothing_is_written(tmp_path, name):
    pictures(tmp_path / "p", ["0.png", "1.png"])
    pictures(tmp_path / "p", ["wide.png"], size=(50, 30))
    (tmp_path / "p" / "notes.png").write_text("no picture")
    lines, said = MISTAKES[name]
    if lines is not None:
        table(tmp_path / "t.csv", *lines)
    with pytest.raises(InputError) as e:
        imported(tmp_path / "p", tmp_path / "set", tmp_path / "t.csv", Spacing(0.1, 0.1))
    assert said in str(e.value)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "set").exists()


CLIP_MISTAKES = {
    "beyond the end": (["frame,tip_x_px,tip_y_px", "0,1,1", "20,1,1"], "line 3: there is no frame 20"),
    "twice": (["frame,tip_x_px,tip_y_px", "4,1,1", "4,2,1"], "line 3: frame 4 stands in line 2, too"),
    "half a frame": (["frame,tip_x_px,tip_y_px", "0.5,1,1"], "not a whole number"),
    "outside": (["frame,tip_x_px,tip_y_px", "0,1,30"], "lies outside"),
    "pictures": (["image,tip_x_px,tip_y_px", "0.png,1,30"], "lacks the column 'frame'"),
    "unknown column": (["frame,tip_x_px,tip_y_px,split", "0,1,1,test"], "column 'split', which is not known"),
}


@pytest.mark.parametrize("name", CLIP_MISTAKES)
def test_mistakes_in_a_clips_table(tmp_path, name):
    clip_of(tmp_path / "c.mha")
    lines, said = CLIP_MISTAKES[name]
    with pytest.raises(InputError) as e:
        imported(tmp_path / "c.mha", tmp_path / "set", table(tmp_path / "t.csv", *lines))
    assert said in str(e.value)
    assert not (tmp_path / "set").exists()


def test_an_import_that_breaks_leaves_nothing(tmp_path, monkeypatch):
    from sonosteer.datasets import importing

    names = [f"{v}/0.png" for v in "abc"]
    pictures(tmp_path / "p", names)
    labels = table(tmp_path / "t.csv", HEAD, *(f"{n},1,1" for n in names))

    class Full(FramesWriter):
        def add(self, grey):
            if "c" in str(self._file.name).split("/")[-2]:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().add(grey)

    monkeypatch.setattr(importing, "FramesWriter", Full)
    with pytest.raises(InputError, match=r"the disk is full: .* nothing was imported"):
        imported(tmp_path / "p", tmp_path / "new" / "set", labels, Spacing(0.1, 0.1))
    assert not (tmp_path / "new").exists()


def test_what_is_there_already_is_left_alone(short, tmp_path):
    pictures(tmp_path / "p", ["0.png"])
    labels = table(tmp_path / "p" / "labels.csv", HEAD, "0.png,1,1")
    before = files(short)
    for out in (short, tmp_path / "p"):
        with pytest.raises(InputError, match="is there already and not empty"):
            imported(tmp_path / "p", out, labels, Spacing(0.1, 0.1))
    assert files(short) == before
    with pytest.raises(InputError, match="scale is unknown; give `spacing_mm`"):
        imported(tmp_path / "p", tmp_path / "set")
    with pytest.raises(InputError, match="`rate_hz` 0"):
        imported(tmp_path / "p", tmp_path / "set", rate_hz=0.0)
