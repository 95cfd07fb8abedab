"""What a tracker and a policy may answer: of its type, no younger than what it was asked about, and fit to be recorded.

Anything else is nonsense, and whoever answers it is broken. Numbers may be NaN here: those are the gate's business.
"""

from __future__ import annotations

from typing import Any

from sonosteer.core.errors import BrokenError
from sonosteer.core.types import Action, Estimate, Frame, Lost, Observation, TipEstimate
from sonosteer.recording.wire import decode, encode


def check_estimate(said: Any, frame: Frame) -> Estimate:
    """What a tracker said of a frame. BrokenError unless it is an estimate of this frame, with its time."""
    if not isinstance(said, TipEstimate | Lost):
        raise BrokenError(f"it says {_short(said)}, which is no estimate")
    _check_fields(said)
    if (said.frame_index, said.time_s) != (frame.index, frame.time_s):
        raise BrokenError(
            f"asked about frame {frame.index} of {frame.time_s} s, it speaks of {said.frame_index} of {said.time_s} s"
        )
    return said


def check_action(said: Any, observation: Observation) -> Action:
    """What a policy said on an observation. BrokenError unless it is an action, no younger than its observation."""
    if not isinstance(said, Action):
        raise BrokenError(f"it says {_short(said)}, which is no action")
    _check_fields(said)
    index, time_s = observation.frame_index, observation.capture_time_s
    if said.frame_index > index or said.capture_time_s > time_s:
        raise BrokenError(
            f"it was told of frame {index} of {time_s} s, and dates its action {said.frame_index}, "
            f"{said.capture_time_s} s"
        )
    return said


def _check_fields(said: Any) -> None:
    """Each of the type that a recording can give back."""
    try:
        decode(type(said), encode(said))
    except (TypeError, ValueError) as e:
        raise BrokenError(f"{_short(said)}: {e}") from None


def _short(said: Any) -> str:
    text = repr(said)
    return text if len(text) <= 120 else text[:117] + "..."
