"""From the picture to the world: which transforms of a tracked sequence lead there. Named or unambiguous, not guessed.

PLUS writes transforms of each frame, such as `ProbeToTrackerTransform`, and often leaves the calibration `ImageToProbe`
to its configuration. A chain begins at Image: `ImageToProbe=calibration.txt,ProbeToTracker`. Each step is a transform
of the file, or `NAME=FILE` with 16 numbers, row by row. Without a chain it is the only `ImageTo...` of the file. With
several of them, or none, there is no world.

PLUS counts its Image frame in pixels, other programs in millimetres. The lengths of the matrix's columns tell which:
1 is a millimetre, the scale of the picture is a pixel. If it is neither, the matrix is refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Point, Spacing, transform_point
from sonosteer.core.protocols import Source
from sonosteer.core.types import Vector
from sonosteer.recording.markups import Axes, PlaceInPicture, turned

STEP = re.compile(r"(\w+?)To(\w+?)(Transform)?")
SAME_LENGTH = 0.02  # chosen: calibrations differ from the header's scale by less
SQUARE = 0.02  # chosen: x and y of a calibrated picture differ from a right angle by less, as a cosine
MAX_OUT_OF_PLANE_MM = 1.0  # chosen: a mark farther off the picture than this is of another frame


@dataclass(frozen=True)
class PoseStep:
    """One transform of a chain."""

    begin: str
    """Frame of reference that it begins in, such as Image."""
    end: str
    """Frame of reference that it ends in."""
    matrix: Matrix | None = field(default=None, compare=False)
    """4x4, the same for all frames. None: each frame of the file has its own."""

    @property
    def name(self) -> str:
        """As PLUS writes it, without Transform."""
        return f"{self.begin}To{self.end}"


PoseChain = tuple[PoseStep, ...]


def parse_poses(text: str) -> PoseChain:
    """Read "ImageToProbe=calibration.txt,ProbeToTracker" as a chain. Raises InputError if its ends do not meet."""
    steps: list[PoseStep] = []
    for word in text.split(","):
        name, equals, file = word.strip().partition("=")
        found = STEP.fullmatch(name)
        if found is None:
            raise InputError(f"`poses` {word!r}: name transforms such as ImageToProbe, parted by commas")
        steps.append(PoseStep(found[1], found[2], _read_matrix(Path(file)) if equals else None))
    if steps[0].begin != "Image":
        raise InputError(
            f"`poses` {text} begins at {steps[0].begin}, but the tip is in the Image: begin with ImageTo..., and give "
            f"a calibration as ImageTo{steps[0].begin}=FILE if the sequence lacks it"
        )
    for a, b in itertools.pairwise(steps):
        if a.end != b.begin:
            raise InputError(f"`poses` {text}: {a.name} ends in {a.end}, but {b.name} begins in {b.begin}")
    return tuple(steps)


def _read_matrix(path: Path) -> Matrix:
    """16 numbers of a text file, row by row."""
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").split()
        values = np.array([float(w) for w in words])
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {getattr(e, 'strerror', None) or 'it is no text'}") from None
    except ValueError:
        raise InputError(f"{path} holds something else than numbers: a transform has 16, row by row") from None
    if values.shape != (16,) or not np.isfinite(values).all():
        raise InputError(f"{path} holds {values.size} numbers: a transform has 16 finite ones, row by row")
    return checked_matrix(values.reshape(4, 4), str(path))


def checked_matrix(matrix: Matrix, what: str) -> Matrix:
    """The matrix, if it is affine and can be inverted. Raises InputError if not."""
    if not np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0)) or abs(float(np.linalg.det(matrix[:3, :3]))) < 1e-12:
        raise InputError(f"{what} is no transform: its last row must be 0 0 0 1, and it must not be flat")
    return matrix


def chain_of(names: Sequence[str], asked: PoseChain | None, where: Path) -> tuple[PoseChain | None, tuple[str, ...]]:
    """(the chain to follow or None, a line about poses that are there and are not used).

    names: transforms that the file has, without Transform. Raises InputError if one that was asked for is missing.
    """
    known = sorted(set(names))
    if asked is not None:
        missing = [s.name for s in asked if s.matrix is None and s.name not in known]
        if missing:
            raise InputError(f"{where} has no transform {missing[0]}; there are: {', '.join(known) or 'none'}")
        return asked, ()
    direct = [n for n in known if n.startswith("ImageTo")]
    if len(direct) == 1:
        return parse_poses(direct[0]), ()
    if not known:
        return None, ()
    which = "several ways to the world" if direct else "poses, but none of its Image"
    return None, (f"it has {which} ({', '.join(known)}): tips are not in world mm until `poses` names the chain",)


def chain_matrix(chain: PoseChain, said: Mapping[str, Matrix]) -> Matrix | None:
    """The whole chain as one matrix. None if a step has no valid matrix. said: matrices of the frame by name."""
    total: Matrix = np.eye(4)
    for step in chain:
        matrix = step.matrix if step.matrix is not None else said.get(step.name)
        if matrix is None:
            return None
        total = matrix @ total
    return total


def image_in_mm(matrix: Matrix, spacing: Spacing | None, where: str) -> Matrix:
    """A matrix from image mm, of one from image mm or from pixels. spacing: None if the scale is unknown.

    Raises InputError if the Image frame is neither in pixels nor in millimetres.
    """
    lengths = np.linalg.norm(matrix[:3, :2], axis=0)
    if abs(float(matrix[:3, 0] @ matrix[:3, 1])) > SQUARE * float(lengths.prod()):
        raise InputError(f"{where}: the picture's x and y are not at a right angle in the world: check the calibration")
    if np.allclose(lengths, 1.0, rtol=SAME_LENGTH):
        return matrix
    spacing = spacing or Spacing(*lengths.tolist())
    if np.allclose(lengths, (spacing.x_mm, spacing.y_mm), rtol=SAME_LENGTH):
        return matrix @ np.diag([1.0 / spacing.x_mm, 1.0 / spacing.y_mm, 1.0, 1.0])
    raise InputError(
        f"{where}: a step of the picture is {lengths[0]:.4g} x {lengths[1]:.4g} mm in the world, but the scale is "
        f"{spacing.x_mm:g} x {spacing.y_mm:g} mm per pixel: check `spacing_mm` and the calibration"
    )


def pixel_size(matrix: Matrix) -> Spacing | None:
    """Scale that a matrix from pixels says, mm per pixel. None if it is from millimetres."""
    x, y = (float(v) for v in np.linalg.norm(matrix[:3, :2], axis=0))
    if abs(x - 1.0) < SAME_LENGTH and abs(y - 1.0) < SAME_LENGTH:
        return None
    return Spacing(x, y)


def tip_in_world(T_world_image: Matrix | None, tip_mm: Point | None) -> Vector | None:
    """A tip in world mm. None without a pose or without a tip."""
    if T_world_image is None or tip_mm is None:
        return None
    return transform_point(T_world_image, (tip_mm[0], tip_mm[1], 0.0))


def place_by_scale(name: str, spacing: Spacing | None) -> PlaceInPicture:
    """Turns positions of markups into places in the pictures of a clip without poses: mm of the picture, in LPS.

    name: of the clip, for messages. It raises InputError if the scale is unknown, or the place is not in the picture.
    """

    def place(frame: int, position_mm: Vector, axes: Axes) -> Point | None:
        if spacing is None:
            raise InputError(f"{name}: markups are in mm, and the scale is unknown: give `spacing_mm`")
        x, y, z = turned(position_mm, axes, "LPS")
        return spacing.to_px(_on_picture(name, frame, (x, y, z)))

    return place


def _on_picture(name: str, frame: int, place_mm: Vector) -> Point:
    """(x, y) of a place in the mm of a picture. Raises InputError if it is off the picture's plane."""
    x, y, z = place_mm
    if abs(z) > MAX_OUT_OF_PLANE_MM:
        raise InputError(f"{name}: the mark of frame {frame} lies {abs(z):.1f} mm off its picture")
    return x, y


def place_in(source: Source) -> PlaceInPicture:
    """Turns positions of markups into places in a clip's pictures. Poses are read when the first one is asked for.

    Where the clip has poses the position is in the world, in RAS. Else it is in mm of the picture, in LPS. It returns
    None for a frame without a pose. It raises InputError if the scale is unknown, or the place is not in the picture.
    """
    poses: dict[int, Matrix | None] = {}
    flat = place_by_scale(source.info.name, source.info.spacing)

    def place(frame: int, position_mm: Vector, axes: Axes) -> Point | None:
        spacing = source.info.spacing
        if spacing is None:
            return flat(frame, position_mm, axes)
        if not poses:
            poses.update((f.index, f.T_world_image) for f in source.frames())
        if all(T is None for T in poses.values()):
            return flat(frame, position_mm, axes)
        T = poses.get(frame)
        if T is None:
            return None
        T_image_world: Matrix = np.array(np.linalg.inv(T), dtype=np.float64)
        place_mm = transform_point(T_image_world, turned(position_mm, axes, "RAS"))
        return spacing.to_px(_on_picture(source.info.name, frame, place_mm))

    return place
