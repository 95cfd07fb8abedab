"""The steer room: a recorded steering run with its axial pictures, path, plan, budget and obstacles.

Nothing moves here, so there is no STOP. The page asks for the story once, and for each picture by its number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sonosteer.console.clip_frames import encode_picture
from sonosteer.console.palette import palette_css
from sonosteer.console.serving import PAGE, listening_socket, serve_behind_door
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.recording.run_reader import RunReader


class Story(Protocol):
    """What the room needs of a run: a dataclass such as `episodes.steering_story.SteeringStory`."""

    columns: dict[str, list[Any]]
    """What is told of each decision, by name."""


class RunPictures:
    """The pictures of a recorded run as JPEG, in a file of their own that is gone at the end."""

    def __init__(self, recorded: RunReader) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this
        self._places: dict[int, tuple[int, int]] = {}
        self.spacing_mm: tuple[float, float] | None = None
        """Width and height of a pixel, mm. None: the recording does not say."""
        self.size_px: tuple[int, int] | None = None
        """Width and height of the pictures, px. None: there is none."""
        for frame in recorded.frames():
            payload = encode_picture(frame.grey(), exact=False)[1]
            self._places[frame.index] = (self._file.tell(), len(payload))
            self._file.write(payload)
            self.size_px = frame.size_px
            self.spacing_mm = None if frame.spacing is None else (frame.spacing.x_mm, frame.spacing.y_mm)

    def __len__(self) -> int:
        return len(self._places)

    def picture(self, index: int) -> bytes | None:
        """One picture by the number of its frame. None if it was not recorded."""
        place = self._places.get(index)
        if place is None:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])

    def close(self) -> None:
        """Take the file away."""
        self._file.close()


def told_story(story: Any, pictures: RunPictures, name: str) -> dict[str, Any]:
    """The story as the page reads it. No number in it is infinite or none."""
    said: dict[str, Any] = _plain(dataclasses.asdict(story))
    size = None if pictures.size_px is None else list(pictures.size_px)
    mm = None if pictures.spacing_mm is None else list(pictures.spacing_mm)
    return {**said, "name": name, "size_px": size, "spacing_mm": mm, "notice": NOT_A_DEVICE}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def steer_application(story: Any, pictures: RunPictures, name: str) -> Starlette:
    """The room as an application."""
    body = json.dumps(told_story(story, pictures, name), separators=(",", ":"), allow_nan=False)

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "steer.html")

    async def told(request: Request) -> Response:
        return Response(body, media_type="application/json")

    async def palette(request: Request) -> Response:
        return PlainTextResponse(palette_css(), media_type="text/css")

    async def picture(request: Request) -> Response:
        payload = pictures.picture(request.path_params["index"])
        if payload is None:
            return PlainTextResponse("there is no such picture", status_code=404)
        return Response(payload, media_type="image/jpeg")

    routes = [
        Route("/", page),
        Route("/story.json", told),
        Route("/palette.css", palette),
        Route("/frames/{index:int}.jpg", picture),
        Mount("/", StaticFiles(directory=PAGE)),
    ]
    return Starlette(routes=routes)


def serve_steering(
    story: Story,
    recorded: RunReader,
    *,
    port: int | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the steer room until it is interrupted. Raises InputError if the port cannot be had."""
    listening = listening_socket(port)
    pictures = RunPictures(recorded)
    try:
        serve_behind_door(steer_application(story, pictures, recorded.path.parent.name), listening, ready)
    finally:
        pictures.close()
        listening.close()
