"""One trial of the study: one method on one video, followed from the first frame with a tip on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.types import Estimate, Frame, Hint, Lost, Track
from sonosteer.datasets.videos import BOX_MM, Entry, Video
from sonosteer.metrics.success import overlap
from sonosteer.sim.scenes import make_scene, planned_angles

#: the published network, trained here, the model that ships, and trackers without a network
OUR_NETWORK, SHIPPED_MODEL, CLASSIC = "vla", "vla, shipped", ("auto", "kf+f")
#: method -> video -> what `run_vla_tracking_trial` says of it
VlaTrackingResults = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class VlaTrackingTrial:
    """One method on one video."""

    method: str
    """Name of the method in the tables."""
    data: Path
    """Folder of the data set."""
    entry: Entry
    """Which video."""
    networks: Path
    """Folder of the trained networks."""
    preset: str
    """Preset that gives the size of their crops."""
    quick: bool
    """Whether the networks are those of a quick run."""

    @property
    def name(self) -> str:
        """Method and video."""
        return f"{self.method} | {self.entry.name}"

    def video(self) -> Video:
        """Frames and labels."""
        return Video(self.data / "videos" / self.entry.name, self.entry)


def follow_video(trial: VlaTrackingTrial, video: Video) -> Iterator[tuple[int, Any, Estimate]]:
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
    """Numbers of the frames with a tip. Figures are of all but the first, whose tip every tracker is told."""
    return np.flatnonzero(~np.isnan(video.tips_px[:, 0]))


def run_vla_tracking_trial(trial: VlaTrackingTrial) -> dict[str, Any]:
    """Follow the tip through a video. Figures of every frame after the first with a tip."""
    video = trial.video()
    tips, mm = video.tips_px, np.array(trial.entry.spacing_mm)
    counted = frames_with_tip(video)
    last = tips[counted[0]] * mm
    counts = set(counted[1:].tolist())
    out: dict[str, list[Any]] = {"error_mm": [], "iou": [], "visible": [], "state": [], "inside": []}
    for t, _, estimate in follow_video(trial, video):
        if t not in counts:
            continue
        truth = tips[t] * mm
        said = None if isinstance(estimate, Lost) else np.array(estimate.tip_px) * mm
        last = last if said is None else said
        box = _box_size(estimate, mm)
        iou = 0.0 if said is None else float(overlap(_box(said, box), _box(truth, np.array([BOX_MM, BOX_MM]))))
        out["error_mm"].append(round(float(np.linalg.norm(last - truth)), 3))
        out["iou"].append(round(iou, 4))
        out["visible"].append(int(video.visible[t]))
        out["state"].append({Track.TRACKING: 2, Track.COASTING: 1, Track.LOST: 0}[estimate.state])
        out["inside"].append(None if isinstance(estimate, Lost) else _inside(estimate, (said - truth)))
    return out


def _box_size(estimate: Estimate, mm: Any) -> Any:
    """Width and height of the claimed box, mm, (2,). That of the data set where none was claimed."""
    if not isinstance(estimate, Lost) and estimate.box_px is not None:
        left, top, right, bottom = estimate.box_px
        size = np.array([right - left, bottom - top]) * mm
        if size.min() > 0:
            return size
    return np.array([BOX_MM, BOX_MM])


def _box(centre_mm: Any, size_mm: Any) -> Any:
    return np.concatenate([centre_mm - size_mm / 2, centre_mm + size_mm / 2])


def _inside(estimate: Any, error_mm: Any) -> int:
    """1 where the truth lies in the 95 % ellipse."""
    c, s = math.cos(estimate.angle_rad), math.sin(estimate.angle_rad)
    e = np.array([[c, s], [-s, c]]) @ error_mm
    return int(float(e @ np.linalg.solve(estimate.covariance_mm2, e)) < 5.991)


def _tracker(trial: VlaTrackingTrial, video: Video) -> tuple[Any, Hint]:
    """(tracker, what it may know beside the tip: the planned angle for kf+f, which needs one)."""
    from sonosteer.trackers.table import make_tracker
    from sonosteer.trackers.vla import VlaTipTracker

    if trial.method == SHIPPED_MODEL:
        return VlaTipTracker(), Hint()
    if trial.method in CLASSIC:
        setup, _, seed = trial.entry.source.partition("#")
        scene = make_scene(setup, int(seed), mode=trial.entry.mode)
        return make_tracker(trial.method), Hint(planned_angles(scene)) if trial.method == "kf+f" else Hint()
    import torch

    from sonosteer.learning.checkpoints.torch_tip_network import TorchNetwork
    from sonosteer.learning.nets.presets import tracking_preset
    from sonosteer.studies.vla_tracking import networks

    torch.set_num_threads(1)
    base = tracking_preset(trial.preset)
    network = next(n for n in networks.networks(quick=trial.quick) if n.name == trial.method)
    trained = networks.load_study_network(network, base, trial.networks)
    return VlaTipTracker(network=TorchNetwork(trained, base.scale_mm)), Hint()
