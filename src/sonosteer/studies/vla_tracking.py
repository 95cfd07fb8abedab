"""Paper V's tracking study, Table I: our network, seven compared ones and its ablations on the same simulated videos.

Source: Paper V, "Vision-Language-Action Model for Ultrasound-Guided Needle Insertion and Tracking", Sections IV-A and
IV-B. The data are ours after its description (`sonosteer dataset make d-track`); the compared networks are compact
forms of our own. Beside the paper's methods: the model that ships (`vla, shipped`), `auto`, and Paper T's `kf+f`.

Every tracker is started on the true tip of the first frame that has one. Networks run in the same loop (`trackers/vla`)
with the same settings. A frame in which a tracker says nothing misses in AUC and P, and its last place counts in Err.
The table is over frames whose tip can be seen, as a person could have marked them; all frames are in `all-frames.csv`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.errors import MissingExtraError
from sonosteer.core.types import Frame, Hint, Lost, Track
from sonosteer.learning.data import make
from sonosteer.learning.data.videos import BOX_MM, DataSet, Entry, Video
from sonosteer.metrics.success import overlap
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene, planned_angles
from sonosteer.studies.journal import Journal, run_missing

Progress = Callable[[str, int, int], None]
SHIPPED, CLASSIC = "vla, shipped", ("auto", "kf+f")
#: ours: samples that every compared network sees; about a quarter of an hour each on two cores
SAMPLES, BATCH = 24_000, 24


@dataclass(frozen=True, slots=True)
class Trial:
    """One method on one video. networks: folder of the trained ones; preset: of their crops."""

    method: str
    data: Path
    entry: Entry
    networks: Path
    preset: str
    quick: bool

    @property
    def name(self) -> str:
        """Method and video."""
        return f"{self.method} | {self.entry.name}"


def run_trial(trial: Trial) -> dict[str, Any]:
    """Follow the tip through a video; figures of every frame after the first with a tip."""
    video = Video(trial.data / "videos" / trial.entry.name, trial.entry)
    tracker, hint = _tracker(trial, video)
    tips, mm = video.tips_px, np.array(trial.entry.spacing_mm)
    first = int(np.flatnonzero(~np.isnan(tips[:, 0]))[0])
    start = (float(tips[first, 0]), float(tips[first, 1]))
    tracker.prepare()
    state = tracker.start(Hint(hint.angle_rad, hint.enters, start))
    last = np.array(start) * mm
    out: dict[str, list[Any]] = {"error_mm": [], "iou": [], "visible": [], "state": [], "inside": []}
    for t in range(first, len(tips)):
        frame = Frame(np.array(video.frames[t]), t, float(video.times_s[t]), video.spacing)
        state, estimate = tracker.step(state, frame)
        if t == first or np.isnan(tips[t, 0]):
            continue
        truth = tips[t] * mm
        said = None if isinstance(estimate, Lost) else np.array(estimate.tip_px) * mm
        last = last if said is None else said
        box = np.array(getattr(state, "box_mm", (0.0, 0.0)))
        box = box if box.min() > 0 else np.array([BOX_MM, BOX_MM])
        iou = 0.0 if said is None else float(overlap(_box(said, box), _box(truth, np.array([BOX_MM, BOX_MM]))))
        out["error_mm"].append(round(float(np.linalg.norm(last - truth)), 3))
        out["iou"].append(round(iou, 4))
        out["visible"].append(int(video.visible[t]))
        out["state"].append({Track.TRACKING: 2, Track.COASTING: 1, Track.LOST: 0}[estimate.state])
        out["inside"].append(None if isinstance(estimate, Lost) else _inside(estimate, (said - truth)))
    return out


def _box(centre_mm: Any, size_mm: Any) -> Any:
    return np.concatenate([centre_mm - size_mm / 2, centre_mm + size_mm / 2])


def _inside(estimate: Any, error_mm: Any) -> int:
    """1 where the truth lies in the 95 % ellipse."""
    c, s = math.cos(estimate.angle_rad), math.sin(estimate.angle_rad)
    e = np.array([[c, s], [-s, c]]) @ error_mm
    return int(float(e @ np.linalg.solve(estimate.covariance_mm2, e)) < 5.991)


def _tracker(trial: Trial, video: Video) -> tuple[Any, Hint]:
    """(tracker, what it may know beside the tip: the planned angle for kf+f, which needs one)."""
    from sonosteer.trackers.table import make_tracker
    from sonosteer.trackers.vla import Vla

    if trial.method == SHIPPED:
        return Vla(), Hint()
    if trial.method in CLASSIC:
        setup, _, seed = trial.entry.source.partition("#")
        scene = make_scene(setup, int(seed), mode=trial.entry.mode)
        return make_tracker(trial.method), Hint(planned_angles(scene)) if trial.method == "kf+f" else Hint()
    import torch

    from sonosteer.learning.nets.presets import preset
    from sonosteer.learning.torch_network import TorchNetwork
    from sonosteer.studies import vla_networks

    torch.set_num_threads(1)
    base = preset(trial.preset)
    network = next(n for n in vla_networks.networks(quick=trial.quick) if n.name == trial.method)
    return Vla(network=TorchNetwork(vla_networks.load(network, base, trial.networks), base.scale_mm)), Hint()


def run(*, out: Path, quick: bool, seed: int, executor: str, progress: Progress) -> dict[str, Any]:
    """`sonosteer study vla-tracking`: make the videos, train the networks, track, write tables and figures.

    All three steps go on where they were interrupted. Full: about 9 GB of videos and some hours on two cores.
    """
    try:
        from sonosteer.studies import vla_networks
    except ImportError:
        raise MissingExtraError("study vla-tracking", "torch and transformers", "vla") from None
    from sonosteer.learning.nets.presets import preset
    from sonosteer.studies.vla_tracking_report import write

    preset_name = "tiny" if quick else "edge"
    samples, batch = (96, 8) if quick else (SAMPLES, BATCH)
    folder, nets = out / "data", out / "networks"
    make.make("d-track", out=folder, videos=10 if quick else None, seed=seed, executor=executor, progress=progress)
    data = DataSet(folder)
    trained = {
        network.name: vla_networks.train(
            network,
            data=data,
            folder=nets,
            base=preset(preset_name),
            samples=samples,
            batch=batch,
            seed=seed,
            device="auto",
            progress=progress,
        )
        for network in vla_networks.networks(quick=quick)
    }
    methods = [n for n in trained if not n.startswith(vla_networks.ENCODER)] + [SHIPPED, *CLASSIC]
    entries = [v.entry for v in data.videos("test")]
    todo = [Trial(m, folder, e, nets, preset_name, quick) for m in methods for e in entries]
    question = {"study": "vla-tracking", "seed": seed, "quick": quick, "samples": samples, "batch": batch}
    journal = Journal(out / "trials.jsonl", question)
    try:
        for done in run_missing(run_trial, todo, journal, executor):
            progress("videos tracked", done, len(todo))
    finally:
        journal.close()
    results = {m: {e.name: journal.done[f"{m} | {e.name}"] for e in entries} for m in methods}
    summary = {
        **question,
        "videos": {e.name: to_dict(e) for e in entries},
        "networks": {k: {n: v[n] for n in v if n != "log"} for k, v in trained.items()},
        "versions": versions(),
    }
    summary["table"] = write(out, results, {e.name: e for e in entries}, summary)
    save_json(summary, out / "summary.json")
    return summary
