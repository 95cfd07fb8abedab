"""Live video: ffmpeg is the camera. Numbers are drawn into the pixels, so that order and counts can be told."""

import contextlib
import itertools
import shutil
import socket
import subprocess
import threading

import numpy as np
import pytest
from igtl_peers import WAIT_S, free_port, until

from sonosteer.core.errors import InputError
from sonosteer.sources import live_video
from sonosteer.sources.live_video import LiveVideo, parse_video_address
from sonosteer.sources.opening import open_source

SIZE = (64, 48)
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-pix_fmt", "yuv420p"]


def drawn(i):
    """A picture with a number in 16 blocks of 8 x 8 pixels, which survive a coder."""
    pixels = np.full((SIZE[1], SIZE[0]), 60, np.uint8)
    for bit in range(16):
        y, x = divmod(bit, 8)
        pixels[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 220 if i >> bit & 1 else 30
    return pixels


def number_in(pixels):
    blocks = [pixels[8 * (b // 8) + 4, 8 * (b % 8) + 4] > 125 for b in range(16)]
    return sum(int(on) << b for b, on in enumerate(blocks))


@contextlib.contextmanager
def camera(words, rate=25):
    """ffmpeg as a camera that goes on until it is closed. Skips where ffmpeg is absent."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no camera: ffmpeg is needed (apt-get install ffmpeg)")
    size = "x".join(map(str, SIZE))
    begin = [
        program,
        "-loglevel",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-s",
        size,
        "-r",
        str(rate),
        "-i",
        "-",
    ]
    over = threading.Event()
    with subprocess.Popen([*begin, *words], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:

        def film():
            with contextlib.suppress(OSError, ValueError):
                i = 0
                while not over.wait(1.0 / rate):
                    process.stdin.write(drawn(i).tobytes())
                    process.stdin.flush()
                    i += 1

        thread = threading.Thread(target=film, daemon=True)
        thread.start()
        try:
            yield process
        finally:
            over.set()
            process.kill()
            thread.join(WAIT_S)


def numbers_of(source, count):
    out = []
    while len(out) < count:
        frame = source.next_frame(WAIT_S)
        assert frame is not None
        out.append((frame.index, number_in(frame.pixels), frame.time_s))
    return out


@pytest.mark.parametrize("kind", ["udp h264", "tcp mjpeg"])
def test_pictures_come_in_order_and_every_one_is_accounted_for(kind):
    port = free_port()
    if kind == "udp h264":
        words = [*H264, "-f", "mpegts", "-flush_packets", "1", f"udp://127.0.0.1:{port}?pkt_size=1316"]
        where = f"video:udp://127.0.0.1:{port}"
    else:
        words = ["-c:v", "mjpeg", "-q:v", "3", "-flush_packets", "1", "-f", "nut", f"tcp://127.0.0.1:{port}?listen=1"]
        where = f"video:tcp://127.0.0.1:{port}"
    with camera(words):
        source = LiveVideo(where.removeprefix("video:"), open_s=WAIT_S)
        got = numbers_of(source, 12)
        source.close()
    indices, numbers, times = zip(*got, strict=True)
    assert source.info.size_px == SIZE
    assert source.info.frames is None
    assert list(indices) == sorted(set(indices))
    assert list(numbers) == sorted(set(numbers))
    steps = np.diff(numbers) - np.diff(indices)
    assert (steps >= 0).all(), "what came between two pictures has a number of its own"
    assert all(a < b for a, b in itertools.pairwise(times))
    counts = source.counts()
    assert counts.seen == 12
    assert counts.waiting == 0
    assert counts.received == counts.seen + counts.overwritten + sum(counts.bad.values())
    lag = source.lag()
    assert lag["codec"] == kind.split()[1]
    assert lag["decoder_holds_s"] >= 0.0
    assert "times are those of arrival" in source.info.notes[0]


def test_a_camera_that_is_started_again_is_followed(monkeypatch):
    monkeypatch.setattr(live_video, "MAX_WAIT_S", 0.1)
    port = free_port()
    words = ["-c:v", "mjpeg", "-q:v", "3", "-flush_packets", "1", "-f", "nut", f"tcp://127.0.0.1:{port}?listen=1"]
    with camera(words):
        source = LiveVideo(f"tcp://127.0.0.1:{port}", open_s=WAIT_S)
        before = numbers_of(source, 3)
    until(lambda: source.complaint() is not None, "the end")
    with camera(words):
        until(lambda: source.counts().connections == 2, "a second connection")
        after = numbers_of(source, 3)
    source.close()
    assert after[0][0] > before[-1][0]
    assert after[0][2] > before[-1][2]
    counts = source.counts()
    assert counts.received == counts.seen + counts.overwritten + sum(counts.bad.values())


def test_b_frames_are_told_to_hold_pictures_back():
    port = free_port()
    words = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "10", "-pix_fmt", "yuv420p"]
    with camera([*words, "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"]):
        source = LiveVideo(f"udp://127.0.0.1:{port}", open_s=WAIT_S)
        numbers = [n for _, n, _ in numbers_of(source, 6)]
        source.close()
    assert numbers == sorted(set(numbers))
    assert any("B-frames" in note for note in source.info.notes)


def test_a_stream_that_does_not_exist_is_one_line():
    with pytest.raises(InputError, match=r"no picture came within 0\.5 s: .*refused"):
        LiveVideo(f"tcp://127.0.0.1:{free_port()}", open_s=0.5)


def test_bytes_that_are_no_video_are_one_line():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    with sock:
                        sock.sendall(b"not a video at all " * 2000)

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(InputError, match="no picture came within 1 s"):
            LiveVideo(f"tcp://127.0.0.1:{server.getsockname()[1]}", open_s=1.0)
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/a", "ftp:// is not read"),
        ("/dev/video97", "there is no such device"),
        ("nonsense", "no device and no stream"),
        ("avfoundation:0?zoom=2", "there is no option 'zoom'"),
    ],
)
def test_an_address_that_is_none_is_one_line(text, said):
    with pytest.raises(InputError, match=said):
        parse_video_address(text)


def test_a_file_is_no_live_source(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="is a file: give it without video:"):
        open_source(f"video:{tmp_path / 'a.mp4'}")


def test_devices_of_other_systems_go_the_same_way():
    """Not tested on hardware: what is given to ffmpeg is."""
    mac = parse_video_address("avfoundation:0?size=1280x720&rate=30")
    assert (mac.format, mac.url) == ("avfoundation", "0")
    assert mac.options["video_size"] == "1280x720"
    assert parse_video_address("dshow:video=Frame Grabber").url == "video=Frame Grabber"
    rtsp = parse_video_address("rtsp://10.0.0.2/stream")
    assert rtsp.format is None
    assert rtsp.options["fflags"] == "nobuffer"
