"""Speed of a live insertion: how often it tracks and decides, and whether a slow policy holds the tracker up.

Measured on a real clock with every branch in its thread: the simulated rig as camera, the tracker that ships, a policy,
the gate, no recorder. The policy is the one that ships, or a plain rule where none does, and waits as long as a
language model would (without using the processor, as one on a GPU). The reference is the same run with tracker and
policy one after the other, an ablation of Zhang et al. 2026.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.core.progress import CountProgress
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Frame, Observation, Task
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.runtime.insertion import Pace

RUN_S = 8.0
THINKS_S = 1 / 10.4  # Zhang et al. 2026: time of their language model for an action
#: name, asynchronous, seconds an action takes
INSERTION_RUNS = (
    ("asynchronous", True, THINKS_S),
    ("asynchronous, 1 s an action", True, 1.0),
    ("synchronous", False, THINKS_S),
    ("asynchronous, no waiting", True, 0.0),
)


@dataclass
class Slow:
    """Makes a policy slow, and keeps it from its target, so that a run lasts."""

    policy: Policy[Any]
    """What decides before the wait."""
    wait_s: float
    """Extra time of every action, s."""

    def prepare(self) -> None:
        """As the policy does."""
        self.policy.prepare()

    def start(self, task: Task) -> Any:
        """As the policy does."""
        return self.policy.start(task)

    def step(self, state: Any, observation: Observation) -> tuple[Any, Action]:
        """Decide, wait, and creep whatever was decided, so that a run lasts."""
        state, action = self.policy.step(state, observation)
        time.sleep(self.wait_s)
        creeping = dataclasses.replace(
            action.command, insertion_speed_mm_s=1.0, probe_velocity_mm_s=(0.0, 0.0, 0.0), stop=False
        )
        return state, dataclasses.replace(action, command=creeping)


class Times:
    """Notes when estimates and decisions were there. Records nothing else."""

    failed: str | None = None
    """Why recording failed. It never does here."""

    def __init__(self) -> None:
        self.done_s: dict[str, list[float]] = {}

    def frame(self, frame: Frame, now_s: float) -> None:
        """Forget it."""

    def write(self, topic: str, time_s: float, what: Mapping[str, Any]) -> None:
        """Note when an estimate or a decision was there."""
        if "done_s" in what:
            self.done_s.setdefault(topic, []).append(float(what["done_s"]))

    def between_ms(self, topic: str) -> list[float]:
        """Times from one to the next, without the first few."""
        done_s = self.done_s.get(topic, [])
        return [1e3 * (b - a) for a, b in pairwise(done_s)][3:]


def bench_insertion(*, seed: int, progress: CountProgress) -> dict[str, Any]:
    """`sonosteer bench insertion`: {"name", "machine", "cases": [{"case", "median_ms", ..., "ratio"}]}."""
    times: dict[str, Times] = {}
    latency: dict[str, Mapping[str, list[float]]] = {}
    policy = _policy()
    for k, (name, asynchronous, wait_s) in enumerate(INSERTION_RUNS):
        times[name], latency[name] = time_insertion(policy, seed, asynchronous, wait_s)
        progress(k + 1)
    reference = {"synchronous": times["synchronous"].between_ms("/estimate")}
    out = []
    for name in times:
        others = {} if name == "synchronous" else reference
        out.append(_case(f"tracking, {name}", times[name].between_ms("/estimate"), others))
        out.append(_case(f"deciding, {name}", times[name].between_ms("/decision"), {}))
        out.append(_case(f"capture to estimate, {name}", latency[name]["estimate"], {}))
    return {
        "name": "insertion",
        "machine": versions(),
        "policy": policy,
        "tracking_hz": _hz(out[0]),
        "action_hz": _hz(out[1]),
        "cases": [c for c in out if c],
        "notes": (
            f"from one estimate, or decision, to the next, over {RUN_S:g} s of real time; the simulated rig draws "
            f"its frames on the same processor; a decision waits {1e3 * THINKS_S:.0f} ms (1 s in the second run, none "
            "in the last) as for a language model elsewhere. ratio: median of the synchronous run over ours in this run"
        ),
    }


def _policy() -> str:
    from sonosteer.inference.policy_network import policy_folder
    from sonosteer.policies.vla import VlaPolicy

    try:
        policy_folder(VlaPolicy().model)
    except InputError:
        return "visibility"
    return "vla"


def time_insertion(
    policy: str, seed: int, asynchronous: bool, wait_s: float
) -> tuple[Times, Mapping[str, list[float]]]:
    """(when things were there, ms from capture to each stage) of one run."""
    pace = Pace(asynchronous=asynchronous, longest_s=RUN_S, patience_s=2 * RUN_S)
    config = InsertionConfig(policy=policy, seed=seed, scene="in-plane-convex/validation", pace=pace, live=True)
    episode = build_episode(config)
    episode.policy = Slow(episode.policy, wait_s)
    notes = Times()
    done = run_episode(episode, recorder=notes)
    return notes, done.run.ledger.times_ms


def _case(name: str, ms: list[float], others: Mapping[str, list[float]]) -> dict[str, Any]:
    if not ms:
        return {}
    ours = percentiles_ms(ms)
    ratio = {k: round(float(np.median(v)) / ours["median_ms"], 2) for k, v in others.items() if v}
    return {"case": name, **ours, "n": len(ms), "ratio": ratio}


def _hz(case: Mapping[str, Any]) -> float | None:
    return round(1e3 / case["mean_ms"], 1) if case else None
