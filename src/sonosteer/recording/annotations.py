"""What a recording draws on its pictures: tip and shaft as `foxglove.ImageAnnotations`, so that Foxglove shows them.

They say nothing that `/estimate` does not. A replay does not look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, TipEstimate, Track

LINE_STRIP = 3  # of foxglove.PointsAnnotation
HALF = 0.5  # px: our 0 is the centre of the first pixel, Foxglove's is its outer corner
TIP_PX, LINE_PX, FONT_PX = 10.0, 1.5, 14.0
TEXT_AT_PX = (8.0, 20.0)
CLEAR = {"r": 0.0, "g": 0.0, "b": 0.0, "a": 0.0}
SHADE = {"r": 0.0, "g": 0.0, "b": 0.0, "a": 0.6}
SEEN = {"r": 0.0, "g": 0.78, "b": 0.55, "a": 1.0}
PREDICTED = {"r": 0.94, "g": 0.67, "b": 0.12, "a": 1.0}
WHITE = {"r": 1.0, "g": 1.0, "b": 1.0, "a": 1.0}


def annotations_of(estimate: Estimate, stamp: dict[str, int]) -> dict[str, Any]:
    """Return the fields of foxglove.ImageAnnotations. A lost tip has a text only. stamp: sec and nsec of its time."""
    circles: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    if isinstance(estimate, TipEstimate):
        colour = SEEN if estimate.state is Track.TRACKING else PREDICTED
        text = estimate.state.value
        line = {"timestamp": stamp, "thickness": LINE_PX, "outline_color": colour, "fill_color": CLEAR}
        circles.append({**line, "position": _point(estimate.tip_px), "diameter": TIP_PX})
        shaft: Sequence[Point] = estimate.shaft_px or (estimate.entry_px, estimate.tip_px)
        lines.append({**line, "type": LINE_STRIP, "points": [_point(p) for p in shaft], "outline_colors": []})
    else:
        text = f"lost: {estimate.reason}"
    told = {"timestamp": stamp, "text": text, "position": _point(TEXT_AT_PX), "font_size": FONT_PX}
    return {
        "circles": circles,
        "points": lines,
        "texts": [{**told, "text_color": WHITE, "background_color": SHADE}],
    }


def _point(place_px: Point) -> dict[str, float]:
    return {"x": place_px[0] + HALF, "y": place_px[1] + HALF}
