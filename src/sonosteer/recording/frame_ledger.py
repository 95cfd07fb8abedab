"""What became of every frame of an asynchronous run, and how long each stage came after its capture."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal, get_args

Fate = Literal["used", "late", "dropped", "refused"]
FATES: tuple[Fate, ...] = get_args(Fate)
STAGES = ("estimate", "decision", "command")


@dataclass
class FrameFates:
    """A frame is used, late (a newer one was there when the tracker became free), dropped or refused, with why.

    `times_ms[stage]`: from capture to estimate, decision and command; `slowest[stage]`: (ms, frame) of the longest.
    One thread may enter captures and another fates. ValueError for a fate without a frame: a mistake of the program.
    """

    frames: int = 0
    gaps: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    because: dict[str, Counter[str]] = field(default_factory=dict)
    times_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    last: int | None = None

    def captured(self, index: int) -> None:
        """A frame arrived. Numbers left out are frames that the camera dropped; one that comes twice is two frames."""
        if self.last is not None and index > self.last + 1:
            self.gaps += index - self.last - 1
        self.last = index
        self.frames += 1
        self.waiting.append(index)

    def used(self, index: int) -> list[int]:
        """The tracker took this frame; those that had waited longer are late, and are returned."""
        late: list[int] = []
        if index in self.waiting:
            while self.waiting[0] != index:
                late.append(self.waiting[0])
                self.fate(late[-1], "late", "a newer frame was there")
        self.fate(index, "used")
        return late

    def fate(self, index: int, fate: str, why: str = "") -> None:
        """What became of a captured frame: one of FATES, once."""
        if fate not in FATES:
            raise ValueError(f"frame {index}: there is no fate {fate!r}; there are: {', '.join(FATES)}")
        if index not in self.waiting:
            raise ValueError(f"frame {index} was not captured, or has its fate already: {fate} {why}".rstrip())
        self.waiting.remove(index)
        self._book(fate, 1, why)

    def tracked(self, index: int, age_s: float) -> None:
        """The estimate of a frame was there, age_s after its capture."""
        self._took("estimate", index, age_s)

    def decided(self, index: int, age_s: float) -> None:
        """The action on a frame was there, age_s after its capture."""
        self._took("decision", index, age_s)

    def commanded(self, index: int, age_s: float) -> None:
        """The robot was told for the first time what a frame led to, age_s after its capture."""
        self._took("command", index, age_s)

    def close(self, why: str = "the run ended before its turn") -> None:
        """Book the frames that still wait, and those missing between the others, as dropped. May be called twice."""
        self._book("dropped", len(self.waiting), why)
        self._book("dropped", self.gaps, "not delivered by the camera")
        self.frames += self.gaps
        self.gaps = 0
        self.waiting.clear()

    def counts(self) -> dict[str, object]:
        """As in summary.json: used + late + dropped + refused = captured, once closed."""
        why = {f"{fate}_because": dict(reasons) for fate, reasons in sorted(self.because.items())}
        return {"captured": self.frames, **{fate: self.fates[fate] for fate in FATES}, **why}

    def rates_hz(self, time_s: float) -> dict[str, float]:
        """Frames captured, and stages done, per second of a run that took time_s; empty if it took none."""
        if not time_s > 0:
            return {}
        stages = {stage: len(times) / time_s for stage, times in self.times_ms.items()}
        return {"captured": self.frames / time_s, **stages}

    def _took(self, stage: str, index: int, age_s: float) -> None:
        self.times_ms[stage].append(age_s * 1e3)
        self.slowest[stage] = max(self.slowest.get(stage, (age_s * 1e3, index)), (age_s * 1e3, index))

    def _book(self, fate: str, frames: int, why: str) -> None:
        if frames:
            self.fates[fate] += frames
            if why:
                self.because.setdefault(fate, Counter())[why] += frames
