"""Markups of 3D Slicer, `.mrk.json`: a tip's way as a curve or a list of points, out and in again.

The format is Slicer's schema of markups, version 1.0.3. Slicer stores LPS (x to the patient's left, y to the back, z to
the head) and shows RAS. A file says which of them its numbers are.

* **Without poses** a position is (x mm, y mm, 0) of the picture, in LPS. So it lies on the picture as Slicer loads a
  MetaImage without a position of its own.
* **With poses** a position is in the world of the tracking system, in RAS. Slicer's extensions for tracked ultrasound
  take the matrices of PLUS as transforms between RAS spaces, so that the numbers are the tracker's own.

A control point says its frame in its label: `frame 12`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sonosteer.core.config import load_json
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Vector
from sonosteer.recording.marks import FRAME_WORD
from sonosteer.recording.tables import writing_failed

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
ENDING = ".mrk.json"
MarkupKind: TypeAlias = Literal["Curve", "Fiducial"]
Axes: TypeAlias = Literal["LPS", "RAS"]
UPRIGHT = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]  # Slicer's own orientation of a new point
#: (frame, position in mm, axes) -> place in the picture, px, or None where the frame has no pose
PlaceInPicture: TypeAlias = Callable[[int, Vector, Axes], Point | None]


@dataclass(frozen=True, slots=True)
class MarkupPoint:
    """One control point."""

    frame: int
    """Index of the frame that it belongs to."""
    position_mm: Vector
    """Its place, mm: (x, y, z) in the axes of `axes`."""
    axes: Axes
    """LPS or RAS, as the file says."""
    note: str = ""
    """What its description says."""
    sure: bool = True
    """Whether it is selected. A tip that was only predicted is not."""
    where: str = ""
    """Where it stands in the file, for messages."""


def turned(position_mm: Vector, axes: Axes, wanted: Axes) -> Vector:
    """A position in other axes: LPS and RAS differ in the signs of x and y."""
    x, y, z = position_mm
    return position_mm if axes == wanted else (-x, -y, z)


def write_markups(
    path: Path, points: Iterable[MarkupPoint], *, axes: Axes, kind: MarkupKind = "Curve", name: str = "needle tip"
) -> int:
    """Write a curve or a list of points. Returns the number of points. Raises InputError if there is none.

    axes: of the file. Points in the others are turned. Numbers come back to the last bit.
    """
    controls = []
    for n, point in enumerate(points, 1):
        position = turned(point.position_mm, point.axes, axes)
        if not all(map(math.isfinite, position)):
            raise InputError(f"the tip of frame {point.frame} has no finite position: it cannot be a markup")
        controls.append(
            {
                "id": str(n),
                "label": f"frame {point.frame}",
                "description": point.note,
                "associatedNodeID": "",
                "position": list(position),
                "orientation": UPRIGHT,
                "selected": point.sure,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
        )
    if not controls:
        raise InputError(f"{path} was not written: no frame has a tip")
    markup = {
        "type": kind,
        "coordinateSystem": axes,
        "coordinateUnits": "mm",
        "locked": True,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(controls),
        "controlPoints": controls,
        "measurements": [],
        "display": {"visibility": True, "propertiesLabelVisibility": True, "pointLabelsVisibility": kind != "Curve"},
    }
    whole: dict[str, Any] = {"@schema": SCHEMA, "markups": [{"name": name, **markup}]}
    try:
        path.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as e:
        raise writing_failed(path, e, "the other results are kept") from None
    return len(controls)


def read_markups(path: Path) -> list[MarkupPoint]:
    """Read the control points of all markups of a file. Raises InputError in one line for what cannot be used."""
    whole = load_json(path)
    try:
        points = [p for m in whole["markups"] for p in _points(path, m)]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{path} is no file of markups: {type(e).__name__} {e}") from None
    if not points:
        raise InputError(f"{path} has no control point")
    taken: dict[int, str] = {}
    for point in points:
        if point.frame in taken:
            raise InputError(f"{path}, {point.where}: {taken[point.frame]} is of frame {point.frame}, too")
        taken[point.frame] = point.where
    return points


def _points(path: Path, markup: dict[str, Any]) -> Sequence[MarkupPoint]:
    said, unit = markup.get("coordinateSystem", "LPS"), markup.get("coordinateUnits", "mm")
    axes: Axes | None = {"LPS": "LPS", "RAS": "RAS", "0": "RAS", "1": "LPS"}.get(str(said))  # type: ignore[assignment]
    if axes is None:
        raise InputError(f"{path}: coordinateSystem is {said!r}; LPS and RAS are known")
    unit = unit[0] if isinstance(unit, list) and unit else unit  # a code, its scheme and its meaning
    if unit != "mm":
        raise InputError(f"{path}: coordinateUnits is {unit!r}; mm is read")
    out = []
    for n, control in enumerate(markup["controlPoints"], 1):
        where = f"control point {control.get('label') or n}"
        if control.get("positionStatus", "defined") != "defined":
            continue
        found = FRAME_WORD.search(f"{control.get('label', '')} {control.get('description', '')}")
        if found is None:
            raise InputError(f"{path}, {where}: nothing says which frame it is of: label it `frame 12`")
        x, y, z = (float(v) for v in control["position"])
        if not all(map(math.isfinite, (x, y, z))):
            raise InputError(f"{path}, {where}: its position is not finite")
        out.append(
            MarkupPoint(
                frame=int(found[1]),
                position_mm=(x, y, z),
                axes=axes,
                note=str(control.get("description", "")),
                sure=bool(control.get("selected", True)),
                where=where,
            )
        )
    return out
