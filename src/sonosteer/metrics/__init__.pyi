from .clip_scores import ClipScore as ClipScore
from .clip_scores import detection_curve as detection_curve
from .clip_scores import frame_costs as frame_costs
from .clip_scores import interval_by_clip as interval_by_clip
from .clip_scores import paired_interval as paired_interval
from .clip_scores import score_clip as score_clip
from .clip_scores import summarise_scores as summarise_scores
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
    "ClipScore",
    "TipErrors",
    "bootstrap",
    "detection_curve",
    "ellipse_coverage",
    "frame_costs",
    "interval_by_clip",
    "mcnemar",
    "overlap",
    "paired_interval",
    "percentiles_ms",
    "score_clip",
    "success_area",
    "summarise",
    "summarise_scores",
    "tip_errors",
    "wilson",
]
