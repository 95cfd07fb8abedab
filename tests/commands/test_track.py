"""`sonosteer track` as a user meets it: files, exit codes, one clear line for every mistake."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest
from command_line import SHORT, one_line, run

from sonosteer.commands import terminal
from sonosteer.recording.tips import TIPS_CSV_COLUMNS, read_tips


def frames_of(path):
    with av.open(str(path)) as c:
        return sum(1 for _ in c.decode(video=0))


def test_a_track_leaves_the_promised_files(clip, tracked):
    assert {p.name for p in tracked.iterdir()} == {"tips.csv", "overlay.mp4", "report.html", "summary.json"}
    rows = list(csv.reader((tracked / "tips.csv").read_text().splitlines()))
    assert tuple(rows[0]) == TIPS_CSV_COLUMNS
    frames = frames_of(clip / "clip.mp4")
    assert [r[0] for r in rows[1:]] == [str(i) for i in range(frames)]
    assert frames_of(tracked / "overlay.mp4") == frames


def test_a_summary_says_what_was_done_and_with_what(clip, tracked):
    summary = json.loads((tracked / "summary.json").read_text())
    assert summary["counts"]["frames"] == frames_of(clip / "clip.mp4")
    assert summary["dropped"] == 0
    assert set(summary["timing"]["track"]) >= {"median_ms", "p95_ms", "p99_ms", "max_ms"}
    assert summary["configuration"]["tip"]["sigma_max"] == 300.0
    assert summary["versions"]["numpy"]


def test_the_words_are_saved_as_they_were_typed(clip, tracked):
    assert json.loads((tracked / "summary.json").read_text())["options"] == {
        "source": str(clip / "clip.mp4"),
        "out": str(tracked),
        "method": "kf+f",
        "spacing_mm": None,
        "angle_deg": "35:45",
        "enters": None,
        "start": None,
        "velocity_mm_s": None,
        "frames": None,
        "crop": None,
        "stills": False,
        "seconds": None,
        "orientation": None,
        "publish": None,
        "target": None,
        "truth": None,
        "calibration": None,
        "probe": None,
        "poses": None,
        "parquet": False,
        "markups": False,
        "keep_identity": False,
        "readings": None,
        "show": False,
        "port": None,
        "no_browser": False,
        "seed": 0,
        "config": None,
        "settings": [],
    }


def test_json_is_one_object_and_nothing_else(capsys, tmp_path):
    code, stdout, stderr = run(capsys, "track", SHORT, "--enters", "left", "--out", tmp_path / "o", "--json")
    assert code == 0
    assert stderr == ""
    summary = json.loads(stdout)
    assert summary["error"]["frames"] == summary["counts"]["frames"]
    assert summary["scene"]["angle_deg"] == 40


def test_a_range_of_frames_keeps_the_sources_numbers(capsys, clip, tmp_path):
    words = ["track", clip / "clip.mp4", "--enters", "left", "--frames", "3:9", "--out", tmp_path / "o"]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    assert [r.frame for r in read_tips(tmp_path / "o" / "tips.csv")] == [3, 4, 5, 6, 7, 8]
    assert "not a medical device" in stdout
    assert str(tmp_path / "o" / "report.html") in stdout


def test_a_pipe_is_told_how_far_it_is_in_plain_lines(capsys, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "EVERY_S", 0.0)
    words = ["track", clip / "clip.mp4", "--enters", "left", "--frames", "3:6", "--out", tmp_path / "o"]
    code, _, stderr = run(capsys, *words)
    assert code == 0
    assert not {"\x1b", "\r"} & set(stderr)
    said = [line.partition(" (")[0] for line in stderr.splitlines()]
    assert said == [
        "tracking: 1 of 3",
        "tracking: 2 of 3",
        "tracking: 3 of 3",
        "tracking: writing the report",
        "tracking: done",
    ]


def video(path, n, sizes=((64, 48),)):
    with av.open(str(path), "w") as c:
        s = c.add_stream("libx264", rate=20)
        s.width, s.height, s.pix_fmt = *sizes[0], "yuv420p"
        for i in range(n):
            f = av.VideoFrame.from_ndarray(np.full((48, 64), 8 * i, np.uint8), format="gray")
            f.pts = i
            c.mux(s.encode(f))
        c.mux(s.encode(None))
    return path


def changing_size(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((48, 64 if i < 3 else 60), 90, np.uint8))
    return folder


MISTAKES = {
    "missing file": (lambda p: [p / "nothing.mp4"], "does not exist"),
    "empty file": (lambda p: [(p / "e.mp4", (p / "e.mp4").touch())[0]], "is empty"),
    "truncated mp4": (lambda p: [(f := video(p / "t.mp4", 30), f.write_bytes(f.read_bytes()[:700]))[0]], "cut off"),
    "text named mp4": (lambda p: [(p / "x.mp4", (p / "x.mp4").write_text("hello\n" * 99))[0]], "not a video"),
    "no scale, needed": (
        lambda p: [video(p / "a.mp4", 5), "--method", "kf+f"],
        "the scale is unknown: give --spacing-mm",
    ),
    "spacing 0": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm", "0"], "positive number"),
    "spacing nan": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm", "nan"], "positive number"),
    "spacing negative": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=-0.1"], "positive number"),
    "spacing text": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm", "wide"], "millimetres per pixel"),
    "angles upside down": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--angle-deg=40:30"], "upside down"),
    "angles out of range": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--angle-deg=170:190"], "0 and 180"),
    "side unknown": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--enters=below"], "left, right and top"),
    "one frame": (lambda p: [video(p / "a.mp4", 1), "--spacing-mm", "0.1"], "one frame only"),
    "frames change size": (lambda p: [changing_size(p), "--spacing-mm", "0.1"], "frame 3 is 60x48"),
    "frames upside down": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--frames=4:2"], "0 <= A < B"),
    "frames beyond": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--frames=7:"], "has 5 frames"),
    "method unknown": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--method=kff"], "did you mean 'kf+f'"),
    "setting unknown": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--set=mood=1"], "no setting 'mood'"),
    "setting wrong": (
        lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--method=kf+f", "--set=tip.M=ten"],
        "must be of type int",
    ),
    "scale of a house": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=20"], "no ultrasound image"),
    "scale of a cell": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.001"], "no ultrasound image"),
    "no such config": (
        lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--config", p / "c.toml"],
        "c.toml does not",
    ),
    "click wrong": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--start=here"], "X,Y in pixels"),
    "truth missing": (lambda p: [video(p / "a.mp4", 5), "--spacing-mm=0.1", "--truth", p / "t.csv"], "does not exist"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_clear_line_and_exit_code_2(capsys, tmp_path, mistake):
    make, said = MISTAKES[mistake]
    arguments = make(tmp_path)
    if not any(str(a).startswith(("--enters", "--angle")) for a in arguments):
        arguments = [*arguments, "--enters", "left"]
    code, stdout, stderr = run(capsys, "track", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert said in stderr
    assert one_line(stderr)
    assert stdout == ""


def test_a_scale_that_a_method_needs_is_asked_for_before_anything_is_written(capsys, tmp_path):
    path = video(tmp_path / "a.mp4", 5)
    for method in ("kf+f", "df", "axial"):
        words = ["track", path, "--method", method, "--enters", "left", "--crop", "0,0,60,40"]
        code, _, stderr = run(capsys, *words, "--out", tmp_path / "out")
        assert code == 2
        assert one_line(stderr)
        assert f"a.mp4: the scale is unknown: give --spacing-mm, mm per pixel. Method {method} " in stderr
        assert not (tmp_path / "out").exists()


def test_frames_before_a_change_of_size_are_kept(capsys, tmp_path):
    arguments = [changing_size(tmp_path), "--spacing-mm", "0.1", "--enters", "left", "--out", tmp_path / "out"]
    run(capsys, "track", *arguments)
    assert len(read_tips(tmp_path / "out" / "tips.csv")) == 3
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["dropped"] == 1
    assert "60x48" in next(iter(summary["counts"]["dropped_because"]))


def test_settings_come_from_a_file_and_from_the_line_and_are_saved(capsys, tmp_path):
    config = tmp_path / "mine.toml"
    config.write_text("follow = 0.2\n[tip]\nM = 12\nr_min = 400.0\n")
    words = [
        "track",
        SHORT,
        "--method",
        "kf+f",
        "--enters",
        "left",
        "--config",
        config,
        "--set",
        "tip.r_min=500",
        "--out",
        tmp_path / "o",
        "--json",
    ]
    code, stdout, _ = run(capsys, *words)
    assert code == 0
    used = json.loads(stdout)["configuration"]
    assert used["follow"] == 0.2
    assert (used["tip"]["M"], used["tip"]["r_min"], used["tip"]["q_v"]) == (12, 500.0, 0.1**2)


def test_no_hint_at_all_is_told_what_to_add(capsys, tmp_path):
    path = video(tmp_path / "a.mp4", 5)
    code, _, stderr = run(capsys, "track", path, "--method", "kf+f", "--spacing-mm", "0.1", "--out", tmp_path / "out")
    assert code == 2
    assert "--enters (left, right or top)" in stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_refused(capsys, tmp_path):
    path = video(tmp_path / "a.mp4", 5)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for out in (blocked, blocked / "deeper", "/proc/nothing"):
        code, _, stderr = run(capsys, "track", path, "--spacing-mm=0.1", "--enters=left", "--out", out)
        assert code == 2
        assert one_line(stderr)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_rows(tmp_path):
    """With a limit on the size of files, which the system enforces as it does a full disk."""
    code = (
        "import resource, sys; from sonosteer.commands.main import main; "
        "import sonosteer.trackers.mathiassen2017 as k; "
        "k.KFFeedback().prepare(); resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); "
        "main(sys.argv[1:])"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, "track", SHORT, "--enters", "left", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "disk is full" in done.stderr
    assert one_line(done.stderr)
    assert len(read_tips(out / "tips.csv")) > 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_the_frames_done(tmp_path, number):
    out = tmp_path / "out"
    source = "sim:in-plane-linear?speed_mm_s=0.5&enters=left"  # a long clip
    words = ["track", source, "--enters", "left", "--out", str(out), "--json"]  # no progress on stderr, however slow
    command = [sys.executable, "-m", "sonosteer", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    tips = out / "tips.csv"
    for _ in range(600):
        if tips.exists() and tips.read_text().count("\n") > 12:
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert one_line(stderr)
    rows = read_tips(tips)
    assert [r.frame for r in rows] == list(range(len(rows)))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["counts"]["interrupted"] is True
    assert summary["counts"]["frames"] == len(rows)
    assert (out / "report.html").exists()


def test_stills_and_tracked_sequences_run(capsys, real_data, tmp_path):
    for i, name in enumerate(
        ("needle-stills-ge", "needle-stills-ge/45.png", "plus-sequences/BkCurvilinearScanConvertedData.igs.mha")
    ):
        code, _, stderr = run(
            capsys, "track", real_data / name, "--spacing-mm", "0.059", "--enters", "left", "--out", tmp_path / str(i)
        )
        assert code == 0, stderr
        assert read_tips(tmp_path / str(i) / "tips.csv")


@pytest.mark.slow
def test_the_speed_comes_from_a_number_a_table_or_the_simulation(capsys, tmp_path):
    run(capsys, "simulate", SHORT.removeprefix("sim:"), "--out", tmp_path / "c.mp4", "--truth", tmp_path / "t.csv")
    clip = ["track", tmp_path / "c.mp4", "--method", "kfv+f", "--enters", "left", "--json", "--out"]
    code, _, stderr = run(capsys, *clip, tmp_path / "none")
    assert code == 2
    assert "--velocity-mm-s" in stderr
    means = []
    for k, words in enumerate((["--velocity-mm-s", "15"], ["--velocity-mm-s", tmp_path / "t.csv"])):
        code, stdout, _ = run(capsys, *clip, tmp_path / f"o{k}", "--truth", tmp_path / "t.csv", *words)
        assert code == 0
        means.append(json.loads(stdout)["error"]["mean_mm"])
    assert max(means) < 3.0
    code, stdout, _ = run(
        capsys, "track", SHORT, "--method", "pfv+f", "--enters", "left", "--json", "--out", tmp_path / "s"
    )
    assert code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("time_s,speed\n0,1\n", "lacks the column 'velocity_mm_s'"),
        ("time_s,velocity_mm_s\n", "no rows"),
        ("time_s,velocity_mm_s\n1,2\n0,2\n", "must rise"),
        ("time_s,velocity_mm_s\n0,nan\n1,2\n", "line 2"),
    ],
)
def test_a_damaged_table_of_speeds_is_refused_before_anything_is_written(capsys, tmp_path, text, said):
    (tmp_path / "v.csv").write_text(text)
    words = ["track", SHORT, "--method", "kfv", "--enters", "left", "--velocity-mm-s", tmp_path / "v.csv"]
    code, _, stderr = run(capsys, *words, "--out", tmp_path / "o")
    assert code == 2
    assert said in stderr
    assert not (tmp_path / "o").exists()


def test_with_nothing_but_a_clip_the_needle_is_found(capsys, tmp_path):
    source = "sim:in-plane-linear/validation?speed_mm_s=10&end_mm=30&angle_deg=40&enters=left"
    code, stdout, _ = run(capsys, "track", source, "--seed", "31", "--out", tmp_path / "o", "--json")
    assert code == 0
    summary = json.loads(stdout)
    assert summary["method"] == "auto"
    assert summary["counts"]["tracking"] > 20
    assert summary["error"]["mean_mm"] < 1.5


def test_what_was_left_out_or_turned_is_said_and_kept(capsys, tmp_path):
    lines = [f"Seq_Frame{i:04d}_ImageStatus = {'INVALID' if i == 1 else 'OK'}" for i in range(4)]
    header = ["NDims = 3", "DimSize = 64 48 4", "ElementType = MET_UCHAR", *lines, "ElementDataFile = LOCAL", ""]
    path = tmp_path / "a.mha"
    path.write_bytes("\n".join(header).encode() + bytes(64 * 48 * 4))
    words = ("track", path, "--method", "df", "--enters", "left", "--spacing-mm", "0.1", "--out", tmp_path / "o")
    code, _, stderr = run(capsys, *words)
    assert code == 0
    assert f"sonosteer: {path}: 1 of 4 frames are left out" in stderr
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["counts"]["frames"] == 3
    assert len(summary["source"]["notes"]) == 1


def test_further_files_are_written_when_they_are_asked_for(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    code, _, err = run(capsys, "track", SHORT, "--frames", "0:12", "--parquet", "--markups", "--out", tmp_path)
    assert code == 0, err
    rows = read_tips(tmp_path / "tips.csv")
    assert read_tips(tmp_path / "tips.parquet") == rows
    found = [r for r in rows if r.tip_mm is not None]
    assert found
    markup = json.loads((tmp_path / "tips.mrk.json").read_text())["markups"][0]
    assert (markup["type"], markup["coordinateSystem"]) == ("Curve", "LPS")
    assert [p["position"] for p in markup["controlPoints"]] == [[*r.tip_mm, 0.0] for r in found]
    assert [p["label"] for p in markup["controlPoints"]] == [f"frame {r.frame}" for r in found]


def test_parquet_without_pyarrow_and_markups_without_a_scale_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run(capsys, "track", SHORT, "--parquet", "--out", tmp_path / "a")
    assert (code, one_line(err)) == (2, True)
    assert "sonosteer[parquet]" in err
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 64), 30, np.uint8))
    code, _, err = run(capsys, "track", folder, "--markups", "--out", tmp_path / "b")
    assert (code, one_line(err)) == (2, True)
    assert "--spacing-mm" in err
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_chain_of_poses_for_a_clip_without_any_is_one_line(tmp_path, capsys):
    code, _, err = run(capsys, "track", SHORT, "--poses", "ProbeToTracker", "--out", tmp_path / "a")
    assert (code, one_line(err)) == (2, True)
    assert "begin with ImageTo" in err
