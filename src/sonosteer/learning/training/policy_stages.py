"""Trains a policy on demonstrations, whole or by low-rank adaptation: `sonosteer train policy`.

Source: Zhang et al. 2026 (full reference in `studies/vla_tracking/run.py`), stage 2.

* whole: the edge preset's language model has no pretraining, so it and its aligner are first trained on demonstrations,
  on the features of a tracker (`--set model.tracker=FOLDER`, or the model that ships). The paper does not do it.
* lora: the paper's stage 2: adapters on language model and aligner only, one epoch, batch 16, cosine from 1e-4. It
  starts from a trained policy (`--from FOLDER`), or from a published Qwen2.5-VL (`--preset qwen3b`).

Vision encoder, register and tracking head are read, never written: their features are computed once, beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.core.config import from_dict
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.progress import StageProgress

try:
    import torch
except ImportError:
    raise MissingExtraError("training a network", "torch", "vla") from None

from sonosteer.datasets.demonstrations import SOME_DOUBT, Demonstrations, Doubt, samples_with_tip
from sonosteer.datasets.insertions import InsertionSet, RecordedEpisode
from sonosteer.inference.onnx_graphs import model_folder
from sonosteer.learning.checkpoints.policy import export_policy, fresh_policy, load_policy, save_policy
from sonosteer.learning.checkpoints.tokenizer import Language
from sonosteer.learning.nets.action_tokens import Decode
from sonosteer.learning.nets.policy import PolicyNet
from sonosteer.learning.nets.policy_presets import policy_preset
from sonosteer.learning.training import lora
from sonosteer.learning.training.features import kept_features, seen_by, weights_fingerprint
from sonosteer.learning.training.fit import QUICK_SCHEDULE, Schedule, train_loop
from sonosteer.learning.training.options import TrainOptions
from sonosteer.learning.training.policy_objective import PolicyObjective, assess_policy
from sonosteer.recording.summary import versions

LORA_BATCH, LORA_LR = 16, 1e-4  # Zhang et al. 2026, stage 2
#: chosen: whole training from random weights, so many epochs over the demonstrations
WHOLE_SCHEDULE = Schedule(steps=0, batch=32, lr=1e-3, shape="cosine", warmup=100, save_every=300, look_every=300)
WHOLE_EPOCHS = 12


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What --set model.NAME can say of a policy."""

    tracker: str = "edge"
    """Shipped model or folder of the tracker whose features are read."""
    decode: Decode = "parallel"
    """parallel: all numbers at once. ar: one after the other. text: as characters."""
    method: str = ""
    """whole or lora. Empty: lora from a trained policy or a published model, else whole."""
    rank: int = 16
    """Rank of the adapters: number of columns."""
    stop_weight: float = 8.0
    """Weight of a sample that stops in the loss of [STOP], no unit. Chosen: one in some two hundred stops."""
    doubt: Doubt = SOME_DOUBT
    """What is hidden from the learner or blurred."""
    checkpoint: str = ""
    """Qwen2.5-VL checkpoint to begin with. Empty: the preset's."""

    def __post_init__(self) -> None:
        if self.method not in ("", "whole", "lora"):
            raise InputError(f"model: method is {self.method!r}; whole and lora are possible")
        if self.rank < 1 or not self.stop_weight > 0:
            raise InputError(f"model: rank is {self.rank}, stop_weight {self.stop_weight}; both must be more than 0")


def train_policy(
    *, out: Path, seed: int, quick: bool, progress: StageProgress, options: TrainOptions
) -> dict[str, Any]:
    """Stage "policy". Returns what was done, which also stands in the policy's config.json and card."""
    from sonosteer.learning.checkpoints.policy_card import write_policy_card
    from sonosteer.viz.training_plots import plot_policy

    options.draw_nothing()
    settings = from_dict(PolicySettings, options.settings.get("model", {}), "model")
    if not options.data:
        raise InputError("`data` is missing: make one with sonosteer dataset make d-insert")
    sets = [InsertionSet(folder) for folder in options.data]
    train, held = split(sets)
    tracker = model_folder(settings.tracker)
    torch.manual_seed(seed)
    places, looked_at = samples_with_tip(train), samples_with_tip(held)
    features, shape = kept_features(tracker, [*places, *looked_at], out / "features.npy", progress)
    net, language, begun = _begin(options, settings, tracker)
    if net.config.features != shape:
        raise InputError(f"the policy reads features {net.config.features}, the tracker {tracker} hands over {shape}")
    method = settings.method or ("lora" if begun or net.config.checkpoint else "whole")
    if method == "lora":
        lora.adapt(net, settings.rank, new=not begun)
    objective = PolicyObjective(
        Demonstrations(places, features[: len(places)], language.encode, seed, settings.doubt),
        Demonstrations(looked_at, features[len(places) :], language.encode, seed),
        settings.stop_weight,
    )
    schedule = policy_schedule(options, len(places), method=method, quick=quick)
    if begun:
        begun["validation_here"] = _rounded(assess_policy(net, objective.held, _device(net)))
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
    adapter = lora.adapter_of(net)
    if method == "lora":
        lora.merge(net)
    about = {
        "stage": "policy",
        "method": method,
        "recipe": "quick" if quick else options.recipe,
        "settings": dataclasses.asdict(settings),
        "tracker": {"name": tracker.name, "fingerprint": weights_fingerprint(tracker)},
        "data": {"sets": [s.about for s in sets], "episodes": len(train), "moments": len(places)},
        "validation": _rounded(assess_policy(net, objective.held, _device(net))),
        "adapter_parameters": sum(v.numel() for v in adapter.values()),
        **{k: v for k, v in done.items() if k != "log"},
        **({"from": begun} if begun else {}),
        "quick": quick,
        "machine": versions()["processor"],
        "versions": versions(),
    }
    _write(net, language, out, about, adapter, progress)
    write_policy_card(out, net.config, about, sum(p.numel() for p in net.parameters()))
    plot_policy(done["log"], out / "curves.svg")
    return about


def split(sets: Sequence[InsertionSet]) -> tuple[list[RecordedEpisode], list[RecordedEpisode]]:
    """(training, validation) episodes. Where a set has none for validation, its last training ones are held back.

    A set of validation scenes alone is one to adapt to: its last quarter is held back.
    """
    train: list[RecordedEpisode] = []
    held: list[RecordedEpisode] = []
    for each in sets:
        own, looked_at = each.episodes("train"), each.episodes("validation")
        if not looked_at and len(own) > 1:
            back = max(len(own) // 16, 1)
            own, looked_at = own[:-back], own[-back:]
        elif not own and len(looked_at) > 1:
            back = max(len(looked_at) // 4, 1)
            own, looked_at = looked_at[:-back], looked_at[-back:]
        train, held = train + own, held + looked_at
    return train, held


def policy_schedule(options: TrainOptions, samples: int, *, method: str, quick: bool) -> Schedule:
    """The schedule of a method: the paper's for adapters, a chosen one for a whole policy.

    samples: number of samples in an epoch.
    """
    if options.recipe not in ("paper", "cpu"):
        raise InputError(f"there is no recipe {options.recipe!r}; there are: paper, cpu")
    asked = dict(options.settings.get("schedule", {}))
    batch = int(asked.get("batch", WHOLE_SCHEDULE.batch if method == "whole" else LORA_BATCH))
    epochs = WHOLE_EPOCHS if method == "whole" else 1
    steps = max(epochs * samples // max(batch, 1), 1)
    if quick:
        base = QUICK_SCHEDULE
    elif method == "whole":
        # a running mean over weights that are still random would be worse than the last ones
        base = dataclasses.replace(WHOLE_SCHEDULE, steps=steps, average=0.995 if steps >= 2000 else 0.0)
    else:
        base = Schedule(steps=steps, batch=LORA_BATCH, lr=LORA_LR, shape="cosine", save_every=300, look_every=100)
    known = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    return from_dict(Schedule, known | asked, "schedule")


def _begin(
    options: TrainOptions, settings: PolicySettings, tracker: Path
) -> tuple[PolicyNet, Language, dict[str, Any]]:
    """(policy to train, its language, what the one it begins from had done)."""
    if options.start is not None:
        net, language, about = load_policy(options.start)
        before = about.get("tracker", {}).get("fingerprint")
        if before != weights_fingerprint(tracker):
            raise InputError(
                f"{options.start} was trained on the features of another tracker than {tracker}: name that one with "
                "--set model.tracker=FOLDER"
            )
        return net, language, {"name": options.start.name, **{k: v for k, v in about.items() if k != "from"}}
    from sonosteer.learning.checkpoints.tracking import from_pretrained

    base = policy_preset(options.preset)
    checkpoint = settings.checkpoint or base.checkpoint
    config = dataclasses.replace(
        base, features=seen_by(from_pretrained(tracker)), decode=settings.decode, checkpoint=checkpoint
    )
    net, language = fresh_policy(config)
    return net, language, {}


def _write(
    net: PolicyNet,
    language: Language,
    out: Path,
    about: dict[str, Any],
    adapter: dict[str, torch.Tensor],
    progress: StageProgress,
) -> None:
    from safetensors.torch import save_file

    save_policy(net, language, out, about)
    if adapter:
        save_file(adapter, out / "adapter.safetensors", metadata={"format": "pt"})
    if net.config.decode == "parallel" and not net.config.checkpoint:
        progress("writing the ONNX graphs", 0, 1)
        export_policy(net.float(), out)


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {k: round(v, 4) for k, v in figures.items()}


def _device(net: PolicyNet) -> torch.device:
    return next(net.parameters()).device
