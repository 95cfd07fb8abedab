from .kalman import Gaussian as Gaussian
from .kalman import KalmanTip as KalmanTip
from .kalman import Motion as Motion
from .maximum import Maximum as Maximum
from .particle import ParticleTip as ParticleTip
from .tip import STEP_S as STEP_S
from .tip import Belief as Belief
from .tip import Filter as Filter

__all__ = [
    "STEP_S",
    "Belief",
    "Filter",
    "Gaussian",
    "KalmanTip",
    "Maximum",
    "Motion",
    "ParticleTip",
]
