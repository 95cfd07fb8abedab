"""The principle of Paper V's control policy as a plain rule: the better the tip is seen, the faster; and how to aim.

Source: Paper V, III-F: insertion speed falls with the uncertainty of the tip (the inverse of its visibility), the probe
moves with the needle where the technique says so, [STOP] at the target. The paper's own policy is learnt; every number
here is ours (v_max is the 20 mm/s of the paper's recordings).

| symbol | name here | unit |
| --- | --- | --- |
| v, v_max | speed, `fastest_mm_s` | mm/s |
| g(visibility) | `trust` | 0..1 |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import RobotState, Task
from sonosteer.policies.geometry import TargetOffset, side


@dataclass(frozen=True, slots=True)
class Principle:
    """fastest_mm_s: with the tip in full view. least, low, high: g is `least` at a visibility of `low` or less, 1 from
    `high` on. creep_mm_s: while the tip is only predicted, for blind_mm since it was last in view; then it waits.
    near_s: time to the target that the speed keeps (so it falls as the target nears), no slower than slowest_mm_s.
    within_mm: to go along the needle when it stops. turn_rad_s, turn_rad: speed of the insertion angle and its most
    from the plan; turn_gain: of the correction. share: of the needle's way along the image that the probe goes, where
    it moves; probe_mm: at most.
    """

    fastest_mm_s: float = 20.0
    least: float = 0.2
    low: float = 0.2
    high: float = 0.8
    creep_mm_s: float = 4.0
    blind_mm: float = 10.0
    near_s: float = 0.5
    slowest_mm_s: float = 2.0
    within_mm: float = 1.0
    turn_rad_s: float = 0.3
    turn_rad: float = 0.14
    turn_gain: float = 1.0
    share: float = 0.5
    probe_mm: float = 30.0

    def __post_init__(self) -> None:
        check_finite(self, "principle")
        check_range(self, "principle", 0.0, 1.0, "least", "low", "high", "share")
        check_range(self, "principle", 0.1, 25.0, "fastest_mm_s", "slowest_mm_s")
        check_range(self, "principle", 0.0, 25.0, "creep_mm_s", "blind_mm", "turn_gain")
        check_range(self, "principle", 0.01, 10.0, "near_s", "within_mm")
        check_range(self, "principle", 0.0, 0.5, "turn_rad_s", "turn_rad")
        check_range(self, "principle", 0.0, 60.0, "probe_mm")

    def trust(self, visible: float) -> float:
        """g(visibility): never falls where visibility grows."""
        if visible >= self.high:
            return 1.0
        if visible <= self.low:
            return self.least
        return self.least + (1.0 - self.least) * (visible - self.low) / (self.high - self.low)

    def in_view(self, target_offset: TargetOffset) -> bool:
        """True while the tip is tracked and seen halfway well."""
        return target_offset.sure and target_offset.visible >= 0.5 * (self.low + self.high)

    def last_view_mm(self, target_offset: TargetOffset, depth_mm: float, before_mm: float | None) -> float:
        """Inserted depth when the tip was last in view; a needle that is drawn back takes it along."""
        return depth_mm if before_mm is None or self.in_view(target_offset) else min(before_mm, depth_mm)

    def speed_mm_s(self, target_offset: TargetOffset, blind_mm: float) -> float:
        """Insertion speed. blind_mm: pushed on since the tip was last in view."""
        if not target_offset.sure and blind_mm >= self.blind_mm:
            return 0.0
        speed = self.fastest_mm_s * self.trust(target_offset.visible)
        if not target_offset.sure:
            speed = min(speed, self.creep_mm_s)
        return min(speed, max(target_offset.along_mm / self.near_s, self.slowest_mm_s))

    def angle_rad(self, target_offset: TargetOffset, task: Task, angle_rad: float, dt_s: float) -> float:
        """Insertion angle to order next: towards the target seen from the entry, about which the needle turns.

        Only while the tip is in view and the target is not so near that a turn would rather swing the tip aside.
        """
        if not self.in_view(target_offset) or target_offset.along_mm < 5.0:
            return angle_rad
        lever_mm = max(target_offset.depth_mm, 0.0) + target_offset.along_mm
        wanted = target_offset.angle_rad + self.turn_gain * math.atan2(target_offset.across_mm, lever_mm)
        wanted = min(max(wanted, task.angle_rad - self.turn_rad), task.angle_rad + self.turn_rad)
        most = self.turn_rad_s * dt_s
        return angle_rad + min(max(wanted - angle_rad, -most), most)

    def probe_mm_s(self, speed_mm_s: float, robot_state: RobotState, task: Task) -> float:
        """Speed of the probe along the image: a share of the needle's, so that the tip stays in view."""
        if task.technique != "in-plane-moving":
            return 0.0
        speed = side(task) * self.share * speed_mm_s * math.cos(robot_state.angle_rad)
        return 0.0 if side(task) * robot_state.probe_mm[0] >= self.probe_mm and speed_mm_s > 0 else speed
