"""A data set goes on where its making was killed, and becomes what it would have become."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from killing import run_killed
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.datasets import importing, make_videos
from sonosteer.datasets.exporting import export_set
from sonosteer.datasets.importing import import_frames
from sonosteer.datasets.make_videos import make_video_set
from sonosteer.datasets.videos import DataSet
from sonosteer.recording.output_folder import BEGUN

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="data sets are made in forked processes")


def contents(folder):
    """Bytes of every file but the index, which has the versions of today, and the card."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in (".npy", ".csv", ".png")]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if not p.name.startswith("contact")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of four videos of ten marked pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = ["image,tip_x_px,tip_y_px"]
    rng = np.random.default_rng(1)
    for video in "abcd":
        (folder / video).mkdir()
        for k in range(10):
            cv2.imwrite(str(folder / video / f"{k}.png"), rng.integers(0, 255, (60, 80), np.uint8))
            rows.append(f"{video}/{k}.png,{k + 20},{k + 10}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def imported(pictures, out, **more):
    import_frames(
        pictures,
        None,
        out=out,
        spacing=Spacing(0.2, 0.2),
        rate_hz=20.0,
        seed=0,
        command="sonosteer dataset import",
        progress=lambda *_: None,
        **more,
    )
    return out


def test_an_import_that_was_killed_is_done_again_by_the_same_command(tmp_path, pictures):
    whole = contents(imported(pictures, tmp_path / "whole"))
    out = tmp_path / "o"
    pid = os.fork()
    if pid == 0:
        importing.write_index = lambda *_: os._exit(9)  # killed before the index is there
        imported(pictures, out)
    os.waitpid(pid, 0)
    assert (out / BEGUN).exists()
    assert (out / "videos").exists()
    with pytest.raises(InputError, match="no data set"):
        DataSet(out)
    assert contents(imported(pictures, out)) == whole
    assert not (out / BEGUN).exists()
    with pytest.raises(InputError, match="there already and not empty"):
        imported(pictures, out)


def test_an_export_that_was_killed_is_done_again_by_the_same_command_only(tmp_path, pictures):
    data = imported(pictures, tmp_path / "set")

    def exported(out, form="png", progress=lambda *_: None):
        export_set(data, out=out, form=form, splits=(), progress=progress)
        return contents(out)

    whole = exported(tmp_path / "whole")
    out = tmp_path / "o"
    pid = os.fork()
    if pid == 0:
        exported(out, progress=lambda stage, done, total: os._exit(9) if done == 17 else None)
    os.waitpid(pid, 0)
    with pytest.raises(InputError, match="was begun by another command"):
        exported(out, "coco")
    assert exported(out) == whole


@pytest.mark.slow
def test_videos_whose_making_is_killed_at_any_moment_become_the_same(tmp_path, monkeypatch):
    plan = make_videos.plan_videos("d-encoder", 3, 0)
    short = [(name, dataclasses.replace(scene, end_mm=scene.start_mm + 4.0)) for name, scene in plan]
    monkeypatch.setattr(make_videos, "plan_videos", lambda *_: short)

    def make(out):
        make_video_set("d-encoder", out=out, videos=3, seed=0, executor="serial", progress=lambda *_: None)

    make(tmp_path / "whole")  # which also compiles what the others use
    run_killed(lambda: make(tmp_path / "killed"), np.random.default_rng(3), times=8, most_s=3.0)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list(Path(tmp_path / "killed").rglob(".making-*"))
