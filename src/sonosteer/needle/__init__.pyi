__all__ = [
    "MATERIALS",
    "Bicycle",
    "FlexibleNeedle",
    "Mechanics",
    "NeedleGeometry",
    "NeedleState",
    "Nonholonomic",
    "NonholonomicNeedle",
    "Plan",
    "material",
    "respiratory_signal",
]

from .bicycle import Bicycle as Bicycle
from .bicycle import Plan as Plan
from .flexible import FlexibleNeedle as FlexibleNeedle
from .flexible import NeedleGeometry as NeedleGeometry
from .flexible import NeedleState as NeedleState
from .nonholonomic import Nonholonomic as Nonholonomic
from .nonholonomic import NonholonomicNeedle as NonholonomicNeedle
from .tissue import MATERIALS as MATERIALS
from .tissue import Mechanics as Mechanics
from .tissue import material as material
from .tissue import respiratory_signal as respiratory_signal
