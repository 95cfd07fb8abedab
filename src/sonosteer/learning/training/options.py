"""What the user asked of a network's training; without torch, so that the command line can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sonosteer.core.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["no", "bf16", "fp16"]
PARTS = ("schedule", "augmentation", "model")


@dataclass(frozen=True)
class TrainOptions:
    """data: folders of sets, learnt from together. start: a folder to take weights from. settings: of schedule,
    augmentation and model, by --set.

    InputError for a device, a precision or a part of the settings that there is not.
    """

    data: tuple[Path, ...] = ()
    preset: str = "edge"
    recipe: str = "paper"
    start: Path | None = None
    device: Device = "auto"
    precision: Precision = "no"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("device", get_args(Device)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise InputError(f"--{name} {getattr(self, name)!r}: {', '.join(known)} are possible")
        wrong = [k for k in self.settings if k not in PARTS]
        if wrong:
            raise InputError(f"--set {wrong[0]}: give schedule.NAME, augmentation.NAME or model.NAME")
