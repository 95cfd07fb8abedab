__all__ = [
    "Constant",
    "HoldPolicy",
    "OperatorModel",
    "Principle",
    "Visibility",
    "VlaPolicy",
    "make_policy",
    "order",
    "stay",
    "target_offset",
]

from .constant import Constant as Constant
from .geometry import target_offset as target_offset
from .hold import HoldPolicy as HoldPolicy
from .orders import order as order
from .orders import stay as stay
from .principle import Principle as Principle
from .simulated_person import OperatorModel as OperatorModel
from .table import make_policy as make_policy
from .visibility import Visibility as Visibility
from .vla import VlaPolicy as VlaPolicy
