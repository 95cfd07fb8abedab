"""One trial of Paper V's insertion study: one method on one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.runtime.insertion import Pace

MODES = ("ips", "ipm")
#: names of the conditions, and what they change in a scene
AS_THEY_COME, WINDOW = "scenes as they come", "scenes with an acoustic window"
CONDITIONS: dict[str, dict[str, Any]] = {
    AS_THEY_COME: {},
    WINDOW: {"artefacts.occluders": 0, "artefacts.contact_loss": 0.0},
}
OURS = "vla"


@dataclass(frozen=True, slots=True)
class Method:
    """policy, tracker and their settings; asynchronous: or in turn; paper: row of Table II it stands for.

    large: also in scenes with an acoustic window, for comparisons.
    """

    name: str
    policy: str
    tracker: str = "vla"
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    asynchronous: bool = True
    paper: str = ""
    large: bool = False


METHODS = (
    Method(OURS, "vla", paper="ours", large=True),
    Method("simulated operator", "operator", paper="manual", large=True),
    Method(
        "weaker tracker", "vla", policy_settings={"model": "weak"}, tracker_settings={"model": "weak"}, paper="weaker"
    ),
    Method(
        "no register", "vla", policy_settings={"model": "bare"}, tracker_settings={"model": "bare"}, paper="no register"
    ),
    Method("synchronous", "vla", asynchronous=False, paper="no async", large=True),
    Method("constant speed", "constant", paper="constant", large=True),
    Method("visibility rule", "visibility"),
    Method("visibility rule, tracker auto", "visibility", tracker="auto"),
    Method("bevel steering", "steer"),
    Method("seek", "seek"),
    Method("expert", "expert"),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One method on one target. models: folder of the ablations' networks."""

    method: Method
    mode: str
    seed: int
    models: Path
    condition: str = AS_THEY_COME

    @property
    def name(self) -> str:
        """Method, mode and seed, and the condition that is not as they come."""
        name = f"{self.method.name} | {self.mode} | {self.seed}"
        return name if self.condition == AS_THEY_COME else f"{name} | {self.condition}"

    def setup(self) -> InsertionConfig:
        """What is carried out."""
        m = self.method
        return InsertionConfig(
            m.policy,
            "ips" if self.mode == "ips" else "ipm",
            self.seed,
            "in-plane-convex/test",
            m.tracker,
            found_settings(m.policy_settings, self.models, "policy"),
            found_settings(m.tracker_settings, self.models, "tracking"),
            CONDITIONS[self.condition],
            pace=Pace(asynchronous=m.asynchronous),
        )


def found_settings(settings: Mapping[str, Any], models: Path, kind: str) -> dict[str, Any]:
    """Settings with the name of an ablation's network as its folder."""
    named = settings.get("model")
    return {**settings, "model": str(models / str(named) / kind)} if named else dict(settings)


def run_trial(trial: Trial) -> dict[str, Any]:
    """Carry it out; what came of it, and speed and visibility every tenth of a second."""
    done = run_episode(build_episode(trial.setup()))
    error = done.outcome.final_error_mm
    rows = [[round(v, 3) if v == v else None for v in row[:7]] for row in done.run.rows[::10]]
    return {
        **done.summary(),
        "final_error_mm": error if error < 1e6 else None,
        "ended": done.run.ended,
        "judged": done.outcome.reason,
        "held": dict(done.held_because),
        "unseen": round(sum(not t.visible for t in done.truths) / max(len(done.truths), 1), 3),
        "rows": rows,
        "error_mm": [[round(t, 3), round(e, 2)] for t, e in done.errors_mm[::3].tolist()],
    }
