"""Speed of live sources: OpenIGTLink beside pyigtl from the same sender, a slow consumer, and video from ffmpeg.

The sender is a process of its own that packs a picture beforehand and stamps it after its check sum, so that what is
measured is the way: send, receive, check, hand over. Both ends read one clock.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.progress import CountProgress
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sources.igtlink.source import OpenIGTLinkSource
from sonosteer.sources.igtlink.wire import HEADER, crc64, image_content, split_time
from sonosteer.sources.live_video import LiveVideo

SIZE = (480, 640)
RATE_HZ, SLOW_RATE_HZ = 60.0, 100.0
ROUND_S, ROUNDS = 3.0, 3
LONG_S, SLOW_S, VIDEO_S = 60.0, 10.0, 8.0
BUSY_S = 0.02
WARM = 10  # the first pictures of a connection are not counted


def bench_live(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench live`. Raises MissingExtraError without pyigtl, the reference."""
    try:
        import pyigtl  # noqa: F401  the readers import it again in their own way
    except ImportError:
        raise MissingExtraError("bench live", "pyigtl", "dev") from None
    pixels = np.random.default_rng(seed).integers(0, 255, SIZE, dtype=np.uint8)
    readers: dict[str, Callable[[int, float], tuple[list[float], float]]] = {
        "sonosteer": _read_ours,
        "pyigtl polled each ms": _read_polling,
        "pyigtl wait_for_message": _read_waiting,
    }
    ages: dict[str, list[float]] = {name: [] for name in readers}
    cpu: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):  # in turn, so that all meet the same load
        for name, read in readers.items():
            got, used = _with_sender(pixels, RATE_HZ, ROUND_S, read)
            ages[name] += got
            cpu[name].append(used)
            progress(sum(map(len, ages.values())))
    ours = percentiles_ms(ages["sonosteer"])
    cases: list[dict[str, Any]] = []
    for name in readers:
        p = percentiles_ms(ages[name])
        others = {k: percentiles_ms(v) for k, v in ages.items() if k != name} if name == "sonosteer" else {}
        ratio = {k: round(v["median_ms"] / ours["median_ms"], 2) for k, v in others.items()}
        used_percent = round(100.0 * float(np.median(cpu[name])), 1)
        cases.append({"case": f"transport, {name}", **p, "cpu_percent": used_percent, "ratio": ratio})
    cases.append(_long_run(pixels))
    progress(len(cases))
    cases.append(_slow_consumer(pixels))
    progress(len(cases))
    cases += _video()
    return {
        "name": "live",
        "machine": versions() | {"load": os.getloadavg()[0], "cores": os.cpu_count()},
        "cases": cases,
        "notes": (
            f"640x480 grey at {RATE_HZ:g} Hz over TCP on this machine, check sums compared by us and not by pyigtl. "
            f"transport: {ROUNDS} rounds of {ROUND_S:g} s of each reader in turn. slow consumer: {SLOW_RATE_HZ:g} Hz "
            f"into one that is busy for {1e3 * BUSY_S:g} ms a frame. video: from drawing to array, with ffmpeg's own "
            f"pipe and coding. Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
        ),
    }


# -- the sender -------------------------------------------------------------------------------------------------------


def _send(ready: Any, pixels: Any, rate_hz: float, count: int) -> None:
    """Serve one client: `count` pictures, each stamped just before it leaves."""
    body = image_content(pixels, (0.2, 0.1), np.eye(4))
    crc = crc64(body)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ready.send_bytes(b"%d" % server.getsockname()[1])
        sock, _ = server.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began_s = time.perf_counter()
            sent = 0
            try:
                for i in range(count):
                    time.sleep(max(0.0, began_s + i / rate_hz - time.perf_counter()))
                    seconds, fraction = split_time(time.time())
                    fields = (1, b"IMAGE", b"Image", seconds, fraction, len(body), crc)
                    sock.sendall(HEADER.pack(*fields) + body)
                    sent += 1
            except OSError:
                pass
            ready.send_bytes(b"%d" % sent)
            time.sleep(0.5)


def _with_sender(
    pixels: Any, rate_hz: float, seconds: float, read: Callable[[int, float], tuple[list[float], float]]
) -> tuple[list[float], float]:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    sender = context.Process(target=_send, args=(theirs, pixels, rate_hz, int(seconds * rate_hz)), daemon=True)
    sender.start()
    try:
        ages, used = read(int(ours.recv_bytes()), seconds)
    finally:
        sender.kill()
        sender.join()
    return ages[WARM:], used


# -- readers: (ages in ms, fraction of a processor used) ---------------------------------------------------------------


def _cpu_s() -> float:
    return time.process_time()


def _read_ours(port: int, seconds: float) -> tuple[list[float], float]:
    source = OpenIGTLinkSource(f"igtl://127.0.0.1:{port}/Image?clock=shared", orientation="MF")
    ages, began_s, used_s = [], time.perf_counter(), _cpu_s()
    while time.perf_counter() - began_s < seconds:
        frame = source.next_frame(0.2)
        if frame is not None:
            ages.append(1e3 * (source.clock.now_s() - frame.time_s))
    took_s, used_s = time.perf_counter() - began_s, _cpu_s() - used_s
    source.close()
    return ages, used_s / took_s


def _read_pyigtl(port: int, seconds: float, newest: Callable[[Any], list[Any]]) -> tuple[list[float], float]:
    import pyigtl

    client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
    ages, began_s, used_s = [], time.perf_counter(), _cpu_s()
    while time.perf_counter() - began_s < seconds:
        ages += [1e3 * (time.time() - m.timestamp) for m in newest(client)]
    took_s, used_s = time.perf_counter() - began_s, _cpu_s() - used_s
    client.stop()
    return ages, used_s / took_s


def _read_polling(port: int, seconds: float) -> tuple[list[float], float]:
    def poll(client: Any) -> list[Any]:
        got: list[Any] = client.get_latest_messages()
        if not got:
            time.sleep(0.001)
        return got

    return _read_pyigtl(port, seconds, poll)


def _read_waiting(port: int, seconds: float) -> tuple[list[float], float]:
    def wait(client: Any) -> list[Any]:
        got = client.wait_for_message("Image", timeout=0.2)
        return [] if got is None else [got]

    return _read_pyigtl(port, seconds, wait)


# -- longer runs ------------------------------------------------------------------------------------------------------


def _memory_mb() -> float:
    """Memory that the process has now, MB. 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def _run(pixels: Any, rate_hz: float, seconds: float, busy_s: float) -> dict[str, Any]:
    """Read a sender to its end: ages, the account, and what memory grew by after the first fifth."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    count = int(seconds * rate_hz)
    sender = context.Process(target=_send, args=(theirs, pixels, rate_hz, count), daemon=True)
    sender.start()
    source = OpenIGTLinkSource(f"igtl://127.0.0.1:{int(ours.recv_bytes())}/Image?clock=shared", orientation="MF")
    times_s, ages, memory_mb = [], [], []
    while not (ours.poll() and source.counts().received >= count):
        frame = source.next_frame(0.2)
        if frame is not None:
            times_s.append(frame.time_s)
            ages.append(1e3 * (source.clock.now_s() - frame.time_s))
            memory_mb.append(_memory_mb())
            if busy_s:
                time.sleep(busy_s)
        elif not sender.is_alive():
            break
    sent = int(ours.recv_bytes()) if ours.poll() else None
    source.close()
    sender.kill()
    sender.join()
    counts = source.counts()
    after = len(ages) // 5
    slope = float(np.polyfit(times_s[after:], ages[after:], 1)[0]) if len(ages) > 20 else None
    return {
        **percentiles_ms(ages),
        "sent": sent,
        "received": counts.received,
        "seen": counts.seen,
        "overwritten": counts.overwritten,
        "bad": dict(counts.bad),
        "adds_up": counts.received == sent == counts.seen + counts.overwritten + sum(counts.bad.values()),
        "age_slope_ms_per_s": None if slope is None else round(slope, 3),
        "memory_growth_mb": round(max(memory_mb[after:]) - memory_mb[after], 2) if memory_mb else None,
        "ratio": {},
    }


def _long_run(pixels: Any) -> dict[str, Any]:
    return {"case": f"{LONG_S:g} s at {RATE_HZ:g} Hz", **_run(pixels, RATE_HZ, LONG_S, 0.0)}


def _slow_consumer(pixels: Any) -> dict[str, Any]:
    name = f"{SLOW_RATE_HZ:g} Hz into a consumer of {1e3 * BUSY_S:g} ms"
    return {"case": name, **_run(pixels, SLOW_RATE_HZ, SLOW_S, BUSY_S)}


# -- video ------------------------------------------------------------------------------------------------------------

H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p"]


def _video() -> list[dict[str, Any]]:
    """From drawing a picture to its array, with ffmpeg as camera. None where there is no ffmpeg."""
    program = shutil.which("ffmpeg")
    if program is None:
        return []
    udp, tcp = _free_port(), _free_port()
    cases = {
        "video, H.264 zerolatency over UDP": (
            [*H264, "-tune", "zerolatency", "-f", "mpegts", "-flush_packets", "1"],
            f"udp://127.0.0.1:{udp}?pkt_size=1316",
            f"udp://127.0.0.1:{udp}",
        ),
        "video, MJPEG over TCP": (
            ["-c:v", "mjpeg", "-q:v", "3", "-flush_packets", "1", "-f", "nut"],
            f"tcp://127.0.0.1:{tcp}?listen=1",
            f"tcp://127.0.0.1:{tcp}",
        ),
    }
    return [_film(name, program, words, to, where) for name, (words, to, where) in cases.items()]


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _film(name: str, program: str, words: list[str], to: str, where: str) -> dict[str, Any]:
    size = f"{SIZE[1]}x{SIZE[0]}"
    begin = [program, "-loglevel", "quiet", "-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", "30", "-i", "-"]
    over = threading.Event()
    with subprocess.Popen([*begin, *words, to], stdin=subprocess.PIPE) as camera:

        def draw() -> None:
            assert camera.stdin is not None
            began_s, i = time.perf_counter(), 0
            try:
                while not over.is_set():
                    camera.stdin.write(_stamped(round(1e3 * time.time())).tobytes())
                    camera.stdin.flush()
                    i += 1
                    time.sleep(max(0.0, began_s + i / 30.0 - time.perf_counter()))
            except OSError:
                pass

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        ages: list[float] = []
        try:
            source = LiveVideo(where)
            began_s = time.perf_counter()
            while time.perf_counter() - began_s < VIDEO_S:
                frame = source.next_frame(0.2)
                if frame is not None:
                    ages.append(float((round(1e3 * time.time()) & 0xFFFFFFFF) - _stamp_in(frame.pixels)))
            lag, counts = source.lag(), source.counts()
            source.close()
        except InputError as e:
            return {"case": name, **percentiles_ms([0.0]), "failed": str(e), "ratio": {}}
        finally:
            over.set()
            camera.kill()
            thread.join(5.0)
    return {"case": name, **percentiles_ms(ages[WARM:]), "lag": lag, "bad": dict(counts.bad), "ratio": {}}


def _stamped(time_ms: int) -> Any:
    """A picture with the lowest 32 bits of a time in blocks that survive a coder."""
    pixels = np.full(SIZE, 40, np.uint8)
    for bit in range(32):
        pixels[:16, 16 * bit : 16 * bit + 16] = 255 if time_ms >> bit & 1 else 0
    return pixels


def _stamp_in(pixels: Any) -> int:
    return sum(int(pixels[8, 16 * bit + 8] > 127) << bit for bit in range(32))
