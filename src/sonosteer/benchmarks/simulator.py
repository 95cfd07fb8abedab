"""Speed of the simulator: one frame with everything on, and its tissue part against plain NumPy.

The NumPy statement of a tissue frame below is also the tests' oracle for the kernels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sim import kernels
from sonosteer.sim.scenes import SETUPS, make_scene
from sonosteer.sim.world import PAD, World

Progress = Callable[[int], None]
REPEATS = 15


def run(*, seed: int, progress: Progress) -> dict[str, Any]:
    """`sonosteer bench simulator`: frames of every set-up, and the tissue part as a ratio to NumPy."""
    cv2.setNumThreads(1)
    cases = []
    for setup in SETUPS:
        began = time.perf_counter()
        world = World(make_scene(setup, seed))
        build_s = time.perf_counter() - began
        whole = _frames_ms(world)
        ours, numpy = _tissue_ms(world, progress)
        p = percentiles_ms(whole)
        cases.append(
            {"case": setup, **p, "build_s": round(build_s, 3), "fps": round(1e3 / p["median_ms"], 1), "ratio": {}}
        )
        ratio = {"numpy": round(float(np.median(numpy) / np.median(ours)), 2)}
        cases.append({"case": f"{setup}, tissue only", **percentiles_ms(ours), "ratio": ratio})
    return {
        "name": "simulator",
        "machine": versions() | {"threads": 1},
        "cases": cases,
        "notes": (
            "ratio: median time of plain NumPy over ours in this run, for the tissue part of a frame (blend, gather, "
            "looks, envelope, log; no needle, no noise). Whole frames have needle, shadow, drag, noise and display."
        ),
    }


def _frames_ms(world: World) -> list[float]:
    out: list[float] = []
    for repeat in range(2):
        frames = world.frames()
        began = time.perf_counter_ns()
        for _ in frames:
            now = time.perf_counter_ns()
            if repeat:
                out.append((now - began) * 1e-6)
            began = time.perf_counter_ns()
    return out


def _tissue_ms(world: World, progress: Progress) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    numpy: list[float] = []
    for i in range(REPEATS):
        for times, draw in ((ours, kernel_tissue), (numpy, numpy_tissue)):
            began = time.perf_counter_ns()
            draw(world, 1.0 + 0.1 * i)
            times.append((time.perf_counter_ns() - began) * 1e-6)
        progress(i)
    return ours[1:], numpy[1:]  # the first may still compile


def kernel_tissue(world: World, y_mm: float) -> NDArray[np.uint8]:
    """(samples, lines) uint8: tissue at rest at an elevation, by the kernels."""
    scene, f = world.scene, world.field
    y = y_mm / f.dy_mm
    k = math.floor(y)
    a, b = (f.volume[i % f.volume.shape[0]] for i in (k, k + 1))
    blended = np.empty_like(a)
    kernels.blend(*(v.view(np.float32).reshape(-1) for v in (a, b)), y - k, blended.view(np.float32).reshape(-1))
    data = np.zeros((scene.array.samples, scene.array.lines + 2 * PAD), np.complex64)
    kernels.gather(blended, *world.coordinates(0.0, 0.0), PAD, data)
    re, im, total = (np.empty((scene.array.samples, scene.array.lines), np.float32) for _ in range(3))
    silence = np.zeros_like(world.noise_level)
    for look, kernel in enumerate(world.kernels):
        kernels.convolve_lines(data, kernel, world.zone, PAD, re, im)
        kernels.add_envelope(re, im, world.noise, 0, 0, silence, total, look == 0)
    out = np.empty(re.shape, np.uint8)
    kernels.log_compress(total, world.gain, 255.0 / scene.dynamic_range_db, scene.grey, out)
    return out


def numpy_tissue(world: World, y_mm: float) -> NDArray[np.uint8]:
    """The same in plain NumPy."""
    scene, f, a = world.scene, world.field, world.scene.array
    y = y_mm / f.dy_mm
    k = math.floor(y)
    n = f.volume.shape[0]
    field = (1 - (y - k)) * f.volume[k % n] + (y - k) * f.volume[(k + 1) % n]
    r, q, turns = (_upsample(c, a.samples, a.lines) for c in world.coordinates(0.0, 0.0))
    r, q = np.clip(r, 0, field.shape[0] - 2), np.clip(q, 0, field.shape[1] - 2)
    i, j = r.astype(int), q.astype(int)
    fr, fq = r - i, q - j
    top = field[i, j] * (1 - fq) + field[i, j + 1] * fq
    bottom = field[i + 1, j] * (1 - fq) + field[i + 1, j + 1] * fq
    data = np.zeros((a.samples, a.lines + 2 * PAD), np.complex128)
    data[:, PAD:-PAD] = (top * (1 - fr) + bottom * fr) * np.exp(-2j * np.pi * turns)
    total = np.zeros((a.samples, a.lines))
    for kernel in world.kernels:
        taps = kernel.shape[1]
        out = np.zeros((a.samples, a.lines), np.complex128)
        for t in range(taps):
            first = PAD - taps // 2 + t
            out += kernel[world.zone, taps - 1 - t][:, None] * data[:, first : first + a.lines]
        total += np.abs(out)
    grey = scene.grey + 255.0 / scene.dynamic_range_db * 20 * np.log10(total * world.gain[:, None] + 1e-9)
    return np.clip(grey + 0.5, 0, 255).astype(np.uint8)


def _upsample(grid: NDArray[np.float32], samples: int, lines: int) -> NDArray[np.float64]:
    """Coordinates given every BLOCK samples and lines, bilinear in between."""
    u, v = np.arange(samples) / kernels.BLOCK, np.arange(lines) / kernels.BLOCK
    rows = np.stack([np.interp(v, np.arange(grid.shape[1]), row) for row in grid])
    return np.stack([np.interp(u, np.arange(grid.shape[0]), column) for column in rows.T], axis=1)
