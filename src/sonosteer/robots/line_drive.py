"""`line`: a needle axis whose drive takes lines of text, over TCP or a serial port.

The drive keeps the deadline of each order in its own time: it is told how long to go. Our thread tells it to stop once
an order has expired, and the drive stops by itself `margin_s` later if it does not hear that.
"""

from __future__ import annotations

import contextlib
import math
import threading
from dataclasses import dataclass
from typing import ClassVar, Literal

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.plugins import check_methods, describe_error, import_reference, is_reference
from sonosteer.robots.following import FollowingWatch
from sonosteer.robots.line_link import LineLink, open_link
from sonosteer.robots.line_protocol import LineAnswer, LineProtocol, OwnProtocol
from sonosteer.robots.parts import Axis, FaultKind, Opening, PartFault, PartState, StandingOrder
from sonosteer.safety.cleared import Cleared, genuine

MAX_DAMAGED = 3  # chosen: answers in a row that cannot be read, until the link counts as broken
READY_S = 1.0  # chosen: a drive may take so long to switch on
HANG_UP_S = 1.0
_REQUESTS = ("identify", "status", "enable", "move", "stop", "reset", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """Where the drive is, how it is spoken to, and the axis behind it."""

    address: str
    """tcp://HOST:PORT, or serial:PORT such as serial:/dev/ttyUSB0."""
    baud: int = 115200
    """Bits per second of a serial port, 1/s."""
    protocol: str = "sonosteer"
    """How it is spoken to: sonosteer, or package.module:Class with an adapter for another drive."""
    zero: Literal["absolute", "here"]
    """Where depth is 0. "absolute": at `zero_mm` of the drive. "here": where the axis stands as it is opened."""
    zero_mm: float = 0.0
    """What the drive says where depth is 0, mm."""
    reversed: bool = False
    """True where the drive counts up as the needle comes out."""
    margin_s: float = 0.02
    """How much longer than our order the drive goes on by itself, s. Time for our own stop to come first."""
    acceleration_mm_s2: float = 500.0
    """Fastest growth of the speed, as the drive is set up, mm/s^2."""
    stop_mm_s2: float = 1000.0
    """Deceleration of every stop, as the drive is set up, mm/s^2."""
    following_mm: float = 1.0
    """How far the axis may be from where its set-points would have it, mm."""
    silent_s: float = 0.2
    """Longest time for an answer, s."""
    period_s: float = 0.01
    """How often the drive is asked where it stands, s."""

    def __post_init__(self) -> None:
        check_finite(self, "line")
        check_range(self, "line", 300, 10_000_000, "baud")
        check_range(self, "line", 0.0, 0.05, "margin_s")
        check_range(self, "line", 1.0, 1e5, "acceleration_mm_s2", "stop_mm_s2")
        check_range(self, "line", 0.01, 10.0, "following_mm")
        check_range(self, "line", 0.02, 1.0, "silent_s")
        check_range(self, "line", 0.001, 0.05, "period_s")
        if self.protocol != "sonosteer" and not is_reference(self.protocol):
            raise InputError(f"protocol is {self.protocol!r}: give sonosteer, or package.module:Class for your own")


class LineDrive:
    """A needle axis behind a drive that takes lines. A fault of it is never reset by itself."""

    Settings: ClassVar[type[LineSettings]] = LineSettings
    axes: frozenset[Axis] = frozenset({"insertion"})
    """What it moves."""

    def __init__(self, opening: Opening, settings: LineSettings) -> None:
        self._name, self._clock, self._settings = opening.name, opening.clock, settings
        limits = opening.limits
        fastest = max(limits.forward_mm_s, limits.backward_mm_s)
        self.stops_within_s = limits.order_s + settings.margin_s + fastest / settings.stop_mm_s2
        self._longest_s = limits.order_s
        self._protocol = _load_protocol(settings.protocol)
        self._lock, self._line_lock = threading.Lock(), threading.Lock()
        self._order = StandingOrder(opening.name, opening.clock)
        self._closing = threading.Event()
        self._fault: PartFault | None = None
        self._enabled = self._closed = self._moving = False
        self._serial, self._damaged = -1, 0
        self._following = FollowingWatch(settings.acceleration_mm_s2, settings.stop_mm_s2, settings.following_mm)
        self._zero_mm = settings.zero_mm
        self._link: LineLink = open_link(settings.address, settings.baud)
        try:
            first = self._ask(self._protocol.status())
            if first.depth_mm is None or first.speed_mm_s is None or first.ready is None:
                raise RobotError("the answer to status does not say depth, speed and ready")
            if settings.zero == "here":
                self._zero_mm = first.depth_mm
            self._newest = first
            self._state = self._state_of(first)
        except (OSError, ValueError) as e:
            self._link.close()
            raise RobotError(f"the drive at {settings.address} does not answer as it should: {e}") from None
        except BaseException:
            self._link.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"{opening.name} line", daemon=True)
        self._thread.start()

    def state(self) -> PartState:
        """Return what the drive said last, and its fault."""
        with self._lock:
            state, fault = self._state, self._fault
        return (
            state if fault is None else PartState(state.time_s, state.depth_mm, state.insertion_speed_mm_s, fault=fault)
        )

    def describe(self) -> str:
        """Say who the drive is, its state, where it stands."""
        try:
            who = self._ask(self._protocol.identify()).text
        except (OSError, ValueError) as e:
            return f"the drive at {self._settings.address} does not answer as it should: {e}"
        state = self.state()
        with self._lock:
            newest = self._newest
        parts = [
            who or "a drive that does not say its name",
            f"state {newest.text}" if newest.text else None,
            f"depth {state.depth_mm:.2f} mm",
            "0 where it stands now" if self._settings.zero == "here" else None,
            None if newest.fault is None else f"{newest.fault[0]}: {newest.fault[1]}",
        ]
        return ", ".join(filter(None, parts))

    def enable(self) -> None:
        """Switch the drive on. Raises RobotError if it has a fault, or does not get ready."""
        self._check_usable()
        with self._lock:
            wrong = self._newest.fault
        if wrong is not None:
            how = f"find out why, then sonosteer doctor RIG.toml --reset {self._name}"
            raise RobotError(f"the drive has a fault, {wrong[0]}: {wrong[1]}: {how}")
        try:
            self._obeyed(self._protocol.stop(), "to stand")
            self._obeyed(self._protocol.enable(), "to be switched on")
            until_s = self._clock.now_s() + READY_S
            while not self._ask(self._protocol.status()).ready:
                if self._clock.now_s() > until_s:
                    raise RobotError(f"the drive does not get ready within {READY_S:g} s")
                self._clock.sleep_until(self._clock.now_s() + 0.01)
        except (OSError, ValueError) as e:
            raise RobotError(f"the drive at {self._settings.address} does not answer as it should: {e}") from None
        with self._lock:
            self._enabled = True

    def carry_out(self, cleared: Cleared) -> None:
        """Move at the ordered speed until the order expires."""
        if not genuine(cleared):
            raise RobotError(f"{self._name} takes only what the safety gate has cleared: ask Gate.clear")
        self._check_usable()
        if not self._enabled:
            raise RobotError(f"{self._name} is not ready to move: call enable first")
        self._order.put(cleared)

    def hold(self, reason: str) -> None:
        """Tell it to stop at once, and forget the order."""
        self._order.hold(reason)

    def reset_fault(self) -> str:
        """Reset a fault of the drive, for whoever has found its reason. Nothing moves, the drive is not switched on.

        Returns the state that it is in then. Raises RobotError if it refuses.
        """
        try:
            self._obeyed(self._protocol.reset(), "to reset its fault")
            status = self._ask(self._protocol.status())
        except (OSError, ValueError) as e:
            raise RobotError(f"the drive at {self._settings.address} does not answer as it should: {e}") from None
        if status.fault is not None:
            raise RobotError(f"the drive stays in its fault, {status.fault[0]}: {status.fault[1]}")
        return status.text or "without a fault"

    def close(self) -> None:
        """Stop and disconnect. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._order.hold("closed")
        self._closing.set()
        self._thread.join(HANG_UP_S)
        self._link.close()

    # -- our thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Tell the drive what is new, and ask where it stands, until the link breaks."""
        while not self._closing.is_set():
            try:
                self._tell()
                self._look(self._ask(self._protocol.status()))
                self._damaged = 0
            except ValueError as e:
                self._damaged += 1
                if self._damaged >= MAX_DAMAGED:
                    self._fail("no link", f"{MAX_DAMAGED} answers in a row cannot be read: {e}")
            except TimeoutError:
                self._fail("silent", f"no answer within {self._settings.silent_s:g} s: look at its cable and its power")
                return
            except OSError as e:
                self._fail("no link", f"the link to {self._settings.address} broke: {e}")
                return
            except Exception as e:  # noqa: BLE001  an adapter is a stranger's, and all parts are held
                self._fail("broke", describe_error(e, self._protocol))
                return
            self._order.wait(self._serial, self._until_next())
        if self._enabled:
            with contextlib.suppress(OSError, ValueError):
                self._stop_at_last()

    def _stop_at_last(self) -> None:
        """Stop it, and wait until it stands."""
        self._ask(self._protocol.stop())
        until_s = self._clock.now_s() + HANG_UP_S / 2
        while abs(self._ask(self._protocol.status()).speed_mm_s or 0.0) > 0.01 and self._clock.now_s() < until_s:
            self._clock.sleep_until(self._clock.now_s() + self._settings.period_s)

    def _tell(self) -> None:
        """Write an order that is new, and a stop once there is none any more."""
        serial, command, _ = self._order.newest()
        renewed, self._serial = serial != self._serial, serial
        if not self._enabled:
            return
        speed = 0.0 if command is None or self._fault is not None else command.insertion_speed_mm_s
        if speed != 0.0 and command is not None and command.expires_at_s is not None:
            if not renewed:
                return
            lasts_s = min(command.expires_at_s - self._clock.now_s(), self._longest_s)
            way = -speed if self._settings.reversed else speed
            request = self._protocol.move(way, lasts_s + self._settings.margin_s)
        elif self._moving or renewed:
            request, speed = self._protocol.stop(), 0.0
        else:
            return
        with self._lock:
            self._following.told(self._clock.now_s(), speed)
        self._moving = True  # until a stop was answered
        answer = self._ask(request)
        self._moving = speed != 0.0
        if answer.refused is not None:
            self._look(self._ask(self._protocol.status()))  # its own fault says more
            self._fail("refused", f"the drive refuses an order: {answer.refused}")

    def _look(self, said: LineAnswer) -> None:
        """Keep what it says, and look for faults in it."""
        state = self._state_of(said)
        with self._lock:
            self._newest, self._state = said, state
            enabled = self._enabled
            astray_mm = self._following.measured(state.time_s, state.depth_mm or 0.0) if enabled else 0.0
        if not enabled:
            return
        if said.fault is not None:
            self._fail(*said.fault)
        elif not said.ready:
            self._fail("not ready", "the drive was switched off")
        elif not abs(astray_mm) <= self._settings.following_mm:
            self._fail("following error", f"the axis is {astray_mm:+.3g} mm from where its set-points would have it")

    def _until_next(self) -> float:
        """A period, or less where the order expires before."""
        command = self._order.newest()[1]
        until_s = math.inf if command is None or command.expires_at_s is None else command.expires_at_s
        return max(min(self._settings.period_s, until_s - self._clock.now_s() + 1e-4), 1e-3)

    def _ask(self, request: bytes) -> LineAnswer:
        """Ask, and read the answer. Raises OSError for none, ValueError for one that is damaged."""
        with self._line_lock:
            line = self._link.ask(request, self._protocol.terminator, self._settings.silent_s)
            said = self._protocol.answer(request, line)
        if not isinstance(said, LineAnswer):
            raise ValueError(f"answer must return a LineAnswer, but returned {type(said).__name__}")
        return said

    def _obeyed(self, request: bytes, what: str) -> None:
        refused = self._ask(request).refused
        if refused is not None:
            raise RobotError(f"the drive refuses {what}: {refused}")

    def _state_of(self, said: LineAnswer) -> PartState:
        if said.depth_mm is None or said.speed_mm_s is None:
            raise ValueError("the answer to status does not say depth and speed")
        sign = -1.0 if self._settings.reversed else 1.0
        depth_mm = sign * (said.depth_mm - self._zero_mm)
        return PartState(self._clock.now_s(), depth_mm, sign * said.speed_mm_s)

    def _fail(self, kind: FaultKind, reason: str) -> None:
        """Latch a fault, unless there is one, and stop."""
        with self._lock:
            if self._fault is None:
                self._fault = PartFault(kind, reason, self._clock.now_s())
        self._order.hold(f"{kind}: {reason}")

    def _check_usable(self) -> None:
        if self._closed:
            raise RobotError(f"{self._name} is closed: open it again")
        if self._fault is not None:
            raise RobotError(str(self._fault))


def _load_protocol(name: str) -> LineProtocol:
    """Our own protocol, or an adapter. Raises InputError if it cannot be used."""
    if name == "sonosteer":
        return OwnProtocol()
    made = import_reference(name, f"protocol {name}")
    try:
        protocol: LineProtocol = made()
    except Exception as e:
        raise InputError(f"protocol {name} cannot be set up: {describe_error(e)}") from e
    check_methods(protocol, f"protocol {name}", _REQUESTS)
    if not isinstance(getattr(protocol, "terminator", None), bytes) or not protocol.terminator:
        raise InputError(f"protocol {name} has no terminator: give the bytes that end a line")
    return protocol
