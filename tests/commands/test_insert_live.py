"""`sonosteer insert --live` on a live source, as a user meets it. A dry run without a robot, and every wrong word."""

import json
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import one_line, run
from igtl_peers import WAIT_S, Sender, free_port, until
from test_track_live import Scanner

from sonosteer.recording.run_reader import RunReader
from sonosteer.sources.igtlink.wire import image_content, make_message

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


class Going:
    """A scanner whose needle is seen, then lost (black pictures), then silent, each as long as the test says."""

    def __init__(self):
        self.seen, self.lost, self.done = threading.Event(), threading.Event(), threading.Event()
        self.scanner = Scanner(count=1)

    def __call__(self, sock):
        spacing, picture = self.scanner.spacing, self.scanner.pictures[0]
        i = 0
        while not self.lost.is_set() and not self.done.is_set():
            pixels = picture.copy()
            pixels[0, 0] = i % 2  # a picture that stands still is a fault of its own
            black = np.zeros_like(picture)
            shown = black if self.seen.is_set() else pixels
            content = image_content(shown, (spacing.x_mm, spacing.y_mm), np.eye(4))
            sock.sendall(make_message("IMAGE", "Image", content, stamp_s=time.time()))
            i += 1
            time.sleep(0.04)
        self.done.wait(WAIT_S)


def test_an_insertion_is_published_and_a_lost_tip_has_no_transform(capsys, tmp_path):
    """pyigtl is the client. It keeps the newest message of a device, so times tell what belongs together."""
    pyigtl = pytest.importorskip("pyigtl")
    going, port, heard = Going(), free_port(), []

    def states():
        return [m.string for m in list(heard) if m.device_name == "NeedleState"]

    def poses():
        return [m for m in list(heard) if m.device_name == "TipToImage"]

    def is_open():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def watch():
        until(is_open, "the publisher")  # pyigtl leaves a socket open for each time that it is refused
        client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
        try:
            for condition, event in (
                (lambda: len(poses()) > 2, going.seen),
                (lambda: states().count("lost: black") > 2, going.lost),
                (lambda: any(s.startswith("stale: no picture was tracked for") for s in states()), going.done),
            ):
                until(lambda met=condition: heard.extend(client.get_latest_messages()) or met())
                event.set()
            signal.raise_signal(signal.SIGINT)  # Ctrl-C ends the run
            until(lambda: heard.extend(client.get_latest_messages()) or states()[-1] == "stale: the run is over")
        finally:
            going.done.set()
            client.stop()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Sender([going]) as peer:
        words = (*WORDS, *DRY, "--orientation", "MF", "--publish", f"igtl://:{port}?bind=127.0.0.1")
        words += ("--seconds", "600", "--json")
        code, stdout, stderr = run(capsys, "insert", f"{peer.where}/Image?clock=shared", *words)
    watcher.join(WAIT_S)
    assert code == 130, stderr
    published = json.loads(stdout)["published"]
    assert published["clients"] == 2  # one of them only looked whether the port is open
    assert published["frames"] > 6
    lost_s = min(m.timestamp for m in heard if m.device_name == "NeedleState" and m.string == "lost: black")
    assert all(m.timestamp < lost_s for m in poses())
    assert states()[-1] == "stale: the run is over"
    devices = {(type(m).__name__, m.device_name) for m in heard}
    assert {("PointMessage", "Tip"), ("PointMessage", "Shaft"), ("PointMessage", "Target")} <= devices
    target = next(m for m in heard if m.device_name == "Target")
    assert target.positions[0] == pytest.approx([20.0, 20.0, 0.0], abs=1e-3)
    image = next(m for m in heard if m.device_name == "Image")
    assert image.image.shape[1:] == going.scanner.pictures[0].shape


def test_a_port_that_is_taken_stops_an_insertion_before_anything_moves(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, Sender([Scanner(forever=True)]) as peer:
        port = taken.getsockname()[1]
        words = (*WORDS, *DRY, "--orientation", "MF", "--publish", f"igtl://:{port}?bind=127.0.0.1")
        code, _, stderr = run(capsys, "insert", f"{peer.where}/Image", *words, "--out", tmp_path / "run")
    assert code == 2
    assert "another program waits there already" in stderr
    assert one_line(stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("insert", "--rig", "rig.toml"), "--rig is for a live source"),
        (("insert", "--publish", "igtl://:18950"), "--publish is for a live source"),
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
