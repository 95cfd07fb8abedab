"""Shapes with thin bright walls in the tissue: cysts, vessels, gel islands, bones, floors, streaks.

A body is an ellipse. Its walls echo where they face the beam, its inside has a level of its own, and the tissue below
may be brighter or darker. A surface is a curved sheet across the image with darkness and repeated echoes below it.
A streak is a bright or dark beam. All lie in the world at their resting places, so that a moving probe sees them pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import C64, F32, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.sim.probe import Transducer

SOFT_MM = 0.5  # chosen: how wide the edges of shapes are
WAVES = 24  # chosen: number of independent places of a wall's uneven brightness


@dataclass(frozen=True, slots=True)
class Body:
    """An ellipse in the image plane: a cyst, a vessel along or across, or an island in a bath."""

    x_mm: float
    """Lateral place of its middle in the world, mm."""
    z_mm: float
    """Depth of its middle in the world, mm."""
    half_width_mm: float
    """Half axis along its own length, mm. 0.3 to 500."""
    half_height_mm: float
    """Half axis across, mm. 0.3 to 500."""
    tilt_deg: float = 0.0
    """Tilt of its length, degrees. Positive falls to the right. -90 to 90."""
    level_db: float = -20.0
    """Change of the tissue's level inside, dB. -90 to 30."""
    wall_db: float = -90.0
    """Level of the wall's echo where it faces the beam, dB over the tissue. -60 or less: none. Up to 50."""
    below_db: float = 0.0
    """Change of the tissue's level below it, dB. -60 to 20."""
    inverted: bool = False
    """True if the level applies outside of it: an island in a bath."""

    def __post_init__(self) -> None:
        check_finite(self, "body")
        check_range(self, "body", 0.3, 500.0, "half_width_mm", "half_height_mm")
        check_range(self, "body", -90.0, 90.0, "tilt_deg")
        check_range(self, "body", -90.0, 30.0, "level_db")
        check_range(self, "body", -90.0, 50.0, "wall_db")
        check_range(self, "body", -60.0, 20.0, "below_db")


@dataclass(frozen=True, slots=True)
class Surface:
    """A strongly reflecting sheet across the beams: bone, the container's floor, the lung's edge."""

    x_mm: float
    """Lateral place of its middle in the world, mm."""
    z_mm: float
    """Depth of its middle in the world, mm."""
    half_width_mm: float = 500.0
    """How far it reaches either way, mm. 0.5 to 500."""
    tilt_deg: float = 0.0
    """Tilt, degrees. Positive falls to the right. -80 to 80."""
    bow_per_mm: float = 0.0
    """Curvature, 1/mm. Positive: the ends lie deeper. -1 to 1."""
    wave_mm: float = 0.0
    """Height of its waves, mm. 0 to 20."""
    echo_db: float = 30.0
    """Level of its echo where it faces the beam, dB over the tissue. Up to 60."""
    below_db: float = -20.0
    """What it leaves of tissue and needle below, dB. -90 to 0."""
    repeats: int = 0
    """Number of repeated echoes below it. 0 to 12."""
    repeat_mm: float = 3.0
    """Distance from one repetition to the next, mm. 0.2 to 200."""
    repeat_db: float = -6.0
    """Change of level from one repetition to the next, dB. -40 to 0."""

    def __post_init__(self) -> None:
        check_finite(self, "surface")
        check_range(self, "surface", 0.5, 500.0, "half_width_mm")
        check_range(self, "surface", -80.0, 80.0, "tilt_deg")
        check_range(self, "surface", -1.0, 1.0, "bow_per_mm")
        check_range(self, "surface", 0.0, 20.0, "wave_mm")
        check_range(self, "surface", -90.0, 60.0, "echo_db")
        check_range(self, "surface", -90.0, 0.0, "below_db")
        check_range(self, "surface", 0, 12, "repeats")
        check_range(self, "surface", 0.2, 200.0, "repeat_mm")
        check_range(self, "surface", -40.0, 0.0, "repeat_db")


@dataclass(frozen=True, slots=True)
class Streak:
    """A bright or dark beam from some depth on."""

    x_mm: float
    """Lateral place where it begins, in the world, mm."""
    z_mm: float
    """Depth where it begins, mm."""
    width_mm: float = 2.0
    """Its width at the beginning, mm. 0.1 to 100."""
    level_db: float = 8.0
    """Change of the tissue's level, dB. -60 to 40."""

    def __post_init__(self) -> None:
        check_finite(self, "streak")
        check_range(self, "streak", 0.1, 100.0, "width_mm")
        check_range(self, "streak", -60.0, 40.0, "level_db")


@dataclass(frozen=True, slots=True)
class Shapes:
    """What lies in the tissue besides its layers, patches and tumours. None by default."""

    bodies: tuple[Body, ...] = ()
    """Cysts, vessels and islands."""
    surfaces: tuple[Surface, ...] = ()
    """Bones and floors."""
    streaks: tuple[Streak, ...] = ()
    """Bright or dark beams."""

    @property
    def empty(self) -> bool:
        """True if there is nothing."""
        return not (self.bodies or self.surfaces or self.streaks)


@dataclass(frozen=True)
class PlacedShapes:
    """The shapes of a scene before its transducer."""

    recipe: Shapes
    """What lies where."""
    array: Transducer
    """The transducer that looks at them."""
    uneven: C64
    """(shapes, WAVES) complex brightness of the walls of each body, then of each surface, no unit."""
    x_mm: F64
    """(samples, lines) lateral place of each sample in the probe's frame, mm."""
    z_mm: F64
    """(samples, lines) depth of each sample in the probe's frame, mm."""

    @classmethod
    def place(cls, recipe: Shapes, array: Transducer, rng: np.random.Generator) -> PlacedShapes:
        """Draw how uneven the walls are."""
        n = len(recipe.bodies) + len(recipe.surfaces)
        loud = 10 ** (rng.normal(0, 7.0, (n, WAVES)) / 20)
        phase = 2 * np.pi * rng.random((n, 1)) + rng.normal(0, 0.7, (n, WAVES))
        uneven = (loud * np.exp(1j * phase)).astype(np.complex64)
        ranges, lines = np.arange(array.samples) * array.range_step_mm, np.arange(array.lines, dtype=float)
        x, z = array.from_beam(*np.meshgrid(ranges, lines, indexing="ij"))
        return cls(recipe=recipe, array=array, uneven=uneven, x_mm=x.astype(np.float32), z_mm=z.astype(np.float32))

    def tissue(self, probe_x_mm: float, probe_z_mm: float) -> F32:
        """(samples, lines) amplitude left of the tissue by bodies and streaks."""
        array, columns = self.array, np.arange(self.array.lines, dtype=float)
        ranges: F64 = (np.arange(array.samples) * array.range_step_mm)[:, None].astype(np.float64)
        db = np.zeros(self.x_mm.shape, np.float32)
        x, z = self.x_mm + np.float32(probe_x_mm), self.z_mm + np.float32(probe_z_mm)
        soft_mm = max(SOFT_MM, 3 * array.range_step_mm)
        for body in self.recipe.bodies:
            u, v = _turn(x - body.x_mm, z - body.z_mm, body.tilt_deg)
            d = np.sqrt((u / body.half_width_mm) ** 2 + (v / body.half_height_mm) ** 2)
            inside = _ramp((1 - d) * (min(body.half_width_mm, body.half_height_mm) / soft_mm))
            db += body.level_db * (1 - inside if body.inverted else inside)
            if body.below_db:
                _, far = self._crossings(body, columns, probe_x_mm, probe_z_mm)
                db += body.below_db * _beyond(ranges, far, 2 * soft_mm)
        for streak in self.recipe.streaks:
            where = np.array([streak.x_mm - probe_x_mm]), np.array([max(streak.z_mm - probe_z_mm, 0.5)])
            (r0,), (q0,) = array.to_beam(*where)
            width = streak.width_mm / array.pitch_mm(max(float(r0), 1.0))
            across = np.exp(-0.5 * ((columns - q0) / (0.5 * width)) ** 2)
            db += (streak.level_db * across * _ramp((ranges - r0) / 2.0)).astype(np.float32)
        return np.power(np.float32(10), db / 20).astype(np.float32)

    def left(self, probe_x_mm: float, probe_z_mm: float, ranges_mm: F64, columns: F64) -> F32:
        """(rows, columns) amplitude that surfaces leave of tissue and needle at these ranges and lines."""
        db = np.zeros((len(ranges_mm), len(columns)))
        for surface in self.recipe.surfaces:
            at = self._depth(surface, columns, probe_x_mm, probe_z_mm)
            db += surface.below_db * _beyond(ranges_mm[:, None], at, SOFT_MM)
        return (10 ** (db / 20)).astype(np.float32)

    def echoes(self, probe_x_mm: float, probe_z_mm: float) -> list[tuple[F32, C64]]:
        """(range in samples, amplitude over the tissue's) of each wall and its repetitions, both (lines,)."""
        lines, step = np.arange(self.array.lines, dtype=float), self.array.range_step_mm
        out: list[tuple[F32, C64]] = []
        for k, body in enumerate(self.recipe.bodies):
            if body.wall_db <= -60:
                continue
            for far, at in enumerate(self._crossings(body, lines, probe_x_mm, probe_z_mm)):
                facing = self._facing(at)
                wall = 10 ** (body.wall_db / 20) * facing * self._uneven(k, lines, 8 * far)
                out.append(_line_echo(at / step, wall.astype(np.complex64)))
        for k, surface in enumerate(self.recipe.surfaces):
            at = self._depth(surface, lines, probe_x_mm, probe_z_mm)
            sheet = 10 ** (surface.echo_db / 20) * self._facing(at)
            level = (sheet * self._uneven(len(self.recipe.bodies) + k, lines, 0)).astype(np.complex64)
            for copy in range(surface.repeats + 1):
                fall = 10 ** (surface.repeat_db * copy / 20)
                out.append(_line_echo((at + copy * surface.repeat_mm) / step, level * fall))
        return out

    def _uneven(self, k: int, lines: F64, shift: int) -> C64:
        """(lines,) uneven brightness along a wall."""
        at = (lines / self.array.lines * (WAVES - 1) + shift) % (WAVES - 1)
        row = self.uneven[k]
        nodes = np.arange(WAVES)
        out: C64 = (np.interp(at, nodes, row.real) + 1j * np.interp(at, nodes, row.imag)).astype(np.complex64)
        return out

    def _facing(self, at_mm: F64) -> F64:
        """(lines,) amplitude factor by how squarely a wall at these ranges faces the beam, 0 to 1."""
        pitch = np.array([self.array.pitch_mm(float(r)) for r in np.nan_to_num(at_mm)])
        with np.errstate(invalid="ignore"):
            slope = np.nan_to_num(np.gradient(at_mm) / pitch, nan=9.0)
        out: F64 = np.exp(-((np.arctan(slope) / 0.5) ** 2))  # chosen: a rough wall is seen up to about 30 degrees
        return out

    def _rays(self, columns: F64, probe_x_mm: float, probe_z_mm: float) -> tuple[F64, F64, F64, F64]:
        """(x, z) where each line begins, and its direction (x, z), in the world."""
        x0, z0 = self.array.from_beam(np.zeros_like(columns), columns)
        dx, dz = self.array.beam_direction(x0, z0)
        return x0 + probe_x_mm, z0 + probe_z_mm, dx, dz

    def _crossings(self, body: Body, columns: F64, probe_x_mm: float, probe_z_mm: float) -> tuple[F64, F64]:
        """(range where each line enters the body, where it leaves) in mm. NaN where it passes by."""
        x0, z0, dx, dz = self._rays(columns, probe_x_mm, probe_z_mm)
        u, v = _turn(x0 - body.x_mm, z0 - body.z_mm, body.tilt_deg)
        du, dv = _turn(dx, dz, body.tilt_deg)
        u, du = u / body.half_width_mm, du / body.half_width_mm
        v, dv = v / body.half_height_mm, dv / body.half_height_mm
        a, b, c = du * du + dv * dv, u * du + v * dv, u * u + v * v - 1
        with np.errstate(invalid="ignore"):
            root = np.sqrt(b * b - a * c)
        return (-b - root) / a, (-b + root) / a

    def _depth(self, surface: Surface, columns: F64, probe_x_mm: float, probe_z_mm: float) -> F64:
        """(n,) range at which each line meets a surface, mm. NaN where it does not."""
        x0, z0, dx, dz = self._rays(columns, probe_x_mm, probe_z_mm)
        r = np.arange(0.0, self.array.depth_mm, self.array.depth_mm / 160)
        x, z = x0[:, None] + dx[:, None] * r, z0[:, None] + dz[:, None] * r
        aside = x - surface.x_mm
        sheet = surface.z_mm + math.tan(math.radians(surface.tilt_deg)) * aside + surface.bow_per_mm / 2 * aside**2
        sheet = sheet + surface.wave_mm * np.sin(aside / 5.0 + surface.x_mm) * np.cos(aside / 8.3)
        over = z - sheet
        met = (over[:, :-1] < 0) & (over[:, 1:] >= 0) & (np.abs(aside[:, 1:]) <= surface.half_width_mm)
        k = np.argmax(met, axis=1)
        row = np.arange(len(columns))
        low, high = over[row, k], over[row, k + 1]
        at = r[k] + (r[1] - r[0]) * low / np.minimum(low - high, -1e-9)
        return np.where(met.any(axis=1), at, np.nan)


def _beyond(ranges_mm: F64, edge_mm: F64, soft_mm: float) -> F64:
    """(rows, columns) 1 below an edge and 0 above it. edge_mm: (columns,), NaN where there is none."""
    return _ramp((ranges_mm - np.where(np.isfinite(edge_mm), edge_mm, 1e6)) / soft_mm)


def _line_echo(samples: F64, amplitude: C64) -> tuple[F32, C64]:
    """A line's echo as the kernel takes it: no amplitude where there is no wall."""
    seen = np.isfinite(samples) & np.isfinite(amplitude)
    return np.where(seen, samples, 0).astype(np.float32), np.where(seen, amplitude, 0).astype(np.complex64)


def _turn(x: F64, z: F64, tilt_deg: float) -> tuple[F64, F64]:
    a = math.radians(tilt_deg)
    return x * math.cos(a) + z * math.sin(a), -x * math.sin(a) + z * math.cos(a)


def _ramp(u: F64) -> F64:
    return np.clip(u + 0.5, 0.0, 1.0)
