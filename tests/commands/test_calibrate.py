"""`sonosteer calibrate`: told in words and as JSON, shown as a picture, refused in one line, never used by itself."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from command_line import one_line, run
from scipy.spatial.transform import Rotation
from stylus_sequence import write_stylus_sequence

from drawn_screens import draw_ruler, screen_of, speckle, write_menu
from sonosteer.calibration.record import read_calibration
from sonosteer.calibration.simulated import (
    clock_recording,
    guide_recording,
    hand_eye_recording,
    pivot_recording,
    point_recording,
    wire_recording,
)
from sonosteer.core.frames import inverse_rigid

BOX = (120, 50, 400, 400)


@pytest.fixture
def screen(tmp_path):
    """A screen with menus and a ruler, one tick in five larger, as a PNG."""
    drawn = screen_of((500, 640), speckle(BOX[3], BOX[2]), BOX[0], BOX[1])
    write_menu(drawn, 8, 80)
    draw_ruler(drawn, 545, BOX[1], 40.0, 11, every=5)
    cv2.imwrite(str(tmp_path / "grab.png"), drawn)
    return tmp_path / "grab.png"


@pytest.fixture
def bare(tmp_path):
    """A picture that fills its screen, without a ruler."""
    cv2.imwrite(str(tmp_path / "bare.png"), speckle(300, 400))
    return tmp_path / "bare.png"


def test_a_person_reads_the_area_the_ruler_and_the_options(capsys, screen, tmp_path):
    code, stdout, _ = run(capsys, "calibrate", "screen", screen, "--out", tmp_path / "seen.png")
    assert code == 0
    assert "640 x 500 px" in stdout
    assert "one in 5 is larger" in stdout
    for tick in ("1 mm", "2 mm", "5 mm", "10 mm"):
        assert f"tick of {tick}:" in stdout
    pasted = re.findall(r"--crop (\d+),(\d+),(\d+),(\d+) --spacing-mm ([0-9.]+)", stdout)
    assert len(pasted) == 4
    assert all(abs(int(v) - b) <= 6 for v, b in zip(pasted[-1][:4], BOX, strict=True))
    assert float(pasted[-1][4]) == pytest.approx(0.25, rel=0.002)
    assert str(tmp_path / "seen.png") in stdout
    assert cv2.imread(str(tmp_path / "seen.png")).shape == (500, 640, 3)


def test_a_known_tick_gives_one_scale(capsys, screen, tmp_path):
    words = ("calibrate", "screen", screen, "--tick-mm", "10", "--json", "--out", tmp_path / "seen.png")
    code, stdout, stderr = run(capsys, *words)
    assert code == 0
    assert stderr == ""
    told = json.loads(stdout)
    [scale] = told["scales"]
    assert scale["spacing_mm"] == pytest.approx(0.25, rel=0.002)
    assert scale["options"] == f"--crop {told['crop']} --spacing-mm {scale['spacing_mm']:.4g}"
    assert told["picture"] == str(tmp_path / "seen.png")


def test_without_a_ruler_it_says_what_to_do(capsys, bare, tmp_path):
    code, stdout, _ = run(capsys, "calibrate", "screen", bare, "--out", tmp_path / "seen.png")
    assert code == 0
    assert "Nothing to crop" in stdout
    assert "ruler: none found" in stdout
    assert "--spacing-mm DEPTH/300" in stdout


def test_an_unclear_picture_is_left_whole_and_said_to_be_unclear(capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "dark.png"), np.zeros((300, 400), np.uint8))
    code, stdout, _ = run(capsys, "calibrate", "screen", tmp_path / "dark.png", "--out", tmp_path / "seen.png")
    assert code == 0
    assert "not clear" in stdout
    assert "--crop X,Y,W,H by eye" in stdout


def test_what_the_source_says_of_its_scale_is_told(capsys, tmp_path):
    words = ("sim:in-plane-linear", "--frames", "3:4", "--out", tmp_path / "seen.png")
    code, stdout, _ = run(capsys, "calibrate", "screen", *words)
    assert code == 0
    assert "The source itself says 0." in stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tick-mm", "0"], "--tick-mm"),
        (["--frames", "7:"], "no frames from 7 on"),
        (["--frames", "3:1"], "--frames '3:1'"),
        (["--out", "seen.jpg"], "--out"),
    ],
)
def test_a_mistake_is_one_line(capsys, screen, words, said):
    code, stdout, stderr = run(capsys, "calibrate", "screen", screen, *words)
    assert code == 2
    assert stdout == ""
    assert one_line(stderr)
    assert said in stderr


def test_help_names_what_can_be_calibrated(capsys):
    code, stdout, _ = run(capsys, "calibrate", "--help")
    assert code == 0
    assert all(word in stdout for word in ("screen", "pivot", "image", "robot", "clock", "guide"))
    code, stdout, _ = run(capsys, "calibrate", "screen", "--help")
    assert code == 0
    assert all(option in stdout for option in ("--tick-mm", "--frames", "--out", "--json", "Example:"))


# -- pivot, image, robot, clock, guide -----------------------------------------------------------------------


def table(path, columns, rows):
    said = [",".join(v if isinstance(v, str) else f"{v:.10g}" for v in row) for row in rows]
    path.write_text("\n".join([columns, *said]) + "\n")
    return path


def poses(path, T):
    q = Rotation.from_matrix(T[:, :3, :3]).as_quat()
    rows = [(i, *q[i, [3, 0, 1, 2]], *T[i, :3, 3]) for i in range(len(T))]
    return table(path, "frame,qw,qx,qy,qz,x_mm,y_mm,z_mm", rows)


@pytest.fixture
def stylus(tmp_path):
    return poses(tmp_path / "stylus.csv", pivot_recording(np.random.default_rng(0)).T_world_tool)


def test_a_pivot_is_told_written_and_drawn(capsys, stylus, tmp_path):
    code, stdout, _ = run(capsys, "calibrate", "pivot", stylus, "--out", tmp_path / "tip")
    assert code == 0
    assert "36 of 40 observations used" in stdout
    assert "claimed error" in stdout
    tip = read_calibration(tmp_path / "tip" / "calibration.toml")
    assert tip.tip_mm == pytest.approx((10.0, -4.0, 150.0), abs=0.5)
    page = (tmp_path / "tip" / "report.html").read_text()
    assert "Accepted" in page
    assert "<svg" in page
    rows = (tmp_path / "tip" / "residuals.csv").read_text().splitlines()
    assert rows[0] == "observation,residual_mm,held_out_mm,used"
    assert len(rows) == 41
    assert sum(row.endswith(",0") for row in rows) == 4


def test_a_refused_one_leaves_a_report_and_no_file_not_even_an_old_one(capsys, stylus, tmp_path):
    out = tmp_path / "tip"
    assert run(capsys, "calibrate", "pivot", stylus, "--out", out, "--json")[0] == 0
    code, stdout, stderr = run(capsys, "calibrate", "pivot", stylus, "--out", out, "--max-rms-mm", "0.1", "--json")
    assert code == 2
    assert stdout == ""
    assert one_line(stderr)
    assert "(--max-rms-mm)" in stderr
    assert "report.html" in stderr
    assert not (out / "calibration.toml").exists()
    assert "Refused" in (out / "report.html").read_text()


def test_swapped_matrices_are_refused_and_the_option_takes_them(capsys, tmp_path):
    T = inverse_rigid(pivot_recording(np.random.default_rng(0)).T_world_tool)
    words = ("calibrate", "pivot", poses(tmp_path / "p.csv", T), "--out", tmp_path / "tip", "--json")
    code, _, stderr = run(capsys, *words)
    assert code == 2
    assert "Give --inverse" in stderr
    code, stdout, _ = run(capsys, *words, "--inverse")
    assert code == 0
    assert json.loads(stdout)["tip_mm"] == pytest.approx([10.0, -4.0, 150.0], abs=0.5)


def test_an_image_is_calibrated_by_a_stylus_or_by_points(capsys, tmp_path):
    r = point_recording(np.random.default_rng(0))
    marks = table(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px", [(i, *p) for i, p in enumerate(r.px)])
    points = table(tmp_path / "w.csv", "frame,x_mm,y_mm,z_mm", [(i, *p) for i, p in enumerate(r.world_mm)])
    words = ("calibrate", "image", marks, "--poses", poses(tmp_path / "probe.csv", r.T_world_probe), "--json")
    code, stdout, _ = run(capsys, *words, "--points", points, "--size-px", "640,480", "--out", tmp_path / "image")
    assert code == 0
    told = json.loads(stdout)
    assert told["spacing_mm"] == pytest.approx(r.truth.spacing_mm, rel=0.03)
    assert told["size_px"] == [640, 480]
    assert len(told["gate_mm2"]) == 3
    assert told["file"] == str(tmp_path / "image" / "calibration.toml")
    _, _, stderr = run(
        capsys, *words, "--stylus", poses(tmp_path / "s.csv", r.T_world_stylus), "--out", tmp_path / "no"
    )
    assert "--stylus needs --pivot" in stderr
    _, _, stderr = run(capsys, *words, "--out", tmp_path / "no")
    assert "give one of --points, --stylus and --wires" in stderr


def test_an_image_is_calibrated_by_the_stylus_of_the_same_sequence(capsys, tmp_path, stylus):
    r = point_recording(np.random.default_rng(0))
    marks = table(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px", [(i, *p) for i, p in enumerate(r.px)])
    clip = write_stylus_sequence(tmp_path / "s.igs.mha", r, invalid=4)
    assert run(capsys, "calibrate", "pivot", stylus, "--out", tmp_path / "tip")[0] == 0
    tip = tmp_path / "tip" / "calibration.toml"
    text = tip.read_text()  # this stylus is another one than that of the marks: take its tip
    at = text.index("tip_mm")
    tip.write_text(text[:at] + "tip_mm = [0.0, 0.0, 160.0]" + text[text.index("\n", at) :])
    words = ("--poses", clip, "--probe", "ProbeToTracker", "--stylus", clip, "--stylus-transform", "StylusToTracker")
    code, stdout, stderr = run(
        capsys, "calibrate", "image", marks, *words, "--pivot", tip, "--out", tmp_path / "image", "--json"
    )
    assert code == 0
    assert "1 marked frame(s) have no valid pose" in stderr
    told = json.loads(stdout)
    assert told["check"]["observations"] == 29
    assert told["size_px"] == [8, 8]
    assert told["spacing_mm"] == pytest.approx(r.truth.spacing_mm, rel=0.05)


def test_an_image_is_calibrated_by_wires(capsys, tmp_path):
    r = wire_recording(np.random.default_rng(0), 8)
    marks = [(f, *p, w) for f, p, w in zip(r.frame, r.px, r.wire, strict=True)]
    wires = [(n, *a, *b) for n, a, b in zip(r.wires.names, r.wires.a_mm, r.wires.b_mm, strict=True)]
    code, stdout, _ = run(
        capsys,
        *("calibrate", "image", table(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px,wire", marks), "--json"),
        *("--poses", poses(tmp_path / "probe.csv", r.T_world_probe), "--out", tmp_path / "image"),
        *("--wires", table(tmp_path / "w.csv", "wire,x1_mm,y1_mm,z1_mm,x2_mm,y2_mm,z2_mm", wires)),
        *("--phantom", poses(tmp_path / "phantom.csv", r.T_world_phantom[None])),
    )
    assert code == 0
    told = json.loads(stdout)
    assert told["method"] == "wires"
    assert told["spacing_mm"] == pytest.approx(r.truth.spacing_mm, rel=0.02)
    assert "size_px" not in told
    assert told["notes"]


def test_a_robot_is_calibrated_from_frames_that_both_have(capsys, tmp_path):
    r = hand_eye_recording(np.random.default_rng(0))
    hand, marker = poses(tmp_path / "hand.csv", r.T_base_hand), poses(tmp_path / "marker.csv", r.T_tracker_marker[:20])
    code, stdout, _ = run(capsys, "calibrate", "robot", hand, marker, "--out", tmp_path / "robot", "--json")
    assert code == 0
    told = json.loads(stdout)
    assert told["check"]["observations"] == 20
    assert [t["of"] for t in told["transforms"]] == ["marker", "tracker"]


def test_clock_and_guide_are_calibrated_one_with_the_other(capsys, tmp_path):
    r = clock_recording(np.random.default_rng(0), lag_s=0.08)
    tips = table(
        tmp_path / "t.csv", "time_s,tip_x_px,tip_y_px", [(t, *p) for t, p in zip(r.times_s, r.px, strict=True)]
    )
    rows = [(t, *p) for t, p in zip(r.robot_times_s, r.robot_mm, strict=True)]
    readings = table(tmp_path / "r.csv", "time_s,x_mm,y_mm,z_mm", rows)
    words = ("calibrate", "clock", tips, readings, "--columns", "x_mm,y_mm", "--out", tmp_path / "clock", "--json")
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert json.loads(stdout)["lag_s"] == pytest.approx(0.08, abs=0.004)
    g = guide_recording(np.random.default_rng(0))
    times = np.arange(30.0)
    tips = table(
        tmp_path / "t.csv",
        "time_s,tip_x_px,tip_y_px",
        [(t + 0.08, *(p * 10)) for t, p in zip(times, g.tips_mm, strict=True)],
    )
    rows = [(t, d, np.degrees(a)) for t, d, a in zip(times, g.depth_mm, g.angle_rad, strict=True)]
    readings = table(tmp_path / "r.csv", "time_s,depth_mm,angle_deg", rows)
    words = ("calibrate", "guide", tips, readings, "--out", tmp_path / "guide", "--json")
    code, stdout, _ = run(
        capsys, *words, "--spacing-mm", "0.1", "--clock", tmp_path / "clock" / "calibration.toml", "--max-rms-mm", "2"
    )
    assert code == 0
    assert json.loads(stdout)["sense"] == -1
    code, _, stderr = run(capsys, *words)
    assert code == 2
    assert "the scale is unknown" in stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pivot", "missing.csv"), "does not exist"),
        (("pivot", "stylus.csv", "--transform", "StylusToTracker"), "is a table"),
        (("pivot", "stylus.csv", "--nominal-tip-mm", "1,2"), "--nominal-tip-mm '1,2'"),
        (("pivot", "stylus.csv", "--max-sd-mm", "0"), "--max-sd-mm is 0"),
        (("clock", "stylus.csv", "stylus.csv"), "time_s"),
        (("clock", "stylus.csv", "stylus.csv", "--max-lag-s", "0"), "--max-lag-s 0"),
        (("robot", "stylus.csv", "missing.csv"), "does not exist"),
    ],
)
def test_a_mistake_in_a_calibration_is_one_line(capsys, stylus, tmp_path, words, said):
    kind, *rest = words
    paths = [str(tmp_path / w) if w.endswith(".csv") else w for w in rest]
    code, stdout, stderr = run(capsys, "calibrate", kind, *paths, "--out", tmp_path / "no")
    assert code == 2
    assert stdout == ""
    assert one_line(stderr)
    assert said in stderr
    assert not (tmp_path / "no").exists()
