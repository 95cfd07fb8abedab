__all__ = [
    "STUDIES",
    "Journal",
    "run_insertion_study",
    "run_needlebench",
    "run_obstacle_study",
    "run_steering_study",
    "run_tracking_study",
    "run_vla_tracking_study",
]

from .insertion.run import run_insertion_study as run_insertion_study
from .journal import Journal as Journal
from .needlebench.run import run_needlebench as run_needlebench
from .obstacles.run import run_obstacle_study as run_obstacle_study
from .steering.run import run_steering_study as run_steering_study
from .table import STUDIES as STUDIES
from .tracking.run import run_tracking_study as run_tracking_study
from .vla_tracking.run import run_vla_tracking_study as run_vla_tracking_study
