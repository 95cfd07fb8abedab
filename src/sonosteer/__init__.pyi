__version__: str

__all__ = [
    "Action",
    "Command",
    "Comparison",
    "ConvexProbe",
    "Estimate",
    "Evaluation",
    "Frame",
    "Hint",
    "LinearProbe",
    "Lost",
    "Observation",
    "RobotState",
    "SimulatedClip",
    "SourceInfo",
    "Spacing",
    "Task",
    "TipEstimate",
    "Track",
    "TrackResult",
    "Truth",
    "__version__",
    "compare",
    "draw",
    "evaluate",
    "make_policy",
    "make_tracker",
    "open_source",
    "simulate",
    "testing",
    "track",
]

from . import testing as testing
from .core.geometry import ConvexProbe as ConvexProbe
from .core.geometry import LinearProbe as LinearProbe
from .core.geometry import Spacing as Spacing
from .core.protocols import SourceInfo as SourceInfo
from .core.types import Action as Action
from .core.types import Command as Command
from .core.types import Estimate as Estimate
from .core.types import Frame as Frame
from .core.types import Hint as Hint
from .core.types import Lost as Lost
from .core.types import Observation as Observation
from .core.types import RobotState as RobotState
from .core.types import Task as Task
from .core.types import TipEstimate as TipEstimate
from .core.types import Track as Track
from .core.types import Truth as Truth
from .episodes.comparing import Comparison as Comparison
from .episodes.comparing import compare as compare
from .episodes.tracking import Evaluation as Evaluation
from .episodes.tracking import SimulatedClip as SimulatedClip
from .episodes.tracking import TrackResult as TrackResult
from .episodes.tracking import draw as draw
from .episodes.tracking import evaluate as evaluate
from .episodes.tracking import simulate as simulate
from .episodes.tracking import track as track
from .policies.table import make_policy as make_policy
from .sources.opening import open_source as open_source
from .trackers.table import make_tracker as make_tracker
