"""`sonosteer simulate`: clips with exact truth, in every format."""

import json

import numpy as np
import pytest
from command_line import one_line, run

from sonosteer.recording.truths import read_truth


@pytest.mark.parametrize("name", ["clip.mha", "folder"])
def test_the_same_seed_gives_the_same_clip_in_every_format(capsys, clip, tmp_path, name):
    from sonosteer.sources.opening import open_source

    settings = [f"--set={s}" for s in ("speed_mm_s=15", "end_mm=20", "enters=left", "angle_deg=40")]
    code, _, _ = run(capsys, "simulate", "in-plane-linear", "--seed", 4, "--out", tmp_path / name, *settings)
    assert code == 0
    a, b = (list(open_source(p).frames()) for p in (tmp_path / name, clip / "clip.mp4"))
    assert len(a) == len(b)
    assert np.abs(a[5].grey().astype(int) - b[5].grey()).mean() < 3
    assert a[0].spacing == b[0].spacing


@pytest.mark.parametrize(("setup", "mode"), [("axial", None), ("in-plane-convex", "ips"), ("in-plane-convex", "ipm")])
def test_every_set_up_is_simulated_with_its_truth(tmp_path, capsys, setup, mode):
    more = ("--mode", mode) if mode else ()
    clip, truth = tmp_path / "clip.mp4", tmp_path / "truth.csv"
    code, _, stderr = run(
        capsys, "simulate", setup, *more, "--seed", 3, "--frames", "0:12", "--out", clip, "--truth", truth
    )
    assert code == 0, stderr
    known = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    assert len(read_truth(truth)) == len(known) == 12
    assert {"shaft_px", "bright_px", "out_of_plane_mm", "visibility_db", "bevel_n", "occluded", "direction"} <= set(
        known[0]
    )
    scene = json.loads((tmp_path / "clip.mp4.json").read_text())["scene"]
    assert scene["mode"] == (mode or "")


def test_a_mode_that_a_set_up_has_not_is_one_line(tmp_path, capsys):
    code, _, stderr = run(capsys, "simulate", "axial", "--mode", "ips", "--out", tmp_path / "c.mp4")
    assert code == 2
    assert "no mode 'ips'" in stderr
    assert one_line(stderr)


def test_set_sets_a_field_of_the_scene(capsys):
    said = " ".join(run(capsys, "simulate", "--help")[1].split())
    assert "Sets one field of the scene" in said
