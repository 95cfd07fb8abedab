"""Pictures of insertions among obstacles as SVG text: two side views of each scene, and the shaft's clearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Circle, Rectangle

from sonosteer.core.arrays import F64
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg

PATH_COLOURS = (BLUE, RED, AMBER)


@dataclass(frozen=True, slots=True)
class DrawnScene:
    """One scene to be drawn."""

    title: str
    """Stands above it."""
    target_mm: tuple[float, float, float]
    """Target (depth, y, z), mm."""
    spheres: Sequence[tuple[Sequence[float], float]]
    """Centre (depth, y, z) and radius of each sphere, mm."""
    boxes: Sequence[tuple[Sequence[float], Sequence[float]]]
    """Lowest and highest corner (depth, y, z) of each box, mm."""
    paths: Mapping[str, tuple[F64, F64]]
    """By name: (n, 3) depth, y, z of the tip, mm, and (n,) clearance of the shaft there, mm."""


def plot_obstacle_scenes(scenes: Sequence[DrawnScene]) -> str:
    """Draw scenes, a column each: y and z against depth, and the clearance. Obstacles are outlines seen from the side.

    A way that crosses an outline may pass beside the obstacle. The clearance tells.
    """
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(3, len(scenes), 6.6)
        for column, scene in enumerate(scenes):
            for row in (0, 1):
                _draw_side(axes[row, column], scene, 1 + row)
            _draw_clearance(axes[2, column], scene)
            axes[0, column].set_title(scene.title, fontsize=8)
            axes[2, column].set_xlabel("inserted length (mm)")
        for row, what in enumerate(("y (mm)", "z (mm)", "clearance (mm)")):
            axes[row, 0].set_ylabel(what)
        axes[0, 0].legend(*axes[2, 0].get_legend_handles_labels(), fontsize=7, loc="upper right")
        return _svg(figure)


def _draw_side(axis: Any, scene: DrawnScene, across: int) -> None:
    """Draw depth against y (1) or z (2)."""
    outline = {"facecolor": MID_GREY, "alpha": 0.35, "edgecolor": MID_GREY}
    for centre, radius in scene.spheres:
        axis.add_patch(Circle((centre[0], centre[across]), radius, **outline))
    for low, high in scene.boxes:
        size = (high[0] - low[0], high[across] - low[across])
        axis.add_patch(Rectangle((low[0], low[across]), *size, **outline))
    depth, target = scene.target_mm[0], scene.target_mm[across]
    at = np.linspace(0.0, depth, 60)
    reach = 4.0
    axis.plot(at, target * (at / depth) ** 2, ":", color=MID_GREY, lw=1.0)
    for colour, (path, _) in zip(PATH_COLOURS, scene.paths.values(), strict=False):
        axis.plot(path[:, 0], path[:, across], color=colour, lw=1.3)
        reach = max(reach, 1.15 * float(np.abs(path[:, across]).max()))
    axis.plot([depth], [target], "x", color=GREEN, ms=7, mew=2)
    reach = max(reach, 1.15 * abs(target))
    axis.set(xlim=(0, 1.04 * depth), ylim=(-reach, reach))


def _draw_clearance(axis: Any, scene: DrawnScene) -> None:
    for colour, (name, (path, clearance)) in zip(PATH_COLOURS, scene.paths.items(), strict=False):
        axis.plot(path[:, 0], clearance, color=colour, lw=1.3, label=name)
    axis.axhline(0.0, color=MID_GREY, lw=1.0)
    axis.set(xlim=(0, 1.04 * scene.target_mm[0]), ylim=(-2, 8))
