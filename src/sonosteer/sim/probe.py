"""The transducer: geometry, pulse and point spread functions from aperture physics.

Baseband signal of a scatterer at range r: exp(-j 2 k0 r), k0 = 2 pi f_c / c. Lateral and elevation responses
are Fresnel sums over the aperture with the same sign of phase, over five frequencies of the band.

| symbol | name here | unit |
| --- | --- | --- |
| f_c, BW | `centre_mhz`, `bandwidth` (-6 dB, fraction of f_c) | MHz, - |
| c | `SPEED_MM_US` | mm/us |
| F# | `f_number_tx`, `f_number_rx` | - |
| dr, dl | `range_step_mm`, `pitch_mm` | mm |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

C64 = NDArray[np.complex64]
C128 = NDArray[np.complex128]

SPEED_MM_US = 1.54
ZONES = 64  # ours: depth zones of the lateral response


@dataclass(frozen=True, slots=True)
class LinearArray:
    """A linear transducer and how it is driven. Defaults: the 7 MHz set-up of Paper T's kind of scanner."""

    centre_mhz: float = 7.0
    bandwidth: float = 0.42
    width_mm: float = 38.0
    depth_mm: float = 50.0
    lines: int = 256
    range_step_mm: float = 0.1
    f_number_tx: float = 3.0
    f_number_rx: float = 2.0
    focus_mm: float = 25.0
    rx_aperture_max_mm: float = 25.0
    lens_mm: float = 4.5
    lens_focus_mm: float = 20.0

    @property
    def pitch_mm(self) -> float:
        """Distance between lines."""
        return self.width_mm / (self.lines - 1)

    @property
    def samples(self) -> int:
        """Samples along the range."""
        return round(self.depth_mm / self.range_step_mm)

    @property
    def wavelength_mm(self) -> float:
        """c / f_c."""
        return SPEED_MM_US / self.centre_mhz

    @property
    def pulse_fwhm_mm(self) -> float:
        """Two-way Gaussian pulse: (c / 2) (4 ln 2 / pi) / (BW f_c)."""
        return SPEED_MM_US / 2 * 4 * math.log(2) / math.pi / (self.bandwidth * self.centre_mhz)

    def zone_depths_mm(self) -> NDArray[np.float64]:
        """Middle of each depth zone."""
        return (np.arange(ZONES) + 0.5) * self.depth_mm / ZONES

    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Five frequencies of the band in MHz and their two-way amplitudes."""
        f = self.centre_mhz * np.array([0.8, 0.9, 1.0, 1.1, 1.2])
        return f, np.exp(-(((f - self.centre_mhz) / (self.bandwidth * self.centre_mhz / 2.3548)) ** 2) / 2)

    def pulse(self, step_mm: float) -> NDArray[np.float32]:
        """The pulse's envelope sampled every step_mm, unit energy, odd length."""
        sigma = self.pulse_fwhm_mm / 2.3548
        half = math.ceil(2.8 * sigma / step_mm)
        g = np.exp(-((np.arange(-half, half + 1) * step_mm) ** 2) / 2 / sigma**2)
        out: NDArray[np.float32] = (g / np.sqrt((g**2).sum())).astype(np.float32)
        return out


def fresnel(
    x_mm: NDArray[np.floating[Any]],
    z_mm: float,
    k: float,
    aperture_mm: float,
    focus_mm: float,
    hamming: bool = False,
) -> C128:
    """One-way response at (x, z) of an aperture focused at `focus_mm`, relative to exp(-j k z)."""
    u = np.linspace(-aperture_mm / 2, aperture_mm / 2, 97)
    w = 0.54 + 0.46 * np.cos(2 * np.pi * u / aperture_mm) if hamming else np.ones_like(u)
    delay = np.sqrt(focus_mm**2 + u**2) - focus_mm
    path = np.sqrt(z_mm**2 + (x_mm[:, None] - u) ** 2) - z_mm
    out: C128 = (w * np.exp(-1j * k * (path - delay))).sum(1) / w.sum()
    return out


def lateral_response(array: LinearArray, x_mm: NDArray[np.floating[Any]], z_mm: float) -> C128:
    """Two-way lateral response at depth z: fixed transmit focus, dynamic receive focus (Hamming)."""
    tx = array.focus_mm / array.f_number_tx
    rx = min(max(z_mm / array.f_number_rx, 2.0), array.rx_aperture_max_mm)
    total = np.zeros(len(x_mm), np.complex128)
    for f, w in zip(*array.band(), strict=True):
        k = 2 * math.pi * f / SPEED_MM_US
        total += w * fresnel(x_mm, z_mm, k, tx, array.focus_mm) * fresnel(x_mm, z_mm, k, rx, z_mm, True)
    return total


def elevation_response(array: LinearArray, y_mm: NDArray[np.floating[Any]], z_mm: float) -> C128:
    """Two-way elevation response at depth z of the fixed lens: complex, its phase sets the decorrelation."""
    total = np.zeros(len(y_mm), np.complex128)
    for f, w in zip(*array.band(), strict=True):
        k = 2 * math.pi * f / SPEED_MM_US
        total += w * fresnel(y_mm, max(z_mm, 3.0), k, array.lens_mm, array.lens_focus_mm) ** 2
    return total


@lru_cache(maxsize=4)
def lateral_kernels(array: LinearArray, steer_rad: float = 0.0) -> C64:
    """(ZONES, taps) unit-energy kernels along the lines; steered: one look of a spatial compound."""
    half = 12
    x = np.arange(-half, half + 1) * array.pitch_mm
    out = np.array([lateral_response(array, x, max(z, 3.0)) for z in array.zone_depths_mm()])
    out /= np.sqrt((np.abs(out) ** 2).sum(1, keepdims=True))
    level = np.abs(out).max(0) / np.abs(out).max()
    reach = max(abs(i - half) for i in np.flatnonzero(level > 10 ** (-34 / 20)))
    out = out[:, half - reach : half + reach + 1]
    x = x[half - reach : half + reach + 1]
    out = out * np.exp(-2j * np.pi * 2 * math.sin(steer_rad) / array.wavelength_mm * x)
    kernels: C64 = out.astype(np.complex64)
    return kernels


@lru_cache(maxsize=4)
def elevation_weights(array: LinearArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(y in mm, |response| relative to y = 0 per zone): how a needle fades when it leaves the plane."""
    y = np.linspace(0.0, 5.0, 101)
    w = np.array([np.abs(elevation_response(array, y, z)) for z in array.zone_depths_mm()])
    return y, w / w[:, :1]
