"""What leaves: the newest only, to each client by itself, and no transform of a tip that is lost."""

import socket
import subprocess
import threading

import numpy as np
import pytest
from igtl_peers import WAIT_S, build, free_port, until

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Lost, TipEstimate, Track
from sonosteer.sources.igtlink import outlet as outlet_page
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.message_stream import EndOfStream, MessageStream, WholeMessage
from sonosteer.sources.igtlink.publisher import Publisher, check_publishable, tip_pose
from sonosteer.sources.igtlink.wire import POINT, make_message, parse_image, parse_transform, split_body

SPACING = Spacing(0.2, 0.1)


def frame(i, *, spacing=SPACING, size=(48, 64), T=None):
    return Frame(np.full(size, i % 256, np.uint8), i, 0.02 * i, spacing, T_world_image=T)


def tip(i, x=40.0, y=20.0):
    return TipEstimate(
        frame_index=i,
        time_s=0.02 * i,
        tip_px=(x, y),
        angle_rad=0.5,
        covariance_mm2=np.diag([0.16, 0.01]),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
    )


class Client:
    """Reads whatever is published, by our own stream, which other tests hold to the protocol."""

    def __init__(self, port, *, speaks_2=False):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        if speaks_2:
            self.sock.sendall(make_message("GET_STATUS", "viewer", b"", number=1))
        self.got = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        stream = MessageStream(self.sock.recv_into)
        try:
            while True:
                item = stream.next()
                assert isinstance(item, WholeMessage)
                content, metadata, number = split_body(item.header, item.body)
                self.got.append((item.header, bytes(content), metadata, number))
        except (EndOfStream, OSError):
            pass

    def of(self, kind, device=None):
        return [g for g in list(self.got) if g[0].kind == kind and device in (None, g[0].device)]

    def states(self):
        return [g[1][4:].decode() for g in self.of("STRING")]

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_S)
        self.sock.close()


@pytest.fixture
def published():
    clock = SimulatedClock()
    port = free_port()
    made = Publisher(parse_address(f"igtl://:{port}?bind=127.0.0.1"), clock, to_wall_s=lambda t: 1e9 + t)
    made.port, made.clock_of_test = port, clock
    yield made
    made.close()


def joined(published, count=1):
    until(lambda: published.summary()["clients"] >= count, "a client")


def test_tip_shaft_state_and_picture_leave_together(published):
    client = Client(published.port)
    joined(published)
    published.saw(frame(3), tip(3))
    until(lambda: client.of("IMAGE"))
    kinds = [(g[0].kind, g[0].device) for g in client.got]
    assert kinds == [
        ("STRING", "NeedleState"),
        ("TRANSFORM", "TipToImage"),
        ("POINT", "Tip"),
        ("POINT", "Shaft"),
        ("IMAGE", "Image"),
    ]
    assert all(g[0].version == 1 for g in client.got)
    assert client.states() == ["tracking"]
    T = parse_transform(memoryview(client.of("TRANSFORM")[0][1]))
    assert np.allclose(T, tip_pose((8.0, 2.0), 0.5), atol=1e-6)
    assert np.allclose(T @ [1, 0, 0, 1], [8 + np.cos(0.5), 2 + np.sin(0.5), 0, 1], atol=1e-6)
    image = parse_image(memoryview(client.of("IMAGE")[0][1]))
    assert np.array_equal(image.pixels, frame(3).pixels)
    assert image.spacing_mm == pytest.approx((0.2, 0.1))
    points = client.of("POINT", "Shaft")[0][1]
    assert len(points) == 9 * POINT.size
    assert client.got[0][0].stamp_s == pytest.approx(1e9 + 0.06)
    client.close()


def test_a_lost_tip_leaves_no_transform_and_no_points(published):
    client = Client(published.port)
    joined(published)
    published.saw(frame(0), tip(0))
    until(lambda: client.of("IMAGE"))
    before = len(client.got)
    published.saw(frame(1), Lost(1, 0.02, "no shaft"))
    until(lambda: len(client.of("IMAGE")) == 2)
    after = client.got[before:]
    assert [g[0].kind for g in after] == ["STRING", "POINT", "POINT", "IMAGE"]
    assert [len(g[1]) for g in after if g[0].kind == "POINT"] == [0, 0]
    assert client.states()[-1] == "lost: no shaft"
    client.close()


def test_a_tip_of_a_picture_that_is_too_old_has_no_transform(published):
    client = Client(published.port)
    joined(published)
    published.clock_of_test.advance(0.6)
    published.saw(frame(0), tip(0))  # acquired at 0 s
    until(lambda: client.of("IMAGE"))
    assert client.of("TRANSFORM") == []
    assert client.states() == ["stale: 0.60 s old"]
    client.close()


def test_a_stream_that_falls_silent_takes_the_tip_with_it(published):
    client = Client(published.port)
    joined(published)
    published.saw(frame(0), tip(0))
    until(lambda: client.of("IMAGE"))
    published.silent("no picture for 0.6 s, connection refused")
    until(lambda: len(client.states()) == 2)
    assert client.states()[1] == "stale: no picture for 0.6 s, connection refused"
    until(lambda: len(client.of("POINT", "Shaft")) == 2)
    assert len(client.of("TRANSFORM")) == 1
    assert client.of("POINT", "Tip")[-1][1] == b""
    client.close()


def test_a_client_that_speaks_version_2_gets_metadata_and_numbers_without_gaps(published):
    client = Client(published.port, speaks_2=True)
    until(lambda: client.of("STATUS"))
    for i in range(3):
        published.saw(frame(i), tip(i))
        until(lambda n=i: len(client.of("IMAGE")) == n + 1)
    assert {g[0].version for g in client.got} == {2}
    numbers = [g[3] for g in client.got]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    beside = client.of("TRANSFORM")[-1][2]
    assert beside["frame"] == "2"
    assert beside["state"] == "tracking"
    assert float(beside["sd_along_mm"]) == pytest.approx(0.4)
    assert {"age_s", "sd_across_mm", "confidence"} <= set(beside)
    client.close()


def test_without_a_scale_nothing_in_mm_leaves(published):
    client = Client(published.port)
    joined(published)
    published.saw(frame(0, spacing=None), tip(0))
    until(lambda: client.of("IMAGE"))
    assert [g[0].kind for g in client.got] == ["STRING", "IMAGE"]
    assert parse_image(memoryview(client.of("IMAGE")[0][1])).spacing_mm is None
    client.close()


def test_in_a_tracked_space_points_and_picture_share_it_and_the_tip_has_both():
    port = free_port()
    T = np.eye(4)
    T[:3, 3] = 10, 20, 30
    made = Publisher(parse_address(f"igtl://:{port}?bind=127.0.0.1"), SimulatedClock(), target=(10.0, 5.0))
    client = Client(port)
    joined(made)
    made.saw(frame(0, T=T), tip(0))
    until(lambda: client.of("IMAGE"))
    poses = {g[0].device: parse_transform(memoryview(g[1])) for g in client.of("TRANSFORM")}
    assert np.allclose(poses["TipToImage"][:3, 3], [8, 2, 0], atol=1e-5)
    assert np.allclose(poses["TipToReference"][:3, 3], [18, 22, 30], atol=1e-5)
    places = {g[0].device: POINT.unpack_from(g[1])[6:9] for g in client.of("POINT")}
    assert places["Tip"] == pytest.approx((18, 22, 30))
    assert places["Target"] == pytest.approx((12, 20.5, 30))
    image = parse_image(memoryview(client.of("IMAGE")[0][1]))
    assert np.allclose(image.T_space_image, T, atol=1e-4)
    client.close()
    made.close()


def test_a_client_that_never_reads_makes_nobody_else_wait(published, monkeypatch):
    """Counts and order, no times: the one that reads gets every frame that is published one by one."""
    monkeypatch.setattr(outlet_page, "STUCK_S", 1e6)
    deaf = socket.create_connection(("127.0.0.1", published.port), timeout=WAIT_S)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    joined(published)
    client = Client(published.port)
    joined(published, 2)
    for i in range(60):
        published.saw(frame(i, size=(480, 640)), tip(i))
        until(lambda n=i: len(client.of("IMAGE")) == n + 1, f"frame {i}")
    assert [int(parse_image(memoryview(g[1])).pixels[0, 0]) for g in client.of("IMAGE")] == list(range(60))
    told = published.summary()
    assert told["frames"] == 60
    assert told["sent"] + told["overwritten"] == 120
    assert told["overwritten"] >= 50
    client.close()
    deaf.close()


def test_what_a_slow_client_gets_after_a_loss_is_the_loss(published, monkeypatch):
    """Its mailbox holds one frame: a transform that waited in it goes when the tip is lost."""
    monkeypatch.setattr(outlet_page, "STUCK_S", 1e6)
    deaf = socket.create_connection(("127.0.0.1", published.port), timeout=WAIT_S)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    joined(published)
    for i in range(30):
        published.saw(frame(i, size=(480, 640)), tip(i))
    until(lambda: published.summary()["sent"] >= 1)
    for i in range(30, 60):
        published.saw(frame(i, size=(480, 640)), Lost(i, 0.02 * i, "gone"))
    got, stream = [], MessageStream(deaf.recv_into)
    while not (got and got[-1].header.kind == "IMAGE" and got[-1].body[-1] == 59):
        got.append(stream.next())
    kinds = [g.header.kind for g in got]
    lost = max(i for i, g in enumerate(got) if g.header.kind == "STRING" and b"lost" in bytes(g.body))
    assert "TRANSFORM" not in kinds[lost:]
    deaf.close()


def test_a_client_that_takes_nothing_is_let_go(published, monkeypatch):
    monkeypatch.setattr(outlet_page, "STUCK_S", 0.3)
    deaf = socket.create_connection(("127.0.0.1", published.port), timeout=WAIT_S)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    joined(published)
    published.saw(frame(0, size=(2000, 2000)), tip(0))
    until(lambda: published.summary()["clients_gone"])
    assert published.summary()["clients_gone"] == {"it read nothing for 0.3 s": 1}
    deaf.close()


def test_one_that_speaks_something_else_is_let_go(published):
    other = socket.create_connection(("127.0.0.1", published.port), timeout=WAIT_S)
    other.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nAccept: everything there is\r\n\r\n")
    until(lambda: published.summary()["clients_gone"])
    assert list(published.summary()["clients_gone"]) == ["the client does not speak OpenIGTLink"]
    other.close()


def test_a_client_that_comes_late_is_told_what_holds(published):
    published.saw(frame(5), Lost(5, 0.1, "no needle"))
    client = Client(published.port)
    until(lambda: client.of("IMAGE"))
    assert client.states() == ["lost: no needle"]
    client.close()


def test_the_end_of_a_run_is_said():
    port = free_port()
    made = Publisher(parse_address(f"igtl://:{port}?bind=127.0.0.1"), SimulatedClock())
    client = Client(port)
    joined(made)
    made.saw(frame(0), tip(0))
    until(lambda: client.of("IMAGE"))
    made.close()
    client.thread.join(WAIT_S)
    client.sock.close()
    assert client.states()[-1] == "stale: the run is over"


def test_as_a_client_it_connects_and_comes_back():
    port = free_port()
    made = Publisher(parse_address(f"igtl://127.0.0.1:{port}"), SimulatedClock())
    until(lambda: made.summary()["clients_gone"].get("connection refused"))
    for turn in range(2):
        with socket.create_server(("127.0.0.1", port)) as server:
            sock, _ = server.accept()
            with sock:
                until(lambda n=turn: made.summary()["clients"] == n + 1)
                made.saw(frame(turn), tip(turn))
                item = MessageStream(sock.recv_into).next()
                assert item.header.kind == "STRING"
        made.saw(frame(9), tip(9))
    made.close()


def test_the_cpp_library_reads_all_of_it(published, tmp_path):
    program = build("igtl_listener", tmp_path)
    words = [str(program), "127.0.0.1", str(published.port), "9"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
        joined(published)
        published.saw(frame(7), tip(7))
        first = [listener.stdout.readline() for _ in range(5)]
        published.saw(frame(8), Lost(8, 0.16, "no shaft"))
        second = [listener.stdout.readline() for _ in range(4)]
        listener.wait(WAIT_S)
    assert first == [
        "STRING NeedleState tracking\n",
        "TRANSFORM TipToImage 8.000 2.000 0.000\n",
        "POINT Tip 1\n",
        "POINT Shaft 9\n",
        "IMAGE Image 64 48 0.200 0.100 7\n",
    ]
    assert second == [
        "STRING NeedleState lost: no shaft\n",
        "POINT Tip empty\n",
        "POINT Shaft empty\n",
        "IMAGE Image 64 48 0.200 0.100 8\n",
    ]


def test_pyigtl_reads_all_of_it(published):
    pyigtl = pytest.importorskip("pyigtl")
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", published.port)
    try:
        joined(published)
        published.saw(frame(7), tip(7))
        got = client.wait_for_message("TipToImage", timeout=WAIT_S)
        assert np.allclose(got.matrix[:3, 3], [8, 2, 0], atol=1e-5)
        image = client.wait_for_message("Image", timeout=WAIT_S)
        assert np.array_equal(image.image.reshape(48, 64), frame(7).pixels)
        assert client.wait_for_message("NeedleState", timeout=WAIT_S).string == "tracking"
    finally:
        client.stop()


def test_parts_of_an_address_that_do_not_belong_are_one_line():
    with pytest.raises(InputError, match="to publish"):
        check_publishable(parse_address("igtl://:18950/Image"))
