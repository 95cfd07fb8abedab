"""`sonosteer insert`: what is typed, and what comes back. One short insertion for all of it."""

import json

import av
import pytest
from command_line import WORDS, one_line, run

from sonosteer.recording.run_reader import RunReader

PROMISED = {
    *("success", "reason", "final_error_mm", "time_s", "frames", "actions", "tracking_hz", "action_hz", "refused"),
}


def test_an_insertion_leaves_the_promised_files(inserted):
    assert {"recording.mcap", "overlay.mp4", "report.html", "summary.json"} <= {p.name for p in inserted.iterdir()}
    summary = json.loads((inserted / "summary.json").read_text())
    assert set(summary) >= PROMISED
    assert summary["success"] is True
    assert summary["reason"] == "hit"
    assert summary["configuration"]["policy"] == "visibility"
    assert summary["configuration"]["seed"] == 1
    assert set(summary["timing"]) == {"estimate", "decision", "command"}
    assert all(set(t) >= {"median_ms", "p95_ms", "p99_ms"} for t in summary["timing"].values())
    counts = summary["counts"]
    assert counts["captured"] == counts["used"] + counts["late"] + counts["dropped"] == summary["frames"]
    assert summary["recorder"] == {"failed": None, "pictures_dropped": {}}
    assert "not a medical device" in (inserted / "report.html").read_text()
    with av.open(str(inserted / "overlay.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == summary["frames"]


def test_the_recording_says_all_of_it(inserted):
    recorded = RunReader(inserted / "recording.mcap")
    summary = json.loads((inserted / "summary.json").read_text())
    assert recorded.complete
    assert recorded.ended == summary["ended"]
    assert recorded.configuration["command"]["policy"] == "visibility"
    assert recorded.counts["/frames"] == summary["frames"]
    assert recorded.counts["/decision"] == summary["actions"]
    ledger = next(recorded.messages("/ledger")).what
    assert ledger["captured"] == summary["frames"]


def test_the_words_for_a_person_say_what_it_is(capsys):
    code, stdout, stderr = run(capsys, *WORDS, "--synchronous")
    assert code == 0, stderr
    assert stdout.startswith("target ")
    assert "(visibility, ips, seed 1)" in stdout
    assert "tracking 1" in stdout
    for stage in ("estimate", "decision", "command"):
        assert f"capture to {stage}" in stdout
    assert "p99" in stdout
    assert "frames: " in stdout
    assert "not a medical device" in stdout


@pytest.mark.slow
def test_the_policy_that_ships_inserts_and_is_replayed(capsys, tmp_path):
    code, stdout, stderr = run(capsys, "insert", "--mode", "ips", "--seed", "1", "--out", tmp_path, "--json")
    assert code == 0, stderr
    assert set(json.loads(stdout)) == PROMISED
    assert json.loads((tmp_path / "summary.json").read_text())["configuration"]["policy"] == "vla"
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["actions"] > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "nobody"], "there is no policy called 'nobody'"),
        (["--mode", "sideways"], "--mode sideways"),
        (["--seed", "-1"], "--seed is -1"),
        (["--method", "guess"], "guess"),
        (["--scene", "in-plane-convex/nowhere"], "nowhere"),
        (["--policy", "constant", "--set", "speed_mm_s=0"], "speed_mm_s"),
        (["--policy", "constant", "--set", "wings=2"], "wings"),
        (["--forbid", "circle:1,2"], "--forbid circle:1,2: give circle:X,Y,RADIUS"),
        (["--forbid", "ball:1,2,3"], "--forbid ball:1,2,3"),
        (["--forbid", "circle:1,2,nan"], "--forbid circle:1,2,nan"),
        (["--forbid", "circle:1,2,-3"], "forbidden region 1"),
    ],
)
def test_words_that_mean_nothing_are_one_line(capsys, arguments, said):
    code, _, stderr = run(capsys, *WORDS, *arguments)
    assert code == 2
    assert one_line(stderr)
    assert said in stderr


def test_a_place_where_nothing_can_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, stderr = run(capsys, *WORDS, "--out", tmp_path / "file")
    assert code == 2
    assert one_line(stderr)


@pytest.mark.parametrize("words", [("--set", "model=nowhere"), ("--set-tracker", "model=nowhere")])
def test_a_network_that_is_not_there_is_one_line_and_nothing_is_written(capsys, tmp_path, words):
    code, stdout, stderr = run(capsys, "insert", *words, "--out", tmp_path / "o")
    assert (code, stdout) == (2, "")
    assert one_line(stderr)
    assert "'nowhere'" in stderr
    assert not (tmp_path / "o").exists()


def test_help_says_what_set_sets(capsys):
    said = " ".join(run(capsys, "insert", "--help")[1].split())
    assert "Sets one setting of the policy" in said
    assert "Sets one setting of the tracker" in said
