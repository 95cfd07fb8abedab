"""Stand-in of a robot: what pushes the needle, and a guide that turns and rolls it and moves the probe.

What pushes is a drive that takes lines (`testing/line_drive`, for the driver `line`), or a UR arm (`testing/ur`, for
the driver `ur`), whose stand-in interprets the program that ships. The guide takes lines of JSON. It
keeps the deadline of each order in its own time, and answers each line with where all axes are. `GuidePart` is its
driver.

As a process: `python -m sonosteer.testing.live_insertion.robot DEPTH_MM ANGLE_RAD ROLL_RAD [line|ur]`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots.parts import Axis, Opening, PartFault, PartState, StandingOrder
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.testing.axis_model import STEP_S, AxisModel, OwnTime
from sonosteer.testing.line_drive import SimulatedLineDrive
from sonosteer.testing.stand_in import HAND, obey_input
from sonosteer.testing.ur.controller import UR_HAND, StandInController

PERIOD_S = 0.01  # chosen: how often the driver asks
ANSWER_S = 0.5  # chosen: longest time for an answer
LONGEST_ORDER_S = 0.2  # chosen: whatever it is told, it stands by then
TURN_RAD_S, ROLL_RAD_S = 0.5, 6.0  # chosen: as the simulated rig
STAND_S = 0.03  # chosen: how long an order is on its way, beside its own time


@dataclass(slots=True)
class GuideModel:
    """The axes of the guide. They stand once an order has expired, in their own time."""

    angle_rad: float
    """Angle of the needle, rad below the horizontal."""
    roll_rad: float
    """Roll of the needle's base, rad."""
    probe_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the probe is, mm from where it began."""
    time_s: float = 0.0
    """Its own time, s."""
    to_rad: tuple[float, float] = (0.0, 0.0)
    """Where angle and roll are told to go, rad."""
    probe_mm_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How fast the probe is told to go, mm/s."""
    until_s: float = 0.0
    """When that expires, s of its own time. Nothing moves from then on."""

    def take(self, said: dict[str, Any]) -> None:
        """Take a line of JSON: an order, a hold, or nothing."""
        if "hold" in said:
            self.until_s = self.time_s
        elif "turn" in said:
            angle_rad, roll_rad = said["turn"]
            x, y, z = said["probe"]
            self.to_rad, self.probe_mm_s = (float(angle_rad), float(roll_rad)), (float(x), float(y), float(z))
            self.until_s = self.time_s + min(float(said["lasts_s"]), LONGEST_ORDER_S)

    def advance(self, dt_s: float) -> None:
        """Let time pass."""
        self.time_s += dt_s
        if not self.time_s <= self.until_s:
            return
        angle_rad, roll_rad = self.to_rad
        self.angle_rad += min(max(angle_rad - self.angle_rad, -TURN_RAD_S * dt_s), TURN_RAD_S * dt_s)
        self.roll_rad += min(max(roll_rad - self.roll_rad, -ROLL_RAD_S * dt_s), ROLL_RAD_S * dt_s)
        x, y, z = (at + speed * dt_s for at, speed in zip(self.probe_mm, self.probe_mm_s, strict=True))
        self.probe_mm = (x, y, z)


class SimulatedGuide:
    """The guide's axes in their own time, for any number of clients. drive: pushes the needle, of which it tells."""

    def __init__(self, drive: SimulatedLineDrive | StandInController, angle_rad: float, roll_rad: float) -> None:
        self.model = GuideModel(angle_rad, roll_rad)
        self._drive, self._lock = drive, threading.Lock()
        self._over = threading.Event()
        guide = self

        class Serve(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    for line in self.rfile:
                        self.wfile.write(json.dumps(guide.answer(json.loads(line))).encode() + b"\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Serve)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        for run in (self._server.serve_forever, self._live):
            threading.Thread(target=run, daemon=True).start()

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        """Take an order, if there is one, and say where all axes are."""
        with self._lock:
            model = self.model
            model.take(said)
            angle_rad, roll_rad, probe_mm = model.angle_rad, model.roll_rad, model.probe_mm
        needle = self._drive.report()
        return {
            "depth_mm": needle["depth_mm"],
            "speed_mm_s": needle.get("along_mm_s", needle["speed_mm_s"]),
            "angle_rad": angle_rad,
            "roll_rad": roll_rad,
            "probe_mm": probe_mm,
        }

    def _live(self) -> None:
        own = OwnTime()
        while not self._over.wait(0.002):
            with self._lock:
                for _ in range(own.steps()):
                    self.model.advance(STEP_S)

    def close(self) -> None:
        """Stop serving."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


def connected(address: str) -> socket.socket:
    """A connection to tcp://HOST:PORT. Raises InputError for another address, RobotError if nobody answers there."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        raise InputError(f"address is {address!r}: give tcp://HOST:PORT")
    try:
        sock = socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S)
    except OSError as e:
        raise RobotError(f"nobody answers at {address}: {e}") from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideSettings:
    """Where the guide is."""

    address: str
    """tcp://HOST:PORT."""


class GuidePart:
    """Driver of the guide: turns and rolls the needle, and moves the probe. For stand-ins only."""

    Settings: ClassVar[type[GuideSettings]] = GuideSettings
    axes: frozenset[Axis] = frozenset({"angle", "roll", "probe"})
    """What it moves."""

    def __init__(self, opening: Opening, settings: GuideSettings) -> None:
        self._clock, self._address = opening.clock, settings.address
        self.stops_within_s = opening.limits.order_s + STAND_S
        self._order = StandingOrder(opening.name, opening.clock)
        self._sock = connected(settings.address)
        self._lines = self._sock.makefile("rwb")
        self._fault: PartFault | None = None
        self._enabled, self._over = False, threading.Event()
        self._state = self._asked({})
        self._thread = threading.Thread(target=self._run, name="guide", daemon=True)
        self._thread.start()

    def state(self) -> PartState:
        """Return what the guide said last, and its fault."""
        state, fault = self._state, self._fault
        if fault is None:
            return state
        return PartState(
            state.time_s,
            insertion_angle_rad=state.insertion_angle_rad,
            roll_rad=state.roll_rad,
            probe_mm=state.probe_mm,
            fault=fault,
        )

    def describe(self) -> str:
        """Say where it stands."""
        return f"a stand-in of a guide at {self._address}, angle {self._state.insertion_angle_rad:.3f} rad"

    def enable(self) -> None:
        """Let it carry out orders. Raises RobotError if it has a fault."""
        if self._fault is not None:
            raise RobotError(str(self._fault))
        self._enabled = True

    def carry_out(self, cleared: Cleared) -> None:
        """Turn, roll and move as ordered. Raises RobotError for what the gate has not cleared, and with a fault."""
        if not genuine(cleared):
            raise RobotError("the guide takes only what the safety gate has cleared: ask Gate.clear")
        if self._fault is not None or not self._enabled or self._over.is_set():
            raise RobotError(str(self._fault or "the guide is not ready"))
        self._order.put(cleared)

    def hold(self, reason: str) -> None:
        """Stop and stay."""
        self._order.hold(reason)

    def close(self) -> None:
        """Hold and hang up. May be called twice."""
        self._order.hold("closed")
        self._over.set()
        self._thread.join(2.0)
        with contextlib.suppress(OSError):
            self._sock.close()

    def _run(self) -> None:
        serial, told = -1, False
        try:
            while not self._over.is_set():
                self._order.wait(serial, PERIOD_S)
                serial, command, why = self._order.newest()
                if command is None or command.expires_at_s is None:
                    self._state = self._asked({"hold": why} if told else {})
                    told = False
                    continue
                lasts_s = command.expires_at_s - self._clock.now_s()
                turn = [command.insertion_angle_rad, command.roll_rad]
                order = {"turn": turn, "probe": command.probe_velocity_mm_s, "lasts_s": max(lasts_s, 0.0)}
                self._state = self._asked(order)
                told = True
            if told:
                self._asked({"hold": "closed"})
        except (OSError, ValueError, KeyError, TypeError) as e:
            self._fault = PartFault("no link", f"the guide does not answer as it should: {e}", self._clock.now_s())

    def _asked(self, what: dict[str, Any]) -> PartState:
        asked_s = self._clock.now_s()
        self._lines.write(json.dumps(what).encode() + b"\n")
        self._lines.flush()
        line = self._lines.readline()
        if not line:
            raise ConnectionError("it hung up")
        said = json.loads(line)
        x, y, z = (float(v) for v in said["probe_mm"])
        return PartState(
            asked_s,
            insertion_angle_rad=float(said["angle_rad"]),
            roll_rad=float(said["roll_rad"]),
            probe_mm=(x, y, z),
        )


def main() -> None:
    """Run as a process until the input ends. Says the ports of what pushes and of the guide."""
    depth_mm, angle_rad, roll_rad = (float(word) for word in sys.argv[1:4])
    drive: SimulatedLineDrive | StandInController
    if sys.argv[4:] == ["ur"]:
        drive = StandInController(depth_mm=depth_mm)
        words, first = UR_HAND, {"zero_mm": drive.zero_mm, **drive.ports}
    else:
        drive = SimulatedLineDrive(axis=AxisModel(depth_mm=depth_mm, renewed_mm=depth_mm))
        words, first = HAND, {"drive": drive.port}
    drive.start()
    guide = SimulatedGuide(drive, angle_rad, roll_rad)
    obey_input(drive.hand, lambda: drive.report() | guide.answer({}), words, guide=guide.port, **first)
    guide.close()
    drive.close()


if __name__ == "__main__":
    main()
