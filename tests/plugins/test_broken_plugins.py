"""A plug-in that breaks is one line that names it, what was raised, and where. What was done before is kept."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "commands"))
from command_line import one_line, run

import sonosteer
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.recording.tips import read_tips

SMALL = "sim:in-plane-linear?speed_mm_s=15&end_mm=18&angle_deg=40&enters=left&width_px=128&height_px=128&looks=1"

#: how it is broken -> (module, what is asked for, exit code, what the line says)
BROKEN = {
    "is not there": ("", "nowhere:Mine", 2, "there is no module 'nowhere', neither installed nor in "),
    "needs what is not there": (
        "import nothing_at_all\n",
        "broken:Mine",
        2,
        "ModuleNotFoundError: No module named 'noth",
    ),
    "is no Python": ("x = 1\nclass Mine(:\n", "broken:Mine", 2, "SyntaxError: invalid syntax (broken.py:2)"),
    "raises at import": ("\n\n1 / 0\n", "broken:Mine", 2, "ZeroDivisionError: division by zero (broken.py:3)"),
    "has another name": ("class Mime: pass\n", "broken:Mine", 2, "broken has no 'Mine' (did you mean 'Mime'?)"),
    "lacks a method": (
        "class Mine:\n def start(self, hint): pass\n",
        "broken:Mine",
        2,
        "method broken:Mine has no method 'step'; it needs start and step",
    ),
    "cannot be set up": (
        "class Mine:\n def __init__(self):\n  raise OSError('no weights')\n",
        "broken:Mine",
        2,
        "method broken:Mine cannot be set up: OSError: no weights (broken.py:3)",
    ),
    "breaks at the start": (
        "class Mine:\n def start(self, hint):\n  return hint.angle_rad[0]\n def step(self, s, f): pass\n",
        "broken:Mine",
        1,
        "method broken:Mine broke in start: TypeError: 'NoneType' object is not subscriptable (broken.py:3)",
    ),
    "breaks in mid-clip": (
        "import mine\nclass Mine(mine.Brightest):\n def step(self, s, f):\n"
        "  if f.index == 5: raise KeyError('five')\n  return super().step(s, f)\n",
        "broken:Mine",
        1,
        "method broken:Mine broke in step at frame 5: KeyError: 'five' (broken.py:4)",
    ),
    "returns nonsense": (
        "import mine\nclass Mine(mine.Brightest):\n def step(self, s, f):\n  return None\n",
        "broken:Mine",
        1,
        "method broken:Mine: step must return (state, TipEstimate or Lost), but returned None",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_plugin_that_is_broken_gets_one_line(capsys, folder, write, how):
    text, method, exit_code, said = BROKEN[how]
    (folder / "broken.py").write_text(text)
    code, stdout, stderr = run(capsys, "track", SMALL, "--method", method, "--out", "out")
    assert said in stderr
    assert code == exit_code
    assert one_line(stderr)
    assert stdout == ""


def test_a_setting_that_it_does_not_have_is_named(capsys, folder):
    code, _, stderr = run(capsys, "track", SMALL, "--method", "mine:Brightest", "--set", "mood=1", "--out", "out")
    assert code == 2
    assert "there is no setting 'mood'; there are: least, name" in stderr


def test_frames_before_it_broke_are_kept(capsys, folder, write):
    (folder / "broken.py").write_text(BROKEN["breaks in mid-clip"][0])
    run(capsys, "track", SMALL, "--method", "broken:Mine", "--out", "out")
    assert [r.frame for r in read_tips(folder / "out" / "tips.csv")] == [0, 1, 2, 3, 4]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["counts"]["frames"] == 5
    assert any("broke in step at frame 5" in why for why in summary["counts"]["dropped_because"])
    assert (folder / "out" / "report.html").exists()


def test_in_python_the_error_keeps_the_track_and_its_cause(folder):
    (folder / "broken.py").write_text(BROKEN["breaks in mid-clip"][0])
    with pytest.raises(BrokenError, match="at frame 5") as e:
        sonosteer.track(SMALL, "broken:Mine")
    assert len(e.value.kept) == 5
    assert isinstance(e.value.__cause__, KeyError)
    table = sonosteer.compare(SMALL, ["broken:Mine", "mine:Brightest"])
    assert [row["broke"] is None for row in table.rows] == [False, True]
    assert table.rows[0]["frames"] == 5
    assert "broken:Mine broke: method broken:Mine broke in step" in repr(table)


@pytest.mark.slow
def test_a_policy_that_breaks_holds_the_needle_and_the_run_is_kept(capsys, folder, write):
    write(
        "broken",
        """
        class Mine:
            def start(self, task): return None
            def step(self, state, observation): raise ValueError("no idea")
        """,
    )
    words = ["insert", "--policy", "broken:Mine", "--method", "mine:Brightest", "--mode", "ips", "--seed", "1"]
    code, _, stderr = run(capsys, *words, "--out", "run", "--json")
    assert code == 1, stderr
    assert "the policy broke" in stderr
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["success"] is False
    assert (folder / "run" / "recording.mcap").stat().st_size > 1000


def test_nothing_is_tracked_if_no_method_can_be_run(folder):
    with pytest.raises(InputError, match="there is no tracking method called 'kff'"):
        sonosteer.compare(SMALL, ["mine:Brightest", "kff"])
