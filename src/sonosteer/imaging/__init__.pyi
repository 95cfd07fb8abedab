from .axis_search import Axis as Axis
from .axis_search import AxisSearch as AxisSearch
from .crops import crop as crop
from .line_search import Line as Line
from .line_search import find_lines as find_lines
from .line_search import view_of as view_of
from .scratch import Scratch as Scratch
from .tip_features import TipFeatures as TipFeatures
from .tip_features import TipProfile as TipProfile

__all__ = [
    "Axis",
    "AxisSearch",
    "Line",
    "Scratch",
    "TipFeatures",
    "TipProfile",
    "crop",
    "find_lines",
    "view_of",
]
