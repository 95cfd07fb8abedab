"""The training loop on one page: sample, step, average, look at validation crops, save, go on after an interruption.

Batches are drawn from (seed, sample number), so that a stopped training goes on with what it would have seen next, and
ends with the same weights as one that was never stopped (on the same machine and number of threads). accelerate carries
it to one or many GPUs. Every process draws its own share of a batch.
"""

from __future__ import annotations

import json
import math
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError
from sonosteer.datasets.crops import Batch, Sampler
from sonosteer.datasets.videos import BOX_MM
from sonosteer.learning.nets.face import TipNet, TipTarget, pick
from sonosteer.learning.training.options import Device, Precision

CHECKPOINT, LOG = "checkpoint", "log.jsonl"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a network learns."""

    steps: int
    """Number of steps."""
    batch: int = 48
    """Number of samples in a step."""
    lr: float = 1e-4
    """Largest learning rate of AdamW, no unit."""
    shape: Literal["drop", "cosine"] = "drop"
    """drop: a tenth of lr after `drop_after`, as Zhang et al. 2026. cosine: falls to a fiftieth."""
    drop_after: float = 100 / 350
    """Fraction of the steps after which `drop` drops, 0 to 1."""
    warmup: int = 0
    """Number of steps in which the learning rate rises from 0."""
    weight_decay: float = 0.05
    """Weight decay of AdamW, no unit."""
    clip: float = 1.0
    """Largest norm of the gradient, no unit."""
    average: float = 0.0
    """Decay of the running mean of the weights that is kept, 0 to 1. 0: the last weights are kept."""
    save_every: int = 500
    """Number of steps between checkpoints."""
    look_every: int = 500
    """Number of steps between looks at the validation samples."""
    look_samples: int = 256
    """Number of validation samples in a look."""

    def factor(self, step: int) -> float:
        """Of the learning rate."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        done = step / max(self.steps, 1)
        if self.shape == "drop":
            return warm * (0.1 if done >= self.drop_after else 1.0)
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


#: chosen: a few steps of a small batch, to see that a training works
QUICK_SCHEDULE = Schedule(steps=6, batch=4, lr=6e-4, shape="cosine", save_every=3, look_every=3, look_samples=16)


def check_device(device: Device) -> str:
    """What to run on. Raises InputError if CUDA is asked for and absent."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("`device` is cuda, but PyTorch sees no GPU here; use cpu, or install its CUDA build")
    return device


def as_tensors(batch: Batch, device: Any) -> tuple[torch.Tensor, torch.Tensor, TipTarget]:
    """(template, search, target) with grey levels 0..1."""

    def grey(pixels: Any) -> torch.Tensor:
        return torch.from_numpy(pixels).to(device, non_blocking=True).float() / 255

    return grey(batch.template), grey(batch.search), target_of(batch, device)


def target_of(batch: Batch, device: Any) -> TipTarget:
    """What a network should say of a batch."""
    named = (batch.centre, batch.size, batch.visible, batch.present, batch.weight)
    return TipTarget(*(torch.from_numpy(v).to(device, non_blocking=True) for v in named))


@torch.no_grad()
def assess(net: TipNet, sampler: Sampler, samples: int, device: Any, batch: int = 32) -> dict[str, float]:
    """Tip error in mm on crops drawn as in training: of all, and of those whose tip can be seen."""
    was_training = net.training
    net.eval()
    errors, seen = [], []
    for first in range(0, samples, batch):
        template, search, target = as_tensors(sampler.batch(first, min(batch, samples - first)), device)
        cands = net.candidates(net(search, template))
        best = pick(cands.centre, cands.score.argmax(1))
        crop_mm = BOX_MM / target.size[:, 0]
        error = (best - target.centre).norm(dim=1) * crop_mm
        keep = target.present > 0
        errors.append(error[keep].float().cpu().numpy())
        seen.append(target.visible[keep].cpu().numpy() > 0)
    net.train(was_training)
    e, v = np.concatenate(errors), np.concatenate(seen)
    return {
        "mean_mm": float(e.mean()),
        "median_mm": float(np.median(e)),
        "p90_mm": float(np.quantile(e, 0.9)),
        "seen_mean_mm": float(e[v].mean()) if v.any() else 0.0,
    }


class Trainable(Protocol):
    """A network that the loop can train: a torch module with these."""

    def groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for AdamW, each with its `base_lr`."""
        ...


class Objective(Protocol):
    """What the loop does not know of what is learnt: how a batch is drawn, put through, judged."""

    def batch(self, first: int, count: int) -> Any:
        """Samples `first` to `first + count`, the same ones at every call. Called in a thread of its own."""
        ...

    def respond(self, model: Any, batch: Any, device: Any) -> Any:
        """What the (prepared) network makes of a batch."""
        ...

    def loss(self, net: Any, raw: Any, batch: Any, device: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """(loss, its parts by name) of it, in 32 bit."""
        ...

    def assess(self, net: Any, device: Any) -> dict[str, float]:
        """Figures of the validation samples."""
        ...


@dataclass(frozen=True, slots=True)
class TipObjective:
    """Finding a tip in crops."""

    sampler: Sampler
    """Draws the training samples."""
    validation: Sampler
    """Draws the validation samples."""
    look_samples: int
    """Number of validation samples in a look."""

    def batch(self, first: int, count: int) -> Batch:
        """Crops, as drawn."""
        return self.sampler.batch(first, count)

    def respond(self, model: Any, batch: Batch, device: Any) -> dict[str, torch.Tensor]:
        """The network's own maps."""
        template, search, _ = as_tensors(batch, device)
        raw: dict[str, torch.Tensor] = model(search, template)
        return raw

    def loss(
        self, net: TipNet, raw: dict[str, torch.Tensor], batch: Batch, device: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The network's own loss."""
        return net.loss({k: v.float() for k, v in raw.items()}, target_of(batch, device))

    def assess(self, net: TipNet, device: Any) -> dict[str, float]:
        """Tip error in mm."""
        return assess(net, self.validation, self.look_samples, device)


class _Ahead:
    """Draws batches in a thread of its own, two ahead."""

    def __init__(self, objective: Objective, numbers: Iterator[tuple[int, int]]) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(objective, numbers), daemon=True)
        self._thread.start()

    def _run(self, objective: Objective, numbers: Iterator[tuple[int, int]]) -> None:
        item: BaseException = StopIteration()
        try:
            for first, count in numbers:
                self._put(objective.batch(first, count))
                if self._stop.is_set():
                    return
        except Exception as e:  # noqa: BLE001  raised again in the loop's own thread
            item = e
        self._put(item)

    def _put(self, item: Any) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def next(self) -> Any:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def train_tip_network(
    net: TipNet,
    sampler: Sampler,
    validation: Sampler,
    schedule: Schedule,
    out: Path,
    *,
    seed: int,
    device: Device = "auto",
    precision: Precision = "no",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Train a tip network in place. `train_loop` says what it does and returns."""
    objective = TipObjective(sampler, validation, schedule.look_samples)
    return train_loop(net, objective, schedule, out, seed=seed, device=device, precision=precision, progress=progress)


def train_loop(
    net: nn.Module,
    objective: Objective,
    schedule: Schedule,
    out: Path,
    *,
    seed: int,
    device: Device = "auto",
    precision: Precision = "no",
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Train `net`, a `Trainable`, in place: it ends with the weights to keep. Returns what was done.

    Goes on from out/checkpoint where there is one of the same schedule. Ctrl-C saves and raises on.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    accelerator = Accelerator(cpu=check_device(device) == "cpu", mixed_precision=precision)
    set_seed(seed)
    groups = cast(Trainable, net).groups(schedule.lr, schedule.weight_decay)
    trained = sum(p.numel() for g in groups for p in g["params"])
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    mean = None
    if schedule.average:
        decay = get_ema_multi_avg_fn(schedule.average)  # type: ignore[no-untyped-call]
        mean = AveragedModel(net, multi_avg_fn=decay).to(accelerator.device)
        accelerator.register_for_checkpointing(mean)
    model, optimizer = accelerator.prepare(net, optimizer)
    state = _Progress(schedule)
    accelerator.register_for_checkpointing(state)
    _resume(accelerator, out / CHECKPOINT, state)
    own_batch = -(-schedule.batch // accelerator.num_processes)
    lot = own_batch * accelerator.num_processes
    numbers = ((k * lot + accelerator.process_index * own_batch, own_batch) for k in range(state.step, schedule.steps))
    ahead = _Ahead(objective, numbers)
    out.mkdir(parents=True, exist_ok=True)
    log = out / LOG
    log.write_text("".join(json.dumps(line) + "\n" for line in state.log))
    net.train()
    began_s = time.perf_counter() - state.seconds
    try:
        while state.step < schedule.steps:
            batch = ahead.next()
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * schedule.factor(state.step)
            with accelerator.autocast():
                raw = objective.respond(model, batch, accelerator.device)
            loss, parts = objective.loss(net, raw, batch, accelerator.device)
            if not torch.isfinite(loss):
                raise InputError(f"the loss is not finite at step {state.step}: lower the learning rate (--set lr=...)")
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_([p for g in groups for p in g["params"]], schedule.clip)
            optimizer.step()
            if mean is not None:
                mean.update_parameters(net)
            state.note(float(loss.detach()), {k: float(v.detach()) for k, v in parts.items()})
            progress("samples", state.step * lot, schedule.steps * lot)
            last = state.step == schedule.steps
            if (state.step % schedule.look_every == 0 or last) and accelerator.is_main_process:
                averaged = mean is not None and state.step > 200
                looked = mean.module if mean is not None and averaged else net
                line = state.line(lot) | objective.assess(looked, accelerator.device)
                state.seconds = time.perf_counter() - began_s
                line["seconds"] = round(state.seconds, 1)
                state.log.append(line)
                with log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if state.step % schedule.save_every == 0 or last:
                state.seconds = time.perf_counter() - began_s
                _save(accelerator, out / CHECKPOINT)
    except KeyboardInterrupt:
        state.seconds = time.perf_counter() - began_s
        _save(accelerator, out / CHECKPOINT)
        raise
    finally:
        ahead.close()
    accelerator.wait_for_everyone()
    if mean is not None:
        net.load_state_dict(mean.module.state_dict())
    net.eval()
    return {
        "steps": state.step,
        "samples": state.step * lot,
        "seconds": round(state.seconds, 1),
        "trained_parameters": trained,
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "schedule": to_dict(schedule),
        "seed": seed,
        "log": state.log,
    }


class _Progress:
    """Where a training is. Kept in its checkpoints."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.step, self.seconds = to_dict(schedule), 0, 0.0
        self.log: list[dict[str, Any]] = []
        self._recent: list[dict[str, float]] = []

    def note(self, loss: float, parts: dict[str, float]) -> None:
        self.step += 1
        self._recent = [*self._recent[-99:], {"loss": loss, **parts}]

    def line(self, lot: int) -> dict[str, Any]:
        """Mean loss of the last 100 steps, and its parts."""
        names = self._recent[-1]
        means = {k: round(sum(r[k] for r in self._recent) / len(self._recent), 4) for k in names}
        return {"step": self.step, "samples": self.step * lot, **means}

    def state_dict(self) -> dict[str, Any]:
        return {**self.__dict__}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _save(accelerator: Any, folder: Path) -> None:
    """A checkpoint takes the old one's place when it is whole."""
    fresh = folder.with_name(folder.name + ".new")
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def _resume(accelerator: Any, folder: Path, state: _Progress) -> None:
    if not folder.exists():
        return
    accelerator.wait_for_everyone()
    wanted = dict(state.schedule)
    try:
        accelerator.load_state(str(folder))
    except (OSError, RuntimeError, ValueError, KeyError) as e:
        raise InputError(f"{folder} cannot be gone on from ({str(e).splitlines()[0]}); choose another `out`") from None
    if state.schedule != wanted:
        raise InputError(f"{folder} belongs to another schedule; choose another `out`, or remove it")
