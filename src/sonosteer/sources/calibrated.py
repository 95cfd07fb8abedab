"""A tracked sequence with a calibration: each frame gets its place in the world, and the picture its scale.

T_world_image = T_world_probe @ T_probe_image
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from sonosteer.calibration.record import Calibration
from sonosteer.core.errors import InputError
from sonosteer.core.frames import Transform
from sonosteer.core.protocols import Source
from sonosteer.core.types import Frame
from sonosteer.sources.metaimage import MetaImageSequence

SAME_SCALE = 0.02  # chosen: a scanner's own scale is right within 2 %
OF_PROBE = re.compile(r"ProbeTo(\w+)")


class WithCalibration:
    """Frames of `source` with `spacing` and `T_world_image` of an image calibration.

    A frame whose pose is not valid has no place. Pixels are those of the source, turned to MF if its file says so.
    Raises InputError if the source has no such poses, is of another size or scale, or if the calibration is of
    something else.
    """

    def __init__(self, source: Source, calibration: Calibration, transform: str | None = None) -> None:
        if calibration.kind != "image":
            raise InputError(
                f"a {calibration.kind} calibration does not say where a picture is: give one of calibrate image"
            )
        if not isinstance(source, MetaImageSequence):
            raise InputError(
                f"{source.info.name} has no poses: a calibration needs a sequence of PLUS or 3D Slicer with them"
            )
        name = transform or _only(source)
        if name not in source.transform_names():
            raise InputError(
                f"{source.info.name} has no transform {name}; "
                f"there are: {', '.join(source.transform_names()) or 'none'}"
            )
        info, spacing = source.info, calibration.spacing
        if calibration.size_px is not None and tuple(calibration.size_px) != info.size_px:
            raise InputError(
                f"{info.name} has {info.size_px[0]} x {info.size_px[1]} px, and the calibration is of "
                f"{calibration.size_px[0]} x {calibration.size_px[1]}: calibrate at this setting"
            )
        if info.spacing is not None:
            off = max(abs(info.spacing.x_mm / spacing.x_mm - 1), abs(info.spacing.y_mm / spacing.y_mm - 1))
            if not off <= SAME_SCALE:
                raise InputError(
                    f"{info.name} says {info.spacing.x_mm:.4g},{info.spacing.y_mm:.4g} mm per pixel, and the "
                    f"calibration {spacing.x_mm:.4g},{spacing.y_mm:.4g}: calibrate at this depth"
                )
        world = name.partition("To")[2]
        T_probe_image = calibration.transform("probe", "image")
        self._source = source
        self._T_world_image = {
            index: (Transform("world", "probe", matrix) @ T_probe_image).matrix
            for index, (_, matrix) in source.transforms(name).items()
        }
        self.info = dataclasses.replace(info, spacing=spacing, world=world)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop` of the source."""
        for frame in self._source.frames(start, stop):
            yield dataclasses.replace(
                frame, spacing=self.info.spacing, T_world_image=self._T_world_image.get(frame.index)
            )

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def _only(source: MetaImageSequence) -> str:
    """The one transform of the probe. Raises InputError if there are several or none."""
    names = [name for name in source.transform_names() if OF_PROBE.fullmatch(name)]
    if len(names) != 1:
        raise InputError(
            f"{source.info.name} has {len(names)} poses of a probe: name the transform with `probe`; there are: "
            f"{', '.join(source.transform_names()) or 'none'}"
        )
    return names[0]
