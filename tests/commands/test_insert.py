"""`sonosteer insert`: what is typed, and what comes back. One short insertion for all of it."""

import dataclasses
import errno
import json
import os
import shutil
import threading

import av
import pytest
from command_line import WORDS, one_line, run

from sonosteer.core.errors import RobotError
from sonosteer.episodes import insertion
from sonosteer.recording.output_folder import claimed_folder
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.branches import ControlBranch

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
    assert summary["digest"] == RunReader(inserted / "recording.mcap").digest
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
    assert set(json.loads(stdout)) == PROMISED | {"digest"}
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
        (["--paused"], "--paused needs --live"),
        (["--paused", "--live"], "--paused needs a terminal"),
        (["--calibration-sd-mm", "much"], "--calibration-sd-mm much: give one standard deviation"),
        (["--calibration-sd-mm", "1,2,3"], "--calibration-sd-mm 1,2,3"),
        (["--calibration-sd-mm", "-1"], "--calibration-sd-mm -1"),
        (["--calibration-sd-mm", "nan"], "--calibration-sd-mm nan"),
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


# -- every end has its exit code (docs/reference/exit-codes.md) ---------------------------------------------------


def breaking(monkeypatch, do=lambda episode: None):
    """Do something to an episode before it begins. One that is held is given up at once, to be quick."""
    build = insertion.build_episode

    def built(config):
        episode = build(dataclasses.replace(config, pace=dataclasses.replace(config.pace, patience_s=0.3)))
        do(episode)
        return episode

    monkeypatch.setattr(insertion, "build_episode", built)


def insert(capsys, out, *more):
    """(exit code, result, stderr, recording) of an insertion of which one thing fails."""
    code, stdout, stderr = run(capsys, *WORDS, *more, "--out", out, "--json")
    assert one_line(stderr) or code == 0, stderr
    return code, json.loads(stdout), stderr, RunReader(out / "recording.mcap")


def test_a_robot_that_goes_away_is_exit_code_1_and_what_was_done_is_kept(capsys, tmp_path, monkeypatch):
    def goes_away(episode):
        read, episode.robot.reads = episode.robot.read, 0

        def reading():
            episode.robot.reads += 1
            if episode.robot.reads > 50:
                raise RobotError("connection lost")
            return read()

        episode.robot.read = reading

    breaking(monkeypatch, goes_away)
    code, result, stderr, recorded = insert(capsys, tmp_path)
    assert code == 1
    assert "broke off" in stderr
    assert "connection lost" in stderr
    assert str(tmp_path) in stderr
    assert result["success"] is False
    assert recorded.complete
    assert result["digest"] == recorded.digest
    code, stdout, stderr = run(capsys, "replay", tmp_path, "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["skipped"]["control periods without a robot"] > 20


@pytest.mark.slow
def test_a_camera_that_falls_silent_is_exit_code_1(capsys, tmp_path, monkeypatch):
    def silent(episode):
        capture = episode.rig.capture
        episode.rig.capture = lambda now_s: capture(now_s) if now_s < 0.5 else None

    breaking(monkeypatch, silent)
    code, _, stderr, recorded = insert(capsys, tmp_path)
    assert code == 1
    assert "no frame for" in stderr
    assert recorded.complete


@pytest.mark.slow
def test_a_policy_that_breaks_is_exit_code_1(capsys, tmp_path, monkeypatch):
    def breaks(episode):
        step = type(episode.policy).step

        class Breaking(type(episode.policy)):
            def step(self, state, observation):
                if observation.capture_time_s > 0.5:
                    raise ValueError("a policy's own mistake")
                return step(self, state, observation)

        episode.policy = Breaking()

    breaking(monkeypatch, breaks)
    code, _, stderr, _ = insert(capsys, tmp_path)
    assert code == 1
    assert "a policy's own mistake" in stderr


@pytest.mark.parametrize("room", [pytest.param(20_000, marks=pytest.mark.slow), 1_500_000])
def test_a_full_disk_is_exit_code_2_and_the_recording_is_kept_as_far_as_it_goes(capsys, tmp_path, monkeypatch, room):
    real = os.write

    def small_disk(fd, data):
        nonlocal room
        if threading.current_thread().name != "recorder":
            return real(fd, data)
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room -= len(data)
        return real(fd, data)

    monkeypatch.setattr(os, "write", small_disk)
    breaking(monkeypatch)
    code, result, stderr, recorded = insert(capsys, tmp_path)
    assert code == 2
    assert "the disk is full" in stderr
    assert result["digest"] is None
    assert not recorded.complete


@pytest.mark.slow
def test_a_stop_that_the_operator_pressed_is_exit_code_130(capsys, tmp_path, monkeypatch):
    tick = ControlBranch.tick

    def pressed(self, now_s, *more):
        if now_s > 0.5:
            self.press()
        return tick(self, now_s, *more)

    monkeypatch.setattr(ControlBranch, "tick", pressed)
    breaking(monkeypatch)
    code, result, stderr, recorded = insert(capsys, tmp_path)
    assert code == 130
    assert "pressed stop" in stderr
    assert result["success"] is False
    assert recorded.complete


def test_ctrl_c_is_exit_code_130_and_the_recording_is_whole(capsys, tmp_path, monkeypatch):
    tick = ControlBranch.tick

    def stopped(self, now_s, *more):
        if now_s > 0.5:
            raise KeyboardInterrupt
        return tick(self, now_s, *more)

    monkeypatch.setattr(ControlBranch, "tick", stopped)
    code, _, stderr, recorded = insert(capsys, tmp_path)
    assert code == 130
    assert "interrupted after 0.5 s" in stderr
    assert recorded.complete
    assert recorded.ended == "interrupted"
    assert run(capsys, "replay", tmp_path, "--json")[0] == 0


@pytest.mark.slow
def test_a_needle_that_the_gate_holds_is_a_miss_and_exit_code_0(capsys, tmp_path, monkeypatch):
    breaking(monkeypatch)
    code, result, _, recorded = insert(capsys, tmp_path, "--forbid", "circle:20,20,200")
    assert code == 0
    assert result["success"] is False
    assert result["refused"]
    assert recorded.complete


@pytest.mark.slow
def test_an_output_folder_that_is_removed_meanwhile_is_exit_code_2(capsys, tmp_path, monkeypatch):
    """What is written goes nowhere: the recorder says so, and the needle is held."""
    out, tick = tmp_path / "o", ControlBranch.tick

    def removed(self, now_s, *more):
        if now_s > 0.5 and out.exists():
            shutil.rmtree(out)
        return tick(self, now_s, *more)

    monkeypatch.setattr(ControlBranch, "tick", removed)
    breaking(monkeypatch)
    code, stdout, stderr = run(capsys, *WORDS, "--out", out, "--json")
    assert code == 2
    assert one_line(stderr)
    assert "recording.mcap cannot be written: it was removed" in stderr
    assert stdout == "" or json.loads(stdout)["success"] is False
    assert not out.exists()


def test_a_second_insertion_into_the_same_folder_is_refused(capsys, inserted):
    before = (inserted / "recording.mcap").read_bytes()
    with claimed_folder(inserted):
        code, _, stderr = run(capsys, *WORDS, "--out", inserted, "--json")
    assert code == 2
    assert one_line(stderr)
    assert "another command writes to" in stderr
    assert "--out" in stderr
    assert (inserted / "recording.mcap").read_bytes() == before
