"""The playground's simulator, in a process of its own: it draws a scene again and again, and is told another one.

It is told `("scene", number, setup, seed, fields)` and `("next",)`, and answers `("scene", number, about)`,
`("wrong", number, why)` and `("frame", number, drawn)`. It ends when the pipe does.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from sonosteer.console.clip_frames import encode_picture
from sonosteer.console.worker import put_into
from sonosteer.core.errors import SonosteerError


@dataclass(frozen=True, slots=True)
class Slider:
    """A number of the scene that the page changes."""

    words: str
    """What it is, for a person."""
    low: float
    """Its least value, in `unit`, no unit where that is empty."""
    high: float
    """Its largest value, in `unit`, no unit where that is empty."""
    step: float
    """The least change of it, in `unit`, no unit where that is empty."""
    unit: str
    """Its unit, empty where it has none."""


#: by the name of the scene's field. chosen: what breaks trackers most (`sim/artefacts.py`), within what is allowed
SLIDERS = {
    "artefacts.occluders": Slider("bones and gas", 0, 6, 1, ""),
    "artefacts.occlusion_db": Slider("left in their shadow", -60, 0, 1, "dB"),
    "artefacts.contact_loss": Slider("lines without contact", 0, 0.9, 0.05, ""),
    "artefacts.ladder_mm": Slider("wall that repeats, depth", 0, 200, 1, "mm"),
    "artefacts.tgc_db": Slider("uneven gain", 0, 12, 0.5, "dB"),
    "artefacts.persistence": Slider("persistence", 0, 0.9, 0.05, ""),
}


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """One simulated frame as it is shown."""

    index: int
    """Index of the frame in the clip, from 0."""
    frames: int
    """Number of frames of the clip."""
    time_s: float
    """When it was acquired, s."""
    size_px: tuple[int, int]
    """Width and height, px."""
    payload: bytes
    """The picture as JPEG."""
    tip_px: tuple[float, float] | None
    """True tip, px: (column, row). None if no needle is in the picture."""
    visible: bool
    """Whether a person could see the tip."""


def run_playground(pipe: Connection) -> None:
    """Draw what is asked for until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is the console's
    number = 0
    drawn: Iterator[DrawnFrame] = iter(())
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            word = pipe.recv()
            try:
                if word[0] == "scene":
                    number = word[1]
                    about, drawn = _scene(*word[2:])
                    put_into(pipe, ("scene", number, about))
                else:
                    put_into(pipe, ("frame", number, next(drawn)))
            except (SonosteerError, StopIteration) as e:
                put_into(pipe, ("wrong", number, str(e) or "there is no scene yet"))


def _scene(setup: str, seed: int, fields: Mapping[str, Any]) -> tuple[dict[str, Any], Iterator[DrawnFrame]]:
    from sonosteer.sim.scenes import make_scene
    from sonosteer.sim.world import World

    world = World(make_scene(setup, seed, **fields))
    scene = world.scene
    about = {
        **{"name": scene.name, "size_px": list(scene.size_px), "frames": world.clip_frames, "rate_hz": scene.rate_hz},
        "spacing_mm": [world.spacing.x_mm, world.spacing.y_mm],
        "values": {name: value_of(scene, name) for name in SLIDERS},
    }
    return about, _frames(world)


def value_of(scene: Any, name: str) -> float:
    """A scene's number by the name of its field, in its own unit."""
    part, _, inner = name.partition(".")
    return float(getattr(getattr(scene, part), inner) if inner else getattr(scene, name))


def _frames(world: Any) -> Iterator[DrawnFrame]:
    while True:
        for frame, truth in world.frames():
            yield DrawnFrame(
                index=frame.index,
                frames=world.clip_frames,
                time_s=frame.time_s,
                size_px=frame.size_px,
                payload=encode_picture(frame.grey(), exact=False)[1],
                tip_px=truth.tip_px,
                visible=truth.visible,
            )
