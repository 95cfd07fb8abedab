__all__ = [
    "EventTriggered",
    "Limited",
    "MovePlanner",
    "Obstacles",
    "RollLimits",
    "TipMeasurements",
    "Transient",
    "combine_obstacles",
    "fit_needle",
    "make_steerer",
]

from .budget import Limited as Limited
from .budget import RollLimits as RollLimits
from .event_triggered import EventTriggered as EventTriggered
from .fit import TipMeasurements as TipMeasurements
from .fit import fit_needle as fit_needle
from .obstacles import Obstacles as Obstacles
from .obstacles import combine_obstacles as combine_obstacles
from .planner import MovePlanner as MovePlanner
from .table import make_steerer as make_steerer
from .transient import Transient as Transient
