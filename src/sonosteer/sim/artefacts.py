"""What breaks trackers: occlusion, lost contact, reverberation of the container, uneven gain, a stuttering stream.

Masks are drawn every BLOCK samples and lines; everything lies in the world, so that a moving probe sees it pass.
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
    """Recipe; everything off by default but uneven gain.

    occluders: number of bones or gas pockets, occluder_mm wide, at occluder_depth_mm, within occluder_spread_mm of
    the middle: below them occlusion_db is left of tissue and needle, and haze_db of dirty shadow. contact_loss:
    share of the lines that the outer end (left or right, by chance) loses, contact_db what is left of them.
    ladder_mm: depth of a container's wall whose echo repeats at its multiples with ladder_db; 0: none. tgc_db: sd of
    the gain's error along the range. persistence: share of the last frame that stays. dropped, repeated: share of
    frames that never arrive, or arrive twice.
    """

    occluders: int = 0
    occluder_mm: tuple[float, float] = (6.0, 12.0)
    occluder_depth_mm: tuple[float, float] = (4.0, 15.0)
    occluder_spread_mm: float = 12.0
    occlusion_db: float = -26.0
    haze_db: float = -16.0
    contact_loss: float = 0.0
    contact_db: float = -24.0
    ladder_mm: float = 0.0
    ladder_db: float = 24.0
    tgc_db: float = 1.0
    persistence: float = 0.0
    dropped: float = 0.0
    repeated: float = 0.0

    def __post_init__(self) -> None:
        check_finite(self, "artefacts")
        check_range(self, "artefacts", 0, 20, "occluders")
        check_range(self, "artefacts", 0.0, 0.95, "contact_loss", "persistence", "dropped", "repeated")
        check_range(self, "artefacts", -90.0, 0.0, "occlusion_db", "haze_db", "contact_db")
        check_range(self, "artefacts", 0.0, 12.0, "tgc_db")
        check_range(self, "artefacts", 0.0, 500.0, "ladder_mm", "occluder_spread_mm")


@dataclass(frozen=True)
class Masks:
    """Artefacts placed for one clip. occluders: (n, 3) middle x mm, depth z mm, width mm in the world."""

    recipe: Artefacts
    array: Transducer
    occluders: F64
    line_gain: F32
    range_gain: F32
    ladder: C64
    x_mm: F64
    z_mm: F64
    range_mm: F64
    line: F64

    @classmethod
    def make(cls, recipe: Artefacts, array: Transducer, rng: np.random.Generator) -> Masks:
        """Place them."""
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
            recipe,
            array,
            occluders,
            line_gain.astype(np.float32),
            range_gain.astype(np.float32),
            ladder.astype(np.complex64),
            x,
            z,
            range_mm,
            line,
        )

    def occlusion(self, probe_x_mm: float, probe_z_mm: float) -> tuple[F32, F32]:
        """(level, haze) of tissue and needle on the frame's grid for a probe at (x, z)."""
        level = np.ones(self.line.shape, np.float32)
        haze = np.zeros(self.line.shape, np.float32)
        left = 10 ** (self.recipe.occlusion_db / 20)
        for x, z, width in self.occluders:
            x, z = x - probe_x_mm, max(z - probe_z_mm, 0.5)
            (r0, _), (q0, q1) = self.array.to_beam(np.array([x - width / 2, x + width / 2]), np.array([z, z]))
            soft = 4.0  # lines
            across = _ramp((self.line - q0) / soft) * _ramp((q1 - self.line) / soft)
            share = across * _ramp((self.range_mm - r0) / 0.8)
            level *= (1 - (1 - left) * share).astype(np.float32)
            haze += (10 ** (self.recipe.haze_db / 20) * share).astype(np.float32)
        return level, haze

    def occluder_echoes(self, probe_x_mm: float, probe_z_mm: float) -> list[tuple[F32, C64]]:
        """(range in samples, amplitude) per line of each occluder's bright cap."""
        lines = np.arange(self.array.lines, dtype=float)
        out = []
        for k, (x, z, width) in enumerate(self.occluders):
            x, z = x - probe_x_mm, max(z - probe_z_mm, 0.5)
            (r0, _), (q0, q1) = self.array.to_beam(np.array([x - width / 2, x + width / 2]), np.array([z, z]))
            u = (lines - (q0 + q1) / 2) / max((q1 - q0) / 2, 1.0)
            r = (r0 + 0.6 * u**2 + 0.15 * np.sin(9 * u + k)) / self.array.range_step_mm
            a = np.where(np.abs(u) < 1, 10 ** (30 / 20) * np.sqrt(np.maximum(1 - u**2, 0)), 0)
            out.append((r.astype(np.float32), a.astype(np.complex64)))
        return out

    def ladder_echoes(self, probe_x_mm: float, probe_z_mm: float) -> list[tuple[F32, C64]]:
        """(range in samples, amplitude) per line of each rung of the container's ladder."""
        out: list[tuple[F32, C64]] = []
        wall = self.recipe.ladder_mm - probe_z_mm
        if self.recipe.ladder_mm <= 0 or wall <= 1.0:
            return out
        x, _ = self.array.from_beam(np.full(self.array.lines, wall), np.arange(self.array.lines, dtype=float))
        bow = 0.004 * (x + probe_x_mm) ** 2 / max(wall, 1.0) * 10
        for k in range(1, int(self.array.depth_mm / wall) + 1):
            if k > len(self.ladder):
                break
            level = 10 ** ((self.recipe.ladder_db - 7.0 * (k - 1)) / 20)
            fall = np.exp(-((x / (0.35 * max(wall, 10.0) * 2)) ** 2))  # a flat wall is seen where it is faced
            r = (k * (wall + bow) / self.array.range_step_mm).astype(np.float32)
            out.append((r, (level * fall * self.ladder[k - 1]).astype(np.complex64)))
        return out

    def contact(self, lifted_mm: float) -> F32:
        """(lines,) gain: lost contact at one end, and everywhere as the probe is lifted off the skin."""
        return self.line_gain * np.float32(10 ** (-10.0 * max(lifted_mm, 0.0) / 20))


def _ramp(u: F64) -> F64:
    return np.clip(u + 0.5, 0.0, 1.0)
