"""Figures of steering as SVG text: paths with their control signals, plans and what can be reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg

CURVE_COLOURS = (BLUE, AMBER, GREEN, RED, MID_GREY, "#cc79a7", "#56b4e9")


def plot_insertion(
    path: F64, seen: F64, ordered: tuple[F64, F64], target_mm: tuple[float, float], depth_mm: float, title: str
) -> str:
    """One insertion. path, seen: (n, 3) depth, y, z in mm, true and measured. ordered: (depth, base roll in rad)."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(2, 1, 4.6)
        top, low = axes[:, 0]
        for i, (name, colour) in enumerate((("y", BLUE), ("z", AMBER)), start=1):
            top.plot(seen[:, 0], seen[:, i], ".", ms=2, color=colour, alpha=0.35)
            top.plot(path[:, 0], path[:, i], color=colour, lw=1.6, label=f"{name}, true (dots: as seen)")
            top.plot([depth_mm], [target_mm[i - 1]], "x", ms=8, mew=2, color=colour)
        top.axhline(0, color=MID_GREY, lw=0.8)
        reach = max(1.5, 1.1 * float(np.abs(path[:, 1:]).max(initial=0.0)), 1.1 * max(map(abs, target_mm)))
        top.set(ylabel="deflection (mm)", ylim=(-reach, reach), xlim=(0, 1.02 * depth_mm), title=title)
        top.legend(ncols=2, loc="lower left", fontsize=8)
        low.plot(ordered[0], np.degrees(ordered[1]), color=RED, lw=1.4)
        low.set(xlabel="inserted length (mm)", ylabel="base roll ordered (deg)", xlim=(0, 1.02 * depth_mm))
        return _svg(figure)


def plot_paths_per_tissue(paths: Mapping[str, Sequence[F64]], rolls: Mapping[str, Sequence[tuple[F64, F64]]]) -> str:
    """Fig. 9: y and z of every insertion and its control signal, a column a tissue."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(3, len(paths), 6.2)
        far = max((float(np.abs(p[:, 1:]).max()) for each in paths.values() for p in each if len(p)), default=0.0)
        limit = max(1.05 * far, 1.6)
        for column, tissue in enumerate(paths):
            for path in paths[tissue]:
                for row in (0, 1):
                    axes[row, column].plot(path[:, 0], path[:, 1 + row], color=BLUE, lw=0.8, alpha=0.7)
            for depth, roll in rolls[tissue]:
                axes[2, column].plot(depth, np.degrees(roll), color=RED, lw=0.8, alpha=0.7)
            axes[0, column].set_title(tissue)
            for row in (0, 1):
                axes[row, column].set_ylim(-limit, limit)
            axes[2, column].set_xlabel("inserted length (mm)")
        for row, what in enumerate(("y (mm)", "z (mm)", "base roll (deg)")):
            axes[row, 0].set_ylabel(what)
        return _svg(figure)


def plot_fit_score(depth_mm: F64, score: tuple[F64, F64], off: tuple[F64, F64]) -> str:
    """Fig. 7: (mean, SD) of the fit's score and of the fitted path's distance from the true one, against depth."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 2.8)
        axis = axes[0, 0]
        for (mean, sd), colour, name in (
            (score, AMBER, "L_fit: distance from the noisy sightings"),
            (off, BLUE, "distance from the true path"),
        ):
            axis.fill_between(depth_mm, mean - sd, mean + sd, color=colour, alpha=0.2)
            axis.plot(depth_mm, mean, color=colour, lw=1.6, label=name)
        axis.set(xlabel="inserted length (mm)", ylabel="mm", ylim=(0, None))
        axis.set_title("Genetic fit, mean and SD over the simulated insertions")
        axis.legend(fontsize=8)
        return _svg(figure)


def plot_regulation(curves: Mapping[str, F64], depth_mm: float) -> str:
    """Fig. 2: deflection along the path for several weights. curves: (n, 2) depth, |r|."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 2.8)
        axis = axes[0, 0]
        for (name, curve), colour in zip(curves.items(), CURVE_COLOURS, strict=False):
            axis.plot(curve[:, 0], curve[:, 1], color=colour, lw=1.6, label=name)
        axis.set(xlabel="inserted length (mm)", ylabel="deflection (mm)", xlim=(0, depth_mm), ylim=(0, None))
        axis.set_title("From weak regulation to regulation")
        axis.legend(fontsize=8)
        return _svg(figure)


def plot_budget(curves: Mapping[str, tuple[F64, F64, F64]]) -> str:
    """Final deflection (mean, and its standard error) against the rotation budget in degrees."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 2.9)
        axis = axes[0, 0]
        for (name, (deg, mean, error)), colour in zip(curves.items(), CURVE_COLOURS, strict=False):
            axis.errorbar(deg, mean, yerr=error, color=colour, lw=1.5, capsize=3, marker="o", ms=4, label=name)
        axis.set(xlabel="rotation budget (deg)", ylabel="final deflection (mm)", ylim=(0, None))
        axis.set_title("What rotation buys: mean final deflection and its standard error")
        axis.legend(fontsize=8)
        return _svg(figure)


def plot_reach(
    corners: F64, free: F64, target_mm: tuple[float, float], plan: F64, clearance: tuple[F64, F64, F64] | None
) -> str:
    """Left: what can be reached at the target's depth, and of it what without contact. Right: the plan's path.

    corners: (m, 2) hull. free: (n, 2) ends that touch nothing. plan: (n, 3) depth, y, z. clearance: (depth, y, least
    signed distance over z (depth, y)), for the obstacles' outline.
    """
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 2, 3.3)
        left, right = axes[0]
        if len(free):
            left.plot(free[:, 0], free[:, 1], ".", ms=1.5, color=GREEN, alpha=0.35, label="without contact")
        closed = np.vstack([corners, corners[:1]])
        left.plot(closed[:, 0], closed[:, 1], color=MID_GREY, lw=1.2, label="reachable")
        left.plot(*target_mm, "x", ms=9, mew=2, color=RED, label="target")
        left.set(xlabel="y (mm)", ylabel="z (mm)", title="At the target's depth", aspect="equal")
        left.legend(fontsize=8, loc="upper left", bbox_to_anchor=(-0.2, -0.16), ncols=3, markerscale=2)
        if clearance is not None:
            depth, across, signed = clearance
            right.contourf(depth, across, signed.T, levels=[-1e3, 0.0], colors=["#e8c9b8"])
        right.plot(plan[:, 0], plan[:, 1], color=BLUE, lw=1.6, label="y")
        right.plot(plan[:, 0], plan[:, 2], color=AMBER, lw=1.6, label="z")
        right.set(xlabel="inserted length (mm)", ylabel="across (mm)", title="Plan (shade: the obstacles seen along z)")
        high = max(2.0, 1.3 * float(np.abs(plan[:, 1:]).max(initial=0.0)), 1.2 * math.hypot(*target_mm))
        right.set_ylim(-high, high)
        right.legend(fontsize=8)
        return _svg(figure)
