"""`sonosteer dataset make|info|export|import`: what is typed, what comes back, what is said of mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from command_line import one_line, run

from sonosteer.commands.main import main
from sonosteer.datasets import make_videos as making
from sonosteer.datasets.videos import DataSet
from sonosteer.sim.scenes import make_scene


def small(name, videos, seed):
    """Short, small scenes of every split instead of those of a set."""
    look = {"end_rest_frames": 0, "width_px": 96, "height_px": 96, "spacing_mm": 0.4}
    splits = ("train", "validation", "test")
    return [
        (f"{k:03d}-{name}", make_scene(f"in-plane-linear/{splits[k % 3]}", k, speed_mm_s=60.0, end_mm=30.0, **look))
        for k in range(videos)
    ]


@pytest.fixture
def shortened(monkeypatch):
    monkeypatch.setattr(making, "plan_videos", small)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set, made by the command."""
    out = tmp_path_factory.mktemp("made") / "set"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as e:
        patch.setattr(making, "plan_videos", small)
        main(["dataset", "make", "d-track", "--videos", "3", "--executor", "serial", "--out", str(out)])
    assert e.value.code == 0
    return out


def test_help_explains_every_command_with_an_example(capsys):
    assert "make" in run(capsys, "dataset", "--help")[1]
    for command in ("make", "info", "export", "import"):
        code, stdout, _ = run(capsys, "dataset", command, "--help")
        assert code == 0
        assert f"Example: sonosteer dataset {command}" in stdout
        assert "--json" in stdout


def test_a_set_is_made_and_made_again_at_once(capsys, shortened, made):
    assert {p.name for p in made.iterdir()} == {
        *("README.md", "contact-train.png", "contact-validation.png", "contact-test.png", "dataset.json", "videos")
    }
    before = (made / "videos" / "000-d-track" / "frames.npy").stat().st_mtime_ns
    code, stdout, stderr = run(capsys, "dataset", "make", "d-track", "--videos", 3, "--out", made)
    assert code == 0, stderr
    assert "not a medical device" in stdout
    assert str(made / "contact-train.png") in stdout.replace("\n", "")
    assert (made / "videos" / "000-d-track" / "frames.npy").stat().st_mtime_ns == before


def test_info_says_what_is_there(capsys, made):
    card = (made / "README.md").stat().st_mtime_ns
    code, stdout, stderr = run(capsys, "dataset", "info", made, "--json")
    assert (code, stderr) == (0, "")
    got = json.loads(stdout)
    assert (got["name"], got["videos"], got["complete"]) == ("d-track", 3, True)
    assert {k: v["videos"] for k, v in got["by_split"].items()} == {"train": 1, "validation": 1, "test": 1}
    assert got["frames"] == sum(len(v.frames) for v in DataSet(made).videos())
    code, stdout, _ = run(capsys, "dataset", "info", made)
    assert "validation" in stdout
    assert "box 10 mm" in stdout
    assert (made / "README.md").stat().st_mtime_ns == card  # it only looks


def test_what_is_missing_is_said(capsys, made, tmp_path):

    copy = shutil.copytree(made, tmp_path / "copy")
    (copy / "videos" / "001-d-track" / "frames.npy").write_bytes(b"cut")
    code, stdout, _ = run(capsys, "dataset", "info", copy)
    assert code == 0
    assert "not complete: 001-d-track: " in stdout
    code, _, stderr = run(capsys, "dataset", "export", copy, "--out", tmp_path / "x")
    assert code == 2
    assert one_line(stderr)


def test_a_set_goes_out_as_pictures_and_comes_back(capsys, made, tmp_path):
    code, stdout, _ = run(capsys, "dataset", "export", made, "--format", "png", "--out", tmp_path / "png")
    assert code == 0
    assert "3 videos" in stdout
    code, stdout, stderr = run(
        capsys, "dataset", "import", tmp_path / "png", "--out", tmp_path / "back", "--seed", 3, "--json"
    )
    assert (code, stderr) == (0, "")
    got = json.loads(stdout)
    assert got["complete"]
    assert got["made_by"] == (
        f"sonosteer dataset import {tmp_path / 'png'} --out {tmp_path / 'back'} --rate-hz 20 --seed 3"
    )
    for a, b in zip(DataSet(made).videos(), DataSet(tmp_path / "back").videos(), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.tips_px, b.tips_px)


@pytest.mark.parametrize(("form", "file"), [("mp4", "truth.csv"), ("coco", "annotations.json"), ("png", "times.csv")])
def test_only_the_splits_asked_for_are_exported(capsys, made, tmp_path, form, file):
    words = [
        "dataset",
        "export",
        made,
        "--format",
        form,
        "--split",
        "test",
        "--split",
        "train",
        "--out",
        tmp_path / "x",
    ]
    code, stdout, stderr = run(capsys, *words, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["by_split"] == {"train": 1, "test": 1}
    assert not (tmp_path / "x" / "validation").exists()
    assert len(list((tmp_path / "x").rglob(file))) == 2


def test_an_exported_clip_is_tracked_and_evaluated(capsys, made, tmp_path):
    run(capsys, "dataset", "export", made, "--format", "mp4", "--split", "test", "--out", tmp_path / "x")
    folder = next((tmp_path / "x" / "test").iterdir())
    words = ["track", folder / "clip.mp4", "--enters", "left", "--out", tmp_path / "o", "--truth", folder / "truth.csv"]
    code, stdout, stderr = run(capsys, *words, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["error"]["frames"] == len(DataSet(made).videos("test")[0].frames)


def test_own_pictures_become_a_set(capsys, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (30, 40)).astype(np.uint8))
    rows = "\n".join(f"{i}.png,{i},{2 * i}" for i in range(9))
    (tmp_path / "t.csv").write_text(f"image,tip_x_px,tip_y_px\n{rows}\n")
    words = ["dataset", "import", folder, "--labels", tmp_path / "t.csv", "--out", tmp_path / "set"]
    code, _, stderr = run(capsys, *words)
    assert code == 2
    assert "--spacing-mm" in stderr
    assert one_line(stderr)
    assert not (tmp_path / "set").exists()
    code, stdout, stderr = run(capsys, *words, "--spacing-mm", "0.2,0.3", "--rate-hz", "30")
    assert code == 0, stderr
    assert "1 frame has no row" in stdout
    videos = DataSet(tmp_path / "set").videos()
    assert [v.entry.split for v in videos] == ["train", "validation", "test"]
    assert videos[0].times_s[1] == pytest.approx(1 / 30, abs=1e-6)
    assert "--spacing-mm 0.2,0.3" in (tmp_path / "set" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["make", "d-dreams", "--out", "OUT"], "no data set called 'd-dreams'; there are: d-track, d-encoder"),
        (["make", "d-track", "--videos", "3", "--out", "OUT"], "needs at least 10"),
        (["make", "d-encoder", "--videos", "2", "--executor", "cloud", "--out", "OUT"], "no executor 'cloud'"),
        (["make", "d-encoder", "--videos", "two", "--out", "OUT"], "--videos"),
        (["make", "d-encoder"], "--out"),
        (["make", "d-encoder", "--videos", "2", "--out", "/proc/nothing"], "cannot be written"),
        (["info", "OUT"], "is no data set"),
        (["export", "OUT", "--out", "OUT"], "is no data set"),
        (["import", "OUT", "--out", "OUT"], "does not exist"),
        (["import", __file__, "--out", "OUT"], "are not read"),
        (["import", "SET", "--out", "OUT"], "labels.csv does not exist"),
        (["import", "SET", "--out", "SET"], "is there already and not empty"),
        (["import", "SET", "--spacing-mm", "wide", "--out", "OUT"], "--spacing-mm 'wide'"),
        (["import", "SET", "--spacing-mm", "-1", "--out", "OUT"], "must be a positive number"),
        (["import", "SET", "--rate-hz", "0", "--out", "OUT"], "--rate-hz 0"),
        (["export", "SET", "--format", "gif", "--out", "OUT"], "--format 'gif'"),
        (["export", "SET", "--split", "exam", "--out", "OUT"], "no split 'exam'"),
        (["export", "SET", "--out", "SET"], "is there already and not empty"),
        (["make", "d-encoder", "--videos", "3", "--out", "SET"], "holds another data set"),
    ],
)
def test_mistakes_are_one_line(capsys, made, tmp_path, words, said):
    places = {"OUT": tmp_path / "out", "SET": made}
    code, _, stderr = run(capsys, "dataset", *(places.get(w, w) for w in words))
    assert code == 2
    assert said in stderr
    assert one_line(stderr)
    if "cloud" not in words:
        assert not (tmp_path / "out").exists()


def test_ctrl_c_says_how_many_videos_are_there(capsys, shortened, tmp_path, monkeypatch):
    real = making.make_video

    def stop(job):
        if job.name.startswith("002"):
            raise KeyboardInterrupt
        return real(job)

    out = tmp_path / "set"
    words = ["dataset", "make", "d-track", "--videos", 4, "--executor", "serial", "--out", out]
    with monkeypatch.context() as patch:
        patch.setattr(making, "make_video", stop)
        code, _, stderr = run(capsys, *words)
    assert code == 130
    assert f"interrupted; 2 of 4 videos are there in {out}: the same command goes on" in stderr
    assert one_line(stderr)
    code, stdout, _ = run(capsys, "dataset", "info", out)
    assert "not complete: 2 of 4 videos are made" in stdout
    assert run(capsys, *words)[0] == 0
    assert len(DataSet(out).entries) == 4


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_at_once(tmp_path):
    """As a terminal sends it: to the command and to the processes that it started."""
    out = tmp_path / "set"
    command = [
        sys.executable,
        "-m",
        "sonosteer",
        "dataset",
        "make",
        "d-encoder",
        "--videos",
        "40",
        "--out",
        str(out),
        "--json",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(1200):
        if (out / "dataset.json").exists():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert one_line(stderr)
    there = [e.name for e in DataSet(out).entries]
    assert f"interrupted; {len(there)} of 40 videos are there" in stderr
    assert sorted(p.name for p in (out / "videos").iterdir()) == sorted(there)  # nothing half made
    assert all(len(v.frames) == len(v.labels) for v in DataSet(out).videos())


@pytest.mark.parametrize("form", ["png", "mp4", "coco", "slicer"])
def test_demonstrations_cannot_be_exported_and_that_is_said(capsys, tmp_path, form):
    """It once blamed the data set: "no data set there"."""
    (tmp_path / "d-insert" / "episodes").mkdir(parents=True)
    words = ["dataset", "export", tmp_path / "d-insert", "--format", form, "--out", tmp_path / "x"]
    code, stdout, stderr = run(capsys, *words)
    assert (code, stdout) == (2, "")
    assert one_line(stderr)
    assert f"demonstrations of insertions, and these cannot be exported as {form}" in stderr
    assert "labelled videos" in stderr
    assert f"sonosteer train policy --data {tmp_path / 'd-insert'}" in stderr
    assert not (tmp_path / "x").exists()
