"""Markups of 3D Slicer are marks wherever a table with three columns is: `evaluate`, `compare`, from Python."""

import json

import numpy as np
import pytest
from command_line import one_line, run
from test_track_pictures import TIPS, folder_of

import sonosteer
from sonosteer.core.errors import InputError
from sonosteer.recording.tips import read_tips
from sonosteer.sources.opening import open_source

SCALE = (0.2, 0.1)
METHOD = ("--methods", "brightest:Brightest", "--jobs", "1")


def markups(path, places_mm, **more):
    """A file with what Slicer's schema 1.0.3 asks for and no more: control points with a label and a position."""
    points = [{"label": f"frame {i}", "position": [float(v) for v in p]} for i, p in places_mm]
    markup = {"type": "Fiducial", "coordinateUnits": ["mm", "UCUM", "millimeter"], "controlPoints": points, **more}
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json#", "markups": [markup]}))
    return path


def table(path, tips, shift=0.0):
    lines = [f"{i},{x + shift},{y}" for i, (x, y) in enumerate(tips)]
    path.write_text("\n".join(["frame,tip_x_px,tip_y_px", *lines]) + "\n")
    return path


def in_lps(tips, shift=0.0):
    return [(i, ((x + shift) * SCALE[0], y * SCALE[1], 0.0)) for i, (x, y) in enumerate(tips)]


def in_ras(tips, shift=0.0):
    return [(i, (-x, -y, z)) for i, (x, y, z) in in_lps(tips, shift)]


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Two clips of a bright pixel, and their marks two pixels to the right as tables and as markups in both axes."""
    monkeypatch.chdir(tmp_path)
    for folder in ("tables", "markups"):
        (tmp_path / folder).mkdir()
    for name in ("one", "two"):
        folder_of(tmp_path / name, TIPS)
        table(tmp_path / "tables" / f"{name}.csv", TIPS, 2.0)
    markups(tmp_path / "markups" / "one.mrk.json", in_lps(TIPS, 2.0))
    markups(tmp_path / "markups" / "two.mrk.json", in_ras(TIPS, 2.0), coordinateSystem="RAS")
    return tmp_path


def test_compare_says_the_same_of_markups_and_of_tables(capsys, clips):
    said = {}
    for kind in ("tables", "markups"):
        words = (*METHOD, "--spacing-mm", "0.2,0.1", "--truth", kind, "--out", f"out-{kind}", "--json")
        code, stdout, stderr = run(capsys, "compare", "one", "two", *words)
        assert code == 0, stderr
        said[kind] = json.loads(stdout)
    assert said["markups"] == said["tables"]
    (row,) = said["tables"]["methods"]
    assert row["median_px"] == pytest.approx(2.0, abs=1e-3)
    again = run(capsys, "compare", "one", "two", *words)
    assert json.loads(again[1]) == said["markups"]  # what is kept is read, not tracked again


def test_from_python_too(clips):
    options = {"spacing_mm": SCALE}
    rows = [
        sonosteer.compare(["one", "two"], ["brightest:Brightest"], kind, **options).rows
        for kind in ("tables", "markups")
    ]
    assert rows[0][0]["median_px"] == pytest.approx(rows[1][0]["median_px"], abs=1e-6)
    result = sonosteer.track("one", "brightest:Brightest", spacing_mm=SCALE)
    assert sonosteer.evaluate(result, "markups/one.mrk.json").mean_px == pytest.approx(2.0)
    unscaled = sonosteer.track("one", "brightest:Brightest")
    with pytest.raises(InputError, match="give `spacing_mm`"):
        sonosteer.evaluate(unscaled, "markups/one.mrk.json")
    assert sonosteer.evaluate(unscaled, "markups/one.mrk.json", spacing_mm=SCALE).mean_px == pytest.approx(2.0)


def test_evaluate_takes_the_scale_of_the_track(capsys, clips):
    words = ("--method", "brightest:Brightest", "--spacing-mm", "0.2,0.1", "--out", "tracked")
    assert run(capsys, "track", "one", *words)[0] == 0
    said = [
        json.loads(run(capsys, "evaluate", "tracked", marks, "--json")[1])
        for marks in ("tables/one.csv", "markups/one.mrk.json")
    ]
    assert said[0]["mean_px"] == pytest.approx(2.0, abs=1e-3)
    assert {k: v for k, v in said[1].items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in said[0].items() if isinstance(v, float)}, abs=1e-3
    )


@pytest.mark.parametrize(
    ("points", "more", "said"),
    [
        ([(0, (1.0, 1.0, 3.0))], {}, "lies 3.0 mm off its picture"),
        ([(9, (1.0, 1.0, 0.0))], {}, "marks frame 9, but the clip has 4"),
        ([(0, (90.0, 1.0, 0.0))], {}, "outside the pictures"),
        ([(0, (1.0, 1.0, 0.0))], {"coordinateUnits": "um"}, "mm is read"),
    ],
)
def test_markups_that_do_not_fit_are_one_line(capsys, clips, points, more, said):
    marks = markups(clips / "m.mrk.json", points, **more)
    run(capsys, "track", "one", "--method", "brightest:Brightest", "--spacing-mm", "0.2,0.1", "--out", "tracked")
    for words in (
        ("evaluate", "tracked", marks, "--json"),
        ("compare", "one", *METHOD, "--spacing-mm", "0.2,0.1", "--truth", marks, "--out", "out", "--json"),
    ):
        code, stdout, stderr = run(capsys, *words)
        assert (code, stdout) == (2, "")
        assert said in stderr
        assert one_line(stderr)


def test_without_a_scale_it_is_one_line(capsys, clips):
    run(capsys, "track", "one", "--method", "brightest:Brightest", "--out", "tracked")
    for words in (
        ("evaluate", "tracked", "markups/one.mrk.json"),
        ("compare", "one", *METHOD, "--truth", "markups/one.mrk.json", "--out", "out"),
    ):
        code, _, stderr = run(capsys, *words)
        assert code == 2
        assert "the scale is unknown: give --spacing-mm" in stderr
        assert one_line(stderr)


@pytest.fixture
def with_poses(clips):
    """A sequence with a pose of each picture, its track, and markups in the world on the tips."""
    header = ["NDims = 3", "DimSize = 64 48 4", "ElementSpacing = 0.2 0.1 1", "ElementType = MET_UCHAR"]
    for i in range(4):
        header.append(f"Seq_Frame{i:04d}_ImageToTrackerTransform = 0.2 0 0 {5 + i} 0 0.1 0 -3 0 0 0.15 1 0 0 0 1")
        header.append(f"Seq_Frame{i:04d}_ImageToTrackerTransformStatus = OK")
    pixels = np.full((4, 48, 64), 20, np.uint8)
    for i, (x, y) in enumerate(TIPS):
        pixels[i, y, x] = 250
    (clips / "scan.mha").write_bytes("\n".join([*header, "ElementDataFile = LOCAL", ""]).encode() + pixels.tobytes())
    world = [(i, (0.2 * x + 5 + i, 0.1 * y - 3, 1.0)) for i, (x, y) in enumerate(TIPS)]
    markups(clips / "scan.mrk.json", world, coordinateSystem="RAS")
    return clips


def test_markups_in_the_world_of_a_clip_with_poses(capsys, with_poses):
    assert open_source("scan.mha").info.world == "Tracker"
    assert run(capsys, "track", "scan.mha", "--method", "brightest:Brightest", "--out", "tracked")[0] == 0
    assert all(row.tip_world_mm is not None for row in read_tips(with_poses / "tracked" / "tips.csv"))
    code, _, stderr = run(capsys, "evaluate", "tracked", "scan.mrk.json")
    assert code == 2
    assert "name the clip by --clip" in stderr
    assert one_line(stderr)
    code, stdout, stderr = run(capsys, "evaluate", "tracked", "scan.mrk.json", "--clip", "scan.mha", "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["mean_px"] == pytest.approx(0.0, abs=1e-3)
    code, stdout, stderr = run(
        capsys, "compare", "scan.mha", *METHOD, "--truth", "scan.mrk.json", "--out", "o", "--json"
    )
    assert code == 0, stderr
    assert json.loads(stdout)["methods"][0]["median_px"] == pytest.approx(0.0, abs=1e-3)
    assert len((with_poses / "o" / "tips" / "scan" / "truth.csv").read_text().splitlines()) == 1 + len(TIPS)


def test_a_chain_without_its_clip_is_one_line(capsys, with_poses):
    run(capsys, "track", "scan.mha", "--method", "brightest:Brightest", "--out", "tracked")
    code, _, stderr = run(capsys, "evaluate", "tracked", "scan.mrk.json", "--poses", "ImageToTracker")
    assert code == 2
    assert "name the clip by --clip" in stderr


def test_our_own_markups_come_back_as_marks_without_an_error(capsys, clips):
    words = ("--method", "brightest:Brightest", "--spacing-mm", "0.2,0.1", "--markups", "--out", "tracked")
    assert run(capsys, "track", "one", *words)[0] == 0
    got = json.loads(run(capsys, "evaluate", "tracked", "tracked/tips.mrk.json", "--json")[1])
    assert got["mean_px"] == pytest.approx(0.0, abs=1e-3)
