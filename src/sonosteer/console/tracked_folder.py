"""A folder that `track --out` wrote, opened again: its clip, and its track as one of the clip room's.

tips.csv has the tip and its direction. It does not have the shaft, so none is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.console.tracks import HeldTrack
from sonosteer.core.config import load_json
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Estimate, Lost, TipEstimate, Track
from sonosteer.recording.tips import TipRow, read_tips

TIPS, SUMMARY = "tips.csv", "summary.json"


@dataclass(frozen=True, slots=True)
class TrackedFolder:
    """What a folder of `track --out` says of itself."""

    folder: Path
    """Where tips.csv and summary.json lie."""
    source: str
    """The clip as `open_source` takes it."""
    seed: int
    """Seed of sim:SETUP, no unit."""
    method: str
    """Name of the tracking method."""
    spacing: Spacing | None
    """Millimetres per pixel that the method was told. None: it was told none."""
    median_ms: float | None
    """Median time of a frame, ms. None if it is not said."""

    def track(self, info: SourceInfo) -> HeldTrack:
        """The track, for the clip that was opened. Raises InputError if it belongs to another one."""
        rows = read_tips(self.folder / TIPS)
        last = max((row.frame for row in rows), default=-1)
        if info.frames is not None and last >= info.frames:
            raise InputError(
                f"{self.folder / TIPS} has a frame {last}, and {info.name} has {info.frames} frames: it is the track "
                "of another clip"
            )
        estimates = {row.frame: estimate_of(row) for row in rows}
        name = f"{self.method}, of {self.folder.name}"
        return HeldTrack(
            name, self.method, 1, self.spacing, estimates=estimates, median_ms=self.median_ms, state="done"
        )


def read_tracked(path: Path) -> TrackedFolder | None:
    """Read a folder of `track --out`. None if it is none. Raises InputError if its clip is gone, or of stills."""
    summary = path / SUMMARY
    if not (path.is_dir() and summary.is_file() and (path / TIPS).is_file()):
        return None
    said: Any = load_json(summary)
    if not isinstance(said, dict) or said.get("command") != "track":
        return None
    try:
        options, mm = said["options"], said["source"]["spacing"]
        source, stills = str(options["source"]), bool(options["stills"])
        spacing = None if mm is None else Spacing(float(mm["x_mm"]), float(mm["y_mm"]))
        seed, method = int(said["seed"] or 0), str(said["method"])
        median_ms = float(said["timing"]["track"]["median_ms"])
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"{summary} does not say what was tracked ({e}): open the clip itself") from None
    if stills:
        raise InputError(f"{path} is a track of stills: they are no clip. Open the folder of pictures itself")
    if not source.startswith("sim:") and not Path(source).exists():
        near = path / source
        if not near.exists():
            raise InputError(f"{source}, which {path} tracked, is not there: go to the folder in which `track` was run")
        source = str(near)
    return TrackedFolder(path, source, seed, method, spacing, median_ms)


def estimate_of(row: TipRow) -> Estimate:
    """The estimate that a row tells of. It has no shaft: the table does not say it."""
    if row.tip_px is None or row.state == "lost":
        return Lost(row.frame, row.time_s, "lost")
    angle = 0.0 if row.angle_deg is None else float(np.radians(row.angle_deg))
    return TipEstimate(
        frame_index=row.frame,
        time_s=row.time_s,
        tip_px=row.tip_px,
        angle_rad=angle,
        covariance_mm2=_covariance(row.sd_along_mm, row.sd_across_mm),
        confidence=row.confidence,
        state=Track(row.state),
        entry_px=row.tip_px,
        covariance_px2=_covariance(row.sd_along_px, row.sd_across_px),
    )


def _covariance(along: float | None, across: float | None) -> Any:
    return None if along is None or across is None else np.diag([along**2, across**2])
