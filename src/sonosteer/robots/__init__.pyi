from .dry_run import DryRun as DryRun
from .dry_run import UnsentOrder as UnsentOrder
from .hold import HoldRobot as HoldRobot
from .line_protocol import LineAnswer as LineAnswer
from .line_protocol import LineProtocol as LineProtocol
from .parts import Opening as Opening
from .parts import Part as Part
from .parts import PartFault as PartFault
from .parts import PartState as PartState
from .parts import StandingOrder as StandingOrder
from .rig import RigRobot as RigRobot
from .rig import open_rig as open_rig
from .rig_file import RigFile as RigFile
from .rig_file import read_rig as read_rig
from .simulated import SimulatedRobot as SimulatedRobot
from .simulated_rig import SimulatedRig as SimulatedRig
from .table import make_robot as make_robot

__all__ = [
    "DryRun",
    "HoldRobot",
    "LineAnswer",
    "LineProtocol",
    "Opening",
    "Part",
    "PartFault",
    "PartState",
    "RigFile",
    "RigRobot",
    "SimulatedRig",
    "SimulatedRobot",
    "StandingOrder",
    "UnsentOrder",
    "make_robot",
    "open_rig",
    "read_rig",
]
