"""What the user asked of a network's training. It loads without PyTorch, for the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from sonosteer.core.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["no", "bf16", "fp16"]
Settings = TypeVar("Settings")
SETTING_PARTS = ("schedule", "augmentation", "model", "stills")


@dataclass(frozen=True)
class TrainOptions:
    """What the user asked of a network's training.

    Raises InputError for a device, a precision or a part of the settings that does not exist.
    """

    data: tuple[Path, ...] = ()
    """Folders of data sets. All are learnt from together."""
    preset: str = "edge"
    """Name of the preset that gives the shape."""
    recipe: str = "paper"
    """Name of the schedule: paper or cpu."""
    start: Path | None = None
    """Folder of a network whose weights are taken. None: random weights."""
    device: Device = "auto"
    """Where it is trained. auto: on a GPU if PyTorch sees one."""
    precision: Precision = "no"
    """no: 32 bit. bf16, fp16: mixed with 16 bit."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changes by --set, nested: schedule, augmentation, model. Stage detector: stills too."""
    executor: str = "process"
    """Where the stills of the stage detector are drawn: serial, process, dask, or the address of a dask scheduler."""

    def __post_init__(self) -> None:
        for name, known in (("device", get_args(Device)), ("precision", get_args(Precision))):
            if getattr(self, name) not in known:
                raise InputError(f"--{name} {getattr(self, name)!r}: {', '.join(known)} are possible")
        wrong = [k for k in self.settings if k not in SETTING_PARTS]
        if wrong:
            raise InputError(f"--set {wrong[0]}: give schedule.NAME, augmentation.NAME, model.NAME or stills.NAME")

    def draw_nothing(self) -> None:
        """Raise InputError if settings of stills are given: for stages that draw none."""
        if "stills" in self.settings:
            raise InputError("--set stills: only the stage detector draws stills")


def changed(base: Settings, settings: Mapping[str, Any], what: str) -> Settings:
    """A dataclass with some fields set anew. Raises InputError for a field that `what` does not have."""
    from sonosteer.core.config import from_dict  # it loads NumPy, which help can do without

    known = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}  # type: ignore[arg-type]
    return from_dict(type(base), known | dict(settings), what)


def flat(settings: Mapping[str, Any], before: str = "") -> list[str]:
    """Settings as they are typed: {"schedule": {"lr": 1}} -> ["schedule.lr=1"]."""
    out: list[str] = []
    for key, value in settings.items():
        out += flat(value, f"{before}{key}.") if isinstance(value, Mapping) else [f"{before}{key}={value}"]
    return out
