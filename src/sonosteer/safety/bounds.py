"""What is slowed down rather than refused, and what is left where it is. Nothing here makes an order larger.

An order that was right when it was decided should not turn into stop-and-go because the tip was hidden since, or
because it starts from rest: a smaller order of the same kind is given instead, and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonosteer.core.types import Action, RobotState, TipEstimate, Track, Vector
from sonosteer.safety.limits import Limits


@dataclass(frozen=True, slots=True)
class Order:
    """The numbers that are ordered, and in what they are less than what was wanted."""

    speed_mm_s: float
    angle_rad: float
    roll_rad: float
    probe_mm_s: Vector
    bounded: tuple[str, ...]


def bounded(
    limits: Limits,
    action: Action,
    robot_state: RobotState,
    tip: TipEstimate | None,
    before: Order | None,
    elapsed_s: float,
) -> Order:
    """What may be ordered of an action whose numbers are all within limits. before: what is being carried out."""
    notes: list[str] = []
    speed = _speed(limits, action, tip, 0.0 if before is None else before.speed_mm_s, elapsed_s, notes)
    angle = float(action.insertion_angle_rad)
    if tip is None or speed < 0:
        angle = _stay(None if before is None else before.angle_rad, robot_state.angle_rad, limits.still_rad)
        why = "the tip is lost" if tip is None else "the needle is drawn back"
        _note(notes, "insertion angle", action.insertion_angle_rad, angle, "rad", why)
    roll = _roll(limits, action, robot_state, tip, before, elapsed_s, notes)
    was = (0.0, 0.0, 0.0) if before is None else before.probe_mm_s
    x, y, z = (
        grown(old, new, limits.probe_mm_s2 * elapsed_s) for old, new in zip(was, action.probe_speed_mm_s, strict=True)
    )
    for axis, wanted, got in zip("xyz", action.probe_speed_mm_s, (x, y, z), strict=True):
        _note(notes, f"probe speed {axis}", wanted, got, "mm/s", "acceleration")
    return Order(speed, angle, roll, (x, y, z), tuple(notes))


def grown(before: float, wanted: float, most: float) -> float:
    """`wanted`, its size no more than `most` above that of `before`; a change of direction starts from rest."""
    way = math.copysign(1.0, wanted)
    return way * min(abs(wanted), max(way * before, 0.0) + most)


def _speed(
    limits: Limits, action: Action, tip: TipEstimate | None, before: float, elapsed_s: float, notes: list[str]
) -> float:
    wanted = action.insertion_speed_mm_s
    coasting = tip is not None and tip.state is Track.COASTING
    slow = min(wanted, limits.coasting_mm_s) if coasting else wanted
    _note(notes, "insertion speed", wanted, slow, "mm/s", "the tip is only predicted")
    speed = grown(before, slow, limits.acceleration_mm_s2 * elapsed_s)
    _note(notes, "insertion speed", slow, speed, "mm/s", "acceleration")
    return speed


def _roll(
    limits: Limits,
    action: Action,
    robot_state: RobotState,
    tip: TipEstimate | None,
    before: Order | None,
    elapsed_s: float,
    notes: list[str],
) -> float:
    wanted = action.base_rotation_rad
    if tip is None:
        roll = _stay(None if before is None else before.roll_rad, robot_state.roll_rad, limits.still_rad)
        _note(notes, "base rotation", wanted, roll, "rad", "the tip is lost")
        return roll
    at, most = robot_state.roll_rad if before is None else before.roll_rad, limits.roll_rad_s * elapsed_s
    roll = at + min(max(wanted - at, -most), most)
    _note(notes, "base rotation", wanted, roll, "rad", "rate")
    return roll


def _stay(set_point: float | None, at: float, still: float) -> float:
    """Where an axis is: its set-point if it has got there, so that the encoder's noise moves nothing."""
    return set_point if set_point is not None and abs(set_point - at) <= still else float(at)


def _note(notes: list[str], what: str, wanted: float, got: float, unit: str, why: str) -> None:
    if got != wanted:
        notes.append(f"{what} {wanted:.4g} -> {got:.4g} {unit}: {why}")
