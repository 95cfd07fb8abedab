"""`sonosteer evaluate`: errors of a track against truth."""

import json

from command_line import one_line, run

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
