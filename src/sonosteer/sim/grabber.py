"""A frame grabber between scanner and computer: it takes the newest image at a rate of its own.

Where it is faster than the scanner, some images arrive twice. K. Mathiassen et al. 2017 (full reference in
`trackers/mathiassen2017.py`), Section III: imaging at 15.9 Hz, grabbed at 20 frames a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from sonosteer.core.errors import InputError
from sonosteer.core.types import Frame
from sonosteer.sim.truth import NeedleTruth


def grab_frames(clip: Iterable[tuple[Frame, NeedleTruth]], grabs_hz: float) -> Iterator[tuple[Frame, NeedleTruth]]:
    """Grab a clip, whose times begin at 0 s and rise, at `grabs_hz`, until its last image.

    Each grabbed frame is the newest image, with the grab's own time. The truth is that of the image. Raises InputError
    if the rate is not more than 0.
    """
    if not grabs_hz > 0:
        raise InputError(f"a grabber's rate must be more than 0, not {grabs_hz}")
    k, last = 0, None
    for image in clip:
        while last is not None and k / grabs_hz < image[0].time_s - 1e-9:
            yield _grabbed(last, k, grabs_hz)
            k += 1
            last = (last[0], dataclasses.replace(last[1], repeated=True))
        last = image
    if last is not None and k / grabs_hz <= last[0].time_s + 1.0 / grabs_hz:
        yield _grabbed(last, k, grabs_hz)


def _grabbed(image: tuple[Frame, NeedleTruth], k: int, grabs_hz: float) -> tuple[Frame, NeedleTruth]:
    time_s = k / grabs_hz
    frame = dataclasses.replace(image[0], index=k, time_s=time_s)
    return frame, dataclasses.replace(image[1], frame_index=k, time_s=time_s)
