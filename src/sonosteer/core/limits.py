"""Limits on what a file's header may ask for. They hold before anything is allocated, and can be raised.

Each limit is read from an environment variable, such as `SONOSTEER_MAX_FRAME_PX=100000000`.
"""

from __future__ import annotations

import os
from pathlib import Path

from sonosteer.core.errors import InputError

#: variable -> (limit, what it limits)
LIMITS = {
    # chosen: 8K video has 33 million. Grey levels of one such frame take 0.6 GB at most.
    "SONOSTEER_MAX_FRAME_PX": (1 << 25, "pixels in a frame"),
    # chosen: RGBA of 8 bit with as many pixels. Reading such a frame takes 0.8 GB.
    "SONOSTEER_MAX_FRAME_BYTES": (1 << 27, "bytes in a frame"),
    # chosen: five hours at 50 frames a second
    "SONOSTEER_MAX_FRAMES": (1_000_000, "frames"),
    # chosen: PLUS writes 0.7 kB for each frame, so this is enough for half an hour at 25 frames a second
    "SONOSTEER_MAX_HEADER_BYTES": (1 << 25, "bytes of header"),
    # chosen: 1,700 frames of 640 x 480 whose frame axis comes first. They are sorted on the disk.
    "SONOSTEER_MAX_SORTED_BYTES": (1 << 29, "bytes of frames to sort"),
    # chosen: the largest JPEG 2000 within the limits takes 5 s of a slow processor
    "SONOSTEER_MAX_DECODE_S": (8, "seconds of computing to decode a picture"),
    # chosen: a picture of 33 million pixels of 16-bit colour in two copies, and the libraries
    "SONOSTEER_MAX_DECODE_BYTES": (1 << 30, "bytes of memory to decode a picture"),
}


def limit_of(variable: str) -> int:
    """The limit that a variable sets, else the stated one. Raises InputError if its text is no whole number above 0."""
    stated, what = LIMITS[variable]
    text = os.environ.get(variable)
    if text is None:
        return stated
    if not text.isdecimal() or len(text) > 18 or int(text) == 0:
        raise InputError(f"{variable} is {text!r}: it must be a whole number of {what}, e.g. {stated}")
    return int(text)


def check_limit(path: Path, count: int, variable: str) -> None:
    """Raise InputError if a file has more of something than the limit allows."""
    limit = limit_of(variable)
    if count > limit:
        what = LIMITS[variable][1]
        raise InputError(f"{path} says it has {count} {what}: {limit} are read at most; set {variable} to raise that")
