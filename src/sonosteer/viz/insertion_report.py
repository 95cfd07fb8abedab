"""One self-contained page about an insertion: outcome, video, pictures, speed and visibility over time, settings."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonosteer.viz.page import RgbPicture, figure, folded, html_page, page_head, table, thumb, tiles, write_page

SHADE_CAPTION = "Shaded: held by the gate. Visibility: the tracker's own word; the gate and the policy see no truth."
SHEET = "Green: the tip as tracked; yellow: target and 5 mm around it"


def write_insertion_report(
    path: Path,
    title: str,
    summary: Mapping[str, Any],
    svg: str,
    sheet: Sequence[tuple[str, RgbPicture]],
    *,
    truths: bool = True,
) -> None:
    """Write the page. truths: the true tip is drawn, too. Raises InputError if the disk is full."""
    said = f"{SHEET}; blue cross: the true tip." if truths else f"{SHEET}."
    video = '<h2 class="film">Overlay</h2><video controls muted loop preload="metadata" src="overlay.mp4"></video>'
    shown = "".join(map(thumb, sheet))
    body = [
        *page_head(title, _verdict(summary)),
        tiles(_cells(summary)),
        video if sheet else "",
        f'<h2>Pictures</h2><p class="soft">{said}</p><div class="sheet">{shown}</div>' if sheet else "",
        "<h2>Speed and visibility</h2>" + figure(svg, SHADE_CAPTION) if svg else "",
        "<h2>Frames, refusals and latency</h2>" + table(("what", "how many"), _lines(summary)),
        "<h2>Settings</h2>" + folded("summary.json", json.dumps(summary, indent=2)),
    ]
    write_page(path, html_page(title, body))


def _verdict(summary: Mapping[str, Any]) -> str:
    if summary["success"] is None:
        said = f"It ended so: {summary['reason']}. It ran on a live source, and nobody knows the true tip."
        return f"Dry run: nothing was sent to the robot. {said}" if summary["dry_run"] else said
    end = "The target was reached" if summary["success"] else "The target was not reached"
    return f"{end}: {summary['reason']}. It is a simulated insertion."


def _cells(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Large numbers. Those that nobody knows are left out."""
    said = (
        ("final_error_mm", ".1f", " mm", "from the target at the end"),
        ("seen_from_target_mm", ".1f", " mm", "from the target at the end, as tracked"),
        ("time_s", ".1f", " s", "time of the insertion"),
        ("tracking_hz", ".1f", " Hz", "frames tracked a second"),
        ("action_hz", ".1f", " Hz", "actions a second"),
    )
    known = [(summary[key], form, unit, what) for key, form, unit, what in said if summary.get(key) is not None]
    return [(f"{value:{form}}{unit}", what, "") for value, form, unit, what in known]


def _lines(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, Any]] = [
        (f"frames {k}", v) for k, v in summary["counts"].items() if not isinstance(v, Mapping)
    ]
    for kind, count in summary.get("source", {}).get("counts", {}).items():
        if isinstance(count, Mapping):
            rows += [(f"source, {kind}: {what}", n) for what, n in count.items()]
        else:
            rows.append((f"source: {kind}", count))
    rows += [(f"refused: {k}", v) for k, v in summary["refused"].items()]
    for stage, t in summary["timing"].items():
        taken = f"p50 {t['median_ms']:.1f}, p95 {t['p95_ms']:.1f}, p99 {t['p99_ms']:.1f}"
        rows.append((f"capture to {stage}, ms", taken))
    return [(html.escape(k), html.escape(str(v))) for k, v in rows]
