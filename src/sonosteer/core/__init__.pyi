from .errors import SonosteerError as SonosteerError
from .types import Action as Action
from .types import Command as Command
from .types import Frame as Frame
from .types import Hint as Hint
from .types import Lost as Lost
from .types import Observation as Observation
from .types import RobotState as RobotState
from .types import Task as Task
from .types import TipEstimate as TipEstimate

__all__ = [
    "Action",
    "Command",
    "Frame",
    "Hint",
    "Lost",
    "Observation",
    "RobotState",
    "SonosteerError",
    "Task",
    "TipEstimate",
]
