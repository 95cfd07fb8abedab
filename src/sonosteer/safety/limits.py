"""Every number the gate and the watch of the stream hold others to.

SAFETY.md states them a second time, and a test compares. Millimetres, seconds, radians. All defaults are ours: for
simulated insertions of hand-sized needles into soft tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.types import Vector

_POSITIVE = (
    "forward_mm_s",
    "backward_mm_s",
    "acceleration_mm_s2",
    "angle_step_rad",
    "roll_rad_s",
    "probe_mm_s2",
    "action_age_s",
    "action_life_s",
    "order_s",
    "estimate_age_s",
    "robot_state_age_s",
    "tip_sd_mm",
    "jump_mm",
    "jump_hold_s",
    "heartbeat_s",
    "silent_s",
    "time_step_s",
)
_NOT_NEGATIVE = ("still_rad", "standstill_s", "ahead_s", "coasting_mm_s", "lost_back_mm_s", "recall_s")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of orders, of what they rest on, and of the stream. InputError for a bound that cannot be one.

    forward_mm_s, backward_mm_s: of the needle along itself. acceleration_mm_s2: an ordered speed grows no faster; it
    may fall as fast as it likes. depth_mm: (least, most) that an order may reach. angle_rad: (least, most) ordered
    below the horizontal. angle_step_rad: from where the needle points to where an order turns it. still_rad: a turn no
    larger than this is none (encoder noise). roll_rad_s: the set-point of the base's roll moves no faster.
    probe_mm_s, probe_mm_s2, probe_mm: speed, its growth, and travel either way, of (x, y, z).
    action_age_s: since the frame behind an action was acquired. action_life_s: from that frame to the action's expiry.
    order_s: a robot carries a cleared order on for no longer without a new one. standstill_s: from there until it
    stands. estimate_age_s, robot_state_age_s: of what the tracker and the encoders say. ahead_s: how far a time may
    lie in the future. tip_sd_mm: largest standard deviation of the tip with which the needle is pushed.
    coasting_mm_s: pushed no faster while the tip is only predicted. lost_back_mm_s: drawn back no faster while it is
    lost; 0: it is held. jump_mm: a tip that moves by this more than encoders and three sd explain has jumped, and
    everything holds for jump_hold_s. clearance: probability with which the tip stays out of each forbidden region, by
    each of its estimates of the last recall_s. heartbeat_s: longest time between two ticks. silent_s: without a
    frame. time_step_s: between what time stamps and arrivals say has passed. repeats: the same picture so often in a
    row is frozen. clean: frames without complaint until a stream is believed.
    """

    forward_mm_s: float = 25.0
    backward_mm_s: float = 25.0
    acceleration_mm_s2: float = 200.0
    depth_mm: tuple[float, float] = (0.0, 180.0)
    angle_rad: tuple[float, float] = (0.1, 1.4)
    angle_step_rad: float = 0.15
    still_rad: float = 0.005
    roll_rad_s: float = 6.0
    probe_mm_s: Vector = (25.0, 25.0, 5.0)
    probe_mm_s2: float = 200.0
    probe_mm: Vector = (60.0, 20.0, 5.0)
    action_age_s: float = 0.4
    action_life_s: float = 0.5
    order_s: float = 0.1
    standstill_s: float = 0.05
    estimate_age_s: float = 0.3
    robot_state_age_s: float = 0.2
    ahead_s: float = 0.02
    tip_sd_mm: float = 3.0
    coasting_mm_s: float = 5.0
    lost_back_mm_s: float = 0.0
    jump_mm: float = 3.0
    jump_hold_s: float = 0.5
    clearance: float = 0.99
    recall_s: float = 0.5
    heartbeat_s: float = 0.25
    silent_s: float = 0.3
    time_step_s: float = 0.15
    repeats: int = 5
    clean: int = 5

    def __post_init__(self) -> None:
        check_finite(self, "safety limits")
        check_range(self, "safety limits", 1e-6, 1e6, *_POSITIVE)
        check_range(self, "safety limits", 0.0, 1e6, *_NOT_NEGATIVE)
        check_range(self, "safety limits", 0.5, 1.0 - 1e-9, "clearance")
        check_range(self, "safety limits", 1, 1000, "clean")
        check_range(self, "safety limits", 2, 1000, "repeats")
        for name in ("depth_mm", "angle_rad"):
            low, high = getattr(self, name)
            if not low < high:
                raise InputError(
                    f"safety limits: {name} is ({low:g}, {high:g}); the first must be less than the second"
                )
        for name in ("probe_mm_s", "probe_mm"):
            if not min(getattr(self, name)) >= 0.0:
                raise InputError(f"safety limits: {name} is {getattr(self, name)}; none of it may be negative")
