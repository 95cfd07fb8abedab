"""The scanner: from tissue, needle and probe pose to an image.

It blends two elevation slices, gathers them at the tissue's resting places with the exact phase, shades them and adds
the needle. Then it convolves along the lines once per look, adds noise, takes the envelope and its logarithm, and
converts the scan to an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import C64, F32, F64, U8
from sonosteer.sim import kernels, motion
from sonosteer.sim.anatomy import draw_structures
from sonosteer.sim.artefacts import ArtefactMasks
from sonosteer.sim.echo import DrawnNeedle, NeedleEcho
from sonosteer.sim.field import MARGIN_SAMPLES, OVERSAMPLING, ScattererField, TissueTexture, build_field
from sonosteer.sim.probe import Transducer, lateral_kernels
from sonosteer.sim.shapes import PlacedShapes

if TYPE_CHECKING:
    from sonosteer.sim.scenes import Scene


PAD = 16  # chosen: lines on each side of a frame, more than half of any lateral kernel
NOISE_BANK = 64  # chosen: samples and lines by which the bank of noise is larger than a frame
SHAFT_SEGMENTS = 8  # chosen: segments of the polyline that drags the tissue along
TIP_PATCH_MM = 2.0  # chosen: how far around the tip its surroundings are measured


@lru_cache(maxsize=2)
def _shared_field(
    array: Transducer, tissue: TissueTexture, seed: tuple[str, int], period_mm: float, dy_mm: float
) -> ScattererField:
    """The field of a tissue that several scenes share. The last two are kept."""
    split, number = seed
    rng = np.random.default_rng([number, len(split), 11])
    return build_field(array, tissue, rng, period_mm=period_mm, dy_mm=dy_mm)


@dataclass(frozen=True)
class ScanView:
    """What the scanner has before it in one frame. World: x lateral, y elevation, z depth."""

    probe_mm: tuple[float, float, float]
    """(x, y, z) of the middle of the probe's face in the world, mm. z above 0 is pressed into the skin."""
    axis_mm: F64 | None
    """(n, 3) needle's axis in the world from the tip back, a range step apart, mm. None without a needle."""
    roll_rad: float
    """Roll of the bevel, rad."""
    pull_mm: float
    """How far the shaft drags the tissue along, mm."""
    tissue_mm: tuple[float, float]
    """(x, z) displacement of all tissue by breathing, mm."""
    noise: NDArray[np.int64]
    """(looks, 2) row and column where each look reads the bank of noise, number of samples and lines."""
    origin_y_mm: float
    """Where the world's y = 0 lies in the speckle's period, mm."""
    trail_mm: F64 | None = None
    """(n, 3) world places from the tip on to the deepest place it had been, mm. None: no track is drawn."""
    inserted_mm: float = 0.0
    """Inserted length of the needle, mm."""


@dataclass(frozen=True)
class ScanImage:
    """An image and what drawing it tells."""

    pixels: U8
    """(height, width) image, grey levels 0 to 255."""
    drawn: DrawnNeedle | None
    """What the needle's echo tells. None where no needle is drawn."""
    level: F32
    """Amplitude that occlusion leaves, every BLOCK samples and lines. 0 to 1."""
    visibility_db: float
    """Shaft behind the tip over tissue, haze and noise around it, dB. -120 where no needle is drawn."""
    apex_db: float
    """The apex alone over the same, dB. -120 where no needle is drawn."""


@dataclass(frozen=True)
class ScanGrid:
    """Where each part of a frame comes from, every BLOCK samples and lines. All are (rows, columns)."""

    r: F32
    """Row of the field's slice to read, samples."""
    q: F32
    """Column of the field's slice to read, number of lines."""
    turns: F32
    """Phase to turn by, in revolutions, no unit."""
    tissue: F32
    """Amplitude factor of the tissue, no unit."""
    level: F32
    """Amplitude that occlusion leaves of the needle. 0 to 1."""
    haze: F32
    """Amplitude of the haze to add, relative to the tissue's, no unit."""


def scene_apex_px(scene: Scene) -> tuple[float, float]:
    """Where the middle of the probe's face is drawn in the image, px, before any display."""
    return (scene.width_px - 1) / 2, scene.top_mm / scene.spacing_mm


class Scanner:
    """Builds a scene's tissue once, then draws images. Not safe to share between threads."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        a = self.array = scene.array
        tissue, needle, noise, place = rng.spawn(4)
        dy_mm = scene.period_mm / scene.slices
        if scene.tissue_seed is None:
            self.field = build_field(a, scene.tissue, tissue, period_mm=scene.period_mm, dy_mm=dy_mm)
        else:
            self.field = _shared_field(a, scene.tissue, (scene.split, scene.tissue_seed), scene.period_mm, dy_mm)
        self.structures = draw_structures(scene.anatomy, place)
        self.echo = NeedleEcho.make(a, scene.look, needle)
        self.masks = ArtefactMasks.make(scene.artefacts, a, place)
        self.shapes: PlacedShapes | None = None
        if not scene.shapes.empty:
            self.shapes = PlacedShapes.place(scene.shapes, a, place.spawn(1)[0])
        reach = MARGIN_SAMPLES * OVERSAMPLING * 3 // 4
        self._shifts = np.stack([place.integers(-reach, reach, 64), place.integers(0, self.field.period, 64)], 1)
        self._shifts[0] = 0
        v = self.field.volume[:, :: a.samples // 8]
        self._neighbours = float((v[:-1] * v[1:].conj()).real.mean() / (np.abs(v) ** 2).mean())
        shape = (a.samples + NOISE_BANK, a.lines + NOISE_BANK, 2)
        bank = noise.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(0.5))
        self.noise: C64 = cv2.sepFilter2D(bank, -1, np.ones(1, np.float32), a.pulse(a.range_step_mm)).view(
            np.complex64
        )[..., 0]
        depth = np.arange(a.samples) * a.range_step_mm
        self.noise_level = (10 ** ((scene.noise_db + scene.noise_db_per_mm * depth) / 20)).astype(np.float32)
        self.gain = self.masks.range_gain / np.float32(scene.looks)
        self.zone = np.minimum(depth / a.depth_mm * a.zones, a.zones - 1).astype(np.int64)
        angles = np.linspace(-1, 1, scene.looks) * scene.look_deg if scene.looks > 1 else [0.0]
        looks = [lateral_kernels(a, math.radians(float(d))) for d in angles]
        self.kernels: C64 = np.stack(looks)
        self.apex_px = scene_apex_px(scene)
        self._map, self._columns = self._scan_map()
        self._slice = np.empty(self.field.volume.shape[1:], np.complex64)
        self._data = np.zeros((a.samples, a.lines + 2 * PAD), np.complex64)
        self._echoes = np.zeros((a.samples, a.lines), np.complex64)
        self._touched = np.zeros(a.samples, np.bool_)
        self.envelope = np.empty((a.samples, a.lines), np.float32)
        self._shown = np.zeros_like(self.envelope)
        self._lines = np.empty((a.samples, a.lines), np.uint8)
        self._fresh = True
        self._blended_at: float | None = None

    def _scan_map(self) -> tuple[tuple[NDArray[np.int16], NDArray[np.uint16]], slice]:
        """Fixed-point maps from image to beam space, and the columns of the image that see anything."""
        s, a = self.scene, self.array
        x = (np.arange(s.width_px) - self.apex_px[0]) * s.spacing_mm
        z = (np.arange(s.height_px) - self.apex_px[1]) * s.spacing_mm
        range_mm, line = a.to_beam(*np.meshgrid(x, z))
        r = range_mm / a.range_step_mm
        outside = (line < 0) | (line > a.lines - 1) | (r < 0) | (r > a.samples - 1)
        if outside.all():
            raise ValueError("the image shows nothing of the field of view")
        q = np.where(outside, -100, line).astype(np.float32)
        r = np.where(outside, -100, r).astype(np.float32)
        seen = np.flatnonzero(~outside.all(0))
        columns = slice(int(seen[0]), int(seen[-1]) + 1)
        return cv2.convertMaps(q[:, columns], r[:, columns], cv2.CV_16SC2), columns

    def inside(self) -> U8:
        """(height, width) image that is 255 in the field of view and 0 outside."""
        out = np.zeros((self.scene.height_px, self.scene.width_px), np.uint8)
        full = np.full((self.array.samples, self.array.lines), 255, np.uint8)
        out[:, self._columns] = cv2.remap(full, *self._map, cv2.INTER_NEAREST, borderValue=0)
        return out

    def restart(self) -> None:
        """Forget the previous image (persistence)."""
        self._fresh = True

    def draw(self, view: ScanView) -> ScanImage:
        """Draw the image of a view."""
        s, a = self.scene, self.array
        px, py, pz = view.probe_mm
        grid = self.grid(view)
        tissue = self.slice_at(py + view.origin_y_mm)
        self._drag_through(view, tissue)
        kernels.gather(
            tissue,
            self.field.period,
            grid.r,
            grid.q,
            grid.turns,
            grid.tissue,
            grid.haze,
            self.noise,
            *view.noise[0],
            PAD,
            self._data,
        )
        if self.shapes is not None:
            self._data[:, PAD:-PAD] *= self.shapes.tissue(px - view.tissue_mm[0], pz - view.tissue_mm[1])
        self._data[:, :PAD] = 0  # needle points drawn beyond the outer lines must not pile up
        self._data[:, -PAD:] = 0
        self._echoes[self._touched] = 0
        self._touched[:] = False
        around = self._around_tip(view)
        drawn = self._draw_needle(view, grid.level)
        turns_per_sample = 2 * a.range_step_mm / a.wavelength_mm
        flat = self.masks.ladder_echoes(px, pz) + self.masks.occluder_echoes(px, pz)
        if self.shapes is not None:
            flat += self.shapes.echoes(px - view.tissue_mm[0], pz - view.tissue_mm[1])
        for line_r, amplitude in flat:
            kernels.add_line_echoes(line_r, amplitude, turns_per_sample, self.echo.pulse, self._echoes, self._touched)
        kernels.form_lines(
            self._data,
            self.kernels,
            self.zone,
            PAD,
            self._echoes,
            self._touched,
            self.noise,
            view.noise,
            self.noise_level,
            self.envelope,
        )
        keep = 0.0 if self._fresh else s.artefacts.persistence
        self._fresh = False
        contact = self.masks.contact(-pz)
        per_db = 255.0 / s.dynamic_range_db
        kernels.log_compress(self.envelope, self.gain, contact, per_db, s.grey, keep, self._shown, self._lines)
        image = np.zeros((s.height_px, s.width_px), np.uint8)
        image[:, self._columns] = cv2.remap(
            self._lines, *self._map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        visibility_db = -120.0 if drawn is None else 20 * math.log10(drawn.level / around + 1e-6)
        apex_db = -120.0 if drawn is None else 20 * math.log10(drawn.tip_level / around + 1e-6)
        return ScanImage(pixels=image, drawn=drawn, level=grid.level, visibility_db=visibility_db, apex_db=apex_db)

    def _around_tip(self, view: ScanView) -> float:
        """rms of tissue, haze and noise around the tip, before the needle is drawn."""
        if view.axis_mm is None or len(view.axis_mm) == 0:
            return 1.0
        a = self.array
        x, _, z = view.axis_mm[0] - np.array(view.probe_mm)
        (range_mm,), (line,) = a.to_beam(np.array([x]), np.array([z]))
        i, q = int(range_mm / a.range_step_mm), int(line) + PAD
        di = int(TIP_PATCH_MM / a.range_step_mm)
        dq = max(int(TIP_PATCH_MM / a.pitch_mm(max(range_mm, 0.0))), 2)
        i, q = min(max(i, di), a.samples - di - 1), min(max(q, PAD + dq), a.lines + PAD - dq - 1)
        part = self._data[i - di : i + di, q - dq : q + dq]
        return math.sqrt(float((np.abs(part) ** 2).mean() + self.noise_level[i] ** 2)) + 1e-6

    def _drag_through(self, view: ScanView, tissue: C64) -> None:
        """An axial needle pulls the tissue beside it through the image plane."""
        if self.scene.view != "axial" or view.pull_mm == 0 or view.axis_mm is None or len(view.axis_mm) < 2:
            return
        a, f, probe = self.array, self.field, view.probe_mm
        at = int(np.argmin(np.abs(view.axis_mm[:, 1] - probe[1])))
        (range_mm,), (line,) = a.to_beam(view.axis_mm[at : at + 1, 0], view.axis_mm[at : at + 1, 2])
        deeper, aside = self._shift(probe[1] + view.origin_y_mm)
        r, q = (range_mm - f.r0_mm) / f.dr_mm + deeper, line - f.line0 + aside
        pitch = a.pitch_mm(range_mm)
        y, pull, radius = (
            (probe[1] + view.origin_y_mm) / f.dy_mm,
            view.pull_mm / f.dy_mm,
            self.echo.look.diameter_mm / 2,
        )
        kernels.drag_slice(f.volume, f.period, y, pull, r, q, radius, motion.REACH_MM, f.dr_mm, pitch, tissue)
        self._blended_at = None  # the slice is no longer the one at rest

    def grid(self, view: ScanView) -> ScanGrid:
        """Where each part of a view's frame comes from."""
        a, f = self.array, self.field
        px, py, pz = view.probe_mm
        level, haze = self.masks.occlusion(px, pz)
        x, z = self._resting(view)
        r, q = a.to_beam(x, z)
        deeper, aside = self._shift(py + view.origin_y_mm)
        tissue = level * self.structures.level(x, z, py)
        if self.shapes is not None:
            at = (px - view.tissue_mm[0], pz - view.tissue_mm[1])
            left = self.shapes.left(*at, self.masks.range_mm[:, 0], self.masks.line[0])
            tissue, level = tissue * left, level * left
        return ScanGrid(
            r=((r - f.r0_mm) / f.dr_mm + deeper).astype(np.float32),
            q=(q - f.line0 + aside).astype(np.float32),
            turns=(2 * (self.masks.range_mm - r) / a.wavelength_mm).astype(np.float32),
            tissue=tissue,
            level=level,
            haze=haze,
        )

    def _resting(self, view: ScanView) -> tuple[F64, F64]:
        """(x, z) in the world in mm where the tissue of each grid point was at rest."""
        x = self.masks.x_mm + (view.probe_mm[0] - view.tissue_mm[0])
        z = self.masks.z_mm + (view.probe_mm[2] - view.tissue_mm[1])
        if view.axis_mm is None or len(view.axis_mm) < 2:
            return x, z
        axis = view.axis_mm - np.array([view.tissue_mm[0], 0.0, view.tissue_mm[1]])
        radius = self.scene.look.diameter_mm / 2
        out_x, out_z = np.empty_like(x), np.empty_like(z)
        flat = (x.reshape(-1), z.reshape(-1))
        if self.scene.view == "axial":
            ahead = axis[0, 1] - view.probe_mm[1]
            at = int(np.argmin(np.abs(axis[:, 1] - view.probe_mm[1])))
            fraction = min(max(ahead / 1.0 + 0.5, 0.0), 1.0)  # chosen: the beam is 1 mm thick
            motion.push_aside(*flat, axis[at, 0], axis[at, 2], radius, fraction, out_x.reshape(-1), out_z.reshape(-1))
        else:
            k = np.linspace(0, len(axis) - 1, SHAFT_SEGMENTS + 1).astype(int)
            ends = (np.ascontiguousarray(axis[k, 0]), np.ascontiguousarray(axis[k, 2]))
            motion.drag_along(*flat, *ends, radius, view.pull_mm, out_x.reshape(-1), out_z.reshape(-1))
        return out_x, out_z

    def _draw_needle(self, view: ScanView, level: F32) -> DrawnNeedle | None:
        """Draw the needle's echoes, and the track of one drawn back. None where no needle is drawn."""
        if view.axis_mm is None or len(view.axis_mm) < 4:
            return None
        axis = view.axis_mm - np.array(view.probe_mm)
        if self.scene.view == "axial":
            return self.echo.draw_section(axis, level, PAD, self._data)
        if view.trail_mm is not None:
            self.echo.draw_trail(view.trail_mm - np.array(view.probe_mm), view.inserted_mm, level, PAD, self._data)
        drawn = self.echo.draw_in_plane(axis, view.roll_rad, level, PAD, self._data)
        if drawn is not None:
            self.echo.draw_specular(drawn, self._echoes, self._touched)
        return drawn

    def _shift(self, y_mm: float) -> tuple[int, int]:
        """Offset in samples and lines. Every period in elevation has its own, so that a sweep meets nothing twice."""
        period = math.floor(y_mm / self.field.dy_mm) // self.field.volume.shape[0]
        deeper, aside = self._shifts[period % len(self._shifts)].tolist()
        return deeper, aside

    def slice_at(self, y_mm: float) -> C64:
        """(rows, columns) elevation slice at y. Its mean power is constant between stored slices and across periods."""
        if y_mm == self._blended_at:  # a probe at rest
            return self._slice
        self._blended_at = y_mm
        volume, ny = self.field.volume, self.field.volume.shape[0]
        k = math.floor(y_mm / self.field.dy_mm)
        fraction = y_mm / self.field.dy_mm - k
        a, b, alike = volume[k % ny], volume[(k + 1) % ny], self._neighbours
        here, there = self._shift(y_mm), self._shift(y_mm + self.field.dy_mm)
        if here != there:
            period = self.field.period
            rolled = np.roll(b[:, :period], (here[0] - there[0], here[1] - there[1]), axis=(0, 1))
            b = np.concatenate([rolled, rolled[:, : b.shape[1] - period]], axis=1)
            alike = 0.0
        power = (1 - fraction) ** 2 + fraction**2 + 2 * fraction * (1 - fraction) * alike
        kernels.blend(a, b, fraction, 1 / math.sqrt(power), self._slice)
        return self._slice
