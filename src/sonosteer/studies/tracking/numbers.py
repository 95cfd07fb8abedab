"""Errors of the tracking study, pooled over its insertions: the rows of Table III and what the tests need.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Section IV-A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.significance import ClusterSums, mean_differs_from_zero
from sonosteer.studies.tracking.published import TABLE_III

TrackingResult = dict[str, Any]
DAGGER = "†"
#: errors with a sign, whose means are tested against 0
SIGNED = ("etheta", "en", "ep")


def has_angle(method: str) -> bool:
    """True if the method says a direction of its own."""
    return method.partition(":")[0] in TABLE_III or method.startswith("auto")


def columns(method: str, results: Sequence[TrackingResult], run: int = 0) -> dict[str, F64]:
    """All frames of one run with an estimate, over the insertions."""
    runs = [r["methods"][method]["runs"] for r in results if method in r["methods"]]
    chosen = [some[min(run, len(some) - 1)] for some in runs]
    names = [k for k in chosen[0] if k not in ("claimed", "frame")] if chosen else []
    return {k: np.concatenate([np.asarray(c[k], float) for c in chosen]) for k in names}


def all_runs(method: str, results: Sequence[TrackingResult]) -> list[dict[str, F64]]:
    """The columns of every run of a method. One run for a method without chance."""
    n = max(len(r["methods"][method]["runs"]) for r in results if method in r["methods"])
    return [columns(method, results, k) for k in range(n)]


def error_row(method: str, results: Sequence[TrackingResult]) -> dict[str, Any]:
    """A row of Table III. A particle filter has the mean over its runs."""
    runs = all_runs(method, results)
    several = len(runs) > 1
    distance = [np.hypot(c["en"], c["ep"]) for c in runs]
    out: dict[str, Any] = {"method": method + (DAGGER if several else "")}
    for key in SIGNED:
        out |= _signed(key, runs) if key != "etheta" or has_angle(method) else dict.fromkeys(_signed(key, runs))
    turn = [np.abs(c["etheta"]) for c in runs]
    out |= _unsigned("etheta_abs", turn) if has_angle(method) else dict.fromkeys(_unsigned("etheta_abs", turn))
    out |= _unsigned("e", distance)
    out["e_median"] = _mean([float(np.median(d)) for d in distance])
    out["e_p99"] = _mean([float(np.percentile(d, 99)) for d in distance])
    out["e_max"] = _mean([float(d.max()) for d in distance])
    out["ep_within_1mm"] = _mean([float((np.abs(c["ep"]) < 1.0).mean()) for c in runs], 4)
    out["en_within_5mm"] = _mean([float((np.abs(c["en"]) <= 5.0).mean()) for c in runs], 4)
    out["runs"] = len(runs)
    out["frames"] = len(distance[0])
    out["lost"] = sum(r["frames"] for r in results) - len(distance[0])
    sure = distance[0][runs[0]["tracking"] > 0]
    out["tracking"] = len(sure)
    for name, what in (("mean", np.mean), ("sd", np.std), ("p95", lambda v: np.percentile(v, 95)), ("max", np.max)):
        out[f"tracking_{name}"] = round(float(what(sure)), 3) if len(sure) else None
    out["over_5mm_while_tracking"] = int((sure > 5).sum())
    each = [np.hypot(c["en"], c["ep"]).mean() for r in results if len((c := columns(method, [r]))["en"])]
    out["sd_over_insertions"] = round(float(np.std(each)), 3)
    return out


def _mean(values: Sequence[float], digits: int = 3) -> float:
    return round(float(np.mean(values)), digits)


def _signed(key: str, runs: Sequence[dict[str, F64]]) -> dict[str, Any]:
    values = [c[key] for c in runs]
    return {
        f"{key}_mean": _mean([float(v.mean()) for v in values]),
        f"{key}_sd": _mean([float(v.std()) for v in values]),
        f"{key}_p2.5": _mean([float(np.percentile(v, 2.5)) for v in values]),
        f"{key}_p97.5": _mean([float(np.percentile(v, 97.5)) for v in values]),
        f"{key}_mean_not_0_runs": sum(mean_differs_from_zero(v) for v in values),
    }


def _unsigned(key: str, values: Sequence[F64]) -> dict[str, Any]:
    return {
        f"{key}_mean": _mean([float(v.mean()) for v in values]),
        f"{key}_sd": _mean([float(v.std()) for v in values]),
        f"{key}_p95": _mean([float(np.percentile(v, 95)) for v in values]),
    }


def pooled_spread(method: str, results: Sequence[TrackingResult]) -> dict[str, float]:
    """Number of frames, and the sample deviations of e_n (mm) and e_theta (deg), mean over the runs."""
    runs = all_runs(method, results)
    return {
        "n": len(runs[0]["en"]),
        "en": float(np.mean([c["en"].std(ddof=1) for c in runs])),
        "etheta": float(np.mean([c["etheta"].std(ddof=1) for c in runs])),
    }


def insertion_sums(method: str, key: str, results: Sequence[TrackingResult]) -> ClusterSums:
    """Sums of an error by insertion. Of a particle filter their means over its runs."""
    n = max(len(r["methods"][method]["runs"]) for r in results)
    sums = [ClusterSums.of([columns(method, [r], run)[key] for r in results]) for run in range(n)]
    return ClusterSums(
        np.mean([s.count for s in sums], axis=0),
        np.mean([s.total for s in sums], axis=0),
        np.mean([s.square for s in sums], axis=0),
    )


def phases(method: str, results: Sequence[TrackingResult], split_s: float) -> dict[str, Any]:
    """Mean and SD of e_n in mm before and after `split_s` of each insertion, mean over the runs."""
    rows: dict[str, list[list[float]]] = {"early": [], "late": []}
    for run in range(max(len(r["methods"][method]["runs"]) for r in results)):
        early: list[float] = []
        late: list[float] = []
        for r in results:
            some = r["methods"][method]["runs"]
            chosen = some[min(run, len(some) - 1)]
            first = split_s * r.get("rate_hz", 20.0)
            for frame, e in zip(chosen["frame"], chosen["en"], strict=True):
                (early if frame < first else late).append(e)
        for name, values in (("early", early), ("late", late)):
            rows[name].append([float(np.mean(values)), float(np.std(values))] if values else [np.nan, np.nan])
    out: dict[str, Any] = {}
    for name, each in rows.items():
        mean, sd = np.mean(each, axis=0)
        out[f"{name}_mean"], out[f"{name}_sd"] = round(float(mean), 3), round(float(sd), 3)
    return out
