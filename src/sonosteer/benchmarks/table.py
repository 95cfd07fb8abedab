"""Benchmarks by name: what `sonosteer bench` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

BENCHMARKS = LazyTable(
    "benchmark",
    {
        "tracking": "sonosteer.benchmarks.tracking:bench_tracking",
        "steering": "sonosteer.benchmarks.steering:bench_steering",
        "simulator": "sonosteer.benchmarks.simulator:bench_simulator",
        "insertion": "sonosteer.benchmarks.insertion:bench_insertion",
        "vla": "sonosteer.benchmarks.vla:bench_vla",
        "vla-gpu": "sonosteer.benchmarks.vla_gpu:bench_vla_gpu",
        "environments": "sonosteer.benchmarks.environments:bench_environments",
        "live": "sonosteer.benchmarks.live:bench_live",
        "live-peer": "sonosteer.testing.cpp_peers.bench:bench_cpp_peer",
        "console": "sonosteer.benchmarks.console:bench_console",
        "live-insertion": "sonosteer.testing.live_insertion.bench:bench_live_insertion",
    },
    group="sonosteer.benchmarks",
)
