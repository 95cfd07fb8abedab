"""`sonosteer demo`: says where its results are."""

from command_line import run


def test_the_demo_tells_where_its_results_are(capsys, tmp_path):
    code, stdout, _ = run(capsys, "demo", "--out", tmp_path / "demo", "--seed", 2)
    assert code == 0
    assert str(tmp_path / "demo" / "report.html") in stdout
    assert "tip error" in stdout
    assert (tmp_path / "demo" / "report.html").stat().st_size > 50_000
