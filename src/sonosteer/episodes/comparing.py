"""Several methods on the same clips: from Python, and clip by clip for the command line, which can go on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, InterruptedRunError, SonosteerError, with_options
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Hint, TipEstimate, Truth
from sonosteer.episodes.clip_identity import identities_of
from sonosteer.episodes.clip_lists import clip_names, marks_of, named_sources, stamps_of
from sonosteer.episodes.comparison import ClipComparison, ComparedClip
from sonosteer.episodes.tracking import (
    Clip,
    Method,
    SimulatedClip,
    TrackResult,
    data_frame,
    evaluate,
    html_table,
    name_of,
    spacing_of,
    track,
    tracker_of,
    truths_in,
)
from sonosteer.metrics.clip_scores import summarise_scores
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.marks import is_foreign, marks_format
from sonosteer.recording.markups import PlaceInPicture
from sonosteer.recording.summary import read_summary, versions, write_summary
from sonosteer.recording.tips import TipRow, read_tips
from sonosteer.recording.truths import TruthWriter, check_truth, read_truth
from sonosteer.sources.identity import identity_words, without_identity, without_place
from sonosteer.sources.opening import is_live_address, open_source
from sonosteer.sources.plugged_in import WithSpacing
from sonosteer.sources.poses import place_in
from sonosteer.sources.simulated import SimulatedSource
from sonosteer.trackers.table import needs_click

#: options that are for opening the clip, and not for tracking it
OPENING = ("poses", "keep_identity")
ERRORS_MM = ("mean_mm", "median_mm", "p95_mm")
ERRORS_PX = ("mean_px", "median_px", "p95_px")
#: of a comparison's row; None where it is not known
COMPARED = ("method", "frames", "tracked", *ERRORS_MM, *ERRORS_PX, "coverage_95", "track_ms", "broke")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several methods on the same clip, or on the same clips."""

    results: Mapping[str, TrackResult]
    """What each method said, by its name, of the last clip. A method that broke has the frames before."""
    rows: tuple[Mapping[str, Any], ...]
    """A row for each method: frames, tracked ones, errors in mm and px, median time in ms, why it broke, if it did."""
    scored: ClipComparison | None = field(default=None, repr=False)
    """All methods on all clips, scored frame by frame. None where nothing was tracked."""

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows as JSON can say them."""
        return [dict(row) for row in self.rows]

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each method. Raises MissingExtraError without pandas."""
        return data_frame([tuple(row[k] for k in COMPARED) for row in self.rows], COMPARED)

    def figures(self) -> dict[str, Any]:
        """All figures of compare.json: by method, by pair with intervals, by clip. Empty where nothing was tracked."""
        return {} if self.scored is None else self.scored.to_dict()

    def save(self, folder: str | Path) -> Path:
        """Write index.html, compare.json, compare.csv and the worst frames into a folder, which is made. Return it.

        Raises InputError if nothing was tracked.
        """
        if self.scored is None:
            raise InputError("nothing was tracked: there is nothing to save")
        return self.scored.save(folder)

    def _shown(self) -> tuple[str, ...]:
        """The columns to print: errors in mm, or in px where no method has them in mm."""
        scaled = any(row["mean_mm"] is not None for row in self.rows)
        left_out = ERRORS_PX if scaled or all(row["mean_px"] is None for row in self.rows) else ERRORS_MM
        return tuple(name for name in COMPARED if name not in left_out)

    def __repr__(self) -> str:
        names = self._shown()[:-1]
        shown = [names, *(tuple(_short(row[k]) for k in names) for row in self.rows)]
        widths = [max(len(r[i]) for r in shown) for i in range(len(shown[0]))]
        lines = ["  ".join(v.ljust(w) for v, w in zip(r, widths, strict=True)).rstrip() for r in shown]
        return "\n".join([*lines, *(f"{r['method']} broke: {r['broke']}" for r in self.rows if r["broke"])])

    def _repr_html_(self) -> str:
        names = self._shown()
        return html_table(names, [tuple(_short(row[k]) for k in names) for row in self.rows])


def compare(
    source: Clip | Sequence[str | Path],
    methods: Sequence[Method] | Mapping[str, Method] = ("auto",),
    truth: SimulatedClip | Iterable[Truth] | Sequence[str | Path] | str | Path | None = None,
    **options: Any,
) -> Comparison:
    """Track the same clip, or the same clips, by several methods, and score them alike.

    source: a clip as `track` takes it, or a list of paths, patterns and "sim:SETUP". methods: names, classes or
    trackers of your own, or a mapping from the names to show to them. truth: as `evaluate` takes it, of several clips a
    list with a table for each, or a folder with NAME.csv; left out for simulated clips. options: as `track` takes them,
    the same for all methods, and two more: `poses`, the chain of transforms to the world of tracked sequences, and
    `keep_identity`, whether a patient's name stays where a DICOM file says it is.

    A method that needs a click (csrt, kcf, mil, lk) is told `start`, or the first mark of each clip. A method that
    breaks has its reason in its row, and the others go on. Raises InputError for a method that there is not, and if no
    method can be run at all.
    """
    named = dict(methods) if isinstance(methods, Mapping) else {name_of(m): m for m in methods}
    if not named:
        raise InputError("`methods` is empty: name at least one")
    settings = options.get("settings") or {}
    for each in named.values():
        tracker_of(each, settings)  # a name that there is not is said before anything is tracked
    keep = bool(options.get("keep_identity"))
    clips = _clips_in(source, truth, stills=bool(options.get("stills")), keep_identity=keep)
    results: dict[str, TrackResult] = {}
    compared: list[ComparedClip] = []
    refused: list[SonosteerError] = []
    for name, clip, marks in clips:
        done, said, errors = compare_clip(clip, named, marks, options, name=name)
        results |= said
        refused += errors
        compared.append(done)
    if len(refused) == len(named) * len(clips):
        raise refused[0]
    scored = ClipComparison(tuple(compared), tuple(named), {})
    if len(clips) == 1:
        truths = None if clips[0][2] is None else compared[0].truths
        rows = [_compared(m, results.get(m), truths, compared[0].broke.get(m)) for m in named]
    else:
        rows = [_pooled(m, scored) for m in named]
    return Comparison(results, tuple(rows), scored)


def compare_clip(
    source: Clip,
    methods: Mapping[str, Method],
    marks: Any,
    options: Mapping[str, Any],
    *,
    name: str,
) -> tuple[ComparedClip, dict[str, TrackResult], list[SonosteerError]]:
    """Track one clip by each method.

    marks: as `evaluate` takes them, None for what the clip itself knows. Returns what is scored, the results, and the
    errors of the methods that could not begin at all. Raises InputError if the clip cannot be read, or the marks are
    of another one.
    """
    clip = read_again(source, options)
    options = {k: v for k, v in options.items() if k not in OPENING}
    known = tuple(clip.truths) if isinstance(clip, SimulatedClip) else ()
    truths = known if marks is None else tuple(truths_in(marks, _place_in(clip, options)))
    keep = bool(options.get("keep_identity"))
    words = () if keep or not hasattr(clip, "info") else identity_words(clip)  # type: ignore[arg-type]
    where = str(source) if isinstance(source, str | Path) else ""
    results: dict[str, TrackResult] = {}
    given: dict[str, str] = {}
    broke: dict[str, str] = {}
    refused: list[SonosteerError] = []
    for label, method in methods.items():
        told, given[label] = _told(method, truths, options)
        try:
            results[label] = track(clip, method, **told)
        except InterruptedRunError:
            raise
        except SonosteerError as e:
            broke[label] = without_place(with_options(str(e)), where, name, words)
            if isinstance(e.kept, TrackResult):
                results[label] = e.kept
            else:
                refused.append(e)
    first = next(iter(results.values()), None)
    if first is None:
        size, spacing = _size_of(clip, options)
    else:
        size, spacing = first.source.size_px, first.spacing
        table = marks if isinstance(marks, Path) else Path(str(marks) if isinstance(marks, str) else f"{name}'s truth")
        if marks is not None:
            check_truth(table, truths, frames=first.source.frames, size_px=size)
        truths = truths or first.truths
    results = {m: _without_identity(r, words) for m, r in results.items()}
    done = ComparedClip(
        name=name,
        source=where,
        seed=int(options.get("seed", 0)),
        size_px=size,
        spacing=spacing,
        truths=truths,
        tips={m: results[m].rows() if m in results else [] for m in methods},
        given=given,
        median_ms={m: percentiles_ms(r.times_ms["track"])["median_ms"] for m, r in results.items() if len(r)},
        broke=broke,
        keep_identity=keep,
    )
    return done, results, refused


def _place_in(clip: Clip, options: Mapping[str, Any]) -> PlaceInPicture | None:
    """Turns positions of markups into places in a clip's pictures. None for what is no source, such as an array."""
    if not hasattr(clip, "info"):
        return None
    spacing = options.get("spacing_mm")
    known: Any = clip if spacing is None else WithSpacing(clip, spacing_of(spacing))  # type: ignore[arg-type]
    return place_in(known)


def _clips_in(source: Any, truth: Any, *, stills: bool, keep_identity: bool) -> list[tuple[str, Clip, Any]]:
    """(name, clip, marks) of each clip."""
    several = isinstance(source, list | tuple) and source and all(isinstance(s, str | Path) for s in source)
    one = [str(source)] if isinstance(source, str | Path) else []
    sources = named_sources([str(s) for s in source]) if several else one
    names = clip_names(sources, identities_of(sources, keep=keep_identity))
    if not several or stills:
        return [(names[0] if one else "clip", source, truth)]
    if truth is None:
        marks: Sequence[Any] = [None] * len(sources)
    else:
        tables = [truth] if isinstance(truth, str | Path) else list(truth)
        marks = marks_of(sources, names, [Path(t) for t in tables])
    return list(zip(names, sources, marks, strict=True))


def _told(method: Method, truths: Sequence[Truth], options: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What a method is told, and in words. A method that needs a click gets the first mark, from that frame on."""
    told = dict(options)
    hint: Hint | None = told.get("hint")
    start = told.get("start") if hint is None else hint.start_px
    words = [] if start is None else ["click"]
    if any(told.get(k) is not None for k in ("angle_deg", "enters")):
        words.append("direction")
    if hint is not None and (hint.angle_rad or hint.enters):
        words.append("direction")
    tracker, _ = tracker_of(method, told.get("settings") or {})
    if start is None and needs_click(tracker):
        first = _first_mark(truths, told.get("frames"))
        if first is not None:
            at, tip = first
            told["frames"] = (at, _end_of(told.get("frames")))
            told |= {"start": tip} if hint is None else {"hint": dataclasses.replace(hint, start_px=tip)}
            words.append("click on the first mark")
    return told, " and ".join(words) or "nothing"


def _first_mark(truths: Sequence[Truth], frames: Any) -> tuple[int, Point] | None:
    begin = _begin_of(frames)
    marks = [(t.frame_index, t.tip_px) for t in truths if t.visible and t.frame_index >= begin]
    return min(((at, tip) for at, tip in marks if tip is not None), default=None)


def _begin_of(frames: Any) -> int:
    first = frames.start if isinstance(frames, slice) else None if frames is None else frames[0]
    return int(first or 0)


def _end_of(frames: Any) -> int | None:
    return frames.stop if isinstance(frames, slice) else None if frames is None else frames[1]


def _size_of(clip: Clip, options: Mapping[str, Any]) -> tuple[tuple[int, int], Spacing | None]:
    """Size and scale of a clip that no method could track. Raises InputError if it cannot be read."""
    info = open_source(clip).info if isinstance(clip, str | Path) else getattr(clip, "info", None)
    return ((1, 1), None) if info is None else (info.size_px, info.spacing)


def read_again(source: Clip, options: Mapping[str, Any]) -> Clip:
    """A clip that can be read once for each method: a simulated one is drawn once."""
    if isinstance(source, str) and source.startswith("sim:"):
        drawn = SimulatedSource(source[4:], seed=options.get("seed", 0))
        frames = list(drawn.frames())
        return SimulatedClip(drawn.info, frames, [drawn.truth(f.index) for f in frames], drawn.scene)
    if isinstance(source, str | Path) and not options.get("stills") and not is_live_address(source):
        keep = bool(options.get("keep_identity"))
        return open_source(source, poses=options.get("poses"), keep_identity=keep)
    if isinstance(source, str | Path | np.ndarray) or callable(getattr(source, "frames", None)):
        return source
    return list(source) if isinstance(source, Iterable) else source


def _without_identity(result: TrackResult, words: Sequence[str]) -> TrackResult:
    """A result whose clip's name and notes hold no word of its patient's identity."""
    info = result.source
    name, notes = (without_identity(each, words) for each in (info.name, info.notes))
    return dataclasses.replace(result, source=dataclasses.replace(info, name=name, notes=tuple(notes)))


def _compared(
    name: str, result: TrackResult | None, truths: tuple[Truth, ...] | None, broke: str | None
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COMPARED) | {"method": name, "broke": broke, "frames": 0, "tracked": 0}
    if result is None or not result.estimates:
        return row
    row["frames"] = len(result)
    row["tracked"] = sum(isinstance(e, TipEstimate) for e in result)
    row["track_ms"] = percentiles_ms(result.times_ms["track"])["median_ms"]
    known = result.truths if truths is None else truths
    if any(t.tip_px is not None for t in known):
        numbers = evaluate(result, known).numbers
        row |= {k: numbers[k] for k in (*ERRORS_MM, *ERRORS_PX, "coverage_95")}
    return row


def _pooled(name: str, scored: ClipComparison) -> dict[str, Any]:
    """The row of a method over several clips."""
    found = summarise_scores(scored.scores(name))
    row: dict[str, Any] = dict.fromkeys(COMPARED) | {"method": name, "frames": found["frames"]}
    row["tracked"] = found["claimed"]
    row |= {k: found[k] for k in ("median_px", "p95_px", "median_mm", "p95_mm")}
    times = sorted(clip.median_ms[name] for clip in scored.clips if name in clip.median_ms)
    row["track_ms"] = times[len(times) // 2] if times else None
    row["broke"] = "; ".join(f"{clip.name}: {clip.broke[name]}" for clip in scored.clips if name in clip.broke) or None
    return row


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


# -- clip by clip, into a folder, so that a run can go on -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ComparisonTask:
    """One clip, the methods to try on it, and where what they say is kept. Another process can be given it."""

    name: str
    """Name of the clip, unlike that of any other."""
    source: str
    """The clip as it was named."""
    methods: tuple[str, ...]
    """Methods by name, or `package.module:Class`."""
    marks: Path | None
    """Table of marks. None: a simulated clip brings its own truth, another one has none."""
    folder: Path
    """Folder in which each method has a folder of its own."""
    options: Mapping[str, Any]
    """As `compare` takes them, the same for all methods."""
    identity: tuple[str, ...] = ()
    """Words of the patient's identity, lower case, that no result may hold."""


def killed_task(task: ComparisonTask) -> dict[str, Any]:
    """What is said of a clip whose worker was killed."""
    why = f"{task.name}: its worker process was killed (out of memory?): the same command tries it again"
    return {"why": f"{why}, and `jobs` 1 needs the least memory", "broke": True}


def run_task(task: ComparisonTask) -> dict[str, Any]:
    """Track a clip by the methods that are missing, and keep what they say. Returns why it failed, if it did.

    Raises InterruptedRunError after Ctrl-C.
    """
    missing = [m for m in task.methods if not _is_kept(task, m)]
    if not missing:
        return {"why": "", "broke": False}
    try:
        done, results, _ = compare_clip(task.source, {m: m for m in missing}, task.marks, task.options, name=task.name)
    except InterruptedRunError:
        raise
    except SonosteerError as e:
        why = without_place(with_options(str(e)), task.source, task.name, task.identity)
        return {"why": why, "broke": not isinstance(e, InputError)}
    if done.truths and _keeps_truth(task):
        with TruthWriter(_made(task.folder) / "truth.csv") as table:
            for truth in done.truths:
                table.add(truth)
    for m in missing:
        if m in results:
            results[m].save(_folder(task, m))
        about = {
            "asked": _asked(task, m),
            "given": done.given[m],
            "broke": done.broke.get(m),
            "median_ms": done.median_ms.get(m),
            "size_px": list(done.size_px),
            "spacing": None if done.spacing is None else [done.spacing.x_mm, done.spacing.y_mm],
            "tracked": m in results,
        }
        write_summary(_made(_folder(task, m)) / "asked.json", about)
    return {"why": "", "broke": False}


def kept_clip(task: ComparisonTask) -> ComparedClip:
    """What is kept of a clip. Raises InputError if a file of it was damaged."""
    about = {m: read_summary(_folder(task, m) / "asked.json") for m in task.methods}
    first = next((a for a in about.values() if a["tracked"]), next(iter(about.values())))
    tips: dict[str, Sequence[TipRow]] = {
        m: read_tips(_folder(task, m) / "tips.csv") if a["tracked"] else [] for m, a in about.items()
    }
    own = task.folder / "truth.csv"
    table = task.marks if not _keeps_truth(task) else own if own.exists() else None
    return ComparedClip(
        name=task.name,
        source=task.source,
        seed=int(task.options.get("seed", 0)),
        size_px=(first["size_px"][0], first["size_px"][1]),
        spacing=None if first["spacing"] is None else Spacing(*first["spacing"]),
        truths=() if table is None else tuple(read_truth(table)),
        tips=tips,
        given={m: a["given"] for m, a in about.items()},
        median_ms={m: a["median_ms"] for m, a in about.items() if a["median_ms"] is not None},
        broke={m: a["broke"] for m, a in about.items() if a["broke"]},
        keep_identity=bool(task.options.get("keep_identity")),
    )


def _keeps_truth(task: ComparisonTask) -> bool:
    """True where truth.csv is kept: of clips that bring their truth, and of markups, which need the clip to be read."""
    return task.marks is None or (is_foreign(task.marks) and marks_format(task.marks) == "markups")


def _is_kept(task: ComparisonTask, method: str) -> bool:
    path = _folder(task, method) / "asked.json"
    if not path.exists():
        return False
    try:
        return read_summary(path).get("asked") == _asked(task, method)
    except InputError:  # it was cut off: it is done again
        return False


def _asked(task: ComparisonTask, method: str) -> dict[str, Any]:
    """What makes a track another one, as a hash, so that no path, which may hold a patient's name, is kept."""
    files = [task.source, *([str(task.marks)] if task.marks else [])]
    words = {k: repr(v) for k, v in sorted(task.options.items()) if k != "progress"}
    asked = {
        "method": method,
        "source": task.source,
        "marks": str(task.marks),
        "options": words,
        "files": dict(stamps_of(files)),
        "version": versions()["sonosteer"],
    }
    return {"method": method, "sha256": hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}


def _folder(task: ComparisonTask, method: str) -> Path:
    return task.folder / "".join(c if c.isalnum() or c in "+-_." else "-" for c in method)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
