"""What breaks trackers: occlusion, lost contact, reverberation of the container, uneven gain, a stuttering stream.

Masks are drawn every BLOCK samples and lines. Everything lies in the world, so that a moving probe sees it pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import C64, F32, F64
from sonosteer.core.config import check_finite, check_range
from sonosteer.sim import kernels
from sonosteer.sim.probe import Transducer


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What disturbs the image. Everything is off by default but the uneven gain."""

    occluders: int = 0
    """Number of bones or gas pockets that cast a shadow. 0 to 20."""
    occluder_mm: tuple[float, float] = (6.0, 12.0)
    """Range that their width is drawn from, mm."""
    occluder_depth_mm: tuple[float, float] = (4.0, 15.0)
    """Range that their depth is drawn from, mm."""
    occluder_spread_mm: float = 12.0
    """Largest lateral distance of an occluder from the world's x = 0, mm. 0 to 500."""
    occlusion_db: float = -26.0
    """What an occluder leaves of tissue and needle below it, dB. -90 to 0."""
    haze_db: float = -16.0
    """Level of the dirty shadow below an occluder, dB over the tissue. -90 to 0."""
    contact_loss: float = 0.0
    """Fraction of the lines that lose contact at one end, left or right by chance. 0 to 0.95, no unit."""
    contact_db: float = -24.0
    """What lost contact leaves of the echoes, dB. -90 to 0."""
    ladder_mm: float = 0.0
    """Depth of a container's wall whose echo repeats at its multiples, mm. 0 to 500, 0: none."""
    ladder_db: float = 24.0
    """Level of the wall's first echo, dB over the tissue. Each repetition is 7 dB weaker."""
    tgc_db: float = 1.0
    """Standard deviation of the gain's error along the range, dB. 0 to 12."""
    persistence: float = 0.0
    """Fraction of the previous image that stays in the next. 0 to 0.95, no unit."""
    dropped: float = 0.0
    """Fraction of the frames that never arrive. 0 to 0.95, no unit."""
    repeated: float = 0.0
    """Fraction of the frames that show the previous image once more. 0 to 0.95, no unit."""

    def __post_init__(self) -> None:
        check_finite(self, "artefacts")
        check_range(self, "artefacts", 0, 20, "occluders")
        for name in ("contact_loss", "persistence", "dropped", "repeated"):
            check_range(self, "artefacts", 0.0, 0.95, name)
        for name in ("occlusion_db", "haze_db", "contact_db"):
            check_range(self, "artefacts", -90.0, 0.0, name)
        check_range(self, "artefacts", 0.0, 12.0, "tgc_db")
        check_range(self, "artefacts", 0.0, 500.0, "ladder_mm", "occluder_spread_mm")


@dataclass(frozen=True)
class ArtefactMasks:
    """The artefacts of one clip, placed in the world."""

    recipe: Artefacts
    """What was asked for."""
    array: Transducer
    """The transducer whose samples and lines the arrays below belong to."""
    occluders: F64
    """(n, 3) x of the middle, depth z and width of each occluder in the world, mm."""
    line_gain: F32
    """(lines,) amplitude that contact leaves of each line. 0 to 1."""
    range_gain: F32
    """(samples,) amplitude factor of the uneven gain, no unit."""
    ladder: C64
    """(8,) complex amplitude of each rung of the ladder, relative to its level, no unit."""
    x_mm: F64
    """(rows, columns) lateral place of each block's corner in the probe's frame, mm."""
    z_mm: F64
    """(rows, columns) depth of each block's corner in the probe's frame, mm."""
    range_mm: F64
    """(rows, columns) range of each block's corner along its line, mm."""
    line: F64
    """(rows, columns) number of the line of each block's corner, counted from 0."""

    @classmethod
    def make(cls, recipe: Artefacts, array: Transducer, rng: np.random.Generator) -> ArtefactMasks:
        """Draw the artefacts of a clip from their recipe."""
        occluders = np.empty((recipe.occluders, 3))
        for row in occluders:
            row[0] = rng.uniform(-recipe.occluder_spread_mm, recipe.occluder_spread_mm)
            row[1], row[2] = rng.uniform(*recipe.occluder_depth_mm), rng.uniform(*recipe.occluder_mm)
        u = np.arange(array.lines) / (array.lines - 1)
        u = u if rng.random() < 0.5 else 1 - u
        lost = 1 / (1 + np.exp((u - recipe.contact_loss) / 0.02)) if recipe.contact_loss > 0 else np.zeros_like(u)
        line_gain = 10 ** (recipe.contact_db / 20 * lost)
        t = np.arange(array.samples) / array.samples
        waves = np.array([np.sin(2 * np.pi * (k * t + rng.random())) * rng.normal() for k in (0.6, 1.3, 2.7)])
        range_gain = 10 ** (recipe.tgc_db * waves.sum(0) / math.sqrt(1.5) / 20)
        ladder = np.exp(2j * np.pi * rng.random(8)) * rng.uniform(0.7, 1.3, 8)
        rows = np.arange(-(-array.samples // kernels.BLOCK) + 1) * kernels.BLOCK * array.range_step_mm
        columns = np.arange(-(-array.lines // kernels.BLOCK) + 1) * float(kernels.BLOCK)
        range_mm, line = np.meshgrid(rows, columns, indexing="ij")
        x, z = array.from_beam(range_mm, line)
        return cls(
            recipe=recipe,
            array=array,
            occluders=occluders,
            line_gain=line_gain.astype(np.float32),
            range_gain=range_gain.astype(np.float32),
            ladder=ladder.astype(np.complex64),
            x_mm=x,
            z_mm=z,
            range_mm=range_mm,
            line=line,
        )

    def occlusion(self, probe_x_mm: float, probe_z_mm: float) -> tuple[F32, F32]:
        """(level, haze) on the frame's grid for a probe at (x, z): amplitude left of tissue and needle, and added."""
        level = np.ones(self.line.shape, np.float32)
        haze = np.zeros(self.line.shape, np.float32)
        left = 10 ** (self.recipe.occlusion_db / 20)
        for x, z, width in self.occluders:
            x, z = x - probe_x_mm, max(z - probe_z_mm, 0.5)
            (r0, _), (q0, q1) = self.array.to_beam(np.array([x - width / 2, x + width / 2]), np.array([z, z]))
            soft = 4.0  # chosen: width of a shadow's side edges in lines
            across = _ramp((self.line - q0) / soft) * _ramp((q1 - self.line) / soft)
            fraction = across * _ramp((self.range_mm - r0) / 0.8)  # chosen: and of its upper edge in mm
            level *= (1 - (1 - left) * fraction).astype(np.float32)
            haze += (10 ** (self.recipe.haze_db / 20) * fraction).astype(np.float32)
        return level, haze

    def occluder_echoes(self, probe_x_mm: float, probe_z_mm: float) -> list[tuple[F32, C64]]:
        """(range in samples, amplitude over the tissue's) of each occluder's bright cap, both (lines,)."""
        lines = np.arange(self.array.lines, dtype=float)
        out = []
        for k, (x, z, width) in enumerate(self.occluders):
            x, z = x - probe_x_mm, max(z - probe_z_mm, 0.5)
            (r0, _), (q0, q1) = self.array.to_beam(np.array([x - width / 2, x + width / 2]), np.array([z, z]))
            u = (lines - (q0 + q1) / 2) / max((q1 - q0) / 2, 1.0)
            r = (r0 + 0.6 * u**2 + 0.15 * np.sin(9 * u + k)) / self.array.range_step_mm
            # chosen: 30 dB over the tissue in the middle, none at the ends
            a = np.where(np.abs(u) < 1, 10 ** (30 / 20) * np.sqrt(np.maximum(1 - u**2, 0)), 0)
            out.append((r.astype(np.float32), a.astype(np.complex64)))
        return out

    def ladder_echoes(self, probe_x_mm: float, probe_z_mm: float) -> list[tuple[F32, C64]]:
        """(range in samples, amplitude over the tissue's) of each rung of the container's ladder, both (lines,)."""
        out: list[tuple[F32, C64]] = []
        wall = self.recipe.ladder_mm - probe_z_mm
        if self.recipe.ladder_mm <= 0 or wall <= 1.0:
            return out
        x, _ = self.array.from_beam(np.full(self.array.lines, wall), np.arange(self.array.lines, dtype=float))
        bow = 0.004 * (x + probe_x_mm) ** 2 / max(wall, 1.0) * 10
        for k in range(1, int(self.array.depth_mm / wall) + 1):
            if k > len(self.ladder):
                break
            level = 10 ** ((self.recipe.ladder_db - 7.0 * (k - 1)) / 20)  # chosen: 7 dB weaker each time
            fall = np.exp(-((x / (0.35 * max(wall, 10.0) * 2)) ** 2))  # a flat wall is seen where it is faced
            r = (k * (wall + bow) / self.array.range_step_mm).astype(np.float32)
            out.append((r, (level * fall * self.ladder[k - 1]).astype(np.complex64)))
        return out

    def contact(self, lifted_mm: float) -> F32:
        """(lines,) amplitude factor: contact is lost at one end, and everywhere as the probe lifts off the skin.

        lifted_mm: distance of the probe from the skin. chosen: 10 dB are lost per mm.
        """
        return self.line_gain * np.float32(10 ** (-10.0 * max(lifted_mm, 0.0) / 20))


def _ramp(u: F64) -> F64:
    return np.clip(u + 0.5, 0.0, 1.0)
