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

    setup: "in-plane-linear", "axial" or "in-plane-convex", with a split ("/train", "/validation", "/test") and scene
    fields after "?", e.g. "in-plane-linear/train?angle_deg=40&needle=false&tissue.fibres=0"; or a scene file of your
    own (".toml"). The same seed gives the same frames.
    """

    def __init__(self, setup: str, seed: int = 0, **overrides: Any) -> None:
        name, _, query = setup.partition("?")
        self.scene: Scene = make_scene(name, seed, **{**_fields(query), **overrides})
        self._world = World(self.scene)
        self._truths: dict[int, NeedleTruth] = {}
        s, w = self.scene, self._world
        self.info = SourceInfo(
            f"sim:{s.name}",
            "simulated",
            (s.width_px, s.height_px),
            w.clip_frames,
            s.rate_hz,
            w.spacing,
            w.probe,
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Yield frames `start` to `stop`."""
        for frame, truth in self._world.frames():
            if stop is not None and frame.index >= stop:
                return
            self._truths[frame.index] = truth
            if frame.index >= start:
                yield frame

    def truth(self, index: int) -> NeedleTruth:
        """Truth of a frame that has been drawn. KeyError for one that has not."""
        return self._truths[index]

    def close(self) -> None:
        """Nothing to release."""


def _fields(query: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, text = part.partition("=")
        if not equals:
            raise InputError(f"scene: {part!r} should read field=value")
        out[key] = parse_value(text)
    return out
