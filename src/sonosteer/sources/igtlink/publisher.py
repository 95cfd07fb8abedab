"""Publishes what is known of the needle over OpenIGTLink, as 3D Slicer and PLUS read it. Nobody waits for a client.

A tip that is lost, or too old, has no transform: what leaves instead is its state and an empty list of points.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonosteer.core.clock import Clock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Point, rigid, transform_point
from sonosteer.core.types import Estimate, Frame, TipEstimate
from sonosteer.sources.igtlink.address import IgtlAddress
from sonosteer.sources.igtlink.outlet import Outlet
from sonosteer.sources.igtlink.wire import (
    NamedPoint,
    image_content,
    make_message,
    points_content,
    string_content,
    transform_content,
)

STALE_S = 0.5  # chosen: a needle at 10 mm/s is 5 mm on by then, and no lag of a healthy run is as large
PUBLISHED_POINTS = 9  # chosen: a needle that bends looks smooth in a viewer
ENTRY_RGB, TARGET_COLOUR = (86, 180, 233), (240, 170, 30)


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """What leaves together about one frame."""

    state: str
    """tracking, coasting, lost or stale, the last two with their reason."""
    frame: Frame | None
    """The picture. None where none comes."""
    tip: TipEstimate | None
    """The tip. None unless the tracker says where it is."""
    target: Point | None
    """(column, row) of a place to publish beside the tip, px. None: there is none."""
    put_s: float
    """When it was handed over, s on the run's clock."""
    age_s: float
    """How old the picture was by then, s. 0 for a recorded clip."""
    stamp_s: float
    """Time of day at which the picture was acquired, s since 1970."""


class Publisher:
    """Watches a run and publishes every frame. It never holds the run up.

    address: `igtl://:PORT` waits for clients, `igtl://HOST:PORT` connects to one. clock: of the run. to_wall_s: time of
    day of a moment on that clock, s. None for a recorded clip, whose frames are stamped as they are published. target:
    (column, row) px of a place to publish beside the tip. Raises InputError if the port cannot be had.
    """

    def __init__(
        self,
        address: IgtlAddress,
        clock: Clock,
        *,
        to_wall_s: Callable[[float], float] | None = None,
        target: Point | None = None,
    ) -> None:
        self._clock, self._to_wall_s, self._target = clock, to_wall_s, target
        self._where = address.where
        self._outlet = Outlet(address, self.messages)

    # -- from the run -------------------------------------------------------------------------------------------------

    def saw(self, frame: Frame, estimate: Estimate, *, target: Point | None = None) -> None:
        """Publish a frame and its estimate. target: px of this frame, None: where it always is."""
        target = target or self._target
        now_s = self._clock.now_s()
        tip = estimate if isinstance(estimate, TipEstimate) else None
        state = estimate.state.value if isinstance(estimate, TipEstimate) else f"lost: {estimate.reason}"
        if self._to_wall_s is None:
            self._outlet.put(Bundle(state, frame, tip, target, put_s=now_s, age_s=0.0, stamp_s=time.time()))
        else:
            age_s = now_s - frame.time_s
            stamp_s = self._to_wall_s(frame.time_s)
            self._outlet.put(Bundle(state, frame, tip, target, put_s=now_s, age_s=age_s, stamp_s=stamp_s))

    def silent(self, reason: str) -> None:
        """Publish that no picture comes: what was said of the last one does not hold any more."""
        now_s = self._clock.now_s()
        self._outlet.put(Bundle(f"stale: {reason}", None, None, None, put_s=now_s, age_s=0.0, stamp_s=time.time()))

    def summary(self) -> dict[str, Any]:
        """What was published, as in summary.json."""
        counts = self._outlet.counts()
        return {
            "at": self._where,
            "frames": counts.put,
            "clients": counts.clients,
            "sent": counts.sent,
            "overwritten": counts.overwritten,
            "clients_gone": counts.gone,
        }

    def close(self) -> None:
        """Say that the run is over, and let the clients go. May be called twice."""
        if not self._outlet.closed:
            self.silent("the run is over")
        self._outlet.close()

    def messages(self, bundle: Bundle, number: int | None) -> list[bytes]:
        """What leaves for a client just now. number: of the next message, None for a client that reads version 1."""
        waited_s = self._clock.now_s() - bundle.put_s
        state, tip, frame = bundle.state, bundle.tip, bundle.frame
        if tip is not None and not bundle.age_s + waited_s <= STALE_S:
            state, tip = f"stale: {bundle.age_s + waited_s:.2f} s old", None
        beside = {"state": state, "age_s": f"{bundle.age_s + waited_s:.4f}"}
        if frame is not None:
            beside["frame"] = str(frame.index)
        if tip is not None:
            sd = {"sd_along_mm": tip.sd_along_mm, "sd_across_mm": tip.sd_across_mm, "confidence": tip.confidence}
            beside |= {name: f"{value:.4f}" for name, value in sd.items() if value is not None}
        contents = [("STRING", "NeedleState", string_content(state))]
        if frame is not None and frame.spacing is not None:
            contents += self._geometry(frame, tip, bundle.target)
        elif tip is None:
            contents += [("POINT", "Tip", b""), ("POINT", "Shaft", b"")]
        if frame is not None:
            contents.append(("IMAGE", "Image", self._picture(frame)))
        return [
            make_message(
                kind,
                device,
                content,
                stamp_s=bundle.stamp_s,
                number=None if number is None else number + i,
                metadata=None if number is None else beside,
            )
            for i, (kind, device, content) in enumerate(contents)
        ]

    def _geometry(self, frame: Frame, tip: TipEstimate | None, target: Point | None) -> list[tuple[str, str, bytes]]:
        """Tip, shaft and target. Points lie in the space of the picture: the world's where that is known."""
        assert frame.spacing is not None
        spacing = frame.spacing
        T_world_image = np.eye(4) if frame.T_world_image is None else frame.T_world_image

        def place(point_px: Point) -> tuple[float, float, float]:
            return transform_point(T_world_image, (*spacing.to_mm(point_px), 0.0))

        found: list[tuple[str, str, bytes]] = []
        tips: list[NamedPoint] = []
        shaft: list[NamedPoint] = []
        if tip is not None:
            T_image_tip = tip_pose(spacing.to_mm(tip.tip_px), tip.angle_rad)
            found.append(("TRANSFORM", "TipToImage", transform_content(T_image_tip)))
            if frame.T_world_image is not None:
                found.append(("TRANSFORM", "TipToReference", transform_content(frame.T_world_image @ T_image_tip)))
            tips.append(NamedPoint("Tip", place(tip.tip_px)))
            along = _spread(tip.shaft_px or (tip.entry_px, tip.tip_px))
            shaft += [NamedPoint(f"Shaft-{i}", place(p), "Shaft", ENTRY_RGB) for i, p in enumerate(along)]
        found += [("POINT", "Tip", points_content(tips)), ("POINT", "Shaft", points_content(shaft))]
        if target is not None:
            shown = NamedPoint("Target", place(target), "Target", TARGET_COLOUR, diameter_mm=3.0)
            found.append(("POINT", "Target", points_content([shown])))
        return found

    def _picture(self, frame: Frame) -> bytes:
        spacing = None if frame.spacing is None else (frame.spacing.x_mm, frame.spacing.y_mm)
        T = np.eye(4) if frame.T_world_image is None else frame.T_world_image
        return image_content(frame.grey(), spacing, T)


def tip_pose(tip_mm: Point, angle_rad: float) -> Matrix:
    """4x4 matrix, needle -> image mm: x along the needle, z across the image, the origin in the tip."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return rigid(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), (*tip_mm, 0.0))


def _spread(shaft_px: tuple[Point, ...]) -> list[Point]:
    """PUBLISHED_POINTS points along a shaft, from the entry to the tip, px."""
    at = np.linspace(0.0, 1.0, len(shaft_px))
    t = np.linspace(0.0, 1.0, PUBLISHED_POINTS)
    x, y = (np.interp(t, at, [p[k] for p in shaft_px]) for k in (0, 1))
    return list(zip(x.tolist(), y.tolist(), strict=True))


def check_publishable(address: IgtlAddress) -> None:
    """Raise InputError for parts of an address that publishing does not take."""
    if address.device is not None or address.orientation is not None:
        raise InputError(f"{address.text}: give igtl://:PORT, or igtl://HOST:PORT, to publish")
