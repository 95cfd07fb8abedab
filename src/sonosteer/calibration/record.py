"""The file of a calibration: TOML with the result, its covariance and what it was checked against.

`read_calibration` is the loader. `gate_covariance` sums what several of them add to the covariance of a tip in the
picture, as `safety.gate.Gate.calibration_mm2` takes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from sonosteer.calibration.verdict import Check
from sonosteer.core.arrays import F64
from sonosteer.core.config import from_dict, load_toml, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.frames import Transform
from sonosteer.core.geometry import Spacing
from sonosteer.recording.tables import writing_failed

CALIBRATION_FORMAT, CALIBRATION_VERSION = "sonosteer calibration", 1
Kind: TypeAlias = Literal["pivot", "image", "robot", "clock", "guide"]
Rows: TypeAlias = tuple[tuple[float, ...], ...]
NEEDED = {
    "pivot": ("tip_mm",),
    "image": ("spacing_mm", "gate_mm2"),
    "robot": ("gate_mm2",),
    "clock": ("lag_s",),
    "guide": ("origin_mm", "angle_rad", "sense", "length_mm", "gate_mm2"),
}
TRANSFORMS_OF = {"image": (("probe", "image"),), "robot": (("hand", "marker"), ("base", "tracker"))}


@dataclass(frozen=True, slots=True)
class StoredTransform:
    """A rigid transform as the file has it."""

    to: str
    """Name of the frame that coordinates are wanted in."""
    of: str
    """Name of the frame that coordinates are known in."""
    matrix_mm: Rows
    """4 rows of 4 numbers: rotation without unit, translation in mm."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration that was accepted. Raises InputError for a file with numbers that cannot be one."""

    kind: Kind
    """What was calibrated."""
    method: str
    """How: pivot, points, wires, hand-eye, motion or encoders."""
    inputs: tuple[str, ...]
    """Files that it was made from."""
    parameters: tuple[str, ...]
    """Name of each parameter of the covariance, its unit at its end."""
    covariance: Rows
    """Claimed covariance of these parameters, a row each, in the product of their units: mm, rad, s."""
    check: Check
    """How well it explains its observations."""
    transforms: tuple[StoredTransform, ...] = ()
    """Transforms between frames, mm."""
    tip_mm: tuple[float, ...] | None = None
    """Tip of a tool in its marker's frame, mm. Of a pivot calibration."""
    spacing_mm: tuple[float, ...] | None = None
    """Millimetres per pixel along x and y. Of an image calibration."""
    size_px: tuple[int, ...] | None = None
    """Width and height of the picture, px. Of an image calibration, if it was told."""
    lag_s: float | None = None
    """How much later the picture is than the robot, s. Of a clock calibration."""
    origin_mm: tuple[float, ...] | None = None
    """Point that the guide turns about, image mm. Of a guide calibration."""
    angle_rad: float | None = None
    """Direction of the guide in the picture where the encoder says 0, rad. Of a guide calibration."""
    sense: int | None = None
    """1 if the encoder's angle grows from image +x towards +y, else -1, no unit. Of a guide calibration."""
    length_mm: float | None = None
    """Length that adds to the encoder's, mm. Of a guide calibration."""
    gate_mm2: tuple[float, ...] | None = None
    """Covariance of a tip in the picture that this calibration adds at most: xx, xy, yy, mm^2. None: it adds none."""

    def __post_init__(self) -> None:
        where = f"calibration {self.kind!r}"
        if self.kind not in get_args(Kind):
            raise InputError(f"{where} is not known; there are: {', '.join(get_args(Kind))}")
        for name in NEEDED[self.kind]:
            if getattr(self, name) is None:
                raise InputError(f"{where} lacks {name}")
        _check_numbers(self, where)
        lengths = {"tip_mm": 3, "spacing_mm": 2, "size_px": 2, "origin_mm": 2, "gate_mm2": 3}
        for name, length in lengths.items():
            value = getattr(self, name)
            if value is not None and len(value) != length:
                raise InputError(f"{where}: {name} has {len(value)} numbers, but must have {length}")
        if self.spacing_mm is not None:
            Spacing(*self.spacing_mm)
        for to, of in TRANSFORMS_OF.get(self.kind, ()):
            self.transform(to, of)
        P = np.array(self.covariance, float)
        if P.shape != (len(self.parameters),) * 2 or not _is_covariance(P):
            raise InputError(f"{where}: its covariance is none of {len(self.parameters)} parameters")
        if self.gate_mm2 is not None:
            xx, xy, yy = self.gate_mm2
            if not _is_covariance(np.array([[xx, xy], [xy, yy]])):
                raise InputError(f"{where}: gate_mm2 {self.gate_mm2} is no covariance: give xx, xy, yy in mm^2")

    def transform(self, to: str, of: str) -> Transform:
        """T_to_of, turned round if the file has the other one. Raises InputError if it has neither."""
        for each in self.transforms:
            if {each.to, each.of} == {to, of}:
                T = Transform(each.to, each.of, np.array(each.matrix_mm, float))
                return T if each.to == to else T.inverse()
        known = ", ".join(f"T_{t.to}_{t.of}" for t in self.transforms) or "no transform"
        raise InputError(f"calibration {self.kind!r} has {known}, not T_{to}_{of}")

    @property
    def spacing(self) -> Spacing:
        """Millimetres per pixel. Raises InputError if it is no image calibration."""
        if self.spacing_mm is None:
            raise InputError(f"a {self.kind} calibration has no spacing: give one of the image")
        return Spacing(*self.spacing_mm)


def _check_numbers(owner: object, where: str) -> None:
    def walk(value: Any, name: str) -> None:
        if isinstance(value, tuple):
            for each in value:
                walk(each, name)
        elif isinstance(value, float | int) and not math.isfinite(value):
            raise InputError(f"{where}: {name} holds {value}, which is no finite number")
        elif name in _NUMBERS and not isinstance(value, float | int | None):
            raise InputError(f"{where}: {name} holds {value!r}, which is no number")

    for field in fields(owner):  # type: ignore[arg-type]
        walk(getattr(owner, field.name), field.name)


_NUMBERS = (
    *("covariance", "tip_mm", "spacing_mm", "size_px", "lag_s", "origin_mm", "angle_rad", "sense", "length_mm"),
    "gate_mm2",
)


def _is_covariance(P: F64) -> bool:
    size = float(np.abs(P).max(initial=0.0))
    return bool(np.abs(P - P.T).max() <= 1e-6 * size and np.linalg.eigvalsh(P).min() >= -1e-9 * max(size, 1e-300))


def gate_covariance(calibrations: Iterable[Calibration], *, speed_mm_s: float = 0.0) -> tuple[float, float, float]:
    """What calibrations add to the covariance of a tip in the picture at most: xx, xy, yy, mm^2.

    Their errors are independent, so their covariances add. The error of a lag counts by the speed of the tip, in every
    direction.
    """
    total = np.zeros(3)
    for each in calibrations:
        if each.gate_mm2 is not None:
            total += each.gate_mm2
        if each.lag_s is not None:
            moved = speed_mm_s**2 * each.covariance[0][0]
            total += (moved, 0.0, moved)
    return float(total[0]), float(total[1]), float(total[2])


def stored(to: str, of: str, matrix: F64) -> StoredTransform:
    """A matrix (4, 4) as the file has it."""
    return StoredTransform(to, of, rows_of(matrix))


def rows_of(matrix: F64) -> Rows:
    """A matrix as tuples of numbers."""
    return tuple(tuple(float(value) for value in row) for row in np.atleast_2d(matrix))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the file. Raises InputError if the place cannot be written to."""
    said = {"format": CALIBRATION_FORMAT, "version": CALIBRATION_VERSION, **to_dict(calibration)}
    try:
        path.write_text("\n".join(_lines(said)) + "\n", encoding="utf-8")
    except OSError as e:
        raise writing_failed(path, e, "nothing was kept") from None


def read_calibration(path: Path) -> Calibration:
    """Read the file. Raises InputError if it is none, of a later version, or damaged."""
    said = load_toml(path)
    if said.pop("format", None) != CALIBRATION_FORMAT:
        raise InputError(f"{path} is no calibration: make one with sonosteer calibrate")
    version = said.pop("version", None)
    if version != CALIBRATION_VERSION:
        raise InputError(f"{path} is of version {version}, and {CALIBRATION_VERSION} is known: calibrate again")
    try:
        said["transforms"] = tuple(from_dict(StoredTransform, t, "transforms") for t in said.get("transforms", ()))
        for name in ("check", "kind", "method", "inputs", "parameters", "covariance"):
            if name not in said:
                raise InputError(f"it lacks {name}")
        return from_dict(Calibration, said, "calibration")
    except InputError as e:
        raise InputError(f"{path}: {e}") from None
    except (TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{path} is damaged: {' '.join(str(e).split())}") from None


def _lines(said: Mapping[str, Any]) -> list[str]:
    """A mapping as lines of TOML: values first, then tables. What is None is left out."""
    out = [
        f"{key} = {_value(value)}"
        for key, value in said.items()
        if value is not None and not isinstance(value, Mapping) and not _is_tables(value)
    ]
    for key, value in said.items():
        if isinstance(value, Mapping):
            out += ["", f"[{key}]", *_lines(value)]
        elif _is_tables(value):
            for each in value:
                out += ["", f"[[{key}]]", *_lines(each)]
    return out


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return "[\n" + "".join(f"  {_value(row)},\n" for row in value) + "]"
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
