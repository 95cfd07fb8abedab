from .branches import ControlBranch as ControlBranch
from .branches import PolicyBranch as PolicyBranch
from .branches import TrackingBranch as TrackingBranch
from .button import Button as Button
from .executor import run_trials as run_trials
from .insertion import Pace as Pace
from .insertion import insert as insert
from .live import insert_live as insert_live
from .replay import Replay as Replay
from .tracking import track_frames as track_frames

__all__ = [
    "Button",
    "ControlBranch",
    "Pace",
    "PolicyBranch",
    "Replay",
    "TrackingBranch",
    "insert",
    "insert_live",
    "run_trials",
    "track_frames",
]
