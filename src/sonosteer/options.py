"""What users type: options as text -> hints, scales, ranges. Every mistake is an InputError of one line."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonosteer.core.config import parse_value
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Hint

if TYPE_CHECKING:
    from sonosteer.needle.bicycle import Plan


@dataclass(frozen=True)
class TrackOptions:
    """What the user asked `track` for, as typed; saved with the results."""

    source: str
    out: Path
    method: str = "auto"
    spacing_mm: str | None = None
    angle_deg: str | None = None
    enters: str | None = None
    start: str | None = None
    velocity_mm_s: str | None = None
    frames: str | None = None
    truth: Path | None = None
    seed: int = 0
    settings: tuple[str, ...] = ()
    config: Path | None = None


def parse_spacing(text: str | None) -> Spacing | None:
    """ "0.1" or "0.1,0.12" in mm per pixel."""
    if text is None:
        return None
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise InputError(f"--spacing-mm {text!r}: give millimetres per pixel, e.g. 0.1 or 0.1,0.12")
    return Spacing(values[0], values[-1])


def parse_frames(text: str | None) -> tuple[int, int | None]:
    """ "A:B" with either end empty."""
    if text is None:
        return 0, None
    try:
        first, _, last = text.partition(":")
        a, b = int(first or 0), int(last) if last else None
        if ":" not in text or a < 0 or (b is not None and b <= a):
            raise ValueError
    except ValueError:
        raise InputError(f"--frames {text!r}: give A:B with 0 <= A < B, e.g. 20:120 or 20:") from None
    return a, b


def parse_hint(angle_deg: str | None, enters: str | None, start: str | None) -> Hint:
    """What the user knows of the needle beforehand."""
    if enters not in (None, "left", "right", "top"):
        raise InputError(f"--enters {enters!r}: left, right and top are possible")
    return Hint(_angle(angle_deg, enters), enters, _start(start))  # type: ignore[arg-type]


def _angle(text: str | None, enters: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(v) for v in text.split(":"))
    except ValueError:
        raise InputError(f"--angle-deg {text!r}: give LO:HI in degrees, e.g. 30:40") from None
    if not low < high:
        raise InputError(f"--angle-deg {text}: the range is upside down; give the lower angle first, e.g. 30:40")
    if not 0 <= low < high <= 180:
        raise InputError(f"--angle-deg {text}: angles lie between 0 and 180 degrees (a needle goes down)")
    if enters == "right" and high <= 90:
        print(f"sonosteer: with --enters right, {text} is read as {180 - high:g}:{180 - low:g}", file=sys.stderr)
        low, high = 180 - high, 180 - low
    return math.radians(low), math.radians(high)


def _start(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        x, y = (float(v) for v in text.split(",")[:2])
    except ValueError:
        raise InputError(f"--start {text!r}: give the tip in the first frame as X,Y in pixels") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"--start {text!r}: give the tip in the first frame as X,Y in pixels")
    return x, y


def parse_settings(settings: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """ "name=value" pairs; "part.name=value" sets a part's own."""
    out: dict[str, Any] = {}
    for item in settings:
        name, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"--set {item!r}: give NAME=VALUE")
        out[name.strip()] = parse_value(value.strip())
    return out


def nested(settings: dict[str, Any], under: dict[str, Any]) -> dict[str, Any]:
    """Settings laid over those of a file: {"part.name": value} replaces `name` in the table `part`."""
    out = {k: dict(v) if isinstance(v, dict) else v for k, v in under.items()}
    for key, value in settings.items():
        part, dot, name = key.partition(".")
        if dot:
            table = out.setdefault(part, {})
            if not isinstance(table, dict):
                raise InputError(f"--set {key}: {part} is {table!r} in the file, and has no parts")
            table[name] = value
        else:
            out[key] = value
    return out


def parse_plan(text: str) -> Plan:
    """ "0:0.0,30:0.05" -> rates in rad/mm from depths in mm on."""
    from sonosteer.needle.bicycle import Plan

    starts, rates = [], []
    for part in text.split(","):
        depth, colon, rate = part.partition(":")
        try:
            if not colon:
                raise ValueError
            starts.append(float(depth))
            rates.append(float(rate))
        except ValueError:
            raise InputError(f"--plan {text!r}: give depth_mm:rate_rad_per_mm,..., e.g. 0:0.0,30:0.05") from None
    return Plan(tuple(starts), tuple(rates))


def parse_velocity(text: str | None) -> float | Path | None:
    """A speed in mm/s, or the path of a CSV file."""
    if text is None:
        return None
    try:
        speed = float(text)
    except ValueError:
        return Path(text)
    if not math.isfinite(speed):
        raise InputError(f"--velocity-mm-s {text}: give the insertion speed in mm/s, or a CSV time_s,velocity_mm_s")
    return speed
