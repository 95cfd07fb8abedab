"""What a frame costs by each network: all in one process, in turns, on one CPU thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonosteer.inference.onnx_graphs import model_folder
from sonosteer.learning.checkpoints.torch_tip_network import TorchNetwork
from sonosteer.learning.checkpoints.tracking import from_pretrained
from sonosteer.learning.nets.face import TipNet
from sonosteer.learning.nets.presets import TrackingConfig
from sonosteer.studies.vla_tracking import networks
from sonosteer.studies.vla_tracking.trials import OUR_NETWORK, SHIPPED_MODEL

WARM_UP, ROUNDS, IN_A_ROUND = 5, 10, 4
SAID = (
    "ms a frame: PyTorch, eager, on one CPU thread; one search step, from two grey crops to candidates, the template "
    f"encoded beforehand; median of {ROUNDS * IN_A_ROUND} after {WARM_UP} to warm up, all networks in turns in one "
    f"process ({ROUNDS} rounds of {IN_A_ROUND}), so that what else the machine does hits all alike. "
    "Cutting crops and the loop around the network, the same for all, are not in it."
)


def load_all(base: TrackingConfig, folder: Path, *, quick: bool) -> dict[str, TipNet]:
    """Every trained network that tracks, and the one that ships, by the names of the study's methods."""
    tracking = [n for n in networks.networks(quick=quick) if not n.name.startswith(networks.ENCODER)]
    nets: dict[str, TipNet] = {n.name: networks.load_study_network(n, base, folder) for n in tracking}
    return {**nets, SHIPPED_MODEL: from_pretrained(model_folder("edge"))}


def time_networks(
    nets: Mapping[str, TipNet], progress: Callable[[str, int, int], None], rounds: int = ROUNDS
) -> dict[str, dict[str, Any]]:
    """name -> {"parameters", "ms" (median of a search step), "ratio" (of it to ours)}. The networks take turns."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = {name: _search_step(net) for name, net in nets.items()}
        ms: dict[str, list[float]] = {name: [] for name in nets}
        for step in steps.values():
            _times(step, WARM_UP)
        for k in range(rounds):
            for name, step in steps.items():
                ms[name] += _times(step, IN_A_ROUND)
            progress("networks timed", k + 1, rounds)
    finally:
        torch.set_num_threads(threads)
    median = {name: float(np.median(each)) for name, each in ms.items()}
    return {
        name: {
            "parameters": sum(p.numel() for p in net.parameters()),
            "ms": round(median[name], 3),
            "ratio": round(median[name] / median[OUR_NETWORK], 3),
        }
        for name, net in nets.items()
    }


def _search_step(net: TipNet) -> Callable[[], Any]:
    runs = TorchNetwork(net, 1.0)
    rng = np.random.default_rng(0)
    kept = runs.embed(rng.integers(0, 255, (net.template_px,) * 2).astype(np.uint8))
    search = rng.integers(0, 255, (2, net.search_px, net.search_px)).astype(np.uint8)
    return lambda: runs.respond(search, kept)


def _times(step: Callable[[], Any], repeats: int) -> list[float]:
    out = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        step()
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out
