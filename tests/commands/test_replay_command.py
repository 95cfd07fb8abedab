"""`sonosteer replay`: decides everything of a recorded insertion again."""

import json

import pytest
from command_line import WORDS, one_line, run

from altering import put_together, taken_apart
from sonosteer.commands.main import main
from sonosteer.policies import table
from sonosteer.policies.constant import Constant
from sonosteer.runtime.branches import ControlBranch


@pytest.fixture(scope="module")
def beginning(inserted, tmp_path_factory):
    """The first quarter of its recording, as a killed process leaves it."""
    path = tmp_path_factory.mktemp("cut") / "recording.mcap"
    whole = (inserted / "recording.mcap").read_bytes()
    path.write_bytes(whole[: len(whole) // 4])
    return path


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The folder of an insertion that was stopped after half a second."""
    folder = tmp_path_factory.mktemp("short")
    tick = ControlBranch.tick

    def stopped(self, now_s, *more):
        if now_s > 0.5:
            raise KeyboardInterrupt
        return tick(self, now_s, *more)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as e:
        patch.setattr(ControlBranch, "tick", stopped)
        main([*WORDS, "--out", str(folder), "--json"])
    assert e.value.code == 130
    return folder


def test_a_replay_decides_the_same(capsys, inserted):
    code, stdout, stderr = run(capsys, "replay", inserted, "--json")
    assert code == 0, stderr
    got = json.loads(stdout)
    assert got["equal"] is True
    assert got["complete"] is True
    assert got["different"] == 0
    assert got["skipped"] == {}
    assert got["decisions"] == got["estimates"] + got["actions"] + got["verdicts"] > 300


def test_a_killed_recording_is_replayed_as_far_as_it_goes_and_is_not_equal(capsys, beginning):
    code, stdout, stderr = run(capsys, "replay", beginning)
    assert code == 1
    assert "is not equal to its run: it was cut off at byte " in stderr
    assert "decisions up to" in stdout
    assert "the recording was cut off at byte " in stdout
    assert "not a medical device" in stdout
    code, stdout, stderr = run(capsys, "replay", beginning, "--json")
    assert code == 1
    assert one_line(stderr)
    got = json.loads(stdout)
    assert (got["equal"], got["complete"], got["different"]) == (False, False, 0)
    assert got["equal_until_s"] == got["until_s"] > 0.5
    assert got["decisions"] > 50


def test_the_digest_that_the_run_said_is_the_recording_s(capsys, short, tmp_path):
    said = json.loads((short / "summary.json").read_text())["digest"]
    alone = tmp_path / "recording.mcap"
    alone.write_bytes((short / "recording.mcap").read_bytes())
    code, stdout, stderr = run(capsys, "replay", alone, "--digest", said.upper(), "--json")
    assert code == 0, stderr
    got = json.loads(stdout)
    assert (got["equal"], got["digest"], got["digest_compared"]) == (True, said, True)
    code, stdout, stderr = run(capsys, "replay", alone)
    assert code == 0, stderr
    assert f"digest     {said}: compare it" in stdout


def test_a_chain_that_was_made_anew_is_told_by_the_digest_and_by_the_summary_beside_it(capsys, short, tmp_path):
    said = (short / "summary.json").read_text()
    messages = taken_apart(short / "recording.mcap")
    put_together(tmp_path / "recording.mcap", [*messages[:-1], messages[-1].saying(ended="judged: hit!")], chained=True)
    code, stdout, _ = run(capsys, "replay", tmp_path, "--json")
    assert (code, json.loads(stdout)["equal"]) == (
        0,
        True,
    )  # as docs/how-to/recordings.md says: nothing is hidden in it
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--digest", json.loads(said)["digest"], "--json")
    assert code == 1
    assert one_line(stderr)
    assert "--digest says another" in stderr
    assert json.loads(stdout)["equal_until_s"] == 0.0
    (tmp_path / "summary.json").write_text(said)
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 1
    assert "summary.json says another" in stderr


@pytest.mark.parametrize("chained", [True, False])
def test_limits_that_were_loosened_are_found(capsys, short, tmp_path, chained):
    messages = taken_apart(short / "recording.mcap")
    configuration = messages[0].said["configuration"]
    configuration["limits"]["forward_mm_s"] = "fast"
    path = tmp_path / "recording.mcap"
    put_together(path, [messages[0].saying(configuration=configuration), *messages[1:]], chained=chained)
    (tmp_path / "summary.json").write_bytes((short / "summary.json").read_bytes())
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 1
    assert one_line(stderr)
    got = json.loads(stdout)
    assert (got["equal"], got["decisions"], got["equal_until_s"]) == (False, 0, 0.0)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "a" * 63])
def test_what_is_no_digest_is_one_line(capsys, short, digest):
    code, _, stderr = run(capsys, "replay", short, "--digest", digest)
    assert code == 2
    assert one_line(stderr)
    assert "64 hexadecimal digits" in stderr


def test_a_policy_that_decides_otherwise_is_exit_code_1(capsys, beginning, monkeypatch):
    monkeypatch.setattr(table, "make_policy", lambda name, **settings: Constant())
    code, _, stderr = run(capsys, "replay", beginning, "--json")
    assert code == 1
    assert one_line(stderr)
    assert "decisions differ from the recorded ones; the first: action on frame " in stderr


@pytest.mark.parametrize("size", [3, 8, 40, 500])
def test_a_recording_that_was_cut_before_anything_was_recorded_is_not_equal(capsys, short, tmp_path, size):
    (tmp_path / "recording.mcap").write_bytes((short / "recording.mcap").read_bytes()[:size])
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 1
    assert one_line(stderr)
    got = json.loads(stdout)
    assert (got["equal"], got["complete"], got["decisions"], got["equal_until_s"]) == (False, False, 0, 0.0)
    assert "before anything was recorded" in got["wrong"][0]


@pytest.mark.parametrize("content", [None, b"", b"not a recording"])
def test_what_is_no_recording_is_one_line(capsys, tmp_path, content):
    if content is not None:
        (tmp_path / "recording.mcap").write_bytes(content)
    code, _, stderr = run(capsys, "replay", tmp_path)
    assert code == 2
    assert one_line(stderr)
