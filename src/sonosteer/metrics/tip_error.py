"""Errors of tip and axis against the truth, matched by frame. A frame without an estimate counts as lost.

Error measures of Mathiassen et al. 2017, Section IV-A (full reference in `trackers/mathiassen2017.py`):

| symbol | name here | unit |
| --- | --- | --- |
| e_n | `along_px`, `along_mm`: positive where the needle is inserted farther than estimated | px, mm |
| e_p | `across_px`, `across_mm` | px, mm |
| norm of e | `distance_mm` | mm |
| e_theta | `angle_deg` | deg |

Departs from the paper: coverage is added. It tells how often the truth lies in the estimate's 95 % ellipse. Marks by
hand may lack the angle. Along and across are then those of the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Truth
from sonosteer.recording.tips import TipRow

#: 95 % quantile of chi-squared with two degrees of freedom
CHI2_95_2D = 5.991


@dataclass(frozen=True, kw_only=True)
class TipErrors:
    """Errors of the tracked frames that have a truth. Arrays have one entry a frame."""

    frame: NDArray[np.int64]
    """Index of the frame in its clip."""
    time_s: F64
    """Time of the frame, s."""
    along_px: F64
    """e_n, the error along the needle, px. Positive: the needle is inserted farther than estimated."""
    across_px: F64
    """e_p, the error across the needle, px."""
    along_mm: F64 | None
    """e_n in mm. None if the scale is unknown."""
    across_mm: F64 | None
    """e_p in mm. None if the scale is unknown."""
    angle_deg: F64
    """e_theta, true minus estimated angle, deg, -180 to 180. NaN where the true angle is not known."""
    inside_95: F64
    """1 where the truth lies in the claimed 95 % ellipse, else 0, no unit. NaN where no deviation was claimed."""
    visible: NDArray[np.bool_]
    """True where the tip could be seen, no unit."""
    lost: int
    """Number of frames with a true tip and no estimate."""
    missing: int
    """Number of frames with a true tip that the track does not contain at all. They count as lost, too."""
    false_alarms: int
    """Number of frames with an estimate where there was no needle."""
    inside_mark: F64
    """1 where the error is at most what the mark itself may be off, else 0, no unit. NaN where nobody said that."""

    @property
    def distance_mm(self) -> F64 | None:
        """Norm of the error, mm. None if the scale is unknown."""
        if self.along_mm is None or self.across_mm is None:
            return None
        return np.hypot(self.along_mm, self.across_mm)

    @property
    def distance_px(self) -> F64:
        """Norm of the error, px."""
        return np.hypot(self.along_px, self.across_px)


def tip_errors(tips: Sequence[TipRow], truths: Sequence[Truth], spacing: Spacing | None = None) -> TipErrors:
    """Compare a track with the truth, frame by frame.

    spacing: the scale. Without it, the scale comes from the px and mm columns of tips.csv. Raises InputError if no
    frame of the truth has a tip, or if the track has none of its frames.
    """
    by_frame = {row.frame: row for row in tips}
    with_tip = [t for t in truths if t.tip_px is not None]
    if not with_tip:
        raise InputError("the truth has no frame with a tip: there is nothing to compare with")
    if not any(t.frame_index in by_frame for t in with_tip):
        raise InputError("the track and the truth have no frame in common: are they of the same clip?")
    spacing = spacing or scale_of_tips(tips)
    rows: list[tuple[float, ...]] = []
    for truth in with_tip:
        row = by_frame.get(truth.frame_index)
        if row is not None and row.tip_px is not None:
            rows.append(_compare(row, truth, spacing))
    table = np.array(rows, dtype=np.float64).reshape(-1, 10)
    missing = sum(t.frame_index not in by_frame for t in with_tip)
    no_needle = {t.frame_index for t in truths if t.tip_px is None}
    false_alarms = sum(row.tip_px is not None and row.frame in no_needle for row in tips)
    return TipErrors(
        frame=table[:, 0].astype(np.int64),
        time_s=table[:, 1],
        along_px=table[:, 2],
        across_px=table[:, 3],
        along_mm=table[:, 4] if spacing else None,
        across_mm=table[:, 5] if spacing else None,
        angle_deg=table[:, 6],
        inside_95=table[:, 7],
        visible=table[:, 8] > 0,
        inside_mark=table[:, 9],
        lost=len(with_tip) - len(rows),
        missing=missing,
        false_alarms=false_alarms,
    )


def scale_of_tips(tips: Sequence[TipRow]) -> Spacing | None:
    """Scale as the ratio of the mm and px columns, mm per px. Each axis uses the row farthest from the origin.

    None if no row has both.
    """
    known = [(r.tip_px, r.tip_mm) for r in tips if r.tip_px is not None and r.tip_mm is not None]
    out = []
    for axis in (0, 1):
        far = max(known, key=lambda k: abs(k[0][axis]), default=None)
        if far is None or abs(far[0][axis]) < 1.0 or far[1][axis] / far[0][axis] <= 0:
            return None
        out.append(far[1][axis] / far[0][axis])
    return Spacing(out[0], out[1])


def _compare(row: TipRow, truth: Truth, spacing: Spacing | None) -> tuple[float, ...]:
    """One row of errors: the fields of `TipErrors` from `frame` to `visible`, then `inside_mark`."""
    assert row.tip_px is not None
    assert row.angle_deg is not None
    assert truth.tip_px is not None
    dx, dy = truth.tip_px[0] - row.tip_px[0], truth.tip_px[1] - row.tip_px[1]
    k = spacing or Spacing(1.0, 1.0)
    said_deg, drawn_rad = row.angle_deg, math.radians(row.angle_deg)
    if row.tip_mm is None and k.x_mm != k.y_mm:  # it was measured in pixels
        said_deg = math.degrees(math.atan2(math.sin(drawn_rad) * k.y_mm, math.cos(drawn_rad) * k.x_mm))
    said_rad = math.radians(said_deg)
    axis_rad = said_rad if truth.angle_rad is None else truth.angle_rad
    # angles are measured in mm: in pixels they differ if pixels are not square
    along_px, across_px = _split(dx, dy, math.atan2(math.sin(axis_rad) / k.y_mm, math.cos(axis_rad) / k.x_mm))
    along_mm, across_mm = _split(dx * k.x_mm, dy * k.y_mm, axis_rad)
    angle = math.nan
    if truth.angle_rad is not None:
        angle = (math.degrees(truth.angle_rad) - said_deg + 180.0) % 360.0 - 180.0
    inside = math.nan
    if spacing and row.sd_along_mm and row.sd_across_mm:
        a, b = _split(dx * k.x_mm, dy * k.y_mm, said_rad)
        inside = float((a / row.sd_along_mm) ** 2 + (b / row.sd_across_mm) ** 2 <= CHI2_95_2D)
    elif row.tip_mm is None and row.sd_along_px and row.sd_across_px:
        a, b = _split(dx, dy, drawn_rad)
        inside = float((a / row.sd_along_px) ** 2 + (b / row.sd_across_px) ** 2 <= CHI2_95_2D)
    off_px = truth.uncertainty_px
    return (
        truth.frame_index,
        row.time_s if truth.time_s is None else truth.time_s,
        along_px,
        across_px,
        along_mm,
        across_mm,
        angle,
        inside,
        float(truth.visible),
        math.nan if off_px is None else float(math.hypot(dx, dy) <= off_px),
    )


def _split(x: float, y: float, angle_rad: float) -> tuple[float, float]:
    """Parts of a vector along and across a direction."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return x * c + y * s, -x * s + y * c


def summarise(e: TipErrors) -> dict[str, Any]:
    """The figures of `sonosteer evaluate --json`. None where there is nothing to average, or no scale."""
    n = len(e.frame)
    out: dict[str, Any] = {"frames": n + e.lost, "tracked": n, "lost": e.lost}
    out |= _statistics("mm", e.along_mm, e.across_mm, n)
    out |= _statistics("px", e.along_px, e.across_px, n)
    angle = e.angle_deg[~np.isnan(e.angle_deg)]
    out["angle_mean_deg"] = float(angle.mean()) if len(angle) else None
    out["angle_sd_deg"] = float(angle.std()) if len(angle) else None
    out["coverage_95"] = _fraction(e.inside_95)
    out["within_uncertainty"] = _fraction(e.inside_mark)
    for unit, distance in (("mm", e.distance_mm), ("px", e.distance_px)):
        interval = None if distance is None else block_bootstrap_ci(distance)
        out[f"mean_ci95_{unit}"] = None if interval is None else list(interval)
        for name, mask in (("visible", e.visible), ("hidden", ~e.visible)):
            chosen = None if distance is None else distance[mask]
            out[f"{name}_frames"] = int(mask.sum())
            out[f"{name}_mean_{unit}"] = None if chosen is None or len(chosen) == 0 else float(chosen.mean())
    return out | {"missing": e.missing, "false_alarms": e.false_alarms}


def summarise_by_state(e: TipErrors, tips: Sequence[TipRow]) -> dict[str, dict[str, Any]]:
    """The figures of `summarise` for the frames that are tracking and for those that are coasting.

    Figures of lost frames are only how many there are with a true tip.
    """
    state = {row.frame: row.state for row in tips}
    said = np.array([state[int(f)] for f in e.frame], dtype=object)
    left_out = ("frames", "tracked", "lost", "missing", "false_alarms")
    out: dict[str, dict[str, Any]] = {}
    for name in ("tracking", "coasting"):
        part = _masked(e, said == name)
        figures = {k: v for k, v in summarise(part).items() if k not in left_out}
        out[name] = {"frames": len(part.frame), **figures}
    return {**out, "lost": {"frames": e.lost}}


def _masked(e: TipErrors, mask: NDArray[np.bool_]) -> TipErrors:
    """Some of the frames, and nothing of those without an error."""
    kept: dict[str, Any] = {f.name: getattr(e, f.name) for f in fields(e)}
    kept = {k: v[mask] if isinstance(v, np.ndarray) else v for k, v in kept.items()}
    return TipErrors(**{**kept, "lost": 0, "missing": 0, "false_alarms": 0})


def _fraction(held: F64) -> float | None:
    """How often something held where it is known. None where it is known nowhere."""
    known = held[~np.isnan(held)]
    return float(known.mean()) if len(known) else None


def _statistics(unit: str, along: F64 | None, across: F64 | None, n: int) -> Mapping[str, float | None]:
    keys = ("mean", "sd", "median", "p95", "max", "bias_along", "sd_along", "sd_across")
    if along is None or across is None or n == 0:
        return {f"{key}_{unit}": None for key in keys}
    d = np.hypot(along, across)
    values = (
        d.mean(),
        d.std(),
        np.median(d),
        np.percentile(d, 95),
        d.max(),
        along.mean(),
        along.std(),
        across.std(),
    )
    return {f"{key}_{unit}": float(v) for key, v in zip(keys, values, strict=True)}


def block_bootstrap_ci(values: F64, *, block: int = 20, draws: int = 1000, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of the mean by a moving-block bootstrap: neighbouring frames are not independent.

    None where it cannot be had: for no more values than one block, and for values that are all alike.
    """
    n = len(values)
    if n <= block:
        return None
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n - block + 1, (draws, -(-n // block)))
    index = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :n]
    low, high = (float(v) for v in np.percentile(values[index].mean(1), [2.5, 97.5]))
    return (low, high) if low < high else None
