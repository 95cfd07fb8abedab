"""Speed of the simulator: frames of every set-up with everything on, what size and richness cost, and its tissue
against plain NumPy.

The NumPy statement of a tissue frame below is also the tests' oracle for the kernels.
"""

from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.progress import CountProgress
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sim import kernels
from sonosteer.sim.scanner import PAD, Scanner, ScanView
from sonosteer.sim.scenes import SETUPS, make_scene
from sonosteer.sim.world import World

TISSUE_REPEATS = 15
TIMED_FRAMES = 60
WIDTHS_PX = (256, 384, 768, 1024)
#: every artefact at once, for a rate "with everything on"
EVERYTHING: dict[str, Any] = {
    "width_px": 512,
    "height_px": 512,
    "breathing_mm": 0.5,
    "artefacts.occluders": 2,
    "artefacts.contact_loss": 0.1,
    "artefacts.ladder_mm": 30.0,
    "artefacts.persistence": 0.3,
    "artefacts.tgc_db": 2.0,
    "anatomy.tumours": 3,
    "anatomy.patches_db": 3.0,
    "tissue.fascias": 4,
    "tissue.decoys": 4,
    "look.gaps": 0.08,
    "probe_wander_mm": 0.3,
}
#: what a frame costs without one thing after the other, for the convex set-up
PLAINER: dict[str, dict[str, Any]] = {
    "one look": {"looks": 1},
    "no needle": {"needle": False},
    "probe at rest": {"probe_wander_mm": 0.0, "probe_slide_mm": 0.0, "mode": "ips"},
    "no anatomy, no artefacts": {k: 0 for k in EVERYTHING if k.startswith(("anatomy", "artefacts"))},
}


def bench_simulator(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench simulator`."""
    cv2.setNumThreads(1)
    cases: list[dict[str, Any]] = []
    for setup in SETUPS:
        World(make_scene(setup, seed, **EVERYTHING))  # compiles, and fills the tables of this transducer
        tracemalloc.start()
        began = time.perf_counter()
        world = World(make_scene(setup, seed, **EVERYTHING))
        build_s = time.perf_counter() - began
        held_mb = tracemalloc.get_traced_memory()[0] / 1e6
        tracemalloc.stop()
        whole = frames_ms(world)
        p = percentiles_ms(whole)
        size = [world.scene.width_px, world.scene.height_px]
        ours, numpy = _tissue_ms(setup, seed, progress)
        ratio = {"numpy (tissue only)": round(float(np.median(numpy) / np.median(ours)), 2)}
        more = {"size_px": size, "fps": round(1e3 / p["median_ms"], 1), "build_s": round(build_s, 3)}
        cases.append({"case": setup, **p, **more, "memory_mb": round(held_mb, 1), "ratio": ratio})
    full = next(c["median_ms"] for c in cases if c["case"] == "in-plane-convex")
    for name, fields in PLAINER.items():
        cases.append(_case(f"in-plane-convex, {name}", seed, full, {**EVERYTHING, **fields}))
    for width in WIDTHS_PX:
        fields = {"width_px": width, "height_px": width, "spacing_mm": 0.25 * 512 / width}
        cases.append(_case(f"in-plane-convex, {width}x{width}", seed, full, {**EVERYTHING, **fields}))
    return {
        "name": "simulator",
        "machine": versions() | {"threads": 1},
        "cases": cases,
        "notes": (
            "A set-up's case is a whole frame with everything on: moving needle and probe, drag, breathing, shadow, "
            "occlusion, contact loss, ladder, tumours, three looks, persistence, noise, scan conversion, truth. "
            "ratio numpy: time of a tissue frame without needle in plain NumPy over ours, in this run. ratio full: "
            "time of in-plane-convex with everything on over this case. build_s: tissue and needle of a scene, "
            "compiled. memory_mb: what a world holds, as NumPy counts it."
        ),
    }


def _case(name: str, seed: int, full_ms: float, fields: dict[str, Any]) -> dict[str, Any]:
    world = World(make_scene("in-plane-convex", seed, **fields))
    p = percentiles_ms(frames_ms(world))
    size = [world.scene.width_px, world.scene.height_px]
    fps = round(1e3 / p["median_ms"], 1)
    return {"case": name, **p, "size_px": size, "fps": fps, "ratio": {"full": round(full_ms / p["median_ms"], 2)}}


def frames_ms(world: World) -> list[float]:
    """Time of each of the first frames. The first few are left out, since they may compile."""
    out: list[float] = []
    frames = world.frames()
    for _ in range(min(TIMED_FRAMES, world.clip_frames - 1)):
        began = time.perf_counter_ns()
        next(frames)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out[4:]


def _tissue_ms(setup: str, seed: int, progress: CountProgress) -> tuple[list[float], list[float]]:
    scanner = Scanner(make_scene(setup, seed, needle=False, noise_db=-120.0), np.random.default_rng(seed))
    ours: list[float] = []
    numpy: list[float] = []
    for i in range(TISSUE_REPEATS):
        view = tissue_view(scanner, 1.0 + 0.1 * i)
        for times, draw in ((ours, scanner.draw), (numpy, lambda v: numpy_tissue(scanner, v))):
            began = time.perf_counter_ns()
            draw(view)
            times.append((time.perf_counter_ns() - began) * 1e-6)
        progress(i)
    return ours[1:], numpy[1:]  # the first may still compile


def tissue_view(scanner: Scanner, y_mm: float) -> ScanView:
    """Tissue at rest, no needle, at an elevation."""
    offsets = np.zeros((scanner.scene.looks, 2), np.int64)
    return ScanView(
        probe_mm=(0.0, y_mm, 0.0),
        axis_mm=None,
        roll_rad=0.0,
        pull_mm=0.0,
        tissue_mm=(0.0, 0.0),
        noise=offsets,
        origin_y_mm=0.0,
    )


def numpy_tissue(scanner: Scanner, view: ScanView) -> NDArray[np.float64]:
    """(samples, lines) envelope of a tissue frame in plain NumPy."""
    a, f = scanner.array, scanner.field
    grid = scanner.grid(view)
    y = (view.probe_mm[1] + view.origin_y_mm) / f.dy_mm
    k, n = math.floor(y), f.volume.shape[0]
    t = y - k
    u, v = f.volume[k % n, :, : f.period], f.volume[(k + 1) % n, :, : f.period]
    field = (1 - t) * u + t * v
    some = f.volume[:, :: a.samples // 8]
    alike = (some[:-1] * some[1:].conj()).real.mean() / (np.abs(some) ** 2).mean()
    field = field / math.sqrt((1 - t) ** 2 + t**2 + 2 * t * (1 - t) * alike)
    r, q, turns, level = (_upsample(c, a.samples, a.lines) for c in (grid.r, grid.q, grid.turns, grid.tissue))
    r = np.clip(r, 0, field.shape[0] - 2)
    i, j = r.astype(int), np.floor(q).astype(int)
    fr, fq = r - i, q - j
    left, right = j % f.period, (j + 1) % f.period
    top = field[i, left] * (1 - fq) + field[i, right] * fq
    bottom = field[i + 1, left] * (1 - fq) + field[i + 1, right] * fq
    data = np.zeros((a.samples, a.lines + 2 * PAD), np.complex128)
    data[:, PAD:-PAD] = level * (top * (1 - fr) + bottom * fr) * np.exp(-2j * np.pi * turns)
    total = np.zeros((a.samples, a.lines))
    taps = scanner.kernels.shape[2]
    for kernel in scanner.kernels:
        out = np.zeros((a.samples, a.lines), np.complex128)
        for tap in range(taps):
            first = PAD - taps // 2 + tap
            out += kernel[scanner.zone, taps - 1 - tap][:, None] * data[:, first : first + a.lines]
        total += np.abs(out)
    return total


def _upsample(grid: NDArray[np.float32], samples: int, lines: int) -> NDArray[np.float64]:
    """What is given every BLOCK samples and lines, bilinear in between."""
    u, v = np.arange(samples) / kernels.BLOCK, np.arange(lines) / kernels.BLOCK
    rows = np.stack([np.interp(v, np.arange(grid.shape[1]), row) for row in grid])
    return np.stack([np.interp(u, np.arange(grid.shape[0]), column) for column in rows.T], axis=1)
