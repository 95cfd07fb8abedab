__all__ = [
    "BENCHMARKS",
    "bench_environments",
    "bench_insertion",
    "bench_simulator",
    "bench_steering",
    "bench_tracking",
    "bench_vla",
    "bench_vla_gpu",
]

from .environments import bench_environments as bench_environments
from .insertion import bench_insertion as bench_insertion
from .simulator import bench_simulator as bench_simulator
from .steering import bench_steering as bench_steering
from .table import BENCHMARKS as BENCHMARKS
from .tracking import bench_tracking as bench_tracking
from .vla import bench_vla as bench_vla
from .vla_gpu import bench_vla_gpu as bench_vla_gpu
