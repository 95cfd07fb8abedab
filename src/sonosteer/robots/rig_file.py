"""The file of a rig: TOML that names its parts, its calibrations, and limits tighter than the gate's.

It is read strictly. Each mistake is one line with the file and the key.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sonosteer.calibration.record import Calibration, Kind, gate_covariance, read_calibration
from sonosteer.core.config import from_dict, load_toml
from sonosteer.core.errors import InputError
from sonosteer.core.plugins import check_methods
from sonosteer.core.registry import LazyTable
from sonosteer.robots.parts import Axis
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Covariance

RIG_FORMAT, RIG_VERSION = "sonosteer rig", 1
#: name of a part's table -> what it is for
ROLES: Mapping[str, str] = {
    "arm": "what holds the probe, or carries all",
    "needle": "what pushes the needle",
    "guide": "what the needle slides in, and what turns or rolls it",
}
PARTS = LazyTable(
    "part",
    {
        "cia402": "sonosteer.robots.cia402:Cia402Axis",
        "fixed": "sonosteer.robots.fixed:FixedPart",
        "line": "sonosteer.robots.line_drive:LineDrive",
        "ur": "sonosteer.robots.ur.arm:UrArm",
    },
    group="sonosteer.parts",
)
#: limits that a rig file may set, by what counts as tighter
SMALLER_IS_TIGHTER = (
    *("forward_mm_s", "backward_mm_s", "acceleration_mm_s2", "angle_step_rad", "sideways_mm_s", "roll_rad_s"),
    *("probe_mm_s", "probe_mm_s2", "probe_mm", "action_age_s", "action_life_s", "order_s", "estimate_age_s"),
    *("robot_state_age_s", "tip_sd_mm", "coasting_mm_s", "unseen_mm_s", "unseen_mm", "encoder_mm", "encoder_rad"),
    *("encoder_roll_rad", "stuck_s", "speed_error_fraction", "astray_mm", "jump_mm"),
)
LARGER_IS_TIGHTER = ("jump_hold_s", "clearance", "recall_s")
NARROWER_IS_TIGHTER = ("depth_mm", "angle_rad")
_UNITS = ("mm_s2", "mm_s", "mm", "m_s2", "m_s", "m", "um", "cm", "rad_s", "rad", "deg_s", "deg", "s", "ms", "us", "hz")
_METHODS = ("state", "describe", "enable", "hold", "close")  # the rig itself finds out whether it carries out


@dataclass(frozen=True, slots=True)
class PartTable:
    """One part as the file has it."""

    name: str
    """Name of its table: arm, needle or guide."""
    kind: str
    """What it is: a name of `PARTS`, or package.module:Class."""
    make: Any
    """Class of the part."""
    settings: Any
    """Its settings, of the class's own `Settings`."""


@dataclass(frozen=True, slots=True)
class RigFile:
    """A rig as its file says, all of it checked but nothing opened."""

    path: Path
    """The file itself."""
    parts: tuple[PartTable, ...]
    """Parts, in the order of the file."""
    name: str = ""
    """What the rig is called, for reports. Empty where the file does not say."""
    state_age_s: float = 0.1
    """Oldest state of a part with which anything moves, s. Not above `Limits.robot_state_age_s`."""
    limits: Limits = field(default_factory=Limits)
    """The gate's limits, as tight as the file makes them."""
    calibrations: Mapping[Kind, Calibration] = field(default_factory=dict)
    """Calibrations by kind."""

    @property
    def calibration_mm2(self) -> Covariance:
        """What the calibrations add to the covariance of a tip in the picture: xx, xy, yy, mm^2."""
        return gate_covariance(self.calibrations.values(), speed_mm_s=self.limits.forward_mm_s)


def read_rig(path: Path) -> RigFile:
    """Read a rig file and everything that it names, and open nothing.

    Raises InputError of one line that names the file and the key.
    """
    said = load_toml(path)
    if said.pop("format", None) != RIG_FORMAT or said.pop("version", None) != RIG_VERSION:
        raise InputError(f'{path} is no rig file: it must begin with format = "{RIG_FORMAT}", version = {RIG_VERSION}')
    known = ("name", "state_age_s", "limits", "calibrations", *ROLES)
    for key in said:
        if key not in known:
            raise InputError(f"{path}: {_unknown(key, known)}")
    limits = tightened(_table(said, "limits", path), f"{path}: limits")
    parts = tuple(_read_part(path, role, _table(said, role, path)) for role in said if role in ROLES)
    if not any(part.name == "needle" for part in parts):
        raise InputError(f'{path} lacks [needle]: give it with a kind, such as kind = "cia402"')
    rest = {key: said[key] for key in ("name", "state_age_s") if key in said}
    rig = from_dict(
        RigFile,
        rest | {"path": path, "parts": parts, "limits": limits, "calibrations": _calibrations(path, said)},
        str(path),
    )
    if not 0.0 < rig.state_age_s <= limits.robot_state_age_s:
        most_s = limits.robot_state_age_s
        raise InputError(
            f"{path}: state_age_s is {rig.state_age_s:g}; more than 0 and at most {most_s:g} s is possible"
        )
    _check_parts(rig)
    return rig


def tightened(said: Mapping[str, Any], where: str = "limits") -> Limits:
    """Return the gate's limits with those of a file. Raises InputError for one that is wider than the gate's."""
    gate = Limits()
    may_set = (*SMALLER_IS_TIGHTER, *LARGER_IS_TIGHTER, *NARROWER_IS_TIGHTER)
    for key in said:
        if key not in may_set:
            own = any(f.name == key for f in dataclasses.fields(Limits))
            raise InputError(
                f"{where}.{key} is the gate's own and no rig file sets it"
                if own
                else f"{where}: {_unknown(key, may_set)}"
            )
    fixed = {f.name: getattr(gate, f.name) for f in dataclasses.fields(Limits)}
    try:
        limits = from_dict(Limits, fixed | dict(said), where)
    except InputError as e:
        raise InputError(_placed(e, where)) from None
    for name in said:
        value, bound = getattr(limits, name), getattr(gate, name)
        values, bounds = (v if isinstance(v, tuple) else (v,) for v in (value, bound))
        if name in NARROWER_IS_TIGHTER:
            tight = values[0] >= bounds[0] and values[1] <= bounds[1]
        elif name in LARGER_IS_TIGHTER:
            tight = values[0] >= bounds[0]
        else:
            tight = all(v <= b for v, b in zip(values, bounds, strict=True))
        if not tight:
            raise InputError(f"{where}.{name} is {_say(value)}, which is wider than the gate's {_say(bound)}")
    return limits


def read_settings(kind: type[Any], said: Mapping[str, Any], where: str) -> Any:
    """Build the settings of a part from its table. Raises InputError that names `where` and the key."""
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    hints = get_type_hints(kind)
    for key, value in said.items():
        if key not in fields:
            raise InputError(f"{where}: {_unknown(key, tuple(fields))}")
        _check_kind(hints[key], value, f"{where}.{key}")
    for name, each in fields.items():
        if name not in said and each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise InputError(f"{where} lacks {name}")
    try:
        return from_dict(kind, said, where)
    except InputError as e:
        raise InputError(_placed(e, where)) from None


def _read_part(path: Path, role: str, table: Mapping[str, Any]) -> PartTable:
    where = f"{path}: {role}"
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise InputError(f"{where} lacks kind: give one of {', '.join(PARTS)}, or package.module:Class")
    try:
        make = PARTS.load(kind)
    except InputError as e:
        raise InputError(f"{where}.kind: {e}") from None
    if not dataclasses.is_dataclass(getattr(make, "Settings", None)):
        raise InputError(f"{where}.kind: {kind} has no Settings, a frozen dataclass of what its table may hold")
    check_methods(make, f"{where}.kind: {kind}", _METHODS)
    settings = read_settings(make.Settings, {k: v for k, v in table.items() if k != "kind"}, where)
    return PartTable(role, kind, make, settings)


def _calibrations(path: Path, said: Mapping[str, Any]) -> dict[Kind, Calibration]:
    table, out = _table(said, "calibrations", path), {}
    for kind, file in table.items():
        where = f"{path}: calibrations.{kind}"
        if kind not in get_args(Kind):
            raise InputError(f"{path}: calibrations: {_unknown(kind, get_args(Kind))}")
        if not isinstance(file, str):
            raise InputError(f"{where} is {file!r}, but must be the path of a file of sonosteer calibrate")
        try:
            found = read_calibration(path.parent / file)
        except InputError as e:
            raise InputError(f"{where}: {e}") from None
        if found.kind != kind:
            raise InputError(f"{where}: {file} is a calibration of kind {found.kind!r}, not {kind!r}")
        out[found.kind] = found
    return out


def _check_parts(rig: RigFile) -> None:
    """Raise InputError if two parts move the same, or a part lacks a calibration that it needs."""
    moved: dict[Axis, str] = {}
    for part in rig.parts:
        for kind in sorted(getattr(part.make, "needs", ())):
            if kind not in rig.calibrations:
                raise InputError(f"{rig.path}: {part.name} ({part.kind}) needs calibrations.{kind}, which is absent")
        for axis in sorted(getattr(part.settings, "axes", getattr(part.make, "axes", ()))):
            if axis in moved:
                raise InputError(f"{rig.path}: {moved[axis]} and {part.name} both move {axis}: one part moves an axis")
            moved[axis] = part.name


def _table(said: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    table = said.get(key, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{path}: {key} is {table!r}, but must be a table: [{key}]")
    return table


def _check_kind(kind: Any, value: Any, where: str) -> None:
    """Raise InputError unless a value is of the kind of an optional or enumerated setting."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for each in kinds:
        if get_origin(each) is Literal:
            if value in get_args(each):
                return
        elif each is type(None):
            continue
        elif not isinstance(each, type) or get_origin(each) is not None:
            return  # a tuple, which from_dict checks
        elif each is float:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return
        elif isinstance(value, each) and not (each is int and isinstance(value, bool)):
            return
    names = [" or ".join(map(repr, get_args(k))) if get_origin(k) is Literal else k.__name__ for k in kinds]
    raise InputError(f"{where} is {value!r}, but must be {' or '.join(n for n in names if n != 'NoneType')}")


def _placed(error: InputError, where: str) -> str:
    line = str(error)
    return line if line.startswith(where) else f"{where}: {line}"


def _unknown(key: str, known: tuple[str, ...]) -> str:
    """What is wrong with a key that is not known, and what was meant."""
    stem, unit = _parted(key)
    for name in known:
        own_stem, own_unit = _parted(name)
        if unit and own_unit and own_stem == stem:
            return f"{key} has the wrong unit: give {name}, in {own_unit.replace('_s2', '/s^2').replace('_s', '/s')}"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"there is no setting {key!r}{hint}; there are: {', '.join(known)}"


def _parted(key: str) -> tuple[str, str]:
    """A key without its unit, and the unit."""
    for unit in _UNITS:
        if key.endswith(f"_{unit}"):
            return key.removesuffix(f"_{unit}"), unit
    return key, ""


def _say(value: Any) -> str:
    return f"({', '.join(f'{v:g}' for v in value)})" if isinstance(value, tuple) else f"{value:g}"
