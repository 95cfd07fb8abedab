"""One self-contained HTML page about a run: verdict, figures, contact sheet, settings. No script."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import TipErrors
from sonosteer.recording.tables import writing_failed
from sonosteer.recording.tips import TipRow

RgbPicture: TypeAlias = NDArray[np.uint8]
#: captions and RGB pictures, (rows, columns, 3) levels 0 to 255
Sheet: TypeAlias = Sequence[tuple[str, RgbPicture]]
PAGE_STYLE = (resources.files("sonosteer.viz") / "report.css").read_text()


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


def write_report(path: Path, story: Story) -> None:
    """Write the page. Raises InputError if the disk is full."""
    try:
        path.write_text(render(story), encoding="utf-8")
    except OSError as e:
        raise writing_failed(path, e, "the other results are kept") from None


def render(story: Story) -> str:
    """The page as text."""
    body = [
        f"<h1>{html.escape(story.title)}</h1>",
        f"<p>{html.escape(_verdict(story))}</p>",
        *([f"<p>{html.escape(RUNNING)}</p>"] if story.summary.get("running") else []),
        *([f"<p>{html.escape(SCALE_UNKNOWN)}</p>"] if _unscaled(story) else []),
        '<p class="soft">Research software, not a medical device: not for clinical decisions.</p>',
        _numbers(story),
    ]
    if story.video is not None and story.sheet:
        body.append(
            f'<h2 class="film">Overlay</h2><video controls muted loop src="{html.escape(story.video)}"></video>'
        )
    if "received" in story.summary:
        body.append(_stream(story.summary))
    body += _of_stills(story) if story.stills else _over_time(story)
    settings = html.escape(json.dumps(story.summary, indent=2, default=str))
    body.append(
        f"<h2>Settings and versions</h2><details><summary>summary.json</summary><pre>{settings}</pre></details>"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(story.title)}</title><style>{PAGE_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _over_time(story: Story) -> list[str]:
    """Tip, error, angle, confidence and latency along a clip, and its contact sheet."""
    from sonosteer.viz import plots  # a page about stills does without matplotlib

    out = []
    found = any(r.tip_px is not None for r in story.tips)
    if found:
        out.append("<h2>Tip</h2>" + figure(plots.tip_path(story.tips, story.errors, story.truth), PATH_CAPTION))
    if story.errors is not None and len(story.errors.frame):
        out.append("<h2>Error</h2>" + figure(plots.error_over_time(story.tips, story.errors), ERROR_CAPTION))
        out.append(_error_table(story.error_numbers or {}))
    if found:
        out.append("<h2>Angle and confidence</h2>" + figure(plots.angle_and_confidence(story.tips), SELF_CAPTION))
    if any(len(v) for v in story.times_ms.values()):
        out.append("<h2>Latency</h2>" + figure(plots.latency(story.times_ms), TIME_CAPTION))
    if story.sheet:
        out.append(f'<h2>Contact sheet</h2><div class="sheet">{"".join(map(thumb, story.sheet))}</div>')
    return out


def _of_stills(story: Story) -> list[str]:
    """A gallery of the pictures, a table with a row for each, and how long they took."""
    some = "" if len(story.sheet) == len(story.tips) else f"{len(story.sheet)} of {len(story.tips)} are shown here. "
    note = f"{some}All are in the folder overlay."
    out = [f'<h2>Pictures</h2><p class="soft">{note}</p><div class="sheet">{"".join(map(thumb, story.sheet))}</div>']
    if story.errors is not None and len(story.errors.frame):
        out.append("<h2>Error</h2>" + _error_table(story.error_numbers or {}))
    head = ("picture", "state", "x (px)", "y (px)", "angle (deg)", "confidence")
    lines = [f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>", *map(_still_line, story.tips)]
    return [*out, f"<h2>Tips</h2><table>{''.join(lines)}</table>", _latency_table(story.times_ms)]


def _still_line(row: TipRow) -> str:
    x, y = row.tip_px or (None, None)
    numbers = ("-" if v is None else f"{v:.{n}f}" for v, n in ((x, 1), (y, 1), (row.angle_deg, 1), (row.confidence, 2)))
    cells = (html.escape(row.name or str(row.frame)), row.state, *numbers)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _latency_table(times_ms: Mapping[str, Sequence[float]]) -> str:
    """Percentiles of each stage. Pictures that have nothing to do with each other need no figure of them over time."""
    taken = {stage: percentiles_ms(values) for stage, values in times_ms.items() if len(values)}
    if not taken:
        return ""
    head = ("stage", "median (ms)", "95 % (ms)", "99 % (ms)", "max (ms)")
    lines = [f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>"]
    for stage, ms in taken.items():
        cells = [html.escape(stage), *(f"{ms[key]:.2f}" for key in ("median_ms", "p95_ms", "p99_ms", "max_ms"))]
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f'<h2>Latency</h2><table>{"".join(lines)}</table><p class="soft">{html.escape(TIME_CAPTION)}</p>'


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
    n = counts["frames"]
    found = counts["tracking"] + counts["coasting"]
    text = f"{found} of {n} frames have a tip ({counts['coasting']} of them coasting), {counts['lost']} are lost"
    if counts["lost_because"]:
        why = max(counts["lost_because"], key=counts["lost_because"].get)
        text += f", mostly because: {why}"
    if counts.get("bad"):
        text += f". {counts['bad']} of the lost ones could not be read at all"
    if counts["dropped"]:  # of a live stream, its own account tells
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
    found = counts["tracking"] + counts["coasting"]
    cells = [(f"{100 * found / max(1, counts['frames']):.0f} %", "frames with a tip")]
    unit = _unit(numbers)
    if unit is not None:
        cells += [
            (f"{numbers[f'mean_{unit}']:.2f} {unit}", "mean tip error"),
            (f"{numbers[f'p95_{unit}']:.2f} {unit}", "95 % below"),
        ]
    if numbers.get("coverage_95") is not None:
        cells.append((f"{100 * numbers['coverage_95']:.0f} %", "truth in the 95 % ellipse"))
    timing = story.summary.get("timing", {}).get("track", {})
    if timing:
        cells.append((f"{timing['median_ms']:.2f} ms", "to track a frame, median"))
        cells.append((f"{timing['p99_ms']:.2f} ms", "99 % of the frames below"))
    return '<div class="numbers">' + "".join(f"<div><b>{a}</b><span>{b}</span></div>" for a, b in cells) + "</div>"


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
    return f"<table>{''.join(rows)}</table>"


def _say(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(_say(v) for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def figure(svg: str, caption: str) -> str:
    """A figure with its caption."""
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def thumb(item: tuple[str, RgbPicture]) -> str:
    """A small picture with its caption."""
    caption, picture = item
    k = min(1.0, 420 / picture.shape[1])
    small = cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    data = base64.b64encode(jpeg.tobytes()).decode()
    text = html.escape(caption)
    image = f'<img alt="overlay of {text}" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"
