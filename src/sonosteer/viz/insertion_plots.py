"""Figures of robotic insertions as SVG text: speed and visibility (Zhang et al. 2026, Fig. 5), and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.success import HIT_MM
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg


def speed_and_visibility(rows: F64, error_mm: F64, title: str, *, known: str = "true") -> str:
    """One insertion over time. rows: as `ControlRow`. error_mm: (n, 2) time, distance of tip and target.

    known: by what that distance is known, true or as tracked.
    """
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(2, 1, 4.4)
        top, low = axes[:, 0]
        time_s = rows[:, 0]
        top.plot(time_s, rows[:, 3], color=MID_GREY, lw=0.9, label="ordered")
        top.plot(time_s, rows[:, 2], color=BLUE, lw=1.6, label="insertion speed")
        top.set(ylabel="mm/s", xlim=(0, time_s[-1] if len(time_s) else 1), title=title)
        _shade(top, rows)
        _shade(low, rows)
        seen = top.twinx()
        seen.plot(time_s, rows[:, 4], color=AMBER, lw=1.2, label="tip visibility")
        seen.set(ylabel="visibility", ylim=(-0.02, 1.05))
        seen.spines["right"].set_visible(True)
        handles = [*top.get_lines(), *seen.get_lines()]
        top.legend(
            handles,
            [h.get_label() for h in handles],
            fontsize=8,
            ncols=3,
            loc="lower right",
            bbox_to_anchor=(1, 1.0),
            borderaxespad=0.2,
        )
        low.plot(error_mm[:, 0], error_mm[:, 1], color=GREEN, lw=1.6, label=f"tip to target, {known}")
        low.axhline(HIT_MM, color=MID_GREY, lw=0.8, ls="--")
        low.set(xlabel="time (s), shaded: held by the gate", ylabel="mm", ylim=(0, None), xlim=top.get_xlim())
        low.legend(fontsize=8, loc="upper right")
        return _svg(figure)


def _shade(axis: object, rows: F64) -> None:
    """Where nothing was cleared."""
    held = np.concatenate([[0.0], rows[:, 6], [0.0]])
    edges = np.flatnonzero(np.diff(held))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        end = min(b, len(rows) - 1)
        axis.axvspan(rows[a, 0], rows[end, 0], color=RED, alpha=0.08, lw=0)  # type: ignore[attr-defined]


def success_rates(rates: Mapping[str, tuple[float, float, float]], theirs: Mapping[str, float], title: str) -> str:
    """Success rate with its interval per method, in percent. theirs: the paper's, where it has one."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 0.9 + 0.34 * len(rates))
        axis = axes[0, 0]
        names = list(rates)
        for i, name in enumerate(names):
            value, low, high = rates[name]
            axis.plot([low, high], [i, i], color=BLUE, lw=2.2, solid_capstyle="butt")
            axis.plot([value], [i], "o", color=BLUE, ms=6)
            if name in theirs:
                axis.plot([theirs[name]], [i], "D", color=AMBER, ms=5, label="the paper's, on its own phantoms")
        axis.set_yticks(range(len(names)), names)
        axis.set(xlim=(0, 103), ylim=(len(names) - 0.5, -0.5), xlabel="success (%), 95 % Wilson interval", title=title)
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            axis.legend(handles[:1], labels[:1], fontsize=8, loc="lower left")
        return _svg(figure)


def times(per_method: Mapping[str, Sequence[float]]) -> str:
    """How long the successes took, a box a method."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 0.9 + 0.34 * len(per_method))
        axis = axes[0, 0]
        axis.boxplot(list(per_method.values()), orientation="horizontal", showfliers=True, widths=0.6)
        axis.set_yticks(range(1, len(per_method) + 1), list(per_method))
        axis.set(xlabel="time of the successes (s)", xlim=(0, None))
        axis.invert_yaxis()
        return _svg(figure)
