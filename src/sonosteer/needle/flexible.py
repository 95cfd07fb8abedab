"""A flexible bevel-tip needle pushed and rolled from its base: beam, cut track, torsion and tissue together.

Frame: x along the insertion from the skin, y and z across it. A bevel rolled by phi pushes the tip towards
(cos phi, sin phi). Retraction slides the needle back in the track it has cut. Pushed in again it follows the track,
and cuts on where the track ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.needle import beam, torsion
from sonosteer.needle.tissue import Mechanics, draw_column

GUIDE_N_PER_MM = 50.0  # chosen: far stiffer than the tissue, so that the guide hardly gives
MEMBRANE_N_PER_MM = 1.0  # chosen: a membrane that gives at 1 to 3 N lets the tip run 1 to 3 mm ahead
BASE_OUTSIDE_MM = 10.0  # chosen: the base stays this far off the skin


@dataclass(frozen=True, slots=True)
class NeedleGeometry:
    """A needle's length and stiffness.

    The defaults are an 18G brachytherapy needle, as in Carriere et al. 2019.
    """

    length_mm: float = 200.0
    """Length from base to tip, mm. 10 to 1000."""
    bending_stiffness: float = 1.5e4
    """Bending stiffness EI, N mm^2. 1 to 1e8."""
    torsional_stiffness: float = 1.6e4
    """Torsional stiffness GJ, N mm^2 per rad. 1 to 1e8."""
    element_mm: float = 2.0
    """Length of a finite element, mm. 0.2 to 10."""

    def __post_init__(self) -> None:
        check_finite(self, "needle")
        check_range(self, "needle", 10.0, 1000.0, "length_mm")
        check_range(self, "needle", 1.0, 1e8, "bending_stiffness", "torsional_stiffness")
        check_range(self, "needle", 0.2, 10.0, "element_mm")


@dataclass(frozen=True, slots=True)
class NeedleState:
    """Where a needle is in its own frame, and its forces. x runs along the insertion from the skin."""

    inserted_mm: float
    """Inserted length, mm."""
    tip_mm: tuple[float, float, float]
    """(x, y, z) of the tip in the needle's frame, mm."""
    direction: tuple[float, float, float]
    """Unit vector (x, y, z) of the tip in the needle's frame, no unit."""
    roll_rad: float
    """Roll of the bevel, rad."""
    axial_n: float
    """Force along the needle at its base, N."""
    bevel_n: float
    """Force across the needle at its bevel, N."""
    guide_n: float
    """Force across the needle at its guide, N."""


class FlexibleNeedle:
    """One needle in one tissue. The tissue's fields are drawn from `rng` at the start."""

    def __init__(self, geometry: NeedleGeometry, mechanics: Mechanics, rng: np.random.Generator) -> None:
        self.geometry, self.mechanics = geometry, mechanics
        self.column = draw_column(mechanics, geometry.length_mm, rng)
        self._held = [True] * len(mechanics.membranes)
        nodes = round(geometry.length_mm / geometry.element_mm) + 1
        self._A, self._b = np.zeros((2 * nodes, 4)), np.zeros((2 * nodes, 2))
        self._track = np.zeros((len(self.column.stiffness), 2))
        self._tip, self._force = np.zeros(2), np.zeros(2)
        self._inserted = self._cut = self._commanded = 0.0
        self._roll = 0.0
        self._time_s = 0.0
        self._tissue = np.zeros(2)
        self._axial_n = self._bevel_n = 0.0

    @property
    def deepest_mm(self) -> float:
        """How far the needle can be pushed in, mm."""
        return self.geometry.length_mm - BASE_OUTSIDE_MM

    @property
    def state(self) -> NeedleState:
        """Where it is now."""
        (y, z), (sy, sz) = self._b[-2].tolist(), self._b[-1].tolist()
        norm = math.sqrt(1 + sy * sy + sz * sz)
        e = round((self.geometry.length_mm - self._inserted) / self.geometry.element_mm)
        guide = GUIDE_N_PER_MM * math.hypot(*self._b[2 * e].tolist()) if 0 < e < len(self._b) // 2 else 0.0
        return NeedleState(
            inserted_mm=self._inserted,
            tip_mm=(self._inserted, y, z),
            direction=(1 / norm, sy / norm, sz / norm),
            roll_rad=self._roll,
            axial_n=self._axial_n,
            bevel_n=self._bevel_n,
            guide_n=guide,
        )

    def step(
        self,
        depth_mm: float,
        roll_rad: float,
        time_s: float,
        base_slope: tuple[float, float] = (0.0, 0.0),
    ) -> NeedleState:
        """Take the base to a commanded depth and roll at a time. Returns where the needle is then.

        base_slope: (y, z) slope of the base against the insertion axis, no unit.
        Raises InputError if a number is not finite, and BrokenError if the mechanics have no solution any more.
        """
        if not all(map(math.isfinite, (depth_mm, roll_rad, time_s, *base_slope))):
            raise InputError(f"needle: a command of {depth_mm} mm, {roll_rad} rad at {time_s} s is not a number")
        g, m = self.geometry, self.mechanics
        elapsed = max(time_s - self._time_s, 0.0)
        self._time_s = max(time_s, self._time_s)
        inserted, membrane_n = self._through_membranes(min(max(depth_mm, 0.0), self.deepest_mm))
        speed = abs(inserted - self._inserted) / elapsed if elapsed > 0 else 0.0
        direction = float(np.sign(depth_mm - self._commanded))
        self._commanded = depth_mm
        play = torsion.play_rad(m.torque, g.torsional_stiffness, inserted, g.length_mm)
        self._roll = torsion.roll_with_play(self._roll, roll_rad, play)
        growth = 1 + m.speed_gain * math.log(max(speed, 0.1) / 5.0)
        cutting = inserted >= self._cut  # a tip in its own track has nothing to cut
        bevel_n = self._push_at_tip(inserted, growth, cutting)
        self._tissue = m.breathing(self._time_s)
        self._bend(inserted, np.array(base_slope))
        self._cut_track(inserted)
        if m.relaxation_s > 0 and elapsed > 0:
            self._relax(inserted, 1 - math.exp(-elapsed / m.relaxation_s))
        self._inserted = inserted
        axial = direction * m.friction * inserted + (m.cutting_n * growth if cutting and direction > 0 else 0.0)
        self._axial_n, self._bevel_n = axial + membrane_n, bevel_n
        return self.state

    def shape_mm(self, step_mm: float, outside_mm: float = 0.0) -> F64:
        """(n, 3) points (x, y, z) from the tip back to the skin and outside_mm beyond, step_mm apart along x."""
        x_nodes = self._inserted - self.geometry.length_mm + np.arange(len(self._b) // 2) * self.geometry.element_mm
        x = self._inserted - np.arange(0.0, self._inserted + outside_mm, step_mm)
        return np.stack([x, np.interp(x, x_nodes, self._b[::2, 0]), np.interp(x, x_nodes, self._b[::2, 1])], 1)

    def _push_at_tip(self, inserted_mm: float, growth: float, cutting: bool) -> float:
        """Set the force across the tip from bevel and uneven tissue. Returns the bevel's part, N."""
        i = min(round(inserted_mm / beam.GRID_MM), len(self.column.bevel_n) - 1)
        bevel_n = float(self.column.bevel_n[i]) * growth if cutting else 0.0
        lateral = self.column.lateral_n[i] * cutting
        self._force[0] = bevel_n * math.cos(self._roll) + lateral[0]
        self._force[1] = bevel_n * math.sin(self._roll) + lateral[1]
        return bevel_n

    def _bend(self, inserted_mm: float, slope: F64) -> None:
        """Solve for the deflection of all nodes. Raises BrokenError if there is no solution."""
        g, m = self.geometry, self.mechanics
        beam.assemble(
            g.bending_stiffness,
            g.element_mm,
            inserted_mm,
            max(self._cut, inserted_mm),
            self.column.stiffness,
            self._track,
            self._tissue,
            m.tip_gain,
            m.tip_mm,
            slope * (inserted_mm - g.length_mm),
            slope,
            GUIDE_N_PER_MM,
            self._force,
            self._A,
            self._b,
        )
        beam.solve_banded(self._A, self._b)
        if not np.isfinite(self._b[-2]).all():
            raise BrokenError(f"needle: no solution at {inserted_mm:.1f} mm; check stiffness and forces")

    def _cut_track(self, inserted_mm: float) -> None:
        """Lengthen the track to where the tip lies, if the tip is deeper than ever before."""
        if inserted_mm <= self._cut:
            return
        new = self._b[-2] - self._tissue
        beam.lay_track(self._track, self._cut, inserted_mm, self._tip, new)
        self._cut = inserted_mm
        self._tip = new.copy()

    def _through_membranes(self, wanted_mm: float) -> tuple[float, float]:
        """(inserted length in mm, extra axial force in N).

        An unbroken membrane holds the tip, then lets it run ahead. Until then the tissue comes along (indentation).
        """
        for i, (depth, threshold) in enumerate(self.mechanics.membranes):
            if not self._held[i] or wanted_mm <= depth:
                continue
            force = (wanted_mm - depth) * MEMBRANE_N_PER_MM
            if force < threshold:
                return max(depth, min(self._inserted, wanted_mm)), force
            self._held[i] = False
        return wanted_mm, 0.0

    def _relax(self, inserted_mm: float, fraction: float) -> None:
        """Let the track give way to the shaft by a fraction of their distance."""
        n = min(int(inserted_mm / beam.GRID_MM) + 1, len(self._track))
        x = np.arange(n) * beam.GRID_MM
        x_nodes = inserted_mm - self.geometry.length_mm + np.arange(len(self._b) // 2) * self.geometry.element_mm
        for k in range(2):
            lies = np.interp(x, x_nodes, self._b[::2, k]) - self._tissue[k]
            self._track[:n, k] += fraction * (lies - self._track[:n, k])
