"""One trial of the insertion study: one method on one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.runtime.insertion import Pace

MODES = ("ips", "ipm")
#: names of the conditions, and what they change in a scene
AS_THEY_COME, WITH_WINDOW = "scenes as they come", "scenes with an acoustic window"
CONDITIONS: dict[str, dict[str, Any]] = {
    AS_THEY_COME: {},
    WITH_WINDOW: {"artefacts.occluders": 0, "artefacts.contact_loss": 0.0},
}
OUR_METHOD = "vla"


@dataclass(frozen=True, slots=True)
class InsertionMethod:
    """A way to insert: who decides, who tracks, with which settings."""

    name: str
    """Name in the tables."""
    policy: str
    """Policy, by its name in the table of policies."""
    tracker: str = "vla"
    """Tracker, by its name in the table of trackers."""
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the policy, by name."""
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the tracker, by name."""
    asynchronous: bool = True
    """Whether tracker and policy run beside each other. Otherwise they take turns."""
    paper: str = ""
    """Row of the paper's Table II that it stands for. Empty: none."""
    large: bool = False
    """Whether it also inserts in scenes with an acoustic window."""


METHODS = (
    InsertionMethod(OUR_METHOD, "vla", paper="ours", large=True),
    InsertionMethod("simulated operator", "operator", paper="manual", large=True),
    InsertionMethod(
        "weaker tracker", "vla", policy_settings={"model": "weak"}, tracker_settings={"model": "weak"}, paper="weaker"
    ),
    InsertionMethod(
        "no register", "vla", policy_settings={"model": "bare"}, tracker_settings={"model": "bare"}, paper="no register"
    ),
    InsertionMethod("synchronous", "vla", asynchronous=False, paper="no async", large=True),
    InsertionMethod("constant speed", "constant", paper="constant", large=True),
    InsertionMethod("visibility rule", "visibility"),
    InsertionMethod("visibility rule, tracker auto", "visibility", tracker="auto"),
    InsertionMethod("bevel steering", "steer"),
    InsertionMethod("seek", "seek"),
    InsertionMethod("expert", "expert"),
)


@dataclass(frozen=True, slots=True)
class InsertionTrial:
    """One method on one target."""

    method: InsertionMethod
    """Who inserts, and how."""
    mode: str
    """ips: the probe stands still. ipm: it moves."""
    seed: int
    """Seed of the scene and its target."""
    models: Path
    """Folder of the ablations' networks."""
    condition: str = AS_THEY_COME
    """Key of CONDITIONS: what is changed in the scene."""

    @property
    def name(self) -> str:
        """Method, mode and seed, and the condition that is not as they come."""
        name = f"{self.method.name} | {self.mode} | {self.seed}"
        return name if self.condition == AS_THEY_COME else f"{name} | {self.condition}"

    def setup(self) -> InsertionConfig:
        """What is carried out."""
        m = self.method
        return InsertionConfig(
            policy=m.policy,
            mode="ips" if self.mode == "ips" else "ipm",
            seed=self.seed,
            scene="in-plane-convex/test",
            tracker=m.tracker,
            policy_settings=found_settings(m.policy_settings, self.models, "policy"),
            tracker_settings=found_settings(m.tracker_settings, self.models, "tracking"),
            scene_fields=CONDITIONS[self.condition],
            pace=Pace(asynchronous=m.asynchronous),
        )


def found_settings(settings: Mapping[str, Any], models: Path, kind: str) -> dict[str, Any]:
    """Settings with the name of an ablation's network as its folder."""
    named = settings.get("model")
    return {**settings, "model": str(models / str(named) / kind)} if named else dict(settings)


def run_insertion_trial(trial: InsertionTrial) -> dict[str, Any]:
    """Carry a trial out. Returns the outcome, and speed and visibility every tenth of a second."""
    done = run_episode(build_episode(trial.setup()))
    error = done.outcome.final_error_mm
    rows = [[None if v is None else round(float(v), 3) for v in row] for row in done.run.rows[::10]]
    return {
        **done.summary(),
        "final_error_mm": error,
        "ended": done.run.ended,
        "judged": done.outcome.reason,
        "held": dict(done.held_because),
        "unseen": round(sum(not t.visible for t in done.truths) / max(len(done.truths), 1), 3),
        "rows": rows,
        "error_mm": [[round(t, 3), round(e, 2)] for t, e in done.errors_mm[::3].tolist()],
    }
