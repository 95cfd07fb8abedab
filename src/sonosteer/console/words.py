"""What a tab may say: each message is a frozen dataclass, checked once. All else is answered with a reason."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Side

MAX_WORD_BYTES = 1 << 16  # chosen: a hundred times the longest word


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture has been drawn."""

    serial: int
    """Serial number of the picture on this tab's way, no unit."""
    way: int = 0
    """As in `SeekFrame`, no unit."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for an answer, to measure the way there and back."""

    at: float
    """The tab's own time, ms. Comes back as it is."""


@dataclass(frozen=True, slots=True)
class SeekFrame:
    """Asks for a frame."""

    index: int
    """Number of the frame, from 0."""
    exact: bool = False
    """Whether without loss."""
    way: int = 0
    """Which of the pictures that are shown at a time, from 0, no unit."""


@dataclass(frozen=True, slots=True)
class PlaceLabel:
    """Marks the tip in a frame, says that it cannot be seen, or takes the label away."""

    id: int
    """The tab's number of this message, for the answer, no unit."""
    frame: int
    """Number of the frame, from 0."""
    tip: Point | Literal["hidden"] | None
    """Place of the tip, px: (column, row). "hidden": it cannot be seen. None: no label."""
    base: int
    """Revision of the label that the tab has seen, no unit. 0: there was none."""


@dataclass(frozen=True, slots=True)
class Undo:
    """Takes back what this tab did last."""

    id: int
    """As in `PlaceLabel`, no unit."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Does again what this tab took back last."""

    id: int
    """As in `PlaceLabel`, no unit."""


@dataclass(frozen=True, slots=True)
class LayRuler:
    """Says how long a line on the picture is."""

    id: int
    """As in `PlaceLabel`, no unit."""
    start: Point
    """One end, px: (column, row)."""
    end: Point
    """The other end, px: (column, row)."""
    mm: float
    """How long it is in truth, mm."""


@dataclass(frozen=True, slots=True)
class TypeScale:
    """Says how large a pixel is."""

    id: int
    """As in `PlaceLabel`, no unit."""
    spacing: Point | None
    """mm per pixel along x and y. None: as the file says."""
    how: str = "typed"
    """Where it comes from, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrack:
    """Asks for a track of the clip, or of its rest."""

    id: int
    """As in `PlaceLabel`, no unit."""
    method: str
    """Name of the tracking method."""
    first: int = 0
    """Number of the first frame to track, from 0."""
    start: Point | None = None
    """Place of the tip in the first frame, px: (column, row). None: the method finds it."""
    enters: Side | None = None
    """Side at which the needle enters. None: not known."""
    angle_deg: tuple[float, float] | None = None
    """Lowest and highest direction from entry to tip, deg. None: not known."""
    velocity_mm_s: float | None = None
    """Measured speed of the needle, mm/s. None: not known."""
    crop: tuple[int, int, int, int] | None = None
    """Part of the picture to track in, px: left, top, width, height. None: the whole."""
    into: str | None = None
    """Name of the track of which the frames before `first` are kept. None: a new one."""


@dataclass(frozen=True, slots=True)
class ForgetTrack:
    """Takes a track off the page."""

    id: int
    """As in `PlaceLabel`, no unit."""
    track: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ends work that goes on, or that waits."""

    id: int
    """As in `PlaceLabel`, no unit."""
    job: int
    """Number of the work, no unit."""


@dataclass(frozen=True, slots=True)
class LookAtScreen:
    """Asks for what `calibrate screen` finds."""

    id: int
    """As in `PlaceLabel`, no unit."""


@dataclass(frozen=True, slots=True)
class Export:
    """Asks for a file."""

    id: int
    """As in `PlaceLabel`, no unit."""
    what: Literal["tips", "overlay", "labels", "data set"]
    """Which."""
    track: str | None = None
    """Name of the track, of tips and overlay."""
    form: str | None = None
    """Format of a data set. None: sonosteer's own."""


@dataclass(frozen=True, slots=True)
class SettleOutside:
    """Says what becomes of labels that were changed outside."""

    id: int
    """As in `PlaceLabel`, no unit."""
    take: bool
    """True: they are taken in. False: those of the console are written again."""


@dataclass(frozen=True, slots=True)
class PressStop:
    """Presses the operator's stop. It needs no leave: a page of another run may press it, too."""

    id: int
    """As in `PlaceLabel`, no unit."""


@dataclass(frozen=True, slots=True)
class HoldRun:
    """Lets the run wait. Nothing is latched."""

    id: int
    """As in `PlaceLabel`, no unit."""
    run: str
    """Name of the run that is meant, as the console said it."""


@dataclass(frozen=True, slots=True)
class Grip:
    """Says that the operator holds a key or a button down. It is said again and again while he does."""

    id: int
    """As in `PlaceLabel`, no unit."""
    run: str
    """As in `HoldRun`."""
    what: Literal["release", "start"]
    """What he holds it for: that the latched stop is released, or that the run begins or goes on."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """Says that the operator holds nothing down any more."""

    id: int
    """As in `PlaceLabel`, no unit."""


@dataclass(frozen=True, slots=True)
class PlaceTarget:
    """Places the target, before the run begins."""

    id: int
    """As in `PlaceLabel`, no unit."""
    run: str
    """As in `HoldRun`."""
    place: Point
    """Where, px of the first picture: (column, row)."""


@dataclass(frozen=True, slots=True)
class KeepOut:
    """Draws a circle that the needle must not enter, before the run begins."""

    id: int
    """As in `PlaceLabel`, no unit."""
    run: str
    """As in `HoldRun`."""
    center: Point
    """Its middle, px of the first picture: (column, row)."""
    radius_mm: float
    """Half the circle's width, mm."""


@dataclass(frozen=True, slots=True)
class ClearRegions:
    """Takes away the regions that were drawn, before the run begins. Those of the command stay."""

    id: int
    """As in `PlaceLabel`, no unit."""
    run: str
    """As in `HoldRun`."""


TabWord: TypeAlias = (
    Drawn | Ping | SeekFrame | PlaceLabel | Undo | Redo | LayRuler | TypeScale | StartTrack | ForgetTrack | Cancel
    | LookAtScreen | Export | SettleOutside | PressStop | HoldRun | Grip | LetGo | PlaceTarget | KeepOut | ClearRegions
)  # fmt: skip
TAB_WORDS: dict[str, type[Any]] = {
    "drawn": Drawn,
    "ping": Ping,
    "seek": SeekFrame,
    "label": PlaceLabel,
    "undo": Undo,
    "redo": Redo,
    "ruler": LayRuler,
    "scale": TypeScale,
    "track": StartTrack,
    "forget": ForgetTrack,
    "cancel": Cancel,
    "screen": LookAtScreen,
    "export": Export,
    "outside": SettleOutside,
    "stop": PressStop,
    "hold": HoldRun,
    "grip": Grip,
    "let go": LetGo,
    "target": PlaceTarget,
    "keep out": KeepOut,
    "clear regions": ClearRegions,
}


def parse_word(text: str) -> TabWord:
    """Read a message. Raises InputError that says what is wrong with it."""
    if len(text) > MAX_WORD_BYTES:
        raise InputError(f"a message of {len(text)} characters is too long")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("a message that is no JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("t"), str):
        raise InputError("a message without a word `t`")
    name = said.pop("t")
    kind = TAB_WORDS.get(name)
    if kind is None:
        raise InputError(f"there is no word {name!r}; there are: {', '.join(TAB_WORDS)}")
    hints = get_type_hints(kind)
    unknown = next((key for key in said if key not in hints), None)
    if unknown is not None:
        raise InputError(f"{name}: there is no field {unknown!r}")
    values = {key: _checked(hints[key], value, f"{name}: {key}") for key, value in said.items()}
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in values and f.default is dataclasses.MISSING]
    if missing:
        raise InputError(f"{name}: {missing[0]} is missing")
    word: TabWord = kind(**values)
    return word


def _as_float(value: int | float, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{where} is too large") from None


def _checked(kind: Any, value: Any, where: str) -> Any:
    """The value as its type. Raises InputError if it is of another."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        for each in get_args(kind):
            try:
                return _checked(each, value, where)
            except InputError:
                continue
    elif origin is Literal:
        if value in get_args(kind):
            return value
    elif origin is tuple:
        kinds = get_args(kind)
        if isinstance(value, list) and len(value) == len(kinds):
            return tuple(_checked(k, v, where) for k, v in zip(kinds, value, strict=True))
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf:
            return _as_float(value, where)
    elif (
        (kind is types.NoneType and value is None)
        or (kind in (bool, str) and type(value) is kind)
        or (kind is int and type(value) is int and abs(value) < 1 << 53)
    ):
        return value
    raise InputError(f"{where} is {json.dumps(value)[:40]}, which cannot be")
