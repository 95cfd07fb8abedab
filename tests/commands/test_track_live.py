"""`sonosteer track` and `doctor` on live sources, as a user meets them."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from command_line import one_line, run
from igtl_peers import WAIT_S, Sender, build, cpp_sender, free_port, image_message, stay, until

from sonosteer.recording.tips import read_tips
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.sources.igtlink.message_stream import EndOfStream, MessageStream
from sonosteer.sources.igtlink.wire import image_content, make_message, transform_content

METHOD = ("--method", "brightest:Brightest")  # of this folder: it needs no compiler and no hint
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(HERE)


class Scanner:
    """A simulated insertion as a scanner over OpenIGTLink: each picture leaves once the reader may take it."""

    def __init__(self, count=40, *, rate_hz=25.0, forever=False):
        scene = make_scene("in-plane-linear", 4, speed_mm_s=15.0, end_mm=20.0, enters="left", angle_deg=40.0)
        world = World(scene)
        self.spacing = world.spacing
        self.pictures = [frame.grey() for frame, _ in world.frames()][:count]
        self.rate_hz, self.forever = rate_hz, forever
        self.done = threading.Event()
        self.sent = 0

    def __call__(self, sock):
        i = 0
        while not self.done.is_set() and (self.forever or i < len(self.pictures)):
            pixels = self.pictures[min(i, len(self.pictures) - 1)]
            content = image_content(pixels, (self.spacing.x_mm, self.spacing.y_mm), np.eye(4))
            sock.sendall(make_message("IMAGE", "Image", content, stamp_s=time.time()))
            i += 1
            self.sent = i
            time.sleep(1.0 / self.rate_hz)


def test_a_live_run_ends_by_frames_and_its_account_is_exact(capsys, tmp_path):
    scanner = Scanner()
    with Sender([scanner, stay(scanner.done)]) as peer:
        where = f"{peer.where}/Image"
        words = ["track", where, "--orientation", "MF", *METHOD]
        code, stdout, stderr = run(capsys, *words, "--frames", ":8", "--out", tmp_path / "o", "--json")
        scanner.done.set()
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert summary["received"] == summary["seen"] + summary["overwritten"] + sum(summary["bad"].values())
    assert summary["seen"] == summary["counts"]["frames"] == 8
    assert summary["dropped"] == summary["counts"]["dropped"] == summary["overwritten"]
    assert summary["timing"]["age"]["median_ms"] > 0
    assert summary["lag"]["stamped"] is True
    assert "running" not in summary
    rows = read_tips(tmp_path / "o" / "tips.csv")
    assert len(rows) == 8
    assert [r.frame for r in rows] == sorted({r.frame for r in rows})
    report = (tmp_path / "o" / "report.html").read_text()
    assert "received = seen + overwritten + bad" in report
    assert "Contact sheet" in report
    with av.open(str(tmp_path / "o" / "overlay.mp4")) as video:
        assert 1 <= sum(1 for _ in video.decode(video=0)) <= 8


def test_a_live_run_of_the_cpp_sender_accounts_for_all_that_it_sent(capsys, tmp_path):
    program, port = build("igtl_sender", tmp_path), free_port()
    with cpp_sender(program, port, 60, 90) as peer:
        words = ["track", f"igtl://127.0.0.1:{port}/Image_Reference", "--orientation", "MF", *METHOD]
        code, stdout, stderr = run(capsys, *words, "--seconds", "6", "--out", tmp_path / "o", "--json")
        said = peer.stdout.readline()
    assert code == 0, stderr
    summary = json.loads(stdout)
    sent = int(said.split()[1])
    assert summary["received"] <= sent == 90
    if "the peer closed the connection" in summary["faults"]:  # all of it came before the six seconds were over
        assert summary["received"] == sent
    assert summary["received"] == summary["seen"] + summary["overwritten"]


def test_ctrl_c_ends_a_live_run_and_everything_is_written(tmp_path):
    scanner = Scanner(forever=True, count=10)
    with Sender([scanner, stay(scanner.done)]) as peer:
        out = tmp_path / "o"
        words = [sys.executable, "-m", "sonosteer", "track", f"{peer.where}/Image", "--orientation", "MF"]
        words += [*METHOD, "--out", str(out)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            until(lambda: (out / "tips.csv").exists() and (out / "tips.csv").read_text().count("\n") > 3)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=WAIT_S)
        scanner.done.set()
    assert process.returncode == 130, stderr
    assert "received " in stdout
    assert stderr.splitlines()[-1].startswith("sonosteer: interrupted; the ")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["counts"]["interrupted"] is True
    assert "running" not in summary
    assert summary["received"] == summary["seen"] + summary["overwritten"] + sum(summary["bad"].values())
    assert summary["counts"]["frames"] == len(read_tips(out / "tips.csv"))


def test_a_killed_live_run_can_be_read(tmp_path):
    scanner = Scanner(forever=True, count=10)
    with Sender([scanner, stay(scanner.done)]) as peer:
        out = tmp_path / "o"
        words = [sys.executable, "-m", "sonosteer", "track", f"{peer.where}/Image", "--orientation", "MF"]
        words += [*METHOD, "--out", str(out), "--json"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            until(lambda: (out / "report.html").exists() and (out / "tips.csv").read_text().count("\n") > 40)
            until(lambda: (out / "overlay.mp4").read_bytes().count(b"moof") > 1, "the first fragment of the video")
            os.kill(process.pid, signal.SIGKILL)
            process.communicate(timeout=WAIT_S)
        scanner.done.set()
    assert len(read_tips(out / "tips.csv")) >= 39
    summary = json.loads((out / "summary.json").read_text())
    assert summary["running"] is True
    assert summary["received"] >= summary["seen"] >= 1
    assert "This run goes on, or it was killed" in (out / "report.html").read_text()
    with av.open(str(out / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 1


def test_what_is_tracked_live_is_published_and_the_publisher_is_in_the_summary(capsys, tmp_path):
    scanner, port = Scanner(forever=True, count=30), free_port()
    heard = []

    def listen():
        import socket

        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
                break
            except OSError:
                time.sleep(0.05)
        with sock:
            stream = MessageStream(sock.recv_into)
            try:
                while True:
                    item = stream.next()
                    heard.append((item.header.kind, item.header.device))
            except (EndOfStream, OSError):
                pass

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with Sender([scanner, stay(scanner.done)]) as peer:
        words = ["track", f"{peer.where}/Image", "--orientation", "MF", *METHOD]
        words += ["--publish", f"igtl://:{port}?bind=127.0.0.1", "--target", "100,50", "--frames", ":12"]
        code, stdout, stderr = run(capsys, *words, "--out", tmp_path / "o", "--json")
        scanner.done.set()
    assert code == 0, stderr
    published = json.loads(stdout)["published"]
    assert published["frames"] >= 12
    listener.join(WAIT_S)
    assert {("STRING", "NeedleState"), ("POINT", "Tip"), ("POINT", "Target"), ("IMAGE", "Image")} <= set(heard)


def test_a_recorded_clip_can_be_published_too(capsys, clip, tmp_path):
    port = free_port()
    words = ["track", clip / "clip.mp4", *METHOD, "--frames", ":3", "--publish", f"igtl://:{port}"]
    code, stdout, _ = run(capsys, *words, "--out", tmp_path / "o", "--json")
    assert code == 0
    assert json.loads(stdout)["published"]["frames"] == 3


def test_a_stream_that_changes_its_size_ends_in_one_line_and_keeps_what_was_done(capsys, tmp_path):
    further = threading.Event()
    out = tmp_path / "o"

    def once_tracked(sock):
        until(lambda: (out / "tips.csv").exists() and (out / "tips.csv").read_text().count("\n") > 1)
        further.set()

    with Sender([image_message(0), once_tracked, image_message(1, size=(40, 64)), stay(further)]) as peer:
        words = ["track", f"{peer.where}/Image", "--orientation", "MF", *METHOD, "--spacing-mm", "0.2"]
        code, _, stderr = run(capsys, *words, "--out", out, "--json")
    assert code == 2
    assert "frame 1 is 64x40 px, those before it 64x48" in stderr
    assert len(read_tips(out / "tips.csv")) == 1
    assert json.loads((out / "summary.json").read_text())["received"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["igtl://127.0.0.1:1", "--orientation", "MF"], "connection refused: start the sender"),
        (["igtl://127.0.0.1:1", "--stills"], "--stills is for pictures"),
        (["igtl://127.0.0.1:1", "--seconds", "-1"], "--seconds -1"),
        (["sim:in-plane-linear", "--seconds", "5"], "--seconds is for live sources"),
        (["sim:in-plane-linear", "--orientation", "MF"], "--orientation is for igtl:// only"),
        (["sim:in-plane-linear", "--target", "5,5"], "give --publish igtl://:PORT, too"),
        (["sim:in-plane-linear", "--publish", "igtl://:70000"], "no number from 1 to 65535"),
        (["sim:in-plane-linear", "--publish", "igtl://:18950", "--target", "here"], "--target here"),
        (["igtl://127.0.0.1:1", "--truth", "marks.csv"], "--truth is for recorded clips"),
        (["igtl://127.0.0.1:1", "video:0"], "a live source is tracked alone"),
        (["video:/dev/video97"], "there is no such device"),
        (["igtl://127.0.0.1:1", "--velocity-mm-s", "speeds.csv"], "tables are for recorded clips"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, words, said):
    code, _, stderr = run(capsys, "track", *words, *METHOD, "--out", tmp_path / "o")
    assert code == 2
    assert said in stderr
    assert one_line(stderr)
    assert not (tmp_path / "o").exists()


def test_a_missing_library_names_the_extra(capsys, tmp_path, monkeypatch):
    from sonosteer.sources.igtlink import wire

    wire._crc64.cache_clear()
    monkeypatch.setitem(sys.modules, "fastcrc.crc64", None)
    code, _, stderr = run(capsys, "track", "igtl://127.0.0.1:1", "--orientation", "MF", "--out", tmp_path / "o")
    wire._crc64.cache_clear()
    assert code == 2
    assert "pip install 'sonosteer[live]'" in stderr
    assert one_line(stderr)


def test_the_doctor_says_what_a_scanner_sends(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    done = threading.Event()
    T = transform_content(np.eye(4))
    beside = {"number": 3, "metadata": {"Depth": "40 mm"}}
    steps = [make_message("TRANSFORM", "ProbeToReference", T), image_message(0), image_message(1, **beside)]
    with Sender([*steps, stay(done)]) as peer:
        code, stdout, stderr = run(capsys, "doctor", f"{peer.where}/Image", "--seconds", "0.5")
        done.set()
    assert code == 0, stderr
    for words in ("64x48 px", "0.2 x 0.1", "not said: give --orientation", "transform ProbeToReference", "received"):
        assert words in stdout
    assert "not a medical device" in stdout


def test_the_doctor_answers_in_json_and_refuses_in_one_line(capsys):
    done = threading.Event()
    with Sender([image_message(0), image_message(1), stay(done)]) as peer:
        code, stdout, _ = run(capsys, "doctor", f"{peer.where}/Image", "--seconds", "0.5", "--json")
        done.set()
    got = json.loads(stdout)
    assert code == 0
    assert got["received"] == got["seen"] + got["overwritten"] + sum(got["bad"].values())
    assert got["header_versions"] == [1]
    code, _, stderr = run(capsys, "doctor", f"igtl://127.0.0.1:{free_port()}")
    assert code == 2
    assert one_line(stderr)
    code, _, stderr = run(capsys, "doctor", "clip.mp4")
    assert code == 2
    assert "no live source" in stderr


def test_python_tracks_a_live_source_for_so_many_seconds_or_frames():
    from sonosteer import track

    scanner = Scanner(forever=True, count=5)
    with Sender([scanner, stay(scanner.done)]) as peer:
        result = track(f"{peer.where}/Image?orientation=MF", "brightest:Brightest", frames=slice(0, 4))
        scanner.done.set()
    assert len(result) == 4
    assert result.counts["frames"] == 4


def test_rows_have_no_time_before_the_first(tmp_path, capsys):
    with Sender([*(image_message(i) for i in range(2)), stay(threading.Event())]) as peer:
        words = ["track", f"{peer.where}/Image", "--orientation", "MF", *METHOD, "--frames", ":1"]
        code, _, _ = run(capsys, *words, "--out", tmp_path / "o", "--json")
    assert code == 0
    rows = list(csv.DictReader((tmp_path / "o" / "tips.csv").read_text().splitlines()))
    assert float(rows[0]["time_s"]) >= 0.0
