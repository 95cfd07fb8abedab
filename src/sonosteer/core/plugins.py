"""Classes from outside this package: imported, built and called so that each mistake in them becomes one clear line.

Such a line names the plug-in, the exception, and the file and line where it was raised. The exception itself stays
attached as the cause.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

from sonosteer.core.config import from_dict, to_dict
from sonosteer.core.errors import BrokenError, InputError, SonosteerError

#: package.module:Name
REFERENCE = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*")
OURS = str(Path(__file__).resolve().parents[1])


def is_reference(name: str) -> bool:
    """True for what reads like `package.module:Name`."""
    return REFERENCE.fullmatch(name) is not None


def import_reference(reference: str, who: str) -> Any:
    """Import what stands behind `package.module:Name`. who: what it is, for messages.

    Modules in the current directory are found as with `python -m`. Raises InputError if it cannot be imported.
    """
    module_name, _, attribute = reference.partition(":")
    with _current_directory_first():
        try:
            found = importlib.import_module(module_name)
        except ModuleNotFoundError as e:
            if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
                raise InputError(f"{who} cannot be imported: {describe_error(e)}") from e
            where = f"neither installed nor in {Path.cwd()}"
            raise InputError(f"{who}: there is no module {e.name!r}, {where}") from None
        except (Exception, SystemExit) as e:  # whatever a stranger's module does while it is imported
            raise InputError(f"{who} cannot be imported: {describe_error(e)}") from e
    for part in filter(None, attribute.split(".")):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"{who}: {module_name} has no {attribute!r}{hint}")
        found = getattr(found, part)
    return found


@contextmanager
def _current_directory_first() -> Iterator[None]:
    """Look in the current directory first, and last from then on, for what a plug-in imports later."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        importlib.invalidate_caches()
        yield
        return
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)
        sys.path.append(here)


def construct(make: Callable[..., Any], settings: Mapping[str, Any], where: str) -> Any:
    """Build an object from its settings. "part.field" sets a field of a part. where: named in messages.

    Raises InputError for a setting that there is not, a value of the wrong kind, or a constructor that fails.
    """
    values = _nested(settings, where)
    try:
        if _has_known_fields(make):
            return from_dict(make, values, where)  # type: ignore[arg-type]
        known = _parameters(make)
        for name in values:
            if known is not None and name not in known:
                there = f"there are: {', '.join(sorted(known))}" if known else "it has none"
                raise InputError(f"{where}: there is no setting {name!r}; {there}")
        return make(**values)
    except SonosteerError:
        raise
    except Exception as e:
        raise InputError(f"{where} cannot be set up: {describe_error(e)}") from e


def accepted(make: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """Those of the offered arguments that a callable takes by name."""
    known = _parameters(make)
    return {k: v for k, v in offered.items() if known is None or k in known}


def plug_in(thing: Any, name: str, replies: tuple[type, ...]) -> PluggedIn:
    """Put a stranger's tracker, policy or controller behind our protocol.

    Raises InputError if it lacks one of the methods start and step. The method prepare is optional.
    """
    check_methods(thing, name, ("start", "step"))
    return PluggedIn(thing, name, replies)


def check_methods(thing: Any, name: str, methods: tuple[str, ...]) -> None:
    """Raise InputError if an object lacks one of the methods."""
    for method in methods:
        if not callable(getattr(thing, method, None)):
            raise InputError(f"{name} has no method {method!r}; it needs {' and '.join(methods)}")


@dataclasses.dataclass(frozen=True, slots=True)
class PluggedIn:
    """A stranger's tracker, policy or controller. What it raises becomes a BrokenError of one line."""

    thing: Any
    """The stranger's object itself."""
    name: str
    """How it was asked for, for messages."""
    replies: tuple[type, ...]
    """Types that `step` may return beside the state."""

    def prepare(self) -> None:
        """Let it prepare, if it knows how."""
        prepare = getattr(self.thing, "prepare", None)
        if prepare is not None:
            with naming(self.name, "prepare", self.thing):
                prepare()

    def start(self, given: Any) -> Any:
        """Return its state at the beginning."""
        with naming(self.name, "start", self.thing):
            return self.thing.start(given)

    def step(self, state: Any, seen: Any, *more: Any) -> tuple[Any, Any]:
        """Return its next state and its reply. Raises BrokenError if it breaks, or replies what is no reply."""
        index = getattr(seen, "index", getattr(seen, "frame_index", None))
        with naming(self.name, "step" if index is None else f"step at frame {index}", self.thing):
            said = self.thing.step(state, seen, *more)
        if not (isinstance(said, tuple) and len(said) == 2 and isinstance(said[1], self.replies)):
            wanted = " or ".join(t.__name__ for t in self.replies)
            text = " ".join(repr(said).split())
            shown = text if len(text) <= 80 else text[:77] + "..."
            raise BrokenError(f"{self.name}: step must return (state, {wanted}), but returned {shown}")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Its settings, as JSON can say them."""
        if dataclasses.is_dataclass(self.thing):
            settings = {f.name: getattr(self.thing, f.name) for f in dataclasses.fields(self.thing)}
        else:
            settings = dict(getattr(self.thing, "__dict__", {}))
        return {k: _sayable(v) for k, v in settings.items() if not k.startswith("_")}


@contextmanager
def naming(name: str, doing: str, thing: Any, kind: type[SonosteerError] = BrokenError) -> Iterator[None]:
    """Turn what a stranger's code raises into one line that names it. Errors of our own pass as they are."""
    try:
        yield
    except SonosteerError:
        raise
    except Exception as e:
        raise kind(f"{name} broke in {doing}: {describe_error(e, thing)}") from e


def describe_error(error: BaseException, thing: Any = None) -> str:
    """ "ValueError: what it says (mine.py:12)". thing: whose own file counts as the place, where it is involved."""
    said = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    where = _where(error, thing)
    return f"{text} ({where})" if where else text


def _where(error: BaseException, thing: Any) -> str | None:
    """FILE:LINE: the innermost place in the stranger's own file, else the innermost that is not ours."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short_path(error.filename)}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own_file = getattr(sys.modules.get(type(thing).__module__), "__file__", None)
    own = [f for f in frames if own_file is not None and f.filename == own_file]
    foreign = [f for f in frames if not f.filename.startswith(OURS) and "importlib" not in Path(f.filename).parts]
    chosen = own or foreign
    return f"{_short_path(chosen[-1].filename)}:{chosen[-1].lineno}" if chosen else None


def _short_path(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _sayable(value: Any) -> Any:
    """A value as JSON can say it; its repr where it cannot."""
    said = to_dict(value)
    if isinstance(said, dict):
        return {k: _sayable(v) for k, v in said.items()}
    if isinstance(said, list):
        return [_sayable(v) for v in said]
    if isinstance(said, float) and not math.isfinite(said):
        return repr(said)
    return said if said is None or isinstance(said, bool | int | float | str) else repr(said)


def _has_known_fields(make: Any) -> bool:
    """True for a dataclass whose types can be looked up."""
    if not (isinstance(make, type) and dataclasses.is_dataclass(make)):
        return False
    try:
        get_type_hints(make)
    except (NameError, TypeError, AttributeError):
        return False
    return True


def _parameters(make: Callable[..., Any]) -> set[str] | None:
    """Names of what a callable takes by name; None if it takes any."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _nested(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """{"part.field": value} -> {"part": {"field": value}}."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        part, dot, name = key.partition(".")
        if not dot:
            out[key] = {**value, **out[key]} if isinstance(value, dict) and isinstance(out.get(key), dict) else value
            continue
        table = out.setdefault(part, {})
        if not isinstance(table, dict):
            raise InputError(f"{where}: {part} is {table!r}, which has no parts to set ({key})")
        out[part] = {**table, **_nested({name: value}, where)}
    return out
