"""Many clips tracked into a folder each, over cores or a cluster, with one table and one page.

A clip that is done is not done again by the same words, and one that fails does not stop the rest.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, InterruptedRunError, SonosteerError, with_options
from sonosteer.core.plugins import describe_error
from sonosteer.core.progress import StageProgress
from sonosteer.episodes.clip_identity import identities_of, identity_lines
from sonosteer.episodes.clip_lists import clip_names, marks_of, stamps_of
from sonosteer.episodes.clip_request import ClipRequest, job_of
from sonosteer.episodes.clip_tracking import track_into_folder
from sonosteer.recording.output_folder import claimed_folder
from sonosteer.recording.summary import read_summary, versions
from sonosteer.recording.tables import writing_failed
from sonosteer.runtime.executor import run_trials
from sonosteer.sources.identity import WITHHELD, without_identity, without_place
from sonosteer.viz.clips_page import write_clips_page

#: columns of summary.csv
COLUMNS = (
    *("name", "source", "outcome", "why", "frames", "tracking", "coasting", "lost", "bad", "dropped"),
    *("width_px", "height_px", "x_mm_per_px", "y_mm_per_px", "median_ms", "mean_error_px", "mean_error_mm"),
    "elapsed_s",
)


@dataclass(frozen=True)
class BatchItem:
    """One clip of many, and whether what is there already may be kept."""

    request: ClipRequest
    """What to track and how."""
    alone: bool
    """Whether it has the machine for itself. Otherwise it keeps to one thread where it can."""


def requests_of(
    request: ClipRequest, groups: Sequence[tuple[str, ...]], told: Callable[[str], None] = lambda line: None
) -> list[ClipRequest]:
    """A request for each group of sources: the same in all but the sources, a folder of its own and its marks.

    told: called with a line for each clip that is named after its patient, or may have names in its pictures. Raises
    InputError if the marks do not fit the number of clips.
    """
    first = [group[0] if len(group) == 1 else "pictures" for group in groups]
    identities = identities_of(first, keep=request.keep_identity)
    names = clip_names(first, identities)
    for line in identity_lines(first, names, identities):
        told(line)
    marks = marks_of(first, names, [] if request.truth is None else [request.truth])
    words = tuple(sorted({word for found in identities.values() for word in found.words}))  # all results name all clips
    return [
        replace(request, sources=group, out=request.out / name, truth=truth, identity=words)
        for group, name, truth in zip(groups, names, marks, strict=True)
    ]


def track_many(
    requests: Sequence[ClipRequest],
    out: Path,
    *,
    executor: str = "process",
    jobs: int | None = None,
    progress: StageProgress = lambda stage, done, total: None,
    failed: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> list[dict[str, Any]]:
    """Track all clips and return a row for each, in their order. `out` must be claimed.

    executor, jobs: as `run_trials` takes them, jobs is the number of clips at once. A clip whose worker is killed, as
    for its memory, has failed, and the rest goes on. failed: called with the row of each clip that could not be
    tracked. summary.csv and index.html are written anew after every clip, so that what is done can be read whenever the
    run ends.
    """
    rows: dict[int, dict[str, Any]] = {}
    for i, request in enumerate(requests):
        row = finished_row(request)
        if row is not None:
            rows[i] = row
    missing = [i for i in range(len(requests)) if i not in rows]
    items = [BatchItem(requests[i], alone=jobs == 1 or len(missing) == 1) for i in missing]
    progress("clips", len(rows), len(requests))
    _write(out, requests, rows)
    workers = 1 if len(missing) == 1 else jobs
    with closing(run_trials(track_one, items, executor, workers, died=_died)) as results:
        for k, row in results:
            rows[missing[k]] = row
            if row["outcome"] != "done":
                failed(row)
            _write(out, requests, rows)
            progress("clips", len(rows), len(requests))
    return [rows[i] for i in range(len(requests))]


def exit_code_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """0 if every clip was tracked, 1 if one broke, 2 if the input of one could not be used."""
    outcomes = {row["outcome"] for row in rows}
    return 1 if "broke" in outcomes else 2 if "refused" in outcomes else 0


def track_one(item: BatchItem) -> dict[str, Any]:
    """Track one clip into its folder, which is made. Returns its row, whatever happens.

    Raises InterruptedRunError after Ctrl-C.
    """
    request = item.request
    if not item.alone:
        cv2.setNumThreads(1)
    stamp = _done_file(request.out)
    with contextlib.suppress(OSError):
        stamp.unlink(missing_ok=True)  # from here on the clip is not done
    try:
        job = replace(job_of(request), asked=_asked(request), picture=True)
        with claimed_folder(request.out):
            summary = track_into_folder(job, lambda stage, done, total: None)
        return _row(request, "done", "", summary)
    except InterruptedRunError:
        raise
    except InputError as e:
        return _row(request, "refused", str(e), _read_or_none(request.out))
    except SonosteerError as e:
        return _row(request, "broke", str(e), _read_or_none(request.out))
    except Exception as e:  # noqa: BLE001  whatever goes wrong in one clip, the others go on
        return _row(request, "broke", f"{request.name} broke with {describe_error(e)}", _read_or_none(request.out))


def _died(item: BatchItem) -> dict[str, Any]:
    """The row of a clip whose worker was killed."""
    request = item.request
    why = f"{request.sources[0]}: its worker process was killed (out of memory?): the same command tries it again"
    return _row(request, "broke", f"{why}, and `jobs` 1 needs the least memory", _read_or_none(request.out))


def finished_row(request: ClipRequest) -> dict[str, Any] | None:
    """The row of a clip that was tracked to its end by the same words. None if it was not."""
    summary = _read_or_none(request.out)
    whole = all((request.out / name).exists() for name in ("tips.csv", "report.html"))
    if summary is None or not whole or summary.get("asked") != to_dict(_asked(request)):
        return None
    return _row(request, "done", "", summary)


def _asked(request: ClipRequest) -> dict[str, Any]:
    """What makes a clip another one, as a hash: all words but the folder, the files behind them, our version.

    It is a hash so that no path, which may hold a patient's name, is kept.
    """
    files = [
        *request.sources,
        *(str(p) for p in (request.truth, request.velocity, request.readings) if isinstance(p, Path)),
    ]
    words = {k: v for k, v in to_dict(request).items() if k not in ("out", "options", "identity")}
    asked = to_dict({**words, "files": stamps_of(files), "version": versions()["sonosteer"]})
    return {"sha256": hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()}


def _done_file(folder: Path) -> Path:
    return folder / "summary.json"


def _read_or_none(folder: Path) -> dict[str, Any] | None:
    path = _done_file(folder)
    if not path.exists():
        return None
    try:
        return read_summary(path)
    except InputError:
        return None


def _row(request: ClipRequest, outcome: str, why: str, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "name": request.out.name,
        "source": request.sources[0] if len(request.sources) == 1 else request.name,
        "outcome": outcome,
        "why": without_place(with_options(why), request.sources[0], request.out.name, request.identity),
    }
    row["source"] = without_identity(row["source"], request.identity)
    if summary is None:
        return row
    counts, source = summary["counts"], summary["source"]
    if source["name"] == WITHHELD:
        row["source"] = WITHHELD
    row |= {k: counts[k] for k in ("frames", "tracking", "coasting", "lost", "bad", "dropped")}
    row["width_px"], row["height_px"] = source["size_px"]
    if source["spacing"] is not None:
        row["x_mm_per_px"], row["y_mm_per_px"] = source["spacing"]["x_mm"], source["spacing"]["y_mm"]
    row["median_ms"] = summary["timing"].get("track", {}).get("median_ms")
    error = summary["error"] or {}
    row |= {f"mean_error_{unit}": error.get(f"mean_{unit}") for unit in ("px", "mm")}
    return row | {"elapsed_s": summary["elapsed_s"]}


def _write(out: Path, requests: Sequence[ClipRequest], rows: Mapping[int, Mapping[str, Any]]) -> None:
    """Write summary.csv and index.html of what there is, in the order of the clips."""
    there = [rows[i] for i in sorted(rows)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([["" if row[c] is None else row[c] for c in COLUMNS] for row in there])
    write_whole(out / "summary.csv", text.getvalue())
    with_report = {r.out.name for r in requests if (r.out / "report.html").exists()}
    with_picture = {r.out.name for r in requests if (r.out / "picture.jpg").exists()}
    write_clips_page(
        out / "index.html",
        there,
        total=len(requests),
        method=requests[0].method if requests else "",
        with_report=with_report,
        with_picture=with_picture,
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that the old one stays or the whole new one is there. Raises InputError if the disk is full."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise writing_failed(path, e, "the clips that are done are kept") from None
