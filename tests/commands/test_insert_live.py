"""`sonosteer insert --live` on a live source, as a user meets it. A dry run without a robot, and every wrong word."""

import json
from pathlib import Path

import pytest
from command_line import one_line, run
from igtl_peers import Sender
from test_track_live import Scanner

from sonosteer.recording.run_reader import RunReader

HERE = Path(__file__).parent
WORDS = ("--live", "--enters", "left", "--policy", "constant", "--method", "brightest:Brightest")
DRY = ("--dry-run", "--angle-deg", "40", "--target-mm", "20,20")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(HERE)


def test_a_dry_run_on_a_live_source_is_recorded_and_replays_equal(capsys, tmp_path):
    scanner = Scanner(forever=True)
    with Sender([scanner]) as peer:
        where = f"{peer.where}/Image?clock=shared"
        words = (*WORDS, *DRY, "--orientation", "MF", "--seconds", "3", "--out", tmp_path / "run", "--json")
        code, stdout, stderr = run(capsys, "insert", where, *words)
        scanner.done.set()
    assert code == 0, stderr
    said = json.loads(stdout)
    assert said["dry_run"] is True
    assert said["success"] is None
    assert said["reason"] == "not there after 3 s"
    counts = said["source"]["counts"]
    assert counts["received"] == counts["seen"] + counts["overwritten"] + sum(counts["bad"].values())
    recorded = RunReader(tmp_path / "run" / "recording.mcap")
    assert recorded.configuration["live"]["dry_run"] is True
    assert recorded.configuration["live"]["source"]["name"].endswith("/Image")
    assert recorded.counts["/source"] > 1
    assert recorded.counts["/decision"] == said["actions"]
    assert {"recording.mcap", "overlay.mp4", "report.html", "summary.json"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }
    assert "Dry run: nothing was sent to the robot" in (tmp_path / "run" / "report.html").read_text()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {"arrival", "estimate"} <= set(summary["timing"])
    code, stdout, stderr = run(capsys, "replay", tmp_path / "run", "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["equal"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("insert", "--rig", "rig.toml"), "--rig is for a live source"),
        (("insert", "--target-mm", "1,2"), "--target-mm is for a live source"),
        (("insert", "--calibration", "a.toml"), "--calibration is for a live source"),
        (("insert", "igtl://localhost:1", "--enters", "left"), "give --live, too"),
        (("insert", "clip.mp4", "--live", "--enters", "left"), "no live source"),
        (("insert", "igtl://localhost:1", "--live"), "--enters left or --enters right"),
        (("insert", "igtl://localhost:1", *WORDS), "one target is needed"),
        (("insert", "igtl://localhost:1", *WORDS, "--target-mm", "20,20"), "give its --rig file, or --dry-run"),
        (("insert", "igtl://localhost:1", *WORDS, "--target-mm", "20,20", "--dry-run"), "give --angle-deg"),
        (("insert", "igtl://localhost:1", *WORDS, "--target-mm", "20", "--dry-run"), "X,Y in mm of the first picture"),
        (("insert", "igtl://localhost:1", *WORDS, "--target-world-mm", "1,2"), "X,Y,Z in mm of the world"),
        (("insert", "igtl://localhost:1", *WORDS, *DRY, "--angle-deg", "100"), "between 0 and 90"),
        (("insert", "igtl://localhost:1", *WORDS, *DRY, "--seconds", "0"), "above 0"),
        (("insert", "igtl://localhost:1", *WORDS, *DRY, "--calibration", "nowhere.toml"), "nowhere.toml"),
        (("insert", "igtl://localhost:1", *WORDS, "--target-mm", "1,1", "--rig", "nowhere.toml"), "nowhere.toml"),
        (("insert", "igtl://localhost:1", *WORDS, *DRY), "connection refused"),
        (("insert", "igtl://localhost:1", *WORDS, *DRY, "--paused"), "--paused needs a terminal"),
    ],
)
def test_a_wrong_word_is_one_line(capsys, words, said):
    code, _, stderr = run(capsys, *words)
    assert code == 2
    assert one_line(stderr)
    assert said in stderr
