"""The tables that a calibration is made from: poses, marks, points, wires.

A table of poses has a row a pose. Its rotation is a quaternion or a whole matrix:

    frame,qw,qx,qy,qz,x_mm,y_mm,z_mm
    frame,m00,m01,m02,m03,m10,m11,m12,m13,m20,m21,m22,m23[,m30,m31,m32,m33]

`frame` and `time_s` may be left out. Translations are in mm, or in m with columns x_m, y_m, z_m.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonosteer.calibration.image import Wires
from sonosteer.calibration.poses import pose
from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.frames import check_rigid
from sonosteer.recording.tables import number, optional, read_table, whole

UNIT_NORM = 5e-3  # chosen: quaternions printed with three digits are this far from unit length
METRES_MM = 5.0  # chosen: no tracker and no robot works within 5 mm. Within 5 m they do
QUATERNION = ("qw", "qx", "qy", "qz")
MATRIX = tuple(f"m{i}{j}" for i in range(3) for j in range(4))
LAST_ROW = tuple(f"m3{j}" for j in range(4))


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Poses of one body."""

    frames: tuple[int, ...]
    """Number of the picture of each. Counted from 0 if the table does not say."""
    times_s: tuple[float, ...] | None
    """Time of each, s. None if the table does not say."""
    T: F64
    """(n, 4, 4) rigid matrices, translations in mm."""
    name: str
    """Where they are from."""
    invalid: frozenset[int] = frozenset()
    """Pictures, by index, whose pose the file calls invalid. Empty for a table."""

    def of(self, wanted: tuple[int, ...], where: str) -> F64:
        """(m, 4, 4) the poses of some pictures. where: who asks. Raises InputError if one has none."""
        at = {frame: i for i, frame in enumerate(self.frames)}
        lacking = [frame for frame in wanted if frame not in at]
        if lacking:
            raise InputError(
                f"{where} names frame {lacking[0]}, which has no pose in {self.name} "
                f"({len(lacking)} such rows); number both alike"
            )
        return self.T[[at[frame] for frame in wanted]]


def read_pose_table(path: Path) -> Poses:
    """Read a table of poses. Raises InputError with the line and what is wrong with its pose."""
    rows = read_table(path, (), _pose_row)
    if not rows:
        raise InputError(f"{path} has no poses")
    frames = [row[0] for row in rows]
    if None in frames and any(frame is not None for frame in frames):
        raise InputError(f"{path}: some rows have a frame and some have none")
    numbered = tuple(range(len(rows))) if None in frames else tuple(int(f) for f in frames if f is not None)
    if len(set(numbered)) < len(numbered):
        raise InputError(f"{path}: a frame stands twice")
    times = tuple(row[1] for row in rows if row[1] is not None)
    T = np.stack([row[2] for row in rows])
    check_millimetres(T, str(path))
    return Poses(numbered, times if len(times) == len(rows) else None, T, str(path))


def check_millimetres(T: F64, name: str) -> None:
    """Raise InputError if the translations of poses (n, 4, 4) can only be metres."""
    reach = float(np.abs(T[:, :3, 3]).max())
    if 0.0 < reach < METRES_MM:
        raise InputError(
            f"{name}: all positions lie within {reach:.3g} mm of the origin. They seem to be in metres: "
            "name the columns x_m, y_m, z_m, or give millimetres"
        )


def _pose_row(row: dict[str, str]) -> tuple[int | None, float | None, F64]:
    frame = whole(row, "frame") if (row.get("frame") or "").strip() else None
    return frame, optional(row, "time_s"), _matrix_of(row)


def _matrix_of(row: dict[str, str]) -> F64:
    try:
        if all(name in row for name in MATRIX):
            T = np.eye(4)
            T[:3] = np.array([number(row, name) for name in MATRIX]).reshape(3, 4)
            if all(name in row for name in LAST_ROW):
                T[3] = [number(row, name) for name in LAST_ROW]
            return check_rigid(T, "its matrix")
        if not all(name in row for name in QUATERNION):
            raise ValueError(f"a pose needs {','.join(QUATERNION)},x_mm,y_mm,z_mm or {MATRIX[0]} to {MATRIX[-1]}")
        q = np.array([number(row, name) for name in QUATERNION])
        size = float(np.linalg.norm(q))
        if abs(size - 1.0) > UNIT_NORM:
            raise ValueError(f"the quaternion has the length {size:.4g}, not 1")
        return pose(_of_quaternion(q / size), _position(row))
    except InputError as e:
        raise ValueError(str(e)) from None


def _position(row: dict[str, str]) -> F64:
    for unit, factor in (("mm", 1.0), ("m", 1000.0)):
        names = [f"{axis}_{unit}" for axis in "xyz"]
        if all(name in row for name in names):
            return np.array([factor * number(row, name) for name in names])
    raise ValueError("a position needs x_mm,y_mm,z_mm (or x_m,y_m,z_m)")


def _of_quaternion(q: F64) -> F64:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class ImageMarks:
    """Places seen in pictures."""

    frames: tuple[int, ...]
    """Number of the picture of each."""
    px: F64
    """(n, 2) place of each, px."""
    wires: tuple[str, ...] | None
    """Wire of each. None if the table does not say."""
    times_s: tuple[float, ...] | None
    """Time of each, s. None if the table does not say."""
    mm: F64 | None
    """(n, 2) place of each, image mm. None if the table does not say."""

    def without(self, invalid: frozenset[int]) -> ImageMarks:
        """The marks of all pictures but some."""
        at = [i for i, frame in enumerate(self.frames) if frame not in invalid]
        return ImageMarks(
            frames=tuple(self.frames[i] for i in at),
            px=self.px[at],
            wires=None if self.wires is None else tuple(self.wires[i] for i in at),
            times_s=None if self.times_s is None else tuple(self.times_s[i] for i in at),
            mm=None if self.mm is None else self.mm[at],
        )


def read_image_marks(path: Path) -> ImageMarks:
    """Read marks: frame,tip_x_px,tip_y_px, also tips.csv of `track`. Rows without a place are left out."""

    def parse(row: dict[str, str]) -> tuple[int, float | None, float | None, str | None, float | None, F64 | None]:
        x, y = optional(row, "tip_x_px"), optional(row, "tip_y_px")
        mm = optional(row, "tip_x_mm"), optional(row, "tip_y_mm")
        place = None if mm[0] is None or mm[1] is None else np.array([mm[0], mm[1]])
        return whole(row, "frame"), x, y, (row.get("wire") or "").strip() or None, optional(row, "time_s"), place

    rows = [
        row
        for row in read_table(path, ("frame", "tip_x_px", "tip_y_px"), parse)
        if row[1] is not None and row[2] is not None
    ]
    if not rows:
        raise InputError(f"{path} has no marks")
    wires = tuple(row[3] for row in rows if row[3] is not None)
    times = tuple(row[4] for row in rows if row[4] is not None)
    places = [row[5] for row in rows if row[5] is not None]
    return ImageMarks(
        frames=tuple(row[0] for row in rows),
        px=np.array([[row[1], row[2]] for row in rows], float),
        wires=wires if len(wires) == len(rows) else None,
        times_s=times if len(times) == len(rows) else None,
        mm=np.array(places) if len(places) == len(rows) else None,
    )


def read_points(path: Path) -> tuple[tuple[int, ...], F64]:
    """Read points in the world: frame,x_mm,y_mm,z_mm. Returns the frames and (n, 3) mm."""
    rows = read_table(path, ("frame",), lambda row: (whole(row, "frame"), _position(row)), unique="frame")
    if not rows:
        raise InputError(f"{path} has no points")
    return tuple(row[0] for row in rows), np.stack([row[1] for row in rows])


def read_wires(path: Path) -> Wires:
    """Read a phantom: wire,x1_mm,y1_mm,z1_mm,x2_mm,y2_mm,z2_mm, two points of each wire in the phantom's frame."""
    columns = [f"{axis}{end}_mm" for end in (1, 2) for axis in "xyz"]

    def parse(row: dict[str, str]) -> tuple[str, F64]:
        ends = np.array([number(row, name) for name in columns]).reshape(2, 3)
        if np.linalg.norm(ends[1] - ends[0]) < 1.0:
            raise ValueError("the two points of a wire lie within 1 mm: give its ends")
        return row["wire"].strip(), ends

    rows = read_table(path, ("wire", *columns), parse)
    names = tuple(row[0] for row in rows)
    if len(set(names)) < len(names):
        raise InputError(f"{path}: a wire stands twice")
    if len(names) < 5:
        raise InputError(
            f"{path} has {len(names)} wires: five are needed for a picture to say where it is, two N make six"
        )
    ends = np.stack([row[1] for row in rows])
    return Wires(names, ends[:, 0], ends[:, 1])


def read_signal(path: Path, columns: tuple[str, ...]) -> tuple[F64, F64]:
    """Read (n,) times in s and (n, k) values of some columns. Rows with an empty one are left out.

    Raises InputError if the times do not rise.
    """

    def parse(row: dict[str, str]) -> tuple[float, list[float | None]]:
        return number(row, "time_s"), [optional(row, name) for name in columns]

    rows = [row for row in read_table(path, ("time_s", *columns), parse) if None not in row[1]]
    if len(rows) < 2:
        raise InputError(f"{path} has {len(rows)} rows with {','.join(columns)}")
    times = np.array([row[0] for row in rows])
    if (np.diff(times) <= 0).any():
        raise InputError(f"{path}: time_s must rise from row to row")
    return times, np.array([row[1] for row in rows], float)
