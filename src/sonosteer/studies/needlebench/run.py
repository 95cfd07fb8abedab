"""The benchmark needlebench: `sonosteer needlebench`.

Every track is drawn once and given to all methods (`trials`). A journal keeps each track that is done, so that an
interrupted run goes on where it stopped. Other tracks, other methods or other models begin anew. Another version with
the same tracks prices the same answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.recording.tables import make_folder
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.models_used import models_used
from sonosteer.studies.needlebench.figures import entries_of
from sonosteer.studies.needlebench.real import MANIFEST, read_manifest
from sonosteer.studies.needlebench.report import write_leaderboard
from sonosteer.studies.needlebench.tracks import NEWEST, load_version
from sonosteer.studies.needlebench.trials import (
    BASELINES,
    DUMMIES,
    PROTOCOLS,
    QUICK_METHODS,
    AnyTrack,
    BenchTrial,
    run_bench_trial,
)
from sonosteer.studies.pages import quick_facts, writing
from sonosteer.trackers.table import make_tracker

QUICK_TRACKS = 1  # of each group
QUICK_FRAMES = 12  # chosen: of each track, so that a quick run takes less than a minute


def run_needlebench(
    *,
    out: Path,
    methods: Sequence[str] = (),
    quick: bool = False,
    version: str = NEWEST,
    real: Path | None = None,
    executor: str = "process",
    progress: StageProgress,
    command: str = "sonosteer needlebench",
) -> dict[str, Any]:
    """Run the benchmark and write its leaderboard into `out`. Goes on where it stopped.

    methods: names, or package.module:Class. Default: all baselines. real: folder with a manifest of real tracks.
    command: what was typed, for the report. Raises InputError for an unknown method or version, or a bad manifest.
    """
    entrants = _entrants(methods, quick=quick)
    frozen = load_version(version)
    tracks: list[AnyTrack] = [*(frozen.part(QUICK_TRACKS) if quick else frozen.tracks)]
    own = read_manifest(real) if real is not None else ()
    tracks += _unlike(own, tracks)
    question = {
        "benchmark": "needlebench",
        "tracks_digest": frozen.tracks_digest,
        "quick": quick,
        "methods": list(entrants),
        "models": models_used({}),
        "real": None if real is None else hashlib.sha256((real / MANIFEST).read_bytes()).hexdigest(),
    }
    make_folder(out)
    journal = Journal(out / "trials.jsonl", question)
    try:
        todo = [BenchTrial(t, entrants, QUICK_FRAMES if quick else None) for t in _longest_first(tracks)]
        for done in run_missing(run_bench_trial, todo, journal, executor):
            progress("tracks", done, len(todo))
        said = dict(journal.done)
    finally:
        journal.close()
    with writing(progress):
        entries = {p: entries_of(tracks, entrants, said, p, frozen.scoring) for p in PROTOCOLS}
        about = {
            "version": frozen.name,
            "digest": frozen.digest,
            "prices": to_dict(frozen.scoring),
            **question,
            **quick_facts(len(tracks), quick=quick),
            "tracks": len(tracks) - len(own),
            "real_tracks": len(own),
            "command": command,
            "versions": versions(),
        }
        boards = write_leaderboard(tracks, entries, out, about)
        summary = {**about, "leaderboards": boards}
        save_json(summary, out / "summary.json")
    return summary


def _entrants(methods: Sequence[str], *, quick: bool) -> tuple[str, ...]:
    """The methods, each once, and those that know nothing. Raises InputError for one that cannot be made."""
    chosen = tuple(dict.fromkeys(methods)) or (QUICK_METHODS if quick else BASELINES)
    for method in chosen:
        if method in DUMMIES:
            raise InputError(f"{method} takes part in every run: leave it out")
        make_tracker(method)
    return (*chosen, *DUMMIES)


def _unlike(own: Sequence[AnyTrack], tracks: Sequence[AnyTrack]) -> list[AnyTrack]:
    taken = {t.name for t in tracks}
    twice = next((t.name for t in own if t.name in taken), None)
    if twice is not None:
        raise InputError(f"a real track has the name of a frozen one, {twice}: name it otherwise")
    return list(own)


def _longest_first(tracks: Sequence[AnyTrack]) -> list[AnyTrack]:
    """Large tracks first, so that no core waits for the last one."""
    return sorted(tracks, key=lambda t: -len(t.truths()) * t.size_px[0] * t.size_px[1])
