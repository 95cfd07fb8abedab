"""A connection that drains, comes back, and says what was wrong with it."""

import os
import socket
import struct
import threading

import pytest
from igtl_peers import WAIT_S, Sender, build, cpp_sender, free_port, image_message, number_of, stay, until, until_closed

from sonosteer.core.clock import RealClock
from sonosteer.core.errors import InputError
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink import receiver as receiver_page
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.intake import Intake
from sonosteer.sources.igtlink.receiver import Receiver
from sonosteer.sources.igtlink.wire import HEADER, make_message, parse_header


class Connected:
    """A receiver, its intake, and everything that came out of it."""

    def __init__(self, where, device="Image"):
        clock = RealClock()
        wall = WallClock(clock)
        self.intake = Intake(wall, device=device)
        self.receiver = Receiver(parse_address(where), self.intake, clock, wall)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.receiver.close()

    def sums(self):
        counts = self.intake.counts()
        assert counts.received == counts.seen + counts.overwritten + counts.waiting + sum(counts.bad.values())
        return counts

    def drain(self, count):
        """The numbers of `count` pictures, each taken before the next is sent."""
        out = []
        while len(out) < count:
            got = self.intake.pictures.take(WAIT_S)
            assert got is not None
            out.append(number_of(got.image.pixels))
        return out


@pytest.fixture
def quick(monkeypatch):
    """Reconnects at once, and gives up on silence soon: what is tested is order, not time."""
    monkeypatch.setattr(receiver_page, "MAX_WAIT_S", 0.05)


def test_everything_that_the_cpp_sender_sent_is_accounted_for(tmp_path):
    program = build("igtl_sender", tmp_path)
    port = free_port()
    with cpp_sender(program, port, 200, 150) as peer, Connected(f"igtl://127.0.0.1:{port}", "Image_Reference") as ours:
        said = peer.stdout.readline()
        until(lambda: "the peer closed the connection" in ours.sums().faults, "the end")
        counts = ours.sums()
    assert said == "sent 150 and 15 transforms\n"
    assert counts.received == 150
    assert counts.bad == {}
    assert counts.other == {"TRANSFORM ProbeToReference": 15}
    assert ours.intake.poses()["ProbeToReference"].T[0, 3] == 140.0


def test_the_greeting_is_of_version_2_so_that_plus_sends_metadata():
    done = threading.Event()
    with Sender([image_message(0), stay(done)]) as peer, Connected(peer.where):
        until(lambda: peer.heard)
        header = parse_header(peer.heard[0][:58])
        done.set()
    assert (header.version, header.kind) == (2, "GET_STATUS")


def test_each_fault_has_its_own_count_and_every_good_picture_comes(quick):
    """What a peer can do to a client. pyigtl gave 3 pictures of 6, and ran out of memory."""
    good = [image_message(i) for i in range(6)]
    flipped = bytearray(image_message(90))
    flipped[-1] ^= 1
    short = make_message("IMAGE", "Image", image_message(91)[58:][:2000], stamp_s=1.0)
    huge = HEADER.pack(1, b"IMAGE", b"Image", 0, 0, 1 << 60, 0)
    bomb = bytearray(make_message("IMAGE", "Image", struct.pack(">HHII", 12, 2, 4_000_000_000, 0) + b"x" * 80))
    bomb[1] = 2
    first = [good[0], bytes(flipped), short, bytes(bomb), good[1], image_message(92)[:1500]]
    second = [good[2], huge, good[3], os.urandom(4000)]
    third = [good[4]]
    done = threading.Event()
    with Sender(first, second, third, [good[5], stay(done)]) as peer, Connected(peer.where) as ours:
        until(lambda: ours.intake.good == 6, "six pictures")
        counts = ours.sums()
        done.set()
    assert counts.connections == 4
    assert counts.received == 6 + sum(counts.bad.values())
    assert counts.bad == {
        "wrong check sum": 1,
        "an IMAGE whose pixels are not as many as its header says": 1,
        "an extended header and metadata do not fit into their body": 1,
        "cut off by the end of the connection": 1,
        "a body that is too large is announced": 1,
        "bytes that are no OpenIGTLink message": 1,
    }


def test_a_sender_that_is_restarted_twenty_times_is_followed(quick):
    scripts = [[image_message(i)] for i in range(20)]
    with Sender(*scripts) as peer, Connected(peer.where) as ours:
        until(lambda: ours.intake.good == 20, "twenty pictures")
        counts = ours.sums()
    assert counts.connections >= 20
    assert counts.received == 20
    assert ours.intake.pictures.take(0.0).serial == 19


def test_silence_in_the_middle_of_a_message_ends_a_connection(quick, monkeypatch):
    monkeypatch.setattr(receiver_page, "SILENT_S", 0.3)
    monkeypatch.setattr(receiver_page, "LOOK_S", 0.05)
    scripts = [[image_message(0)[:1000], until_closed], *[[image_message(1), until_closed]] * 60]
    with Sender(*scripts) as peer, Connected(peer.where) as ours:
        until(lambda: ours.intake.good >= 1)
        assert any("nothing came for" in fault for fault in ours.sums().faults)


def test_a_refused_connection_is_said_and_tried_again(quick):
    port = free_port()
    with Connected(f"igtl://127.0.0.1:{port}") as ours:
        until(lambda: ours.receiver.refused)
        assert ours.receiver.trouble == "connection refused"
        with socket.create_server(("127.0.0.1", port)) as server:
            sock, _ = server.accept()
            with sock:
                sock.sendall(image_message(3))
                assert ours.drain(1) == [3]
    assert ours.sums().faults["connection refused"] >= 1


def test_as_a_server_senders_come_and_go_and_a_waiting_one_takes_the_place_of_a_silent_one(monkeypatch):
    monkeypatch.setattr(receiver_page, "SILENT_S", 0.2)
    monkeypatch.setattr(receiver_page, "LOOK_S", 0.05)
    port = free_port()
    with Connected(f"igtl://:{port}?bind=127.0.0.1") as ours:
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(image_message(1))
            assert ours.drain(1) == [1]
        with socket.create_connection(("127.0.0.1", port)) as second:
            second.sendall(image_message(2))
            assert ours.drain(1) == [2]
            with socket.create_connection(("127.0.0.1", port)) as third:
                third.sendall(image_message(3))
                assert ours.drain(1) == [3]
    assert ours.sums().connections == 3


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}: another program waits there already"):
            Connected(f"igtl://:{port}?bind=127.0.0.1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("igtl://", "no OpenIGTLink address"),
        ("igtl://host:99999", "no number from 1 to 65535"),
        ("igtl://host:port", "no number from 1 to 65535"),
        ("igtl://host:18944?turn=yes", "no option 'turn'"),
        ("igtl://host:18944?clock=mine", "own and shared are possible"),
    ],
)
def test_an_address_that_is_none_is_one_line(text, said):
    with pytest.raises(InputError, match=said):
        parse_address(text)


def test_addresses_are_read():
    told = parse_address("igtl://scanner/Image_Reference?orientation=UF&clock=shared&crc=no")
    assert (told.host, told.port, told.device) == ("scanner", 18944, "Image_Reference")
    assert (told.orientation, told.clock, told.checked) == ("UF", "shared", False)
    assert parse_address("igtl://:18950").host is None
    assert parse_address("igtl://[::1]:18950").host == "::1"
