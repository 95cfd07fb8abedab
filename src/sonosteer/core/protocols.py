"""The faces behind which implementations are swapped. A new source or tracker needs nothing but these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sonosteer.core.geometry import Probe, Spacing
from sonosteer.core.types import Action, Estimate, Frame, Hint, Observation, RollCommand, Task, TipMeasurement

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself before the first frame is read.

    size_px: (width, height). frames: number of frames, None for a live source. rate_hz: nominal frame rate,
    None where the frames carry only their own times.
    """

    name: str
    kind: str
    size_px: tuple[int, int]
    frames: int | None
    rate_hz: float | None
    spacing: Spacing | None
    probe: Probe | None = None


class Source(Protocol):
    """Frames in. Reading is lazy: memory does not grow with the length of the clip."""

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""
        ...

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` (included) to `stop` (excluded; None: to the end), in order."""
        ...

    def close(self) -> None:
        """Release files and devices. May be called twice."""
        ...


class Tracker(Protocol[State]):
    """Frames -> tip. All memory is in `State`: replay, fork and test come free."""

    def prepare(self) -> None:
        """Compile and allocate beforehand what frames would otherwise wait for."""
        ...

    def start(self, hint: Hint) -> State:
        """Return the state before the first frame."""
        ...

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """Return the next state and what is now believed of the tip. Leaves `state` and `frame` alone."""
        ...


class Steerer(Protocol[State]):
    """Where the tip was seen -> how the base is to be rolled. All memory is in `State`."""

    def prepare(self) -> None:
        """Compile what the first sightings would otherwise wait for."""
        ...

    def start(self, roll_rad: float) -> State:
        """Return the state at the entry, the bevel rolled by roll_rad."""
        ...

    def step(self, state: State, measurement: TipMeasurement) -> tuple[State, RollCommand]:
        """Return the next state and the roll that is wanted. Leaves `state` alone."""
        ...


class Policy(Protocol[State]):
    """Observation -> action: learned or scripted. All memory is in `State`; chance comes from the task's seed.

    A policy proposes; the gate disposes. Its actions carry their frame's time and when they expire.
    """

    def prepare(self) -> None:
        """Load and compile what the first observations would otherwise wait for."""
        ...

    def start(self, task: Task) -> State:
        """Return the state before the first observation."""
        ...

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Return the next state and what is wanted now. Leaves `state` and `observation` alone."""
        ...


class Watcher(Protocol):
    """Looks on (recorder, viewer, ledger) and never holds anything up."""

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Take note of one frame and its estimate."""
        ...
