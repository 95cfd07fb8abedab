from .hold import HoldRobot as HoldRobot
from .simulated import SimulatedRobot as SimulatedRobot
from .simulated_rig import SimulatedRig as SimulatedRig
from .table import make_robot as make_robot

__all__ = [
    "HoldRobot",
    "SimulatedRig",
    "SimulatedRobot",
    "make_robot",
]
