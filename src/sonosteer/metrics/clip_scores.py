"""Scores of trackers on clips with marks: errors, a price for every answer, detection curves, intervals by clip.

Frames of one clip are alike. Therefore every interval draws whole clips, and two methods are compared on the same
draws. A mark by hand may be off by its `uncertainty_px`. Up to there an error costs nothing (the dead zone).

| symbol | name here | unit |
| --- | --- | --- |
| e | `error_px`, `error_mm`: distance of the estimate from the mark | px, mm |
| u | `dead_px`: how far the mark may be off | px |
| max(e - u, 0) | `beyond_px`: error beyond the mark's uncertainty | px |
| c | `frame_costs`: price of each frame, 0 (right) to 1 (wrong) | no unit |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Truth
from sonosteer.recording.tips import TipRow

StateName: TypeAlias = Literal["tracking", "coasting", "lost"]
STATES: tuple[StateName, ...] = ("tracking", "coasting", "lost")
#: distances at which a table counts the frames, px (contract of `sonosteer compare --json`)
WITHIN_PX = (5, 15, 30)
#: chosen: a claim farther off than this is wrong, px. It is the widest of WITHIN_PX
WRONG_PX = 30.0
#: chosen: an error of this part of the longer side costs as much as no needle at all, no unit
CAP_FRACTION = 0.05
#: chosen: price of silence where a tip can be seen, no unit. So silence is better than a wrong answer
SILENCE_COST = 0.5
#: chosen: of fewer clips than this, drawing them again gives little more than their range
MIN_CLIPS = 5
DRAWS = 2000  # chosen: quantiles at 2.5 % then rest on 50 draws
#: chosen: grid of detection curves, as fractions of CAP_FRACTION times the longer side
CURVE_FRACTIONS: F64 = np.linspace(0.0, 2.0, 81)


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """One tracker on one clip, an entry for each frame of the track or of the marks, by rising frame number."""

    clip: str
    """Name of the clip. Methods are paired by it."""
    method: str
    """Name of the tracking method."""
    frame: NDArray[np.int64]
    """(n,) index of each frame in its clip."""
    state: NDArray[np.str_]
    """(n,) one of STATES. A frame that the track does not contain is lost."""
    confidence: F64
    """(n,) the tracker's own word, 0 to 1. NaN where it said none."""
    marked: NDArray[np.bool_]
    """(n,) True where a mark says where the tip is, no unit."""
    seen: NDArray[np.bool_]
    """(n,) True where a mark says that the tip is there and can be seen, no unit."""
    empty: NDArray[np.bool_]
    """(n,) True where a mark says that no needle is in the picture, no unit."""
    error_px: F64
    """(n,) distance of the estimate from the mark, px. NaN where one of them is missing."""
    error_mm: F64 | None
    """(n,) the same distance, mm. None if the scale is unknown."""
    dead_px: F64
    """(n,) how far the mark may be off, px. 0 where nobody said, and where there is no mark."""
    longer_px: float
    """Longer side of the pictures, px."""

    @property
    def claimed(self) -> NDArray[np.bool_]:
        """(n,) True where the tracker names a place, tracking or coasting."""
        out: NDArray[np.bool_] = self.state != "lost"
        return out

    @property
    def compared(self) -> NDArray[np.bool_]:
        """(n,) True where the tracker names a place and a mark does, too."""
        return ~np.isnan(self.error_px)

    @property
    def beyond_px(self) -> F64:
        """(n,) error beyond the mark's uncertainty, px. NaN where nothing is compared."""
        return np.maximum(self.error_px - self.dead_px, 0.0)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(n,) True where a claim is wrong: no needle is there, or it is farther off than WRONG_PX and the mark is."""
        limit = np.maximum(WRONG_PX, self.dead_px)
        with np.errstate(invalid="ignore"):
            far = self.error_px > limit
        out: NDArray[np.bool_] = (self.claimed & self.empty) | far
        return out


#: a figure of a list of clips. None where it cannot be had
Statistic: TypeAlias = Callable[[Sequence[ClipScore]], float | None]


def score_clip(
    tips: Sequence[TipRow],
    truths: Sequence[Truth],
    *,
    clip: str,
    method: str,
    size_px: tuple[int, int],
    spacing: Spacing | None = None,
) -> ClipScore:
    """Score a track of a clip against its marks, matched by frame.

    truths: of any frames of the clip, none at all too. Then there are claims, but no errors. size_px: (width, height)
    of the pictures. spacing: mm per px, None if unknown. Raises InputError if a frame is marked twice.
    """
    known = {t.frame_index: t for t in truths}
    if len(known) != len(truths):
        raise InputError(f"{clip}: a frame is marked twice")
    rows = {r.frame: r for r in tips}
    frames = sorted(rows.keys() | known.keys())
    n = len(frames)
    nothing = np.full(n, math.nan)
    off, off_mm, confidence, dead = nothing.copy(), nothing.copy(), nothing.copy(), np.zeros(n)
    marked, seen, empty = (np.zeros(n, bool) for _ in range(3))
    state = np.full(n, "lost", dtype="<U8")
    k = spacing or Spacing(1.0, 1.0)
    for i, frame in enumerate(frames):
        row, mark = rows.get(frame), known.get(frame)
        said = None if row is None else row.tip_px
        if row is not None and said is not None:
            state[i] = row.state
            confidence[i] = math.nan if row.confidence is None else row.confidence
        if mark is None:
            continue
        if mark.tip_px is None:
            empty[i] = True
            continue
        marked[i], seen[i], dead[i] = True, mark.visible, mark.uncertainty_px or 0.0
        if said is not None:
            dx, dy = said[0] - mark.tip_px[0], said[1] - mark.tip_px[1]
            off[i], off_mm[i] = math.hypot(dx, dy), math.hypot(dx * k.x_mm, dy * k.y_mm)
    return ClipScore(
        clip=clip,
        method=method,
        frame=np.array(frames, np.int64),
        state=state,
        confidence=confidence,
        marked=marked,
        seen=seen,
        empty=empty,
        error_px=off,
        error_mm=None if spacing is None else off_mm,
        dead_px=dead,
        longer_px=float(max(size_px)),
    )


# -- the price of an answer ----------------------------------------------------------------------------------------


def frame_costs(
    score: ClipScore, *, cap_fraction: float = CAP_FRACTION, silence: float = SILENCE_COST, cap_px: float | None = None
) -> F64:
    """(n,) price of each frame, 0 to 1. NaN where no mark says anything.

    A claim costs its error beyond the mark's uncertainty, as part of the cap, at most 1. The cap is `cap_px`, or
    `cap_fraction` of the longer side. A claim where there is no needle costs 1. Silence costs `silence` where a tip can
    be seen, and nothing elsewhere.
    """
    cap = cap_fraction * score.longer_px if cap_px is None else cap_px
    out = np.full(len(score.frame), math.nan)
    known = score.marked | score.empty
    silent, seen = ~score.claimed, score.seen
    out[known & silent] = np.where(seen[known & silent], silence, 0.0)
    out[score.empty & score.claimed] = 1.0
    out[score.compared] = np.minimum(score.beyond_px[score.compared] / cap, 1.0)
    return out


def mean_cost(scores: Sequence[ClipScore]) -> float | None:
    """Mean price over all frames that have one, 0 to 1. None if no frame has."""
    return _mean([frame_costs(s) for s in scores])


def mean_cost_by_clip(scores: Sequence[ClipScore]) -> float | None:
    """Mean over clips of each clip's mean price, 0 to 1: a long clip counts as a short one. None if no clip has one."""
    each = [cost for s in scores if (cost := mean_cost([s])) is not None]
    return float(np.mean(each)) if each else None


# -- figures of several clips --------------------------------------------------------------------------------------


def pooled_errors_px(scores: Sequence[ClipScore], state: StateName | None = None) -> F64:
    """Errors of all compared frames of all clips, px. state: of the frames in that state only."""
    return _pool([s.error_px[_in_state(s, state) & s.compared] for s in scores])


def median_error_px(scores: Sequence[ClipScore]) -> float | None:
    """Median distance over all compared frames, px. None if there is none."""
    errors = pooled_errors_px(scores)
    return float(np.median(errors)) if len(errors) else None


def found_fraction(scores: Sequence[ClipScore], within_px: float = WRONG_PX) -> float | None:
    """Frames with a tip to be seen that were found within a distance beyond the mark's uncertainty, 0 to 1.

    A frame without a claim is a miss. None if no frame has a tip to be seen.
    """
    return _mean([np.where(s.compared, s.beyond_px <= within_px, False)[s.seen].astype(float) for s in scores])


def detection_curve(scores: Sequence[ClipScore], at_px: Sequence[float] | F64) -> F64 | None:
    """(m,) fraction found, 0 to 1, for each of the m distances in px. None if no frame has a tip to be seen."""
    return _curve(scores, lambda s: s.beyond_px, np.asarray(at_px, np.float64))


def relative_detection_curve(scores: Sequence[ClipScore], fractions: F64 = CURVE_FRACTIONS) -> F64 | None:
    """(m,) fraction found, 0 to 1, for each distance as part of the cap. So clips of all sizes can be put together.

    A fraction of 1 is CAP_FRACTION of the longer side. None if no frame has a tip to be seen.
    """
    return _curve(scores, lambda s: s.beyond_px / (CAP_FRACTION * s.longer_px), fractions)


def _curve(scores: Sequence[ClipScore], size: Callable[[ClipScore], F64], at: F64) -> F64 | None:
    errors = _pool([np.where(s.compared, size(s), math.inf)[s.seen] for s in scores])
    if not len(errors):
        return None
    out: F64 = (errors[None, :] <= at[:, None]).mean(1)
    return out


def curve_area(scores: Sequence[ClipScore]) -> float | None:
    """Area under `relative_detection_curve` from 0 to the cap, 0 to 1. None if no frame has a tip to be seen."""
    at = np.linspace(0.0, 1.0, 41)
    curve = relative_detection_curve(scores, at)
    return None if curve is None else float(np.trapezoid(curve, at))


def risk_coverage(scores: Sequence[ClipScore]) -> tuple[F64, F64]:
    """(coverage, risk), both 0 to 1: of the surest claims only, how many there are and their mean price.

    Coverage is of all frames that have a mark. A claim without a confidence is the least sure. Claims that are alike
    sure come together. Both are empty if there is no claim.
    """
    prices, sure, frames = [], [], 0
    for s in scores:
        cost, known = frame_costs(s), s.marked | s.empty
        on = known & s.claimed
        frames += int(known.sum())
        prices.append(cost[on])
        sure.append(np.nan_to_num(s.confidence[on], nan=-1.0))
    price, confidence = _pool(prices), _pool(sure)
    if not len(price):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-confidence, kind="stable")
    risk = np.cumsum(price[order]) / np.arange(1, len(price) + 1)
    last = np.append(confidence[order][1:] != confidence[order][:-1], True)
    return (np.arange(1, len(price) + 1) / frames)[last], risk[last]


def by_state(scores: Sequence[ClipScore]) -> dict[str, dict[str, Any]]:
    """Figures of the frames in each state: how many, how many compared, errors in px and mm, wrong ones.

    None where there is nothing to average, or no scale.
    """
    out: dict[str, dict[str, Any]] = {}
    for state in STATES:
        px = pooled_errors_px(scores, state)
        out[state] = {
            "frames": int(sum((s.state == state).sum() for s in scores)),
            "tip_to_be_seen": int(sum((s.seen & (s.state == state)).sum() for s in scores)),
        }
        if state != "lost":
            wrong = int(sum((s.wrong & (s.state == state)).sum() for s in scores))
            out[state] |= {"compared": len(px), **_quantiles("px", px), "wrong": wrong}
            out[state] |= _quantiles("mm", _pooled_mm(scores, state))
    return out


def summarise_scores(scores: Sequence[ClipScore]) -> dict[str, Any]:
    """The figures of one method over its clips, as `sonosteer compare --json` gives them.

    Distances are as they are. `within_beyond` and the costs take off the mark's uncertainty. None where there is
    nothing to average, or no scale.
    """
    px, mm = pooled_errors_px(scores), _pooled_mm(scores, None)
    beyond = _pool([s.beyond_px[s.compared] for s in scores])
    states = by_state(scores)
    return {
        "frames": int(sum(len(s.frame) for s in scores)),
        "claimed": int(sum(s.claimed.sum() for s in scores)),
        **{state: states[state]["frames"] for state in STATES},
        "marked": int(sum(s.marked.sum() for s in scores)),
        "compared": len(px),
        "median_px": float(np.median(px)) if len(px) else None,
        "p95_px": float(np.percentile(px, 95)) if len(px) else None,
        "median_mm": None if mm is None or not len(mm) else float(np.median(mm)),
        "p95_mm": None if mm is None or not len(mm) else float(np.percentile(mm, 95)),
        "within": {str(limit): int((px <= limit).sum()) for limit in WITHIN_PX},
        "within_beyond": {str(limit): int((beyond <= limit).sum()) for limit in WITHIN_PX},
        "wrong_while_tracking": states["tracking"]["wrong"],
        "wrong_while_coasting": states["coasting"]["wrong"],
        "claims_without_a_needle": int(sum((s.claimed & s.empty).sum() for s in scores)),
        "claims_while_hidden": int(sum((s.claimed & s.marked & ~s.seen).sum() for s in scores)),
        "found": found_fraction(scores),
        "curve_area": curve_area(scores),
        "mean_cost": mean_cost(scores),
        "by_state": states,
    }


def agreement(a: ClipScore, b: ClipScore, tips_a: Sequence[TipRow], tips_b: Sequence[TipRow]) -> dict[str, Any]:
    """How far two tracks of one clip are from each other, where nobody knows the truth.

    Gives `both`, frames in which both name a place, `one`, in which one does, and their distance in px: `median_px` and
    `within_cap`, the fraction of `both` nearer than the cap of `frame_costs`. None where both never name one.
    """
    if a.clip != b.clip:
        raise ValueError(f"{a.clip} and {b.clip} are not the same clip")
    at_a = {r.frame: r.tip_px for r in tips_a if r.tip_px is not None}
    at_b = {r.frame: r.tip_px for r in tips_b if r.tip_px is not None}
    apart = np.array([math.dist(at_a[f], at_b[f]) for f in sorted(at_a.keys() & at_b.keys())], np.float64)
    return {
        "both": len(apart),
        "one": len(at_a.keys() ^ at_b.keys()),
        "median_px": float(np.median(apart)) if len(apart) else None,
        "within_cap": float((apart <= CAP_FRACTION * a.longer_px).mean()) if len(apart) else None,
    }


# -- intervals by clip ---------------------------------------------------------------------------------------------


def interval_by_clip(
    scores: Sequence[ClipScore], statistic: Statistic, *, seed: int = 0, draws: int = DRAWS
) -> tuple[float, float] | None:
    """95 % interval of a figure by bootstrap over whole clips. The same seed gives the same interval.

    None where it cannot be had: of fewer than MIN_CLIPS clips, if the figure cannot be had of one draw in twenty, or if
    all draws give the same.
    """
    return _interval([statistic(drawn) for drawn in _drawn(scores, seed, draws)], len(scores))


def paired_interval(
    a: Sequence[ClipScore], b: Sequence[ClipScore], statistic: Statistic, *, seed: int = 0, draws: int = DRAWS
) -> tuple[float, float] | None:
    """95 % interval of a figure of method a minus that of method b, the same clips drawn for both.

    None as in `interval_by_clip`. Raises ValueError if the two are not of the same clips, each once.
    """
    by_clip = {s.clip: s for s in b}
    if sorted(by_clip) != sorted(s.clip for s in a) or len(by_clip) != len(b):
        raise ValueError("the two methods were not scored on the same clips, each once")
    pairs = [(s, by_clip[s.clip]) for s in a]
    found: list[float | None] = []
    for drawn in _drawn(pairs, seed, draws):
        first, second = statistic([p for p, _ in drawn]), statistic([q for _, q in drawn])
        found.append(None if first is None or second is None else first - second)
    return _interval(found, len(pairs))


def _drawn(items: Sequence[Any], seed: int, draws: int) -> Any:
    """Lists of as many items, drawn with replacement."""
    rng = np.random.default_rng(seed)
    n = len(items)
    return ([items[i] for i in rng.integers(n, size=n)] for _ in range(draws if n >= MIN_CLIPS else 0))


def _interval(found: Sequence[float | None], clips: int) -> tuple[float, float] | None:
    known = [v for v in found if v is not None]
    if clips < MIN_CLIPS or not known or len(known) < 0.95 * len(found):
        return None
    low, high = (float(v) for v in np.quantile(known, [0.025, 0.975]))
    return (low, high) if low < high else None


# -- parts ---------------------------------------------------------------------------------------------------------


def _in_state(s: ClipScore, state: StateName | None) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = s.claimed if state is None else s.state == state
    return out


def _pooled_mm(scores: Sequence[ClipScore], state: StateName | None) -> F64 | None:
    """Errors in mm of the clips that have a scale. None if no clip has one."""
    scaled = [(s, s.error_mm) for s in scores if s.error_mm is not None]
    return _pool([mm[_in_state(s, state) & s.compared] for s, mm in scaled]) if scaled else None


def _quantiles(unit: str, errors: F64 | None) -> Mapping[str, float | None]:
    if errors is None or not len(errors):
        return {f"mean_{unit}": None, f"median_{unit}": None, f"p95_{unit}": None}
    values = (errors.mean(), np.median(errors), np.percentile(errors, 95))
    return dict(zip((f"mean_{unit}", f"median_{unit}", f"p95_{unit}"), map(float, values), strict=True))


def _pool(arrays: Sequence[F64]) -> F64:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _mean(arrays: Sequence[F64]) -> float | None:
    values = _pool(arrays)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
