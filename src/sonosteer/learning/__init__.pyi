__all__ = [
    "NETS",
    "NETWORK_STAGES",
    "TRAINING_STAGES",
    "DetectorConfig",
    "Objective",
    "PolicyConfig",
    "Schedule",
    "TipNet",
    "TrackingConfig",
    "TrainOptions",
    "Trainable",
]

from .nets.dense_detector import DetectorConfig as DetectorConfig
from .nets.face import TipNet as TipNet
from .nets.policy_presets import PolicyConfig as PolicyConfig
from .nets.presets import TrackingConfig as TrackingConfig
from .nets.table import NETS as NETS
from .table import NETWORK_STAGES as NETWORK_STAGES
from .table import TRAINING_STAGES as TRAINING_STAGES
from .training.fit import Objective as Objective
from .training.fit import Schedule as Schedule
from .training.fit import Trainable as Trainable
from .training.options import TrainOptions as TrainOptions
