"""A moment of a demonstration as a row of moments.csv, and back, bit by bit.

Of an estimate, the points along a curved shaft are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.core.types import Action, Estimate, Lost, Observation, RobotState, TipEstimate, Track
from sonosteer.recording.tables import number, optional

_ESTIMATE = ("tip_x_px", "tip_y_px", "angle_rad", "var_along_mm2", "cov_mm2", "var_across_mm2", "confidence")
_SEEN = ("entry_x_px", "entry_y_px", "visibility", "box_left_px", "box_top_px", "box_right_px", "box_bottom_px")
_READING = ("read_s", "depth_mm", "speed_mm_s", "needle_rad", "roll_rad", "probe_x_mm", "probe_y_mm", "probe_z_mm")
_ACTION = (
    "expires_s",
    "insertion_mm_s",
    "insertion_rad",
    "rotation_rad",
    "probe_x_mm_s",
    "probe_y_mm_s",
    "probe_z_mm_s",
)
COLUMNS = (
    *("frame", "time_s", "state", "lost"),
    *(*_ESTIMATE, *_SEEN, *_READING, "fault", "target_x_px", "target_y_px", *_ACTION, "stop"),
)


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """What was told and what was done."""

    observation: Observation
    action: Action


def written(o: Observation, a: Action) -> list[str]:
    """A row of moments.csv."""
    seen, r = o.estimate, o.robot_state
    place: list[float | None] = [None] * (len(_ESTIMATE) + len(_SEEN))
    lost = _plain(seen.reason) if isinstance(seen, Lost) else ""
    if isinstance(seen, TipEstimate):
        c = seen.covariance_mm2
        box = seen.box_px or (None,) * 4
        spread = (float(c[0, 0]), float(c[0, 1]), float(c[1, 1]))
        place = [*seen.tip_px, seen.angle_rad, *spread, seen.confidence, *seen.entry_px, seen.visibility, *box]
    read = (r.time_s, r.depth_mm, r.speed_mm_s, r.angle_rad, r.roll_rad, *r.probe_mm)
    done = (a.expires_at_s, a.insertion_speed_mm_s, a.insertion_angle_rad, a.base_rotation_rad, *a.probe_speed_mm_s)
    numbers = [*(_text(v) for v in (*place, *read)), _plain(r.fault or ""), *(_text(v) for v in (*o.target_px, *done))]
    return [str(o.frame_index), _text(o.capture_time_s), seen.state.value, lost, *numbers, "1" if a.stop else "0"]


def _plain(text: str) -> str:
    """Without what a CSV file takes for its own."""
    return text.replace(",", ";").replace('"', "'").replace("\n", " ")


def _text(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def sample(row: dict[str, str]) -> TrainingSample:
    """A row back again. ValueError says what is wrong with it."""
    index, t = int(row["frame"]), number(row, "time_s")
    x, y, z = (number(row, f"probe_{c}_mm") for c in "xyz")
    n = [number(row, c) for c in _READING[:5]]
    robot_state = RobotState(n[0], n[1], n[2], n[3], n[4], (x, y, z), row["fault"] or None)
    target = (number(row, "target_x_px"), number(row, "target_y_px"))
    expires, speed, angle, roll, *probe = (number(row, c) for c in _ACTION)
    action = Action(index, t, expires, speed, angle, roll, (probe[0], probe[1], probe[2]), number(row, "stop") != 0)
    return TrainingSample(Observation(index, t, _estimate(row, index, t), robot_state, target), action)


def _estimate(row: dict[str, str], index: int, t: float) -> Estimate:
    state = Track(row["state"])
    if state is Track.LOST:
        return Lost(index, t, row["lost"])
    x, y, angle, along, cov, across, confidence = (number(row, c) for c in _ESTIMATE)
    box = [optional(row, c) for c in _SEEN[3:]]
    corners = [v for v in box if v is not None]
    return TipEstimate(
        *(index, t, (x, y), angle, np.array([[along, cov], [cov, across]]), confidence, state),
        (number(row, "entry_x_px"), number(row, "entry_y_px")),
        visibility=optional(row, "visibility"),
        box_px=(corners[0], corners[1], corners[2], corners[3]) if len(corners) == 4 else None,
    )
