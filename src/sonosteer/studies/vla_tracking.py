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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.config import save_json, to_dict
from sonosteer.core.errors import MissingExtraError
from sonosteer.core.types import Estimate, Frame, Hint, Lost, Track
from sonosteer.learning.data import make
from sonosteer.learning.data.videos import BOX_MM, DataSet, Entry, Video
from sonosteer.metrics.success import overlap
from sonosteer.recording.summary import versions
from sonosteer.sim.scenes import make_scene, planned_angles
from sonosteer.studies.journal import Journal, run_missing

Progress = Callable[[str, int, int], None]
SHIPPED, CLASSIC = "vla, shipped", ("auto", "kf+f")
#: ours: samples that every compared network sees; five to ten minutes each on two cores
SAMPLES, BATCH = 8_000, 24


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

    def video(self) -> Video:
        """Frames and labels."""
        return Video(self.data / "videos" / self.entry.name, self.entry)


def follow(trial: Trial, video: Video) -> Iterator[tuple[int, Any, Estimate]]:
    """(frame, the tracker's state, its estimate), from the first frame with a tip on, where the tracker is started."""
    tracker, hint = _tracker(trial, video)
    first = int(frames_with_tip(video)[0])
    x, y = video.tips_px[first].tolist()
    tracker.prepare()
    state = tracker.start(Hint(hint.angle_rad, hint.enters, (x, y)))
    for t in range(first, len(video.tips_px)):
        frame = Frame(np.array(video.frames[t]), t, float(video.times_s[t]), video.spacing)
        state, estimate = tracker.step(state, frame)
        yield t, state, estimate


def frames_with_tip(video: Video) -> NDArray[np.intp]:
    """Numbers of the frames with a tip; figures are of all but the first, whose tip every tracker is told."""
    return np.flatnonzero(~np.isnan(video.tips_px[:, 0]))


def run_trial(trial: Trial) -> dict[str, Any]:
    """Follow the tip through a video; figures of every frame after the first with a tip."""
    video = trial.video()
    tips, mm = video.tips_px, np.array(trial.entry.spacing_mm)
    counted = frames_with_tip(video)
    last = tips[counted[0]] * mm
    counts = set(counted[1:].tolist())
    out: dict[str, list[Any]] = {"error_mm": [], "iou": [], "visible": [], "state": [], "inside": []}
    for t, state, estimate in follow(trial, video):
        if t not in counts:
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
        from sonosteer.studies import vla_film_strip, vla_networks, vla_speed
    except ImportError:
        raise MissingExtraError("study vla-tracking", "torch and transformers", "vla") from None
    from sonosteer.learning.nets.presets import preset
    from sonosteer.studies.vla_tracking_page import write

    preset_name = "tiny" if quick else "edge"
    samples, batch = (96, 8) if quick else (SAMPLES, BATCH)
    folder, nets, base = out / "data", out / "networks", preset(preset_name)
    make.make("d-track", out=folder, videos=10 if quick else None, seed=seed, executor=executor, progress=progress)
    data = DataSet(folder)
    trained = {
        network.name: vla_networks.train(
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
        for network in vla_networks.networks(quick=quick)
    }
    methods = [n for n in trained if not n.startswith(vla_networks.ENCODER)] + [SHIPPED, *CLASSIC]
    entries = {v.entry.name: v.entry for v in data.videos("test")}
    todo = {m: {e.name: Trial(m, folder, e, nets, preset_name, quick) for e in entries.values()} for m in methods}
    question = {"study": "vla-tracking", "seed": seed, "quick": quick, "samples": samples, "batch": batch}
    results = _track(todo, Journal(out / "trials.jsonl", question), executor, progress)
    summary = {
        **question,
        "videos": {name: to_dict(e) for name, e in entries.items()},
        "networks": {k: {n: v[n] for n in v if n != "log"} for k, v in trained.items()},
        "versions": versions(),
        "film_strip": vla_film_strip.write(out / vla_film_strip.FILE, results, todo, executor, progress),
        "speed": vla_speed.measure(vla_speed.load_all(base, nets, quick=quick), progress),
    }
    summary["table"] = write(out, results, entries, summary)
    save_json(summary, out / "summary.json")
    return summary


def _track(
    todo: Mapping[str, Mapping[str, Trial]], journal: Journal, executor: str, progress: Progress
) -> dict[str, dict[str, Any]]:
    """method -> video -> what `run_trial` says; trials that the journal has are not run again."""
    trials = [trial for by_video in todo.values() for trial in by_video.values()]
    try:
        for done in run_missing(run_trial, trials, journal, executor):
            progress("videos tracked", done, len(trials))
    finally:
        journal.close()
    return {m: {name: journal.done[t.name] for name, t in by_video.items()} for m, by_video in todo.items()}
