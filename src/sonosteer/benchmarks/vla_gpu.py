"""Speed of the full-size networks, Qwen2.5-VL-3B's tower with register and head, and its language model, on a GPU.

Weights are random, of the right shapes: speed does not depend on their values. Tracking: one frame at a time, from a
grey pair on the host to candidates on the host. Deciding: one action at a time, from what the tower saw, left on the
device, to an answer on the host. The instruction is read beforehand. Both: each in its thread and on its CUDA stream
(tracking's goes first), as in a live insertion. In 16 bit. The whole pass runs as a captured CUDA graph, and eagerly
in the same run. The paper reports 25.1 frames and 10.4 actions a second on an A800. Needs a CUDA GPU with about 20 GB
free. The code runs at a small size on a CPU in the tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.progress import CountProgress
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions

PAPER_HZ = {"tracking": 25.1, "deciding": 10.4}
TEXT_TOKENS = 64  # of the instruction
UNTIMED = 10


def bench_vla_gpu(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench vla-gpu`. Raises InputError without a GPU."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError("bench vla-gpu", "torch", "vla") from None
    if not torch.cuda.is_available():
        raise InputError(
            "bench vla-gpu needs a CUDA GPU with about 20 GB of free memory and PyTorch's CUDA build; PyTorch sees "
            "none here (bench vla measures the model that ships, on the CPU)"
        )
    return time_full_size("qwen3b", "cuda", seed, progress)


def time_full_size(
    preset_name: str, device: str, seed: int, progress: CountProgress, repeats: int = 300
) -> dict[str, Any]:
    """Time one preset on one device. On a CPU it runs eagerly and in 32 bit only."""
    import torch

    from sonosteer.learning.nets.policy import PolicyNet
    from sonosteer.learning.nets.policy_presets import policy_preset
    from sonosteer.learning.nets.presets import tracking_preset
    from sonosteer.learning.nets.vla import VlaTracker
    from sonosteer.learning.training.features import seen_by

    config, cuda = tracking_preset(preset_name), device == "cuda"
    torch.manual_seed(seed)
    with torch.device(device):
        net = VlaTracker(config).eval()
        asked = dataclasses.replace(
            policy_preset(preset_name), features=seen_by(net), text_tokens=TEXT_TOKENS, turn=(2, 3), checkpoint=""
        )
        policy = PolicyNet(asked).eval()
    if cuda:
        net, policy = net.to(torch.bfloat16), policy.to(torch.bfloat16)
    policy.hold_rotations(torch.device(device))
    rng = np.random.default_rng(seed)
    done = 0

    def note() -> None:
        nonlocal done
        done += 1
        progress(done)

    cases: list[dict[str, Any]] = []
    with torch.inference_mode():
        eager = {"tracking": _tracking(torch, net, device, rng), "deciding": _deciding(torch, policy, device, rng)}
        ways = {"eager": eager}
        if cuda:
            ways["graph"] = {name: branch.captured(torch) for name, branch in eager.items()}
        for way, branches in ways.items():
            for name, branch in branches.items():
                cases.append(_case(f"{preset_name}, {name}, {way}", branch.timed(repeats), name))
                note()
        for name, ms in _together(torch, branches, repeats, cuda).items():
            cases.append(_case(f"{preset_name}, {name} while both run", ms, name))
        note()
    for case in cases:
        alike = [c for c in cases if c["branch"] == case["branch"] and c is not case]
        case["ratio"] |= {c["case"]: round(c["median_ms"] / case["median_ms"], 2) for c in alike}
    hz = {c.pop("branch"): round(1000 / c["mean_ms"], 1) for c in cases}  # the last ones: while both run
    return {
        "name": "vla-gpu",
        "machine": versions()
        | {"device": torch.cuda.get_device_name() if cuda else device, "torch": torch.__version__},
        "image": [config.search_px, config.search_px],
        "register": config.register,
        "tracking_hz": hz["tracking"],
        "action_hz": hz["deciding"],
        "cases": cases,
        "notes": "random weights of the right shapes; one frame and one action at a time, answers on the host; "
        "template and instruction encoded beforehand; tracking_hz, action_hz: while both run",
    }


def _case(name: str, ms: list[float], branch: str) -> dict[str, Any]:
    told = percentiles_ms(ms)
    ratio = {"paper, A800": round(1000 / PAPER_HZ[branch] / told["median_ms"], 2)}
    return {"case": name, **told, "n": len(ms), "ratio": ratio, "branch": branch}


@dataclass(frozen=True)
class _Branch:
    """One network with its inputs in place: feed puts the i-th ones there, work computes, fetch waits for answers."""

    feed: Callable[[int], None]
    work: Callable[[], Any]
    fetch: Callable[[Any], None]

    def once(self, i: int) -> None:
        """From inputs to an answer on the host."""
        self.feed(i)
        self.fetch(self.work())

    def timed(self, repeats: int) -> list[float]:
        """ms of each time."""
        out = []
        for i in range(repeats + UNTIMED):
            began = time.perf_counter_ns()
            self.once(i)
            out.append((time.perf_counter_ns() - began) * 1e-6)
        return out[UNTIMED:]

    def captured(self, torch: Any) -> _Branch:
        """The same work as a CUDA graph."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = self.work()

        def replay() -> Any:
            graph.replay()
            return found

        return dataclasses.replace(self, work=replay)


def _tracking(torch: Any, net: Any, device: str, rng: np.random.Generator) -> _Branch:
    config = net.config
    pairs = rng.integers(0, 255, (8, 2, config.search_px, config.search_px)).astype(np.uint8)
    kept = net.embed(torch.zeros(1, 1, config.template_px, config.template_px, device=device))
    still = torch.zeros(1, *pairs.shape[1:], dtype=torch.uint8, device=device)

    def fetch(found: Any) -> None:
        found.score.float().cpu()
        found.centre.float().cpu()

    return _Branch(
        lambda i: still.copy_(torch.from_numpy(pairs[i % len(pairs)])[None]),
        lambda: net.candidates(net.respond(still.float() / 255, kept)),
        fetch,
    )


def _deciding(torch: Any, policy: Any, device: str, rng: np.random.Generator) -> _Branch:
    from sonosteer.inference.action_encoding import INPUT_RANGES

    features = torch.zeros(1, *policy.config.features.shape, dtype=policy.actions.weight.dtype, device=device)
    told = rng.random((8, len(INPUT_RANGES))).astype(np.float32)
    numbers = torch.zeros(1, len(INPUT_RANGES), dtype=torch.float32, device=device)
    prefix = policy.prefix(torch.zeros(1, TEXT_TOKENS, dtype=torch.long, device=device))

    def fetch(found: Any) -> None:
        found.places.cpu()
        found.stop.cpu()

    return _Branch(
        lambda i: numbers.copy_(torch.from_numpy(told[i % len(told)])[None]),
        lambda: policy.act(prefix, features, numbers),
        fetch,
    )


def _together(torch: Any, branches: dict[str, _Branch], repeats: int, cuda: bool) -> dict[str, list[float]]:
    """ms between answers of each branch while both run, until tracking has done `repeats` frames."""
    over = threading.Event()
    done_ns: dict[str, list[int]] = {name: [] for name in branches}

    def go(name: str, priority: int) -> None:
        stream = torch.cuda.stream(torch.cuda.Stream(priority=priority)) if cuda else contextlib.nullcontext()
        i = 0
        with torch.inference_mode(), stream:
            while not over.is_set():
                branches[name].once(i)
                done_ns[name].append(time.perf_counter_ns())
                i += 1
                if name == "tracking" and i == repeats + UNTIMED:
                    over.set()

    deciding = threading.Thread(target=go, args=("deciding", 0), name="deciding", daemon=True)
    deciding.start()
    while not done_ns["deciding"]:  # both are under way
        time.sleep(0.001)
    try:
        go("tracking", -1)
    finally:
        over.set()
        deciding.join()
    return {name: (np.diff(t) * 1e-6).tolist() for name, t in done_ns.items()}
