"""What users type, read once into values, and the words that several commands share.

Every mistake is an InputError of one line that names the option.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sonosteer.commands.names import complete
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.core.geometry import Point, Spacing
    from sonosteer.core.types import Hint
    from sonosteer.episodes.cropping import Crop
    from sonosteer.needle.bicycle import Plan
    from sonosteer.safety.regions import Circle, Covariance
    from sonosteer.sim.scenes import Split

RECORDING = "recording.mcap"

# -- words that several commands share -----------------------------------------------------------------------

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random: same seed, same result.")]
SpacingText = Annotated[
    str | None,
    typer.Option(
        "--spacing-mm",
        metavar="X[,Y]",
        help="Millimetres per pixel. Read from the file where it says. One number is that of the rows.",
    ),
]
Frames = Annotated[
    str | None,
    typer.Option("--frames", metavar="A:B", help="Only frames A to B. B is not included. Either may be empty."),
]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="E",
        help="Where the trials run: {executors}. The last is the address of a dask scheduler.",
        autocompletion=complete("executors"),
    ),
]
PosesText = Annotated[
    str | None,
    typer.Option(
        "--poses",
        metavar="CHAIN",
        help="Transforms from the picture to the world, of a tracked sequence: "
        "ImageToProbe=calibration.txt,ProbeToTracker.",
    ),
]
KeepIdentity = Annotated[
    bool,
    typer.Option(
        "--keep-identity",
        help="Leaves a patient's name in the results where DICOM says it is: burned into pictures, in paths.",
    ),
]


def as_typed(context: typer.Context, *without: str) -> dict[str, Any]:
    """The words of a command as they were typed, to save with its results. `without` names some to leave out."""
    typed: dict[str, Any] = {}
    for parameter in context.command.params:
        name = parameter.name
        if name is None or name not in context.params or name in (*without, "as_json"):
            continue
        value = context.params[name]
        typed[name] = list(value or ()) if getattr(parameter, "multiple", False) else value
    return typed


# -- words -> values -----------------------------------------------------------------------------------------


def parse_spacing(text: str | None) -> Spacing | None:
    """Read "0.1" or "0.1,0.12" as mm per pixel."""
    from sonosteer.core.geometry import Spacing

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
    """Read "A:B" as (first frame, frame to stop before). Either end may be empty."""
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


def parse_crop(text: str | None) -> Crop | None:
    """Read "X,Y,W,H" as a part of the picture in whole pixels."""
    from sonosteer.episodes.cropping import Crop

    if text is None:
        return None
    try:
        left, top, width, height = (int(v) for v in text.split(","))
    except ValueError:
        raise InputError(
            f"--crop {text!r}: give X,Y,W,H in whole pixels (left, top, width, height), e.g. 60,0,512,480"
        ) from None
    return Crop(left_px=left, top_px=top, width_px=width, height_px=height)


def parse_seconds(text: float | None) -> float | None:
    """Check how long a live run shall be, s."""
    if text is not None and not 0.0 < text < math.inf:
        raise InputError(f"--seconds {text:g}: give a number of seconds above 0, e.g. 60")
    return text


def parse_place(text: str | None, option: str) -> Point | None:
    """Read "X,Y" as a place in the picture in px."""
    if text is None:
        return None
    try:
        x, y = (float(v) for v in text.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"{option} {text}: give a place in the picture as X,Y in pixels, e.g. 320,240")
    return x, y


def parse_hint(angle_deg: str | None, enters: str | None, start: str | None) -> Hint:
    """Read what the user knows of the needle beforehand."""
    from sonosteer.core.types import Hint

    if enters not in (None, "left", "right", "top"):
        raise InputError(f"--enters {enters!r}: left, right and top are possible")
    clicked = _start(start)
    return Hint(
        angle_rad=_angle_range(angle_deg, enters),
        enters=enters,  # type: ignore[arg-type]
        start_px=None if clicked is None else clicked[0],
        box_px=None if clicked is None else clicked[1],
    )


def _angle_range(text: str | None, enters: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(v) for v in text.split(":"))
    except ValueError:
        raise InputError(f"--angle-deg {text!r}: give LO:HI in degrees, e.g. 30:40") from None
    if not low < high:
        raise InputError(f"--angle-deg {text}: the range is upside down. Give the lower angle first, e.g. 30:40")
    if not 0 <= low < high <= 180:
        raise InputError(f"--angle-deg {text}: angles lie between 0 and 180 degrees (a needle goes down)")
    if enters == "right" and high <= 90:
        print(f"sonosteer: with --enters right, {text} is read as {180 - high:g}:{180 - low:g}", file=sys.stderr)
        low, high = 180 - high, 180 - low
    return math.radians(low), math.radians(high)


def _start(text: str | None) -> tuple[Point, tuple[int, int] | None] | None:
    """Read "X,Y" or "X,Y,W,H": the tip, and the size of the box around it that a general tracker follows."""
    if text is None:
        return None
    try:
        x, y, *size = (float(v) for v in text.split(","))
    except ValueError:
        x = y = math.nan
        size = []
    if not (math.isfinite(x) and math.isfinite(y)) or len(size) not in (0, 2):
        raise InputError(f"--start {text!r}: give the tip in the first frame as X,Y in pixels, or X,Y,W,H with a box")
    if not size:
        return (x, y), None
    if not all(math.isfinite(v) and v == int(v) and v >= 8 for v in size):  # chosen: KCF refuses smaller ones
        raise InputError(f"--start {text!r}: the box must be 8 pixels wide and high or more, in whole pixels")
    return (x, y), (int(size[0]), int(size[1]))


def parse_velocity(text: str | None) -> float | Path | None:
    """Read a speed in mm/s, or the path of a CSV file."""
    if text is None:
        return None
    try:
        speed = float(text)
    except ValueError:
        return Path(text)
    if not math.isfinite(speed):
        raise InputError(f"--velocity-mm-s {text}: give the insertion speed in mm/s, or a CSV time_s,velocity_mm_s")
    return speed


def parse_settings(settings: Sequence[str] | None, *, option: str = "--set") -> dict[str, Any]:
    """Read "name=value" pairs. "part.name=value" sets a part's own."""
    from sonosteer.core.config import parse_value

    out: dict[str, Any] = {}
    for item in settings or ():
        name, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"{option} {item!r}: give NAME=VALUE")
        out[name.strip()] = parse_value(value.strip())
    return out


def nested(settings: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over those of a file: {"part.name": value} replaces `name` in the table `part`."""
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
    """Read "0:0.0,30:0.05" as rates of rotation in rad/mm, each held from its depth in mm on."""
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


def parse_target(text: str | None) -> Point:
    """Read "Y,Z" as a place off the insertion axis in mm. The default is on the axis."""
    if text is None:
        return 0.0, 0.0
    try:
        y, z = (float(v) for v in text.split(","))
    except ValueError:
        y = z = math.nan
    if not (math.isfinite(y) and math.isfinite(z)):
        raise InputError(f"--target {text}: give y and z off the axis in mm, for example 3,-2")
    return y, z


def parse_forbidden(texts: Sequence[str] | None) -> tuple[Circle, ...]:
    """Read "circle:X,Y,RADIUS" as regions that the tip must keep out of, in mm of the first frame."""
    from sonosteer.safety.regions import Circle

    regions = []
    for i, text in enumerate(texts or ()):
        kind, _, numbers = text.partition(":")
        try:
            x, y, radius = (float(v) for v in numbers.split(","))
        except ValueError:
            x = y = radius = math.nan
        if kind != "circle" or not all(map(math.isfinite, (x, y, radius))):
            raise InputError(f"--forbid {text}: give circle:X,Y,RADIUS in mm of the first frame")
        regions.append(Circle(f"forbidden region {i + 1}", (x, y), radius))
    return tuple(regions)


def parse_calibration(text: str | None) -> Covariance:
    """Read "SD" or "SD_X,SD_Y" in mm as the covariance (xx, xy, yy) of the image's calibration, mm^2."""
    try:
        sds = [float(v) for v in (text or "0").split(",")]
    except ValueError:
        sds = []
    if len(sds) not in (1, 2) or not all(0.0 <= sd <= 100.0 for sd in sds):
        raise InputError(f"--calibration-sd-mm {text}: give one standard deviation in mm, or two, for x and for y")
    return sds[0] ** 2, 0.0, sds[-1] ** 2


def parse_mode(text: str) -> Literal["ips", "ipm"]:
    """Read what the probe does during an insertion."""
    if text == "ips":
        return "ips"
    if text == "ipm":
        return "ipm"
    raise InputError(f"--mode {text}: ips (the probe stands still) and ipm (it moves along) are possible")


def parse_demonstrated_split(text: str) -> Split:
    """Read the split of demonstrations. They are never of test scenes."""
    if text == "train":
        return "train"
    if text == "validation":
        return "validation"
    raise InputError(f"--split {text}: train and validation are possible. Test scenes are for the study")
