"""The transducer: geometry of its beams, pulse and point spread functions from aperture physics.

Baseband signal of a scatterer at range r: exp(-j 2 k0 r), k0 = 2 pi f_c / c. Lateral and elevation responses
are Fresnel sums over the aperture with the same sign of phase. They are summed over five frequencies of the band.

| symbol | name here | unit |
| --- | --- | --- |
| f_c, BW | `centre_mhz`, `bandwidth` (-6 dB, fraction of f_c) | MHz, - |
| c | `SPEED_MM_US` | mm/us |
| F# | `f_number_tx`, `f_number_rx` | - |
| R | `radius_mm` (0: a linear array) | mm |
| dr | `range_step_mm` | mm |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import C64, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import ConvexProbe, LinearProbe, Point, Probe

C128 = NDArray[np.complex128]

SPEED_MM_US = 1.54  # of sound in soft tissue
ZONES = 64  # chosen: number of depth zones of a full simulation, each with its own lateral response


@dataclass(frozen=True, slots=True)
class Transducer:
    """A linear or convex array and how it is driven.

    The defaults are a 7 MHz linear array like the one in Mathiassen et al. 2017.
    """

    centre_mhz: float = 7.0
    """Centre frequency, MHz. 0.001 to 1000."""
    bandwidth: float = 0.42
    """Bandwidth at -6 dB as a fraction of the centre frequency, no unit. 0.05 to 1.5."""
    width_mm: float = 38.0
    """Length of a linear array's face, mm. 0.001 to 1000."""
    radius_mm: float = 0.0
    """Radius of a convex array, mm. 0: the array is linear. Up to 500."""
    fov_deg: float = 0.0
    """Angle of view of a convex array, degrees. 5 to 120."""
    depth_mm: float = 50.0
    """Depth of the image along a line, mm. 0.001 to 1000."""
    lines: int = 256
    """Number of lines of an image. 32 to 1024."""
    range_step_mm: float = 0.1
    """Distance between samples along a line, mm. 0.001 to 1000."""
    f_number_tx: float = 3.0
    """Focal depth over aperture in transmit, no unit. 0: a plane wave. Up to 500."""
    f_number_rx: float = 2.0
    """Depth over aperture in receive, no unit. 0.001 to 1000."""
    focus_mm: float = 25.0
    """Depth of the transmit focus, mm. 0.001 to 1000."""
    rx_aperture_max_mm: float = 25.0
    """Largest receive aperture, mm. 0.001 to 1000."""
    rx_window: Literal["hamming", "rect"] = "hamming"
    """Apodisation of the receive aperture."""
    lens_mm: float = 4.5
    """Aperture in elevation, mm. 0.001 to 1000."""
    lens_focus_mm: float = 20.0
    """Depth of the elevation focus, mm. 0.001 to 1000."""
    zones: int = ZONES
    """Number of depth zones, each with its own response. Few are drawn up faster. 4 to 64."""

    def __post_init__(self) -> None:
        check_finite(self, "transducer")
        lengths = ("depth_mm", "range_step_mm", "focus_mm", "lens_mm")
        for name in ("centre_mhz", *lengths, "f_number_rx", "rx_aperture_max_mm", "lens_focus_mm", "width_mm"):
            check_range(self, "transducer", 1e-3, 1e3, name)
        check_range(self, "transducer", 0.05, 1.5, "bandwidth")
        check_range(self, "transducer", 0.0, 500.0, "radius_mm", "f_number_tx")
        check_range(self, "transducer", 32, 1024, "lines")
        check_range(self, "transducer", 4, ZONES, "zones")
        if self.convex:
            check_range(self, "transducer", 5.0, 120.0, "fov_deg")
        if self.rx_window not in ("hamming", "rect"):
            raise InputError(f"transducer: rx_window is {self.rx_window!r}; hamming and rect are possible")

    @property
    def convex(self) -> bool:
        """True for a curved array."""
        return self.radius_mm > 0

    @property
    def line_step(self) -> float:
        """Distance between lines: mm for a linear array, rad for a convex one."""
        return (math.radians(self.fov_deg) if self.convex else self.width_mm) / (self.lines - 1)

    @property
    def samples(self) -> int:
        """Number of samples along a line."""
        return round(self.depth_mm / self.range_step_mm)

    @property
    def wavelength_mm(self) -> float:
        """Wavelength c / f_c, mm."""
        return SPEED_MM_US / self.centre_mhz

    @property
    def pulse_fwhm_mm(self) -> float:
        """Length of the two-way Gaussian pulse at half its height, mm: (c / 2) (4 ln 2 / pi) / (BW f_c)."""
        return SPEED_MM_US / 2 * 4 * math.log(2) / math.pi / (self.bandwidth * self.centre_mhz)

    def pitch_mm(self, range_mm: float) -> float:
        """Distance between neighbouring lines at a range, mm."""
        return self.line_step * (self.radius_mm + range_mm) if self.convex else self.line_step

    def to_beam(self, x_mm: F64, z_mm: F64) -> tuple[F64, F64]:
        """(lateral, depth) in mm -> (range in mm, line). The leftmost line is 0, and lines may be fractional."""
        middle = (self.lines - 1) / 2
        if not self.convex:
            return z_mm, x_mm / self.line_step + middle
        deep = z_mm + self.radius_mm
        return np.hypot(x_mm, deep) - self.radius_mm, np.arctan2(x_mm, deep) / self.line_step + middle

    def from_beam(self, range_mm: F64, line: F64) -> tuple[F64, F64]:
        """(range, line) -> (lateral, depth) in mm."""
        along = (line - (self.lines - 1) / 2) * self.line_step
        if not self.convex:
            return along, range_mm
        r = range_mm + self.radius_mm
        return r * np.sin(along), r * np.cos(along) - self.radius_mm

    def beam_direction(self, x_mm: F64, z_mm: F64) -> tuple[F64, F64]:
        """Unit vector (x, z) of the beam through a point, away from the face."""
        if not self.convex:
            return np.zeros_like(x_mm), np.ones_like(x_mm)
        deep = z_mm + self.radius_mm
        r = np.hypot(x_mm, deep)
        return x_mm / r, deep / r

    def drawn(self, apex_px: Point) -> Probe:
        """The geometry that travels with a frame. apex_px: the middle of the face in the image, px."""
        if self.convex:
            return ConvexProbe(apex_px, self.radius_mm, math.radians(self.fov_deg), self.depth_mm)
        return LinearProbe(apex_px, self.width_mm, self.depth_mm)

    def zone_depths_mm(self) -> F64:
        """(zones,) depth of the middle of each zone, mm."""
        return (np.arange(self.zones) + 0.5) * self.depth_mm / self.zones

    def band(self) -> tuple[F64, F64]:
        """Five frequencies of the band in MHz and their two-way amplitudes."""
        f = self.centre_mhz * np.array([0.8, 0.9, 1.0, 1.1, 1.2])
        return f, np.exp(-(((f - self.centre_mhz) / (self.bandwidth * self.centre_mhz / 2.3548)) ** 2) / 2)

    def pulse(self, step_mm: float) -> NDArray[np.float32]:
        """The pulse's envelope sampled every step_mm. Its energy is 1, its length odd."""
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
    """One-way response of a focused aperture at (x, z), relative to exp(-j k z).

    x_mm and the result: (n,). k: wave number, rad/mm. hamming: the aperture is apodised.
    """
    u = np.linspace(-aperture_mm / 2, aperture_mm / 2, 97)
    w = 0.54 + 0.46 * np.cos(2 * np.pi * u / aperture_mm) if hamming else np.ones_like(u)
    delay = np.sqrt(focus_mm**2 + u**2) - focus_mm
    path = np.sqrt(z_mm**2 + (x_mm[:, None] - u) ** 2) - z_mm
    out: C128 = (w * np.exp(-1j * k * (path - delay))).sum(1) / w.sum()
    return out


def lateral_response(array: Transducer, x_mm: NDArray[np.floating[Any]], z_mm: float) -> C128:
    """(n,) two-way lateral response at depth z: fixed transmit focus (or plane wave), dynamic receive focus."""
    rx = min(max(z_mm / array.f_number_rx, 2.0), array.rx_aperture_max_mm)
    total = np.zeros(len(x_mm), np.complex128)
    for f, w in zip(*array.band(), strict=True):
        k = 2 * math.pi * f / SPEED_MM_US
        one_way = fresnel(x_mm, z_mm, k, rx, z_mm, array.rx_window == "hamming")
        if array.f_number_tx > 0:
            one_way *= fresnel(x_mm, z_mm, k, array.focus_mm / array.f_number_tx, array.focus_mm)
        total += w * one_way
    return total


def elevation_response(array: Transducer, y_mm: NDArray[np.floating[Any]], z_mm: float) -> C128:
    """(n,) two-way elevation response of the fixed lens at depth z. Its phase decides how fast speckle decorrelates."""
    total = np.zeros(len(y_mm), np.complex128)
    for f, w in zip(*array.band(), strict=True):
        k = 2 * math.pi * f / SPEED_MM_US
        total += w * fresnel(y_mm, max(z_mm, 3.0), k, array.lens_mm, array.lens_focus_mm) ** 2
    return total


@lru_cache(maxsize=16)
def _lateral_bank(array: Transducer, half: int) -> C128:
    """(zones, 2 half + 1) lateral responses of all zones, each of unit energy, not steered."""
    taps = np.arange(-half, half + 1)
    depths = array.zone_depths_mm()
    pitch = np.array([array.pitch_mm(z) for z in depths])
    out = np.array([lateral_response(array, taps * p, max(z, 3.0)) for z, p in zip(depths, pitch, strict=True)])
    out /= np.sqrt((np.abs(out) ** 2).sum(1, keepdims=True))
    return out


@lru_cache(maxsize=16)
def lateral_kernels(array: Transducer, steer_rad: float = 0.0) -> C64:
    """(zones, taps) kernels along the lines, each of unit energy. steer_rad: angle of a spatial compound's look."""
    half = 12
    taps = np.arange(-half, half + 1)
    pitch = np.array([array.pitch_mm(z) for z in array.zone_depths_mm()])
    out = _lateral_bank(array, half)
    level = np.sqrt((np.abs(out / np.abs(out).max(1, keepdims=True)) ** 2).mean(0))
    reach = max(abs(i - half) for i in np.flatnonzero(level > 10 ** (-34 / 20)))
    keep = slice(half - reach, half + reach + 1)
    turned = np.exp(-4j * np.pi * math.sin(steer_rad) / array.wavelength_mm * pitch[:, None] * taps[keep])
    kernels: C64 = (out[:, keep] * turned).astype(np.complex64)
    return kernels


@lru_cache(maxsize=8)
def elevation_weights(array: Transducer) -> tuple[F64, F64, F64]:
    """((n,) y in mm, (zones, n) amplitude over the largest, (zones, n) fraction of the beam's energy below y).

    They say how a needle fades when it leaves the plane, and how much of the beam it can stop.
    """
    y = np.linspace(-8.0, 8.0, 321 if array.zones == ZONES else 81)  # chosen: fewer where speed is asked for
    w = np.array([np.abs(elevation_response(array, y, z)) for z in array.zone_depths_mm()])
    energy = np.cumsum(w**2, axis=1)
    return y, w / w.max(1, keepdims=True), energy / energy[:, -1:]
