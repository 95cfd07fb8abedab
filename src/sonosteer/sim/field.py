"""Tissue as a complex Gaussian scatterer field, filtered by the elevation response and the pulse.

The field lives in the reference frame of the transducer's beams (range, line). It is periodic in elevation and along
the lines. A frame is one blended elevation slice of it, gathered at displaced coordinates with the exact carrier
phase. Structure larger than a few millimetres is not in here but in `anatomy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sonosteer.core.arrays import C64, F32, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.sim import kernels
from sonosteer.sim.probe import Transducer, elevation_response

MARGIN_SAMPLES = 40  # chosen: the field reaches this far beyond the frame, so that displaced tissue is still in it
MARGIN_LINES = 24
OVERSAMPLING = 2  # chosen: samples of the field per sample of a frame
WRAP = 24  # chosen: columns stored twice, so that a block of lines may start anywhere in the period


@dataclass(frozen=True, slots=True)
class TissueTexture:
    """Recipe of a tissue's texture.

    Levels are in dB over the mean scattering. Angles are in degrees below the horizontal.
    """

    fibres: int = 250
    """Number of bright thin reflectors along the muscle's direction. 0 to 5000."""
    fibre_angle_deg: float = 6.0
    """Direction of the muscle, degrees. -90 to 90."""
    fibre_spread_deg: float = 6.0
    """Standard deviation of the fibres' angles, degrees. 0 to 90."""
    fibre_db: tuple[float, float] = (2.0, 16.0)
    """Range that a fibre's level is drawn from, dB."""
    fibre_mm: tuple[float, float] = (3.0, 16.0)
    """Range that a fibre's length is drawn from, mm."""
    modulation_db: float = 4.5
    """Log-normal variation of the echogenicity, dB. 0 to 30."""
    modulation_mm: tuple[float, float] = (4.0, 0.4)
    """Length of that variation along the fibres and across them, mm."""
    fascias: int = 0
    """Number of long bright wavy sheets. 0 to 5000."""
    fascia_db: tuple[float, float] = (8.0, 18.0)
    """Range that a fascia's level is drawn from, dB."""
    decoys: int = 0
    """Number of straight rough segments that lie like a needle, falling or rising. 0 to 5000."""
    decoy_angle_deg: tuple[float, float] = (20.0, 60.0)
    """Range that a decoy's angle is drawn from, degrees. Its sign is drawn, too."""
    decoy_db: tuple[float, float] = (12.0, 20.0)
    """Range that a decoy's level is drawn from, dB."""
    wedges: int = 0
    """Number of short thick bright pieces (folds of fascia, scars). 0 to 5000."""
    wedge_mm: tuple[float, float] = (3.0, 14.0)
    """Range that a wedge's length is drawn from, mm."""
    wedge_thick_mm: tuple[float, float] = (0.3, 1.6)
    """Range of the thickness at its blunt end, mm. The other end is pointed, but is no needle's tip."""
    wedge_angle_deg: tuple[float, float] = (-25.0, 25.0)
    """Range that a wedge's angle is drawn from, degrees."""
    wedge_db: tuple[float, float] = (12.0, 24.0)
    """Range that a wedge's level is drawn from, dB."""
    sparsity: float = 0.0
    """Shape of the gamma distribution of the scatterers (K-distributed speckle, as in gel). 0: none, no unit."""

    def __post_init__(self) -> None:
        check_finite(self, "tissue")
        for name in ("fibres", "fascias", "decoys", "wedges"):
            check_range(self, "tissue", 0, 5000, name)
        check_range(self, "tissue", 0.0, 30.0, "modulation_db", "sparsity")
        check_range(self, "tissue", -90.0, 90.0, "fibre_angle_deg")
        check_range(self, "tissue", 0.0, 90.0, "fibre_spread_deg")


@dataclass(frozen=True, slots=True)
class ScattererField:
    """The scatterers of one scene, filtered by elevation response and pulse."""

    volume: C64
    """(slices, samples, lines) complex baseband field, unit mean power before reflectors, no unit."""
    period: int
    """Number of lines after which the field repeats."""
    r0_mm: float
    """Range of its first sample, mm."""
    line0: float
    """Line of its first column in the transducer's count, no unit."""
    dr_mm: float
    """Distance between samples, mm."""
    dy_mm: float
    """Distance between elevation slices, mm."""


def build_field(
    array: Transducer,
    tissue: TissueTexture,
    rng: np.random.Generator,
    *,
    period_mm: float = 6.0,
    dy_mm: float = 0.25,
) -> ScattererField:
    """Draw a field. Takes about a second.

    Its mean power is 1 everywhere before echogenicity and reflectors. period_mm: period in elevation. dy_mm: distance
    between its slices.
    """
    ny, dr = round(period_mm / dy_mm), array.range_step_mm / OVERSAMPLING
    nr, nx = (array.samples + 2 * MARGIN_SAMPLES) * OVERSAMPLING, array.lines + 2 * MARGIN_LINES
    r0, line0 = -MARGIN_SAMPLES * array.range_step_mm, -float(MARGIN_LINES)
    volume = np.zeros((ny, nr, nx + WRAP), np.complex64)
    body = volume[:, :, :nx]
    field = ScattererField(volume=volume, period=nx, r0_mm=r0, line0=line0, dr_mm=dr, dy_mm=dy_mm)
    _Reflectors(body, field, array, tissue, rng).draw()
    echo = echogenicity(field, array, tissue, rng)
    sparse = _sparseness((ny, nr, nx), tissue.sparsity, rng)
    y = (np.arange(ny) - ny // 2) * dy_mm
    block = 64
    for i in range(0, nr, block):
        j = min(i + block, nr)
        z = min(max(r0 + (i + j) / 2 * dr, 3.0), array.depth_mm)
        h = elevation_response(array, y, z)
        h /= np.sqrt((np.abs(h) ** 2).sum())
        noise = rng.standard_normal((ny, j - i, nx, 2), dtype=np.float32).view(np.complex64)[..., 0]
        noise *= echo[i:j] * np.float32(math.sqrt(0.5))
        if sparse is not None:
            noise *= sparse(i, j)
        noise += body[:, i:j]
        # circular convolution in elevation as a matrix product: faster here than two Fourier transforms
        shift = (np.arange(ny)[:, None] - np.arange(ny)[None, :] + ny // 2) % ny
        body[:, i:j] = (h[shift].astype(np.complex64) @ noise.reshape(ny, -1)).reshape(ny, j - i, nx)
    pulse = array.pulse(dr)
    one = np.ones(1, np.float32)
    for k in range(ny):
        parts = np.ascontiguousarray(body[k]).view(np.float32).reshape(nr, nx, 2)
        cv2.sepFilter2D(parts, -1, one, pulse, dst=parts, borderType=cv2.BORDER_REFLECT)
        body[k] = parts.reshape(nr, 2 * nx).view(np.complex64)
    volume[:, :, nx:] = volume[:, :, :WRAP]
    return field


def echogenicity(field: ScattererField, array: Transducer, tissue: TissueTexture, rng: np.random.Generator) -> F32:
    """(rows, columns) amplitude factor: log-normal, long along the fibres and short across them.

    It meets itself at the seam of the period.
    """
    nr, nx = field.volume.shape[1], field.period
    if tissue.modulation_db == 0:
        return np.ones((nr, nx), np.float32)
    step = max(0.2, array.depth_mm / 400)
    lines = field.line0 + np.arange(-WRAP, nx)
    rows = np.arange(0, nr, 4)
    x, z = array.from_beam(*np.meshgrid(field.r0_mm + rows * field.dr_mm, lines, indexing="ij"))
    x0, z0 = x.min() - step, z.min() - step
    h, w = math.ceil((z.max() - z0) / step) + 2, math.ceil((x.max() - x0) / step) + 2
    a = math.radians(tissue.fibre_angle_deg)
    reach = min(math.ceil(3 * tissue.modulation_mm[0] / step), 80)
    X, Z = np.meshgrid(*[np.arange(-reach, reach + 1) * step] * 2)
    along, across = X * math.cos(a) + Z * math.sin(a), -X * math.sin(a) + Z * math.cos(a)
    kernel = np.exp(-0.5 * ((along / tissue.modulation_mm[0]) ** 2 + (across / tissue.modulation_mm[1]) ** 2))
    smooth = cv2.filter2D(rng.standard_normal((h, w), dtype=np.float32), -1, kernel.astype(np.float32))
    smooth /= smooth.std()
    drawn = cv2.remap(
        smooth, ((x - x0) / step).astype(np.float32), ((z - z0) / step).astype(np.float32), cv2.INTER_LINEAR
    )
    fade = np.linspace(0, 1, WRAP, dtype=np.float32)
    drawn[:, -WRAP:] = drawn[:, -WRAP:] * (1 - fade) + drawn[:, :WRAP] * fade
    full = cv2.resize(drawn[:, WRAP:], (nx, nr))
    out: F32 = np.power(10.0, tissue.modulation_db / 20 * full).astype(np.float32)
    return out


def _sparseness(shape: tuple[int, int, int], m: float, rng: np.random.Generator) -> Any:
    """Rows i to j of sqrt(gamma(m) / m), constant over about a resolution cell. None for fully developed speckle."""
    if m <= 0:
        return None
    ny, nr, nx = shape
    grains = np.sqrt(rng.gamma(m, 1 / m, (-(-ny // 3), -(-nr // 5), -(-nx // 3)))).astype(np.float32)

    def rows(i: int, j: int) -> F32:
        part = grains[:, i // 5 : (j - 1) // 5 + 1].repeat(3, 0)[:ny].repeat(5, 1).repeat(3, 2)[:, :, :nx]
        return part[:, i % 5 : i % 5 + j - i]

    return rows


class _Reflectors:
    """Draws thin reflectors into a field: points finer than an eighth of a wavelength with the exact phase."""

    def __init__(
        self, body: C64, field: ScattererField, array: Transducer, tissue: TissueTexture, rng: np.random.Generator
    ) -> None:
        self.body, self.field, self.array, self.tissue, self.rng = body, field, array, tissue, rng
        self.step_mm = array.wavelength_mm / 8
        corner = array.from_beam(np.array([array.depth_mm]), np.array([array.lines + 20.0]))
        self.half_mm = float(corner[0][0])
        # a line's echo is the sum over a pulse's and a beam's worth of points: its level must not depend on the step
        self.weight = 0.32 * self.step_mm / 0.03

    def draw(self) -> None:
        """Draw all that the recipe asks for."""
        for _ in range(self.tissue.fibres):
            self.fibre()
        for _ in range(self.tissue.fascias):
            self.fascia()
        for _ in range(self.tissue.decoys):
            self.decoy()
        for _ in range(self.tissue.wedges):
            self.wedge()

    def fibre(self) -> None:
        """A thin bright arc along the muscle. Its phase drifts along it."""
        rng, tissue, step = self.rng, self.tissue, self.step_mm
        length, angle = rng.uniform(*tissue.fibre_mm), rng.normal(tissue.fibre_angle_deg, tissue.fibre_spread_deg)
        t = self._along(length)
        level = 10 ** (rng.uniform(*tissue.fibre_db) / 20)
        drift = rng.normal(0, 0.05 * math.sqrt(step / 0.03), len(t))
        wander = np.exp(2j * np.pi * 0.35 * np.cumsum(drift))
        amplitude = level * self.weight * np.sqrt(np.hanning(len(t))) * wander
        self._place(angle, rng.normal(0, 0.004) * t * t, amplitude, rng.uniform(0.6, 2.5))

    def fascia(self) -> None:
        """A long wavy sheet with two faces."""
        rng, tissue, step = self.rng, self.tissue, self.step_mm
        length = rng.uniform(0.5, 1.2) * self.half_mm
        t = self._along(length)
        wave = rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * (t / rng.uniform(12, 30) + rng.random()))
        level = 10 ** (rng.uniform(*tissue.fascia_db) / 20)
        angle = rng.normal(tissue.fibre_angle_deg, 3.0)
        for gap in (0.0, rng.uniform(0.5, 1.2)):
            rough = np.exp(2j * np.pi * 0.35 * np.cumsum(rng.normal(0, 0.04 * math.sqrt(step / 0.03), len(t))))
            self._place(angle, wave + gap, level * self.weight * np.sqrt(np.hanning(len(t))) * rough, 3.0)

    def decoy(self) -> None:
        """A straight rough segment that lies like a needle."""
        rng, tissue = self.rng, self.tissue
        length = rng.uniform(6.0, 25.0) * self.array.depth_mm / 50
        t = self._along(length)
        angle = rng.choice([-1.0, 1.0]) * rng.uniform(*tissue.decoy_angle_deg)
        level = 10 ** (rng.uniform(*tissue.decoy_db) / 20)
        rough = self._rough(len(t))
        self._place(angle, rng.normal(0, 0.002) * t * t, level * np.sqrt(np.hanning(len(t))) * rough, 1.5)

    def wedge(self) -> None:
        """A short thick piece, blunt at one end and pointed at the other: a stack of rough sheets."""
        rng, tissue = self.rng, self.tissue
        length, thick = rng.uniform(*tissue.wedge_mm), rng.uniform(*tissue.wedge_thick_mm)
        t = self._along(length)
        level = 10 ** (rng.uniform(*tissue.wedge_db) / 20)
        angle, side = rng.uniform(*tissue.wedge_angle_deg), rng.choice([-1.0, 1.0])
        wave = rng.uniform(0.0, 0.4) * np.sin(2 * np.pi * (t / rng.uniform(6, 20) + rng.random()))
        fraction = 0.5 + side * t / length  # of the thickness: 0 at the pointed end
        middle, y = self._middle(), rng.uniform(0, self.body.shape[0])
        width = rng.uniform(1.0, 3.0)
        sheets = max(2, round(thick / 0.25))
        for k in range(sheets):
            rough = self._rough(len(t))
            ends = np.minimum(1.0, (length / 2 - np.abs(t)) / 0.5)
            lift = thick * (k / (sheets - 1) - 0.5) * fraction
            amplitude = level * ends * rough / math.sqrt(sheets)
            self._place_at(middle, angle, wave=wave + lift, amplitude=amplitude, y=y, y_width_mm=width)

    def _along(self, length_mm: float) -> F64:
        """Places of the points along a reflector, in mm from its middle."""
        return np.arange(-length_mm / 2, length_mm / 2, self.step_mm)

    def _rough(self, n: int) -> Any:
        """(n,) random complex amplitudes whose level does not depend on the step."""
        return self.rng.standard_normal((n, 2)) @ np.array([1.0, 1.0j]) * math.sqrt(0.5 * self.step_mm / 0.1)

    def _middle(self) -> tuple[float, float]:
        """(x, z) of a reflector's middle anywhere in the image, mm."""
        return self.rng.uniform(-self.half_mm, self.half_mm), self.rng.uniform(1.0, self.array.depth_mm)

    def _place(self, angle_deg: float, wave: F64, amplitude: C64 | F64, y_width_mm: float) -> None:
        """Add a reflector anywhere. wave: (n,) distance from its axis, mm."""
        middle = self._middle()
        y = self.rng.uniform(0, self.body.shape[0])
        self._place_at(middle, angle_deg, wave=wave, amplitude=amplitude, y=y, y_width_mm=y_width_mm)

    def _place_at(
        self,
        middle: tuple[float, float],
        angle_deg: float,
        *,
        wave: F64,
        amplitude: C64 | F64,
        y: float,
        y_width_mm: float,
    ) -> None:
        """Add a reflector. wave, amplitude: (n,). y: elevation of its middle in slices."""
        field, array = self.field, self.array
        t = (np.arange(len(wave)) - len(wave) / 2) * self.step_mm
        a = math.radians(angle_deg)
        x = middle[0] + t * math.cos(a) - wave * math.sin(a)
        z = middle[1] + t * math.sin(a) + wave * math.cos(a)
        r, line = array.to_beam(x, z)
        value = (amplitude * np.exp(-4j * np.pi * r / array.wavelength_mm)).astype(np.complex64)
        iz = np.round((r - field.r0_mm) / field.dr_mm).astype(np.int64)
        ix = np.round(line - field.line0).astype(np.int64)
        kernels.add_reflectors(self.body, field.period, iz, ix, value, y, y_width_mm / field.dy_mm)
