"""`sonosteer replay`: decides everything of a recorded insertion again."""

import json

import pytest
from command_line import one_line, run

from sonosteer.policies import table
from sonosteer.policies.constant import Constant


@pytest.fixture(scope="module")
def beginning(inserted, tmp_path_factory):
    """The first quarter of its recording, as a killed process leaves it."""
    path = tmp_path_factory.mktemp("cut") / "recording.mcap"
    whole = (inserted / "recording.mcap").read_bytes()
    path.write_bytes(whole[: len(whole) // 4])
    return path


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


@pytest.mark.parametrize("content", [None, b"", b"not a recording", b"\x89MCAP0\r\n"])
def test_what_is_no_recording_is_one_line(capsys, tmp_path, content):
    if content is not None:
        (tmp_path / "recording.mcap").write_bytes(content)
    code, _, stderr = run(capsys, "replay", tmp_path)
    assert code == 2
    assert one_line(stderr)
