"""A moment of a demonstration as a row of moments.csv, and back, bit by bit.

Of an estimate, the points along a curved shaft are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonosteer.core.types import Action, Command, Estimate, Lost, Observation, RobotState, TipEstimate, Track
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
SAMPLE_COLUMNS = (
    *("frame", "time_s", "state", "lost"),
    *(*_ESTIMATE, *_SEEN, *_READING, "fault", "target_x_px", "target_y_px", *_ACTION, "stop"),
)


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """A moment of a demonstration."""

    observation: Observation
    """What the expert was told."""
    action: Action
    """What the expert did."""


def written(o: Observation, a: Action) -> list[str]:
    """A row of moments.csv."""
    seen, r = o.estimate, o.robot_state
    place: list[float | None] = [None] * (len(_ESTIMATE) + len(_SEEN))
    lost = _plain(seen.reason) if isinstance(seen, Lost) else ""
    if isinstance(seen, TipEstimate):
        c = seen.covariance_mm2
        box = seen.box_px or (None,) * 4
        spread = (None,) * 3 if c is None else (float(c[0, 0]), float(c[0, 1]), float(c[1, 1]))
        place = [*seen.tip_px, seen.angle_rad, *spread, seen.confidence, *seen.entry_px, seen.visibility, *box]
    read = (r.time_s, r.depth_mm, r.insertion_speed_mm_s, r.insertion_angle_rad, r.roll_rad, *r.probe_mm)
    w = a.command
    done = (w.expires_at_s, w.insertion_speed_mm_s, w.insertion_angle_rad, w.roll_rad, *w.probe_velocity_mm_s)
    numbers = [*(_text(v) for v in (*place, *read)), _plain(r.fault or ""), *(_text(v) for v in (*o.target_px, *done))]
    return [str(o.frame_index), _text(o.capture_time_s), seen.state.value, lost, *numbers, "1" if w.stop else "0"]


def _plain(text: str) -> str:
    """Without what a CSV file takes for its own."""
    return text.replace(",", ";").replace('"', "'").replace("\n", " ")


def _text(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def sample(row: dict[str, str]) -> TrainingSample:
    """A row back again. Raises ValueError, which says what is wrong with it."""
    index, t = int(row["frame"]), number(row, "time_s")
    x, y, z = (number(row, f"probe_{c}_mm") for c in "xyz")
    time_s, depth_mm, speed_mm_s, needle_rad, roll_rad = (number(row, c) for c in _READING[:5])
    robot_state = RobotState(
        time_s=time_s,
        depth_mm=depth_mm,
        insertion_speed_mm_s=speed_mm_s,
        insertion_angle_rad=needle_rad,
        roll_rad=roll_rad,
        probe_mm=(x, y, z),
        fault=row["fault"] or None,
    )
    target = (number(row, "target_x_px"), number(row, "target_y_px"))
    expires, speed, angle, roll, *probe = (number(row, c) for c in _ACTION)
    command = Command(
        expires_at_s=expires,
        insertion_speed_mm_s=speed,
        insertion_angle_rad=angle,
        roll_rad=roll,
        probe_velocity_mm_s=(probe[0], probe[1], probe[2]),
        stop=number(row, "stop") != 0,
    )
    observation = Observation(index, t, _estimate(row, index, t), robot_state, target)
    return TrainingSample(observation, Action(index, t, command))


def _estimate(row: dict[str, str], index: int, t: float) -> Estimate:
    state = Track(row["state"])
    if state is Track.LOST:
        return Lost(index, t, row["lost"])
    x, y, angle = (number(row, c) for c in _ESTIMATE[:3])
    covariance = None
    if any(row[c] for c in _ESTIMATE[3:6]):  # empty where the scale was unknown
        along, both, across = (number(row, c) for c in _ESTIMATE[3:6])
        covariance = np.array([[along, both], [both, across]])
    box = [optional(row, c) for c in _SEEN[3:]]
    corners = [v for v in box if v is not None]
    return TipEstimate(
        frame_index=index,
        time_s=t,
        tip_px=(x, y),
        angle_rad=angle,
        covariance_mm2=covariance,
        confidence=optional(row, _ESTIMATE[6]),
        state=state,
        entry_px=(number(row, "entry_x_px"), number(row, "entry_y_px")),
        visibility=optional(row, "visibility"),
        box_px=(corners[0], corners[1], corners[2], corners[3]) if len(corners) == 4 else None,
    )
