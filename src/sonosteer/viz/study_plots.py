"""Figures 4 to 6 of Paper T from our own numbers, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from sonosteer.viz.plots import AMBER, BLUE, GREEN, GREY, RED, STYLE, _figure, _svg

F64 = NDArray[np.float64]


def box_plot(e_n: Mapping[str, F64], theirs: Mapping[str, tuple[float, float]]) -> str:
    """Fig. 4: box and whiskers (minimum to maximum) of e_n; theirs: mean and SD of the paper as a grey bar."""
    with mpl.rc_context(STYLE):
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
                axis.plot([i + 0.38] * 2, [mean - sd, mean + sd], color=GREY, lw=3, solid_capstyle="butt")
                axis.plot(i + 0.38, mean, "o", ms=3.5, color="#555")
        axis.set_xticks(range(1, len(names) + 1), names, rotation=35, ha="right")
        axis.set(ylabel="e_n (mm)", title="Error along the needle: ours (boxes), the paper's mean and SD (grey)")
        axis.set_yscale("symlog", linthresh=5)
        axis.set_yticks([-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40], [-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40])
        return _svg(figure)


def density(curves: Mapping[str, tuple[F64, F64]], inside: Mapping[str, float]) -> str:
    """Fig. 5: Parzen densities of e_n between -5 and 5 mm; inside: share of the frames in that range."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1, 1, 3.0)
        axis = axes[0, 0]
        for (name, (x, y)), colour in zip(curves.items(), (GREY, AMBER, BLUE, GREEN), strict=False):
            axis.plot(x, y, color=colour, lw=1.5, label=f"{name} ({100 * inside[name]:.1f} % shown)")
        axis.set(xlabel="e_n (mm)", ylabel="density (1/mm)", title="Distribution of the error along the needle")
        axis.set_xlim(-5, 5)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=8)
        return _svg(figure)


def angle_by_length(length_mm: F64, e_theta: F64, centres: Sequence[float], mean: F64, sd: F64, said: str) -> str:
    """Fig. 6: e_theta against visible length; mean and mean +- SD in bins of 5 mm."""
    with mpl.rc_context(STYLE):
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
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1, 1, 3.0, width=4.2)
        axis = axes[0, 0]
        axis.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        for (name, shares), colour in zip(ours.items(), (BLUE, GREEN, AMBER, RED), strict=False):
            axis.plot(claimed, shares, "o-", ms=4, color=colour, label=name)
        axis.set(xlabel="claimed", ylabel="found", title="Truth inside the claimed ellipse")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.set_aspect("equal")
        axis.legend(fontsize=8)
        return _svg(figure)


def tracking_curves(curves: Mapping[str, tuple[F64, F64, F64]]) -> str:
    """Success and precision plots. curves: name -> (success at 21 overlaps, distances in mm, share within them)."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1, 2, 3.6)
        left, right = axes[0, 0], axes[0, 1]
        colours = mpl.colormaps["tab10"]
        for i, (name, (success, at_mm, within)) in enumerate(curves.items()):
            bold = {"lw": 2.4, "zorder": 5} if name.startswith("vla") else {"lw": 1.2}
            style = {"color": colours(i % 10), "ls": "-" if i < 10 else "--", **bold}
            left.plot(np.linspace(0, 1, len(success)), success, label=f"{name} ({100 * success.mean():.1f})", **style)
            right.plot(at_mm, within, label=name, **style)
        left.set(xlabel="overlap threshold", ylabel="share of frames", title="Success (AUC)", xlim=(0, 1), ylim=(0, 1))
        right.set(xlabel="error threshold (mm)", title="Precision", xlim=(0, at_mm[-1]), ylim=(0, 1))
        left.legend(fontsize=7, loc="lower left")
        return _svg(figure)
