"""What a needle looks like: specular and rough echoes of the shaft, the tip, reverberation, shadow.

The visible line of a needle is the wall that faces the transducer. Its bevel faces away here, so that this
wall runs straight to the apex: the drawn tip is the geometric one. Levels are dB over the tissue's rms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.sim import kernels
from sonosteer.sim.probe import ZONES, LinearArray, elevation_weights

C64 = NDArray[np.complex64]
F64 = NDArray[np.float64]
STEP_MM = 0.08


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a needle echoes. Defaults: a sanded 14G biopsy needle, as in Paper T.

    specular_lobe_deg, rough_lobe_deg: how fast each echo falls with the angle between the shaft's normal and
    the beam. dropout_db: log-normal variation along the shaft. reverberations: number, spacing and decay of
    the copies below the shaft. shadow: share of the beam that the shaft stops when centred.
    """

    diameter_mm: float = 2.108
    specular_db: float = 38.0
    rough_db: float = 29.0
    floor_db: float = -14.0
    tip_db: float = 32.0
    specular_lobe_deg: float = 6.0
    rough_lobe_deg: float = 30.0
    dropout_db: float = 3.0
    reverberations: int = 5
    reverberation_mm: float = 0.55
    reverberation_db: float = -5.0
    shadow: float = 0.6


@dataclass(frozen=True)
class NeedleEcho:
    """A needle's fixed material pattern: roughness, drop-outs and phases travel with the shaft."""

    array: LinearArray
    look: Appearance
    roughness: C64
    modulation: F64
    phases: F64
    pulse: NDArray[np.float32]

    @classmethod
    def make(
        cls, array: LinearArray, look: Appearance, rng: np.random.Generator, length_mm: float = 90.0
    ) -> NeedleEcho:
        """Draw the pattern of a needle of `length_mm`, counted from the tip."""
        n = round(length_mm / STEP_MM)
        rough = (rng.standard_normal((n, 2)) * math.sqrt(0.5)).astype(np.float32).view(np.complex64)[:, 0]
        t = np.arange(-60, 61) * STEP_MM
        kernel = np.exp(-0.5 * (t / 1.5) ** 2)
        smooth = np.convolve(rng.standard_normal(n + 120), kernel, "valid")
        modulation = 10 ** (look.dropout_db / 20 * smooth / smooth.std())
        return cls(array, look, rough, modulation, rng.random(16), array.pulse(array.range_step_mm))

    def lobes(self, misalignment_rad: F64) -> tuple[F64, F64]:
        """(specular, rough) amplitude factor against the angle between the shaft's normal and the beam."""
        a = np.abs(misalignment_rad)
        aperture = 0.5 * math.atan(0.5 / self.array.f_number_rx) + 0.5 * math.atan(0.5 / self.array.f_number_tx)
        s = math.radians(self.look.specular_lobe_deg)
        specular = np.clip(1 - a / (aperture + 2 * s), 0, 1) ** 1.5 * np.exp(-((a / (aperture + s)) ** 2))
        rough = np.maximum(
            np.exp(-0.5 * (a / math.radians(self.look.rough_lobe_deg)) ** 2), 10 ** (self.look.floor_db / 20)
        )
        return specular, rough

    def elevation(self, y_mm: F64, z_mm: F64) -> F64:
        """Amplitude left at a distance y_mm from the image plane."""
        y, w = elevation_weights(self.array)
        zone = np.clip(z_mm / self.array.depth_mm * ZONES, 0, ZONES - 1).astype(int)
        i = np.clip(np.abs(y_mm) / y[1], 0, len(y) - 1).astype(int)
        out: F64 = w[zone, i]
        return out

    def tip_level_db(self, angle_rad: float, y_mm: float, z_mm: float) -> float:
        """Level of the shaft's last millimetres over the tissue: what `visible` is judged by."""
        _, rough = self.lobes(np.array([angle_rad]))
        w = self.elevation(np.array([y_mm]), np.array([z_mm]))
        near_tip = float(np.median(self.modulation[: round(3.0 / STEP_MM)]))
        return self.look.rough_db + 20 * math.log10(float(rough[0] * w[0]) * near_tip + 1e-9)

    def draw(self, wall_mm: F64, pad: int, data: C64) -> tuple[NDArray[np.float32], C64]:
        """Shade the tissue and add the rough echoes; return (range, amplitude) of the specular echo per line.

        wall_mm: (n, 3) points (x lateral, z depth, y elevation) of the wall that faces the transducer, from
        the tip back, STEP_MM apart.
        """
        p, look = self.array, self.look
        n = min(len(wall_mm), len(self.roughness))
        x, z, y = wall_mm[:n].T
        t = np.gradient(wall_mm[:n], axis=0)
        t /= np.linalg.norm(t, axis=1, keepdims=True)
        angle = np.arcsin(np.clip(t[:, 1], -1, 1))
        specular, rough = self.lobes(angle)
        weight = self.elevation(y, z)
        r = (z / p.range_step_mm).astype(np.float32)
        q = ((x + p.width_mm / 2) / p.pitch_mm).astype(np.float32)
        lines = np.arange(p.lines)
        order = np.argsort(q)
        shaft_r = np.interp(lines, q[order], r[order]).astype(np.float32)
        covered = (lines >= q.min()) & (lines <= q.max())
        self._shade(r, q, weight, covered, shaft_r, order, pad, data)

        turns = 2 * p.range_step_mm / p.wavelength_mm
        amplitude = 10 ** (look.rough_db / 20) * rough * weight * self.modulation[:n] * math.sqrt(STEP_MM / 0.1)
        points = self.roughness[:n] * amplitude.astype(np.float32)
        points[:2] += np.float32(10 ** (look.tip_db / 20) / 2 * weight[0] * (0.35 + 0.65 * rough[0]))
        step = look.reverberation_mm / p.range_step_mm
        for k in range(look.reverberations + 1):
            gain = np.complex64(10 ** (look.reverberation_db * k / 20) * np.exp(2j * np.pi * self.phases[k] * (k > 0)))
            kernels.add_points(r + np.float32(k * step), q, points * gain, turns, self.pulse, pad, data)

        strength = 10 ** (look.specular_db / 20) * specular * weight * self.modulation[:n]
        per_line = np.where(covered, np.interp(lines, q[order], strength[order]), 0.0)
        return shaft_r, per_line.astype(np.complex64)

    def draw_specular(
        self, shaft_r: NDArray[np.float32], amplitude: C64, re: NDArray[np.float32], im: NDArray[np.float32]
    ) -> None:
        """Add the specular echo and its reverberation to the beamformed lines."""
        p, look = self.array, self.look
        turns = 2 * p.range_step_mm / p.wavelength_mm
        step = look.reverberation_mm / p.range_step_mm
        for k in range(look.reverberations + 1):
            gain = np.complex64(10 ** (look.reverberation_db * k / 20) * np.exp(2j * np.pi * self.phases[k] * (k > 0)))
            kernels.add_line_echoes(shaft_r + np.float32(k * step), amplitude * gain, turns, self.pulse, re, im)

    def _shade(
        self,
        r: NDArray[np.float32],
        q: NDArray[np.float32],
        weight: F64,
        covered: NDArray[np.bool_],
        shaft_r: NDArray[np.float32],
        order: NDArray[np.int64],
        pad: int,
        data: C64,
    ) -> None:
        p = self.array
        blocked = np.interp(np.arange(p.lines), q[order], (self.look.shadow * weight)[order])
        side = -1.0 if q[0] > q[-1] else 1.0
        beyond = np.arange(p.lines) < q.min() - 2 if side < 0 else np.arange(p.lines) > q.max() + 2
        blocked[beyond & ~covered] = 0.0
        lower = shaft_r + np.float32(0.5 * self.look.diameter_mm / p.range_step_mm)
        cone = 0.5 / p.f_number_rx * p.range_step_mm / p.pitch_mm
        kernels.shade(
            data,
            pad,
            lower,
            blocked.astype(np.float32),
            float(r[0]),
            float(q[0]),
            side,
            cone,
            0.02 * p.range_step_mm,
        )
