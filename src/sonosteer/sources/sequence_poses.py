"""Poses of a tracked body from a sequence of PLUS or 3D Slicer: one of the transforms beside its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonosteer.calibration.tables import Poses, check_millimetres, read_pose_table
from sonosteer.core.errors import InputError
from sonosteer.core.frames import check_rigid
from sonosteer.sources.metaimage import MetaImageSequence

SEQUENCES = (".mha", ".mhd", ".nrrd", ".nhdr")


def read_poses(path: Path, transform: str | None = None) -> Poses:
    """Read poses from a table or a sequence.

    transform: name of the sequence's transform, such as StylusToTracker. Not needed if there is only one, and not for
    a table. Raises InputError with what is wrong.
    """
    if path.suffix.lower() not in SEQUENCES:
        if transform is not None:
            raise InputError(
                f"{path} is a table and has no transform {transform}: only sequences have names of transforms"
            )
        return read_pose_table(path)
    sequence = MetaImageSequence(path)
    try:
        names = sequence.transform_names()
        if transform is None and len(names) != 1:
            raise InputError(f"{path} has {len(names)} transforms: name one of {', '.join(names) or 'none'}")
        name = transform or names[0]
        if name not in names:
            raise InputError(f"{path} has no transform {name}; there are: {', '.join(names) or 'none'}")
        found = sequence.transforms(name)
        invalid = frozenset(range(sequence.info.frames or 0)) - set(found)
    finally:
        sequence.close()
    if not found:
        raise InputError(f"{path}: {name} is valid in none of its frames")
    T = np.stack([check_rigid(matrix, f"{path}: {name} of frame {i}") for i, (_, matrix) in found.items()])
    check_millimetres(T, f"{path}: {name}")
    return Poses(tuple(found), tuple(time_s for time_s, _ in found.values()), T, f"{path}: {name}", invalid)
