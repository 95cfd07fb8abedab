"""Speed of tracking: KF+F per frame against plain NumPy and OpenCV's CSRT and KCF on the same frames.

Measured: from a decoded grey frame of 512x512 px to an estimate, on one thread; decoding and drawing apart.
Every frame of an insertion is timed for every method in turn, so that a drift of the machine hits all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.benchmarks import paper_t_numpy as reference
from sonosteer.core.types import Frame, Hint, Truth
from sonosteer.imaging.axis_search import MAX_RAYS, adapt_rays
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.trackers.paper_t import KFFeedback

NUMPY_EVERY = 4  # the NumPy statement is timed on every fourth frame only
BOX_PX = 48

Progress = Callable[[int], None]


def run(*, seed: int, progress: Progress) -> dict[str, Any]:
    """`sonosteer bench tracking`: {"name", "machine", "cases": [{"case", "median_ms", ..., "ratio"}]}."""
    cv2.setNumThreads(1)
    scene = make_scene("in-plane-linear/validation", seed, speed_mm_s=10.0)
    clip: list[tuple[Frame, Truth]] = list(World(scene).frames())
    times = {"kf+f": _track(clip), "numpy": _numpy(clip, progress)}
    times["csrt"] = _opencv("CSRT", clip)
    times["kcf"] = _opencv("KCF", clip)
    ours = float(np.median(times["kf+f"]))
    cases = []
    for name, ms in times.items():
        p = percentiles_ms(ms)
        others = {k: round(float(np.median(v)) / p["median_ms"], 2) for k, v in times.items() if k != name}
        ratio = {k: others[k] for k in ("numpy", "csrt", "kcf") if k in others} if name == "kf+f" else {}
        cases.append({"case": name, **p, "frames": len(ms), "ratio": ratio})
    return {
        "name": "tracking",
        "machine": versions() | {"threads": 1},
        "image": [scene.width_px, scene.height_px],
        "scene": scene.name,
        "fps": round(1000.0 / ours, 1),
        "cases": cases,
        "notes": (
            "ratio: median time of the reference over ours in this run. Whole pipeline per 512x512 frame (axis "
            "search, tip features, filters, presence test; the search for a start included), decoding and "
            f"drawing apart. numpy: Algorithms 1 to 3 alone, every {NUMPY_EVERY}th frame. csrt, kcf: OpenCV, "
            f"started on the true tip with a {BOX_PX} px box, on BGR frames converted beforehand."
        ),
    }


def _track(clip: list[tuple[Frame, Truth]]) -> list[float]:
    tracker = KFFeedback()
    tracker.prepare()
    angle = clip[0][1].angle_rad
    hint = Hint(angle_rad=(angle - math.radians(5), angle + math.radians(5)))
    out: list[float] = []
    for repeat in range(3):
        state = tracker.start(hint)
        for frame, _ in clip:
            began = time.perf_counter_ns()
            state, _estimate = tracker.step(state, frame)
            if repeat:
                out.append((time.perf_counter_ns() - began) * 1e-6)
    return out


def _numpy(clip: list[tuple[Frame, Truth]], progress: Progress) -> list[float]:
    """Algorithms 1 to 3 at the same rays, angles and lengths as the tracker's, from the true entry."""
    out = []
    weights = KFFeedback().weights
    for i in range(10, len(clip), NUMPY_EVERY):
        frame, truth = clip[i]
        image, earlier = frame.grey(), clip[i - 10][0].grey()
        began = time.perf_counter_ns()
        _numpy_frame(image, earlier, truth, weights)
        out.append((time.perf_counter_ns() - began) * 1e-6)
        progress(i)
    return out


def _numpy_frame(
    image: NDArray[np.uint8], earlier: NDArray[np.uint8], truth: Truth, weights: tuple[float, ...]
) -> None:
    assert truth.tip_px is not None
    c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
    length = truth.depth_mm / 0.1
    anchor = (truth.tip_px[0] - length * c, truth.tip_px[1] - length * s)
    rays = np.zeros(MAX_RAYS, np.float32)
    n = adapt_rays(length, 12.0, rays)
    half = math.radians(5)
    around = (truth.angle_rad - half, truth.angle_rad + half)
    angle, point = reference.estimate_axis(image, anchor, around, rays[:n].astype(float))
    along = float(rays[:n].mean())
    foot = (point[0] - along * math.cos(angle), point[1] - along * math.sin(angle))
    reference.estimate_tip(image, earlier, foot, angle, 480, weights)


def _opencv(name: str, clip: list[tuple[Frame, Truth]]) -> list[float]:
    frames = [cv2.cvtColor(frame.grey(), cv2.COLOR_GRAY2BGR) for frame, _ in clip]
    tracker: Any = getattr(cv2, f"Tracker{name}_create")()
    tip = clip[0][1].tip_px
    assert tip is not None
    tracker.init(frames[0], (round(tip[0]) - BOX_PX // 2, round(tip[1]) - BOX_PX // 2, BOX_PX, BOX_PX))
    out = []
    for picture in frames[1:]:
        began = time.perf_counter_ns()
        tracker.update(picture)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out
