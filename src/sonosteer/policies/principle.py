"""The principle of the control policy as a plain rule: push the faster the better the tip is seen, and aim.

Reference: Zhang et al. 2026, III-F. Insertion speed falls with the uncertainty of the tip, which is the inverse of its
visibility. The probe moves with the needle where the technique says so. The policy says [STOP] at the target.

| symbol | name here | unit |
| --- | --- | --- |
| v | `speed_mm_s` | mm/s |
| v_max | `max_speed_mm_s` | mm/s |
| g(visibility) | `trust` | 0 to 1 |

Departs from the paper: its policy is learnt. This is a rule, and every number is chosen. Only v_max is the 20 mm/s of
the paper's recordings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.types import RobotState, Task
from sonosteer.policies.geometry import TargetOffset, side

MAX_STEP_S = 0.2  # chosen: a longer gap between two observations counts as this long
AIM_FROM_MM = 5.0  # chosen: nearer to the target a turn would rather swing the tip aside


@dataclass(frozen=True, slots=True)
class Principle:
    """How fast to push, where to aim and how the probe follows. All numbers are chosen, but for the largest speed."""

    max_speed_mm_s: float = 20.0  # the paper's recordings
    """v_max, speed with the tip in full view, mm/s. 0.1 to 25."""
    min_trust: float = 0.2
    """g at a visibility of `low_visibility` or less. 0 to 1."""
    low_visibility: float = 0.2
    """Visibility up to which g is `min_trust`. 0 to 1."""
    high_visibility: float = 0.8
    """Visibility from which g is 1. 0 to 1."""
    creep_mm_s: float = 4.0
    """Largest speed while the tip is only predicted, mm/s."""
    max_blind_mm: float = 10.0
    """Insertion since the tip was last in view, mm. After that the needle waits."""
    approach_s: float = 0.5
    """Time to the target that the speed keeps, s. So the speed falls as the target comes near."""
    min_speed_mm_s: float = 2.0
    """Speed that the approach does not fall below, mm/s."""
    within_mm: float = 1.0
    """Way left along the needle at which it stops, mm."""
    max_turn_rad_s: float = 0.3
    """Largest rate of the insertion angle, rad/s."""
    max_turn_rad: float = 0.14
    """Largest difference between insertion angle and plan, rad."""
    turn_gain: float = 1.0
    """Part of the angle to the target that is corrected, no unit."""
    probe_fraction: float = 0.5
    """Way of a moving probe as a fraction of the needle's way along the image, no unit. 0 to 1."""
    max_probe_mm: float = 30.0
    """Largest travel of the probe along the image, mm."""

    def __post_init__(self) -> None:
        check_finite(self, "principle")
        for name in ("min_trust", "low_visibility", "high_visibility", "probe_fraction"):
            check_range(self, "principle", 0.0, 1.0, name)
        for name in ("creep_mm_s", "max_blind_mm", "turn_gain"):
            check_range(self, "principle", 0.0, 25.0, name)
        check_range(self, "principle", 0.1, 25.0, "max_speed_mm_s", "min_speed_mm_s")
        check_range(self, "principle", 0.01, 10.0, "approach_s", "within_mm")
        check_range(self, "principle", 0.0, 0.5, "max_turn_rad_s", "max_turn_rad")
        check_range(self, "principle", 0.0, 60.0, "max_probe_mm")

    def trust(self, visible: float) -> float:
        """Return g(visibility). It never falls where visibility grows."""
        low, high = self.low_visibility, self.high_visibility
        if visible >= high:
            return 1.0
        if visible <= low:
            return self.min_trust
        return self.min_trust + (1.0 - self.min_trust) * (visible - low) / (high - low)

    def in_view(self, target_offset: TargetOffset) -> bool:
        """True while the tip is tracked and seen halfway well."""
        halfway = 0.5 * (self.low_visibility + self.high_visibility)
        return target_offset.tracked and target_offset.visibility >= halfway

    def last_view_mm(self, target_offset: TargetOffset, depth_mm: float, before_mm: float | None) -> float:
        """Return the inserted length when the tip was last in view, mm. A needle that is drawn back takes it along."""
        return depth_mm if before_mm is None or self.in_view(target_offset) else min(before_mm, depth_mm)

    def speed_mm_s(self, target_offset: TargetOffset, blind_mm: float) -> float:
        """Return the insertion speed, mm/s. blind_mm: insertion since the tip was last in view."""
        if not target_offset.tracked and blind_mm >= self.max_blind_mm:
            return 0.0
        speed = self.max_speed_mm_s * self.trust(target_offset.visibility)
        if not target_offset.tracked:
            speed = min(speed, self.creep_mm_s)
        return min(speed, max(target_offset.along_mm / self.approach_s, self.min_speed_mm_s))

    def angle_rad(self, target_offset: TargetOffset, task: Task, angle_rad: float, dt_s: float) -> float:
        """Return the insertion angle to order next, rad: towards the target, as seen from the entry.

        The needle turns about its entry. The angle changes only while the tip is in view, and not near the target.
        """
        if not self.in_view(target_offset) or target_offset.along_mm < AIM_FROM_MM:
            return angle_rad
        lever_mm = max(target_offset.depth_mm, 0.0) + target_offset.along_mm
        wanted = target_offset.angle_rad + self.turn_gain * math.atan2(target_offset.across_mm, lever_mm)
        wanted = min(max(wanted, task.angle_rad - self.max_turn_rad), task.angle_rad + self.max_turn_rad)
        most = self.max_turn_rad_s * dt_s
        return angle_rad + min(max(wanted - angle_rad, -most), most)

    def probe_mm_s(self, speed_mm_s: float, robot_state: RobotState, task: Task) -> float:
        """Return the speed of the probe along the image, mm/s. It follows the needle, so that the tip stays in view."""
        if task.technique != "in-plane-moving":
            return 0.0
        speed = side(task) * self.probe_fraction * speed_mm_s * math.cos(robot_state.insertion_angle_rad)
        far = side(task) * robot_state.probe_mm[0] >= self.max_probe_mm
        return 0.0 if far and speed_mm_s > 0 else speed
