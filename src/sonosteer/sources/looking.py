"""Looks at a live source for a few seconds and says what it sees: for `sonosteer doctor`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from sonosteer.core.types import Frame
from sonosteer.sources.igtlink.source import OpenIGTLinkSource
from sonosteer.sources.live_video import LiveVideo

WAIT_S = 0.1
FEW = 3  # chosen: fewer pictures tell no rate


def look_at(where: str, seconds: float, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Connect to `igtl://...` or `video:...` and watch for so many seconds.

    Returns what was seen, as JSON can say it. Raises InputError if nothing can be had there.
    """
    source: OpenIGTLinkSource | LiveVideo
    if where.startswith("igtl:"):
        source = OpenIGTLinkSource(where, orientation="MF")  # pictures are looked at as they come
    else:
        source = LiveVideo(where.removeprefix("video:"))
    try:
        return _seen(source, seconds, progress)
    finally:
        source.close()


def _seen(source: OpenIGTLinkSource | LiveVideo, seconds: float, progress: Callable[[int], None]) -> dict[str, Any]:
    began_s = source.clock.now_s()
    received = source.counts().received
    ages_s: list[float] = []
    last: Frame | None = None
    while source.clock.now_s() < began_s + seconds:
        frame = source.next_frame(WAIT_S)
        if frame is not None:
            ages_s.append(source.clock.now_s() - frame.time_s)
            last = frame
            progress(len(ages_s))
    took_s = source.clock.now_s() - began_s
    counts = source.counts()
    came = counts.received - received
    spacing = source.info.spacing
    said: dict[str, Any] = {
        "source": source.info.name,
        "size_px": list(source.info.size_px),
        "pixels": None if last is None else f"{last.pixels.dtype}, {'colour' if last.pixels.ndim == 3 else 'grey'}",
        "spacing_mm": None if spacing is None else [spacing.x_mm, spacing.y_mm],
        "rate_hz": came / took_s if came >= FEW else None,
        "age_median_ms": 1e3 * statistics.median(ages_s) if ages_s else None,
        **source.lag(),
        **counts.to_summary(),
        "complaint": source.complaint(),
        "notes": list(source.info.notes),
    }
    if isinstance(source, OpenIGTLinkSource):
        said |= {
            "header_versions": source.header_versions,
            "orientation": source.said_orientation,
            "tracked": last is not None and last.T_world_image is not None,
            "transforms_age_s": source.poses_age_s(),
            "metadata": source.metadata,
        }
    return said
