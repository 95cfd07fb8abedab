"""Describes what the needle must not touch: spheres, boxes and image masks, as one field of signed distance.

Coordinates are those of the needle, in mm from the entry: depth along the insertion axis, y and z across it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, F64
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.guarded import GuardedReader

GRID_STEP_MM = 0.5  # chosen: a sphere of 4 mm is then 0.01 mm off, the corner of a box 0.2 mm
DATA_FILE = re.compile(r"^[ \t]*(?:ElementDataFile[ \t]*[=:]|data ?file:)([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
FREE_MM = 1e3  # chosen: clearance where there is no obstacle


@dataclass(frozen=True, slots=True)
class Sphere:
    """A ball that the needle must not touch."""

    centre_mm: tuple[float, float, float]
    """Centre (depth, y, z), mm."""
    radius_mm: float
    """Radius, mm. Above 0."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre_mm).all() and 0 < self.radius_mm < FREE_MM):
            raise InputError(f"obstacle: a sphere at {self.centre_mm} of radius {self.radius_mm} mm makes no sense")

    def distance(self, points: F64) -> F64:
        """Return the signed distance of (..., 3) points, mm. It is negative inside."""
        out: F64 = np.linalg.norm(points - np.array(self.centre_mm), axis=-1) - self.radius_mm
        return out


@dataclass(frozen=True, slots=True)
class Cuboid:
    """A box along the axes that the needle must not touch."""

    low_mm: tuple[float, float, float]
    """Lowest corner (depth, y, z), mm."""
    high_mm: tuple[float, float, float]
    """Highest corner (depth, y, z), mm."""

    def __post_init__(self) -> None:
        corners = np.array([self.low_mm, self.high_mm])
        if not (np.isfinite(corners).all() and (corners[1] > corners[0]).all()):
            raise InputError(f"obstacle: a box from {self.low_mm} to {self.high_mm} mm has no inside")

    def distance(self, points: F64) -> F64:
        """Return the signed distance of (..., 3) points, mm. It is negative inside."""
        low, high = np.array(self.low_mm), np.array(self.high_mm)
        off = np.abs(points - 0.5 * (low + high)) - 0.5 * (high - low)
        out: F64 = np.linalg.norm(np.maximum(off, 0.0), axis=-1) + np.minimum(off.max(axis=-1), 0.0)
        return out


@dataclass(frozen=True, eq=False)
class Mask:
    """Forbidden voxels from a segmented image."""

    voxels: NDArray[np.bool_]
    """(depth, y, z) grid, True where the needle must not go, no unit."""
    origin_mm: tuple[float, float, float]
    """Centre (depth, y, z) of the first voxel, mm."""
    spacing_mm: tuple[float, float, float]
    """Distance between voxels (depth, y, z), mm. Above 0."""

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or not all(s > 0 for s in self.spacing_mm):
            raise InputError("obstacle: a mask needs three dimensions and a spacing above 0 mm each way")

    def distance(self, points: F64) -> F64:
        """Return the signed distance of (..., 3) points, mm. It is negative inside. Outside the image all is free."""
        from scipy.ndimage import distance_transform_edt, map_coordinates

        around = np.pad(self.voxels.astype(bool), 1)
        if not around.any():
            return np.full(points.shape[:-1], FREE_MM)
        spacing = np.array(self.spacing_mm)
        outside = distance_transform_edt(~around, sampling=spacing)
        inside = distance_transform_edt(around, sampling=spacing)
        signed = np.where(around, 0.5 * spacing.min() - inside, outside - 0.5 * spacing.max())  # errs towards too near
        at = (points - np.array(self.origin_mm)) / spacing + 1.0
        edge = np.array(around.shape) - 1.0
        held = np.clip(at, 0.0, edge)
        beyond = np.linalg.norm((at - held) * spacing, axis=-1)
        near = map_coordinates(signed, held.reshape(-1, 3).T, order=1).reshape(points.shape[:-1])
        out: F64 = np.where(beyond > 0, np.hypot(np.maximum(near, 0.0), beyond), near)  # never too large
        return out


@dataclass(frozen=True, eq=False)
class Obstacles:
    """The signed distance from the nearest obstacle, on a grid."""

    field: F32
    """(depth, y, z) signed distance, mm. A single value if there is no obstacle."""
    origin_mm: F64
    """Position (depth, y, z) of the first grid point, mm."""
    step_mm: float
    """Distance between grid points, mm."""

    @property
    def present(self) -> bool:
        """Whether there is any obstacle."""
        return len(self.field) > 1

    def clearance_mm(self, points: F64) -> F64:
        """Return the signed distance of (n, 3) points (depth, y, z) from the nearest obstacle, mm."""
        from sonosteer.steering.moves import clearance_at

        return np.array([clearance_at(self.field, self.origin_mm, self.step_mm, *map(float, p)) for p in points])


NO_OBSTACLES = Obstacles(field=np.full((1, 1, 1), FREE_MM, np.float32), origin_mm=np.zeros(3), step_mm=1.0)


def combine_obstacles(
    parts: Sequence[Sphere | Cuboid | Mask],
    depth_mm: float = 120.0,
    half_width_mm: float = 25.0,
    step_mm: float = GRID_STEP_MM,
) -> Obstacles:
    """Return the field of several obstacles, from the entry to depth_mm and half_width_mm either way."""
    if not parts:
        return NO_OBSTACLES
    along = np.arange(0.0, depth_mm + 2 * step_mm, step_mm)
    across = np.arange(-half_width_mm, half_width_mm + step_mm / 2, step_mm)
    points = np.stack(np.meshgrid(along, across, across, indexing="ij"), axis=-1)
    nearest = np.min([part.distance(points) for part in parts], axis=0)
    origin_mm = np.array([0.0, -half_width_mm, -half_width_mm])
    return Obstacles(field=np.ascontiguousarray(nearest, np.float32), origin_mm=origin_mm, step_mm=step_mm)


def parse_obstacle(text: str) -> Sphere | Cuboid | Mask:
    """Read an obstacle as typed: sphere:DEPTH,Y,Z,RADIUS, box:DEPTH,Y,Z,DEPTH,Y,Z or mask:FILE.

    Numbers are mm. A box has its lowest corner first. For masks see `read_mask`. Raises InputError if the text makes no
    sense.
    """
    kind, _, rest = text.partition(":")
    wanted = {"sphere": 4, "box": 6}
    if kind == "mask":
        return read_mask(Path(rest))
    try:
        numbers = [float(v) for v in rest.split(",")]
    except ValueError:
        numbers = []
    if kind not in wanted or len(numbers) != wanted[kind]:
        raise InputError(
            f"obstacle {text!r}: give sphere:DEPTH,Y,Z,RADIUS, box:DEPTH,Y,Z,DEPTH,Y,Z in mm, or mask:FILE"
        )
    a, b, c = numbers[:3]
    if kind == "sphere":
        return Sphere((a, b, c), numbers[3])
    return Cuboid((a, b, c), (numbers[3], numbers[4], numbers[5]))


def read_mask(path: Path) -> Mask:
    """Read a segmented image (.mha, .nrrd, .nii ...). Every voxel that is not 0 is forbidden.

    The x, y, z of the image are the depth, y, z of the needle. Raises InputError if the file cannot be read within the
    bounds of `core.guarded`, and MissingExtraError without SimpleITK.
    """
    if importlib.util.find_spec("SimpleITK") is None:
        raise MissingExtraError(f"reading {path}", "SimpleITK", "metaimage")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    _check_data_file(path)
    # SimpleITK hangs or dies on some damaged headers, not even ended by SIGTERM
    reader, reads = GuardedReader(), "sonosteer.steering.mask_file"
    try:
        size = path.stat().st_size
        voxels = reader.read(str(path), f"{reads}:read_voxels", str(path), mapped_bytes=size)
        origin, spacing = reader.read(str(path), f"{reads}:read_place", str(path), mapped_bytes=size)
    finally:
        reader.close()
    if voxels.ndim != 3:
        raise InputError(f"{path}: a mask of obstacles has three dimensions, not {voxels.ndim}")
    x, y, z = origin.tolist()
    dx, dy, dz = spacing.tolist()
    return Mask(np.ascontiguousarray(voxels.transpose(2, 1, 0) != 0), (x, y, z), (dx, dy, dz))


def _check_data_file(path: Path) -> None:
    """Raise InputError if the header of a MetaImage or NRRD file keeps its voxels outside its own folder."""
    with path.open("rb") as file:
        head = file.read(1 << 25).decode("latin-1")
    folder = path.parent.resolve()
    for name in DATA_FILE.findall(head):
        data = (folder / name.strip()).resolve() if "\0" not in name else folder.parent
        if name.strip().upper() != "LOCAL" and (not data.is_relative_to(folder) or not data.is_file()):
            raise InputError(f"{path} keeps its voxels in a file that is not in its own folder; write both into one")
