"""`cia402`: a needle axis with a CANopen drive of profile CiA 402, in profile velocity mode.

Two things keep the deadline of an order. Our thread tells the drive speed 0 once an order has expired. And the drive
itself stops, and stays in a fault, when it hears no heartbeat of ours for `watchdog_s` (its object 0x1016). While the
axis moves, a heartbeat goes out only with an order that is new. So the drive counts from the last renewal, whether our
process is killed or frozen, its control loop hangs or the link is closed.

A CANopen library may let the kernel repeat a heartbeat by itself, which goes on while a process is frozen. So none here
is repeated: each is written by the thread that writes the set-points.
"""

from __future__ import annotations

import contextlib
import math
import struct
import threading
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots import cia402_objects as co
from sonosteer.robots.following import FollowingWatch
from sonosteer.robots.parts import Axis, FaultKind, Opening, PartFault, PartState, StandingOrder
from sonosteer.safety.cleared import Cleared, genuine

ASKED_S = 0.02  # chosen: how often the drive is asked where it does not tell by itself
ANSWER_S = 0.5  # chosen: a drive that takes longer to answer is not there
CLIMB_S = 1.0  # chosen: a drive may take so long from one state to the next, with its brake
END_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cia402Settings:
    """The bus, the drive on it, and the axis behind the drive."""

    interface: str
    """Kind of CAN interface, as python-can calls it: socketcan, pcan, kvaser, ixxat, slcan, udp_multicast."""
    channel: str
    """Channel of that interface, such as can0."""
    bitrate: int | None = None
    """Bits per second, 1/s. Left out where the interface has it already, as socketcan has."""
    port: int | None = None
    """UDP port of an interface udp_multicast, which is a bus between processes of this machine, no unit."""
    node: int
    """Number of the drive's node, 1 to 126, no unit."""
    own_node: int = 127
    """Number under which our heartbeat goes out, no unit. No other node may have it."""
    counts_per_mm: float
    """Counts of its position for a millimetre of the needle, 1/mm. Negative where they fall as the needle goes in."""
    velocity_per_mm_s: float | None = None
    """Units of its velocity for a mm/s, s/mm. Left out where they are counts per second."""
    zero: Literal["absolute", "here"]
    """Where depth is 0. "absolute": at `zero_counts`. "here": where the axis stands as it is opened."""
    zero_counts: int = 0
    """Position at depth 0, counts, no unit. Of an encoder that is absolute, or of an axis that somebody has homed."""
    watchdog_s: float = 0.12
    """How long the drive waits for our next heartbeat before it stops by itself, s. More than `Limits.order_s`, so that
    an order that merely expires is no fault."""
    acceleration_mm_s2: float = 500.0
    """Fastest growth of the speed, as written to the drive, mm/s^2."""
    stop_mm_s2: float = 1000.0
    """Deceleration of every stop, as written to the drive, mm/s^2."""
    following_mm: float = 1.0
    """How far the axis may be from where its set-points would have it, mm."""
    silent_s: float = 0.2
    """Longest time without a word of the drive, s."""
    period_s: float = 0.01
    """How often set-points go out and positions come in, s."""

    def __post_init__(self) -> None:
        check_finite(self, "cia402")
        check_range(self, "cia402", 1, 126, "node")
        check_range(self, "cia402", 1, 127, "own_node")
        check_range(self, "cia402", 0.02, 1.0, "watchdog_s")
        check_range(self, "cia402", 1.0, 1e5, "acceleration_mm_s2", "stop_mm_s2")
        check_range(self, "cia402", 0.01, 10.0, "following_mm")
        check_range(self, "cia402", 0.02, 1.0, "silent_s")
        check_range(self, "cia402", 0.001, 0.05, "period_s")
        if self.own_node == self.node:
            raise InputError(f"own_node is {self.own_node}, which is the drive's: give another one")
        for name in ("counts_per_mm", "velocity_per_mm_s"):
            value = getattr(self, name)
            if value is not None and not 1e-3 <= abs(value) <= 1e9:
                raise InputError(f"{name} is {value:g}; 0.001 to 1e9 either way is possible")

    @property
    def velocity_unit(self) -> float:
        """Units of velocity for a mm/s, s/mm."""
        return self.counts_per_mm if self.velocity_per_mm_s is None else self.velocity_per_mm_s


class Cia402Axis:
    """A needle axis behind a CANopen drive. It is never homed, and a fault of it is never reset, by itself."""

    Settings: ClassVar[type[Cia402Settings]] = Cia402Settings
    axes: frozenset[Axis] = frozenset({"insertion"})
    """What it moves."""

    def __init__(self, opening: Opening, settings: Cia402Settings) -> None:
        self._name, self._clock, self._settings = opening.name, opening.clock, settings
        limits = opening.limits
        fastest = max(limits.forward_mm_s, limits.backward_mm_s)
        self.stops_within_s = settings.watchdog_s + fastest / settings.stop_mm_s2
        self._words = co.import_canopen().profiles.p402.State402
        self._errors = _errors()
        self._lock, self._sdo_lock = threading.Lock(), threading.RLock()
        self._order = StandingOrder(opening.name, opening.clock)
        self._closing = threading.Event()
        self._fault: PartFault | None = None
        self._enabled = self._telling = self._closed = False
        self._status, self._mode, self._speed_mm_s = 0, 0, 0.0
        self._control, self._serial = self._words.CW_SHUTDOWN, -1
        self._following = FollowingWatch(settings.acceleration_mm_s2, settings.stop_mm_s2, settings.following_mm)
        self._zero_counts: float = settings.zero_counts
        self._network = self._connect()
        try:
            self._node = self._network.add_node(settings.node, co.drive_objects())
            self._node.sdo.RESPONSE_TIMEOUT = ANSWER_S
            self._node.sdo.MAX_RETRIES = 1
            self._check_device()
            counts = self._read(co.POSITION)
            if settings.zero == "here":
                self._zero_counts = counts
            self._state = PartState(self._clock.now_s(), self._depth_mm(counts), 0.0)
            self._ask()
            self._node.emcy.add_callback(self._emergency)
        except self._errors as e:
            self._network.disconnect()
            raise self._gone(e) from None
        except BaseException:
            self._network.disconnect()
            raise
        self._thread = threading.Thread(target=self._run, name=f"{opening.name} cia402", daemon=True)
        self._thread.start()

    def state(self) -> PartState:
        """Return what the drive said last, and its fault."""
        with self._lock:
            state, fault = self._state, self._fault
        silent_s = self._clock.now_s() - state.time_s
        if fault is None and self._enabled and not silent_s <= self._settings.silent_s:
            fault = self._fail(
                "silent", f"the drive says nothing for {silent_s:.3g} s: look at its cable and its power"
            )
        return (
            state if fault is None else PartState(state.time_s, state.depth_mm, state.insertion_speed_mm_s, fault=fault)
        )

    def describe(self) -> str:
        """Say what the drive is, its state, its mode, where it stands."""
        try:
            vendor, product = (self._read(co.IDENTITY_OBJECT, k) for k in (1, 2))
            code = self._read(co.ERROR_CODE)
        except self._errors as e:
            return str(self._gone(e))
        state = self.state()
        parts = [
            f"CiA 402 drive, node {self._settings.node}, vendor 0x{vendor:X}, product 0x{product:X}",
            f"state {self._drive_state()}",
            f"depth {state.depth_mm:.2f} mm",
            f"0 where it stands now ({self._zero_counts:.0f} counts)" if self._settings.zero == "here" else None,
        ]
        if code:
            parts.append(f"error 0x{code:04X}: {co.meaning_of(code)[1]}")
        if state.fault is not None:
            parts.append(str(state.fault))
        return ", ".join(filter(None, parts))

    def enable(self) -> None:
        """Set the drive up, and bring it to OPERATION ENABLED at speed 0. Raises RobotError if it cannot be."""
        self._check_usable()
        if self._drive_state() in (co.FAULT, co.FAULT_REACTING, co.QUICK_STOP):
            raise RobotError(self._why_not(f"is in {self._drive_state()}"))
        try:
            self._configure()
            self._node.nmt.state = "OPERATIONAL"
            with self._lock:
                self._telling = True
            self._climb()
        except self._errors as e:
            with self._lock:
                self._telling = False
            raise self._gone(e) from None
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
        """Tell it speed 0 at once, and forget the order."""
        self._order.hold(reason)

    def reset_fault(self) -> str:
        """Reset a fault of the drive, for whoever has found its reason. Nothing moves, the drive is not enabled.

        Returns the state that it is in then. Raises RobotError if it stays in its fault.
        """
        try:
            self._write(co.CONSUMER_HEARTBEAT, 0, 1)  # else the next lost one, of who is gone, is a fault again
            for word in (0, co.RESET_FAULT, 0):
                self._write(co.CONTROL, word)
            self._wait_for(lambda: self._drive_state() not in (co.FAULT, co.FAULT_REACTING), "leave its fault")
        except self._errors as e:
            raise self._gone(e) from None
        return self._drive_state()

    def close(self) -> None:
        """Stop, switch the drive off where it was switched on, and disconnect. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._order.hold("closed")
        self._closing.set()
        self._thread.join(END_S)
        if self._enabled:
            with contextlib.suppress(*self._errors):
                self._write(co.CONSUMER_HEARTBEAT, 0, 1)  # it is at rest, and we go in good order
                self._write(co.CONTROL, self._words.CW_SHUTDOWN)
        with contextlib.suppress(Exception):  # it raises again what its thread ever raised
            self._network.disconnect()

    # -- the drive ---------------------------------------------------------------------------------------------------

    def _connect(self) -> Any:
        s = self._settings
        network = co.make_network()
        try:
            network.connect(**co.bus_arguments(s.interface, s.channel, bitrate=s.bitrate, port=s.port))
        except Exception as e:  # noqa: BLE001  python-can's interfaces raise what their libraries raise
            said = " ".join(str(e).split())[:200]
            raise RobotError(f"the CAN interface {s.interface} {s.channel} cannot be opened: {said}") from None
        return network

    def _check_device(self) -> None:
        """Raise RobotError unless it is a drive that we can drive. Nothing is written."""
        profile = self._read(co.DEVICE_TYPE) & 0xFFFF
        if profile != co.PROFILE_402:
            raise RobotError(f"node {self._settings.node} is no drive: its profile is {profile}, not {co.PROFILE_402}")
        if not self._read(co.SUPPORTED_MODES) & co.SUPPORTS_PROFILE_VELOCITY:
            raise RobotError(f"node {self._settings.node} has no profile velocity mode: another drive is needed")

    def _configure(self) -> None:
        """Write watchdog, ramps, mode and what goes to and fro. Raises RobotError for what the drive does not keep."""
        s = self._settings
        self._node.nmt.state = "PRE-OPERATIONAL"
        watch = "to watch our heartbeat, which it needs"
        self._keep(co.CONSUMER_HEARTBEAT, 0, watch, subindex=1)
        self._keep(co.QUICK_STOP_REACTION, co.SWITCH_OFF_AFTER_STOP, "to switch off after its quick stop")
        self._keep(co.ABORT_CONNECTION, co.ABORT_IS_FAULT, "to fault when our heartbeat stops")
        self._keep(co.FAULT_REACTION, co.REACT_BY_STOP_RAMP, "to brake along its stop ramp at a fault")
        per_mm_s = abs(s.velocity_unit)
        self._keep(co.ACCELERATION, round(s.acceleration_mm_s2 * per_mm_s), "its acceleration")
        for index in (co.DECELERATION, co.STOP_DECELERATION):
            self._keep(index, round(s.stop_mm_s2 * per_mm_s), "its deceleration")
        self._write(co.TARGET_VELOCITY, 0)
        self._write(co.MODE, co.PROFILE_VELOCITY)
        self._wait_for(lambda: self._read(co.MODE_SHOWN) == co.PROFILE_VELOCITY, "go into profile velocity mode")
        period_ms = max(round(1e3 * s.period_s), 1)
        node, to_drive = s.node, self._node.rpdo[1]
        self._map(to_drive, 0x200 + node, (co.CONTROL, co.TARGET_VELOCITY), 0)
        self._map(self._node.tpdo[1], 0x180 + node, (co.STATUS, co.POSITION), period_ms)
        self._map(self._node.tpdo[2], 0x280 + node, (co.VELOCITY, co.MODE_SHOWN), period_ms)
        self._node.tpdo[1].add_callback(self._said_position)
        self._node.tpdo[2].add_callback(self._said_velocity)
        watchdog_ms = round(1e3 * s.watchdog_s)
        self._keep(co.CONSUMER_HEARTBEAT, s.own_node << 16 | watchdog_ms, watch, subindex=1)

    def _keep(self, index: int, value: int, what: str, subindex: int = 0) -> None:
        """Write an object and read it back. Raises RobotError if the drive does not keep it."""
        refused = False
        try:
            self._write(index, value, subindex)
        except co.import_canopen().SdoAbortedError:
            refused = True
        kept = None if refused else self._read(index, subindex)
        if kept != value:
            now = "is refused" if kept is None else f"stays 0x{kept:X}"
            raise RobotError(f"the drive does not take {what}: 0x{value:X} in object 0x{index:04X} {now}")

    def _read(self, index: int, subindex: int = 0) -> int:
        with self._sdo_lock:
            at = self._node.sdo[index]
            return int((at[subindex] if subindex else at).raw)

    def _write(self, index: int, value: int, subindex: int = 0) -> None:
        with self._sdo_lock:
            at = self._node.sdo[index]
            (at[subindex] if subindex else at).raw = value

    def _map(self, pdo: Any, cob_id: int, indices: tuple[int, ...], event_ms: int) -> None:
        pdo.clear()
        for index in indices:
            pdo.add_variable(index)
        pdo.cob_id, pdo.trans_type, pdo.enabled = cob_id, 255, True
        pdo.event_timer = event_ms or None
        with self._sdo_lock:
            pdo.save()

    def _climb(self) -> None:
        """Go from state to state up to OPERATION ENABLED, each by its controlword."""
        words = (self._words.CW_SHUTDOWN, self._words.CW_SWITCH_ON, self._words.CW_OPERATION_ENABLED)
        reached = ("READY TO SWITCH ON", "SWITCHED ON", co.ENABLED)
        for word, state in zip(words, reached, strict=True):
            with self._lock:
                self._control = word
            later = reached[reached.index(state) :]
            self._wait_for(lambda later=later: self._drive_state() in later, f"reach {state}")

    def _wait_for(self, met: Any, what: str) -> None:
        until_s = self._clock.now_s() + CLIMB_S
        while not met():
            if self._clock.now_s() > until_s:
                raise RobotError(self._why_not(f"does not {what} within {CLIMB_S:g} s"))
            self._clock.sleep_until(self._clock.now_s() + 0.005)

    def _why_not(self, what: str) -> str:
        code = 0
        with contextlib.suppress(*self._errors):
            code = self._read(co.ERROR_CODE)
        said = f", error 0x{code:04X}: {co.meaning_of(code)[1]}" if code else ""
        how = f": find out why, then sonosteer doctor RIG.toml --reset {self._name}" if "FAULT" in what or code else ""
        return f"the drive {what} (state {self._drive_state()}{said}){how}"

    def _drive_state(self) -> str:
        """State of the drive, as CiA 402 names it, by its newest statusword."""
        with self._lock:
            status = self._status
        for name, (mask, value) in self._words.SW_MASK.items():
            if status & mask == value:
                return str(name)
        return f"unknown (0x{status:04X})"

    # -- what the drive says, in the thread of the bus -----------------------------------------------------------------

    def _said_position(self, pdo: Any) -> None:
        status, counts = struct.unpack_from("<Hi", bytes(pdo.data))
        self._take(status, counts)

    def _said_velocity(self, pdo: Any) -> None:
        velocity, mode = struct.unpack_from("<ib", bytes(pdo.data))
        with self._lock:
            self._speed_mm_s, self._mode = velocity / self._settings.velocity_unit, mode

    def _take(self, status: int, counts: int) -> None:
        """Keep what it says, and look for faults in it."""
        now, depth_mm = self._clock.now_s(), self._depth_mm(counts)
        with self._lock:
            self._status = status
            self._state = PartState(now, depth_mm, self._speed_mm_s)
            astray_mm = self._following.measured(now, depth_mm) if self._enabled else 0.0
        if not self._enabled or self._fault is not None:
            return
        drive_state = self._drive_state()
        if drive_state in (co.FAULT, co.FAULT_REACTING):
            return  # its emergency message says why, or `_ask_why` does
        if drive_state in (co.QUICK_STOP, co.SWITCHED_OFF):
            self._fail("stopped", f"the drive is in {drive_state}: find out who stopped it, or switched it off")
        elif drive_state != co.ENABLED:
            self._fail("not ready", f"the drive left OPERATION ENABLED and is in {drive_state}")
        elif status & co.INTERNAL_LIMIT:
            self._fail(
                "end of travel", "the drive says that an internal limit is active: a switch at the end of travel?"
            )
        elif status & co.SLIPPED:
            self._fail("following error", "the drive says that its shaft slips")
        elif not abs(astray_mm) <= self._settings.following_mm:
            self._fail("following error", f"the axis is {astray_mm:+.3g} mm from where its set-points would have it")

    def _emergency(self, emcy: Any) -> None:
        if emcy.code & 0xFF00:
            kind, text = co.meaning_of(emcy.code)
            self._fail(kind, f"the drive says error 0x{emcy.code:04X}: {text}")

    def _fail(self, kind: FaultKind, reason: str) -> PartFault:
        """Latch a fault, unless there is one, and stop."""
        with self._lock:
            if self._fault is None:
                self._fault = PartFault(kind, reason, self._clock.now_s())
            fault = self._fault
        self._order.hold(str(fault))
        return fault

    def _depth_mm(self, counts: float) -> float:
        return (counts - self._zero_counts) / self._settings.counts_per_mm

    # -- what the drive is told, in our thread -------------------------------------------------------------------------

    def _run(self) -> None:
        """Tell it the newest order every period, and at once where it is new. Before it is enabled, only ask it."""
        asked_s = -math.inf
        while not self._closing.is_set():
            with self._lock:
                telling = self._telling
            try:
                if telling:
                    self._tell()
                elif self._clock.now_s() - asked_s >= ASKED_S:
                    asked_s = self._clock.now_s()
                    self._ask()
                if self._fault is None and self._enabled and self._drive_state() in (co.FAULT, co.FAULT_REACTING):
                    self._ask_why()
            except self._errors as e:
                self._fail("no link", str(self._gone(e)))
            self._order.wait(self._serial, self._until_next() if telling else ASKED_S)
        if self._telling:
            with contextlib.suppress(*self._errors):
                self._tell()
                self._wait_for_rest()

    def _until_next(self) -> float:
        """A period, or less where the order expires before."""
        command = self._order.newest()[1]
        until_s = math.inf if command is None or command.expires_at_s is None else command.expires_at_s
        return max(min(self._settings.period_s, until_s - self._clock.now_s() + 1e-4), 1e-3)

    def _tell(self) -> None:
        """Write controlword and speed, and a heartbeat unless the axis moves on an order that is not new."""
        serial, command, _ = self._order.newest()
        with self._lock:
            fault, control = self._fault, self._control
        speed = 0.0 if command is None or fault is not None else command.insertion_speed_mm_s
        if fault is not None and self._enabled:
            control = self._words.CW_QUICK_STOP
        renewed, self._serial = serial != self._serial, serial
        pdo = self._node.rpdo[1]
        pdo.data = bytearray(struct.pack("<Hi", control, round(speed * self._settings.velocity_unit)))
        pdo.transmit()
        with self._lock:
            self._following.told(self._clock.now_s(), speed)
        if renewed or speed == 0.0:
            self._network.send_message(0x700 + self._settings.own_node, b"\x05")

    def _ask(self) -> None:
        """Ask for state and place where it does not tell by itself. This writes nothing to it."""
        status, counts = self._read(co.STATUS), self._read(co.POSITION)
        speed_mm_s = self._read(co.VELOCITY) / self._settings.velocity_unit
        with self._lock:
            self._speed_mm_s = speed_mm_s
        self._take(status, counts)

    def _ask_why(self) -> None:
        code = self._read(co.ERROR_CODE)
        kind, text = co.meaning_of(code)
        self._fail(kind, f"the drive is in FAULT, error 0x{code:04X}: {text}")

    def _wait_for_rest(self) -> None:
        """Keep the heartbeat up while it brakes at the end."""
        until_s = self._clock.now_s() + 0.3
        while abs(self._speed_mm_s) > 0.01 and self._clock.now_s() < until_s:
            self._tell()
            self._clock.sleep_until(self._clock.now_s() + self._settings.period_s)

    def _check_usable(self) -> None:
        if self._closed:
            raise RobotError(f"{self._name} is closed: open it again")
        if self._fault is not None:
            raise RobotError(str(self._fault))

    def _gone(self, error: BaseException) -> RobotError:
        if isinstance(error, RobotError):
            return error
        s = self._settings
        said = " ".join(str(error).split())[:160] or type(error).__name__
        return RobotError(f"node {s.node} on {s.interface} {s.channel} does not answer as it should: {said}")


def _errors() -> tuple[type[BaseException], ...]:
    """What the library raises where the bus or the drive is gone."""
    import can

    canopen = co.import_canopen()
    return (canopen.SdoCommunicationError, canopen.SdoAbortedError, canopen.nmt.NmtError, can.CanError, OSError)
