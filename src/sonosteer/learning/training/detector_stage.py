"""Trains the needle detector: `sonosteer train detector`.

None of this is published. Stills of the set-up `in-the-wild` are drawn first and stored in the folder (or in --data, so
that several trainings share them). Then the network learns from samples cut out of them. Validation stills come from
their own split: other seeds, other directions of the fibres.

* recipe cpu: hours on two cores. chosen: what a person leaves running overnight at most.
* recipe paper: five times the stills, nine times the samples, for a GPU.

The first samples are smaller than the network's own size: most of what is learnt does not need fine pictures.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.progress import StageProgress

try:
    import torch
except ImportError:
    raise MissingExtraError("training a network", "torch", "vla") from None

from sonosteer.datasets.detector_samples import (
    PLAIN_LOOK,
    DetectorAugmentation,
    DetectorBatch,
    DetectorSampler,
)
from sonosteer.datasets.make_stills import draw_stills
from sonosteer.datasets.own_stills import drawn_places, joined_stills, labelled_stills
from sonosteer.datasets.stills import load_stills
from sonosteer.datasets.videos import INDEX
from sonosteer.imaging.detector_planes import CELL_PX, STEP_PX
from sonosteer.inference.needle_detector import RIGHT_WITHIN, WRONG_BEYOND
from sonosteer.learning.checkpoints.detector import save_detector, take_weights
from sonosteer.learning.checkpoints.detector_card import write_detector_card
from sonosteer.learning.nets.dense_detector import DenseDetector, DetectorConfig, detector_loss
from sonosteer.learning.training.detector_calibration import calibrate_detector
from sonosteer.learning.training.fit import QUICK_SCHEDULE, Schedule, train_loop
from sonosteer.learning.training.options import TrainOptions, changed, flat
from sonosteer.recording.summary import versions
from sonosteer.sim.setups import Split

AT_ONCE = 32  # stills put through the network at once while it is judged


@dataclass(frozen=True, slots=True)
class DetectorStills:
    """Which stills are drawn, in shards of `make_stills.SHARD` stills, and how large they are shown."""

    train_shards: int
    """Number of shards of training stills."""
    validation_shards: int = 9
    """Number of shards of validation stills."""
    first: int = 0
    """Number of the first shard of training stills. A training that goes on from weights can learn from others."""
    begin_px: int = 224
    """Side of the first samples, px. A multiple of 32."""
    begun: float = 0.7
    """Fraction of the samples that have this side, 0 to 1. The others have the network's own."""
    own: float = 0.5
    """Fraction of the samples that are own labelled frames, if there are any, between 0 and 1."""

    def __post_init__(self) -> None:
        if self.train_shards < 1 or self.validation_shards < 1 or self.first < 0:
            raise InputError("stills.train_shards and validation_shards must be 1 or more, and stills.first 0 or more")
        if self.begin_px < STEP_PX or self.begin_px % STEP_PX:
            raise InputError(f"stills.begin_px is {self.begin_px}, but must be a multiple of {STEP_PX}")


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How much is drawn and how long is learnt."""

    stills: DetectorStills
    """Which stills are learnt from."""
    schedule: Schedule
    """How long and how fast is learnt."""


COSINE = Schedule(steps=19000, batch=16, lr=2e-3, shape="cosine", warmup=200, average=0.999, look_every=1000)
DETECTOR_RECIPES = {
    "cpu": DetectorRecipe(DetectorStills(300), COSINE),
    "paper": DetectorRecipe(
        DetectorStills(1500, begun=0.4),
        dataclasses.replace(COSINE, steps=80000, batch=64, warmup=500, save_every=1000),
    ),
}
QUICK_RECIPE = DetectorRecipe(
    DetectorStills(1, 1, begin_px=64, begun=0.5), dataclasses.replace(QUICK_SCHEDULE, lr=2e-3)
)


@dataclass(frozen=True, slots=True)
class DetectorObjective:
    """Finding needles in whole pictures."""

    sampler: DetectorSampler
    """Draws the training samples."""
    validation: DetectorSampler
    """Draws the validation samples: whole stills as they are."""
    look_samples: int
    """Number of validation samples in a look."""

    def batch(self, first: int, count: int) -> DetectorBatch:
        """Samples, as drawn."""
        return self.sampler.batch(first, count)

    def respond(self, model: Any, batch: DetectorBatch, device: Any) -> torch.Tensor:
        """The network's answers."""
        planes = torch.from_numpy(batch.planes).to(device, non_blocking=True)
        answers: torch.Tensor = model(planes.contiguous(memory_format=torch.channels_last))
        return answers

    def loss(
        self, net: Any, raw: torch.Tensor, batch: DetectorBatch, device: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """`detector_loss` in 32 bit."""
        return detector_loss(raw.float(), batch)

    def assess(self, net: DenseDetector, device: Any) -> dict[str, float]:
        """How often the strongest answer is the tip, on validation stills whose tip a person could see."""
        return assess_detector(net, self.validation, self.look_samples, device)


@torch.no_grad()
def assess_detector(net: DenseDetector, sampler: DetectorSampler, samples: int, device: Any) -> dict[str, float]:
    """Fraction of tips found right by the strongest answer, and how well its strength tells needles from none."""
    was_training = net.training
    net.eval()
    errors, seen, peaks = [], [], []
    for first in range(0, samples, AT_ONCE):
        batch = sampler.batch(first, min(AT_ONCE, samples - first))
        answers = net(torch.from_numpy(batch.planes).to(device)).float().cpu().numpy()
        for k in range(len(answers)):
            r, c = np.unravel_index(int(answers[k, 1].argmax()), answers.shape[2:])
            place = np.array([c + answers[k, 2, r, c], r + answers[k, 3, r, c]])
            errors.append(float(np.linalg.norm(place - batch.tip[k])))
            seen.append(bool(batch.visible[k]))
            peaks.append(float(answers[k, 1, r, c]))
    if was_training:
        net.train()
    e, v, p = np.array(errors) * CELL_PX / sampler.side_px, np.array(seen), np.array(peaks)
    present, absent = p[v], p[~v & ~np.isfinite(e)]
    return {
        "right": float((e[v] < RIGHT_WITHIN).mean()) if v.any() else 0.0,
        "near": float((e[v] < WRONG_BEYOND).mean()) if v.any() else 0.0,
        "told_apart": float((present[:, None] > absent).mean()) if len(present) and len(absent) else 0.0,
    }


def train_detector(
    *, out: Path, seed: int, quick: bool, progress: StageProgress, options: TrainOptions
) -> dict[str, Any]:
    """Draw stills, train, save weights, graph, card and curves.

    `options.data`: folder of the stills, else out/stills, and data sets of own labelled frames, which are drawn beside
    them. `options.start`: a detector whose weights are taken. Raises InputError for settings that do not exist, and for
    more than one folder of stills.
    """
    from sonosteer.viz.training_plots import plot_detector, plot_reliability

    recipe = QUICK_RECIPE if quick else _recipe(options)
    config = _config(options)
    augmentation = changed(DetectorAugmentation(), options.settings.get("augmentation", {}), "augmentation")
    schedule = changed(recipe.schedule, options.settings.get("schedule", {}), "schedule")
    stills = changed(recipe.stills, options.settings.get("stills", {}), "stills")
    own = [path for path in options.data if (path / INDEX).exists()]
    drawn = [path for path in options.data if path not in own]
    if len(drawn) > 1:
        raise InputError(
            "--data names more than one folder of stills: name one, where they are or shall be, and any data sets"
        )
    labelled = labelled_stills(own) if own else None
    torch.manual_seed(seed)
    net = DenseDetector(config)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # in place; torch does not declare it
    begun = {} if options.start is None else take_weights(net, options.start)
    folder = drawn[0] if drawn else out / "stills"
    shards = range(stills.first, stills.first + stills.train_shards), range(stills.validation_shards)
    splits: tuple[Split, Split] = ("train", "validation")
    for split, wanted in zip(splits, shards, strict=True):
        draw_stills(folder, split, wanted, executor=options.executor, progress=progress)
    train, held = load_stills(folder, "train", shards[0]), load_stills(folder, "validation", shards[1])
    simulated, places = len(train), None
    if labelled is not None:
        places = drawn_places(simulated, len(labelled), stills.own)
        train = joined_stills(train, labelled)
    objective = DetectorObjective(
        DetectorSampler(
            train,
            config.side_px,
            seed,
            augmentation,
            begin_px=stills.begin_px,
            begun=round(stills.begun * schedule.steps) * schedule.batch,
            places=places,
        ),
        DetectorSampler(held, config.side_px, seed, PLAIN_LOOK),
        min(schedule.look_samples, len(held)),
    )
    done = train_loop(
        net,
        objective,
        schedule,
        out,
        seed=seed,
        device=options.device,
        precision=options.precision,
        progress=progress,
    )
    device = next(net.parameters()).device
    final = assess_detector(net, objective.validation, len(held), device)
    single = DetectorSampler(held, config.side_px, seed, dataclasses.replace(PLAIN_LOOK, alone=1.0))
    final["right_alone"] = assess_detector(net, single, len(held), device)["right"]
    about = {
        "stage": "detector",
        "recipe": "quick" if quick else options.recipe,
        "settings": flat(options.settings),
        "data": {"stills": simulated, "validation_stills": len(held), "labelled": len(train) - simulated},
        "validation": {k: round(v, 4) for k, v in final.items()},
        **done,
        **begun,
        "quick": quick,
        "machine": versions()["processor"],
        "versions": versions(),
    }
    log = about.pop("log")
    save_detector(net, out, about)
    reliability = calibrate_detector(out, held, seed, progress)
    plot_reliability(reliability, out / "reliability.svg")
    write_detector_card(out, config, about, sum(p.numel() for p in net.parameters()))
    plot_detector(log, out / "curves.svg")
    return about


def _recipe(options: TrainOptions) -> DetectorRecipe:
    if options.recipe not in DETECTOR_RECIPES:
        raise InputError(f"there is no recipe {options.recipe!r}; there are: {', '.join(DETECTOR_RECIPES)}")
    return DETECTOR_RECIPES[options.recipe]


def _config(options: TrainOptions) -> DetectorConfig:
    base = DetectorConfig()
    if options.preset != base.preset:
        raise InputError(f"there is no detector of preset {options.preset!r}; there is one: {base.preset}")
    return changed(base, options.settings.get("model", {}), "model")
