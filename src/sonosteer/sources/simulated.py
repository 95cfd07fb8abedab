"""A simulated clip as a source: `sim:SETUP[/SPLIT][?field=value&field=value]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sonosteer.core.config import parse_value
from sonosteer.core.errors import InputError
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World


class SimulatedSource:
    """Frames of a scene, with the truth of each on request.

    setup: a set-up of `sonosteer.sim.scenes.SETUPS`, or a scene file of your own (".toml"). A split ("/train",
    "/validation", "/test") may follow, and scene fields after "?":
    "in-plane-linear/train?angle_deg=40&needle=false&tissue.fibres=0". The same seed gives the same frames.
    readings: frames bring what the rig's encoders said, too.
    """

    def __init__(self, setup: str, seed: int = 0, *, readings: bool = False, **overrides: Any) -> None:
        name, _, query = setup.partition("?")
        self.scene: Scene = make_scene(name, seed, **{**_fields(query), **overrides})
        self._world = World(self.scene)
        self._readings = readings
        self._truths: dict[int, NeedleTruth] = {}
        s, w = self.scene, self._world
        self.info = SourceInfo(
            name=f"sim:{s.name}",
            kind="simulated",
            size_px=s.size_px,
            frames=w.clip_frames,
            rate_hz=s.rate_hz,
            spacing=w.spacing,
            probe=w.probe,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`."""
        for frame, truth in self._world.frames(readings=self._readings):
            if stop is not None and frame.index >= stop:
                return
            self._truths[frame.index] = truth
            if frame.index >= start:
                yield frame

    def truth(self, index: int) -> NeedleTruth:
        """Truth of a frame that has been drawn. Raises KeyError if the frame has not been drawn yet."""
        return self._truths[index]

    def close(self) -> None:
        """Release nothing."""


def _fields(query: str) -> dict[str, Any]:
    """Scene fields of "field=value&field=value"."""
    out: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, text = part.partition("=")
        if not equals:
            raise InputError(f"scene: {part!r} should read field=value")
        out[key] = parse_value(text)
    return out
