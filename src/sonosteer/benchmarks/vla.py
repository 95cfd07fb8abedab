"""Speed of the tracking network on one CPU thread: ONNX Runtime and PyTorch, beside OpenCV's CSRT and KCF.

Measured: `vla` from a decoded grey frame to an estimate on a simulated convex insertion, and the network's own answer
to one search crop, by both runtimes in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sonosteer.benchmarks.tracking import BenchClip, opencv_times
from sonosteer.core.errors import MissingExtraError
from sonosteer.core.progress import CountProgress
from sonosteer.core.types import Frame, Hint
from sonosteer.inference.onnx_graphs import model_folder
from sonosteer.inference.tip_network import OnnxTipNetwork, TipNetwork
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.trackers.vla import VlaTipTracker


def bench_vla(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench vla`: {"name", "machine", "cases": [{"case", "median_ms", ..., "ratio"}]}."""
    cv2.setNumThreads(1)
    folder = model_folder("edge")
    scene = make_scene("in-plane-convex/validation", seed)
    clip: BenchClip = list(World(scene).frames())
    networks: dict[str, TipNetwork] = {"onnx": OnnxTipNetwork(folder)}
    try:
        import torch

        from sonosteer.learning.checkpoints.torch_tip_network import load_torch_tip_network
    except (ImportError, MissingExtraError):
        torch = None  # type: ignore[assignment]  # the runtime beside it is measured where it is installed
    else:
        torch.set_num_threads(1)
        networks["torch, eager"] = _on_cpu(load_torch_tip_network, folder)
    frames = [frame for frame, _ in clip]
    tip = clip[0][1].tip_px
    assert tip is not None
    tracked = {name: _track(net, frames, tip) for name, net in networks.items()}
    progress(1)
    alone = {name: _answers(net) for name, net in networks.items()}
    progress(2)
    general = {"csrt": opencv_times("CSRT", clip), "kcf": opencv_times("KCF", clip)}
    cases: list[dict[str, Any]] = []
    for name in networks:
        others = {k: v for k, v in tracked.items() if k != name} | general
        cases.append(_case(f"track, {name}", tracked[name], others))
    for name in networks:
        cases.append(_case(f"network, {name}", alone[name], {k: v for k, v in alone.items() if k != name}))
    for name, ms in general.items():
        cases.append(_case(name, ms, {}))
    return {
        "name": "vla",
        "machine": versions() | {"threads": 1},
        "image": [scene.width_px, scene.height_px],
        "scene": scene.name,
        "fps": round(1000.0 / cases[0]["median_ms"], 1),
        "cases": cases,
        "notes": (
            "ratio: median time of the reference over ours in this run. track: vla, whole, per 512x512 "
            "frame, started on the true tip; decoding and drawing apart. network: one search crop. fps: of "
            "'track, onnx'. PyTorch is measured where it is installed."
        ),
    }


def _on_cpu(load: Callable[..., Any], folder: Path) -> TipNetwork:
    from sonosteer.learning.checkpoints.torch_tip_network import TorchNetwork

    loaded = load(folder, 1)
    on_cpu: TipNetwork = TorchNetwork(loaded.net.to("cpu"), loaded.scale_mm)
    return on_cpu


def _case(name: str, ms: list[float], others: dict[str, list[float]]) -> dict[str, Any]:
    ours = percentiles_ms(ms)
    ratio = {k: round(float(np.median(v)) / ours["median_ms"], 2) for k, v in others.items()}
    return {"case": name, **ours, "frames": len(ms), "ratio": ratio}


def _track(net: TipNetwork, frames: list[Frame], tip_px: tuple[float, float]) -> list[float]:
    tracker = VlaTipTracker(network=net)
    tracker.prepare()
    state, out = tracker.start(Hint(start_px=tip_px)), []
    for frame in frames:
        began = time.perf_counter_ns()
        state, _ = tracker.step(state, frame)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out[1:]


def _answers(net: TipNetwork, repeats: int = 150) -> list[float]:
    rng = np.random.default_rng(0)
    kept = net.embed(rng.integers(0, 255, (net.template_px,) * 2).astype(np.uint8))
    search = rng.integers(0, 255, (2, net.search_px, net.search_px)).astype(np.uint8)
    out = []
    for _ in range(repeats + 10):
        began = time.perf_counter_ns()
        net.respond(search, kept)
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out[10:]
