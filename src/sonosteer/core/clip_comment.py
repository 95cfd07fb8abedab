"""Writes scale and probe geometry as one line of text, into the comment of video files.

`sonosteer spacing_mm=0.1,0.1; probe=linear apex_px=255.5,0 width_mm=38 depth_mm=50`
"""

from __future__ import annotations

import math

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import ConvexProbe, LinearProbe, Probe, Spacing


def format_clip_comment(spacing: Spacing | None, probe: Probe | None) -> str:
    """Write scale and probe as one line."""
    text = "sonosteer"
    if spacing is not None:
        text += f" spacing_mm={spacing.x_mm!r},{spacing.y_mm!r}"
    if isinstance(probe, LinearProbe):
        text += f"; probe=linear apex_px={probe.apex_px[0]!r},{probe.apex_px[1]!r}"
        text += f" width_mm={probe.width_mm!r} depth_mm={probe.depth_mm!r}"
    elif isinstance(probe, ConvexProbe):
        text += f"; probe=convex apex_px={probe.apex_px[0]!r},{probe.apex_px[1]!r}"
        text += f" radius_mm={probe.radius_mm!r} fov_deg={math.degrees(probe.fov_rad)!r}"
        text += f" depth_mm={probe.depth_mm!r}"
    return text


def parse_clip_comment(text: str) -> tuple[Spacing | None, Probe | None]:
    """Read what `format_clip_comment` wrote. (None, None) for any other comment.

    Raises InputError if the text begins like ours but is damaged.
    """
    if not text.startswith("sonosteer"):
        return None, None
    words = text.replace(";", " ").split()[1:]
    pairs = dict(word.partition("=")[::2] for word in words)
    try:
        spacing = None
        if "spacing_mm" in pairs:
            x, y = pairs["spacing_mm"].split(",")
            spacing = Spacing(float(x), float(y))
        return spacing, _probe(pairs)
    except (KeyError, ValueError) as e:
        raise InputError(f"the comment in the clip is damaged ({str(e)[:60]}): {text[:80]!r}") from None


def _probe(pairs: dict[str, str]) -> Probe | None:
    if "probe" not in pairs:
        return None
    x, y = (_finite(v) for v in pairs["apex_px"].split(","))
    if pairs["probe"] == "linear":
        return LinearProbe((x, y), _finite(pairs["width_mm"]), _finite(pairs["depth_mm"]))
    fov = math.radians(_finite(pairs["fov_deg"]))
    return ConvexProbe((x, y), _finite(pairs["radius_mm"]), fov, _finite(pairs["depth_mm"]))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not finite")
    return value
