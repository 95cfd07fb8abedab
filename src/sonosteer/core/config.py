"""Reads, checks and saves configurations, which are frozen dataclasses."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from sonosteer.core.errors import InputError

Config = TypeVar("Config")

MAX_NESTING = 100  # chosen: our own files have ten levels. Python's parsers give up at some hundreds.
MAX_TOML_BYTES = 1 << 20  # chosen: the largest scene has 6 kB. The parser takes a second for a megabyte.
MAX_JSON_BYTES = 1 << 28  # chosen: an index of a data set with a million samples


class DamagedTextError(InputError, ValueError):
    """A text is no JSON, or nested too deeply. A ValueError, too, so that readers can say what to do about it."""


def to_dict(value: Any) -> Any:
    """Turn nested dataclasses, tuples, paths, enums and numpy numbers into what JSON can hold.

    An object with a method `to_dict` is asked itself.
    """
    own = getattr(type(value), "to_dict", None)
    if own is not None:
        return own(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_dict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def from_dict(cls: type[Config], data: Mapping[str, Any], where: str = "configuration") -> Config:
    """Build a dataclass from a mapping. Raises InputError for an unknown key or a value of the wrong type."""
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in fields:
            known = ", ".join(sorted(name for name in fields if not name.startswith("_")))
            raise InputError(f"{where}: there is no setting {key!r}; there are: {known}")
        default = fields[key].default
        if isinstance(value, Mapping) and dataclasses.is_dataclass(default) and not isinstance(default, type):
            value = {f.name: getattr(default, f.name) for f in dataclasses.fields(default) if f.init} | dict(value)
        values[key] = _coerce(hints[key], value, f"{where}: {key}")
    return cls(**values)


def _coerce(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    options = get_args(kind) if not isinstance(kind, type) or get_args(kind) else ()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return from_dict(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool):
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(f"{where} is {value!r}, but must be of type {kind.__name__}")
        return value
    if isinstance(value, list | tuple) and get_origin(kind) is tuple:
        each = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
        if len(each) != len(value):
            raise InputError(f"{where} has {len(value)} entries, but must have {len(each)}")
        return tuple(_coerce(k, v, where) for k, v in zip(each, value, strict=True))
    return tuple(value) if isinstance(value, list) else value


def check_finite(owner: Any, where: str) -> None:
    """Raise InputError for the first float field of a dataclass that is NaN or infinite."""
    for f in dataclasses.fields(owner):
        value = getattr(owner, f.name)
        values = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, float) and not math.isfinite(v) for v in values):
            raise InputError(f"{where}: {f.name} is {value}, but must be a number")


def check_range(owner: Any, where: str, low: float, high: float, *names: str) -> None:
    """Raise InputError for the first of these fields that does not lie in [low, high]."""
    for name in names:
        value = getattr(owner, name)
        if not low <= value <= high:
            raise InputError(f"{where}: {name} is {value:g}; {low:g} to {high:g} is possible")


def parse_value(text: str) -> bool | int | float | str:
    """Read a setting as typed: true, false, a number, or text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises InputError with what is wrong with it, also if it is too large or nested too deeply."""
    text = _read_text(path, MAX_TOML_BYTES)
    try:
        said = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path} is nested more than {MAX_NESTING} levels deep") from None
    except ValueError as e:
        raise InputError(f"{path} is not valid TOML: {_one_line(e)}") from None
    check_nesting(said, path)
    return said


def load_json(path: Path) -> Any:
    """Read a JSON file. Raises InputError with what is wrong with it, also if it is too large or nested too deeply."""
    return parse_json(_read_text(path, MAX_JSON_BYTES), path)


def parse_json(text: str | bytes, where: object) -> Any:
    """Read JSON text. Raises InputError, which names `where`, if it is none, or nested too deeply."""
    try:
        said = json.loads(text)
    except RecursionError:
        raise DamagedTextError(f"{where} is nested more than {MAX_NESTING} levels deep") from None
    except ValueError as e:
        raise DamagedTextError(f"{where} is damaged: {_one_line(e)}") from None
    check_nesting(said, where)
    return said


def check_nesting(value: Any, where: object) -> None:
    """Raise InputError if tables and lists are nested more than `MAX_NESTING` levels deep."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise DamagedTextError(f"{where} is nested more than {MAX_NESTING} levels deep")


def _read_text(path: Path, most: int) -> str:
    """Text of a file in UTF-8. Raises InputError if it cannot be read, or has more than `most` bytes."""
    try:
        with path.open("rb") as f:
            data = f.read(most + 1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    if len(data) > most:
        raise InputError(f"{path} has more than {most} bytes, which is more than any such file needs")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InputError(f"{path} is not text in UTF-8: {e.reason} at byte {e.start}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def save_json(value: Any, path: Path) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN, which JSON does not have."""
    path.write_text(json.dumps(to_dict(value), indent=2, allow_nan=False) + "\n")
