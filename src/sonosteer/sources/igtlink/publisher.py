"""Publishes what is known of the needle over OpenIGTLink, as 3D Slicer and PLUS read it. Nobody waits for a client.

Each client has a thread and a mailbox of its own that holds the newest frame only. One that does not read makes only
its own thread wait, and is let go after a while. A tip that is lost, or too old, has no transform: what leaves instead
is its state and an empty list of points.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonosteer.core.clock import Clock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Point, rigid, transform_point
from sonosteer.core.newest import Newest
from sonosteer.core.types import Estimate, Frame, TipEstimate
from sonosteer.sources.igtlink.address import IgtlAddress
from sonosteer.sources.igtlink.receiver import CONNECT_S, LOOK_S, MAX_WAIT_S, MIN_WAIT_S, listen_at, said_of
from sonosteer.sources.igtlink.wire import (
    HEADER,
    NamedPoint,
    WireError,
    crc64,
    image_content,
    make_message,
    parse_header,
    points_content,
    status_content,
    string_content,
    transform_content,
)

STALE_S = 0.5  # chosen: a needle at 10 mm/s is 5 mm on by then, and no lag of a healthy run is as large
STUCK_S = 5.0  # chosen: a client that takes not one byte for so long has gone, or is held in a debugger
MOST_CLIENTS = 16  # chosen: a viewer for each person in a room
PUBLISHED_POINTS = 9  # chosen: a needle that bends looks smooth in a viewer
BUFFER = 1 << 18  # chosen: less than a picture, so that a client that stops reading is seen by it
ENTRY_RGB, TARGET_COLOUR = (86, 180, 233), (240, 170, 30)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """What leaves together about one frame."""

    state: str
    """tracking, coasting, lost or stale, the last two with their reason."""
    frame: Frame | None
    """The picture. None where none comes."""
    tip: TipEstimate | None
    """The tip. None unless the tracker says where it is."""
    put_s: float
    """When it was handed over, s on the run's clock."""
    age_s: float
    """How old the picture was by then, s. 0 for a recorded clip."""
    stamp_s: float
    """Time of day at which the picture was acquired, s since 1970."""


class Publisher:
    """Watches a run and publishes every frame. It never holds the run up.

    address: `igtl://:PORT` waits for clients, `igtl://HOST:PORT` connects to one. clock: of the run. to_wall_s: time of
    day of a moment on that clock, s. None for a recorded clip, whose frames are stamped as they are published. target:
    (column, row) px of a place to publish beside the tip. Raises InputError if the port cannot be had.
    """

    def __init__(
        self,
        address: IgtlAddress,
        clock: Clock,
        *,
        to_wall_s: Callable[[float], float] | None = None,
        target: Point | None = None,
    ) -> None:
        crc64(b"")  # a missing library is said before anything begins
        self._address, self._clock, self._to_wall_s, self._target = address, clock, to_wall_s, target
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._links: set[_Link] = set()
        self._newest: Bundle | None = None
        self._published = self._clients = 0
        self._sent = self._overwritten = 0  # of clients that have gone
        self._gone: Counter[str] = Counter()
        self._server = None if address.host is not None else listen_at(address)
        run = self._connect if self._server is None else self._accept
        self._thread = threading.Thread(target=run, name="publisher", daemon=True)
        self._thread.start()

    # -- from the run -------------------------------------------------------------------------------------------------

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Publish a frame and its estimate."""
        now_s = self._clock.now_s()
        tip = estimate if isinstance(estimate, TipEstimate) else None
        state = estimate.state.value if isinstance(estimate, TipEstimate) else f"lost: {estimate.reason}"
        if self._to_wall_s is None:
            self._put(Bundle(state, frame, tip, put_s=now_s, age_s=0.0, stamp_s=time.time()))
        else:
            age_s = now_s - frame.time_s
            self._put(Bundle(state, frame, tip, put_s=now_s, age_s=age_s, stamp_s=self._to_wall_s(frame.time_s)))

    def silent(self, reason: str) -> None:
        """Publish that no picture comes: what was said of the last one does not hold any more."""
        now_s = self._clock.now_s()
        self._put(Bundle(f"stale: {reason}", None, None, put_s=now_s, age_s=0.0, stamp_s=time.time()))

    def _put(self, bundle: Bundle) -> None:
        with self._lock:
            self._newest = bundle
            self._published += 1
            for link in self._links:
                link.newest.put(bundle)

    def summary(self) -> dict[str, Any]:
        """What was published, as in summary.json."""
        with self._lock:
            counts = [link.newest.counts for link in self._links]
            return {
                "at": self._address.where,
                "frames": self._published,
                "clients": self._clients,
                "sent": self._sent + sum(c[1] for c in counts),
                "overwritten": self._overwritten + sum(c[2] + c[3] for c in counts),
                "clients_gone": dict(self._gone),
            }

    def close(self) -> None:
        """Say that the run is over, and let the clients go. May be called twice."""
        if not self._over.is_set():
            self.silent("the run is over")
            until_s = time.monotonic() + LOOK_S
            while time.monotonic() < until_s and any(link.newest.counts[3] for link in self._copy()):
                time.sleep(0.005)
        self._over.set()
        for link in self._copy():
            link.close()
        self._thread.join(CONNECT_S + 1.0)
        if self._server is not None:
            self._server.close()

    # -- clients ------------------------------------------------------------------------------------------------------

    def _copy(self) -> list[_Link]:
        with self._lock:
            return list(self._links)

    def _accept(self) -> None:
        assert self._server is not None
        while not self._over.is_set():
            if not select.select([self._server], [], [], LOOK_S)[0]:
                continue
            try:
                sock, _ = self._server.accept()
            except OSError:
                continue
            if len(self._copy()) >= MOST_CLIENTS:
                sock.close()
                self._gone["too many clients"] += 1
                continue
            link = self._begin(sock)
            threading.Thread(target=self._serve, args=(link,), name="publish", daemon=True).start()

    def _connect(self) -> None:
        assert self._address.host is not None
        wait_s = MIN_WAIT_S
        while not self._over.is_set():
            try:
                sock = socket.create_connection((self._address.host, self._address.port), timeout=CONNECT_S)
            except OSError as e:
                self._gone[said_of(e)] += 1
            else:
                wait_s = MIN_WAIT_S
                self._serve(self._begin(sock))
            self._over.wait(wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)

    def _begin(self, sock: socket.socket) -> _Link:
        link = _Link(sock, self)
        with self._lock:
            self._links.add(link)
            self._clients += 1
            if self._newest is not None:  # a client that comes while nothing moves is told what holds
                link.newest.put(self._newest)
        return link

    def _serve(self, link: _Link) -> None:
        try:
            reason = link.serve(self._over)
        except Exception as e:  # noqa: BLE001  a client's thread ends, the run goes on and says why
            reason = f"broke with {type(e).__name__}: {e}"
        with self._lock:
            self._links.discard(link)
            counts = link.newest.counts
            self._sent += counts[1]
            self._overwritten += counts[2] + counts[3]
            self._gone[reason] += 1

    def messages(self, bundle: Bundle, number: int | None) -> list[bytes]:
        """What leaves for a client just now. number: of the next message, None for a client that reads version 1."""
        waited_s = self._clock.now_s() - bundle.put_s
        state, tip, frame = bundle.state, bundle.tip, bundle.frame
        if tip is not None and not bundle.age_s + waited_s <= STALE_S:
            state, tip = f"stale: {bundle.age_s + waited_s:.2f} s old", None
        beside = {"state": state, "age_s": f"{bundle.age_s + waited_s:.4f}"}
        if frame is not None:
            beside["frame"] = str(frame.index)
        if tip is not None:
            sd = {"sd_along_mm": tip.sd_along_mm, "sd_across_mm": tip.sd_across_mm, "confidence": tip.confidence}
            beside |= {name: f"{value:.4f}" for name, value in sd.items() if value is not None}
        contents = [("STRING", "NeedleState", string_content(state))]
        if frame is not None and frame.spacing is not None:
            contents += self._geometry(frame, tip)
        elif tip is None:
            contents += [("POINT", "Tip", b""), ("POINT", "Shaft", b"")]
        if frame is not None:
            contents.append(("IMAGE", "Image", self._picture(frame)))
        return [
            make_message(
                kind,
                device,
                content,
                stamp_s=bundle.stamp_s,
                number=None if number is None else number + i,
                metadata=None if number is None else beside,
            )
            for i, (kind, device, content) in enumerate(contents)
        ]

    def _geometry(self, frame: Frame, tip: TipEstimate | None) -> list[tuple[str, str, bytes]]:
        """Tip, shaft and target. Points lie in the space of the picture: the world's where that is known."""
        assert frame.spacing is not None
        spacing = frame.spacing
        T_world_image = np.eye(4) if frame.T_world_image is None else frame.T_world_image

        def place(point_px: Point) -> tuple[float, float, float]:
            return transform_point(T_world_image, (*spacing.to_mm(point_px), 0.0))

        found: list[tuple[str, str, bytes]] = []
        tips: list[NamedPoint] = []
        shaft: list[NamedPoint] = []
        if tip is not None:
            T_image_tip = tip_pose(spacing.to_mm(tip.tip_px), tip.angle_rad)
            found.append(("TRANSFORM", "TipToImage", transform_content(T_image_tip)))
            if frame.T_world_image is not None:
                found.append(("TRANSFORM", "TipToReference", transform_content(frame.T_world_image @ T_image_tip)))
            tips.append(NamedPoint("Tip", place(tip.tip_px)))
            along = _spread(tip.shaft_px or (tip.entry_px, tip.tip_px))
            shaft += [NamedPoint(f"Shaft-{i}", place(p), "Shaft", ENTRY_RGB) for i, p in enumerate(along)]
        found += [("POINT", "Tip", points_content(tips)), ("POINT", "Shaft", points_content(shaft))]
        if self._target is not None:
            target = NamedPoint("Target", place(self._target), "Target", TARGET_COLOUR, diameter_mm=3.0)
            found.append(("POINT", "Target", points_content([target])))
        return found

    def _picture(self, frame: Frame) -> bytes:
        spacing = None if frame.spacing is None else (frame.spacing.x_mm, frame.spacing.y_mm)
        T = np.eye(4) if frame.T_world_image is None else frame.T_world_image
        return image_content(frame.grey(), spacing, T)


def tip_pose(tip_mm: Point, angle_rad: float) -> Matrix:
    """4x4 matrix, needle -> image mm: x along the needle, z across the image, the origin in the tip."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return rigid(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), (*tip_mm, 0.0))


def _spread(shaft_px: tuple[Point, ...]) -> list[Point]:
    """PUBLISHED_POINTS points along a shaft, from the entry to the tip, px."""
    at = np.linspace(0.0, 1.0, len(shaft_px))
    t = np.linspace(0.0, 1.0, PUBLISHED_POINTS)
    x, y = (np.interp(t, at, [p[k] for p in shaft_px]) for k in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


class _Link:
    """One client: its connection, its mailbox, and the version that it reads."""

    def __init__(self, sock: socket.socket, publisher: Publisher) -> None:
        self.newest: Newest[Bundle] = Newest()
        self._sock, self._publisher = sock, publisher
        self._heard = b""
        self._skip = 0  # bytes of a body that are not looked at
        self._number: int | None = None  # of the last message, once the client has spoken version 2
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.settimeout(LOOK_S)
        self._out = sock.makefile("wb", buffering=0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def serve(self, over: threading.Event) -> str:
        """Send until the client or the run ends. Returns how it ended."""
        try:
            with self._sock, self._out:
                while not over.is_set():
                    self._listen()
                    bundle = self.newest.take(LOOK_S)
                    if bundle is None:
                        continue
                    messages = self._publisher.messages(bundle, None if self._number is None else self._number + 1)
                    if self._number is not None:
                        self._number += len(messages)
                    for each in messages:
                        self._send(each, over)
        except OSError as e:
            return "the run is over" if over.is_set() else said_of(e)
        return "the run is over"

    def _send(self, data: bytes, over: threading.Event) -> None:
        """Send all of it. Raises OSError if the client takes nothing for STUCK_S, or has gone."""
        left, moved_s = memoryview(data), time.monotonic()
        while left:
            try:
                sent = self._out.write(left) or 0
            except TimeoutError:
                if over.is_set():
                    raise
                if time.monotonic() - moved_s > STUCK_S:
                    raise TimeoutError(f"it read nothing for {STUCK_S:g} s") from None
                continue
            left, moved_s = left[sent:], time.monotonic()

    def _listen(self) -> None:
        """Read what the client says, without waiting. Raises OSError once it has gone."""
        while select.select([self._sock], [], [], 0.0)[0]:
            data = self._sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the client closed the connection")
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            self._heard += data[skipped:]
            while len(self._heard) >= HEADER.size:
                try:
                    header = parse_header(self._heard[: HEADER.size])
                except WireError:
                    raise ConnectionError("the client does not speak OpenIGTLink") from None
                if header.version > 1 and self._number is None:
                    self._number = 0
                if header.kind == "GET_STATUS":
                    number = None if self._number is None else self._number + 1
                    self._number = number
                    self._sock.sendall(make_message("STATUS", "sonosteer", status_content(), number=number))
                rest = self._heard[HEADER.size :]
                self._heard, self._skip = rest[header.size :], max(header.size - len(rest), 0)


def check_publishable(address: IgtlAddress) -> None:
    """Raise InputError for parts of an address that publishing does not take."""
    if address.device is not None or address.orientation is not None:
        raise InputError(f"{address.text}: give igtl://:PORT, or igtl://HOST:PORT, to publish")
