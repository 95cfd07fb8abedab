"""What a needle looks like: specular and rough echoes of its walls, the bevel, reverberation, ghosts, shadow.

The needle comes as its axis: points (x lateral, y elevation, z depth) in the probe's frame in mm. They run from the
tip back, one range step of the transducer apart. With them comes the roll of the bevel. At 0 the point of the bevel
lies on the probe's side, and the wall that faces the probe runs straight to the apex. At pi the bevel's face looks at
the probe, and that wall falls away to the apex on the far side. Levels are dB over the tissue's rms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import C64, F32, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.sim import kernels
from sonosteer.sim.probe import Transducer, elevation_weights

LOG_WIDTH = 1.5  # chosen: an echo at half its grey level on a logarithmic display over its half-amplitude width
TIP_MM = 3.0  # chosen: the stretch behind the tip that decides whether the tip is called visible


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a needle echoes. The defaults are a sanded 14G biopsy needle, as in Mathiassen et al. 2017.

    Levels are in dB over the tissue's rms.
    """

    diameter_mm: float = 2.108
    """Outer diameter of the shaft, mm. 0.05 to 5."""
    bevel_deg: float = 20.0
    """Angle between the bevel's face and the axis, degrees. 5 to 90."""
    specular_db: float = 38.0
    """Level of the mirror-like echo of the shaft, dB over the tissue. -120 to 60."""
    rough_db: float = 29.0
    """Level of the diffuse echo of the shaft, dB over the tissue. -120 to 60."""
    floor_db: float = -14.0
    """Least level of the diffuse echo at any angle, dB relative to its largest."""
    tip_db: float = 32.0
    """Level of the apex, dB over the tissue. -120 to 60."""
    specular_lobe_deg: float = 6.0
    """Width of the specular echo over the angle between the shaft's normal and the beam, degrees. 0.1 to 90."""
    rough_lobe_deg: float = 30.0
    """Width of the diffuse echo over the same angle, degrees. 0.1 to 90."""
    dropout_db: float = 3.0
    """Log-normal variation of the echo along the shaft, dB. 0 to 20."""
    gaps: float = 0.0
    """Fraction of the shaft that hardly echoes, 24 dB below the rest. 0 to 1."""
    gap_mm: float = 2.0
    """Length of such a gap, mm."""
    second_wall_db: float = -12.0
    """Level of the far wall's echo, dB relative to the near wall's. -120 to 60."""
    second_wall_mm: float = 1.6
    """Depth of the far wall's echo below the near wall's, mm. 0 to 20."""
    reverberations: int = 5
    """Number of copies below the shaft. Many that decay slowly make a comet tail. 0 to 20."""
    reverberation_mm: float = 0.55
    """Distance from one copy to the next, mm. 0 to 20."""
    reverberation_db: float = -5.0
    """Change of level from one copy to the next, dB."""
    ghost_db: float = -36.0
    """Level of the side lobes' copies on either side, dB. Below -60: none."""
    ghost_mm: float = 5.0
    """Lateral distance of those copies, mm."""
    shadow: float = 0.6
    """Fraction of the beam that the shaft stops when it is centred in the beam. 0 to 1."""
    trail_db: float = -90.0
    """Level of the track left in the tissue by a needle drawn back, dB. Below -60: none."""
    bead_db: float = 0.0
    """How far the echo swells and fades along the shaft, dB either way. 0 to 20, 0: no beads."""
    bead_mm: float = 3.0
    """Distance from one bead to the next, mm. 0.2 to 50."""
    dip_db: float = 0.0
    """Change of the shaft's echo just before the tip, dB. The apex keeps its level. -40 to 0."""
    dip_mm: float = 3.0
    """Length of that dip, counted from the tip, mm. 0 to 50."""
    fade_mm: float = 0.0
    """Length of shaft behind the tip that still echoes, mm. 0: all of it. Up to 500."""

    def __post_init__(self) -> None:
        check_finite(self, "needle's look")
        check_range(self, "needle's look", 0.05, 5.0, "diameter_mm")
        check_range(self, "needle's look", 5.0, 90.0, "bevel_deg")
        check_range(self, "needle's look", 0.1, 90.0, "specular_lobe_deg", "rough_lobe_deg")
        for name in ("specular_db", "rough_db", "tip_db", "second_wall_db", "trail_db"):
            check_range(self, "needle's look", -120.0, 60.0, name)
        check_range(self, "needle's look", 0.0, 1.0, "shadow", "gaps")
        for name in ("dropout_db", "second_wall_mm", "reverberation_mm"):
            check_range(self, "needle's look", 0.0, 20.0, name)
        check_range(self, "needle's look", 0, 20, "reverberations")
        check_range(self, "needle's look", 0.0, 20.0, "bead_db")
        check_range(self, "needle's look", 0.2, 50.0, "bead_mm")
        check_range(self, "needle's look", -40.0, 0.0, "dip_db")
        check_range(self, "needle's look", 0.0, 50.0, "dip_mm")
        check_range(self, "needle's look", 0.0, 500.0, "fade_mm")


@dataclass(frozen=True)
class DrawnNeedle:
    """What drawing a needle tells about it."""

    line_r: F32
    """(lines,) range of the specular echo on each line, samples."""
    line_amplitude: C64
    """(lines,) amplitude of the specular echo on each line relative to the tissue's, no unit."""
    bright_mm: tuple[float, float]
    """(x, z) of the brightest point in the probe's frame, mm."""
    apex_mm: tuple[float, float, float]
    """(x, y, z) of the bevel's point in the probe's frame, mm."""
    level: float
    """Amplitude of the last 3 mm of shaft, relative to fully developed tissue, no unit."""
    tip_level: float = 0.0
    """Amplitude of the apex alone, relative to fully developed tissue, no unit."""
    wall_mm: F64 | None = None
    """(n, 2) x and z of the wall that faces the probe, from the apex back, a range step apart, mm. None: a section."""
    width_mm: float = 0.0
    """Width of the drawn shaft at half of its grey level, across the shaft, mm."""


@dataclass(frozen=True)
class NeedleEcho:
    """A needle's fixed material pattern: roughness, drop-outs and phases travel with the shaft."""

    array: Transducer
    """The transducer that looks at the needle."""
    look: Appearance
    """The recipe of its echoes."""
    roughness: C64
    """(n,) complex grain along the shaft, a range step apart from the tip back, no unit."""
    modulation: F64
    """(n,) amplitude factor of drop-outs and gaps along the shaft, no unit."""
    copies_mm: F64
    """(k,) depth of each copy of an echo below the echo itself, mm. The first is 0."""
    copies: C64
    """(k,) complex gain of each copy, no unit."""
    pulse: F32
    """Axial pulse a range step apart, unit energy, no unit."""

    @classmethod
    def make(
        cls, array: Transducer, look: Appearance, rng: np.random.Generator, length_mm: float = 220.0
    ) -> NeedleEcho:
        """Draw the pattern of a needle of length_mm, counted from the tip."""
        step = array.range_step_mm
        n = round(length_mm / step)
        rough = (rng.standard_normal((n, 2)) * math.sqrt(0.5)).astype(np.float32).view(np.complex64)[:, 0]
        t = np.arange(-60, 61) * step
        smooth = np.convolve(rng.standard_normal(n + 120), np.exp(-0.5 * (t / 1.5) ** 2), "valid")
        modulation = 10 ** (look.dropout_db / 20 * smooth / smooth.std())
        if look.gaps > 0:
            holes = np.convolve(rng.standard_normal(n + 120), np.exp(-0.5 * (t / (look.gap_mm / 2)) ** 2), "valid")
            modulation[holes < np.quantile(holes, look.gaps)] *= 10 ** (-24 / 20)
        k = np.arange(1, look.reverberations + 1)
        copies_mm = np.concatenate([[0.0, look.second_wall_mm], k * look.reverberation_mm])
        level_db = np.concatenate([[0.0, look.second_wall_db], k * look.reverberation_db])
        phase = np.exp(2j * np.pi * np.concatenate([[0.0], rng.random(len(k) + 1)]))
        _vary_along(modulation, look, step, rng)
        gains = (10 ** (level_db / 20) * phase).astype(np.complex64)
        return cls(
            array=array,
            look=look,
            roughness=rough,
            modulation=modulation,
            copies_mm=copies_mm,
            copies=gains,
            pulse=array.pulse(array.range_step_mm),
        )

    @property
    def widths(self) -> tuple[float, float, float, float]:
        """Of the lobes: aperture and surface of the specular one and width of the rough one in rad, the rough floor."""
        tx = math.atan(0.5 / self.array.f_number_tx) if self.array.f_number_tx > 0 else 0.0
        aperture = 0.5 * math.atan(0.5 / self.array.f_number_rx) + 0.5 * tx
        look = self.look
        surface, rough = math.radians(look.specular_lobe_deg), math.radians(look.rough_lobe_deg)
        return aperture, surface, rough, 10 ** (look.floor_db / 20)

    def elevation(self, y_mm: F64, range_mm: F64) -> F64:
        """(n,) amplitude left at distances y_mm from the image plane and at ranges, 0 to 1."""
        y, weight, _ = elevation_weights(self.array)
        zone = range_mm / self.array.depth_mm * self.array.zones - 0.5
        out: F64 = sample_grid(weight, zone, (y_mm - y[0]) / (y[1] - y[0]))
        return out

    def draw_in_plane(self, axis_mm: F64, roll_rad: float, level: F32, pad: int, data: C64) -> DrawnNeedle | None:
        """Shade the tissue and add the rough echoes of a needle that lies along the image plane.

        axis_mm: (n, 3). level: what an occlusion leaves of the amplitude, every BLOCK samples and lines. data:
        (samples, lines + 2 pad), changed in place. Returns None if the needle is too short to be drawn.
        """
        p, look = self.array, self.look
        n = min(len(axis_mm), len(self.roughness))
        if n < 4:
            return None
        y, weight, below = elevation_weights(p)
        wall, r, q = np.empty((n, 2)), np.empty(n, np.float32), np.empty(n, np.float32)
        shine, rough, mask, blocked = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        face = max(0.0, -math.cos(roll_rad))
        optics = (p.radius_mm, p.line_step, (p.lines - 1) / 2, p.range_step_mm, p.depth_mm)
        surfaces(
            axis_mm[:n], look.diameter_mm / 2, math.radians(look.bevel_deg), face, optics, self.widths,
            (weight, below, y[0], y[1] - y[0]), level, self.modulation, wall, r, q, shine, rough, mask, blocked,
        )  # fmt: skip
        order = np.argsort(q)
        self._shade(r, q, blocked, order, pad, data)
        mask_of_tip = mask[0] / self.modulation[0]
        amplitude = 10 ** (look.rough_db / 20) * rough * mask
        points = self.roughness[:n] * (amplitude * math.sqrt(p.range_step_mm / 0.1)).astype(np.float32)
        points[0] += np.float32(10 ** (look.tip_db / 20) * mask_of_tip * (0.35 + 0.65 * rough[0]))
        self._add(r, q, points, pad, data)
        shine *= 10 ** (look.specular_db / 20) * mask
        lines = np.arange(p.lines)
        per_line = np.interp(lines, q[order], shine[order], left=0.0, right=0.0).astype(np.complex64)
        line_r = np.interp(lines, q[order], r[order]).astype(np.float32)
        brightest = int(np.argmax(np.abs(points) + shine))
        near_tip = (amplitude + shine)[: round(TIP_MM / p.range_step_mm)]
        seen = 0.6 * math.sqrt(float((near_tip**2).mean()))  # chosen: what the kernels leave of a line
        aside = look.diameter_mm / 2 * math.sin(roll_rad)
        apex = (float(wall[0, 0]), float(axis_mm[0, 1]) + aside, float(wall[0, 1]))
        return DrawnNeedle(
            line_r=line_r,
            line_amplitude=per_line,
            bright_mm=(float(wall[brightest, 0]), float(wall[brightest, 1])),
            apex_mm=apex,
            level=seen,
            tip_level=0.33 * 10 ** (look.tip_db / 20) * float(mask_of_tip * (0.35 + 0.65 * rough[0])),
            wall_mm=wall,
            width_mm=self._width_mm(wall),
        )

    def _width_mm(self, wall_mm: F64) -> float:
        """Width of the echo across the shaft: the pulse and its copies along the beam, the beam's width aside."""
        p = self.array
        back = min(len(wall_mm) - 1, 50)
        dx, dz = wall_mm[0] - wall_mm[back]
        bx, bz = p.beam_direction(wall_mm[:1, 0], wall_mm[:1, 1])
        sine = abs(dx * float(bx[0]) + dz * float(bz[0])) / max(math.hypot(dx, dz), 1e-9)
        loud = self.copies_mm[np.abs(self.copies) > 0.5]
        chain = 0.0  # only copies that touch make the line thicker
        for below in np.sort(loud):
            chain = float(below) if below - chain < 1.3 * p.pulse_fwhm_mm else chain
        along = math.hypot(p.pulse_fwhm_mm, chain)
        range_mm = float(p.to_beam(wall_mm[:1, 0], wall_mm[:1, 1])[0][0])
        aperture = min(max(range_mm / p.f_number_rx, 2.0), p.rx_aperture_max_mm)
        aside = 0.9 * p.wavelength_mm * max(range_mm, 3.0) / aperture
        return LOG_WIDTH * math.hypot(along * math.sqrt(1 - min(sine, 1.0) ** 2), aside * sine)

    def draw_trail(self, path_mm: F64, inserted_mm: float, level: F32, pad: int, data: C64) -> None:
        """Add the track left in the tissue ahead of a needle that was drawn back, if its look has one.

        path_mm: (n, 3) from the tip on to where it had been, in the probe's frame, a range step apart. inserted_mm:
        inserted length. By it the track's grain stays where it is in the tissue. level, data: as in `draw_in_plane`.
        """
        p, look = self.array, self.look
        if look.trail_db <= -60 or len(path_mm) < 2:
            return
        k = round(inserted_mm / p.range_step_mm) + np.arange(len(path_mm))
        range_mm, line = p.to_beam(path_mm[:, 0], path_mm[:, 2])
        r, q = (range_mm / p.range_step_mm).astype(np.float32), line.astype(np.float32)
        amplitude = 10 ** (look.trail_db / 20) * self.modulation[-1 - k % len(self.modulation)]
        amplitude *= self.elevation(path_mm[:, 1], range_mm) * sample_blocks(level, r, q)
        grain = self.roughness[-1 - k % len(self.roughness)] * math.sqrt(p.range_step_mm / 0.1)
        turns = 2 * p.range_step_mm / p.wavelength_mm
        points = (grain * amplitude).astype(np.complex64)
        kernels.add_points(
            r, q, points, np.zeros(1, np.float32), np.ones(1, np.complex64), turns, self.pulse, pad, data
        )

    def draw_section(self, axis_mm: F64, level: F32, pad: int, data: C64) -> DrawnNeedle | None:
        """Shade the tissue and add the echoes of a needle that crosses the image plane.

        The elevation beam decides how much of the shaft is seen and where. Before the tip arrives, nothing is.
        Arguments as in `draw_in_plane`. Returns None if the needle does not cross the plane.
        """
        p, look = self.array, self.look
        # what the beam sees of the shaft: points every 0.1 mm of elevation, weighted by the elevation response
        order = np.argsort(axis_mm[:, 1])
        y = np.arange(-5.0, 5.05, 0.1)
        on = (y >= axis_mm[order[0], 1]) & (y <= axis_mm[order[-1], 1])
        if not on.any():
            return None
        x, z = (np.interp(y, axis_mm[order, 1], axis_mm[order, k]) for k in (0, 2))
        w = self.elevation(y, z)
        seen = w * on
        if seen.sum() < 1e-3 * w.sum():
            return None
        coherent, rough_fraction = seen.sum() / w.sum(), math.sqrt(float((seen**2).sum() / (w**2).sum()))
        x_mm, z_mm = float((seen * x).sum() / seen.sum()), float((seen * z).sum() / seen.sum())
        slope = np.polyfit(y[on], z[on], 1)[0] if on.sum() > 3 else 0.0
        specular, rough = lobes(math.atan(slope), *self.widths)
        back = round(abs(float(axis_mm[0, 1]) - float((seen * y).sum() / seen.sum())) / p.range_step_mm)
        arc = np.radians(np.linspace(-60, 60, 9))
        radius = look.diameter_mm / 2
        range_mm, line = p.to_beam(x_mm + radius * np.sin(arc), z_mm - radius * np.cos(arc))
        r, q = (range_mm / p.range_step_mm).astype(np.float32), line.astype(np.float32)
        mask = sample_blocks(level, r, q) * self.modulation[back % len(self.modulation)]
        grain = self.roughness[(back + 37 * np.arange(len(arc))) % len(self.roughness)]
        points = 10 ** (look.rough_db / 20) * rough * rough_fraction * np.exp(-0.5 * (arc / 0.6) ** 2) * grain
        points = points + 10 ** (look.specular_db / 20) * specular * coherent * 0.5 * np.exp(-0.5 * (arc / 0.35) ** 2)
        if back * p.range_step_mm < 1.5:  # the bevel is in the beam
            points[len(arc) // 2] += 10 ** (look.tip_db / 20) * 0.3 * coherent
        middle_r, middle_q = (float(v[0]) for v in p.to_beam(np.array([x_mm]), np.array([z_mm])))
        pitch = p.pitch_mm(z_mm)
        kernels.shade_below_point(
            data,
            pad,
            middle_r / p.range_step_mm,
            middle_q,
            look.diameter_mm / pitch,
            0.6 / p.f_number_rx * p.range_step_mm / pitch,
            look.shadow * coherent,
            0.02 * p.range_step_mm,
        )
        points = (points * mask).astype(np.complex64)
        self._add(r, q, points, pad, data)
        nothing = np.zeros(p.lines, np.float32)
        shown = 0.33 * math.sqrt(float((np.abs(points) ** 2).sum()))  # chosen: what the kernels leave of a point
        tip = (float(axis_mm[0, 0]), float(axis_mm[0, 1]), float(axis_mm[0, 2]))
        return DrawnNeedle(nothing, nothing.astype(np.complex64), (x_mm, z_mm - radius), tip, shown)

    def draw_specular(self, drawn: DrawnNeedle, out: C64, touched: NDArray[np.bool_]) -> None:
        """Add the specular echo and its copies to the beamformed lines. out: (samples, lines). touched: (samples,)."""
        p = self.array
        turns = 2 * p.range_step_mm / p.wavelength_mm
        for below_mm, gain in zip(self.copies_mm, self.copies, strict=True):
            r = drawn.line_r + np.float32(below_mm / p.range_step_mm)
            kernels.add_line_echoes(r, drawn.line_amplitude * gain, turns, self.pulse, out, touched)

    def _add(self, r: F32, q: F32, points: C64, pad: int, data: C64) -> None:
        """Add rough echoes with their copies below and their ghosts to either side."""
        p, look = self.array, self.look
        turns = 2 * p.range_step_mm / p.wavelength_mm
        copies = (self.copies_mm / p.range_step_mm).astype(np.float32)
        kernels.add_points(r, q, points, copies, self.copies, turns, self.pulse, pad, data)
        if look.ghost_db > -60:
            ghost = np.full(1, 10 ** (look.ghost_db / 20) * 1j, np.complex64)
            aside = np.float32(look.ghost_mm / p.pitch_mm(float(r[0]) * p.range_step_mm))
            for side in (-aside, aside):
                kernels.add_points(r, q + side, points, copies[:1], ghost, turns, self.pulse, pad, data)

    def _shade(self, r: F32, q: F32, fraction: F64, order: NDArray[np.int64], pad: int, data: C64) -> None:
        """Darken what lies below the shaft. fraction: (n,) how much of the beam each point stops, 0 to 1."""
        p = self.array
        lines = np.arange(p.lines)
        shaft_r = np.interp(lines, q[order], r[order]).astype(np.float32)
        blocked = np.interp(lines, q[order], (self.look.shadow * fraction)[order])
        blocked[(lines < q[order[0]] - 2) | (lines > q[order[-1]] + 2)] = 0.0
        lower = shaft_r + np.float32(0.5 * self.look.diameter_mm / p.range_step_mm)
        cone = 0.5 / p.f_number_rx * p.range_step_mm / p.pitch_mm(float(r[0]) * p.range_step_mm)
        side = 1.0 if q[0] < q[-1] else -1.0
        refill = 0.02 * p.range_step_mm
        kernels.shade(data, pad, lower, blocked.astype(np.float32), float(r[0]), float(q[0]), side, cone, refill)


def _vary_along(modulation: F64, look: Appearance, step_mm: float, rng: np.random.Generator) -> None:
    """Put beads, the dip before the tip and the end of the visible stretch into the drop-outs, in place."""
    back = np.arange(len(modulation)) * step_mm
    if look.bead_db > 0:
        wave = np.sin(2 * np.pi * (back / look.bead_mm + rng.random()))
        modulation *= 10 ** (look.bead_db / 20 * wave)
    if look.dip_db < 0:
        modulation[1:] *= 10 ** (look.dip_db / 20 * np.clip((look.dip_mm - back[1:]) / 0.4, 0, 1))
    if look.fade_mm > 0:
        soft = 0.12 * look.fade_mm  # chosen: the echo dies away over about half of this length
        modulation *= 1 / (1 + np.exp(np.clip((back - look.fade_mm) / soft, -40, 40)))


@njit(cache=True, nogil=True)
def _at(grid: F64, i: float, j: float) -> float:
    """Bilinear value of a grid at a fractional row i and column j. The edges are extended."""
    u = min(max(i, 0.0), grid.shape[0] - 1.000001)
    v = min(max(j, 0.0), grid.shape[1] - 1.000001)
    a, b = int(u), int(v)
    f, g = u - a, v - b
    top = grid[a, b] * (1 - g) + grid[a, b + 1] * g
    bottom = grid[a + 1, b] * (1 - g) + grid[a + 1, b + 1] * g
    return float(top * (1 - f) + bottom * f)


@njit(cache=True, nogil=True)
def lobes(
    misalignment_rad: float, aperture_rad: float, surface_rad: float, rough_rad: float, floor: float
) -> tuple[float, float]:
    """(specular, rough) amplitude factor at an angle between the shaft's normal and the beam. Angles in rad."""
    a = abs(misalignment_rad)
    specular = min(max(1 - a / (aperture_rad + 2 * surface_rad), 0.0), 1.0) ** 1.5
    specular *= math.exp(-((a / (aperture_rad + surface_rad)) ** 2))
    return specular, max(math.exp(-0.5 * (a / rough_rad) ** 2), floor)


@njit(cache=True, nogil=True)
def surfaces(
    axis: F64,
    radius_mm: float,
    bevel_rad: float,
    face: float,
    optics: tuple[float, float, float, float, float],
    widths: tuple[float, float, float, float],
    beam: tuple[F64, F64, float, float],
    level: F32,
    modulation: F64,
    wall: F64,
    r: F32,
    q: F32,
    shine: F64,
    rough: F64,
    mask: F64,
    blocked: F64,
) -> None:
    """The wall that faces the probe, point by point from the apex back: where it is and how it echoes.

    axis: (n, 3) in mm. face: 1 where the bevel's face looks at the probe, 0 where it looks away. optics: radius of the
    array in mm, line step in mm or rad, middle line, range step in mm, depth in mm. widths: of the lobes, see
    `NeedleEcho.widths`. beam: elevation response and energy below y, both (zones, m), first y and its step in mm.
    level: what occlusion leaves, every BLOCK samples and lines. modulation: (n,) drop-outs.
    Filled in: wall (n, 2) x and z in mm. r, q (n,) in samples and lines. shine, rough (n,) specular and rough factor.
    mask (n,) what plane, drop-outs and occlusion leave. blocked (n,) fraction of the beam that is stopped.
    """
    array_mm, line_step, middle, step_mm, depth_mm = optics
    weight, below, y0, dy = beam
    n = axis.shape[0]
    bevel_mm = 2 * radius_mm / math.tan(bevel_rad)
    for k in range(n):
        a, b = max(k - 1, 0), min(k + 1, n - 1)
        tx, ty, tz = axis[b, 0] - axis[a, 0], axis[b, 1] - axis[a, 1], axis[b, 2] - axis[a, 2]
        norm = math.sqrt(tx * tx + ty * ty + tz * tz)
        x, z = axis[k, 0], axis[k, 2]
        bx, bz = 0.0, 1.0
        if array_mm > 0:
            far = math.hypot(x, z + array_mm)
            bx, bz = x / far, (z + array_mm) / far
        misaligned = math.asin(min(max((tx * bx + tz * bz) / max(norm, 1e-12), -1.0), 1.0))
        nx, nz = -tz, tx
        away = math.copysign(1.0, nx * bx + nz * bz) / max(math.hypot(nx, nz), 1e-12)
        s = k * step_mm
        offset = radius_mm * (-1 + 2 * face * max(0.0, 1 - s / bevel_mm)) * away
        x += nx * offset
        z += nz * offset
        wall[k, 0], wall[k, 1] = x, z
        if array_mm > 0:
            range_mm, line = math.hypot(x, z + array_mm) - array_mm, math.atan2(x, z + array_mm) / line_step + middle
        else:
            range_mm, line = z, x / line_step + middle
        r[k], q[k] = range_mm / step_mm, line
        if s < bevel_mm:
            misaligned -= bevel_rad * face  # the face falls away from the probe towards the tip
        shine[k], rough[k] = lobes(misaligned, *widths)
        zone, at = range_mm / depth_mm * weight.shape[0] - 0.5, (axis[k, 1] - y0) / dy
        hidden = _at(level, r[k] / kernels.BLOCK, q[k] / kernels.BLOCK)
        mask[k] = _at(weight, zone, at) * modulation[k] * hidden
        blocked[k] = _at(below, zone, at + radius_mm / dy) - _at(below, zone, at - radius_mm / dy)


def sample_blocks(grid: F32, r: F32, q: F32) -> F64:
    """(n,) values at samples r and lines q of a grid given every BLOCK samples and lines."""
    out: F64 = sample_grid(grid, r / kernels.BLOCK, q / kernels.BLOCK)
    return out


@njit(cache=True, nogil=True)
def sample_grid(grid: F64, i: F64, j: F64) -> F64:
    """(n,) bilinear values of a grid at fractional rows i and columns j. The edges are extended."""
    out = np.empty(i.shape[0])
    for p in range(i.shape[0]):
        out[p] = _at(grid, i[p], j[p])
    return out
