"""Clips x methods: what each method said of each clip, scored by one scorer, and the files that tell of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from sonosteer.core.config import to_dict
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Truth
from sonosteer.metrics.clip_scores import (
    ClipScore,
    agreement,
    found_fraction,
    interval_by_clip,
    mean_cost_by_clip,
    median_error_px,
    paired_interval,
    score_clip,
    summarise_scores,
)
from sonosteer.recording.summary import versions
from sonosteer.recording.tips import TipRow
from sonosteer.viz.page import write_page

#: a row of `compare --json`, as docs/reference/files.md has it
CONTRACT = (
    *("method", "frames", "claimed", "lost", "median_px", "p95_px", "median_mm"),
    *("within", "wrong_while_tracking"),
)
#: columns of compare.csv
CLIP_COLUMNS = (
    *("clip", "method", "given", "frames", "tracking", "coasting", "lost", "marked", "compared"),
    *("median_px", "p95_px", "median_mm", "within_5", "within_15", "within_30"),
    *("wrong_while_tracking", "wrong_while_coasting", "found", "mean_cost", "median_ms", "broke"),
)


@dataclass(frozen=True, kw_only=True)
class ComparedClip:
    """One clip, and what each method said of it."""

    name: str
    """Name of the clip, unlike that of any other."""
    source: str
    """The clip as it was named, to open it again. Empty for one that cannot be."""
    seed: int
    """Seed of a simulated clip, no unit."""
    size_px: tuple[int, int]
    """Size of its pictures, px: (width, height)."""
    spacing: Spacing | None
    """Scale, mm per px. None if it is unknown."""
    truths: tuple[Truth, ...]
    """Marks or truth of its frames. Empty where nobody knows."""
    tips: Mapping[str, Sequence[TipRow]]
    """Method -> its rows. Empty where it broke before the first frame."""
    given: Mapping[str, str]
    """Method -> what it was told: "nothing", "click" or "hint", as text."""
    median_ms: Mapping[str, float]
    """Method -> median time for a frame, ms. Without the methods that tracked nothing."""
    broke: Mapping[str, str]
    """Method -> why it broke. Without the methods that did not."""
    keep_identity: bool = False
    """Whether what a DICOM file says to be burned in stays in pictures of it."""


@dataclass(frozen=True)
class ClipComparison:
    """Several methods on several clips."""

    clips: tuple[ComparedClip, ...]
    """The clips, in the order given."""
    methods: tuple[str, ...]
    """Names of the methods, in the order given."""
    left_out: Mapping[str, str]
    """Clip -> why it could not be read. Empty if all could."""
    seed: int = 0
    """Seed of the intervals, no unit."""

    def scores(self, method: str) -> list[ClipScore]:
        """A score for each clip. Frames of which the method says nothing, but another one does, are lost."""
        return [_score(clip, method) for clip in self.clips]

    @property
    def marked(self) -> bool:
        """True if any frame of any clip has a mark."""
        return any(clip.truths for clip in self.clips)

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON can say them. None where something cannot be had."""
        scores = {m: self.scores(m) for m in self.methods}
        return {
            "methods": [self._row(m, scores[m]) for m in self.methods],
            "pairs": [self._pair(a, b, scores) for a, b in combinations(self.methods, 2)],
            "clips": self.clip_rows(scores),
            "left_out": dict(self.left_out),
            "seed": self.seed,
            "versions": versions(),
        }

    def contract(self) -> dict[str, Any]:
        """What `sonosteer compare --json` prints."""
        rows = [self._row(m, self.scores(m), intervals=False) for m in self.methods]
        return {"methods": [{k: row[k] for k in CONTRACT} for row in rows]}

    def clip_rows(self, scores: Mapping[str, Sequence[ClipScore]]) -> list[dict[str, Any]]:
        """A row for each clip and method, as in compare.csv."""
        out = []
        for i, clip in enumerate(self.clips):
            for m in self.methods:
                figures = summarise_scores([scores[m][i]])
                row: dict[str, Any] = {"clip": clip.name, "method": m, "given": clip.given[m], **figures}
                row |= {f"within_{k}": v for k, v in figures["within"].items()}
                row |= {"median_ms": clip.median_ms.get(m), "broke": clip.broke.get(m, "")}
                out.append({k: row[k] for k in CLIP_COLUMNS})
        return out

    def _row(self, method: str, scores: Sequence[ClipScore], *, intervals: bool = True) -> dict[str, Any]:
        row = {"method": method, **summarise_scores(scores)}
        if not self.marked:  # nobody knows what is right, so nothing is known to be wrong
            row |= {"within": dict.fromkeys(row["within"]), "within_beyond": dict.fromkeys(row["within_beyond"])}
            row |= dict.fromkeys(("wrong_while_tracking", "wrong_while_coasting", "claims_without_a_needle"))
        times = sorted(clip.median_ms[method] for clip in self.clips if method in clip.median_ms)
        row["median_ms"] = times[len(times) // 2] if times else None
        row["given"] = ", ".join(sorted({clip.given[method] for clip in self.clips}))
        row["broke"] = {clip.name: clip.broke[method] for clip in self.clips if method in clip.broke}
        if intervals:
            for name, statistic in STATISTICS.items():
                row[f"{name}_ci95"] = interval_by_clip(scores, statistic, seed=self.seed)
            row["mean_cost_by_clip"] = mean_cost_by_clip(scores)
        return row

    def _pair(self, a: str, b: str, scores: Mapping[str, Sequence[ClipScore]]) -> dict[str, Any]:
        """Two methods: the difference of their figures on the same clips, and how far their tips are apart."""
        out: dict[str, Any] = {"a": a, "b": b}
        for name, statistic in STATISTICS.items():
            first, second = statistic(scores[a]), statistic(scores[b])
            out[f"{name}_difference"] = None if first is None or second is None else first - second
            out[f"{name}_difference_ci95"] = paired_interval(scores[a], scores[b], statistic, seed=self.seed)
        said = [agreement(scores[a][i], scores[b][i], clip.tips[a], clip.tips[b]) for i, clip in enumerate(self.clips)]
        both = sum(s["both"] for s in said)
        out["both_claim"], out["one_claims"] = both, sum(s["one"] for s in said)
        near = sum(s["both"] * s["within_cap"] for s in said if s["both"])
        out["agree"] = near / both if both else None
        return out

    def save(self, folder: str | Path) -> Path:
        """Write compare.json, compare.csv, index.html and, where clips can be read again, film-strip.png.

        Returns the folder, which is made. Raises InputError if it cannot be written.
        """
        from sonosteer.episodes.worst_frames import write_worst_frames
        from sonosteer.recording.tables import make_folder
        from sonosteer.viz.comparison_page import render_comparison

        out = Path(folder)
        make_folder(out)
        figures = to_dict(self.to_dict())
        write_page(out / "compare.json", json.dumps(figures, indent=2, allow_nan=False) + "\n")
        write_page(out / "compare.csv", _as_csv(figures["clips"]))
        scores = {m: self.scores(m) for m in self.methods}
        strip = write_worst_frames(out / "film-strip.png", self, scores)
        write_page(out / "index.html", render_comparison(figures, scores, marked=self.marked, strip=strip))
        return out


#: figures with intervals by clip: name -> how it is had of a list of clips
STATISTICS = {"median_px": median_error_px, "mean_cost_by_clip": mean_cost_by_clip, "found": found_fraction}


def _score(clip: ComparedClip, method: str) -> ClipScore:
    rows = {r.frame: r for r in clip.tips[method]}
    for others in clip.tips.values():
        for r in others:
            rows.setdefault(r.frame, TipRow.lost(r.frame, r.time_s))
    return score_clip(
        list(rows.values()), clip.truths, clip=clip.name, method=method, size_px=clip.size_px, spacing=clip.spacing
    )


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CLIP_COLUMNS)
    writer.writerows([["" if row[c] is None else row[c] for c in CLIP_COLUMNS] for row in rows])
    return text.getvalue()
