"""Numbers of needlebench: the leaderboard of each protocol, risk against coverage, the first right claim.

| symbol | name here | unit |
| --- | --- | --- |
| c | price of a frame, `metrics.clip_scores.frame_costs`: 0 right, 1 wrong | no unit |
| C | `cost` of a method: mean over tracks of a track's mean price. All tracks weigh the same | no unit |

The real tracks of a user have a table of their own. They change no rank, since nobody else has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.inference.needle_detector import RIGHT_WITHIN, WRONG_BEYOND
from sonosteer.metrics.clip_scores import ClipScore, interval_by_clip, mean_cost, paired_interval, risk_coverage
from sonosteer.studies.needlebench.tracks import GROUPS, BenchScoring
from sonosteer.studies.needlebench.trials import CLICK, DUMMIES, NOTHING, PROTOCOLS, SILENT, AnyTrack, score_of
from sonosteer.studies.pages import TableRow

#: track name -> method -> protocol -> what was said, as `run_bench_trial` gives it
Said: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
REAL = "real"
RIGHT, WRONG = f"right (within {100 * RIGHT_WITHIN:g} %)", f"wrong (beyond {100 * WRONG_BEYOND:g} %)"


@dataclass(frozen=True)
class Entry:
    """One method under one protocol."""

    method: str
    """Name of the method."""
    given: tuple[str, ...]
    """What it was given more than the protocol says: scale, speed, side."""
    scores: Mapping[str, Sequence[ClipScore]]
    """Group -> its scores, one a track."""
    first_right_s: Mapping[str, float | None]
    """Track -> time from the first frame with a tip to see to the first right claim, s. None: there was none."""
    refused: str = ""
    """Why it has not entered. Empty if it has."""

    @property
    def frozen(self) -> list[ClipScore]:
        """Scores of the frozen tracks."""
        return [s for group, scores in self.scores.items() if group != REAL for s in scores]

    @property
    def cost(self) -> float | None:
        """Mean cost over the frozen tracks, 0 to 1. None without any."""
        return cost_of(self.frozen)


def entries_of(
    tracks: Sequence[AnyTrack], methods: Sequence[str], said: Said, protocol: str, scoring: BenchScoring
) -> list[Entry]:
    """All methods under one protocol, the best first, those that have not entered last."""
    entries = [_entry(tracks, method, said, protocol, scoring) for method in methods]
    return sorted(entries, key=lambda e: (bool(e.refused), 2.0 if e.cost is None else e.cost))


def _entry(tracks: Sequence[AnyTrack], method: str, said: Said, protocol: str, scoring: BenchScoring) -> Entry:
    scores: dict[str, list[ClipScore]] = {}
    first: dict[str, float | None] = {}
    given: dict[str, None] = {}
    for track in tracks:
        words = said[track.name][method][protocol]
        if words is None:
            continue
        if "refused" in words:
            if track.group == REAL:
                continue
            return Entry(method, (), {}, {}, words["refused"])
        given |= dict.fromkeys(words["given"])
        score = score_of(track, method, words, protocol, scoring)
        scores.setdefault(track.group, []).append(score)
        if score.seen.any():
            first[track.name] = _first_right_s(score, track)
    return Entry(method, tuple(given), scores, first)


def _first_right_s(score: ClipScore, track: AnyTrack) -> float | None:
    """Time from the first scored frame with a tip to see to the first right claim, s. None if there was none."""
    times = {t.frame_index: t.time_s for t in track.truths()}
    right = score.frame[right_frames(score)]
    seen = score.frame[score.seen]
    a, b = times[int(seen[0])], times[int(right[0])] if len(right) else None
    return None if a is None or b is None else round(max(b - a, 0.0), 3)


def right_frames(score: ClipScore) -> Any:
    """(n,) True where a tip that can be seen was found within RIGHT_WITHIN of the longer side, or its mark's doubt."""
    limit_px = np.maximum(RIGHT_WITHIN * score.longer_px, score.dead_px)
    with np.errstate(invalid="ignore"):
        return score.seen & score.compared & (score.error_px <= limit_px)


def wrong_frames(score: ClipScore) -> Any:
    """(n,) True where a claim is more than WRONG_BEYOND of the longer side off, or where there is no needle."""
    with np.errstate(invalid="ignore"):
        far = score.compared & (score.error_px > np.maximum(WRONG_BEYOND * score.longer_px, score.dead_px))
    return far | (score.claimed & score.empty)


def cost_of(scores: Sequence[ClipScore]) -> float | None:
    """Mean over tracks of each track's mean cost, 0 to 1. None without tracks."""
    costs = [c for s in scores if (c := mean_cost([s])) is not None]
    return float(np.mean(costs)) if costs else None


class _Costs:
    """Cost of drawn tracks, each computed once."""

    def __init__(self, *entries: Entry) -> None:
        self._of = {id(s): mean_cost([s]) for e in entries for s in e.frozen}

    def __call__(self, scores: Sequence[ClipScore]) -> float | None:
        known = [c for s in scores if (c := self._of[id(s)]) is not None]
        return sum(known) / len(known) if known else None


def leaderboard(entries: Sequence[Entry]) -> list[TableRow]:
    """The ranked table of one protocol. Costs to three digits: what is below hangs on the last grey level."""
    rows: list[TableRow] = []
    best = next((e for e in entries if not e.refused), None)
    silent = next((e for e in entries if e.method == SILENT), None)
    groups = [g for g in GROUPS if best is not None and g in best.scores]
    rank = 0
    for entry in entries:
        if entry.refused:
            continue
        known = entry.method in DUMMIES
        rank += not known
        shown = entry.scores
        rows.append(
            {
                "rank": "" if known else rank,
                "method": entry.method,
                "given": ", ".join(entry.given) or "-",
                "cost": _three(entry.cost),
                "95 %": _interval(interval_of(entry)),
                "behind the first": "" if entry is best or best is None else _interval(_behind(entry, best)),
                "than silence": "" if silent in (None, entry) else _told_apart(_behind(entry, silent)),
                **{g: _three(cost_of(shown.get(g, ()))) for g in groups},
                "right %": _percent([right_frames(s)[s.seen] for s in entry.frozen]),
                "wrong %": _percent([wrong_frames(s)[s.marked | s.empty] for s in entry.frozen]),
                "silent %": _percent([~s.claimed[s.seen] for s in entry.frozen]),
                "risk area": _three(risk_area(entry.frozen)),
                "first right, s": _first_said(entry),
            }
        )
    return rows


def interval_of(entry: Entry) -> tuple[float, float] | None:
    """95 % interval of the cost, by drawing whole tracks."""
    return interval_by_clip(entry.frozen, _Costs(entry))


def _told_apart(interval: tuple[float, float] | None) -> str:
    """What an interval of the difference from silence says. Empty where there is none."""
    if interval is None:
        return ""
    return "better" if interval[1] < 0 else "worse" if interval[0] > 0 else "not told apart"


def _behind(entry: Entry, best: Entry) -> tuple[float, float] | None:
    return paired_interval(entry.frozen, best.frozen, _Costs(entry, best))


def risk_area(scores: Sequence[ClipScore]) -> float | None:
    """Mean risk over all coverages up to the largest, the surest claims first, 0 to 1. None without a claim."""
    coverage, risk = risk_coverage(scores)
    if not len(coverage):
        return None
    widths = np.diff(np.concatenate([[0.0], coverage]))
    return float((risk * widths).sum() / coverage[-1])


def refusals(entries: Sequence[Entry]) -> list[TableRow]:
    """Who has not entered, and why. Methods that say the same stand together."""
    said: dict[str, list[str]] = {}
    for e in entries:
        if e.refused:
            said.setdefault(e.refused.replace(f"method {e.method}", "it"), []).append(e.method)
    return [{"methods": ", ".join(methods), "why": why.replace("`", "")} for why, methods in said.items()]


def real_table(entries: Sequence[Entry]) -> list[TableRow]:
    """Costs on the real tracks of the user. Empty without any."""
    rows: list[TableRow] = []
    for entry in entries:
        scores = entry.scores.get(REAL, ())
        if not scores:
            continue
        rows.append(
            {
                "method": entry.method,
                "cost": _three(cost_of(scores)),
                **{s.clip: _three(mean_cost([s])) for s in scores},
                "right %": _percent([right_frames(s)[s.seen] for s in scores]),
                "wrong %": _percent([wrong_frames(s)[s.marked | s.empty] for s in scores]),
            }
        )
    rows.sort(key=lambda r: float(r["cost"] or 2.0))
    names = list(dict.fromkeys(k for r in rows for k in r))
    return [{k: r.get(k, "") for k in names} for r in rows]


def track_rows(tracks: Sequence[AnyTrack], entries: Mapping[str, Sequence[Entry]]) -> list[TableRow]:
    """A row for each track: what it is, and the cost of each method under each protocol."""
    costs: dict[tuple[str, str], dict[str, str]] = {}
    for protocol in PROTOCOLS:
        for entry in entries[protocol]:
            for scores in entry.scores.values():
                for s in scores:
                    costs.setdefault((s.clip, protocol), {})[entry.method] = _three(mean_cost([s]))
    methods = sorted({e.method for some in entries.values() for e in some})
    rows: list[TableRow] = []
    for track in tracks:
        for protocol in (NOTHING, CLICK):
            found = costs.get((track.name, protocol), {})
            if found:
                head: TableRow = {"track": track.name, "group": track.group, "protocol": protocol}
                rows.append({**head, **{m: found.get(m, "") for m in methods}})
    return rows


def tier_table(tracks: Sequence[AnyTrack]) -> list[TableRow]:
    """What is in the frozen set, a row a group."""
    rows: list[TableRow] = []
    for group, words in GROUPS.items():
        some = [t for t in tracks if t.group == group]
        truths = [t.truths() for t in some]
        rows.append(
            {
                "group": group,
                "what": words,
                "tracks": len(some),
                "frames": sum(map(len, truths)),
                "tip to be seen": sum(t.visible for each in truths for t in each),
                "hidden": sum(t.tip_px is not None and not t.visible for each in truths for t in each),
            }
        )
    return rows


def curves_of(entries: Sequence[Entry], most: int) -> dict[str, tuple[F64, F64]]:
    """(coverage, risk) of the best methods, and of the three that know nothing where they claim."""
    chosen = [e for e in entries if not e.refused and e.method not in DUMMIES][:most]
    chosen += [e for e in entries if e.method in DUMMIES]
    curves = {e.method: risk_coverage(e.frozen) for e in chosen}
    return {name: curve for name, curve in curves.items() if len(curve[0])}


def _first_said(entry: Entry) -> str:
    found = [t for t in entry.first_right_s.values() if t is not None]
    if not entry.first_right_s:
        return ""
    median = f"{np.median(found):.2f}" if found else "-"
    return f"{median} ({len(found)} of {len(entry.first_right_s)})"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(value: tuple[float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _percent(held: Sequence[Any]) -> str:
    values = np.concatenate(list(held)) if held else np.zeros(0)
    return f"{100 * values.mean():.1f}" if len(values) else ""
