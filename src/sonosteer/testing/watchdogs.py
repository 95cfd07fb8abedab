"""How far a needle axis, or an arm, goes on once nobody renews its order: killed, frozen and cut off at random moments.

A stand-in of the drive runs in a process of its own and measures in its own time. Another process pushes the needle
through the gate. It is killed, or frozen and let go on, or the link between them is closed and opened again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from sonosteer.core.clock import RealClock
from sonosteer.core.errors import RobotError
from sonosteer.robots.rig_check import look_at_rig, reset_part
from sonosteer.testing.stand_in import StandIn

Ending: TypeAlias = Literal["kill", "freeze", "link"]
WAYS_TO_END: tuple[Ending, ...] = ("kill", "freeze", "link")
AxisKind: TypeAlias = Literal["cia402", "line", "ur"]
AXIS_KINDS: tuple[AxisKind, ...] = ("cia402", "line", "ur")

SPEED_MM_S = 25.0
WATCHDOG_S = {"cia402": 0.12, "line": 0.12, "ur": 0.12}  # of the rig files below, or Limits.order_s with margin_s
STOP_MM_S2 = 1000.0
CYCLE_S = 0.01
WAIT_S = 60.0  # chosen: a machine that is busy with other things makes a trial wait, never fail
STARTS = 20  # chosen: the same
AFTERWARDS_S = 1.0  # chosen: how long is watched whether it moves again, in the stand-in's own time
_RIG = """format = "sonosteer rig"
version = 1
[guide]
kind = "fixed"
angle_rad = 0.61
roll_rad = 0.0
[arm]
kind = "fixed"
probe = true
[needle]
following_mm = 10.0
silent_s = 1.0
zero = "absolute"
"""


@dataclass(frozen=True, slots=True)
class Stopped:
    """One trial."""

    axis: AxisKind
    """Kind of the axis."""
    ending: Ending
    """What was done: the process killed or frozen, or the link closed."""
    speed_mm_s: float
    """How fast the axis went when its order was renewed last, mm/s."""
    travel_mm: float
    """How far it went after that, mm."""
    bound_mm: float
    """How far it may go: speed times watchdog, the way of the stop, and one cycle, mm."""
    crept_mm: float
    """How far it moved once it had stood, mm. Process or link were there again by then, or a new process tried: but not
    to push an arm, which begins a new session."""
    state: str
    """State of the drive at the end, as the stand-in says."""
    refusal: str
    """Why nothing moves any more, as the pushing process or its follower says."""


class Pushing(NamedTuple):
    """A process that pushes the needle."""

    process: subprocess.Popen[bytes]
    """The process itself."""
    log: Path
    """What it says."""


def bound_mm(kind: AxisKind, speed_mm_s: float = SPEED_MM_S) -> float:
    """How far an axis may go after its last renewal, mm."""
    return speed_mm_s * (WATCHDOG_S[kind] + CYCLE_S) + 0.5 * speed_mm_s**2 / STOP_MM_S2


@contextlib.contextmanager
def standing_in(kind: AxisKind, folder: Path) -> Iterator[tuple[StandIn, Path]]:
    """Start a stand-in and write a rig file for it. Yields both, and ends the stand-in."""
    if kind == "cia402":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("", 0))
            port = s.getsockname()[1]
        stand_in = StandIn("sonosteer.testing.cia402_drive", "udp_multicast", "239.74.163.2", "5", str(port))
        own = (
            f'interface = "udp_multicast"\nchannel = "239.74.163.2"\nport = {port}\nnode = 5\ncounts_per_mm = 4000.0\n'
        )
    elif kind == "ur":
        stand_in = StandIn("sonosteer.testing.ur.controller")
        at = stand_in.first
        own = f'host = "127.0.0.1"\nmoves = "insertion"\nzero_mm = {at["zero_mm"]}\nrtde_port = {at["port"]}\n'
    else:
        stand_in = StandIn("sonosteer.testing.line_drive")
        own = f'address = "tcp://127.0.0.1:{stand_in.first["port"]}"\n'
    try:
        path = folder / f"{kind}.toml"
        path.write_text(f'{_RIG}kind = "{kind}"\n{own}', encoding="utf-8")
        yield stand_in, path
    finally:
        stand_in.close()


def stop_once(kind: AxisKind, ending: Ending, stand_in: StandIn, rig: Path, rng: np.random.Generator) -> Stopped:
    """Push at full speed, end it at a random moment, and measure. The drive's fault is reset at the end."""
    pushing = _push_to_full_speed(kind, stand_in, rig)
    try:
        time.sleep(float(rng.uniform(0.0, 0.3)))
        if ending == "link":
            stand_in.ask("mute")
        else:
            os.kill(pushing.process.pid, signal.SIGKILL if ending == "kill" else signal.SIGSTOP)
        _wait_until(lambda: stand_in.ask()["stands"], "the needle to stand")
        stopped = stand_in.ask()
        if ending == "link":
            stand_in.ask("link")
        elif ending == "freeze":
            os.kill(pushing.process.pid, signal.SIGCONT)
        else:
            _end(pushing)
            if kind != "ur":  # whose latch a new session lifts, as somebody means who begins one
                pushing = _push(rig)
        until_s = stopped["time_s"] + AFTERWARDS_S
        _wait_until(lambda: stand_in.ask()["time_s"] > until_s, "a while to pass")
        after = stand_in.ask()
        refusal = _described(rig) if kind == "ur" and ending == "kill" else _refusal(pushing)
    finally:
        _end(pushing)
    _reset(kind, rig)
    return Stopped(
        axis=kind,
        ending=ending,
        speed_mm_s=stopped["renewed_mm_s"],
        travel_mm=stopped["travel_mm"],
        bound_mm=bound_mm(kind),
        crept_mm=max(after["crept_mm"], abs(after["depth_mm"] - stopped["depth_mm"])),
        state=after["state"],
        refusal=refusal,
    )


def _push_to_full_speed(kind: AxisKind, stand_in: StandIn, rig: Path) -> Pushing:
    """Push until the needle is at full speed. A busy machine may stop it before, for good: then again."""
    for _ in range(STARTS):
        pushing = _push(rig)
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s and pushing.process.poll() is None and "held: stopped" not in _last(pushing):
            if abs(stand_in.ask()["speed_mm_s"]) > 0.99 * SPEED_MM_S:
                return pushing
            time.sleep(0.02)
        _end(pushing)
        _reset(kind, rig)
    raise RuntimeError(f"the needle did not reach {SPEED_MM_S:g} mm/s in {STARTS} starts")


def _push(rig: Path) -> Pushing:
    words = [sys.executable, "-m", "sonosteer.testing.pushing", str(rig), str(SPEED_MM_S)]
    log = rig.with_suffix(".log")
    with log.open("w", encoding="utf-8") as f:
        return Pushing(subprocess.Popen(words, stdout=f, stderr=subprocess.STDOUT), log)


def _end(pushing: Pushing) -> None:
    with contextlib.suppress(ProcessLookupError):
        pushing.process.kill()
    pushing.process.wait()


def _refusal(pushing: Pushing) -> str:
    """The last thing that it says, once that is a reason or it has ended by an error."""
    _wait_until(lambda: "held: " in _last(pushing) or pushing.process.poll() is not None, "a reason")
    return _last(pushing).partition("held: ")[2] or _last(pushing)


def _last(pushing: Pushing) -> str:
    """Its last whole line."""
    return (["", *pushing.log.read_text(encoding="utf-8").split("\n")])[-2]


def _described(rig: Path) -> str:
    """What the needle's part says of itself to whoever only looks."""
    _, seen = look_at_rig(rig, RealClock())
    return next(part.seen for part in seen if part.name == "needle")


def _reset(kind: AxisKind, rig: Path) -> None:
    """Reset the drive's fault. A busy machine may let a drive answer too late: then again. An arm has no such fault."""
    if kind == "ur":
        return
    for left in reversed(range(STARTS)):
        try:
            reset_part(rig, "needle", RealClock())
        except RobotError:
            if not left:
                raise
        else:
            return


def _wait_until(met: Callable[[], bool], what: str) -> None:
    """Wait until it is so. Raises RuntimeError if that takes too long."""
    until_s = time.monotonic() + WAIT_S
    while not met():
        if time.monotonic() > until_s:
            raise RuntimeError(f"waited {WAIT_S:g} s for {what}")
        time.sleep(0.02)
