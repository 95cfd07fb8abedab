"""Slows a command down instead of refusing it, or leaves an axis where it is. Nothing here makes a command larger.

A command may be right when it is decided and too fast only now: the tip was hidden since, or the needle starts from
rest. Refusing it would cause stop-and-go. A smaller command is given instead, and says so.
"""

from __future__ import annotations

import math

from sonosteer.core.types import Command, RobotState, TipEstimate, Track, Vector
from sonosteer.safety.limits import Limits
from sonosteer.safety.orders import speeds_mm_s

SHORTEST_MM = 1.0  # chosen: a needle is turned as if so much of it were inserted, even if nothing is


def bounded(
    limits: Limits,
    wanted: Command,
    *,
    robot_state: RobotState,
    tip: TipEstimate | None,
    before: Command | None,
    measured_mm_s: tuple[float, ...],
    kept_rad: float | None,
    inserted_mm: float,
    elapsed_s: float,
    until_s: float,
) -> tuple[Command, tuple[str, ...]]:
    """Return the command that may be given, and in what it is less than the wanted one, and why.

    wanted: a command whose numbers are all within limits. before: what is being carried out. measured_mm_s: how fast
    the encoders say that needle and probe move. kept_rad: where the needle was last told to point. inserted_mm: largest
    length that can be in the tissue. elapsed_s: since the last tick. until_s: when the new command expires.
    """
    notes: list[str] = []
    elapsed_s = min(elapsed_s, limits.growth_s)
    was, *probe_was = _heeded(limits, before, measured_mm_s)
    speed = _speed(limits, wanted.insertion_speed_mm_s, tip, was, elapsed_s, notes)
    asked, at = float(wanted.insertion_angle_rad), float(robot_state.insertion_angle_rad)
    stays = stay(kept_rad, at, limits.still_rad)
    if tip is None or speed < 0:
        angle, why = stays, "the tip is lost" if tip is None else "the needle is drawn back"
    elif wanted.insertion_speed_mm_s == 0 and abs(asked - stays) <= limits.still_rad:
        angle, why = stays, "it stays where it is"
    else:
        was_rad = stays if before is None else before.insertion_angle_rad
        angle = _angle(limits, asked, set_point=was_rad, at=at, inserted_mm=inserted_mm, elapsed_s=elapsed_s)
        why = "rate"
    _note(notes, "insertion angle", wanted.insertion_angle_rad, angle, "rad", why)
    set_point = None if before is None else before.roll_rad
    if tip is None:
        roll = stay(set_point, robot_state.roll_rad, limits.still_rad)
        _note(notes, "base rotation", wanted.roll_rad, roll, "rad", "the tip is lost")
    else:
        was_rad = robot_state.roll_rad if set_point is None else set_point
        near = _within(wanted.roll_rad, at=robot_state.roll_rad, most=limits.roll_rad_s * limits.order_s)
        roll = _turned(was_rad, near, limits.roll_rad_s * elapsed_s)
        _note(notes, "base rotation", wanted.roll_rad, roll, "rad", "rate")
    probe = _probe(wanted.probe_velocity_mm_s, probe_was, limits.probe_mm_s2 * elapsed_s, notes)
    command = Command(
        expires_at_s=until_s,
        insertion_speed_mm_s=speed,
        insertion_angle_rad=angle,
        roll_rad=roll,
        probe_velocity_mm_s=probe,
    )
    return command, tuple(notes)


def grown(before: float, wanted: float, largest: float) -> float:
    """Return `wanted`, its size no more than `largest` above that of `before`. A change of direction starts at rest."""
    way = math.copysign(1.0, wanted)
    return way * min(abs(wanted), max(way * before, 0.0) + largest)


def _heeded(limits: Limits, before: Command | None, measured_mm_s: tuple[float, ...]) -> list[float]:
    """Return how fast needle and probe may be taken to move: as was ordered, but little faster than encoders say.

    So a speed does not grow on orders that nobody hears. What is measured may lag by `Limits.standstill_s`.
    """
    if before is None:
        return [0.0] * len(measured_mm_s)
    needle, probe = limits.acceleration_mm_s2 * limits.standstill_s, limits.probe_mm_s2 * limits.standstill_s
    lags = (needle, probe, probe, probe)
    return [
        grown(measured, ordered, lag)
        for measured, ordered, lag in zip(measured_mm_s, speeds_mm_s(before), lags, strict=True)
    ]


def _speed(
    limits: Limits, wanted: float, tip: TipEstimate | None, before: float, elapsed_s: float, notes: list[str]
) -> float:
    coasting = tip is not None and tip.state is Track.COASTING
    slow = min(wanted, limits.coasting_mm_s) if coasting else wanted
    _note(notes, "insertion speed", wanted, slow, "mm/s", "the tip is only predicted")
    speed = grown(before, slow, limits.acceleration_mm_s2 * elapsed_s)
    _note(notes, "insertion speed", slow, speed, "mm/s", "acceleration")
    return speed


def _angle(
    limits: Limits, wanted: float, *, set_point: float, at: float, inserted_mm: float, elapsed_s: float
) -> float:
    """Return where the needle may be turned to. set_point: where it is told to point now. at: what its encoder says.

    The set-point does not run away from an axis that is stuck. The rate comes last: an encoder that jumps must not take
    the set-point along, for no point of the needle moves sideways too fast.
    """
    rate_rad_s = limits.sideways_mm_s / max(inserted_mm, SHORTEST_MM)
    near = _within(wanted, at=at, most=rate_rad_s * limits.order_s)
    return _turned(set_point, near, rate_rad_s * elapsed_s)


def _within(value: float, *, at: float, most: float) -> float:
    return min(max(value, at - most), at + most)


def _turned(at: float, wanted: float, largest: float) -> float:
    return at + min(max(wanted - at, -largest), largest)


def _probe(wanted: Vector, was: list[float], largest: float, notes: list[str]) -> Vector:
    x, y, z = (grown(old, new, largest) for old, new in zip(was, wanted, strict=True))
    for axis, asked, got in zip("xyz", wanted, (x, y, z), strict=True):
        _note(notes, f"probe speed {axis}", asked, got, "mm/s", "acceleration")
    return x, y, z


def stay(set_point: float | None, at: float, still: float) -> float:
    """Return where an axis is: its set-point if it is there, so that the encoder's noise moves nothing."""
    return set_point if set_point is not None and abs(set_point - at) <= still else float(at)


def _note(notes: list[str], what: str, wanted: float, got: float, unit: str, why: str) -> None:
    if got != wanted:
        notes.append(f"{what} {wanted:.4g} -> {got:.4g} {unit}: {why}")
