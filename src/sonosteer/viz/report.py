"""One self-contained HTML page about a run: verdict, figures, video with its timeline, pictures, plots, settings."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import TipErrors
from sonosteer.recording.tips import TipRow
from sonosteer.viz.page import Sheet, figure, folded, html_page, page_head, table, thumb, tiles, write_page
from sonosteer.viz.timeline import SCRIPT, timeline

STATES = ("tracking", "coasting", "lost")


@dataclass(frozen=True)
class Story:
    """What a report tells of a run."""

    title: str
    """Heading of the page."""
    summary: Mapping[str, Any]
    """What summary.json holds."""
    tips: Sequence[TipRow]
    """What the tracker said, a row a frame."""
    times_ms: Mapping[str, Sequence[float]]
    """Stage -> its time for each frame, ms."""
    sheet: Sheet
    """Captions and RGB pictures of the contact sheet, (rows, columns, 3) levels 0 to 255."""
    video: str | None
    """Name of the video file beside the page. None: there is none."""
    errors: TipErrors | None = None
    """Errors against the truth. None without a truth."""
    error_numbers: Mapping[str, Any] | None = None
    """Mean, spread and quantiles of the errors, by name. None without a truth."""
    truth: Sequence[tuple[float, float, float]] = ()
    """True tips: time in s, x and y in mm, in px where the scale is unknown. Empty without a truth."""
    stills: bool = False
    """Whether the pictures have nothing to do with each other."""
    advice: Sequence[str] = ()
    """What to try where little or nothing was found, a sentence each. Empty where all is well."""


def write_report(path: Path, story: Story) -> None:
    """Write the page. Raises InputError if the disk is full."""
    write_page(path, render(story))


def render(story: Story) -> str:
    """The page as text."""
    body = [
        *page_head(story.title, _verdict(story), _said_first(story)),
        _numbers(story),
        _advice(story.advice),
        *([_stream(story.summary)] if "received" in story.summary else []),
        *(_of_stills(story) if story.stills else _over_time(story)),
        "<h2>Settings and versions</h2>",
        folded("summary.json", json.dumps(story.summary, indent=2, default=str)),
    ]
    return html_page(story.title, body, "" if story.stills else SCRIPT)


def _said_first(story: Story) -> list[str]:
    running = [RUNNING] if story.summary.get("running") else []
    return [*running, *([SCALE_UNKNOWN] if _unscaled(story) else [])]


def _advice(advice: Sequence[str]) -> str:
    if not advice:
        return ""
    items = "".join(f"<li>{html.escape(each)}</li>" for each in advice)
    return f'<div class="advice"><b>What to try</b><ul>{items}</ul></div>'


def _over_time(story: Story) -> list[str]:
    """Video and timeline, pictures, then tip, error, angle, confidence and latency along a clip."""
    from sonosteer.viz import plots  # a page about stills does without matplotlib

    out = []
    if story.video is not None and story.sheet:
        video = f'<video controls muted loop preload="metadata" src="{html.escape(story.video)}"></video>'
        out.append(f'<h2 class="film">Overlay</h2>{video}')
    out.append(timeline(story.tips))
    if story.sheet:
        at = _sheet_frames(story)
        shown = "".join(thumb(item, i) for item, i in zip(story.sheet, at, strict=True))
        out.append(f'<h2>Contact sheet</h2><div class="sheet">{shown}</div>')
    found = any(r.tip_px is not None for r in story.tips)
    if found:
        out.append("<h2>Tip</h2>" + figure(plots.tip_path(story.tips, story.errors, story.truth), PATH_CAPTION))
    if story.errors is not None and len(story.errors.frame):
        out.append("<h2>Error</h2>" + figure(plots.error_over_time(story.tips, story.errors), ERROR_CAPTION))
        out.append(_error_table(story.error_numbers or {}))
    if any(r.confidence is not None or r.sd_along_mm is not None or r.sd_along_px is not None for r in story.tips):
        out.append("<h2>Angle and confidence</h2>" + figure(plots.angle_and_confidence(story.tips), SELF_CAPTION))
    if any(len(v) for v in story.times_ms.values()):
        taken = {stage: values for stage, values in story.times_ms.items() if len(values)}
        out.append("<h2>Latency</h2>" + figure(plots.latency(taken), TIME_CAPTION))
    return out


def _sheet_frames(story: Story) -> list[int]:
    """Number of each picture of the contact sheet in the video. They are spread over it."""
    n, pictures = len(story.tips), len(story.sheet)
    return [round(i * (n - 1) / max(pictures - 1, 1)) if n else 0 for i in range(pictures)]


def _of_stills(story: Story) -> list[str]:
    """A gallery of the pictures, a table with a row for each, and how long they took."""
    some = "" if len(story.sheet) == len(story.tips) else f"{len(story.sheet)} of {len(story.tips)} are shown here. "
    note = f"{some}All are in the folder overlay."
    out = [f'<h2>Pictures</h2><p class="soft">{note}</p><div class="sheet">{"".join(map(thumb, story.sheet))}</div>']
    if story.errors is not None and len(story.errors.frame):
        out.append("<h2>Error</h2>" + _error_table(story.error_numbers or {}))
    head = ("picture", "state", "x (px)", "y (px)", "angle (deg)", "confidence")
    return [*out, "<h2>Tips</h2>" + table(head, map(_still_line, story.tips)), _latency_table(story.times_ms)]


def _still_line(row: TipRow) -> tuple[str, ...]:
    x, y = row.tip_px or (None, None)
    numbers = ("-" if v is None else f"{v:.{n}f}" for v, n in ((x, 1), (y, 1), (row.angle_deg, 1), (row.confidence, 2)))
    return html.escape(row.name or str(row.frame)), row.state, *numbers


def _latency_table(times_ms: Mapping[str, Sequence[float]]) -> str:
    """Percentiles of each stage. Pictures that have nothing to do with each other need no figure of them over time."""
    taken = {stage: percentiles_ms(values) for stage, values in times_ms.items() if len(values)}
    if not taken:
        return ""
    head = ("stage", "median (ms)", "95 % (ms)", "99 % (ms)", "max (ms)")
    keys = ("median_ms", "p95_ms", "p99_ms", "max_ms")
    lines = [(html.escape(stage), *(f"{ms[key]:.2f}" for key in keys)) for stage, ms in taken.items()]
    return f'<h2>Latency</h2>{table(head, lines)}<p class="soft">{html.escape(TIME_CAPTION)}</p>'


def _unscaled(story: Story) -> bool:
    """True where positions are known in px only."""
    source = story.summary.get("source")
    return source is not None and source["spacing"] is None


SCALE_UNKNOWN = (
    "The scale of the pictures is unknown, so positions are in pixels. For millimetres, too, track again with "
    "--spacing-mm X[,Y], the millimetres per pixel."
)
RUNNING = (
    "This run goes on, or it was killed. Figures are made at its end. tips.csv and overlay.mp4 beside this page hold "
    "everything up to now."
)
PATH_CAPTION = "Green: tracking, amber: coasting, red shade: lost, wide blue: truth where there is one."
ERROR_CAPTION = "Positive along: the needle is inserted farther than estimated. Red shade: lost."
SELF_CAPTION = "Direction in degrees from image +x downwards; standard deviations as written to tips.csv."
TIME_CAPTION = (
    "read: decoding; track: the tracker alone; hand over: writing tips.csv and queueing for the overlay; age (live): "
    "from acquisition to the estimate."
)


def _verdict(story: Story) -> str:
    counts = story.summary["counts"]
    text = f"Of {counts['frames']} frames {counts['tracking']} are tracking, {counts['coasting']} coasting"
    text += f" (predicted, not seen) and {counts['lost']} lost"
    if counts["lost_because"]:
        why = max(counts["lost_because"], key=counts["lost_because"].get)
        text += f", mostly because: {why}"
    if counts.get("bad"):
        text += f". {counts['bad']} of the lost ones could not be read at all"
    if counts["dropped"]:
        text += f". {counts['dropped']} frames were dropped: {', '.join(counts['dropped_because'])}"
    numbers = story.error_numbers or {}
    unit = _unit(numbers)
    if unit is not None:
        text += f". Against the truth the tip is off by {numbers[f'mean_{unit}']:.2f} {unit} on average"
    return text + "."


def _unit(numbers: Mapping[str, Any]) -> str | None:
    """Unit of the errors: mm where they are known in it, else px. None where nothing was compared."""
    return next((unit for unit in ("mm", "px") if numbers.get(f"mean_{unit}") is not None), None)


def _numbers(story: Story) -> str:
    counts, numbers = story.summary["counts"], story.error_numbers or {}
    frames = max(1, counts["frames"])
    said = {"tracking": "tracking: the tip is seen", "coasting": "coasting: only predicted", "lost": "lost"}
    cells = [(f"{100 * counts[s] / frames:.0f} %", said[s], s) for s in STATES]
    unit = _unit(numbers)
    if unit is not None:
        cells += [
            (f"{numbers[f'mean_{unit}']:.2f} {unit}", "mean tip error", ""),
            (f"{numbers[f'p95_{unit}']:.2f} {unit}", "95 % below", ""),
        ]
    if numbers.get("coverage_95") is not None:
        cells.append((f"{100 * numbers['coverage_95']:.0f} %", "truth in the 95 % ellipse", ""))
    timing = story.summary.get("timing", {}).get("track", {})
    if timing:
        cells.append((f"{timing['median_ms']:.2f} ms", "to track a frame, median", ""))
        cells.append((f"{timing['p99_ms']:.2f} ms", "99 % of the frames below", ""))
    return tiles(cells)


def _stream(summary: Mapping[str, Any]) -> str:
    """What became of everything that a live source sent."""
    bad = summary["bad"]
    rows = [
        ("received", summary["received"]),
        ("seen by the tracker", summary["seen"]),
        ("overwritten by a newer one", summary["overwritten"]),
        *([(f"bad: {reason}", n) for reason, n in bad.items()] or [("bad", 0)]),
        *((f"not a picture: {what}", n) for what, n in summary["other"].items()),
        *((f"fault: {what}", n) for what, n in summary["faults"].items()),
        ("connections", summary["connections"]),
    ]
    if summary["lost_before"]:
        rows.append(("lost before they came here", summary["lost_before"]))
    cells = "".join(f"<tr><th>{html.escape(str(name))}</th><td>{count}</td></tr>" for name, count in rows)
    age = summary["timing"].get("age")
    told = "" if not age else f" Age when tracked: median {age['median_ms']:.0f} ms, 95 % {age['p95_ms']:.0f} ms."
    return f'<h2>Stream</h2><p class="soft">received = seen + overwritten + bad.{told}</p><table>{cells}</table>'


def _error_table(numbers: Mapping[str, Any]) -> str:
    unit = _unit(numbers) or "mm"
    names = {
        f"mean_{unit}": f"mean tip error ({unit})",
        f"mean_ci95_{unit}": f"its 95 % interval, block bootstrap ({unit})",
        f"sd_{unit}": f"standard deviation ({unit})",
        f"p95_{unit}": f"95th percentile ({unit})",
        f"max_{unit}": f"largest ({unit})",
        f"bias_along_{unit}": f"bias along the needle ({unit})",
        f"sd_along_{unit}": f"sd along ({unit})",
        f"sd_across_{unit}": f"sd across ({unit})",
        "angle_mean_deg": "angle, mean error (deg)",
        "angle_sd_deg": "angle, sd (deg)",
        "coverage_95": "coverage of the 95 % ellipse",
        "tracked": "frames compared",
        "lost": "frames with a needle and no estimate",
    }
    rows = [f"<tr><th>{label}</th><td>{_say(numbers[key])}</td></tr>" for key, label in names.items() if key in numbers]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def _say(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(_say(v) for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
