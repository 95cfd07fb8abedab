"""What the bridge hears of a real publisher: poses while there is a tip, none once it is lost, silence told once."""

import numpy as np
import pytest
from igtl_peers import Sender, free_port, until

from sonosteer.core.clock import RealClock, SimulatedClock
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Lost, TipEstimate, Track
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.message_stream import Damaged, WholeMessage
from sonosteer.sources.igtlink.publisher import Publisher
from sonosteer.sources.igtlink.receiver import Receiver
from sonosteer.sources.igtlink.wire import (
    HEADER,
    WireError,
    make_message,
    parse_header,
    parse_string,
    string_content,
    transform_content,
)
from sonosteer.sources.ros2.tip_listener import TipListener


class Heard:
    """A listener, and what it told in order."""

    def __init__(self):
        self.told = []
        self.listener = TipListener(
            lambda text, stamp_s: self.told.append((text, stamp_s)), lambda pose: self.told.append(pose)
        )

    @property
    def states(self):
        return [t[0] for t in self.told if isinstance(t, tuple)]

    @property
    def poses(self):
        return [t for t in self.told if not isinstance(t, tuple)]

    def take(self, message, at_s=0.0):
        header = parse_header(message[: HEADER.size])
        self.listener.take(WholeMessage(header, memoryview(message[HEADER.size :])), at_s)


def frame(i):
    T = np.eye(4)
    T[:3, 3] = 10, 20, 30
    return Frame(np.zeros((48, 64), np.uint8), i, 0.02 * i, Spacing(0.2, 0.1), T_world_image=T)


def tip(i):
    return TipEstimate(
        frame_index=i,
        time_s=0.02 * i,
        tip_px=(40.0, 20.0),
        angle_rad=0.5,
        covariance_mm2=np.diag([0.16, 0.01]),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
    )


def test_a_publishers_tip_comes_with_its_deviations_and_a_lost_one_does_not_come():
    heard, port, clock = Heard(), free_port(), RealClock()
    made = Publisher(parse_address(f"igtl://:{port}?bind=127.0.0.1"), SimulatedClock(), to_wall_s=lambda t: 1e9 + t)
    with Receiver(parse_address(f"igtl://127.0.0.1:{port}"), heard.listener, clock, WallClock(clock)):
        until(lambda: made.summary()["clients"] == 1)
        made.saw(frame(3), tip(3))
        until(lambda: len(heard.poses) == 2)
        made.saw(frame(4), Lost(4, 0.08, "no shaft"))
        until(lambda: "lost: no shaft" in heard.states)
        made.silent("no picture for 0.6 s")
        until(lambda: "stale: no picture for 0.6 s" in heard.states)
        made.close()
    image, world = heard.poses
    assert (image.name, world.name) == ("TipToImage", "TipToReference")
    assert image.T[:3, 3] == pytest.approx([8, 2, 0], abs=1e-5)
    assert world.T[:3, 3] == pytest.approx([18, 22, 30], abs=1e-5)
    assert image.stamp_s == pytest.approx(1e9 + 0.06)
    if image.sd_along_mm is not None:  # the greeting of version 2 came before the frame
        assert (image.sd_along_mm, image.sd_across_mm) == pytest.approx((0.4, 0.1))
    assert len(heard.poses) == 2
    assert heard.states[:3] == ["tracking", "lost: no shaft", "stale: no picture for 0.6 s"]


def test_deviations_are_read_from_metadata():
    heard = Heard()
    beside = {"sd_along_mm": "0.4000", "sd_across_mm": "0.1000"}
    heard.take(make_message("TRANSFORM", "TipToImage", transform_content(np.eye(4)), number=1, metadata=beside))
    heard.take(make_message("TRANSFORM", "TipToImage", transform_content(np.eye(4))))
    assert [(p.sd_along_mm, p.sd_across_mm, p.stamp_s) for p in heard.poses] == [(0.4, 0.1, None), (None, None, None)]


def test_other_transforms_and_damaged_ones_are_no_tip():
    heard = Heard()
    heard.take(make_message("TRANSFORM", "ProbeToReference", transform_content(np.eye(4))))
    heard.take(make_message("TRANSFORM", "TipToImage", b"1234"))
    bad = np.eye(4)
    bad[0, 3] = np.nan
    heard.take(make_message("TRANSFORM", "TipToImage", transform_content(bad)))
    heard.listener.take(Damaged("a wrong check sum"), 0.0)
    assert heard.told == []
    assert heard.listener.counts().bad == {
        "a TRANSFORM that has not 48 bytes": 1,
        "a TRANSFORM that is not finite": 1,
        "a wrong check sum": 1,
    }


def test_silence_is_told_once_and_again_after_something_came():
    heard = Heard()
    heard.listener.look(100.0)  # nothing has come yet: there is nothing to take back
    assert heard.told == []
    state = make_message("STRING", "NeedleState", string_content("tracking"))
    for at_s in (0.0, 10.0):
        heard.take(state, at_s)
        heard.listener.look(at_s + 0.4)
        heard.listener.look(at_s + 0.6)
        heard.listener.look(at_s + 5.0)
    assert heard.states == ["tracking", "stale: nothing came for 0.5 s"] * 2


def test_a_connection_that_breaks_takes_the_state_with_it():
    heard, clock = Heard(), RealClock()
    state = make_message("STRING", "NeedleState", string_content("tracking"))
    peer = Sender([state, lambda sock: until(lambda: heard.states)])
    with peer, Receiver(parse_address(peer.where), heard.listener, clock, WallClock(clock)):
        until(lambda: len(heard.states) >= 2)
    assert heard.states[0] == "tracking"
    assert heard.states[1].startswith("stale: ")


def test_what_ends_the_receiver_is_raised_by_look():
    heard = Heard()
    heard.listener.broke(ValueError("it broke"))
    with pytest.raises(ValueError, match="it broke"):
        heard.listener.look(0.0)


@pytest.mark.parametrize("content", [b"", b"\0\3\0", b"\0\3\0\5abcd"])
def test_a_string_that_is_none_is_refused(content):
    with pytest.raises(WireError):
        parse_string(memoryview(content))
    assert parse_string(memoryview(string_content("läuft"))) == "läuft"
