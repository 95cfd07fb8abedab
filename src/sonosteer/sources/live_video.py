"""Live video through PyAV: `video:` and a device, or the address of a stream.

`video:/dev/video0` (V4L2), `video:udp://HOST:PORT`, `video:tcp://HOST:PORT`, `video:rtsp://...`, `video:avfoundation:0`
(macOS), `video:dshow:video=NAME` (Windows). UDP and TCP are tested against ffmpeg. RTSP, V4L2, AVFoundation and
DirectShow go the same way, and are not tested on hardware.
"""

from __future__ import annotations

import contextlib
import math
import re
import statistics
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import av
import numpy as np

from sonosteer.core.clock import RealClock, ShiftedClock
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.limits import limit_of
from sonosteer.core.live import StreamCounts
from sonosteer.core.newest import Newest
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.core.wall_clock import ClockStep, WallClock
from sonosteer.sources.live_frames import live_frames
from sonosteer.sources.video import DECODER_ERRORS

OPEN_S = 10.0  # chosen: an encoder sends a picture that can be decoded alone every few seconds
SILENT_S = 3.0  # chosen: as over OpenIGTLink
MIN_WAIT_S, MAX_WAIT_S = 0.05, 2.0  # chosen: between two attempts, doubled each time
LOW_DELAY = 1 << 19  # AV_CODEC_FLAG_LOW_DELAY
GAP_STEPS = 1.5  # chosen: of the usual time between two pictures. More is a picture that is missing.
WARN_S = 0.15  # chosen: a hand and an eye notice it
MOST_REASONS = 64
#: few bytes and little time to find out what is sent. What PyAV takes as it comes is 5 s.
PROBING = {"probesize": "200000", "analyzeduration": "1500000"}
LOW_DELAY_OPTIONS = {"fflags": "nobuffer", "flags": "low_delay"}
NETWORK = ("udp", "tcp", "rtsp", "rtp", "srt", "http", "https", "rtmp")
DEVICES = ("v4l2", "avfoundation", "dshow")
#: option of an address -> ffmpeg's name of it
DEVICE_OPTIONS = {"size": "video_size", "rate": "framerate", "format": "input_format"}


@dataclass(frozen=True, slots=True)
class VideoAddress:
    """What PyAV is to open."""

    url: str
    """Name of the device, or address of the stream."""
    format: str | None
    """ffmpeg's name of the kind of device. None for a stream."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of ffmpeg."""


def parse_video_address(text: str) -> VideoAddress:
    """Read what stands behind `video:`. Raises InputError if that is no device and no stream."""
    scheme = re.match(r"([a-z0-9]+)://", text)
    if scheme is not None:
        if scheme[1] not in NETWORK:
            raise InputError(f"video:{text}: {scheme[1]}:// is not read; {', '.join(NETWORK)} are")
        options = {**LOW_DELAY_OPTIONS, **PROBING}
        if scheme[1] == "udp":
            text += ("&" if "?" in text else "?") + "fifo_size=50000&overrun_nonfatal=1"
        return VideoAddress(text, None, options)
    kind, colon, name = text.partition(":")
    if colon and kind in DEVICES:
        return _device(kind, name)
    if re.fullmatch(r"\d+", text):
        text = f"/dev/video{text}"
    if text.startswith("/dev/"):
        return _device("v4l2", text)
    if Path(text).exists():
        raise InputError(f"video:{text} is a file: give it without video:, it is no live source")
    raise InputError(
        f"video:{text} is no device and no stream: give video:/dev/video0, video:udp://HOST:PORT, "
        "video:tcp://HOST:PORT, video:rtsp://..., video:avfoundation:0 or video:dshow:video=NAME"
    )


def _device(kind: str, text: str) -> VideoAddress:
    name, _, query = text.partition("?")
    options = dict(LOW_DELAY_OPTIONS)
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option not in DEVICE_OPTIONS:
            raise InputError(f"video:{text}: there is no option {option!r}; there are: {', '.join(DEVICE_OPTIONS)}")
        options[DEVICE_OPTIONS[option]] = value
    if kind == "v4l2" and not Path(name).exists():
        there = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise InputError(f"video:{name}: there is no such device; there are: {there}")
    return VideoAddress(name, kind, options)


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """A picture as the decoder gave it. It is converted when somebody takes it."""

    serial: int
    picture: Any
    arrived_s: float


class LiveVideo:
    """A live stream of video. where: what stands behind `video:`.

    spacing: mm per px. grey: False gives RGB. open_s: how long to wait for the first picture, s. Frames have the time
    of their arrival, before they are decoded. Raises InputError if no picture comes, or if their size changes. The
    stream comes back by itself, and everything that is wrong is counted.
    """

    def __init__(
        self, where: str, *, spacing: Spacing | None = None, grey: bool = True, open_s: float = OPEN_S
    ) -> None:
        self._address = parse_video_address(where)
        self._where, self._spacing, self._grey = where, spacing, grey
        self._run_clock = RealClock()
        self._wall = WallClock(self._run_clock)
        self._account = _Account()
        self._pictures: Newest[_Decoded] = Newest()
        self._held: deque[float] = deque(maxlen=64)  # pictures that the decoder held back, s
        self._over = threading.Event()
        self._trouble: str | None = "not connected yet"
        self._last_s, self._serial = -np.inf, 0
        self._connection: _Connection | None = None
        self._told: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, name="video", daemon=True)
        self._thread.start()
        first = self._pictures.peek(open_s)
        if first is None:
            self.close()
            raise InputError(f"video:{where}: no picture came within {open_s:g} s: {self._why()}")
        self._origin_s = first.arrived_s
        self.clock = ShiftedClock(self._run_clock, self._origin_s)
        self._deep = max((c.bits for c in first.picture.format.components), default=8) > 8
        self.info = SourceInfo(
            name=f"video:{where}",
            kind="live video",
            size_px=(first.picture.width, first.picture.height),
            frames=None,
            rate_hz=self._told.get("rate_hz"),
            spacing=spacing,
            notes=self._notes(),
        )

    def _why(self) -> str:
        reasons = self._account.faults or self._account.bad
        if reasons:
            return max(reasons, key=lambda name: reasons[name])
        return self._trouble or "nothing is sent there"

    def _notes(self) -> tuple[str, ...]:
        notes = ["times are those of arrival here: the way through scanner, grabber and encoder is not in any age"]
        if self._address.format is not None:
            notes.append(f"{self._address.format} is not tested on hardware")
        if self._told.get("reorders"):
            notes.append("the encoder uses B-frames, which hold pictures back: choose zerolatency, or intra frames")
        return tuple(notes)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_connected()
        except Exception as e:  # noqa: BLE001  raised again where pictures are taken
            self._pictures.fail(BrokenError(f"reading video:{self._where} broke: {type(e).__name__}: {e}"))

    def _keep_connected(self) -> None:
        wait_s = MIN_WAIT_S
        while not self._over.is_set():
            before = self._serial
            try:
                self._read()
                self._broken("the stream ended")
            except DECODER_ERRORS as e:
                self._broken(_reason(e))
            wait_s = MIN_WAIT_S if self._serial > before else min(2 * wait_s, MAX_WAIT_S)
            self._over.wait(wait_s)

    def _broken(self, reason: str) -> None:
        if not self._over.is_set():
            self._trouble = reason
            self._account.fault(reason)

    def _read(self) -> None:
        """Read one connection to its end."""
        a = self._address
        options = {**a.options, "max_pixels": str(limit_of("SONOSTEER_MAX_FRAME_PX"))}
        with av.open(a.url, format=a.format, options=options, timeout=(SILENT_S, SILENT_S)) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise ValueError("there is no video in the stream")
            stream.codec_context.flags |= LOW_DELAY
            stream.thread_type = "NONE"
            self._account.connections += 1
            self._trouble = None
            rate = stream.average_rate or stream.guessed_rate
            self._told = {
                "codec": stream.codec_context.name,
                "rate_hz": float(rate) if rate and 0 < rate <= 1000 else None,
                "reorders": bool(stream.codec_context.has_b_frames),
            }
            connection = self._connection = _Connection(stream)
            for packet in container.demux(stream):
                if self._over.is_set():
                    return
                self._take(packet, connection)

    def _take(self, packet: Any, connection: _Connection) -> None:
        arrived_s = self._run_clock.now_s()
        if packet.size == 0:
            return
        connection.packet(packet, arrived_s)
        if self._wall.check() is not None:
            self._account.fault("the time of day on this machine stepped")
        try:
            pictures = packet.decode()
        except av.FFmpegError as e:
            if connection.begun:
                self._account.bad_one(f"cannot be decoded: {_reason(e)}")
            else:
                self._account.before_first += 1
            return
        for picture in pictures:
            self._put(picture, connection)

    def _put(self, picture: Any, connection: _Connection) -> None:
        now_s = self._run_clock.now_s()
        arrived_s = connection.arrival_s(picture, now_s)
        self._held.append(now_s - arrived_s)
        self._account.lost_before += connection.missing(picture)
        if picture.is_corrupt or connection.is_damaged(picture):
            self._account.bad_one("damaged on the way")
            return
        connection.compare(picture, arrived_s)
        with self._account.lock:
            self._pictures.put(_Decoded(self._serial, picture, arrived_s))
            self._serial += 1

    # -- from the run -------------------------------------------------------------------------------------------------

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame. Waits up to timeout_s for one, then None. Raises InputError if the size changed."""
        got = self._pictures.take(timeout_s)
        if got is None:
            return None
        size = (got.picture.width, got.picture.height)
        if size != self.info.size_px:
            before = "{}x{}".format(*self.info.size_px)
            raise InputError(
                f"{self.info.name}: frame {got.serial} is {size[0]}x{size[1]} px, those before it {before}: a run has "
                "one size, start another one"
            )
        deep = ("gray16le", "rgb48le") if self._deep else ("gray", "rgb24")
        pixels: Any = got.picture.to_ndarray(format=deep[0] if self._grey else deep[1])
        time_s = max(got.arrived_s - self._origin_s, self._last_s + 1e-6)
        self._last_s = time_s
        return Frame(
            pixels,
            index=got.serial,
            time_s=time_s,
            spacing=self._spacing,
            full_scale=65535.0 if self._deep else 255.0,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames as they come, without an end. The first `start` are passed over, and there are stop - start."""
        return live_frames(self, start, stop)

    def counts(self) -> StreamCounts:
        """The account of the stream up to now."""
        account = self._account
        with account.lock:
            put, taken, overwritten, waiting = self._pictures.counts
            return StreamCounts(
                received=put + account.bad.total(),
                seen=taken,
                overwritten=overwritten,
                waiting=waiting,
                bad=dict(account.bad),
                other={"packet before the first picture": account.before_first} if account.before_first else {},
                faults=dict(account.faults),
                connections=account.connections,
                lost_before=account.lost_before,
            )

    def lag(self) -> dict[str, Any]:
        """What of the lag can be measured here.

        How long the decoder holds pictures back, and by how much they come later than their own times say, beyond the
        one that came soonest: that grows where encoder, network or reader cannot keep up.
        """
        held = list(self._held)
        held_s = statistics.median(held) if held else None
        behind_s = None if self._connection is None else self._connection.behind_s
        late_s = (held_s or 0.0) + (behind_s or 0.0)
        return {
            "codec": self._told.get("codec"),
            "decoder_holds_s": held_s,
            "behind_its_own_times_s": behind_s,
            "warning": f"pictures are {late_s:.2f} s late, beside the way to here" if late_s > WARN_S else None,
        }

    def complaint(self) -> str | None:
        """Why nothing comes just now."""
        return self._trouble

    def to_wall_s(self, time_s: float) -> float:
        """Time of day of a moment on `clock`, s since 1970."""
        return self._wall.to_wall_s(time_s + self._origin_s)

    def clock_step(self) -> ClockStep | None:
        """The last step of this machine's time of day, dated on `clock`. None if there was none."""
        step = self._wall.last_step
        return None if step is None else replace(step, at_s=step.at_s - self._origin_s)

    def close(self) -> None:
        """End the thread. What still waits is counted as overwritten. May be called twice."""
        self._over.set()
        self._thread.join(SILENT_S + 1.0)
        self._pictures.discard()


class _Account:
    """What was counted, beside pictures."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bad: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.connections = self.lost_before = self.before_first = 0

    def bad_one(self, reason: str) -> None:
        with self.lock:
            self.bad[reason if reason in self.bad or len(self.bad) < MOST_REASONS else "(further reasons)"] += 1

    def fault(self, reason: str) -> None:
        with self.lock:
            self.faults[reason if reason in self.faults or len(self.faults) < MOST_REASONS else "(further faults)"] += 1


class _Connection:
    """What is known of the packets of one connection."""

    def __init__(self, stream: Any) -> None:
        self.time_base = stream.time_base
        self.begun = False
        self._arrived: dict[int, float] = {}  # presentation time -> arrival of its packet
        self.delays_s: deque[float] = deque(maxlen=30)
        self._least_s = math.inf
        self._damaged: set[int] = set()
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=30)

    def packet(self, packet: Any, arrived_s: float) -> None:
        if packet.pts is None:
            return
        self._arrived[packet.pts] = arrived_s
        if packet.is_corrupt:
            self._damaged.add(packet.pts)
        while len(self._arrived) > 256:  # what the decoder never gave
            old = next(iter(self._arrived))
            del self._arrived[old]
            self._damaged.discard(old)

    def arrival_s(self, picture: Any, now_s: float) -> float:
        """When the packet of a picture came, s. now_s where that is not known."""
        return self._arrived.pop(picture.pts, now_s)

    def compare(self, picture: Any, arrived_s: float) -> None:
        """Note how much later a picture came than its own time says, beyond the one that came soonest."""
        if picture.pts is not None and self.time_base is not None:
            self.delays_s.append(arrived_s - float(picture.pts * self.time_base))

    @property
    def behind_s(self) -> float | None:
        """Median of that among the last pictures, s. None before the first."""
        delays = list(self.delays_s)
        self._least_s = min([self._least_s, *delays])
        return statistics.median(delays) - self._least_s if delays else None

    def is_damaged(self, picture: Any) -> bool:
        """Whether the packet of a picture was marked as damaged."""
        with contextlib.suppress(KeyError):
            self._damaged.remove(picture.pts)
            return True
        return False

    def missing(self, picture: Any) -> int:
        """How many pictures are missing before this one, as its presentation time tells."""
        self.begun = True
        if picture.pts is None:
            return 0
        last, self._last = self._last, picture.pts
        step = 0 if last is None else picture.pts - last
        if step <= 0:
            return 0
        usual = sorted(self._steps)[len(self._steps) // 2] if self._steps else step
        self._steps.append(step)
        return round(step / usual) - 1 if step > GAP_STEPS * usual else 0


def _reason(error: Exception) -> str:
    """A stream's error as a reason to count: the same words for the same thing."""
    text = str(getattr(error, "strerror", None) or error).split("\n")[0][:120]
    if isinstance(error, av.error.ExitError) or "Immediate exit" in text:
        return "nothing came for 3 s"
    if isinstance(error, IndexError):
        return "no video was found in what came"
    return text or type(error).__name__
