"""What becomes of the messages of a stream: the newest picture waits, everything is counted, transforms are kept."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix
from sonosteer.core.live import StreamCounts
from sonosteer.core.newest import Newest
from sonosteer.core.sender_clock import Acquired, SenderClock
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.message_stream import Damaged, WholeMessage
from sonosteer.sources.igtlink.wire import BodyView, Header, Image, WireError, parse_image, parse_transform, split_body

REMEMBERED = 64  # chosen: a repeated stretch of a stream is shorter
MOST_NAMES = 64  # chosen: a sender that makes up names does not fill the memory
OFF_S = 0.02  # chosen: of a clock that is said to be shared. PTP keeps 1 ms, chrony 10 ms.
TOO_MANY = "(further names)"


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """A picture as it came."""

    serial: int
    """Number of the picture among all good ones of its device, from 0, without a gap."""
    image: Image
    """Pixels, scale and place."""
    device: str
    """Name of its device."""
    metadata: dict[str, str]
    """What the sender says beside it. Empty for messages of version 1."""
    stamp_s: float | None
    """When it was acquired on the sender's clock, s. None where the sender does not say."""
    arrived_s: float
    """When its last byte was here, s on the run's clock."""
    acquired_s: float
    """When it was acquired, s on the run's clock. The arrival where the sender does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedPose:
    """The newest TRANSFORM of a name."""

    T: Matrix | None
    """4x4 matrix, mm. None: the sender says that it is not valid."""
    acquired_s: float
    """When it was measured, s on the run's clock."""


class Intake:
    """Takes messages in the order of arrival, in one thread. Others may ask for counts, transforms and pictures.

    device: whose pictures are wanted. None: of the only device that sends any. shared: whether the sender's clock is
    ours.
    """

    def __init__(self, wall: WallClock, *, device: str | None, shared: bool = False) -> None:
        self.device = device
        self.pictures: Newest[Arrived] = Newest()
        self.sender_clock = SenderClock()
        self.unstamped = self.good = self.connections = 0
        self.versions: set[int] = set()
        self.rivals: set[str] = set()  # devices that send pictures, too, before one was chosen
        self._wall, self._shared = wall, shared
        self._lock = threading.Lock()
        self._bad: Counter[str] = Counter()
        self._other: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._poses: dict[str, TrackedPose] = {}
        self._held: tuple[Header, BodyView, float] | None = None  # the first picture, until a second one of its device
        self._known: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)
        self._numbers: dict[str, int] = {}
        self._bad_since = self._lost_before = 0

    def connected(self) -> None:
        """Note that a connection was made: numbers of messages begin anew."""
        self.connections += 1
        self._numbers.clear()
        self._bad_since = 0

    def fault(self, what: str) -> None:
        """Count something else that was wrong."""
        with self._lock:
            self._faults[what if what in self._faults or len(self._faults) < MOST_NAMES else TOO_MANY] += 1

    def broke(self, error: Exception) -> None:
        """Raise an error where pictures are taken: none will come any more."""
        self.pictures.fail(error)

    def take(self, item: WholeMessage | Damaged, arrived_s: float) -> None:
        """Take one message. arrived_s: s on the run's clock."""
        if isinstance(item, Damaged):
            self._count_bad(item.reason)
            return
        self.versions.add(item.header.version)
        try:
            self._sort(item.header, item.body, arrived_s)
        except WireError as e:
            self._count_bad(str(e))

    def _sort(self, header: Header, body: BodyView, arrived_s: float) -> None:
        if header.kind == "IMAGE" and self.device in (None, header.device):
            self._of_device(header, body, arrived_s)
            return
        content, metadata, number = split_body(header, body)
        if header.kind == "TRANSFORM":
            self._keep(header, content, metadata, arrived_s)
        self._number(f"{header.kind} {header.device}", number)
        self._count_other(header)

    def _of_device(self, header: Header, body: BodyView, arrived_s: float) -> None:
        if self.device is None:
            if self._held is None:
                self._held = header, body, arrived_s
                return
            held, self._held = self._held, None
            if held[0].device != header.device:
                self.rivals |= {held[0].device, header.device}
                self._count_other(held[0])
                self._held = header, body, arrived_s
                return
            self.device = header.device
            try:
                self._picture(*held)
            except WireError as e:
                self._count_bad(str(e))
        self._picture(header, body, arrived_s)

    def _picture(self, header: Header, body: BodyView, arrived_s: float) -> None:
        content, metadata, number = split_body(header, body)
        image = parse_image(content)
        stamp_s = header.stamp_s
        if stamp_s is not None:
            if (stamp_s, header.crc) in self._known:
                raise WireError("the same message again")
            self._known.append((stamp_s, header.crc))
        self._number(f"{header.kind} {header.device}", number)
        acquired = self._acquired(stamp_s, arrived_s)
        if acquired.fault is not None:
            self.fault(acquired.fault)
        with self._lock:
            serial = self.good
            self.good += 1
            self.pictures.put(
                Arrived(
                    serial,
                    image,
                    header.device,
                    metadata=metadata,
                    stamp_s=stamp_s,
                    arrived_s=arrived_s,
                    acquired_s=acquired.time_s,
                )
            )

    def _acquired(self, stamp_s: float | None, arrived_s: float) -> Acquired:
        """When a picture was acquired on the run's clock."""
        if stamp_s is None:
            self.unstamped += 1
            return Acquired(arrived_s, None)
        told = self.sender_clock.acquired(stamp_s, arrived_s)
        if not self._shared:
            return told
        own_s = self._wall.to_run_s(stamp_s)
        ahead_s = own_s - arrived_s
        fault = told.fault
        if ahead_s > OFF_S:
            fault = "a time stamp lies ahead of the clock that is said to be shared"
        return Acquired(min(own_s, arrived_s), fault)

    def _keep(self, header: Header, content: BodyView, metadata: dict[str, str], arrived_s: float) -> None:
        T = parse_transform(content)
        name = metadata.get("IGTL_DEVICE_NAME", header.device)
        status = next((v for k, v in metadata.items() if k.lower().endswith("status")), "OK")
        offset_s = self.sender_clock.offset_s
        time_s = arrived_s
        if header.stamp_s is not None and offset_s is not None:
            time_s = min(header.stamp_s + offset_s, arrived_s)
        with self._lock:
            if name in self._poses or len(self._poses) < MOST_NAMES:
                self._poses[name] = TrackedPose(T if status.upper() == "OK" else None, time_s)

    def _number(self, of: str, number: int | None) -> None:
        """Count gaps in the sender's numbers. It may number all its messages, or those of each device."""
        if number is not None:
            before = max(self._numbers.get("", 0), self._numbers.get(of, 0))
            if self._numbers and number > before + 1 and number != self._numbers.get(of, 0) + 1:
                self._lost_before += max(number - before - 1 - self._bad_since, 0)
            if of in self._numbers or len(self._numbers) < MOST_NAMES:
                self._numbers[of] = number
            self._numbers[""] = number
        self._bad_since = 0

    def _count_bad(self, reason: str) -> None:
        self._bad_since += 1
        with self._lock:
            self._bad[reason] += 1

    def _count_other(self, header: Header) -> None:
        name = f"{header.kind} {header.device}".rstrip()
        with self._lock:
            self._other[name if name in self._other or len(self._other) < MOST_NAMES else TOO_MANY] += 1

    # -- asked from other threads -------------------------------------------------------------------------------------

    def counts(self) -> StreamCounts:
        """The account up to now."""
        with self._lock:
            put, taken, overwritten, waiting = self.pictures.counts
            return StreamCounts(
                received=put + self._bad.total(),
                seen=taken,
                overwritten=overwritten,
                waiting=waiting,
                bad=dict(self._bad),
                other=dict(self._other),
                faults=dict(self._faults),
                connections=self.connections,
                lost_before=self._lost_before,
            )

    def poses(self) -> dict[str, TrackedPose]:
        """The newest transform of each name."""
        with self._lock:
            return dict(self._poses)

    def pose(self, name: str, *, now_s: float, max_age_s: float) -> Matrix:
        """The transform of a name, 4x4, mm. Raises InputError if there is none, it is not valid, or too old."""
        found = self.poses()
        if name not in found:
            raise InputError(f"no transform {name!r} came; these did: {', '.join(found) or 'none'}")
        T, age_s = found[name].T, now_s - found[name].acquired_s
        if T is None:
            raise InputError(f"the sender says that transform {name!r} is not valid")
        if not age_s <= max_age_s:
            raise InputError(f"transform {name!r} is {age_s:.2f} s old; at most {max_age_s:g} s are allowed")
        return T
