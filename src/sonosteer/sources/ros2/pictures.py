"""Pictures of `sensor_msgs/Image` as arrays. Nothing of ROS is needed here.

Source: the comments of sensor_msgs/msg/Image.msg and of sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: encoding -> (type of a value, values a pixel, those of them that are red, green and blue. None: grey)
ENCODINGS: dict[str, tuple[str, int, tuple[int, ...] | None]] = {
    "mono8": ("u1", 1, None),
    "8UC1": ("u1", 1, None),
    "mono16": ("u2", 1, None),
    "16UC1": ("u2", 1, None),
    "rgb8": ("u1", 3, (0, 1, 2)),
    "bgr8": ("u1", 3, (2, 1, 0)),
    "rgba8": ("u1", 4, (0, 1, 2)),
    "bgra8": ("u1", 4, (2, 1, 0)),
}


class RosImageError(ValueError):
    """A message that holds no picture of use. The text is a reason to count."""


class RosStamp(Protocol):
    """builtin_interfaces/Time."""

    sec: int
    """Whole seconds, s."""
    nanosec: int
    """The rest, ns."""


class RosHeader(Protocol):
    """std_msgs/Header."""

    stamp: RosStamp
    """When it was acquired. 0 where nobody said."""
    frame_id: str
    """Name of its coordinates."""


class RosImage(Protocol):
    """What is read of sensor_msgs/Image."""

    header: RosHeader
    """When and where."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
    encoding: str
    """What a pixel is, such as mono8."""
    is_bigendian: int
    """Whether the first byte of a value is its largest, 0 or 1."""
    step: int
    """Length of a row, bytes. It may be longer than its pixels."""
    data: Any
    """Bytes of all rows, step * height of them."""


def pixels_of(message: RosImage) -> NDArray[Any]:
    """Return the pixels (rows, columns) or (rows, columns, 3) RGB, uint8 or uint16.

    Raises RosImageError for an encoding that is not read, and for a size that its bytes contradict.
    """
    kind = ENCODINGS.get(message.encoding)
    if kind is None:
        raise RosImageError(f"encoding {message.encoding[:32]!r}: {', '.join(ENCODINGS)} are read")
    value, parts, colours = kind
    dtype = np.dtype((">" if message.is_bigendian else "<") + value)
    rows, columns, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    used = columns * parts * dtype.itemsize
    if rows == 0 or columns == 0:
        raise RosImageError("a picture without a pixel")
    if step < used or data.size != rows * step:
        raise RosImageError("a picture whose bytes are not as many as its size says")
    values = np.ascontiguousarray(data.reshape(rows, step)[:, :used]).view(dtype)
    if colours is not None:
        values = values.reshape(rows, columns, parts)[..., colours]
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def stamp_s(stamp: RosStamp) -> float | None:
    """Seconds since 1970, or of whatever clock the sender has. None where the stamp is 0: nobody said when."""
    return stamp.sec + 1e-9 * stamp.nanosec if stamp.sec or stamp.nanosec else None
