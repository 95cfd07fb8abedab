"""How long steps took: the percentiles, not only the mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentiles_ms(times_ms: Sequence[float]) -> dict[str, float]:
    """Median, p95, p99, max and mean of a list of times. An empty list gives an empty dictionary."""
    if not len(times_ms):
        return {}
    t = np.asarray(times_ms, np.float64)
    p50, p95, p99 = np.percentile(t, [50, 95, 99])
    values = {"median_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": t.max(), "mean_ms": t.mean()}
    return {key: round(float(v), 4) for key, v in values.items()}
