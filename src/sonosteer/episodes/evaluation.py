"""A track in a file measured against marks in a file: figures, by state, detection curve, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.protocols import Source
from sonosteer.core.types import Truth, Vector
from sonosteer.metrics.clip_scores import ClipScore, detection_curve, mean_cost, score_clip, summarise_scores
from sonosteer.metrics.tip_error import TipErrors, scale_of_tips, summarise, summarise_by_state, tip_errors
from sonosteer.recording.markups import Axes, PlaceInPicture
from sonosteer.recording.summary import read_summary, versions, write_summary
from sonosteer.recording.tables import make_folder
from sonosteer.recording.tips import TipRow, read_tips
from sonosteer.recording.truths import check_truth, read_truth
from sonosteer.sources.poses import place_by_scale, place_in

#: chosen: distances at which the detection curve is written down, px
CURVE_PX = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100)


@dataclass(frozen=True, kw_only=True)
class TrackEvaluation:
    """How wrong a track was."""

    tips: Sequence[TipRow]
    """The track, a row a frame."""
    truths: Sequence[Truth]
    """The marks, a row a marked frame."""
    errors: TipErrors
    """Error of each frame that has both."""
    score: ClipScore
    """The same frame by frame, as `compare` scores it."""
    numbers: dict[str, Any]
    """All figures, as `sonosteer evaluate --json` prints them. None where one cannot be had."""


def evaluate_files(
    tips: Path, truth: Path, *, spacing: Spacing | None = None, clip: Source | None = None
) -> TrackEvaluation:
    """Measure a tips.csv against truth.csv or marks by hand, matched by frame.

    spacing: the scale, mm per px. None: that of the track. clip: needed only by markups of 3D Slicer in the world of a
    clip with poses. summary.json beside the track says how long and large its clip is. Raises InputError for damaged
    tables, for marks of another clip, and if there is nothing to compare.
    """
    if tips.is_dir():
        tips = tips / "tips.csv"
    rows = read_tips(tips)
    marks = read_truth(truth, place=place_in_track(tips, rows, spacing) if clip is None else place_in(clip))
    frames, size_px = clip_behind(tips)
    check_truth(truth, marks, frames=frames, size_px=size_px)
    if frames is None:
        _check_fits(truth, rows, marks)
    errors = tip_errors(rows, marks, spacing)
    score = _scored(rows, marks, size_px)
    numbers = figures_of(rows, marks, errors, size_px=size_px)
    return TrackEvaluation(tips=rows, truths=marks, errors=errors, score=score, numbers=numbers)


def figures_of(
    tips: Sequence[TipRow], truths: Sequence[Truth], errors: TipErrors, *, size_px: tuple[int, int] | None
) -> dict[str, Any]:
    """All figures of a track, as `sonosteer evaluate --json` prints them. None where one cannot be had.

    errors: as `tip_errors` gives them of these tips and truths. size_px: (width, height) of the pictures, None if it is
    not known or differs.
    """
    score = _scored(tips, truths, size_px)
    numbers = summarise(errors) | {"by_state": summarise_by_state(errors, tips)}
    scored = summarise_scores([score])
    numbers |= {k: scored[k] for k in ("within", "within_beyond", "wrong_while_tracking", "wrong_while_coasting")}
    numbers |= {k: scored[k] for k in ("claims_without_a_needle", "claims_while_hidden", "found")}
    beyond = score.beyond_px[score.compared]
    numbers["mean_beyond_px"] = float(beyond.mean()) if len(beyond) else None
    numbers["mean_cost"] = None if size_px is None else mean_cost([score])
    curve = detection_curve([score], CURVE_PX)
    numbers["detection_curve"] = {
        "within_px": list(CURVE_PX),
        "found": None if curve is None else [float(v) for v in curve],
    }
    return numbers


def _scored(tips: Sequence[TipRow], truths: Sequence[Truth], size_px: tuple[int, int] | None) -> ClipScore:
    return score_clip(tips, truths, clip="clip", method="track", size_px=size_px or (1, 1))


def write_evaluation(evaluation: TrackEvaluation, out: Path, title: str) -> None:
    """Write evaluation.json and report.html into a folder, which is made. Raises InputError if it cannot be written."""
    from sonosteer.viz.evaluation_report import write_evaluation_report

    make_folder(out)
    write_summary(out / "evaluation.json", {**to_dict(evaluation.numbers), "versions": versions()})
    write_evaluation_report(
        out / "report.html",
        title,
        tips=evaluation.tips,
        truths=evaluation.truths,
        errors=evaluation.errors,
        score=evaluation.score,
        numbers=evaluation.numbers,
    )


def place_in_track(tips: Path, rows: Sequence[TipRow], spacing: Spacing | None) -> PlaceInPicture:
    """Turns positions of markups into places in the pictures behind a track, by its scale.

    It raises InputError if nobody says the scale, or if the clip has poses, since those are not in a track.
    """
    if any(row.tip_world_mm is not None for row in rows):
        return in_world(str(tips))
    return place_by_scale(str(tips), spacing or scale_of_tips(rows) or _scale_behind(tips))


def in_world(name: str) -> PlaceInPicture:
    """Says that positions in the world need the clip. name: of the track, for messages."""

    def place(frame: int, position_mm: Vector, axes: Axes) -> Point | None:
        raise InputError(f"{name} is of a clip with poses, so markups are in its world: name the clip by `clip`, too")

    return place


def _scale_behind(tips: Path) -> Spacing | None:
    """Scale of the clip behind a track, from the summary beside it. None where nobody says."""
    try:
        said = read_summary(tips.parent / "summary.json")["source"]["spacing"]
        return Spacing(float(said["x_mm"]), float(said["y_mm"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None


def clip_behind(tips: Path) -> tuple[int | None, tuple[int, int] | None]:
    """(frames, size in px) of the clip behind a track, from the summary beside it. None where nobody says."""
    path = tips.parent / "summary.json"
    if not path.exists():
        return None, None
    try:
        source = read_summary(path)["source"]
        if source["kind"] in ("still", "stills"):  # sizes differ
            return source["frames"], None
        width, height = source["size_px"]
        return source["frames"], (int(width), int(height))
    except (InputError, KeyError, TypeError, ValueError):
        return None, None


def _check_fits(truth: Path, rows: Sequence[TipRow], marks: Sequence[Truth]) -> None:
    """Raise InputError if most marks lie behind the last frame of the track: nobody else says how long the clip is."""
    last = max((r.frame for r in rows), default=-1)
    beyond = [t.frame_index for t in marks if t.frame_index > last]
    if last >= 0 and 2 * len(beyond) > len(marks):
        raise InputError(
            f"{truth} marks frame {min(beyond)} and {len(beyond) - 1} more, but the last frame of the track is {last}: "
            "are the marks of another clip?"
        )
