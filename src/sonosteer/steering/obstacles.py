"""What the needle must not touch: spheres, boxes and masks from images, as one field of signed distance.

Coordinates are the needle's: depth along the insertion axis, y and z across it, in mm from the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, F64
from sonosteer.core.errors import InputError, MissingExtraError

STEP_MM = 0.5  # ours: a sphere of 4 mm is then 0.01 mm off, the corner of a box 0.2
FAR_MM = 1e3


@dataclass(frozen=True, slots=True)
class Sphere:
    """Centre (depth, y, z) and radius in mm."""

    centre_mm: tuple[float, float, float]
    radius_mm: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre_mm).all() and 0 < self.radius_mm < FAR_MM):
            raise InputError(f"obstacle: a sphere at {self.centre_mm} of radius {self.radius_mm} mm makes no sense")

    def distance(self, points: F64) -> F64:
        """Signed distance of (..., 3) points, negative inside."""
        out: F64 = np.linalg.norm(points - np.array(self.centre_mm), axis=-1) - self.radius_mm
        return out


@dataclass(frozen=True, slots=True)
class Box:
    """Lowest and highest corner (depth, y, z) in mm."""

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        corners = np.array([self.low_mm, self.high_mm])
        if not (np.isfinite(corners).all() and (corners[1] > corners[0]).all()):
            raise InputError(f"obstacle: a box from {self.low_mm} to {self.high_mm} mm has no inside")

    def distance(self, points: F64) -> F64:
        """Signed distance of (..., 3) points, negative inside."""
        low, high = np.array(self.low_mm), np.array(self.high_mm)
        off = np.abs(points - 0.5 * (low + high)) - 0.5 * (high - low)
        out: F64 = np.linalg.norm(np.maximum(off, 0.0), axis=-1) + np.minimum(off.max(axis=-1), 0.0)
        return out


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels that are forbidden, (depth, y, z), from a segmented image: origin of the first voxel and spacing in mm."""

    voxels: NDArray[np.bool_]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or not all(s > 0 for s in self.spacing_mm):
            raise InputError("obstacle: a mask needs three dimensions and a spacing above 0 mm each way")

    def distance(self, points: F64) -> F64:
        """Signed distance of (..., 3) points, negative inside; the mask is continued by free space."""
        from scipy.ndimage import distance_transform_edt, map_coordinates

        around = np.pad(self.voxels.astype(bool), 1)
        if not around.any():
            return np.full(points.shape[:-1], FAR_MM)
        spacing = np.array(self.spacing_mm)
        outside = distance_transform_edt(~around, sampling=spacing)
        inside = distance_transform_edt(around, sampling=spacing)
        signed = np.where(around, 0.5 * spacing.min() - inside, outside - 0.5 * spacing.max())  # rather too near
        at = (points - np.array(self.origin_mm)) / spacing + 1.0
        edge = np.array(around.shape) - 1.0
        held = np.clip(at, 0.0, edge)
        beyond = np.linalg.norm((at - held) * spacing, axis=-1)
        near = map_coordinates(signed, held.reshape(-1, 3).T, order=1).reshape(points.shape[:-1])
        out: F64 = np.where(beyond > 0, np.hypot(np.maximum(near, 0.0), beyond), near)  # never more than it is
        return out


@dataclass(frozen=True, eq=False)
class Obstacles:
    """Signed distance in mm on a grid of `step_mm` from `origin_mm`; `field` of one value: there is none."""

    field: F32
    origin_mm: F64
    step_mm: float

    @property
    def present(self) -> bool:
        """Is there any?"""
        return len(self.field) > 1

    def clearance_mm(self, points: F64) -> F64:
        """Signed distance of (n, 3) points (depth, y, z) from the nearest obstacle."""
        from sonosteer.steering.moves import clearance_at

        return np.array([clearance_at(self.field, self.origin_mm, self.step_mm, *map(float, p)) for p in points])


NO_OBSTACLES = Obstacles(np.full((1, 1, 1), FAR_MM, np.float32), np.zeros(3), 1.0)


def obstacles(
    parts: Sequence[Sphere | Box | Mask], depth_mm: float = 120.0, half_width_mm: float = 25.0, step_mm: float = STEP_MM
) -> Obstacles:
    """The field of several obstacles from the entry to a depth and half_width_mm either way."""
    if not parts:
        return NO_OBSTACLES
    along = np.arange(0.0, depth_mm + 2 * step_mm, step_mm)
    across = np.arange(-half_width_mm, half_width_mm + step_mm / 2, step_mm)
    points = np.stack(np.meshgrid(along, across, across, indexing="ij"), axis=-1)
    nearest = np.min([part.distance(points) for part in parts], axis=0)
    return Obstacles(
        np.ascontiguousarray(nearest, np.float32), np.array([0.0, -half_width_mm, -half_width_mm]), step_mm
    )


def parse_obstacle(text: str) -> Sphere | Box | Mask:
    """sphere:DEPTH,Y,Z,RADIUS or box:DEPTH,Y,Z,DEPTH,Y,Z (lowest, highest corner) in mm, or mask:FILE (see
    `read_mask`). InputError says what is wrong.
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
    return Box((a, b, c), (numbers[3], numbers[4], numbers[5]))


def read_mask(path: Path) -> Mask:
    """A segmented image (.mha, .nrrd, .nii ...): every voxel that is not 0 is forbidden. The image's x, y, z are the
    needle's depth, y, z. InputError for a file that cannot be read; MissingExtraError without SimpleITK.
    """
    try:
        import SimpleITK
    except ImportError:
        raise MissingExtraError(f"robot state {path}", "SimpleITK", "metaimage") from None
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as an image: {str(e).splitlines()[-1]}") from None
    if image.GetDimension() != 3:
        raise InputError(f"{path}: a mask of obstacles has three dimensions, not {image.GetDimension()}")
    x, y, z = image.GetOrigin()
    dx, dy, dz = image.GetSpacing()
    voxels = np.ascontiguousarray(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0) != 0)
    return Mask(voxels, (x, y, z), (dx, dy, dz))
