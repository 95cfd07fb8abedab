"""Questions to the needle detector, answered in a thread of their own while frames are followed.

An answer is applied in the first frame that is `delay_s` later than the frame asked about, never earlier. So a result
does not depend on how busy the machine is: if the answer is not there by then, it is waited for. For live frames
(`waits=False`) nothing is waited for: the answer is applied in the first later frame by which it is there. Which frame
it was about is in the estimate's `answer_frame`, and `applied` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point
from sonosteer.inference.needle_detector import DetectorAnswer, NeedleDetector


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question under way, and what was believed when it was asked."""

    frame_index: int
    """Index of the frame asked about."""
    time_s: float
    """Time of that frame, s."""
    due_s: float
    """Time of the first frame that may hear the answer, s."""
    moved_px: Point
    """How far the whole picture had moved by then since the start, frame px."""
    tip_px: Point | None
    """Where the tip of the followed needle was believed, frame px. None without a needle."""
    targets: int
    """How many needles had been begun by then."""
    future: Future[DetectorAnswer]
    """The answer, when it is there."""

    def __reduce__(self) -> tuple[Any, ...]:
        """A stored question waits for its answer."""
        believed = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "future"}
        return _answered, (believed, self.future.result())


def _answered(believed: Mapping[str, Any], answer: DetectorAnswer) -> Question:
    """A question whose answer is there. believed: its other fields by name."""
    done: Future[DetectorAnswer] = Future()
    done.set_result(answer)
    return Question(**believed, future=done)


class DetectorDesk:
    """A detector, loaded when it is first needed, and the thread that it works in."""

    def __init__(self, model: str, threads: int) -> None:
        self._model, self._threads = model, threads
        self._detector: NeedleDetector | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def detector(self) -> NeedleDetector:
        """The detector. Raises InputError if its model is missing or damaged."""
        if self._detector is None:
            self._detector = NeedleDetector(self._model, threads=self._threads)
        return self._detector

    def ask(self, pixels: U8, earlier: U8 | None) -> Future[DetectorAnswer]:
        """Ask about a picture and an earlier one. The answer comes later."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="needle-detector")
        return self._pool.submit(self.detector.look, pixels, earlier)

    def __reduce__(self) -> tuple[Any, ...]:
        return DetectorDesk, (self._model, self._threads)

    def __deepcopy__(self, memo: Any) -> DetectorDesk:
        return DetectorDesk(self._model, self._threads)


def heard(
    questions: tuple[Question, ...], time_s: float, *, waits: bool, applied: Mapping[int, int] | None, index: int
) -> tuple[Question | None, tuple[Question, ...]]:
    """(the question whose answer is applied now, or None, those that are left). An older one than it is dropped.

    questions: oldest first. applied: recorded frame index -> index of the frame that the answer applied there was
    about. Frames without an entry apply none.
    """
    for k, q in enumerate(questions):
        due = applied.get(index) == q.frame_index if applied is not None else time_s >= q.due_s - 1e-9
        if due and (waits or applied is not None or q.future.done()):
            return q, questions[k + 1 :]
    return None, questions
