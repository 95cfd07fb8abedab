"""Speed of the full-size tracking network, Qwen2.5-VL-3B's tower with register and head, on a GPU.

Weights are random, of the right shapes: speed does not depend on their values. One frame at a time, from a grey pair
on the host to candidates on the host; 16 bit; the whole pass captured as a CUDA graph, and eagerly in the same run.
The paper reports 25.1 frames/s on an A800. Needs a CUDA GPU with about 6 GB free; the code runs at a small size on a
CPU in the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions

Progress = Callable[[int], None]
PAPER_FPS = 25.1


def run(*, seed: int, progress: Progress) -> dict[str, Any]:
    """`sonosteer bench vla-gpu`. InputError without a GPU."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("bench vla-gpu", "torch", "vla") from None
    if not torch.cuda.is_available():
        raise InputError(
            "bench vla-gpu needs a CUDA GPU with about 6 GB of free memory and PyTorch's CUDA build; PyTorch sees none "
            "here (bench vla measures the model that ships, on the CPU)"
        )
    return measure("qwen3b", "cuda", seed, progress)


def measure(preset_name: str, device: str, seed: int, progress: Progress, repeats: int = 300) -> dict[str, Any]:
    """One preset on one device; on a CPU eagerly and in 32 bit only."""
    import torch

    from sonosteer.learning.nets.presets import preset
    from sonosteer.learning.nets.vla import VlaTracker

    config = preset(preset_name)
    torch.manual_seed(seed)
    cuda = device == "cuda"
    with torch.device(device):
        net = VlaTracker(config).eval()
    if cuda:
        net = net.to(torch.bfloat16)
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, 255, (8, 2, config.search_px, config.search_px)).astype(np.uint8)
    template = torch.zeros(1, 1, config.template_px, config.template_px, device=device)
    cases: list[dict[str, Any]] = []
    with torch.inference_mode():
        kept = net.embed(template)
        still = torch.zeros(1, *pairs.shape[1:], dtype=torch.uint8, device=device)

        def once() -> Any:
            return net.candidates(net.respond(still.float() / 255, kept))

        runs: dict[str, Callable[[], Any]] = {"eager": once}
        if cuda:
            runs["graph"] = _captured(torch, once)
        for k, (name, step) in enumerate(runs.items()):
            ms = _time(torch, step, still, pairs, repeats)
            cases.append({"case": f"{preset_name}, {name}", **percentiles_ms(ms), "frames": len(ms)})
            progress(k + 1)
    for case in cases:
        case["ratio"] = {c["case"]: round(c["median_ms"] / case["median_ms"], 2) for c in cases if c is not case}
        case["ratio"]["paper, A800"] = round(1000 / PAPER_FPS / case["median_ms"], 2)
    return {
        "name": "vla-gpu",
        "machine": versions()
        | {"device": torch.cuda.get_device_name() if cuda else device, "torch": torch.__version__},
        "image": [config.search_px, config.search_px],
        "register": config.register,
        "fps": round(1000 / cases[-1]["median_ms"], 1),
        "cases": cases,
        "notes": "random weights of the right shapes; one frame at a time, host to host; template encoded beforehand",
    }


def _captured(torch: Any, once: Callable[[], Any]) -> Callable[[], Any]:
    """The same work as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = once()

    def replay() -> Any:
        graph.replay()
        return found

    return replay


def _time(torch: Any, step: Callable[[], Any], still: Any, pairs: Any, repeats: int) -> list[float]:
    out = []
    for i in range(repeats + 10):
        began = time.perf_counter_ns()
        still.copy_(torch.from_numpy(pairs[i % len(pairs)])[None])
        found = step()
        found.score.float().cpu()
        found.centre.float().cpu()
        out.append((time.perf_counter_ns() - began) * 1e-6)
    return out[10:]
