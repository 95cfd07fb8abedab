__all__ = [
    "KinematicNeedle",
    "check_controller",
    "check_policy",
    "check_robot",
    "check_source",
    "check_tracker",
    "simulated_clip",
]

from .controllers import check_controller as check_controller
from .kinematic_needle import KinematicNeedle as KinematicNeedle
from .policies import check_policy as check_policy
from .robots import check_robot as check_robot
from .sources import check_source as check_source
from .trackers import check_tracker as check_tracker
from .trackers import simulated_clip as simulated_clip
