"""`ur`: an arm of Universal Robots that pushes the needle along the tool, or carries the probe.

Nothing but our program on the controller moves the arm. The deadline of an order is a tick of that program, so the
controller keeps it in its own time. Past it the arm brakes, and stays until a new session begins. A protective stop is
never unlocked from here. The speed slider is read, and is never written.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots.following import FollowingWatch
from sonosteer.robots.parts import Axis, FaultKind, Opening, PartFault, PartState, StandingOrder
from sonosteer.robots.ur import program as ur
from sonosteer.robots.ur.carried import Carried, needle_at, probe_at
from sonosteer.robots.ur.client import RtdeClient
from sonosteer.robots.ur.dashboard import check_remote, send_program
from sonosteer.robots.ur.wire import FieldValue, Recipe, RecipeError, RtdeError
from sonosteer.safety.cleared import Cleared, genuine

ANSWER_S = 1.0  # chosen: a controller that takes longer to answer is not there
FIRST_ROW_S = 5.0  # chosen: time for a first row, and for a program to begin
ARMED_S = 2.0  # chosen: time to take a session
ROWS_HZ = 125.0  # as often as the older controllers can
AHEAD_S = 0.02  # chosen: ticks are counted on for so long without a row
WATCHED_ROWS = 25  # chosen: the program's cycle is measured so long
WATCHED_TIMES = 5
CYCLE_WRONG = 0.1  # chosen: and may differ by that, as a fraction
AGAIN_S = 0.5  # chosen: a connection that broke is tried again so often, for reading
SLIDER_FULL = 0.999
_GONE = (OSError, RtdeError, RecipeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrSettings:
    """Where the controller is, and what the arm carries."""

    host: str
    """Name or address of the controller."""
    moves: Literal["insertion", "probe"]
    """What the arm moves. "insertion": the needle along the tool's z. "probe": the probe along the picture's axes."""
    zero: Literal["here", "absolute"] = "here"
    """Where depth is 0. "here": where the tip stands as the arm is opened. "absolute": at `zero_mm`."""
    zero_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the tip is at depth 0, in the base frame, mm."""
    picture_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the picture's axes (x along it, y across it, z down) are turned in the tool's frame, rotation vector, rad."""
    start: Literal["pendant", "remote"] = "pendant"
    """Who begins our program. "pendant": somebody plays it there. "remote": sonosteer, in remote control."""
    watchdog_s: float = 0.12
    """How long the program goes on without a new order, s. `Limits.order_s` and the time for our own hold."""
    following_mm: float = 1.0
    """How far the arm may be from where its set-points would have it, mm."""
    sideways_mm: float = 1.0
    """How far it may be off what it moves along, mm. A turn counts at a lever of 100 mm."""
    silent_s: float = 0.2
    """Longest time without a row, or without our orders being taken, s."""
    period_s: float = 0.008
    """How often orders go out, s."""
    rtde_port: int = 30004
    """Port of the data exchange, no unit."""
    dashboard_port: int = 29999
    """Port of the dashboard, no unit."""
    script_port: int = 30002
    """Port that takes programs, no unit."""

    def __post_init__(self) -> None:
        check_finite(self, "ur")
        check_range(self, "ur", 0.02, ur.FURTHEST_S - AHEAD_S, "watchdog_s")
        check_range(self, "ur", 0.01, 100.0, "following_mm", "sideways_mm")
        check_range(self, "ur", 0.02, 1.0, "silent_s")
        check_range(self, "ur", 0.002, 0.05, "period_s")
        for port in ("rtde_port", "dashboard_port", "script_port"):
            check_range(self, "ur", 1, 65535, port)
        if not self.host:
            raise InputError("host is empty: give the controller's address")

    @property
    def axes(self) -> frozenset[Axis]:
        """What the arm moves."""
        return frozenset({self.moves})


class UrArm:
    """An arm behind its controller. It is never powered, unlocked or slowed from here."""

    Settings: ClassVar[type[UrSettings]] = UrSettings

    def __init__(self, opening: Opening, settings: UrSettings) -> None:
        self._name, self._clock, self._settings = opening.name, opening.clock, settings
        self.axes: frozenset[Axis] = settings.axes
        limits = opening.limits
        fastest = max(limits.forward_mm_s, limits.backward_mm_s)
        if settings.moves == "probe":
            fastest = math.hypot(*limits.probe_mm_s)
        if not fastest <= ur.FASTEST_MM_S:
            raise InputError(f"the limits allow {fastest:g} mm/s; the program on the controller {ur.FASTEST_MM_S:g}")
        self.stops_within_s = settings.watchdog_s + fastest / ur.SLOW_DOWN_MM_S2
        self._order = StandingOrder(opening.name, opening.clock)
        self._lock, self._came = threading.RLock(), threading.Condition()
        self._closing = threading.Event()
        self._fault: PartFault | None = None
        self._enabled = self._telling = self._closed = False
        self._row: ur.ArmRow | None = None
        self._row_s = -math.inf
        self._lag = Lag()
        self._inputs: Recipe | None = None
        self._session = self._sequence = 0
        self._serial, self._standing = -1, (-1, 0)
        self._ticked_s = -math.inf
        self._untaken_s = math.inf  # since when an order waits to be taken
        self._step_s = 0.002
        self._client: RtdeClient | None = None
        try:
            self._client = self._connected()
            first = self._first_row()
        except _GONE as e:
            self._hang_up()
            raise self._gone(e) from None
        except BaseException:
            self._hang_up()
            raise
        self._step_s = 0.002 if int(self._client.controller_version.split(".")[0]) >= 5 else 0.008
        self._carried: Carried = (
            probe_at(first.pose, settings.picture_rad)
            if settings.moves == "probe"
            else needle_at(first.pose, None if settings.zero == "here" else settings.zero_mm)
        )
        self._following = [
            FollowingWatch(ur.SPEED_UP_MM_S2, ur.SLOW_DOWN_MM_S2, settings.following_mm)
            for _ in self._carried.places_mm(first.pose)
        ]
        self._thread = threading.Thread(target=self._run, name=f"{opening.name} ur", daemon=True)
        self._thread.start()

    def state(self) -> PartState:
        """Return what the controller said last, and its fault."""
        with self._lock:
            row, time_s, fault = self._row, self._row_s - self._lag.now_s, self._fault
        assert row is not None  # there was a first one
        silent_s = self._clock.now_s() - time_s
        if fault is None and self._enabled and not silent_s <= self._settings.silent_s:
            fault = self._fail("silent", f"the controller says nothing for {silent_s:.3g} s: look at its cable")
        return PartState(time_s, **self._carried.measured(row.pose, row.twist), fault=fault)

    def describe(self) -> str:
        """Say which controller it is, its modes, its slider, our program, where the arm stands."""
        with self._lock:
            row, client, fault = self._row, self._client, self._fault
        assert row is not None
        if client is None:
            return f"the controller at {self._where()} hung up"
        x, y, z = (1e3 * v for v in row.pose[:3])
        parts = [
            f"UR controller {client.controller_version}",
            f"robot mode {ur.named(ur.ROBOT_MODES, row.robot_mode)}",
            f"safety mode {ur.named(ur.SAFETY_MODES, row.safety_mode)}",
            f"speed slider {100.0 * row.slider:.0f} %",
            self._program_said(row),
            f"TCP at ({x:.1f}, {y:.1f}, {z:.1f}) mm",
            None if fault is None else str(fault),
        ]
        return ", ".join(filter(None, parts))

    def enable(self) -> None:
        """Begin a session of our program, at hold. Nothing moves.

        Raises InputError for what somebody has to set at the pendant or in the rig file, and RobotError for the rest.
        """
        self._check_usable()
        try:
            self._check_ready()
            self._check_program()
            self._check_cycle()
            self._claim()
            self._arm()
        except _GONE as e:
            self._telling = False
            raise self._gone(e) from None
        except BaseException:
            self._telling = False
            raise
        with self._lock:
            self._enabled = True

    def carry_out(self, cleared: Cleared) -> None:
        """Move its own axis as ordered until the order expires."""
        if not genuine(cleared):
            raise RobotError(f"{self._name} takes only what the safety gate has cleared: ask Gate.clear")
        self._check_usable()
        if not self._enabled:
            raise RobotError(f"{self._name} is not ready to move: call enable first")
        self._order.put(cleared)

    def hold(self, reason: str) -> None:
        """Tell it to hold at once, and forget the order."""
        self._order.hold(reason)

    def close(self) -> None:
        """Hold, wait until it stands, and hang up. Our program waits for another session. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._order.hold("closed")
        self._closing.set()
        self._thread.join(ANSWER_S + 1.0)
        self._hang_up()

    # -- connection ------------------------------------------------------------------------------------------------

    def _connected(self) -> RtdeClient:
        s = self._settings
        client = RtdeClient(s.host, s.rtde_port, ANSWER_S, self._came_row, self._ended)
        try:
            client.outputs(ur.OUTPUT_FIELDS, ROWS_HZ)
        except BaseException:
            client.close()
            raise
        return client

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _first_row(self) -> ur.ArmRow:
        self._wait_for(lambda row: True, FIRST_ROW_S, "sends no rows")
        assert self._row is not None
        return self._row

    def _ended(self, why: str) -> None:
        """The connection ended. Whatever is read from a new one, nothing moves again before it is opened again."""
        if self._enabled or self._telling:
            self._fail("no link", f"the connection to {self._where()} broke: {why}")

    def _read_again(self) -> None:
        """Connect again to read. Orders need more than that."""
        with contextlib.suppress(*_GONE):
            self._hang_up()
            client = self._connected()
            with self._lock:
                self._client, self._inputs, self._telling = client, None, False

    # -- before anything moves -------------------------------------------------------------------------------------

    def _check_ready(self) -> None:
        """Raise unless people have made the arm ready."""
        wrong = _not_ready(self._newest())
        if wrong is not None:
            raise InputError(wrong[1])

    def _check_program(self) -> None:
        """Raise unless our program runs, in this version. Sends it where the rig file says so."""
        s, row = self._settings, self._newest()
        if row.runtime_state != ur.PLAYING and s.start == "remote":
            check_remote(s.host, s.dashboard_port, ANSWER_S)
            send_program(s.host, s.script_port, ur.program_text(), ANSWER_S)
            self._wait_for(lambda row: row.runtime_state == ur.PLAYING, FIRST_ROW_S, "does not begin our program")
        row = self._newest()
        if row.runtime_state != ur.PLAYING:
            state = ur.named(ur.RUNTIME_STATES, row.runtime_state)
            raise InputError(
                f"no program runs ({state}): load {ur.program_path()} at the pendant and play it, "
                'or set start = "remote" and switch to remote control'
            )
        begun = row.tick
        self._wait_for(lambda row: row.tick > begun, FIRST_ROW_S, f"runs a program that is not {ur.PROGRAM_NAME}")
        row = self._newest()
        if row.version != ur.PROGRAM_VERSION:
            raise InputError(
                f"version {row.version} of {ur.PROGRAM_NAME} runs, and {ur.PROGRAM_VERSION} is needed: load "
                f"{ur.program_path()}"
            )

    def _check_cycle(self) -> None:
        """Raise unless the program runs once in each cycle of the controller, since deadlines are counted in its ticks.

        Rows come each so many cycles, so they tell how many have passed.
        """
        cycles, ratio = round(1.0 / (ROWS_HZ * self._step_s)), math.nan
        for _ in range(WATCHED_TIMES):
            a = self._newest()
            enough = a.number + WATCHED_ROWS
            self._wait_for(partial(_has_come, enough), FIRST_ROW_S, "sends no rows")
            b = self._newest()
            ratio = (b.tick - a.tick) / (cycles * (b.number - a.number))
            if abs(ratio - 1.0) <= CYCLE_WRONG:
                return
        raise RobotError(
            f"the program runs {ratio:.2f} times in a cycle of the controller ({1e3 * self._step_s:g} ms) and not "
            "once, so its deadlines would be wrong: it cannot be used with this controller"
        )

    def _claim(self) -> None:
        """Take the registers of orders. Raises InputError if another client has them."""
        client = self._client
        if client is None:
            raise ConnectionError("it hung up")
        if self._inputs is None:
            try:
                self._inputs = client.inputs(ur.INPUT_FIELDS)
            except RecipeError as e:
                raise InputError(f"{e}: close the other program, or switch off the fieldbus that has them") from None

    def _arm(self) -> None:
        """Begin a session that the program has not had, with a hold."""
        row = self._newest()
        with self._lock:
            self._session = row.session % 1_000_000_000 + 1
            self._sequence = (row.sequence % 1_000_000_000) + 1
            self._ticked_s = self._clock.now_s()
            self._telling = True
        armed = lambda row: row.session == self._session and row.state == ur.ProgramState.HOLDS  # noqa: E731
        self._wait_for(armed, ARMED_S, f"runs {ur.PROGRAM_NAME}, which does not take a session")

    def _wait_for(self, met: Callable[[ur.ArmRow], bool], lasts_s: float, what: str) -> None:
        """Wait until a row meets it. Raises RobotError that says what the controller does not do."""
        until_s = self._clock.now_s() + lasts_s
        while True:
            with self._came:
                self._came.wait(0.05)
            row = self._row
            if row is not None and met(row):
                return
            if self._fault is not None:
                raise RobotError(str(self._fault))
            if self._clock.now_s() > until_s:
                raise RobotError(f"the controller at {self._where()} {what}")

    def _newest(self) -> ur.ArmRow:
        with self._lock:
            row, age_s = self._row, self._clock.now_s() - self._row_s
        if row is None or not age_s <= FIRST_ROW_S:
            raise RobotError(f"the controller at {self._where()} sends no rows")
        return row

    # -- what the controller says, in the client's thread ----------------------------------------------------------

    def _came_row(self, said: dict[str, FieldValue], number: int) -> None:
        """Keep a row, and look for faults in it."""
        row, now = ur.ArmRow.of(said, number), self._clock.now_s()
        numbers = (row.timestamp_s, row.slider, *row.pose, *row.twist)
        if not all(map(math.isfinite, numbers)):
            self._fail("contradiction", "the controller says a pose that is no number")
            return
        with self._lock:
            before = self._row
            self._lag.came(now, row.timestamp_s)
            self._row, self._row_s = row, now
            if before is None or row.tick != before.tick:
                self._ticked_s = now
            if before is None or row.sequence != before.sequence:
                self._untaken_s = math.inf
            enabled = self._enabled and self._fault is None
        if enabled:
            wrong = self._wrong(row, now)
            if wrong is not None:
                self._fail(*wrong)
        with self._came:
            self._came.notify_all()

    def _wrong(self, row: ur.ArmRow, now: float) -> tuple[FaultKind, str] | None:
        """What is wrong, the cause before what comes of it."""
        s = self._settings
        wrong = _not_ready(row) or _program_wrong(row, self._session)
        if wrong is not None:
            return wrong
        if not self._lag.now_s <= s.silent_s:
            return "stale", f"what the controller says is {self._lag.now_s:.3g} s old: look at the network"
        if not now - self._ticked_s <= s.silent_s:
            return "not ready", f"our program stands for {now - self._ticked_s:.3g} s: was it paused?"
        if not now - self._untaken_s <= s.silent_s:
            return (
                "silent",
                f"the program takes no order of ours for {now - self._untaken_s:.3g} s: look at the network",
            )
        aside_mm = self._carried.sideways_mm(row.pose)
        if not aside_mm <= s.sideways_mm:
            return "following error", f"the arm is {aside_mm:.3g} mm off what it moves along: was it moved by hand?"
        with self._lock:
            places = zip(self._following, self._carried.places_mm(row.pose), strict=True)
            astray_mm = max((watch.measured(now, place) for watch, place in places), key=abs)
        if not abs(astray_mm) <= s.following_mm:
            return "following error", f"the arm is {astray_mm:+.3g} mm from where its set-points would have it"
        return None

    def _fail(self, kind: FaultKind, reason: str) -> PartFault:
        """Latch a fault, unless there is one, and hold."""
        with self._lock:
            if self._fault is None:
                self._fault = PartFault(kind, reason, self._clock.now_s())
            fault = self._fault
        self._order.hold(str(fault))
        return fault

    # -- what it is told, in our thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        """Tell the program the newest order every period, and at once where it is new."""
        tried_s = self._clock.now_s()
        while not self._closing.is_set():
            try:
                if self._client is None or self._client.ended is not None:
                    if self._clock.now_s() - tried_s >= AGAIN_S:
                        tried_s = self._clock.now_s()
                        self._read_again()
                elif self._telling:
                    self._tell()
            except _GONE as e:
                self._fail("no link", str(self._gone(e)))
            self._order.wait(self._serial, self._until_next())
        if self._telling:
            with contextlib.suppress(*_GONE):
                self._tell()
                self._wait_for_rest()

    def _until_next(self) -> float:
        """A period, or less where the order expires before."""
        command = self._order.newest()[1]
        until_s = math.inf if command is None or command.expires_at_s is None else command.expires_at_s
        return max(min(self._settings.period_s, until_s - self._clock.now_s() + 1e-4), 1e-3)

    def _tell(self) -> None:
        client, inputs = self._client, self._inputs
        if client is None or inputs is None:
            return
        serial, command, _ = self._order.newest()
        now = self._clock.now_s()
        self._serial = serial
        speeds = (0.0,) * len(self._following)
        with self._lock:
            if command is not None and command.expires_at_s is not None and self._enabled and self._fault is None:
                speeds = self._carried.speeds_mm_s(command)
            twist = self._carried.twist(command) if command is not None and any(speeds) else None
            last = self._last_tick(serial, command.expires_at_s, now) if command is not None and twist else 0
            self._sequence += 1
            order = ur.ArmOrder(self._session, self._sequence, last, twist)
            for watch, speed in zip(self._following, speeds, strict=True):
                watch.told(now, speed)
            self._untaken_s = min(self._untaken_s, now)
        client.write(inputs, order.values())

    def _last_tick(self, serial: int, expires_at_s: float | None, now: float) -> int:
        """Tick past which nothing moves on an order. It is counted once for an order that ends within the watchdog."""
        if self._standing[0] == serial:
            return self._standing[1]
        assert expires_at_s is not None
        assert self._row is not None
        s = self._settings
        lasts_s = min(expires_at_s - now + AHEAD_S, s.watchdog_s)
        since_s = min(max(now - self._row_s, 0.0), AHEAD_S)
        last = self._row.tick + math.floor((since_s + lasts_s) / self._step_s)
        if expires_at_s - now + AHEAD_S <= s.watchdog_s:
            self._standing = (serial, last)
        return last

    def _wait_for_rest(self) -> None:
        """Go on telling it to hold while it brakes at the end."""
        until_s = self._clock.now_s() + 0.3
        while self._row is not None and max(map(abs, self._row.twist[:3])) > 1e-5 and self._clock.now_s() < until_s:
            self._tell()
            self._clock.sleep_until(self._clock.now_s() + self._settings.period_s)

    def _check_usable(self) -> None:
        if self._closed:
            raise RobotError(f"{self._name} is closed: open it again")
        if self._fault is not None:
            raise RobotError(str(self._fault))

    def _program_said(self, row: ur.ArmRow) -> str:
        if row.runtime_state != ur.PLAYING:
            return f"no program runs ({ur.named(ur.RUNTIME_STATES, row.runtime_state)})"
        if row.version != ur.PROGRAM_VERSION:
            return f"a program runs that is not version {ur.PROGRAM_VERSION} of {ur.PROGRAM_NAME}"
        why = f" ({ur.LATCHED_WHY[row.why][1]})" if row.why in ur.LATCHED_WHY else ""
        return f"{ur.PROGRAM_NAME} {row.version} {_state_name(row.state)}{why}"

    def _where(self) -> str:
        return f"{self._settings.host}:{self._settings.rtde_port}"

    def _gone(self, error: BaseException) -> RobotError:
        return RobotError(f"the controller at {self._where()} does not answer as it should: {error}")


class Lag:
    """How much later than the quickest one a row comes. Of two clocks, so that only differences count."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._least: deque[tuple[float, float]] = deque()  # (since, least difference of that second)

    def came(self, arrived_s: float, stamped_s: float) -> None:
        """Take a row's arrival and its own time, s."""
        differs_s = arrived_s - stamped_s
        if not self._least or arrived_s - self._least[-1][0] > 1.0:
            self._least.append((arrived_s, differs_s))
            while arrived_s - self._least[0][0] > 10.0:  # chosen: clocks drift apart by less than 1 ms in that time
                self._least.popleft()
        elif differs_s < self._least[-1][1]:
            self._least[-1] = (self._least[-1][0], differs_s)
        self.now_s = differs_s - min(least for _, least in self._least)


def _has_come(number: int, row: ur.ArmRow) -> bool:
    return row.number >= number


def _not_ready(row: ur.ArmRow) -> tuple[FaultKind, str] | None:
    """What people have to put right at the arm."""
    if row.safety_mode not in ur.MAY_MOVE:
        mode = ur.named(ur.SAFETY_MODES, row.safety_mode)
        return "stopped", f"the controller is in {mode}: find out why, and unlock it at the pendant"
    if row.robot_mode != ur.POWERED:
        return (
            "not ready",
            f"robot mode is {ur.named(ur.ROBOT_MODES, row.robot_mode)}: switch the arm on at the pendant",
        )
    if not row.slider >= SLIDER_FULL:
        return "not ready", f"the speed slider stands at {100.0 * row.slider:.0f} %: set it to 100 % at the pendant"
    return None


def _program_wrong(row: ur.ArmRow, session: int) -> tuple[FaultKind, str] | None:
    """What is wrong with our program while we move the arm."""
    if row.state == ur.ProgramState.LATCHED:
        return ur.LATCHED_WHY.get(row.why, ("refused", f"the program latched, reason {row.why}"))
    if row.runtime_state != ur.PLAYING:
        return "not ready", f"our program does not run any more ({ur.named(ur.RUNTIME_STATES, row.runtime_state)})"
    if row.version != ur.PROGRAM_VERSION or row.session != session:
        return "contradiction", f"the program is in session {row.session} and version {row.version}, not in ours"
    return None


def _state_name(state: int) -> str:
    names = {0: "waits", 1: "holds", 2: "moves", 3: "is latched"}
    return names.get(state, f"is in state {state}")
