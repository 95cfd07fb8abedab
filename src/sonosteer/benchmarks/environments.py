"""Throughput of the Gymnasium environments: steps per second of one process, of one a core, and of 64."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

import sonosteer.episodes.environments  # registers them, and says so where gymnasium is missing
from sonosteer.core.progress import CountProgress
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions

ID = "sonosteer/Insertion-v0"
MANY = 64
TIMED_STEPS = 40
IMAGE_PX = 224


def bench_environments(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench environments`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    cases: list[dict[str, Any]] = []
    for count in sorted({1, 2, cores, MANY}):
        ms = _steps_ms(count, seed)
        progress(count)
        p = percentiles_ms(ms)
        rate = count * 1e3 / p["median_ms"]
        one = cases[0]["steps_per_s"] if cases else rate
        ratio = {"1 process": round(rate / one, 2)}
        cases.append({"case": f"{count} processes", **p, "steps_per_s": round(rate, 1), "ratio": ratio})
    return {
        "name": "environments",
        "machine": versions() | {"cores": cores},
        "environment": sonosteer.episodes.environments.InsertionEnv.__name__,
        "cases": cases,
        "notes": (
            f"{ID} with {IMAGE_PX}x{IMAGE_PX} px images, one environment a process; a step is one frame of every "
            f"environment. ratio: environment steps per second over those of one process. {cores} cores here."
        ),
    }


def _steps_ms(count: int, seed: int) -> list[float]:
    import gymnasium

    envs = gymnasium.make_vec(ID, num_envs=count, vectorization_mode="async", image_px=IMAGE_PX)
    envs.reset(seed=seed)
    actions = np.zeros((count, 6), np.float32)
    actions[:, 0] = 0.3
    out = []
    for _ in range(TIMED_STEPS + 5):
        began = time.perf_counter_ns()
        envs.step(actions)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    envs.close()
    return out[5:]
