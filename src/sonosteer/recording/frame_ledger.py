"""Accounts for every frame of a run: what became of it, why, and how long each stage took."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

from sonosteer.core.errors import SonosteerError
from sonosteer.core.types import Estimate, Lost, Track

FrameOutcome = Literal["used", "late", "dropped", "refused"]
OUTCOMES: tuple[FrameOutcome, ...] = get_args(FrameOutcome)
#: stages of an asynchronous run, each timed from a frame's capture
STAGES = ("estimate", "decision", "command")


@dataclass
class FrameLedger:
    """The account of every frame of a run.

    A frame is used, late, dropped or refused. It is late if a newer one was there when the tracker became free.

    An asynchronous run books captures and outcomes apart, with `captured`, `used` and `enter`. One thread may book
    captures and another outcomes. A run that tracks every frame in turn books estimates, with `tracked`. Raises
    ValueError for an outcome without a frame, which is a mistake of the program.
    """

    expected: int | None = None
    """Number of frames that the source promised, None where it did not say."""
    frames: int = 0
    """Number of frames that arrived. After `close` those that the camera left out count, too."""
    gaps: int = 0
    """Number of frames that are missing between those that arrived, until `close` books them."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Number of frames by outcome."""
    because: dict[str, Counter[str]] = field(default_factory=dict)
    """Outcome to number of frames by reason."""
    states: Counter[str] = field(default_factory=Counter)
    """Number of estimates by state: tracking, coasting, lost."""
    lost_because: Counter[str] = field(default_factory=Counter)
    """Number of lost estimates by reason."""
    bad_because: Counter[str] = field(default_factory=Counter)
    """Number of frames that could not be read, by reason. They are lost, too."""
    times_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Stage to how long it took for each frame, ms."""
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Stage to its longest time in ms and the index of that frame."""
    waiting: deque[int] = field(default_factory=deque)
    """Indices of the frames that arrived and have no outcome yet."""
    last: int | None = None
    """Index of the newest frame, None before the first."""
    interrupted: bool = False
    """True if the user ended the run."""
    ended_early: str | None = None
    """Why the source broke off, None if it did not."""

    def captured(self, index: int) -> None:
        """Book a frame that arrived. Indices left out are frames that the camera dropped. Twice the same is two."""
        if self.last is not None and index > self.last + 1:
            self.gaps += index - self.last - 1
        self.last = index
        self.frames += 1
        self.waiting.append(index)

    def used(self, index: int) -> list[int]:
        """Book the frame that the tracker took. Returns those that waited longer: they are late."""
        late: list[int] = []
        if index in self.waiting:
            while self.waiting[0] != index:
                late.append(self.waiting[0])
                self.enter(late[-1], "late", "a newer frame was there")
        self.enter(index, "used")
        return late

    def enter(self, index: int, outcome: FrameOutcome, why: str = "") -> None:
        """Book the outcome of a captured frame, once."""
        if outcome not in OUTCOMES:
            raise ValueError(f"frame {index}: there is no outcome {outcome!r}; there are: {', '.join(OUTCOMES)}")
        if index not in self.waiting:
            raise ValueError(f"frame {index} was not captured, or has its outcome already: {outcome} {why}".rstrip())
        self.waiting.remove(index)
        self._book(outcome, 1, why)

    @property
    def bad(self) -> int:
        """Number of frames that could not be read."""
        return self.bad_because.total()

    def tracked(self, estimate: Estimate, *, bad: bool = False) -> None:
        """Book a frame that was tracked as soon as it was read, and its estimate. bad: it could not be read."""
        self.frames += 1
        self._book("used", 1, "")
        self.states[estimate.state.value] += 1
        if isinstance(estimate, Lost):
            self.lost_because[estimate.reason] += 1
            self.bad_because.update([estimate.reason] if bad else [])

    def timed(self, stage: str, elapsed_s: float, index: int | None = None) -> None:
        """Enter the time that a stage took for one frame. index: of the frame, to find the slowest."""
        elapsed_ms = elapsed_s * 1e3
        self.times_ms[stage].append(elapsed_ms)
        if index is not None:
            self.slowest[stage] = max(self.slowest.get(stage, (elapsed_ms, index)), (elapsed_ms, index))

    @contextmanager
    def until_the_end(self) -> Iterator[None]:
        """Note how a loop ends, and close. Ctrl-C ends it quietly. An error of ours is noted and raised on."""
        try:
            yield
        except KeyboardInterrupt:
            self.interrupted = True
        except SonosteerError as e:
            self.ended_early = str(e)
            raise
        finally:
            self.close()

    def close(self, why: str = "the run ended before its turn") -> None:
        """Book the frames that never got their turn as dropped. May be called twice.

        These are the frames that still wait, those left out between others, and those promised but not delivered.
        """
        self._book("dropped", len(self.waiting), why)
        self._book("dropped", self.gaps, "not delivered by the camera")
        self.frames += self.gaps
        self.gaps = 0
        self.waiting.clear()
        if self.expected is not None:
            missing = self.expected - self.frames - self.outcomes["dropped"]
            why = "interrupted" if self.interrupted else self.ended_early or "not delivered by the source"
            self._book("dropped", max(missing, 0), why)

    def counts(self) -> dict[str, object]:
        """Frames by outcome, as in summary.json of an insertion: used + late + dropped + refused = captured."""
        why = {f"{outcome}_because": dict(reasons) for outcome, reasons in sorted(self.because.items())}
        return {"captured": self.frames, **{outcome: self.outcomes[outcome] for outcome in OUTCOMES}, **why}

    def tracking_counts(self) -> dict[str, object]:
        """Frames by state, as in summary.json of a tracking run: tracking + coasting + lost = frames.

        Those that could not be read (bad) are among the lost ones.
        """
        return {
            "frames": self.frames,
            **{track.value: self.states[track.value] for track in Track},
            "lost_because": dict(self.lost_because),
            "bad": self.bad,
            "bad_because": dict(self.bad_because),
            "dropped": self.outcomes["dropped"],
            "dropped_because": dict(self.because.get("dropped", {})),
            "interrupted": self.interrupted,
        }

    def rates_hz(self, time_s: float) -> dict[str, float]:
        """Frames captured and stages done per second of a run of time_s. Empty if it took no time."""
        if not time_s > 0:
            return {}
        stages = {stage: len(self.times_ms[stage]) / time_s for stage in STAGES}
        return {"captured": self.frames / time_s, **stages}

    def _book(self, outcome: FrameOutcome, frames: int, why: str) -> None:
        if frames:
            self.outcomes[outcome] += frames
            if why:
                self.because.setdefault(outcome, Counter())[why] += frames
