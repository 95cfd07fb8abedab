"""Speed of tracking: every method per frame against its plain NumPy statement and OpenCV's CSRT and KCF.

Measured: from a decoded grey frame of 512x512 px to an estimate, on one thread. Decoding and drawing are apart. The
clip is one insertion at 5 mm/s and a rest of 4 s. Every method sees all of it, its start included. NumPy sees every
eighth frame.
"""

from __future__ import annotations

import math
import time
from typing import Any

import cv2
import numpy as np

from sonosteer.benchmarks import mathiassen2017_numpy as reference
from sonosteer.core.progress import CountProgress
from sonosteer.core.types import Frame, Hint
from sonosteer.imaging.axis_search import MAX_RAYS, adapt_rays
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World
from sonosteer.trackers.mathiassen2017 import TIP_WEIGHTS
from sonosteer.trackers.table import TRACKERS, make_tracker

NUMPY_EVERY = 8
START_BOX_PX = 48
CLIP_REPEATS = 3
SPEED_MM_S = 5.0

BenchClip = list[tuple[Frame, NeedleTruth]]


def bench_tracking(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench tracking`: {"name", "machine", "cases": [{"case", "median_ms", ..., "ratio"}]}."""
    cv2.setNumThreads(1)
    scene = make_scene("in-plane-linear/validation", seed, speed_mm_s=SPEED_MM_S, end_rest_frames=80)
    clip: BenchClip = list(World(scene).frames())
    general = {"csrt": opencv_times("CSRT", clip), "kcf": opencv_times("KCF", clip)}
    cases: list[dict[str, Any]] = []
    for i, method in enumerate(m for m in TRACKERS if m not in ("axial", "vla")):  # see bench steering and bench vla
        progress(i)
        ours = percentiles_ms(_track(method, clip))
        theirs = dict(general)
        if method != "auto":
            theirs = {"numpy": _numpy(method, clip), **general}
        ratio = {k: round(float(np.median(v)) / ours["median_ms"], 2) for k, v in theirs.items()}
        spread = {"p99_over_median": round(ours["p99_ms"] / ours["median_ms"], 2)}
        cases.append({"case": method, **ours, **spread, "frames": CLIP_REPEATS * len(clip), "ratio": ratio})
    for name, ms in general.items():
        cases.append({"case": name, **percentiles_ms(ms), "frames": len(ms), "ratio": {}})
    auto = next(c for c in cases if c["case"] == "auto")
    return {
        "name": "tracking",
        "machine": versions() | {"threads": 1},
        "image": [scene.width_px, scene.height_px],
        "scene": scene.name,
        "fps": round(1000.0 / auto["median_ms"], 1),
        "cases": cases,
        "notes": (
            "ratio: median time of the reference over ours in this run. Whole pipeline per 512x512 frame, the search "
            "for a start included (auto: nothing given; the others: angle and tip in the first frame); decoding and "
            "drawing apart. numpy: the same method in plain NumPy from the true entry, every "
            f"{NUMPY_EVERY}th frame. csrt, kcf: OpenCV, started on the true tip with a {START_BOX_PX} px box, on BGR "
            "frames converted beforehand. fps: of auto."
        ),
    }


def _track(method: str, clip: BenchClip) -> list[float]:
    tracker = make_tracker(method)
    tracker.prepare()
    angle = clip[0][1].angle_rad
    hint = Hint(angle_rad=(angle - math.radians(5), angle + math.radians(5)), start_px=clip[0][1].tip_px)
    out: list[float] = []
    for repeat in range(CLIP_REPEATS + 1):
        state = tracker.start(Hint() if method == "auto" else hint)
        for frame, _ in clip:
            began = time.perf_counter_ns()
            state, _estimate = tracker.step(state, frame)
            if repeat:
                out.append((time.perf_counter_ns() - began) * 1e-6)
    return out


def _numpy(method: str, clip: BenchClip) -> list[float]:
    """The method's plain statement at the same rays, angles and lengths, from the true entry."""
    rng = np.random.default_rng(0)
    particles = (100.0 + rng.normal(0, 2, 200), rng.normal(0, 2.5, 200))
    motion = (np.array([100.0, 0.0]), np.diag([400.0, 25.0]))
    out = []
    for i in range(10, len(clip), NUMPY_EVERY):
        frame, truth = clip[i]
        image, earlier = frame.grey(), clip[i - 10][0].grey()
        half = math.radians(5)
        around = (truth.angle_rad - half, truth.angle_rad + half)
        velocity = 2.5 if "v" in method else None
        began = time.perf_counter_ns()
        if method == "df":
            reference.ding_fenster(image, around)
        else:
            h = _axis_and_tip(image, earlier, truth, around, feedback=method.endswith("+f"))
            if method.startswith("kf"):
                motion = reference.kalman_step(h, *motion, velocity=velocity)
            elif method.startswith("pf"):
                x, v, _ = reference.particle_step(h, *particles, rng, velocity=velocity)
                particles = (x, v)
            else:
                np.argmax(h)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out


def _axis_and_tip(image: Any, earlier: Any, truth: NeedleTruth, around: tuple[float, float], *, feedback: bool) -> Any:
    """Algorithms 1 to 3."""
    assert truth.tip_px is not None
    c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
    length = truth.depth_mm / 0.1
    anchor = (truth.tip_px[0] - length * c, truth.tip_px[1] - length * s)
    rays = np.zeros(MAX_RAYS, np.float32)
    n = adapt_rays(length if feedback else 480.0, 12.0, rays)
    angle, point = reference.estimate_axis(image, anchor, around, rays[:n].astype(float))
    along = float(rays[:n].mean())
    foot = (point[0] - along * math.cos(angle), point[1] - along * math.sin(angle))
    return reference.estimate_tip(image, earlier, foot, angle, 480, TIP_WEIGHTS)


def opencv_times(name: str, clip: BenchClip) -> list[float]:
    """Times of one of OpenCV's trackers on a clip in ms, started on the true tip."""
    frames = [cv2.cvtColor(frame.grey(), cv2.COLOR_GRAY2BGR) for frame, _ in clip]
    tracker: Any = getattr(cv2, f"Tracker{name}_create")()
    tip = clip[0][1].tip_px
    assert tip is not None
    tracker.init(
        frames[0], (round(tip[0]) - START_BOX_PX // 2, round(tip[1]) - START_BOX_PX // 2, START_BOX_PX, START_BOX_PX)
    )
    out = []
    for picture in frames[1:]:
        began = time.perf_counter_ns()
        tracker.update(picture)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out
