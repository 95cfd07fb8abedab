"""Reads a segmented image with SimpleITK. Called in a process of its own only (`core/guarded`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError


def read_voxels(path: str) -> NDArray[np.uint8]:
    """Return 1 where a voxel is not 0, (z, y, x). Raises InputError if it is no image."""
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(path)
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as an image: {_last_line(e)}") from None
    voxels: NDArray[np.uint8] = (SimpleITK.GetArrayViewFromImage(image) != 0).astype(np.uint8)
    return voxels


def read_place(path: str) -> F64:
    """Return the origin and the spacing, mm: (2, dimensions). Raises InputError if it is no image."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as an image: {_last_line(e)}") from None
    return np.array([reader.GetOrigin(), reader.GetSpacing()])


def _last_line(error: RuntimeError) -> str:
    return (str(error).splitlines() or ["no reason was given"])[-1][:200]
