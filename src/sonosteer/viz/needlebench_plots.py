"""Figures of needlebench: costs with their intervals, and risk against coverage, as SVG text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import matplotlib as mpl

from sonosteer.core.arrays import F64
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg
from sonosteer.viz.study_plots import PINK

BROWN = "#a6761d"
COLOURS = (BLUE, GREEN, AMBER, RED, PINK, BROWN)
ROW_IN = 0.2  # chosen: a row of text, inches
WIDTH_IN = 5.4  # chosen: so narrow that its letters can be read on a phone, inches
SIDE = 0.02  # chosen: so that a dot at an end is whole


def cost_plot(costs: Sequence[tuple[str, float, tuple[float, float] | None]], grey: Collection[str]) -> str:
    """Cost of each method as a dot with its interval, the best on top. grey: methods drawn in grey."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 0.8 + ROW_IN * len(costs), WIDTH_IN)
        axis = axes[0, 0]
        for row, (name, cost, interval) in enumerate(costs):
            colour = MID_GREY if name in grey else BLUE
            if interval is not None:
                axis.plot(interval, (row, row), color=colour, lw=2.2, alpha=0.55, solid_capstyle="round")
            axis.plot(cost, row, "o", ms=5, color=colour)
        axis.set_yticks(range(len(costs)), [name for name, _, _ in costs])
        axis.set_ylim(len(costs) - 0.4, -0.6)
        axis.set_xlim(-SIDE, 1.0 + SIDE)
        axis.grid(axis="y", visible=False)
        axis.set(xlabel="cost (0 always right, 1 always wrong)")
        return _svg(figure)


def risk_plot(curves: Mapping[str, tuple[F64, F64]], grey: Collection[str]) -> str:
    """Mean cost of the surest claims against how many there are. grey: methods drawn in grey."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.3, WIDTH_IN)
        axis = axes[0, 0]
        colours = iter(COLOURS * 4)
        dashes = iter(["-"] * len(COLOURS) + ["--"] * len(COLOURS) + [":"] * len(COLOURS))
        for name, (coverage, risk) in curves.items():
            style = {"color": MID_GREY, "ls": ":"} if name in grey else {"color": next(colours), "ls": next(dashes)}
            marker = "o" if len(coverage) < 3 else None
            axis.plot(coverage, risk, lw=1.7, label=name, marker=marker, ms=4, **style)
        axis.set_xlim(-SIDE, 1.0 + SIDE)
        axis.set_ylim(-SIDE, 1.0 + SIDE)
        axis.set(xlabel="coverage: claims, the surest first, of all frames", ylabel="risk: their mean cost")
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure)
