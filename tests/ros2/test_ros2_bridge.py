"""The bridge in its own process, with a scanner and a listener on real ROS 2 topics in another one.

ROS 2 is not among the tools that `make` installs (260 MB). `make test-ros2` installs it into .venv/ros2 and runs this.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from igtl_peers import WAIT_S, free_port, number_of, until

from sonosteer.core.clock import RealClock
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Lost, TipEstimate, Track
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.publisher import Publisher
from sonosteer.sources.igtlink.source import OpenIGTLinkSource
from sonosteer.sources.ros2.bridge import OLD_PICTURE_S, BridgeConfig, PictureSide, Ros2Bridge
from sonosteer.sources.ros2.poses import UNKNOWN_M2, UNKNOWN_RAD2

ROOT = Path(__file__).resolve().parents[2]
WITH_ROS = importlib.util.find_spec("rclpy") is not None


def ros_python():
    """A Python that has ROS 2. Skips the test where there is none."""
    program = sys.executable if WITH_ROS else os.environ.get("SONOSTEER_ROS_PYTHON")
    if program is None:
        pytest.skip("no ROS 2: `make test-ros2`, or SONOSTEER_ROS_PYTHON names a Python with sonosteer[live,ros2]")
    return program


class Lines:
    """A process, and the lines that it prints."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        self.lines.extend(line for line in iter(self.process.stdout.readline, ""))

    def of(self, topic):
        return [m for m in map(json.loads, list(self.lines)) if m.get("topic") == topic]


@contextlib.contextmanager
def running(*words, domain, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path / "ros"),
    }
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [ros_python(), *map(str, words)], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as process:
        try:
            yield Lines(process)
        finally:
            process.kill()


def tip(i):
    return TipEstimate(
        frame_index=i,
        time_s=0.0,
        tip_px=(40.0, 20.0),
        angle_rad=0.0,
        covariance_mm2=np.diag([0.16, 0.01]),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
    )


@pytest.mark.slow
def test_pictures_go_one_way_and_the_tip_goes_the_other(tmp_path):
    ros_python()
    serve, said = free_port(), free_port()
    domain = 50 + os.getpid() % 100
    clock = RealClock()
    wall = WallClock(clock)
    publisher = Publisher(parse_address(f"igtl://:{said}?bind=127.0.0.1"), clock, to_wall_s=wall.to_wall_s)
    words = ("--image", "/us/image", "--serve", f"igtl://:{serve}?bind=127.0.0.1", "--tip", f"igtl://127.0.0.1:{said}")
    words += ("--spacing-mm", "0.2,0.1", "--orientation", "UF", "--json")
    with (
        running("-m", "sonosteer", "bridge", "ros2", *words, domain=domain, tmp_path=tmp_path) as bridge,
        running(
            ROOT / "tests/peers/ros_peer.py", "/us/image", "sonosteer", 10_000, domain=domain, tmp_path=tmp_path
        ) as peer,
        running(ROOT / "examples/ros2/listen_to_the_tip.py", domain=domain, tmp_path=tmp_path) as example,
    ):
        until(lambda: peer.of("ready") or bridge.process.poll() is not None, "two nodes that see one another")
        assert bridge.process.poll() is None, bridge.process.stderr.read()
        source = OpenIGTLinkSource(f"igtl://127.0.0.1:{serve}", open_s=WAIT_S)
        assert source.said_orientation == "UF"
        assert (source.info.spacing.x_mm, source.info.spacing.y_mm) == pytest.approx((0.2, 0.1))
        frames = []
        while len(frames) < 20:
            found = source.next_frame(WAIT_S)
            assert found is not None
            frames.append(found)
        assert source.lag()["stamped"] is True
        counts = source.counts()
        assert counts.received == counts.seen + counts.overwritten + counts.waiting
        source.close()
        numbers = [number_of(np.ascontiguousarray(f.pixels[:, ::-1])) for f in frames]  # as stored
        assert numbers == sorted(set(numbers))
        for number, found in zip(numbers, frames, strict=True):
            assert (found.pixels[1:] == number & 0xFF).all()
        steps_s = np.diff([f.time_s for f in frames])
        assert steps_s == pytest.approx(0.02 * np.diff(numbers), abs=1e-4)  # the stamps are ROS' own

        until(lambda: publisher.summary()["clients"] >= 1, "the bridge as a client")
        pictured = Frame(np.zeros((48, 64), np.uint8), 7, clock.now_s(), Spacing(0.2, 0.1))
        told_at_s = wall.to_wall_s(pictured.time_s)

        def shown():
            publisher.saw(pictured_now(pictured, clock), tip(7))
            return peer.of("tip") and any(line.startswith("tip at") for line in example.lines)

        until(shown, "a pose")
        lost_at_s = wall.to_wall_s(clock.now_s())
        publisher.saw(pictured_now(pictured, clock), Lost(8, 0.0, "no shaft"))
        until(lambda: any(m["text"] == "lost: no shaft" for m in peer.of("state")), "the loss")
        until(lambda: "lost: no shaft\n" in example.lines, "the loss in the example")
        assert "tip at 8.0, 2.0 mm of ultrasound_image, known to 0.4, 0.1 mm\n" in example.lines
        for i in range(20):
            publisher.saw(pictured_now(pictured, clock), Lost(9 + i, 0.0, "no shaft"))
        publisher.close()
        until(lambda: any(m["text"] == "stale: the run is over" for m in peer.of("state")), "the end")
        # topics overtake one another, stamps do not
        assert all(m["stamp"][0] + 1e-9 * m["stamp"][1] < lost_at_s + 1e-6 for m in peer.of("tip"))
        assert peer.of("tip_in_reference") == []
        last = peer.of("tip")[-1]
        assert last["frame_id"] == "ultrasound_image"
        assert last["position"] == pytest.approx([0.008, 0.002, 0.0], abs=1e-8)
        assert last["orientation"] == pytest.approx([0, 0, 0, 1], abs=1e-6)
        diagonal = np.array(last["covariance"]).reshape(6, 6).diagonal()
        assert diagonal == pytest.approx([1.6e-7, 1e-8, UNKNOWN_M2, UNKNOWN_RAD2, UNKNOWN_RAD2, UNKNOWN_RAD2])
        assert told_at_s - 1.0 < last["stamp"][0] + 1e-9 * last["stamp"][1] < wall.to_wall_s(clock.now_s())

        bridge.process.send_signal(2)  # Ctrl-C
        assert bridge.process.wait(WAIT_S) == 130
        bridge.thread.join(WAIT_S)
        account = json.loads(bridge.lines[-1])
        peer.process.stdin.close()
        until(lambda: peer.of("end"), "the end of the peer")
    image = account["image"]
    assert [k.split(":")[0] for k in image["bad"]] == ["encoding 'yuv422'"]
    assert image["unstamped"] == 0
    assert image["served"]["clients"] == 1
    assert len(frames) <= image["served"]["sent"] <= image["received"]
    assert account["tip"]["poses"] == account["tip"]["told"]["poses"] >= 1
    assert account["tip"]["bad"] == {}


def pictured_now(frame, clock):
    return Frame(frame.pixels, frame.index, clock.now_s(), frame.spacing)


# -- without ROS -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(WITH_ROS, reason="ROS 2 is installed here")
def test_without_ros_one_line_says_what_to_install():
    with pytest.raises(MissingExtraError, match=r"the ROS 2 bridge needs rclpy.*pip install 'sonosteer\[live,ros2\]'"):
        Ros2Bridge(BridgeConfig(image="/us/image"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "nothing to bridge"),
        ({"tip": "igtl://a", "orientation": "MF"}, "give `image`, too"),
        ({"image": "/i", "orientation": "XY"}, "'XY' is not known"),
    ],
)
def test_what_cannot_be_bridged_is_one_line(fields, said):
    with pytest.raises(InputError, match=said):
        BridgeConfig(**fields)


class StoppedClock:
    def __init__(self):
        self.time_s = 0.0

    def now_s(self):
        return self.time_s


def test_a_client_that_comes_late_gets_no_picture_of_before():
    from test_ros_pictures import message

    clock = StoppedClock()
    side = PictureSide(BridgeConfig(image="/i", serve=f"igtl://:{free_port()}?bind=127.0.0.1"), clock)
    try:
        side.came(message(bytes(8), width=4, height=2))
        side.came(message(bytes(8), width=4, height=2, encoding="yuv"))
        held = side._outlet._newest
        assert len(side.messages(held, None)) == 1
        clock.time_s = OLD_PICTURE_S + 0.1
        assert side.messages(held, None) == []
        counts = side.counts()
        assert (counts["received"], counts["unstamped"], sum(counts["bad"].values())) == (2, 1, 1)
    finally:
        side.close()
