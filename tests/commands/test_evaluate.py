"""`sonosteer evaluate`: errors of a track against truth."""

import json

import pytest
from command_line import one_line, run

from sonosteer.recording.tips import read_tips

WANTED = "frames tracked lost mean_mm sd_mm p95_mm max_mm bias_along_mm sd_along_mm sd_across_mm"


def test_a_track_is_measured_against_its_truth(capsys, clip, tracked):
    code, stdout, _ = run(capsys, "evaluate", tracked / "tips.csv", clip / "truth.csv", "--json")
    assert code == 0
    got = json.loads(stdout)
    assert set(got) >= {*WANTED.split(), "angle_mean_deg", "angle_sd_deg", "coverage_95", "mean_px"}
    assert got["frames"] == json.loads((tracked / "summary.json").read_text())["counts"]["frames"]
    assert got["mean_mm"] < 3.0


def test_a_person_gets_a_table(capsys, clip, tracked):
    code, stdout, _ = run(capsys, "evaluate", tracked / "tips.csv", clip / "truth.csv")
    assert code == 0
    assert "mean_mm" in stdout


def test_an_interval_that_cannot_be_had_is_null(capsys, clip, tracked):
    """Of 20 rows or fewer, which is one block of the bootstrap, the interval had zero width."""
    code, stdout, _ = run(capsys, "evaluate", tracked / "tips.csv", clip / "truth.csv", "--json")
    assert code == 0
    got = json.loads(stdout)
    assert 0 < got["tracked"] <= 20
    assert got["mean_ci95_mm"] is None


def test_a_spacing_that_is_no_number_names_the_option(capsys, clip, tracked):
    code, _, stderr = run(capsys, "evaluate", tracked / "tips.csv", clip / "truth.csv", "--spacing-mm", "wide")
    assert code == 2
    assert one_line(stderr)
    assert "--spacing-mm 'wide'" in stderr


def marks_for(tracked, path, *, shift=0.0, off=None, more=()):
    """Marks with three columns (and their uncertainty), each so far right of the track."""
    rows = [r for r in read_tips(tracked / "tips.csv") if r.tip_px is not None]
    head = "frame,tip_x_px,tip_y_px" + ("" if off is None else ",uncertainty_px")
    end = "" if off is None else f",{off}"
    lines = [f"{r.frame},{r.tip_px[0] + shift},{r.tip_px[1]}{end}" for r in rows]
    path.write_text("\n".join([head, *lines, *more]) + "\n")
    return path


def test_three_columns_are_enough_and_states_are_told_apart(capsys, tracked, tmp_path):
    marks = marks_for(tracked, tmp_path / "m.csv", shift=3.0)
    code, stdout, _ = run(capsys, "evaluate", tracked / "tips.csv", marks, "--json")
    assert code == 0
    got = json.loads(stdout)
    assert got["mean_px"] == pytest.approx(3.0, abs=1e-2)
    states = got["by_state"]
    assert states["tracking"]["mean_px"] == pytest.approx(3.0, abs=1e-2)
    assert states["tracking"]["frames"] + states["coasting"]["frames"] + states["lost"]["frames"] == got["frames"]
    assert states["coasting"]["frames"] or states["coasting"]["mean_px"] is None
    curve = dict(zip(got["detection_curve"]["within_px"], got["detection_curve"]["found"], strict=True))
    assert (curve[2], curve[5]) == (0.0, 1.0)


def test_an_error_within_a_marks_uncertainty_is_no_error(capsys, tracked, tmp_path):
    marks = marks_for(tracked, tmp_path / "m.csv", shift=3.0, off=5)
    got = json.loads(run(capsys, "evaluate", tracked / "tips.csv", marks, "--json")[1])
    assert got["mean_px"] == pytest.approx(3.0, abs=1e-2)
    assert (got["mean_beyond_px"], got["mean_cost"], got["within_uncertainty"]) == (0.0, 0.0, 1.0)
    assert got["detection_curve"]["found"][0] == 1.0


def test_a_report_is_written_where_it_is_asked_for(capsys, tracked, tmp_path):
    marks = marks_for(tracked, tmp_path / "m.csv", shift=3.0)
    code, stdout, _ = run(capsys, "evaluate", tracked, marks, "--out", tmp_path / "out")
    assert code == 0
    assert "tracking:" in stdout
    page = (tmp_path / "out" / "report.html").read_text()
    for said in ("By state", "Detection", "Worst frames", "not a medical device"):
        assert said in page
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["mean_px"] == pytest.approx(3.0, abs=1e-2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("900,5,5",), "marks frame 900, but the clip has"),
        (("0,5,",), "tip_x_px and tip_y_px is empty"),
        (("0,5000,5",), "outside the pictures"),
    ],
)
def test_another_clips_marks_and_half_tips_are_one_line(capsys, tracked, tmp_path, more, said):
    marks = marks_for(tracked, tmp_path / "m.csv")
    head, *rows = marks.read_text().splitlines()
    marks.write_text("\n".join([head, *(r for r in rows if not r.startswith("0,")), *more]) + "\n")
    code, stdout, stderr = run(capsys, "evaluate", tracked / "tips.csv", marks, "--json")
    assert code == 2
    assert said in stderr
    assert one_line(stderr)
    assert stdout == ""


def test_without_a_summary_most_marks_behind_the_track_are_another_clips(capsys, tracked, tmp_path):
    tips = tmp_path / "tips.csv"
    tips.write_text((tracked / "tips.csv").read_text())
    marks = tmp_path / "m.csv"
    marks.write_text("frame,tip_x_px,tip_y_px\n2,5,5\n" + "".join(f"{i},5,5\n" for i in range(900, 903)))
    code, _, stderr = run(capsys, "evaluate", tips, marks, "--json")
    assert code == 2
    assert "marks frame 900 and 2 more, but the last frame of the track is" in stderr
    marks.write_text("frame,tip_x_px,tip_y_px\n" + "".join(f"{i},5,5\n" for i in (5, 6, 7, 900)))
    code, stdout, _ = run(capsys, "evaluate", tips, marks, "--json")  # a track that was cut off: they are lost
    assert code == 0
    assert json.loads(stdout)["missing"] == 1
