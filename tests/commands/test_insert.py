"""`sonosteer insert` and `sonosteer replay`: what is typed, and what comes back. One short insertion for all of it."""

import json

import av
import pytest
from command_line import one_line, run

from sonosteer.commands.main import main
from sonosteer.policies import table
from sonosteer.policies.constant import Constant
from sonosteer.recording.run_reader import RunReader

PROMISED = {
    *("success", "reason", "final_error_mm", "time_s", "frames", "actions", "tracking_hz", "action_hz", "refused"),
}
WORDS = ["insert", "--policy", "visibility", "--mode", "ips", "--seed", "1"]


@pytest.fixture(scope="module")
def inserted(tmp_path_factory):
    """The folder of an insertion, as the command line writes it."""
    folder = tmp_path_factory.mktemp("insertion")
    with pytest.raises(SystemExit) as e:
        main([*WORDS, "--out", str(folder), "--json"])
    assert e.value.code == 0
    return folder


@pytest.fixture(scope="module")
def beginning(inserted, tmp_path_factory):
    """The first quarter of its recording, as a killed process leaves it."""
    path = tmp_path_factory.mktemp("cut") / "recording.mcap"
    whole = (inserted / "recording.mcap").read_bytes()
    path.write_bytes(whole[: len(whole) // 4])
    return path


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


def test_a_replay_decides_the_same(capsys, inserted):
    code, stdout, stderr = run(capsys, "replay", inserted, "--json")
    assert code == 0, stderr
    got = json.loads(stdout)
    assert got["equal"] is True
    assert got["complete"] is True
    assert got["different"] == 0
    assert got["skipped"] == {}
    assert got["decisions"] == got["estimates"] + got["actions"] + got["verdicts"] > 300


def test_a_killed_recording_is_replayed_as_far_as_it_goes(capsys, beginning):
    code, stdout, stderr = run(capsys, "replay", beginning)
    assert code == 0, stderr
    assert "decisions up to" in stdout
    assert "the recording was " in stdout
    assert "not a medical device" in stdout


def test_a_policy_that_decides_otherwise_is_exit_code_1(capsys, beginning, monkeypatch):
    monkeypatch.setattr(table, "make_policy", lambda name, **settings: Constant())
    code, _, stderr = run(capsys, "replay", beginning, "--json")
    assert code == 1
    assert one_line(stderr)
    assert "decisions differ from the recorded ones; the first: action on frame " in stderr


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


@pytest.mark.parametrize("content", [None, b"", b"not a recording", b"\x89MCAP0\r\n"])
def test_what_is_no_recording_is_one_line(capsys, tmp_path, content):
    if content is not None:
        (tmp_path / "recording.mcap").write_bytes(content)
    code, _, stderr = run(capsys, "replay", tmp_path)
    assert code == 2
    assert one_line(stderr)
