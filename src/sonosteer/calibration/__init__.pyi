from .guide import GuideFit as GuideFit
from .guide import fit_guide as fit_guide
from .hand_eye import HandEyeFit as HandEyeFit
from .hand_eye import fit_hand_eye as fit_hand_eye
from .image import ImageFit as ImageFit
from .image import fit_points as fit_points
from .image import fit_wires as fit_wires
from .lag import LagFit as LagFit
from .lag import fit_lag as fit_lag
from .pivot import PivotFit as PivotFit
from .pivot import fit_pivot as fit_pivot
from .record import Calibration as Calibration
from .record import gate_covariance as gate_covariance
from .record import read_calibration as read_calibration
from .record import write_calibration as write_calibration

__all__ = [
    "Calibration",
    "GuideFit",
    "HandEyeFit",
    "ImageFit",
    "LagFit",
    "PivotFit",
    "fit_guide",
    "fit_hand_eye",
    "fit_lag",
    "fit_pivot",
    "fit_points",
    "fit_wires",
    "gate_covariance",
    "read_calibration",
    "write_calibration",
]
