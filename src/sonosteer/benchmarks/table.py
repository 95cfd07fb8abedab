"""Benchmarks by name: what `sonosteer bench` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

BENCHMARKS = LazyTable(
    "benchmark",
    {
        "tracking": "sonosteer.benchmarks.tracking:run",
        "steering": "sonosteer.benchmarks.steering:run",
        "simulator": "sonosteer.benchmarks.simulator:run",
        "insertion": "sonosteer.benchmarks.insertion:run",
        "vla": "sonosteer.benchmarks.vla:run",
        "vla-gpu": "sonosteer.benchmarks.vla_gpu:run",
        "environments": "sonosteer.benchmarks.environments:run",
    },
)
