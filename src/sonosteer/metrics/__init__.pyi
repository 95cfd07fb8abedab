from .latency import percentiles_ms as percentiles_ms
from .proportions import mcnemar as mcnemar
from .proportions import wilson as wilson
from .significance import ellipse_coverage as ellipse_coverage
from .success import bootstrap as bootstrap
from .success import overlap as overlap
from .success import success_area as success_area
from .tip_error import TipErrors as TipErrors
from .tip_error import summarise as summarise
from .tip_error import tip_errors as tip_errors

__all__ = [
    "TipErrors",
    "bootstrap",
    "ellipse_coverage",
    "mcnemar",
    "overlap",
    "percentiles_ms",
    "success_area",
    "summarise",
    "tip_errors",
    "wilson",
]
