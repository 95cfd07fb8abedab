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
NEW, OLD = ".new", ".old"  # what a checkpoint is called while it takes the old one's place


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
    settled: float = 0.0
    """Fraction of the steps, the last ones, in which norms keep their mean and deviation as at run time, 0 to 1."""
    average: float = 0.0
    """Decay of the running mean of the weights that is kept, 0 to 1. 0: the last weights are kept."""
    save_every: int = 500
    """Number of steps between checkpoints."""
    look_every: int = 500
    """Number of steps between looks at the validation samples."""
    look_samples: int = 256
    """Number of validation samples in a look."""

    def __post_init__(self) -> None:
        if not 0 <= self.settled <= 1:
            raise InputError(f"schedule.settled is {self.settled}, but must be between 0 and 1")

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
    """Train `net`, a `Trainable`, in place. It ends with the weights to keep. Returns what was done.

    Goes on from out/checkpoint if there is one of the same schedule. Ctrl-C saves and is raised again.
    """
    training = _Training(net, objective, schedule, out, seed=seed, device=device, precision=precision)
    ahead = _Ahead(objective, training.numbers())
    training.begin()
    torch.set_flush_denormal(True)  # tiny numbers of a fresh optimiser slow a CPU down by a third
    try:
        while not training.over:
            training.learn(ahead.next())
            progress("samples", training.state.step * training.lot, schedule.steps * training.lot)
            if training.due(schedule.look_every):
                training.look()
            if training.due(schedule.save_every):
                training.save()
    except KeyboardInterrupt:
        if not training.halfway:  # else the last checkpoint stays
            training.save()
        raise
    finally:
        torch.set_flush_denormal(False)  # it belongs to the processor's thread, and others do arithmetic there
        ahead.close()
    return training.finish()


class _Training:
    """A training under way: network, optimiser, running mean of the weights, and where it is."""

    def __init__(
        self,
        net: nn.Module,
        objective: Objective,
        schedule: Schedule,
        out: Path,
        *,
        seed: int,
        device: Device,
        precision: Precision,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import set_seed

        self.net, self.objective, self.schedule, self.out = net, objective, schedule, out
        self.seed, self.precision = seed, precision
        AcceleratorState._reset_state()  # else an earlier training of this process forbids another precision
        self.accelerator = Accelerator(cpu=check_device(device) == "cpu", mixed_precision=precision)
        set_seed(seed)
        self.groups = cast(Trainable, net).groups(schedule.lr, schedule.weight_decay)
        optimizer = torch.optim.AdamW(self.groups, betas=(0.9, 0.98))
        self.mean: AveragedModel | None = None
        if schedule.average:
            decay = get_ema_multi_avg_fn(schedule.average)  # type: ignore[no-untyped-call]
            self.mean = AveragedModel(net, multi_avg_fn=decay).to(self.accelerator.device)
            self.accelerator.register_for_checkpointing(self.mean)
        self.model, self.optimizer = self.accelerator.prepare(net, optimizer)
        self.state = _Progress(schedule)
        self.accelerator.register_for_checkpointing(self.state)
        _resume(self.accelerator, out / CHECKPOINT, self.state)
        self.own_batch = -(-schedule.batch // self.accelerator.num_processes)
        self.lot = self.own_batch * self.accelerator.num_processes
        self.began_s = 0.0
        self.halfway = False

    def numbers(self) -> Iterator[tuple[int, int]]:
        """(first sample, how many) of this process in each step that is left."""
        own, at = self.own_batch, self.accelerator.process_index
        return ((k * self.lot + at * own, own) for k in range(self.state.step, self.schedule.steps))

    def begin(self) -> None:
        """Write the log as far as it goes, and start the clock."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / LOG).write_text("".join(json.dumps(line) + "\n" for line in self.state.log))
        self.net.train()
        self.began_s = time.perf_counter() - self.state.seconds

    @property
    def over(self) -> bool:
        """Whether all steps are done."""
        return self.state.step >= self.schedule.steps

    def due(self, every: int) -> bool:
        """Whether something that is done every so many steps, and at the end, is done now."""
        return self.state.step % every == 0 or self.over

    def learn(self, batch: Any) -> None:
        """One step of the optimiser. Raises InputError if the loss is no number."""
        device = self.accelerator.device
        if self.state.step >= (1 - self.schedule.settled) * self.schedule.steps:
            _settle(self.net)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * self.schedule.factor(self.state.step)
        with self.accelerator.autocast():
            raw = self.objective.respond(self.model, batch, device)
        loss, parts = self.objective.loss(self.net, raw, batch, device)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is not finite at step {self.state.step}: lower the learning rate (--set lr=...)"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_([p for g in self.groups for p in g["params"]], self.schedule.clip)
        figures = float(loss.detach()), {k: float(v.detach()) for k, v in parts.items()}
        self.halfway = True  # some weights have taken the step, and others have not
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update_parameters(self.net)
        self.state.note(*figures)
        self.halfway = False

    def look(self) -> None:
        """Judge the network on validation samples, and log it."""
        if not self.accelerator.is_main_process:
            return
        # the running mean of the first steps is still close to the random weights
        looked = self.mean.module if self.mean is not None and self.state.step > 200 else self.net
        line = self.state.line(self.lot) | self.objective.assess(looked, self.accelerator.device)
        self.state.seconds = time.perf_counter() - self.began_s
        line["seconds"] = round(self.state.seconds, 1)
        self.state.log.append(line)
        with (self.out / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write a checkpoint."""
        self.state.seconds = time.perf_counter() - self.began_s
        _save(self.accelerator, self.out / CHECKPOINT)

    def finish(self) -> dict[str, Any]:
        """Give the network the weights to keep. Returns what was done."""
        self.accelerator.wait_for_everyone()
        # mixed precision was wrapped round the network's own forward pass, and would be exported with it
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        if self.mean is not None:
            self.net.load_state_dict(self.mean.module.state_dict())
        self.net.eval()
        return {
            "steps": self.state.step,
            "samples": self.state.step * self.lot,
            "seconds": round(self.state.seconds, 1),
            "trained_parameters": sum(p.numel() for g in self.groups for p in g["params"]),
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "schedule": to_dict(self.schedule),
            "seed": self.seed,
            "log": self.state.log,
        }


def _settle(net: nn.Module) -> None:
    """Let norms use the mean and deviation that they have seen so far, as they will at run time."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


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
    fresh = folder.with_name(folder.name + NEW)
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        old = folder.with_name(folder.name + OLD)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _take_place(folder: Path) -> None:
    """A process that was killed between the two renames of `_save` left two whole checkpoints. Take the newer one."""
    old, fresh = (folder.with_name(folder.name + ending) for ending in (OLD, NEW))
    if not folder.exists() and old.exists():
        (fresh if fresh.exists() else old).rename(folder)


def _resume(accelerator: Any, folder: Path, state: _Progress) -> None:
    if accelerator.is_main_process:
        _take_place(folder)
    accelerator.wait_for_everyone()
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
