"""The frame ledger: every frame of the source is accounted for, and so is the time each stage took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sonosteer.core.types import Estimate, Lost, Track


@dataclass
class Ledger:
    """Counts as a run goes along. `times_ms[stage]` holds one number per frame."""

    expected: int | None = None
    states: Counter[str] = field(default_factory=Counter)
    lost_because: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False
    ended_early: str | None = None

    @property
    def frames(self) -> int:
        """Frames that the tracker has seen."""
        return sum(self.states.values())

    def count(self, estimate: Estimate) -> None:
        """Enter one estimate."""
        self.states[estimate.state.value] += 1
        if isinstance(estimate, Lost):
            self.lost_because[estimate.reason] += 1

    def timed(self, stage: str, elapsed_s: float) -> None:
        """Enter the time one stage took for one frame."""
        self.times_ms.setdefault(stage, []).append(elapsed_s * 1e3)

    def close(self) -> None:
        """Book what the source promised and did not deliver."""
        missing = (self.expected or 0) - self.frames
        if missing > 0:
            why = "interrupted" if self.interrupted else self.ended_early or "not delivered by the source"
            self.dropped[why] += missing

    def counts(self) -> dict[str, object]:
        """Frames by fate, as in summary.json: tracking + coasting + lost = frames."""
        by_state = {track.value: self.states[track.value] for track in Track}
        return {
            "frames": self.frames,
            **by_state,
            "lost_because": dict(self.lost_because),
            "dropped": sum(self.dropped.values()),
            "dropped_because": dict(self.dropped),
            "interrupted": self.interrupted,
        }
