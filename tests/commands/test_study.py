"""`sonosteer study`: what is typed, what is written, what is said."""

import json

import pytest
from command_line import one_line, run


@pytest.mark.parametrize("quick", [False, True])
def test_a_quick_run_says_that_it_was_quick(capsys, tmp_path, monkeypatch, quick):
    def carry_out(*, out, quick, seed, executor, progress):
        progress("trials", 1, 1)
        return {"study": "tracking", "quick": quick, "seed": seed}

    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: carry_out)
    words = ["study", "tracking", "--out", tmp_path / "o", *(["--quick"] if quick else [])]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert ("A quick run: too few trials to conclude from." in stdout) is quick
    assert str(tmp_path / "o" / "report.html") in stdout
    code, stdout, stderr = run(capsys, *words, "--json")
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["quick"] is quick


def test_settings_reach_a_study_that_has_some_and_are_refused_by_one_that_has_none(capsys, tmp_path, monkeypatch):
    def with_settings(*, out, quick, seed, executor, progress, settings=None):
        return {"settings": settings}

    def without(*, out, quick, seed, executor, progress):
        raise AssertionError("was run")

    words = ["study", "in-the-wild", "--out", tmp_path / "o", "--json"]
    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: with_settings)
    assert json.loads(run(capsys, *words)[1])["settings"] is None
    code, stdout, _ = run(capsys, *words, "--set", "split=validation", "--set", "stills=30")
    assert (code, json.loads(stdout)["settings"]) == (0, {"split": "validation", "stills": 30})
    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: without)
    code, _, stderr = run(capsys, *words, "--set", "split=validation")
    assert code == 2
    assert one_line(stderr)
    assert "study in-the-wild has no settings" in stderr


def test_ctrl_c_says_that_the_study_goes_on(capsys, tmp_path, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sonosteer.core.registry.LazyTable.load", lambda table, name: interrupted)
    code, _, stderr = run(capsys, "study", "tracking", "--out", tmp_path / "o")
    assert code == 130
    assert one_line(stderr)
    assert f"the trials done so far are in {tmp_path / 'o'}: run it again to go on" in stderr
