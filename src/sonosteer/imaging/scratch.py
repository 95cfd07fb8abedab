"""Keeps work arrays for reuse, since a fresh large array costs more than the arithmetic done in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """Named work arrays. Each belongs to its last user. No result depends on what an earlier call left in them."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def exactly(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Array of exactly this shape, with any content."""
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = np.zeros(shape, dtype)
        return array

    def at_least(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Array of this shape or larger in every direction, with any content."""
        array = self._arrays.get(name)
        if array is None or any(have < want for have, want in zip(array.shape, shape, strict=True)):
            array = self._arrays[name] = np.zeros(shape, dtype)
        return array
