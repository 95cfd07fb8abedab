"""The protocols behind which implementations are swapped. A new source or tracker needs nothing but these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sonosteer.core.geometry import Probe, Spacing
from sonosteer.core.types import Action, Estimate, Frame, Hint, Observation, RollCommand, Task, TipMeasurement

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source says of itself before the first frame is read."""

    name: str
    """Name to show, such as the file's."""
    kind: str
    """Kind of source, such as video or dicom."""
    size_px: tuple[int, int]
    """Size of a frame, px: (width, height)."""
    frames: int | None
    """Number of frames, None for a live source."""
    rate_hz: float | None
    """Nominal frame rate, Hz. None where the frames carry only their own times."""
    spacing: Spacing | None
    """Millimetres per pixel, None where the source does not say."""
    probe: Probe | None = None
    """Geometry of the transducer, None where unknown."""
    names: tuple[str, ...] = ()
    """Name of each picture among stills. Empty for a clip."""
    world: str | None = None
    """Frame of reference that the frames' poses lead to, such as Tracker. None without poses."""
    notes: tuple[str, ...] = ()
    """What was left out or turned while reading, a line each. Empty where frames are as they are stored."""


class Source(Protocol):
    """Frames in. Reading is lazy: memory does not grow with the length of the clip."""

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""
        ...

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` (included) to `stop` (excluded) in order. None: to the end.

        Raises PictureError at a frame that cannot be read, if `frames` from the next one on goes on behind it.
        """
        ...

    def close(self) -> None:
        """Release files and devices. May be called twice."""
        ...


class Tracker(Protocol[State]):
    """Frames -> tip. All memory is in `State`, so that a run can be replayed, forked and tested."""

    def prepare(self) -> None:
        """Compile and allocate what the first frames would otherwise wait for."""
        ...

    def start(self, hint: Hint) -> State:
        """Return the state before the first frame."""
        ...

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """Return the next state and the estimate. Does not change `state` and `frame`."""
        ...


class Steerer(Protocol[State]):
    """Measured tip -> roll of the base. All memory is in `State`."""

    def prepare(self) -> None:
        """Compile what the first measurements would otherwise wait for."""
        ...

    def start(self, roll_rad: float) -> State:
        """Return the state at the entry, with the base rolled by roll_rad."""
        ...

    def step(self, state: State, measurement: TipMeasurement) -> tuple[State, RollCommand]:
        """Return the next state and the wanted roll. Does not change `state`."""
        ...


class Policy(Protocol[State]):
    """Observation -> action, learned or scripted. All memory is in `State`.

    A policy proposes and the gate decides. An action carries its frame's time, and its command says when it expires.
    """

    def prepare(self) -> None:
        """Load and compile what the first observations would otherwise wait for."""
        ...

    def start(self, task: Task) -> State:
        """Return the state before the first observation."""
        ...

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Return the next state and the wanted action. Does not change `state` and `observation`."""
        ...


class Watcher(Protocol):
    """Looks on, as a recorder or viewer does, and never holds anything up."""

    def saw(self, frame: Frame, estimate: Estimate) -> None:
        """Take note of one frame and its estimate."""
        ...
