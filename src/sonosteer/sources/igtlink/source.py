"""Pictures over OpenIGTLink, as PLUS, 3D Slicer and scanners send them: `igtl://HOST:PORT[/DEVICE]`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sonosteer.core.clock import RealClock, ShiftedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Spacing, rigid
from sonosteer.core.live import StreamCounts
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, Pixels
from sonosteer.core.wall_clock import ClockStep, WallClock
from sonosteer.sources.igtlink.address import IgtlAddress, parse_address
from sonosteer.sources.igtlink.intake import Arrived, Intake
from sonosteer.sources.igtlink.receiver import Receiver
from sonosteer.sources.igtlink.wire import crc64
from sonosteer.sources.live_frames import live_frames
from sonosteer.sources.metaimage import ORIENTATIONS
from sonosteer.sources.turning import Turn

OPEN_S = 5.0  # chosen: a scanner that is on sends within a second, and a person waits no longer for an answer
LOOK_S = 0.05  # chosen: how often opening looks for a reason to give up
GREETED_S = 0.5  # chosen: a sender that speaks version 2 once it is greeted has heard the greeting by then
ONE_SCALE = 1e-4  # chosen: a fraction. A float of 32 bits keeps 1e-7, and a change of depth makes 1 % or more.
#: names in capitals or not, under which a sender may say where x and y of its pictures point
NO_ORIENTATION = ("", "XX", "XXX")  # as PLUS says it
ORIENTATION_NAMES = ("ultrasoundimageorientation", "imageorientation")


class OpenIGTLinkSource:
    """A live stream of pictures over OpenIGTLink.

    where: `igtl://HOST:PORT[/DEVICE]` connects, `igtl://:PORT[/DEVICE]` waits for the sender to connect. orientation:
    where x and y of the pictures point, MF, UF, MN, UN and such, or as `?orientation=` in the address. It must be given
    where the sender does not say it. spacing: mm per px, overrides what the sender says. open_s: how long to wait for
    the first picture, s. Raises InputError if none comes, or the pictures cannot be used. The stream comes back by
    itself after that, and everything that is wrong is counted.
    """

    def __init__(
        self,
        where: str,
        *,
        spacing: Spacing | None = None,
        orientation: str | None = None,
        open_s: float = OPEN_S,
    ) -> None:
        address = parse_address(where)
        crc64(b"")  # a missing library is said before anything begins
        self._given, self._spacing = spacing, spacing
        self._run_clock = RealClock()
        self._wall = WallClock(self._run_clock)
        self._intake = Intake(self._wall, device=address.device, shared=address.clock == "shared")
        self._receiver = Receiver(address, self._intake, self._run_clock, self._wall)
        try:
            first = self._first(address, open_s)
            if orientation is None and address.orientation is None:
                first = self._greeted(first)
            self._turn = _turn_of(address, first, orientation)
            self.metadata = dict(first.metadata)
            self.said_orientation = _said_orientation(first)
            self._last_s = -np.inf
            self._origin_s = first.acquired_s
            self.clock = ShiftedClock(self._run_clock, self._origin_s)
            self._parts = first.image.pixels.shape[2:]
            self._full_scale = _full_scale(first.image.pixels)
            if spacing is None and first.image.spacing_mm is not None:
                x, y = first.image.spacing_mm
                self._spacing = Spacing(y, x) if self._turn.swap else Spacing(x, y)
            rows, columns = first.image.pixels.shape[:2]
            self.info = SourceInfo(
                name=f"{address.where}/{first.device}",
                kind="igtl",
                size_px=self._turn.size_px(columns, rows),
                frames=None,
                rate_hz=None,
                spacing=self._spacing,
                world="the sender's space" if first.image.placed else None,
                notes=self._notes(address, first),
            )
        except BaseException:
            self._receiver.close()
            raise

    # -- opening ------------------------------------------------------------------------------------------------------

    def _first(self, address: IgtlAddress, open_s: float) -> Arrived:
        """The first picture. Raises InputError that says why there is none."""
        until_s = time.monotonic() + open_s
        while True:
            arrived = self._intake.pictures.peek(LOOK_S)
            if self._intake.rivals and self._intake.device is None:
                names = ", ".join(sorted(self._intake.rivals))
                raise InputError(
                    f"{address.where} sends pictures of several devices, {names}: name one, as in "
                    f"{address.where}/{min(self._intake.rivals)}"
                )
            if arrived is not None:
                return arrived
            if self._receiver.refused:
                raise InputError(f"{address.where}: {self._receiver.trouble}: start the sender, or check host and port")
            if time.monotonic() > until_s:
                raise InputError(self._why_nothing(address, open_s))

    def _greeted(self, first: Arrived) -> Arrived:
        """A picture that says how it lies, if one comes soon: those before the greeting are of version 1."""
        until_s = time.monotonic() + GREETED_S
        while _said_orientation(first) is None and time.monotonic() < until_s:
            time.sleep(LOOK_S)
            first = self._intake.pictures.peek(0.0) or first
        return first

    def _why_nothing(self, address: IgtlAddress, open_s: float) -> str:
        counts, trouble = self._intake.counts(), self._receiver.trouble
        if counts.bad:
            reason = max(counts.bad, key=lambda name: counts.bad[name])
            unchecked = ". If the sender makes none, add ?crc=no" if "check sum" in reason else ""
            return f"{address.where}: {counts.bad[reason]} messages came that cannot be used: {reason}{unchecked}"
        devices = [name.removeprefix("IMAGE ") for name in counts.other if name.startswith("IMAGE")]
        if address.device is not None and devices:
            return f"{address.where}: no picture of device {address.device!r} came; there are: {', '.join(devices)}"
        if counts.other:
            came = ", ".join(f"{n} {name}" for name, n in sorted(counts.other.items()))
            return f"{address.where}: no picture came within {open_s:g} s; what came: {came}. Is the scanner frozen?"
        if trouble is not None:
            return f"{address.where}: {trouble} within {open_s:g} s: start the sender, or check host and port"
        return f"{address.where}: connected, but nothing came within {open_s:g} s. Is the scanner frozen?"

    def _notes(self, address: IgtlAddress, first: Arrived) -> tuple[str, ...]:
        notes = []
        if first.stamp_s is None:
            notes.append("pictures have no time stamps: the time of arrival is taken, and ages begin there")
        elif address.clock != "shared":
            notes.append("ages do not contain the least delay on the way; ?clock=shared takes stamps as they are")
        if self._parts:
            notes.append(f"pictures are in colour ({self._parts[0]} components): their luminance is tracked in")
        if not address.checked:
            notes.append("check sums are not compared, as asked for")
        return tuple(notes)

    # -- pictures -----------------------------------------------------------------------------------------------------

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame. Waits up to timeout_s for one, then None.

        Raises InputError if size, colour or scale of the pictures changed: a run has one of each.
        """
        arrived = self._intake.pictures.take(timeout_s)
        return None if arrived is None else self._frame(arrived)

    def _frame(self, arrived: Arrived) -> Frame:
        image = arrived.image
        pixels: Any = self._turn.of(image.pixels)
        size = (int(pixels.shape[1]), int(pixels.shape[0]))
        if size != self.info.size_px:
            before = "{}x{}".format(*self.info.size_px)
            self._changed(arrived, f"is {size[0]}x{size[1]} px, those before it {before}")
        if image.pixels.shape[2:] != self._parts:
            self._changed(
                arrived, "is in colour, those before it are not" if pixels.ndim == 3 else "is no longer in colour"
            )
        if self._given is None:
            self._check_scale(arrived)
        if pixels.ndim == 3:
            pixels = pixels[..., :3]
        levels: Pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        time_s = max(arrived.acquired_s - self._origin_s, self._last_s + 1e-6)
        self._last_s = time_s
        return Frame(
            levels,
            index=arrived.serial,
            time_s=time_s,
            spacing=self._spacing,
            full_scale=self._full_scale,
            T_world_image=self._pose_of(arrived) if image.placed else None,
        )

    def _check_scale(self, arrived: Arrived) -> None:
        said = arrived.image.spacing_mm
        if said is None or self._spacing is None:
            if (said is None) != (self._spacing is None):
                self._changed(arrived, "has no scale any more" if said is None else "has a scale, those before it none")
            return
        x, y = (said[1], said[0]) if self._turn.swap else said
        if abs(x / self._spacing.x_mm - 1.0) > ONE_SCALE or abs(y / self._spacing.y_mm - 1.0) > ONE_SCALE:
            before = f"{self._spacing.x_mm:.5g},{self._spacing.y_mm:.5g}"
            self._changed(arrived, f"has {x:.5g},{y:.5g} mm per pixel, those before it {before}")

    def _changed(self, arrived: Arrived, how: str) -> None:
        raise InputError(f"{self.info.name}: frame {arrived.serial} {how}: a run has one setting, start another one")

    def _pose_of(self, arrived: Arrived) -> Matrix:
        """mm of the picture as it is handed on -> the sender's space, mm."""
        rows, columns = arrived.image.pixels.shape[:2]
        x_mm, y_mm = arrived.image.spacing_mm or (1.0, 1.0)
        return arrived.image.T_space_image @ turned_to_stored(self._turn, columns * x_mm - x_mm, rows * y_mm - y_mm)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames as they come, without an end. The first `start` are passed over, and there are stop - start."""
        return live_frames(self, start, stop)

    # -- what is known of the stream ----------------------------------------------------------------------------------

    def counts(self) -> StreamCounts:
        """The account of the stream up to now."""
        return self._intake.counts()

    def lag(self) -> dict[str, Any]:
        """Offset and drift of the sender's clock, and whether pictures carry stamps."""
        clock = self._intake.sender_clock
        offset_s, drift = clock.offset_s, clock.drift_ppm
        return {
            "stamped": self._intake.unstamped == 0,
            "clock_offset_s": None if offset_s is None else offset_s - self._wall.to_run_s(0.0),
            "clock_drift_ppm": drift,
        }

    def complaint(self) -> str | None:
        """Why nothing comes just now."""
        return self._receiver.trouble

    def pose(self, name: str, max_age_s: float) -> Matrix:
        """The newest TRANSFORM of a name, 4x4, mm. Raises InputError if none came, it is not valid, or too old."""
        return self._intake.pose(name, now_s=self._run_clock.now_s(), max_age_s=max_age_s)

    def poses_age_s(self) -> dict[str, float | None]:
        """Age of the newest TRANSFORM of each name, s. None where the sender says that it is not valid."""
        now_s = self._run_clock.now_s()
        return {n: None if p.T is None else now_s - p.acquired_s for n, p in self._intake.poses().items()}

    @property
    def header_versions(self) -> list[int]:
        """Versions of the headers that came, no unit. A sender of version 1 says nothing beside its pictures."""
        return sorted(self._intake.versions)

    def to_wall_s(self, time_s: float) -> float:
        """Time of day of a moment on `clock`, s since 1970."""
        return self._wall.to_wall_s(time_s + self._origin_s)

    def clock_step(self) -> ClockStep | None:
        """The last step of this machine's time of day, dated on `clock`. None if there was none."""
        step = self._wall.last_step
        return None if step is None else replace(step, at_s=step.at_s - self._origin_s)

    def close(self) -> None:
        """End the connection. What still waits is counted as overwritten."""
        self._receiver.close()
        self._intake.pictures.discard()


def turned_to_stored(turn: Turn, width_mm: float, height_mm: float) -> Matrix:
    """4x4 matrix, mm of a turned picture -> mm of it as stored. width_mm, height_mm: of first to last pixel, stored."""
    shown_mm = (height_mm, width_mm) if turn.swap else (width_mm, height_mm)
    M = np.diag([-1.0 if turn.mirror_x else 1.0, -1.0 if turn.mirror_y else 1.0, 1.0])
    shift = (shown_mm[0] if turn.mirror_x else 0.0, shown_mm[1] if turn.mirror_y else 0.0, 0.0)
    T = rigid(M, shift)
    swapped = np.eye(4)[[1, 0, 2, 3]] if turn.swap else np.eye(4)
    return swapped @ T


def _turn_of(address: IgtlAddress, first: Arrived, given: str | None) -> Turn:
    """How pictures are turned to MF. Raises InputError if neither sender nor user says how they lie."""
    text = given or address.orientation or _said_orientation(first)
    if text is None:
        raise InputError(
            f"{address.where}/{first.device} does not say how its pictures lie: give `orientation` MF if x points to "
            "the marked side of the probe and y away from it, UF if x points to the other side, as PLUS calls it"
        )
    turn = ORIENTATIONS.get(text.upper()[:2])
    if turn is None or text.upper()[2:] not in ("", "A", "D"):
        raise InputError(f"{address.where}: orientation {text!r} is not known; MF, UF, MN, UN, FM and such are")
    return turn


def _said_orientation(first: Arrived) -> str | None:
    """Where x and y point, as the sender says it. None where it does not."""
    said = next((v for k, v in first.metadata.items() if k.lower() in ORIENTATION_NAMES), "")
    return None if said.upper() in NO_ORIENTATION else said


def _full_scale(pixels: Any) -> float:
    """White: 255, or for 16 bit the smallest of 255, 511, ... 65535 that holds the first picture."""
    top = int(pixels.max()) if pixels.dtype.itemsize == 2 else 255
    return float((1 << max(8, top.bit_length())) - 1)
