"""A scene come alive: frames and their truth, one after the other, on one page."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import LinearProbe, Spacing
from sonosteer.core.types import Frame, Truth
from sonosteer.sim import kernels
from sonosteer.sim.echo import STEP_MM, NeedleEcho
from sonosteer.sim.field import build_field
from sonosteer.sim.insertion import Insertion, drag
from sonosteer.sim.probe import ZONES, lateral_kernels
from sonosteer.sim.scenes import Scene

PAD = 16
#: ours: a tip is called visible while its shaft is this much brighter than the tissue
VISIBLE_DB = 6.0


class World:
    """Builds a scene's tissue and needle once (about a second), then draws frames.

    `frames()` may be called again and gives the same frames. Not safe to share between threads.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        a = scene.array
        streams = np.random.SeedSequence([scene.seed, len(scene.split), 7]).spawn(4)
        tissue, needle, noise, motion = (np.random.default_rng(s) for s in streams)
        self.field = build_field(a, scene.tissue, tissue)
        self.echo = NeedleEcho.make(a, scene.look, needle)
        self.motion_seed = motion.integers(1 << 62)
        self.insertion = _insertion(scene)
        bank = noise.standard_normal((a.samples + 64, a.lines + 64, 2), dtype=np.float32) * np.float32(0.7071)
        pulse = a.pulse(a.range_step_mm)
        self.noise = cv2.sepFilter2D(bank, -1, np.ones(1, np.float32), pulse).view(np.complex64)[..., 0]
        depth = np.arange(a.samples) * a.range_step_mm
        level_db = scene.noise_db + scene.noise_db_per_mm * depth
        self.noise_level = (10 ** (level_db / 20)).astype(np.float32)
        self.gain = np.full(a.samples, 1.0 / scene.looks, np.float32)
        self.zone = np.minimum(depth / a.depth_mm * ZONES, ZONES - 1).astype(np.int64)
        angles = np.linspace(-1, 1, scene.looks) * scene.look_deg if scene.looks > 1 else [0.0]
        self.kernels = [lateral_kernels(a, math.radians(float(d))) for d in angles]
        self.spacing = Spacing(scene.spacing_mm, scene.spacing_mm)
        self.probe = LinearProbe(((scene.width_px - 1) / 2, 0.0), a.width_mm, a.depth_mm)
        self._map = self._scan_map()
        self._slice = np.empty(self.field.volume.shape[1:], np.complex64)
        self._data = np.zeros((a.samples, a.lines + 2 * PAD), np.complex64)
        self._re = np.empty((a.samples, a.lines), np.float32)
        self._im = np.empty_like(self._re)
        self._envelope = np.empty_like(self._re)
        self._lines = np.empty((a.samples, a.lines), np.uint8)

    def _scan_map(self) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        s, a = self.scene, self.scene.array
        x = (np.arange(s.width_px) - self.probe.apex_px[0]) * s.spacing_mm
        z = np.arange(s.height_px) * s.spacing_mm
        q = (x + a.width_mm / 2) / a.pitch_mm
        q[(q < 0) | (q > a.lines - 1)] = -100
        r = z / a.range_step_mm
        r[r > a.samples - 1] = -100
        Q, R = np.meshgrid(q.astype(np.float32), r.astype(np.float32))
        return cv2.convertMaps(Q, R, cv2.CV_16SC2)

    def frames(self) -> Iterator[tuple[Frame, Truth]]:
        """Yield every frame of the clip with its truth."""
        rng = np.random.default_rng(self.motion_seed)
        phase = rng.uniform(0, 2 * math.pi)
        y_mm = rng.uniform(0, self.field.volume.shape[0] * self.field.dy_mm)
        for index in range(self.insertion.frames):
            time_s = index / self.scene.rate_hz
            length, speed = self.insertion.at(index)
            length += rng.normal(0, 0.02)
            drift_y = 0.15 * math.sin(0.6 * time_s + phase)
            breath = self.scene.breathing_mm * math.sin(math.pi * 0.25 * time_s + phase) ** 4
            tip_y = self.scene.tip_y_mm * math.sin(0.35 * time_s + phase)
            offsets = rng.integers(0, 64, (self.scene.looks, 2))
            pixels = self._draw(length, y_mm + drift_y, breath, tip_y, offsets)
            frame = Frame(pixels, index, time_s, self.spacing, self.probe)
            yield frame, self._truth(index, time_s, length, speed, tip_y, breath)

    def _draw(
        self, length_mm: float, y_mm: float, breath_mm: float, tip_y_mm: float, offsets: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        s, f = self.scene, self.field
        shaft_r, specular = None, None
        y = y_mm / f.dy_mm
        k, share = math.floor(y), y - math.floor(y)
        ny = f.volume.shape[0]
        flat = self._slice.view(np.float32).reshape(-1)
        a, b = (f.volume[i % ny].view(np.float32).reshape(-1) for i in (k, k + 1))
        kernels.blend(a, b, share, flat)
        self._data[:, :PAD] = 0  # needle points drawn beyond the outer lines must not pile up
        self._data[:, -PAD:] = 0
        kernels.gather(self._slice, *self.coordinates(length_mm, breath_mm), PAD, self._data)
        if s.needle and length_mm > 0:
            wall = self.insertion.wall_mm(length_mm, tip_y_mm, STEP_MM)
            wall[:, 1] += breath_mm
            shaft_r, specular = self.echo.draw(wall, PAD, self._data)
        for look, kernel in enumerate(self.kernels):
            kernels.convolve_lines(self._data, kernel, self.zone, PAD, self._re, self._im)
            if shaft_r is not None and specular is not None:
                self.echo.draw_specular(shaft_r, specular, self._re, self._im)
            row, column = offsets[look]
            kernels.add_envelope(
                self._re, self._im, self.noise, row, column, self.noise_level, self._envelope, look == 0
            )
        kernels.log_compress(self._envelope, self.gain, 255.0 / s.dynamic_range_db, s.grey, self._lines)
        image: NDArray[np.uint8] = cv2.remap(
            self._lines, *self._map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        return image

    def coordinates(
        self, length_mm: float, breath_mm: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Where in the field each image sample's tissue was at rest, every BLOCK samples and lines."""
        s, a, f = self.scene, self.scene.array, self.field
        n, m = -(-a.samples // kernels.BLOCK) + 1, -(-a.lines // kernels.BLOCK) + 1
        z_image, x = np.meshgrid(
            np.arange(n) * kernels.BLOCK * a.range_step_mm,
            np.arange(m) * kernels.BLOCK * a.pitch_mm - a.width_mm / 2,
            indexing="ij",
        )
        z = z_image - breath_mm
        if s.needle and length_mm > 0:
            radius = s.look.diameter_mm / 2
            ux, uz = drag(x, z, self.insertion.tip_mm(length_mm), self.insertion.direction, radius, s.pull_mm)
            x, z = x - ux, z - uz
        r = ((z - f.r0_mm) / f.dr_mm).astype(np.float32)
        q = ((x - f.x0_mm) / f.dx_mm).astype(np.float32)
        turns = (2 * (z_image - z) / a.wavelength_mm).astype(np.float32)
        return r, q, turns

    def _truth(self, index: int, time_s: float, length: float, speed: float, tip_y: float, breath: float) -> Truth:
        s = self.scene
        dx, dz = self.insertion.direction
        angle = math.atan2(dz, dx)
        if not s.needle or length <= 0:
            return Truth(index, time_s, None, angle, False, max(length, 0.0) if s.needle else 0.0, 0.0)
        x, z = self.insertion.tip_mm(length)
        z += breath
        tip_px = self.probe.to_image_px((x, z), self.spacing)
        drawn = 0 <= tip_px[0] < s.width_px and 0 <= tip_px[1] < s.height_px and self.probe.contains_mm((x, z))
        bright = self.echo.tip_level_db(s.angle_rad, tip_y, z) > VISIBLE_DB
        return Truth(index, time_s, tip_px, angle, drawn and bright, length, speed)


def _insertion(s: Scene) -> Insertion:
    half = s.array.width_mm / 2
    right = s.enters == "right"
    return Insertion(
        half if right else -half,
        s.entry_z_mm,
        s.angle_rad,
        right,
        s.speed_mm_s,
        s.start_mm,
        s.end_mm,
        s.rest_frames,
        s.end_rest_frames,
        s.rate_hz,
    )
