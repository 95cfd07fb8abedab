"""Tissue as a complex Gaussian scatterer field, filtered by the elevation response and the pulse (method G).

The field lives in the reference frame of the transducer's beams (range, line) and is periodic in elevation.
A frame is one blended elevation slice of it, gathered at displaced coordinates with the exact carrier phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.sim.probe import LinearArray, elevation_response

C64 = NDArray[np.complex64]
F32 = NDArray[np.float32]

MARGIN_SAMPLES = 40
MARGIN_LINES = 24
OVERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Tissue:
    """Recipe of a muscle-like tissue. Levels in dB over the mean scattering.

    fibres: bright thin reflectors along the muscle's direction, their number, angle (deg below the
    horizontal), spread and levels. modulation_db: log-normal variation of the echogenicity along the fibres.
    """

    fibres: int = 250
    fibre_angle_deg: float = 6.0
    fibre_spread_deg: float = 6.0
    fibre_db: tuple[float, float] = (2.0, 16.0)
    modulation_db: float = 4.5


@dataclass(frozen=True, slots=True)
class Field:
    """volume[y, r, l]: baseband field; r0_mm, l0_mm: where sample 0 lies; steps in mm."""

    volume: C64
    r0_mm: float
    x0_mm: float
    dr_mm: float
    dx_mm: float
    dy_mm: float


def build_field(
    array: LinearArray,
    tissue: Tissue,
    rng: np.random.Generator,
    *,
    period_mm: float = 6.0,
    dy_mm: float = 0.25,
) -> Field:
    """Draw a field. Unit mean power everywhere before echogenicity and fibres."""
    ny = round(period_mm / dy_mm)
    dr, dx = array.range_step_mm / OVERSAMPLING, array.pitch_mm
    nr = (array.samples + 2 * MARGIN_SAMPLES) * OVERSAMPLING
    nx = array.lines + 2 * MARGIN_LINES
    r0, x0 = -MARGIN_SAMPLES * array.range_step_mm, -array.width_mm / 2 - MARGIN_LINES * dx
    volume = np.empty((ny, nr, nx), np.complex64)
    echo = echogenicity(nr, nx, dr, dx, tissue, rng)
    lines = _fibres(ny, nr, nx, r0, x0, dr, dx, dy_mm, array, tissue, rng)
    y = (np.arange(ny) - ny // 2) * dy_mm
    block = 64
    for i in range(0, nr, block):
        j = min(i + block, nr)
        z = min(max(r0 + (i + j) / 2 * dr, 3.0), array.depth_mm)
        h = elevation_response(array, y, z)
        h /= np.sqrt((np.abs(h) ** 2).sum())
        noise = rng.standard_normal((ny, j - i, nx, 2), dtype=np.float32).view(np.complex64)[..., 0]
        noise *= echo[i:j] * np.float32(math.sqrt(0.5))
        noise += lines[:, i:j]
        spectrum = np.fft.fft(np.fft.ifftshift(h)).astype(np.complex64)
        volume[:, i:j] = np.fft.ifft(np.fft.fft(noise, axis=0) * spectrum[:, None, None], axis=0)
    pulse = array.pulse(dr)
    one = np.ones(1, np.float32)
    for k in range(ny):
        slice_k = volume[k].view(np.float32).reshape(nr, nx, 2)
        volume[k] = (
            cv2.sepFilter2D(slice_k, -1, one, pulse, borderType=cv2.BORDER_REFLECT)
            .reshape(nr, 2 * nx)
            .view(np.complex64)
        )
    return Field(volume, r0, x0, dr, dx, dy_mm)


def echogenicity(nr: int, nx: int, dr: float, dx: float, tissue: Tissue, rng: np.random.Generator) -> F32:
    """(nr, nx) amplitude: log-normal, long along the fibres (4 mm) and short across them (0.4 mm)."""
    step = 0.2
    h, w = math.ceil(nr * dr / step) + 1, math.ceil(nx * dx / step) + 1
    white = rng.standard_normal((h, w)).astype(np.float32)
    a = math.radians(tissue.fibre_angle_deg)
    u = np.arange(-60, 61) * step
    X, Z = np.meshgrid(u, u)
    along, across = X * math.cos(a) + Z * math.sin(a), -X * math.sin(a) + Z * math.cos(a)
    kernel = np.exp(-0.5 * ((along / 4.0) ** 2 + (across / 0.4) ** 2)).astype(np.float32)
    smooth = cv2.filter2D(white, -1, kernel, borderType=cv2.BORDER_REFLECT)
    smooth /= smooth.std()
    out: F32 = np.power(10.0, tissue.modulation_db / 20 * cv2.resize(smooth, (nx, nr))).astype(np.float32)
    return out


def _fibres(
    ny: int,
    nr: int,
    nx: int,
    r0: float,
    x0: float,
    dr: float,
    dx: float,
    dy: float,
    array: LinearArray,
    tissue: Tissue,
    rng: np.random.Generator,
) -> C64:
    """Coherent thin reflectors: points every 0.03 mm with the exact phase, a Gaussian in elevation."""
    out = np.zeros((ny, nr, nx), np.complex64)
    for _ in range(tissue.fibres):
        length, angle = rng.uniform(3, 16), rng.normal(tissue.fibre_angle_deg, tissue.fibre_spread_deg)
        x_mid, z_mid = rng.uniform(x0, x0 + nx * dx), rng.uniform(1.0, array.depth_mm)
        y_mid, y_width = rng.uniform(0, ny * dy), rng.uniform(0.6, 2.5)
        level = 10 ** (rng.uniform(*tissue.fibre_db) / 20)
        t = np.arange(-length / 2, length / 2, 0.03)
        bend = rng.normal(0, 0.004) * t * t
        a = math.radians(angle)
        x, z = x_mid + t * math.cos(a), z_mid + t * math.sin(a) + bend
        wander = np.exp(2j * np.pi * 0.35 * np.cumsum(rng.normal(0, 0.05, len(t))))
        amplitude = level * 0.32 * np.sqrt(np.hanning(len(t))) * wander
        value = (amplitude * np.exp(-4j * np.pi * z / array.wavelength_mm)).astype(np.complex64)
        ix, iz = np.round((x - x0) / dx).astype(int), np.round((z - r0) / dr).astype(int)
        inside = (ix >= 0) & (ix < nx) & (iz >= 0) & (iz < nr)
        distance = np.abs((np.arange(ny) * dy - y_mid + ny * dy / 2) % (ny * dy) - ny * dy / 2)
        for k in np.flatnonzero(distance < 2.4 * y_width):
            w = np.float32(math.exp(-0.5 * (distance[k] / y_width) ** 2))
            np.add.at(out[k], (iz[inside], ix[inside]), w * value[inside])
    return out
