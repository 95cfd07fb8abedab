"""What an arm carries: from its poses to depth or probe, and from commands to twists of its TCP.

Poses are of the TCP in the arm's base frame, as the controller says them: m and rotation vectors. Here it is mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.calibration.poses import rotation_of
from sonosteer.core.types import Command
from sonosteer.robots.parts import Axis

Vec: TypeAlias = NDArray[np.float64]


class Carried(Protocol):
    """What an arm carries."""

    @property
    def axes(self) -> frozenset[Axis]:
        """What it moves."""
        ...

    def measured(self, pose: Sequence[float], twist: Sequence[float]) -> dict[str, Any]:
        """Fields of a PartState, of the TCP's pose (6,) and velocity (6,)."""
        ...

    def places_mm(self, pose: Sequence[float]) -> tuple[float, ...]:
        """Where it is along each axis that it moves, mm."""
        ...

    def speeds_mm_s(self, command: Command) -> tuple[float, ...]:
        """How fast it shall go along each of these, mm/s."""
        ...

    def twist(self, command: Command) -> tuple[float, ...]:
        """Velocity of the TCP in the base frame, (6,): m/s, rad/s."""
        ...

    def sideways_mm(self, pose: Sequence[float]) -> float:
        """How far it is off what it can move along, mm."""
        ...


@dataclass(frozen=True, slots=True)
class CarriedNeedle:
    """The needle lies along the tool's z axis, its tip at the TCP. The arm pushes it along that."""

    zero_mm: Vec
    """Where the tip is at depth 0, in the base frame, (3,), mm."""
    start_mm: Vec
    """Where the tip is as the arm is opened, in the base frame, (3,), mm."""
    direction: Vec
    """Where the needle points as the arm is opened, in the base frame, (3,), no unit."""
    axes: frozenset[Axis] = frozenset({"insertion"})
    """What it moves."""

    def measured(self, pose: Sequence[float], twist: Sequence[float]) -> dict[str, Any]:
        """Depth and speed along the needle, mm and mm/s."""
        speed = 1e3 * float(np.asarray(twist[:3]) @ self.direction)
        return {"depth_mm": self.places_mm(pose)[0], "insertion_speed_mm_s": speed}

    def places_mm(self, pose: Sequence[float]) -> tuple[float, ...]:
        """Depth, mm."""
        return (float((_place_mm(pose) - self.zero_mm) @ self.direction),)

    def speeds_mm_s(self, command: Command) -> tuple[float, ...]:
        """Speed of the needle along itself, mm/s."""
        return (command.insertion_speed_mm_s,)

    def twist(self, command: Command) -> tuple[float, ...]:
        """Along the needle, without a turn. (6,): m/s, rad/s."""
        return (*(1e-3 * command.insertion_speed_mm_s * self.direction).tolist(), 0.0, 0.0, 0.0)

    def sideways_mm(self, pose: Sequence[float]) -> float:
        """How far the tip is off the needle's line, mm, with 100 mm of lever for where it points."""
        off = _place_mm(pose) - self.start_mm
        aside = off - (off @ self.direction) * self.direction
        turned = rotation_of(np.asarray(pose[3:]))[:, 2] - self.direction
        return float(np.linalg.norm(aside) + 100.0 * np.linalg.norm(turned))


@dataclass(frozen=True, slots=True)
class CarriedProbe:
    """The probe hangs at the tool. It moves along the picture's axes, and does not turn."""

    zero_mm: Vec
    """Where the TCP is as the arm is opened, in the base frame, (3,), mm."""
    R_base_probe: Vec
    """Axes of the picture in the base frame as the arm is opened, (3, 3): x along it, y across it, z down."""
    R_base_tool: Vec
    """Axes of the tool in the base frame then, (3, 3)."""
    axes: frozenset[Axis] = frozenset({"probe"})
    """What it moves."""

    def measured(self, pose: Sequence[float], twist: Sequence[float]) -> dict[str, Any]:
        """Where the probe is from where it began, (3,), mm."""
        return {"probe_mm": self.places_mm(pose)}

    def places_mm(self, pose: Sequence[float]) -> tuple[float, ...]:
        """Along x, y and z of the picture, mm."""
        x, y, z = (self.R_base_probe.T @ (_place_mm(pose) - self.zero_mm)).tolist()
        return (x, y, z)

    def speeds_mm_s(self, command: Command) -> tuple[float, ...]:
        """Velocity of the probe, mm/s."""
        return tuple(command.probe_velocity_mm_s)

    def twist(self, command: Command) -> tuple[float, ...]:
        """Along the picture's axes, without a turn. (6,): m/s, rad/s."""
        return (*(1e-3 * (self.R_base_probe @ np.asarray(command.probe_velocity_mm_s))).tolist(), 0.0, 0.0, 0.0)

    def sideways_mm(self, pose: Sequence[float]) -> float:
        """How far it has turned, as mm at a lever of 100 mm."""
        return float(100.0 * np.linalg.norm(rotation_of(np.asarray(pose[3:])) - self.R_base_tool) / np.sqrt(2.0))


def needle_at(pose: Sequence[float], zero_mm: Sequence[float] | None) -> CarriedNeedle:
    """A needle as the arm stands, (6,). zero_mm: where depth is 0, in the base frame. None: where the tip is now."""
    start_mm = _place_mm(pose)
    zero = start_mm if zero_mm is None else np.asarray(zero_mm, np.float64)
    return CarriedNeedle(zero, start_mm, rotation_of(np.asarray(pose[3:]))[:, 2])


def probe_at(pose: Sequence[float], turned_rad: Sequence[float]) -> CarriedProbe:
    """A probe as the arm stands, (6,). turned_rad: the picture's axes in the tool's frame, a rotation vector (3,)."""
    R_base_tool = rotation_of(np.asarray(pose[3:]))
    return CarriedProbe(_place_mm(pose), R_base_tool @ rotation_of(np.asarray(turned_rad)), R_base_tool)


def _place_mm(pose: Sequence[float]) -> Vec:
    return 1e3 * np.asarray(pose[:3], np.float64)
