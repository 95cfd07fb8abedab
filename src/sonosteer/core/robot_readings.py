"""What a robot would have said between two of its readings."""

from __future__ import annotations

from dataclasses import replace

from sonosteer.core.types import RobotState

MAX_GAP_S = 0.1  # chosen: at 25 mm/s and 200 mm/s^2 a straight line over it is wrong by 0.3 mm at most


def between(before: RobotState, after: RobotState, fraction: float) -> RobotState:
    """Interpolate between two states. fraction: 0 is the first, 1 the second. A fault of either stays."""

    def mixed(a: float, b: float) -> float:
        return a + fraction * (b - a)

    x, y, z = (mixed(a, b) for a, b in zip(before.probe_mm, after.probe_mm, strict=True))
    return replace(
        after,
        time_s=mixed(before.time_s, after.time_s),
        depth_mm=mixed(before.depth_mm, after.depth_mm),
        insertion_speed_mm_s=mixed(before.insertion_speed_mm_s, after.insertion_speed_mm_s),
        insertion_angle_rad=mixed(before.insertion_angle_rad, after.insertion_angle_rad),
        roll_rad=mixed(before.roll_rad, after.roll_rad),
        probe_mm=(x, y, z),
        fault=after.fault or before.fault,
    )
