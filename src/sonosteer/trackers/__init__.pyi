from .auto import Auto as Auto
from .axial import Axial as Axial
from .df import DingFenster as DingFenster
from .mathiassen2017 import KFFeedback as KFFeedback
from .mathiassen2017 import Mathiassen2017 as Mathiassen2017
from .mathiassen2017 import PFFeedback as PFFeedback
from .table import TRACKERS as TRACKERS
from .table import make_tracker as make_tracker
from .vla import VlaTipTracker as VlaTipTracker

__all__ = [
    "TRACKERS",
    "Auto",
    "Axial",
    "DingFenster",
    "KFFeedback",
    "Mathiassen2017",
    "PFFeedback",
    "VlaTipTracker",
    "make_tracker",
]
