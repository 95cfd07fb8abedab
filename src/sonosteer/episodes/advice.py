"""What to try where a tracker found little or nothing, from what was asked and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: chosen: where fewer frames than this fraction are tracking, a user wants to know what else there is
LITTLE = 0.2


def what_to_try(summary: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing to try, the likeliest first. Empty where enough was found, or nothing was tracked.

    summary: as summary.json of `track` holds it. What was given already is not named again.
    """
    counts, options, method = summary["counts"], summary.get("options", {}), str(summary["method"])
    frames = counts["frames"] - counts["bad"]
    if frames <= 0 or counts["tracking"] >= LITTLE * frames:
        return []
    stills = summary["source"]["kind"] in ("still", "stills")
    out = ["Look at the pictures: is a needle to be seen in them at all?"]
    if not options.get("crop"):
        out.append("Leave menus and rulers of the scanner out: --crop X,Y,W,H, the part with the ultrasound picture.")
    if not (options.get("enters") or options.get("angle_deg")):
        out.append("Say where the needle comes from: --enters left, right or top, or --angle-deg 30:40.")
    if not (options.get("start") or stills):
        out.append(
            "Click: --start X,Y, the tip in the first frame in pixels. --frames A: begins where it is in the picture."
        )
    if method == "auto":
        scaled = summary["source"]["spacing"] is not None
        more = "kf+f follows a faint needle if its side is known" if scaled else "kf+f needs --spacing-mm, too"
        out.append(f"Try another method: --method vla, or --method kf+f ({more}).")
    else:
        out.append("Try --method auto, which needs no hint.")
    return out
