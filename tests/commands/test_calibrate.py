"""`sonosteer calibrate screen`: told in words and as JSON, shown as a picture, and never used by itself."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from command_line import one_line, run

from drawn_screens import draw_ruler, screen_of, speckle, write_menu

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
    assert "screen" in stdout
    code, stdout, _ = run(capsys, "calibrate", "screen", "--help")
    assert code == 0
    assert all(option in stdout for option in ("--tick-mm", "--frames", "--out", "--json", "Example:"))
