"""What a frozen tracker's encoder sees of every moment, computed once and kept in 16 bit in a training's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonosteer.core.arrays import F16
from sonosteer.core.errors import InputError
from sonosteer.datasets.demonstrations import SampleRef, pair_at
from sonosteer.learning.checkpoints.tracking import WEIGHTS, from_pretrained
from sonosteer.learning.nets.policy_presets import TrackerTokens
from sonosteer.learning.nets.vla import VlaTracker
from sonosteer.recording.tables import writing_failed

ENCODER_BATCH = 32


def seen_by(net: VlaTracker) -> TrackerTokens:
    """Shape of what a tracker hands over."""
    tower = net.config.tower
    side = net.config.search_px // tower.patch
    return TrackerTokens((side, side), net.config.register, tower.width, tower.merge)


def weights_fingerprint(folder: Path) -> str:
    """Of a tracker's weights: features of other weights are another language."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:16]


def kept_features(
    tracker: Path, places: Sequence[SampleRef], path: Path, progress: Callable[[str, int, int], None]
) -> tuple[F16, TrackerTokens]:
    """(moments, N + L, width), mapped from `path`, where they are computed unless they are there already.

    Features that were recorded are taken as they are where an episode has no frames. Raises InputError where they do
    not fit the tracker.
    """
    net = from_pretrained(tracker)
    shape = seen_by(net)
    names = [f"{p.episode.folder}:{p.k}" for p in places]
    made_of = hashlib.sha256("\n".join([weights_fingerprint(tracker), *names]).encode()).hexdigest()
    note = path.with_suffix(".json")
    if note.exists() and path.exists() and json.loads(note.read_text()).get("made_of") == made_of:
        whole: F16 = np.load(path, mmap_mode="r")
        return whole, shape
    note.unlink(missing_ok=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        out = np.lib.format.open_memmap(path, "w+", np.float16, (len(places), *shape.shape))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        net = net.to(device)
        for first in range(0, len(places), ENCODER_BATCH):
            some = places[first : first + ENCODER_BATCH]
            out[first : first + len(some)] = _of(net, some, shape, device)
            progress("moments seen by the encoder", min(first + ENCODER_BATCH, len(places)), len(places))
        out.flush()
        note.write_text(json.dumps({"made_of": made_of, "tracker": tracker.name}) + "\n")
    except OSError as e:
        raise writing_failed(path, e, "nothing was trained") from None
    return np.load(path, mmap_mode="r"), shape


def _of(net: VlaTracker, places: Sequence[SampleRef], shape: TrackerTokens, device: str) -> NDArray[np.floating]:
    out = np.empty((len(places), *shape.shape), np.float16)
    pairs = [k for k, p in enumerate(places) if p.episode.frames is not None]
    if pairs:
        crops = np.stack([pair_at(places[k], net.search_px, net.config.scale_mm) for k in pairs])
        with torch.no_grad():
            out[pairs] = net.features(torch.from_numpy(crops).to(device).float() / 255).cpu().numpy()
    for k in set(range(len(places))) - set(pairs):
        recorded = places[k].episode.features
        if recorded is None or recorded.shape[1:] != shape.shape:
            what = "neither frames nor features" if recorded is None else f"features of {recorded.shape[1:]}"
            raise InputError(
                f"{places[k].episode.folder} has {what}; the tracker's are {shape.shape}: make the set again"
            )
        out[k] = recorded[places[k].k]
    return out
