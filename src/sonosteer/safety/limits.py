"""Every limit of the gate and of the watch over the stream.

SAFETY.md states them a second time, and a test compares. Units are millimetres, seconds and radians. All defaults are
chosen for simulated insertions of hand-sized needles into soft tissue.
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
    "growth_s",
    "sideways_mm_s",
    "encoder_mm",
    "encoder_rad",
    "encoder_roll_rad",
    "stuck_s",
    "astray_mm",
    "wiggle_turn_s",
)
_NOT_NEGATIVE = (
    "still_rad",
    "standstill_s",
    "ahead_s",
    "coasting_mm_s",
    "lost_back_mm_s",
    "recall_s",
    "speed_error_fraction",
    "unseen_mm_s",
    "unseen_mm",
    "wiggle_mm_s",
    "wiggle_mm",
    "wiggle_s",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of commands, of what they rest on, and of the stream. Raises InputError for a bound that cannot be one."""

    forward_mm_s: float = 25.0
    """Fastest push of the needle along itself, mm/s."""
    backward_mm_s: float = 25.0
    """Fastest withdrawal of the needle along itself, mm/s."""
    acceleration_mm_s2: float = 200.0
    """Fastest growth of an ordered speed of the needle, mm/s^2. It may fall as fast as it likes."""
    growth_s: float = 0.02
    """Longest time since the last tick that counts for growth of a speed, for turning and for rolling, s."""
    depth_mm: tuple[float, float] = (0.0, 180.0)
    """Smallest and largest inserted length that a command may reach, mm."""
    angle_rad: tuple[float, float] = (0.1, 1.4)
    """Smallest and largest ordered angle of the needle, rad below the horizontal."""
    angle_step_rad: float = 0.15
    """Largest turn from where the needle points to where a command turns it, rad."""
    sideways_mm_s: float = 25.0
    """Fastest motion of any point of the inserted needle sideways, mm/s. It limits the rate of turning."""
    still_rad: float = 0.005
    """Largest turn that counts as none and is not ordered, rad. It covers the encoders' noise."""
    roll_rad_s: float = 6.0
    """Fastest motion of the set-point of the base's roll, rad/s."""
    probe_mm_s: Vector = (25.0, 25.0, 5.0)
    """Fastest motion of the probe along x, y and z, mm/s."""
    probe_mm_s2: float = 200.0
    """Fastest growth of an ordered speed of the probe, mm/s^2."""
    probe_mm: Vector = (60.0, 20.0, 5.0)
    """Travel of the probe either way along x, y and z, mm."""
    action_age_s: float = 0.4
    """Longest time since the frame behind an action was acquired, s."""
    action_life_s: float = 0.5
    """Longest time from that frame to the command's expiry, s."""
    order_s: float = 0.1
    """How long a robot carries out a cleared command without a new one, s."""
    standstill_s: float = 0.05
    """How long it then takes until the robot stands, and how late it may carry out a command, s."""
    estimate_age_s: float = 0.3
    """Oldest usable estimate of the tip, s."""
    robot_state_age_s: float = 0.2
    """Oldest usable state of the robot, s."""
    ahead_s: float = 0.02
    """How far a time may lie in the future, s."""
    tip_sd_mm: float = 3.0
    """Largest standard deviation of the tip with which the needle is pushed, mm."""
    coasting_mm_s: float = 5.0
    """Fastest push while the tip is only predicted, mm/s."""
    lost_back_mm_s: float = 0.0
    """Fastest withdrawal while the tip is lost, mm/s. 0: the needle is held."""
    unseen_mm_s: float = 2.0
    """Fastest motion by hand along the travelled path while the tip is lost, mm/s."""
    unseen_mm: float = 3.0
    """Longest way by hand along the travelled path while the tip is lost, to and fro, mm."""
    wiggle_mm_s: float = 8.0
    """Fastest motion of a needle that is moved to and fro to be seen, mm/s."""
    wiggle_mm: float = 3.0
    """How far behind the deepest point that it reached a wiggle may take the needle, mm. It goes no deeper."""
    wiggle_turn_s: float = 0.15
    """Shortest time from one turn of a wiggle to the next, s."""
    wiggle_s: float = 4.0
    """Longest time of all wiggles at one place, s. The next place lies `wiggle_mm` deeper."""
    encoder_mm: float = 2.0
    """How far an encoder may differ from what was ordered, mm."""
    encoder_rad: float = 0.01
    """How far the encoder of the insertion angle may differ from what was ordered, rad."""
    encoder_roll_rad: float = 0.1
    """How far the encoder of the base's roll may differ from what was ordered, rad."""
    stuck_s: float = 0.3
    """Longest time in which an axis that is told to turn turns by less than its encoder may differ, s."""
    speed_error_fraction: float = 0.1
    """How far a robot's speed may differ from the ordered one, as a fraction of it, no unit."""
    astray_mm: float = 8.0
    """How far tip and depth encoder may differ in how far the needle went, beyond three sd, mm."""
    jump_mm: float = 3.0
    """How much further the tip may move than encoders and three sd explain, mm. Beyond that it has jumped."""
    jump_hold_s: float = 0.5
    """How long everything holds after a jump, s."""
    clearance: float = 0.99
    """Probability with which the tip stays out of each forbidden region, 0.5 to 1, no unit."""
    recall_s: float = 0.5
    """How far back every estimate must agree that the tip stays out, s."""
    heartbeat_s: float = 0.25
    """Longest time between two ticks, s."""
    silent_s: float = 0.3
    """Longest time without a frame, s."""
    time_step_s: float = 0.15
    """Largest difference between the time that stamps and arrivals say has passed, s."""
    repeats: int = 5
    """Number of pictures in a row, each shown before, that count as frozen."""
    remembered: int = 1000
    """Number of pictures that are remembered."""
    clean: int = 5
    """Number of frames without complaint until a stream is believed again."""

    def __post_init__(self) -> None:
        check_finite(self, "safety limits")
        check_range(self, "safety limits", 1e-6, 1e6, *_POSITIVE)
        check_range(self, "safety limits", 0.0, 1e6, *_NOT_NEGATIVE)
        check_range(self, "safety limits", 0.5, 1.0 - 1e-9, "clearance")
        check_range(self, "safety limits", 1, 1000, "clean")
        check_range(self, "safety limits", 2, 1000, "repeats")
        check_range(self, "safety limits", 1, 10_000, "remembered")
        for name in ("depth_mm", "angle_rad"):
            low, high = getattr(self, name)
            if not low < high:
                raise InputError(
                    f"safety limits: {name} is ({low:g}, {high:g}); the first must be less than the second"
                )
        for name in ("probe_mm_s", "probe_mm"):
            if not min(getattr(self, name)) >= 0.0:
                raise InputError(f"safety limits: {name} is {getattr(self, name)}; none of it may be negative")
