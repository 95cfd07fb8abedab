"""Figures as SVG text. Only this room uses matplotlib, without pyplot and without global state."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sonosteer.metrics.tip_error import TipErrors
from sonosteer.recording.tips import TipRow

GREEN, AMBER, RED, BLUE, MID_GREY = "#009e73", "#e69f00", "#d55e00", "#0072b2", "#8a8f98"
PLOT_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.7,
    "axes.edgecolor": "#9aa0a8",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sonosteer",
}


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element that scales with its page."""
    out = io.StringIO()
    fixed = figure.get_layout_engine() is None  # then nothing has to be drawn to know how large it is
    figure.savefig(out, format="svg", metadata={"Date": None}, bbox_inches=None if fixed else "tight")
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return re.sub(r' xmlns:?\w*="[^"]*"', "", text).replace("<svg", '<svg role="img"', 1).replace("xlink:href", "href")


def standalone(svg: str) -> str:
    """The figure as a file of its own."""
    return svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)


def _figure(rows: int, columns: int, height: float, width: float = 8.6) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _pair(height: float) -> tuple[Figure, Any, Any]:
    """A figure with two axes side by side, for `_fit` to place."""
    figure = Figure(figsize=(8.6, height))
    left, right = figure.subplots(1, 2)
    return figure, left, right


def _fit(figure: Figure, axes: Sequence[Any], *, above_pt: float = 0.0, behind_pt: float = 0.0) -> None:
    """Place axes side by side with room for what stands around them, by the length of its text.

    matplotlib's layouts draw a figure three times for that, which took half of the time of a short clip. above_pt,
    behind_pt: further room above all axes, and at the right of the last, points.
    """
    width, height = (72.0 * float(v) for v in figure.get_size_inches())
    before = [_room_pt(axis) for axis in axes]
    inner = (width - sum(before) - 12.0 * len(axes) - behind_pt) / len(axes)
    x = 0.0
    for axis, room in zip(axes, before, strict=True):
        x += room
        axis.set_position((x / width, 36.0 / height, inner / width, (height - 56.0 - above_pt) / height))
        x += inner + 12.0


def _room_pt(axis: Any) -> float:
    """Room at the left of axes for the labels of their ticks and their own, points."""
    low, high = axis.get_ylim()
    ticks = [v for v in axis.yaxis.get_major_locator()() if min(low, high) <= v <= max(low, high)]
    longest = max(map(len, axis.yaxis.get_major_formatter().format_ticks(ticks)), default=0)
    return 10.0 + 5.6 * longest + (16.0 if axis.get_ylabel() else 0.0)


def _log_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis whose limits are set: at 1, 2 and 5, over many decades at 1 only."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300.0 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def tip_path(tips: Sequence[TipRow], errors: TipErrors | None, truth: Sequence[tuple[float, float, float]]) -> str:
    """Tip in the image (mm, px without a scale) and both coordinates over time. Truth as (time_s, x, y)."""
    with mpl.rc_context(PLOT_STYLE):
        figure, path, over = _pair(3.4)
        unit = "mm" if any(r.tip_mm is not None for r in tips) else "px"
        seen = [(r, at) for r in tips if (at := r.tip_mm if unit == "mm" else r.tip_px) is not None]
        x = np.array([at[0] for _, at in seen])
        y = np.array([at[1] for _, at in seen])
        t = np.array([r.time_s for r, _ in seen])
        if truth:
            T = np.array(truth)
            path.plot(T[:, 1], T[:, 2], color=BLUE, lw=4, alpha=0.3, label="truth", solid_capstyle="round")
            over.plot(T[:, 0], T[:, 1], color=BLUE, lw=4, alpha=0.3)
            over.plot(T[:, 0], T[:, 2], color=BLUE, lw=4, alpha=0.3)
        for state, colour in (("tracking", GREEN), ("coasting", AMBER)):
            on = np.array([r.state == state for r, _ in seen], bool)
            if on.any():
                path.plot(x[on], y[on], ".", ms=3, color=colour, label=state)
                over.plot(t[on], x[on], ".", ms=2.5, color=colour)
                over.plot(t[on], y[on], ".", ms=2.5, color=colour)
        _shade_lost(over, tips)
        path.set(xlabel=f"x ({unit})", ylabel=f"depth in the image, y ({unit})", title="Path of the tip")
        path.invert_yaxis()
        path.set_aspect("equal", adjustable="datalim")
        over.set(xlabel="time (s)", ylabel=unit, title="x and y over time")
        if len(t):
            over.annotate("x", (t[-1], x[-1]), textcoords="offset points", xytext=(5, 0))
            over.annotate("y", (t[-1], y[-1]), textcoords="offset points", xytext=(5, 0))
            path.legend(fontsize=8)
        _fit(figure, (path, over))
        return _svg(figure)


def _shade_lost(axis: Any, tips: Sequence[TipRow]) -> None:
    times = [r.time_s for r in tips]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.05
    start: float | None = None
    for row in [*tips, None]:
        lost = row is not None and row.state == "lost"
        if lost and row is not None and start is None:
            start = row.time_s
        if not lost and start is not None:
            end = row.time_s if row is not None else times[-1] + step
            axis.axvspan(start, end, color=RED, alpha=0.10, lw=0)
            start = None


def error_over_time(tips: Sequence[TipRow], e: TipErrors) -> str:
    """Errors along and across against truth with the 95 % band that the tracker claims, and their spread."""
    with mpl.rc_context(PLOT_STYLE):
        figure, over, spread = _pair(3.0)
        along, across = (e.along_mm, e.across_mm)
        if along is None or across is None:
            along, across = e.along_px, e.across_px
        unit = "px" if e.along_mm is None else "mm"
        sd = {r.frame: r.sd_along_mm if unit == "mm" else r.sd_along_px for r in tips}
        band = 1.96 * np.array([sd[int(f)] or 0.0 for f in e.frame])
        if band.any():
            over.fill_between(e.time_s, -band, band, color=MID_GREY, alpha=0.25, lw=0, label="claimed 95 %, along")
        over.plot(e.time_s, along, color=BLUE, lw=1.2, label="along the needle")
        over.plot(e.time_s, across, color=AMBER, lw=1.2, label="across")
        _shade_lost(over, tips)
        over.axhline(0, color="#555", lw=0.6)
        over.set(xlabel="time (s)", ylabel=f"error ({unit})", title="Error against truth")
        over.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.06))
        d = np.sort(np.hypot(along, across))
        if len(d):
            spread.plot(d, np.arange(1, len(d) + 1) / len(d) * 100, color=GREEN, lw=1.6, drawstyle="steps-post")
            for p in (50, 95):
                v = float(np.percentile(d, p))
                spread.plot([v, v, 0], [0, p, p], color=MID_GREY, lw=0.7, ls=":")
                spread.annotate(f"{v:.2f} {unit}", (v, p), textcoords="offset points", xytext=(4, -9), fontsize=8)
        spread.set(xlabel=f"tip error ({unit})", ylabel="frames with at most this error (%)", title="Spread")
        spread.set_xlim(left=0)
        spread.set_ylim(0, 102)
        _fit(figure, (over, spread), above_pt=14.0)
        return _svg(figure)


def angle_and_confidence(tips: Sequence[TipRow]) -> str:
    """Angle, claimed standard deviations and confidence over time."""
    with mpl.rc_context(PLOT_STYLE):
        figure, angle, doubt = _pair(2.6)
        seen = [r for r in tips if r.angle_deg is not None]
        t = [r.time_s for r in seen]
        angle.plot(t, [r.angle_deg for r in seen], color=GREEN, lw=1.3)
        angle.set(xlabel="time (s)", ylabel="degrees", title="Angle, entry to tip")
        in_mm = any(r.sd_along_mm is not None for r in seen)
        unit = "mm" if in_mm else "px"
        for way, colour in (("along", BLUE), ("across", AMBER)):
            sds = [_or_nan(getattr(r, f"sd_{way}_{unit}")) for r in seen]
            doubt.plot(t, sds, color=colour, lw=1.3, label=f"sd {way} ({unit})")
        sure = doubt if in_mm else _second_scale(doubt, "confidence")
        sure.plot(t, [_or_nan(r.confidence) for r in seen], color=GREEN, lw=1.3, label="confidence")
        doubt.set(xlabel="time (s)", title="What the tracker says of itself")
        doubt.set_ylim(bottom=0)
        sure.set_ylim(bottom=0)
        lines = [*doubt.get_lines(), *(sure.get_lines() if sure is not doubt else ())]
        doubt.legend(lines, [line.get_label() for line in lines], fontsize=8)
        for axis in (angle, doubt):
            _shade_lost(axis, tips)
        _fit(figure, (angle, doubt), behind_pt=0.0 if sure is doubt else 42.0)
        return _svg(figure)


def _second_scale(axis: Any, label: str) -> Any:
    """A scale of its own at the right, for what another unit would flatten."""
    second = axis.twinx()
    second.grid(visible=False)
    second.set_ylabel(label)
    return second


def _or_nan(value: float | None) -> float:
    """What a plot leaves out."""
    return float("nan") if value is None else value


def latency(times_ms: Mapping[str, Sequence[float]]) -> str:
    """Time per frame of each stage over the run, and its percentiles."""
    with mpl.rc_context(PLOT_STYLE):
        figure, over, bars = _pair(2.6)
        colours = dict(zip(times_ms, (BLUE, GREEN, AMBER, MID_GREY), strict=False))
        for stage, values in times_ms.items():
            over.plot(values, lw=0.8, color=colours[stage], label=stage)
        over.set(xlabel="frame", ylabel="ms", title="Time per frame")
        over.set_yscale("log")
        _log_ticks(over.yaxis)
        over.legend(fontsize=8)
        for i, (stage, values) in enumerate(times_ms.items()):
            q = np.percentile(values, [50, 95, 99, 100])
            bars.barh([i + 0.24, i + 0.08, i - 0.08, i - 0.24], q, 0.15, color=colours[stage])
            for p, v, dy in zip(("median", "95 %", "99 %", "max"), q, (0.24, 0.08, -0.08, -0.24), strict=True):
                bars.annotate(f" {p} {v:.2f}", (v, i + dy), va="center", fontsize=7)
        bars.set_yticks(range(len(times_ms)), list(times_ms))
        bars.set(xlabel="ms", title="Percentiles")
        bars.set_xscale("log")
        bars.set_xlim(right=bars.get_xlim()[1] * 8)
        _log_ticks(bars.xaxis)
        bars.grid(visible=False, axis="y")
        _fit(figure, (over, bars))
        return _svg(figure)
