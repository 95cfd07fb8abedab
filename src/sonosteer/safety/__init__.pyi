from .cleared import Cleared as Cleared
from .cleared import genuine as genuine
from .gate import Gate as Gate
from .gate import GateState as GateState
from .gate_input import GateInput as GateInput
from .gate_input import Refused as Refused
from .limits import Limits as Limits
from .regions import Circle as Circle
from .regions import Polygon as Polygon
from .robot import Robot as Robot
from .watchdog import StreamWatch as StreamWatch

__all__ = [
    "Circle",
    "Cleared",
    "Gate",
    "GateInput",
    "GateState",
    "Limits",
    "Polygon",
    "Refused",
    "Robot",
    "StreamWatch",
    "genuine",
]
