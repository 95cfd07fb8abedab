"""The `sonosteer` command: help, start-up, completion, and one clear line for every failure."""

import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from command_line import one_line, run

from sonosteer.commands import demo
from sonosteer.commands.main import PAGES

HEAVY = ("numpy", "numba", "cv2", "scipy", "matplotlib", "av", "rich", "torch", "onnxruntime")
NOT_FOR_STILLS = ("numba", "scipy", "matplotlib", "av", "rich", "pandas", "torch", "sonosteer.sim.world")
SUBCOMMANDS = {
    "dataset": ("make", "info", "export", "import"),
    "steer": ("predict", "fit", "plan", "run"),
    "calibrate": ("screen", "pivot", "image", "robot", "clock", "guide"),
}
COMMANDS = [words for page in PAGES for words in ([(page, sub) for sub in SUBCOMMANDS.get(page, ())] or [(page,)])]


def python(code, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environment)


def test_help_explains_every_command_with_an_example(capsys):
    for command in ("demo", "simulate", "track", "evaluate", "study", "train", "bench", "doctor"):
        code, stdout, _ = run(capsys, command, "--help")
        assert code == 0
        assert "Example: sonosteer" in stdout
    assert run(capsys, "--version")[1].startswith("sonosteer ")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_to_type_for_every_option(capsys, words):
    code, stdout, _ = run(capsys, *words, "--help")
    assert code == 0
    assert f"Example: sonosteer {' '.join(words)}" in stdout
    assert "<list[" not in stdout
    assert ("--json" in stdout) == (words != ("open",))  # its first line is the page's address
    for option in re.findall(r"^  (--[a-z-]+ <\w+>)", stdout, re.MULTILINE):
        pytest.fail(f"{option}: a metavar says what to type")


def test_help_lists_the_commands(capsys):
    code, stdout, _ = run(capsys, "--help")
    assert code == 0
    assert re.findall(r"^  ([a-z]+)  ", stdout, re.MULTILINE) == list(PAGES)


def test_a_command_that_there_is_not_gets_a_suggestion(capsys):
    code, _, stderr = run(capsys, "trak")
    assert code == 2
    assert one_line(stderr)
    assert "Did you mean 'track'" in stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["track"], ["track", "a.mp4", "--out"], ["bench", "nothing"]])
def test_a_wrong_command_line_is_one_line_too(capsys, arguments):
    code, _, stderr = run(capsys, *arguments)
    assert code == 2
    assert one_line(stderr)


LIGHT = [words for words in COMMANDS if words[0] != "dataset"]  # its lists stand in modules that simulate


def test_start_up_and_help_load_nothing_heavy():
    done = python(
        "import sys\n"
        "from sonosteer.commands.main import main\n"
        f"for words in {[[], *LIGHT]}:\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit as e: assert e.code in (0, None)\n"
        f"    print(words, [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.endswith(" []")] == []


def test_importing_the_package_loads_nothing_heavy():
    done = python(f"import sys, sonosteer; print([m for m in {HEAVY} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def test_a_still_is_tracked_without_what_it_does_not_need(tmp_path):
    still, out = tmp_path / "still.png", tmp_path / "out"
    cv2.imwrite(str(still), np.full((48, 64), 20, np.uint8))
    done = python(
        "import sys\n"
        "from sonosteer.commands.main import main\n"
        f"try: main(['track', {str(still)!r}, '--out', {str(out)!r}])\n"
        "except SystemExit as e: assert e.code in (0, None)\n"
        f"print([m for m in {NOT_FOR_STILLS} if m in sys.modules])"
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    assert "<h2>Pictures</h2>" in (out / "report.html").read_text()


def completed(*words):
    """What bash is offered after these words; the last is not complete."""
    line = " ".join(["sonosteer", *words])
    done = python(
        "from sonosteer.commands.main import main; main([])",
        _SONOSTEER_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words)),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ["track", "train"]),
        (("track", "--method", "kf+"), ["kf+f"]),
        (("insert", "--policy", "vis"), ["visibility"]),
        (("simulate", "in-plane-t"), ["in-plane-thin"]),
        (("study", "v"), ["vla-tracking"]),
        (("bench", "vla-"), ["vla-gpu"]),
        (("dataset", "make", "d-i"), ["d-insert"]),
        (("steer", "run", "--bevel-force", "m"), ["mild", "middle"]),
    ],
    ids=lambda v: " ".join(v),
)
def test_the_shell_completes_commands_and_names(words, offered):
    assert completed(*words) == offered


def test_completion_can_be_installed(capsys):
    assert "--install-completion" in run(capsys, "--help")[1]
    assert "--show-completion" in run(capsys, "--help")[1]


def test_what_breaks_is_one_line_and_exit_code_1(capsys, monkeypatch):
    def breaks(*_):
        raise RuntimeError("something of\nours")

    monkeypatch.setattr(demo.parsing, "parse_hint", breaks)
    code, stdout, stderr = run(capsys, "demo", "--out", "never")
    assert (code, stdout) == (1, "")
    assert one_line(stderr)
    assert "broke with RuntimeError: something of ours" in stderr


def test_json_of_the_doctor_is_one_object(capsys):
    code, stdout, stderr = run(capsys, "doctor", "--json")
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["notice"] == "Research software, not a medical device."
