"""Figures 4 to 6 of Mathiassen et al. 2017 and curves of networks, from our own numbers, as SVG text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg

PINK, SKY = "#cc79a7", "#56b4e9"


def box_plot(e_n: Mapping[str, F64], theirs: Mapping[str, tuple[float, float]]) -> str:
    """Fig. 4: box and whiskers (minimum to maximum) of e_n. theirs: mean and SD of the paper as a grey bar."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.6)
        axis = axes[0, 0]
        names = list(e_n)
        axis.boxplot(
            [e_n[n] for n in names],
            whis=(0, 100),
            widths=0.5,
            patch_artist=True,
            boxprops={"facecolor": "#d7ebf7", "edgecolor": BLUE},
            medianprops={"color": RED, "linewidth": 1.4},
            whiskerprops={"color": BLUE},
            capprops={"color": BLUE},
        )
        for i, name in enumerate(names, start=1):
            if name in theirs:
                mean, sd = theirs[name]
                axis.plot([i + 0.38] * 2, [mean - sd, mean + sd], color=MID_GREY, lw=3, solid_capstyle="butt")
                axis.plot(i + 0.38, mean, "o", ms=3.5, color="#555")
        axis.set_xticks(range(1, len(names) + 1), names, rotation=35, ha="right")
        axis.set(ylabel="e_n (mm)", title="Error along the needle: ours (boxes), the paper's mean and SD (grey)")
        axis.set_yscale("symlog", linthresh=5)
        axis.set_yticks([-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40], [-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40])
        return _svg(figure)


def density(curves: Mapping[str, tuple[F64, F64]], inside: Mapping[str, float]) -> str:
    """Fig. 5: Parzen densities of e_n between -5 and 5 mm. inside: share of the frames in that range."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0)
        axis = axes[0, 0]
        for (name, (x, y)), colour in zip(curves.items(), (MID_GREY, AMBER, BLUE, GREEN), strict=False):
            axis.plot(x, y, color=colour, lw=1.5, label=f"{name} ({100 * inside[name]:.1f} % shown)")
        axis.set(xlabel="e_n (mm)", ylabel="density (1/mm)", title="Distribution of the error along the needle")
        axis.set_xlim(-5, 5)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
        return _svg(figure)


def angle_by_length(length_mm: F64, e_theta: F64, centres: Sequence[float], mean: F64, sd: F64, said: str) -> str:
    """Fig. 6: e_theta against visible length. Mean and mean +- SD in bins of 5 mm."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0)
        axis = axes[0, 0]
        axis.plot(length_mm, e_theta, ".", ms=2, color="#b9bec6")
        axis.plot(centres, mean, color="#222", lw=1.6, label="mean")
        axis.plot(centres, mean - sd, color="#222", lw=1.2, ls="--", label="mean ± SD")
        axis.plot(centres, mean + sd, color="#222", lw=1.2, ls="--")
        axis.set(xlabel="visible length of the needle (mm)", ylabel="e_theta (deg)", title=f"Angle, kf+f. {said}")
        axis.legend(fontsize=8)
        return _svg(figure)


def calibration(claimed: Sequence[float], ours: Mapping[str, Sequence[float]]) -> str:
    """How often the truth lies in the ellipse of a claimed probability."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0, width=4.2)
        axis = axes[0, 0]
        axis.plot([0, 1], [0, 1], color=MID_GREY, lw=1, ls=":")
        for (name, shares), colour in zip(ours.items(), (BLUE, GREEN, AMBER, RED), strict=False):
            axis.plot(claimed, shares, "o-", ms=4, color=colour, label=name)
        axis.set(xlabel="claimed", ylabel="found", title="Truth inside the claimed ellipse")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
        axis.legend(fontsize=8)
        return _svg(figure)


def reliability(stated: Mapping[str, F64], right: Mapping[str, F64], claims: Mapping[str, F64]) -> str:
    """Stated confidence against the fraction that was right, a point a bin, its area by the number of claims.

    All by name, (bins,) each. Bins without claims are NaN in `stated` and `right`.
    """
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.4, width=4.6)
        axis = axes[0, 0]
        axis.plot([0, 1], [0, 1], color=MID_GREY, lw=1, ls=":")
        for name, colour in zip(stated, (BLUE, AMBER, GREEN, RED), strict=False):
            known = claims[name] > 0
            size = 8 + 120 * claims[name][known] / max(claims[name].sum(), 1)
            axis.plot(stated[name][known], right[name][known], color=colour, lw=1.2, label=name)
            axis.scatter(stated[name][known], right[name][known], s=size, color=colour, alpha=0.7)
        axis.set(xlabel="stated confidence", ylabel="fraction right", title="Reliability", xlim=(0, 1), ylim=(0, 1.02))
        axis.set_aspect("equal")
        axis.legend(fontsize=8)
        return _svg(figure)


def error_curves(errors: Mapping[str, F64], marks: Sequence[float]) -> str:
    """Fraction of frames within an error, for each name. errors: percent of the longer side, infinite where lost."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.0, width=6.0)
        axis = axes[0, 0]
        at = np.linspace(0.0, 10.0, 101)
        for (name, found), colour in zip(errors.items(), (BLUE, AMBER, GREEN, RED), strict=False):
            if len(found):
                axis.plot(at, [100 * (found <= limit).mean() for limit in at], color=colour, lw=1.6, label=name)
        for mark in marks:
            axis.axvline(mark, color=MID_GREY, lw=0.8, ls=":")
        axis.set(xlabel="error (% of the longer side)", ylabel="frames within it (%)", title="Tips that can be seen")
        axis.set(xlim=(0, 10), ylim=(0, 100))
        axis.legend(fontsize=8)
        return _svg(figure)


def tracking_curves(curves: Mapping[str, tuple[F64, F64, F64]]) -> str:
    """Success and precision plots. curves: name -> (success at 21 overlaps, distances in mm, share within them)."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 2, 3.4)
        left, right = axes[0, 0], axes[0, 1]
        styles = {True: _styles((BLUE, "#222222"), 2.4), False: _styles((AMBER, GREEN, RED, PINK, SKY, MID_GREY), 1.3)}
        for name, (success, at_mm, within) in curves.items():
            style = next(styles[name.startswith("vla")])
            left.plot(np.linspace(0, 1, len(success)), success, label=f"{name} ({100 * success.mean():.1f})", **style)
            right.plot(at_mm, within, **style)
        left.set(xlabel="overlap threshold", ylabel="share of frames", title="Success (AUC)", xlim=(0, 1), ylim=(0, 1))
        right.set(xlabel="error threshold (mm)", title="Precision", xlim=(0, at_mm[-1]), ylim=(0, 1))
        figure.legend(loc="outside right center", fontsize=8)
        return _svg(figure)


def _styles(colours: Sequence[str], width: float) -> Iterator[dict[str, Any]]:
    """Colours that the colour-blind tell apart, then the same dashed, then dotted."""
    for dash in ("-", "--", ":"):
        for colour in colours:
            yield {"color": colour, "ls": dash, "lw": width, "zorder": 2 + width}
