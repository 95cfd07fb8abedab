"""Figures of a comparison as SVG text: success over threshold, errors by state, cost by clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np

from sonosteer.metrics.clip_scores import (
    CAP_FRACTION,
    CURVE_FRACTIONS,
    ClipScore,
    StateName,
    detection_curve,
    mean_cost,
    pooled_errors_px,
    relative_detection_curve,
)
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg
from sonosteer.viz.study_plots import PINK, SKY

COLOURS = (BLUE, AMBER, GREEN, RED, PINK, SKY, MID_GREY)
LINES = ("-", "--", ":")


def success_plot(scores: Mapping[str, Sequence[ClipScore]]) -> str:
    """Fraction of the tips to be seen that were found within a distance, a line a method. Empty without marks."""
    curves = {m: c for m, s in scores.items() if (c := relative_detection_curve(s)) is not None}
    if not curves:
        return ""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.6)
        axis = axes[0, 0]
        for i, (method, curve) in enumerate(curves.items()):
            way = {"color": COLOURS[i % len(COLOURS)], "ls": LINES[i // len(COLOURS) % len(LINES)]}
            axis.plot(100 * CAP_FRACTION * CURVE_FRACTIONS, 100 * curve, lw=1.7, label=method, **way)
        axis.axvline(100 * CAP_FRACTION, color=MID_GREY, lw=0.8, ls=":")
        axis.set(xlabel="error beyond the mark's uncertainty (% of the longer side)", ylabel="tips found (%)")
        axis.set(title="Success over threshold", ylim=(0, 101), xlim=(0, 200 * CAP_FRACTION))
        figure.legend(loc="outside right center", fontsize=8)
        return _svg(figure)


def error_plot(scores: Mapping[str, Sequence[ClipScore]]) -> str:
    """Median, quartiles, 5 to 95 % of the error of each method, tracking and coasting apart. Empty without errors."""
    ways: tuple[tuple[StateName, str, float], ...] = (("tracking", GREEN, -0.16), ("coasting", AMBER, 0.16))
    errors = {(m, state): pooled_errors_px(s, state) for m, s in scores.items() for state, _, _ in ways}
    if not any(len(e) for e in errors.values()):
        return ""
    names = list(scores)
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 1.2 + 0.42 * len(names))
        axis = axes[0, 0]
        for state, colour, shift in ways:
            named: str = state
            for i, m in enumerate(names):
                e = np.maximum(errors[m, state], 0.1)
                if not len(e):
                    continue
                q = np.percentile(e, [5, 25, 50, 75, 95])
                axis.plot(q[[0, 4]], [i + shift] * 2, color=colour, lw=1.2)
                axis.plot(q[[1, 3]], [i + shift] * 2, color=colour, lw=5, solid_capstyle="butt", label=named)
                axis.plot(q[2], i + shift, "|", color="#222222", ms=9, mew=1.6)
                named = "_" + state
        axis.set_xscale("log")
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="error (px)", ylim=(len(names) - 0.5, -0.5))
        axis.set_title("Error: median, quartiles, 5 to 95 %")
        figure.legend(loc="outside right center", fontsize=8)
        return _svg(figure)


def cost_by_clip(scores: Mapping[str, Sequence[ClipScore]]) -> str:
    """Mean cost of each method on each clip, a line a clip. Empty for fewer than two methods or without marks."""
    names = list(scores)
    costs = [[mean_cost([s]) for s in scores[m]] for m in names]
    lines = [line for line in zip(*costs, strict=True) if all(c is not None for c in line)]
    if len(names) < 2 or not lines:
        return ""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0)
        axis = axes[0, 0]
        for line in lines:
            axis.plot(range(len(names)), line, "o-", ms=3.5, lw=0.8, color=MID_GREY)
        middle = [float(np.mean([line[i] for line in lines])) for i in range(len(names))]
        axis.plot(range(len(names)), middle, "D", ms=7, color=BLUE, label="mean over clips")
        axis.set_xticks(range(len(names)), names)
        axis.set(ylabel="mean cost, 0 to 1", ylim=(-0.02, 1.02), title="Cost of each clip: a line is a clip")
        axis.legend(fontsize=8)
        return _svg(figure)


def detection_plot(score: ClipScore) -> str:
    """Fraction of the tips to be seen that were found within a distance in px. Empty without marks of such tips."""
    far = max(60.0, float(np.nanpercentile(score.beyond_px, 95)) if score.compared.any() else 0.0)
    at = np.linspace(0.0, min(far, 300.0), 121)
    curve = detection_curve([score], at)
    if curve is None:
        return ""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0)
        axis = axes[0, 0]
        axis.plot(at, 100 * curve, color=BLUE, lw=1.7)
        axis.set(
            xlabel="error beyond the mark's uncertainty (px)", ylabel="tips found (%)", title="Success over threshold"
        )
        axis.set(xlim=(0, at[-1]), ylim=(0, 101))
        return _svg(figure)
