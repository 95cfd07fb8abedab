"""Trains an encoder and a tracking network: `sonosteer train encoder`, `sonosteer train tracking`.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), stage 1.

* encoder: the edge preset has no pretrained vision encoder as Qwen2.5-VL has, so its own is trained first, with a
  tracking head and without a register, on scenes (`dataset make d-encoder`).
* tracking: encoder frozen. Register and cross-depth-fusion head learn on `d-track`. The paper's schedule is the
  default (350 epochs, batch 48, AdamW, 1e-4, a tenth after 100 epochs). `--recipe cpu` is chosen for a laptop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.progress import StageProgress

try:
    import torch
except ImportError:
    raise MissingExtraError("training a network", "torch", "vla") from None

from sonosteer.datasets.crops import Augmentation, Sampler
from sonosteer.datasets.videos import DataSet, Video
from sonosteer.learning.checkpoints.graphs import export_onnx
from sonosteer.learning.checkpoints.tracking import (
    WEIGHTS,
    from_qwen,
    load_into,
    read_config,
    read_weights,
    save_pretrained,
    tower_of,
)
from sonosteer.learning.nets.face import TipNet
from sonosteer.learning.nets.presets import TrackingConfig, tracking_preset
from sonosteer.learning.nets.vla import VlaTracker
from sonosteer.learning.training.fit import QUICK_SCHEDULE, Schedule, assess, train_tip_network
from sonosteer.learning.training.options import TrainOptions, changed, flat
from sonosteer.recording.summary import versions

PAPER_EPOCHS, PAPER_BATCH = 350, 48  # Zhang et al. 2026, stage 1
PUBLISHED = Augmentation()
#: chosen: what a laptop or a CI machine trains in about half an hour, from scratch or from an encoder
CPU_SCHEDULE = Schedule(
    steps=2400, batch=24, lr=6e-4, shape="cosine", warmup=100, average=0.998, save_every=300, look_every=300
)


def tracking_schedule(options: TrainOptions, frames: int, *, quick: bool) -> Schedule:
    """The schedule of a recipe. frames: number of frames of the training split, which make an epoch."""
    options.draw_nothing()
    if quick:
        base = QUICK_SCHEDULE
    elif options.recipe == "paper":
        base = Schedule(steps=PAPER_EPOCHS * max(frames // PAPER_BATCH, 1), batch=PAPER_BATCH)
    elif options.recipe == "cpu":
        base = CPU_SCHEDULE
    else:
        raise InputError(f"there is no recipe {options.recipe!r}; there are: paper, cpu")
    return changed(base, options.settings.get("schedule", {}), "schedule")


def samplers_for(
    data: Sequence[DataSet],
    search_px: int,
    template_px: int,
    scale_mm: float,
    seed: int,
    augmentation: Augmentation = PUBLISHED,
) -> tuple[Sampler, Sampler]:
    """(training, validation). The validation crops are drawn alike, without changes of look, from their own split."""
    train: list[Video] = []
    held: list[Video] = []
    for each in data:
        own, looked_at = each.videos("train"), each.videos("validation")
        if not looked_at:  # an encoder's set has none: its last videos are held back
            back = max(len(own) // 16, 1)
            own, looked_at = own[:-back], own[-back:]
        train, held = train + own, held + looked_at
    shape = (search_px, template_px, scale_mm)
    return Sampler(train, *shape, seed, augmentation), Sampler(held, *shape, 10_000 + seed, augmentation.plain())


def model_config(options: TrainOptions, **changes: Any) -> TrackingConfig:
    """The preset with --set model.* and what a stage demands. The tower's shape is its checkpoint's, if it has one."""
    base, asked = tracking_preset(options.preset), {**options.settings.get("model", {}), **changes}
    checkpoint = str(asked.get("checkpoint", base.checkpoint))
    if checkpoint:
        asked["tower"] = tower_of(checkpoint)
    return changed(base, asked, "model")


def train_encoder(
    *, out: Path, seed: int, quick: bool, progress: StageProgress, options: TrainOptions
) -> dict[str, Any]:
    """Stage 0: the whole network without a register, from random weights or from those of another network."""
    if tracking_preset(options.preset).checkpoint:
        raise InputError(
            f"{options.preset} has a pretrained encoder: train its register and head: sonosteer train tracking"
        )
    config = model_config(options, register=0)
    torch.manual_seed(seed)
    net = VlaTracker(config)
    begun: dict[str, Any] = {}
    if options.start is not None:
        begun = take_encoder(net, options.start)
    return _train(
        net, config, stage="encoder", out=out, seed=seed, quick=quick, progress=progress, options=options, begun=begun
    )


def train_tracking(
    *, out: Path, seed: int, quick: bool, progress: StageProgress, options: TrainOptions
) -> dict[str, Any]:
    """Stage 1: register and head on a frozen encoder."""
    config = model_config(options)
    torch.manual_seed(seed)
    begun: dict[str, Any] = {}
    if config.checkpoint:
        net = from_qwen(config)
    else:
        net = VlaTracker(config)
        if options.start is not None:
            begun = take_encoder(net, options.start)
        else:
            raise InputError(
                f"preset {config.preset} has no pretrained encoder: train one (sonosteer train encoder) and name its "
                "folder with --from"
            )
    net.freeze_encoder()
    return _train(
        net,
        net.config,
        stage="tracking",
        out=out,
        seed=seed,
        quick=quick,
        progress=progress,
        options=options,
        begun=begun,
    )


def take_encoder(net: VlaTracker, folder: Path) -> dict[str, Any]:
    """Encoder weights of a saved network, and its head's where the shapes are the same. Returns what it had done."""
    config, about = read_config(folder)
    state = read_weights(folder / WEIGHTS)
    fresh = {k: v for k, v in net.state_dict().items() if k.startswith("head.") or k == "encoder.register"}
    same_head = (
        config.taps == net.config.taps and config.fusion == net.config.fusion and config.space == net.config.space
    )
    alike = {k for k in fresh if same_head and k in state and state[k].shape == fresh[k].shape}
    load_into(net, {**state, **{k: v for k, v in fresh.items() if k not in alike}}, folder / WEIGHTS)
    return {"from": folder.name, "head_kept": bool(alike), "stage0": {k: v for k, v in about.items() if k != "log"}}


def _train(
    net: TipNet,
    config: TrackingConfig,
    *,
    stage: str,
    out: Path,
    seed: int,
    quick: bool,
    progress: StageProgress,
    options: TrainOptions,
    begun: dict[str, Any],
) -> dict[str, Any]:
    from sonosteer.learning.checkpoints.tracking_card import write_card
    from sonosteer.viz.training_plots import plot_training

    if not options.data:
        raise InputError("`data` is missing: make one with sonosteer dataset make")
    data = [DataSet(folder) for folder in options.data]
    augmentation = changed(Augmentation(), options.settings.get("augmentation", {}), "augmentation")
    train, held = samplers_for(data, net.search_px, net.template_px, config.scale_mm, seed, augmentation)
    schedule = tracking_schedule(options, sum(v.entry.frames for v in train.videos), quick=quick)
    done = train_tip_network(
        net,
        train,
        held,
        schedule,
        out,
        seed=seed,
        device=options.device,
        precision=options.precision,
        progress=progress,
    )
    final = assess(net, held, schedule.look_samples, next(net.parameters()).device)
    about = {
        "stage": stage,
        "recipe": "quick" if quick else options.recipe,
        "settings": flat(options.settings),
        "data": {
            "sets": [each.about for each in data],
            "videos": len(train.videos),
            "frames": sum(v.entry.frames for v in train.videos),
        },
        "validation": {k: round(v, 3) for k, v in final.items()},
        **done,
        **begun,
        "quick": quick,
        "machine": versions()["processor"],
        "versions": versions(),
    }
    if isinstance(net, VlaTracker):
        save_pretrained(net, out, {k: v for k, v in about.items() if k != "log"})
        if stage == "tracking" and config.space == "patch":
            progress("writing the ONNX graphs", 0, 1)
            export_onnx(net, out)
    write_card(out, config, about, sum(p.numel() for p in net.parameters()))
    plot_training(done["log"], out / "curves.svg")
    return {k: v for k, v in about.items() if k != "log"}
