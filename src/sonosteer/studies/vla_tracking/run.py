"""The tracking study of networks: ours, seven compared ones and ablations on the same simulated videos.

Source: Zhang et al. 2026, "Vision-Language-Action Model for Ultrasound-Guided Needle Insertion and Tracking",
Sections IV-A and IV-B. The data are ours after its description (`sonosteer dataset make d-track`). The compared
networks are compact forms of our own. Beside the paper's methods: the model that ships (`vla, shipped`), `auto`, and
`kf+f` of Mathiassen et al. 2017.

Every tracker is started on the true tip of the first frame that has one. Networks run in the same loop (`trackers/vla`)
with the same settings. A frame in which a tracker says nothing misses in AUC and P, and its last place counts in Err.
The table is over frames whose tip can be seen, as a person could have marked them. All frames are in `all-frames.csv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.errors import MissingExtraError
from sonosteer.core.progress import StageProgress
from sonosteer.datasets import make_videos
from sonosteer.datasets.videos import DataSet
from sonosteer.recording.summary import versions
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.pages import quick_facts, writing
from sonosteer.studies.vla_tracking.trials import CLASSIC, SHIPPED_MODEL, VlaTrackingTrial, run_vla_tracking_trial

#: chosen: samples that every compared network sees. Five to ten minutes each on two cores
NETWORK_SAMPLES, NETWORK_BATCH = 8_000, 24


def run_vla_tracking_study(
    *, out: Path, quick: bool, seed: int, executor: str, progress: StageProgress
) -> dict[str, Any]:
    """`sonosteer study vla-tracking`: make the videos, train the networks, track, write tables and figures.

    All three steps go on where they were interrupted. Full: about 9 GB of videos and some hours on two cores.
    """
    try:
        from sonosteer.studies.vla_tracking import film_strip, networks, speed
    except ImportError:
        raise MissingExtraError("study vla-tracking", "torch and transformers", "vla") from None
    from sonosteer.learning.nets.presets import tracking_preset
    from sonosteer.studies.vla_tracking.report import write_vla_tracking_study

    preset_name = "tiny" if quick else "edge"
    samples, batch = (96, 8) if quick else (NETWORK_SAMPLES, NETWORK_BATCH)
    folder, nets, base = out / "data", out / "networks", tracking_preset(preset_name)
    make_videos.make_video_set(
        "d-track", out=folder, videos=10 if quick else None, seed=seed, executor=executor, progress=progress
    )
    data = DataSet(folder)
    trained = {
        network.name: networks.train_study_network(
            network,
            data=data,
            folder=nets,
            base=base,
            samples=samples,
            batch=batch,
            seed=seed,
            device="auto",
            progress=progress,
        )
        for network in networks.networks(quick=quick)
    }
    methods = [n for n in trained if not n.startswith(networks.ENCODER)] + [SHIPPED_MODEL, *CLASSIC]
    entries = {v.entry.name: v.entry for v in data.videos("test")}
    todo = {
        m: {e.name: VlaTrackingTrial(m, folder, e, nets, preset_name, quick) for e in entries.values()} for m in methods
    }
    question = {"study": "vla-tracking", "seed": seed, "quick": quick, "samples": samples, "batch": batch}
    results = _track(todo, Journal(out / "trials.jsonl", question), executor, progress)
    summary = {
        **question,
        "videos": {name: to_dict(e) for name, e in entries.items()},
        "networks": {k: {n: v[n] for n in v if n != "log"} for k, v in trained.items()},
        "versions": versions(),
        **quick_facts(sum(map(len, todo.values())), quick=quick),
        "film_strip": film_strip.write_hard_cases(out / film_strip.STRIP_FILE, results, todo, executor, progress),
        "speed": speed.time_networks(speed.load_all(base, nets, quick=quick), progress),
    }
    with writing(progress):
        summary["table"] = write_vla_tracking_study(out, results, entries, summary)
        save_json(summary, out / "summary.json")
    return summary


def _track(
    todo: Mapping[str, Mapping[str, VlaTrackingTrial]], journal: Journal, executor: str, progress: StageProgress
) -> dict[str, dict[str, Any]]:
    """method -> video -> what `run_vla_tracking_trial` says. Trials that the journal has are not run again."""
    trials = [trial for by_video in todo.values() for trial in by_video.values()]
    try:
        for done in run_missing(run_vla_tracking_trial, trials, journal, executor):
            progress("videos tracked", done, len(trials))
    finally:
        journal.close()
    return {m: {name: journal.done[t.name] for name, t in by_video.items()} for m, by_video in todo.items()}
