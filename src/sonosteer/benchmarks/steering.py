"""Speed of steering: model, control step and image step of Carriere et al. 2019 against references, on one thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from sonosteer.benchmarks import carriere2019_numpy as reference
from sonosteer.core.arrays import F64
from sonosteer.core.geometry import Spacing
from sonosteer.core.progress import CountProgress
from sonosteer.core.types import Frame, Hint, TipMeasurement
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.needle.bicycle import ends, stepwise_ends
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.steering import genetic
from sonosteer.steering.optimise import STARTS, optimise
from sonosteer.steering.simulated_fits import CHUNK, fit_chunk
from sonosteer.steering.table import make_steerer
from sonosteer.trackers.axial import Axial

BENCH_DEPTH_MM, DISCRETE_STEP_MM = 120.0, 0.5
NEEDLES, MODEL_REPEATS = 2000, 30


def _times(work: Callable[[], Any], repeats: int, per: int = 1) -> list[float]:
    """Milliseconds of each repeat, divided by `per`, after one call to warm up."""
    work()
    out = []
    for _ in range(repeats):
        before = time.perf_counter()
        work()
        out.append((time.perf_counter() - before) * 1e3 / per)
    return out


def bench_steering(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench steering`."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    cases: list[dict[str, Any]] = []

    def case(name: str, ours: list[float], **references: list[float]) -> None:
        times = {k: round(v, 7) for k, v in percentiles_ms_fine(ours).items()}
        ratio = {k.replace("_", " "): round(float(np.median(v)) / times["median_ms"], 2) for k, v in references.items()}
        cases.append({"case": name, **times, "ratio": ratio})
        progress(len(cases))

    _model(rng, case)
    _control(rng, case)
    _image(seed, case)
    chunk = _times(lambda: fit_chunk(seed), 2)
    case(f"{CHUNK} of the 10,000 simulated fits", chunk)
    return {
        "name": "steering",
        "machine": versions() | {"threads": 1},
        "cases": cases,
        "fits_10000_two_cores_s": round(float(np.median(chunk)) * 1e-3 * 10_000 / CHUNK / 2, 1),
        "notes": (
            f"ratio: median time of the reference over ours in this run. Insertion: {BENCH_DEPTH_MM:g} mm, three event "
            f"points, a rate from the entry; discrete step: Algorithm 4.1 at {DISCRETE_STEP_MM} mm, compiled as ours "
            "is; solve_ivp: DOP853 at rtol 1e-10. numpy: the same generation in plain NumPy (50 and 60 individuals). "
            "opencv: mean and deviation, absdiff, matchTemplate (squared differences; it has no absolute ones) and "
            "minMaxLoc at the same sizes. fits_10000_two_cores_s: from the chunk's time."
        ),
    }


def percentiles_ms_fine(times_ms: list[float]) -> dict[str, float]:
    """As `percentiles_ms`, to a tenth of a nanosecond."""
    return {k: v / 1e4 for k, v in percentiles_ms([t * 1e4 for t in times_ms]).items()}


def _model(rng: np.random.Generator, case: Callable[..., None]) -> None:
    k, theta0 = rng.uniform(1e-4, 2e-3, NEEDLES), rng.uniform(0, 0.17, NEEDLES)
    starts = np.concatenate([np.zeros((NEEDLES, 1)), np.sort(rng.uniform(5, 115, (NEEDLES, 3)), axis=1)], axis=1)
    rates = rng.uniform(-0.1, 0.1, (NEEDLES, 4))
    out = np.empty((NEEDLES, 5))
    phi0 = np.zeros(NEEDLES)
    ours = _times(lambda: ends(k, theta0, phi0, starts, rates, BENCH_DEPTH_MM, out), MODEL_REPEATS, NEEDLES)
    steps = _times(
        lambda: stepwise_ends(k, theta0, phi0, starts, rates, BENCH_DEPTH_MM, DISCRETE_STEP_MM, out),
        MODEL_REPEATS,
        NEEDLES,
    )
    few = 20
    solver = _times(lambda: [_solve(k[i], theta0[i], starts[i], rates[i]) for i in range(few)], 3, few)
    case("simulated insertion, analytic", ours, discrete_step=steps, solve_ivp=solver)


def _solve(k: float, theta0: float, starts: F64, rates: F64) -> F64:
    from scipy.integrate import solve_ivp

    def slope(at: float, s: F64, rate: float) -> list[float]:
        return [
            math.cos(s[3]), math.sin(s[3]) * math.cos(s[4]), math.sin(s[3]) * math.sin(s[4]), k, rate
        ]  # fmt: skip

    state: F64 = np.array([0.0, 0.0, 0.0, theta0, 0.0])
    for begin, end, rate in zip(starts, [*starts[1:], BENCH_DEPTH_MM], rates, strict=True):
        found = solve_ivp(slope, (begin, end), state, "DOP853", args=(rate,), rtol=1e-10, atol=1e-10)
        state = found.y[:, -1]
    return state


def _control(rng: np.random.Generator, case: Callable[..., None]) -> None:
    low, high = np.array([0.0, 1 / 10000]), np.array([0.174, 1 / 500])
    starts, rates = np.array([0.0, 30.0, 60.0, 90.0]), np.array([0.0, 0.05, -0.03, 0.02])
    depths = np.linspace(1.0, 60.0, 11)
    seen = np.column_stack([depths, reference.path_numpy(1e-3, 0.03, 0.0, starts, rates, depths)])
    seen[:, 1:] += rng.normal(0, 0.15, (11, 2))
    first = genetic.first_population(50, low, high, rng)
    population = first.copy()

    def ours() -> None:
        genetic.evolve_fit(population, 0.0, starts, rates, seen, True, low, high, rng)
        e, w = starts.copy(), rates.copy()
        genetic.evolve_plan(e, w, 0.0, BENCH_DEPTH_MM, 1e-3, 0.03, 0.0, 10.0, 1.0, math.pi, 60, False, rng)

    def numpy() -> None:
        reference.fit_generation_numpy(first, 0.0, starts=starts, rates=rates, seen=seen, low=low, high=high, rng=rng)
        reference.plan_generation_numpy(
            starts, rates, BENCH_DEPTH_MM, k=1e-3, theta0=0.03, alpha=10.0, beta=1.0, individuals=60, rng=rng
        )

    def many() -> None:
        e, w = starts.copy(), np.zeros(4)
        for _ in range(300):
            genetic.evolve_plan(e, w, 0.0, BENCH_DEPTH_MM, 1e-3, 0.03, 0.0, 10.0, 1.0, math.pi, 60, True, rng)

    def gradient() -> None:
        e, w = starts.copy(), np.zeros(4)
        optimise(e, w, 0.0, BENCH_DEPTH_MM, 1e-3, 0.03, 0.0, 10.0, 1.0, math.pi, STARTS)

    case("control step as published (fit and plan, one generation)", _times(ours, 200), numpy=_times(numpy, 20))
    case("plan by gradients", _times(gradient, 50), genetic_300_generations=_times(many, 5))
    steerer = make_steerer("moves")
    steerer.prepare()
    state = steerer.start(0.0)
    steps = []
    for i in range(300):
        seen_at = TipMeasurement(0.05 * i, 0.3 * i, 0.0, (1e-4 * i * i, 0.0))
        before = time.perf_counter()
        state, _ = steerer.step(state, seen_at)
        steps.append((time.perf_counter() - before) * 1e3)
    case("control step of moves (filter; every mm a plan)", steps)


def _image(seed: int, case: Callable[..., None]) -> None:
    world = World(make_scene("axial/validation", seed, material="porcine", end_mm=40.0))
    frames = [f for f, _ in world.frames()][:120]
    start = world.to_px(world.scene.entry_mm, (0.0, 0.0, 0.0))
    published = _track(Axial(published=True), frames, start)
    theirs = _opencv(frames, start)
    case("axial image step as published, 129 and 65 px", published, opencv=theirs)
    case("axial image step, ours", _track(Axial(), frames, start), opencv=theirs)


def _track(tracker: Axial, frames: list[Frame], start: tuple[float, float]) -> list[float]:
    tracker.prepare()
    state = tracker.start(Hint(start_px=start))
    out = []
    for frame in frames:
        before = time.perf_counter()
        state, _ = tracker.step(state, frame)
        out.append((time.perf_counter() - before) * 1e3)
    return out[1:]


def _opencv(frames: list[Frame], start: tuple[float, float]) -> list[float]:
    assert frames[0].spacing == Spacing(0.1, 0.1)
    x, y = round(start[0]), round(start[1])
    template = None
    out = []
    for frame in frames:
        grey = frame.grey()
        before = time.perf_counter()
        top, left = min(max(y - 64, 0), grey.shape[0] - 129), min(max(x - 64, 0), grey.shape[1] - 129)
        roi = grey[top : top + 129, left : left + 129].astype(np.float32)
        mean, spread = cv2.meanStdDev(roi)
        variance = cv2.absdiff(roi, np.full_like(roi, mean[0, 0])) / np.float32(spread[0, 0])
        at = (32, 32)
        if template is not None:
            at = cv2.minMaxLoc(cv2.matchTemplate(variance, template, cv2.TM_SQDIFF))[2]
        template = variance[at[1] : at[1] + 65, at[0] : at[0] + 65].copy()
        x, y = left + at[0] + 32, top + at[1] + 32
        out.append((time.perf_counter() - before) * 1e3)
    return out[1:]
