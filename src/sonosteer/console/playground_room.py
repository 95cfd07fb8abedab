"""The playground: a simulated scene that plays, with sliders for what disturbs it, and a way into the clip room.

One scene for all tabs. A change of set-up, seed or slider makes it anew in the worker, and the next picture comes of
it. Every tab is shown the newest picture, and never has more than a few on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import math
import multiprocessing
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from sonosteer.console.door import Receive, Scope, Send
from sonosteer.console.palette import palette_css
from sonosteer.console.picture_way import PictureWay, pack
from sonosteer.console.playground_worker import SLIDERS, DrawnFrame, run_playground
from sonosteer.console.serving import PAGE, clip_application, listening_socket, serve_behind_door
from sonosteer.console.worker import put_into
from sonosteer.core.errors import InputError, SonosteerError
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.sim.setups import SETUPS
from sonosteer.sources.opening import open_source

FIRST_SETUP = "in-plane-convex"
MOST_SEED = 1 << 31  # chosen: as many as anybody types
PLACE = "/playground"


@dataclass(frozen=True, slots=True)
class WantedScene:
    """What shall be shown."""

    setup: str
    """Name of a set-up that ships or is installed."""
    seed: int
    """Its seed, no unit."""
    fields: tuple[tuple[str, float], ...] = ()
    """Sliders that a person has moved: the scene's field and its value, in its own unit."""

    @property
    def address(self) -> str:
        """What `open_source` takes."""
        query = "&".join(f"{name}={_typed(name, value):g}" for name, value in self.fields)
        return f"sim:{self.setup}" + (f"?{query}" if query else "")

    @property
    def overrides(self) -> dict[str, float]:
        """Fields of the scene, as `make_scene` takes them."""
        return {name: _typed(name, value) for name, value in self.fields}

    @property
    def folder(self) -> str:
        """Name of a folder for its labels: another scene has another one."""
        said = hashlib.sha256(self.address.encode()).hexdigest()[:8]
        return f"playground-{self.setup}-{self.seed}-{said}.labels"


def _typed(name: str, value: float) -> float:
    """A whole number where the scene's field counts something."""
    return int(value) if SLIDERS[name].step == 1 and not SLIDERS[name].unit else value


def read_wanted(said: Any) -> WantedScene:
    """A scene from a message. Raises InputError that says what is wrong with it."""
    if not isinstance(said, Mapping):
        raise InputError("a scene is a set-up, a seed and fields")
    setup, seed, fields = said.get("setup"), said.get("seed"), said.get("fields")
    if (
        not isinstance(setup, str) or setup not in SETUPS
    ):  # a name that the page did not offer is a file or code that somebody would run
        raise InputError(f"there is no set-up {setup!r}; there are: {', '.join(SETUPS)}")
    if type(seed) is not int or not 0 <= seed < MOST_SEED:
        raise InputError(f"the seed is {seed!r}: it must be a whole number from 0 to {MOST_SEED - 1}")
    if not isinstance(fields, Mapping):
        raise InputError("fields must be numbers by their names")
    out = []
    for name, value in fields.items():
        slider = SLIDERS.get(name)
        if slider is None:
            raise InputError(f"there is no slider {name!r}; there are: {', '.join(SLIDERS)}")
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not slider.low <= value <= slider.high:
            raise InputError(f"{name} is {value!r}: {slider.low:g} to {slider.high:g} is possible")
        out.append((name, float(value)))
    return WantedScene(setup, seed, tuple(sorted(out)))


@dataclass(eq=False)
class _Tab:
    """One browser tab."""

    web: WebSocket
    way: PictureWay[DrawnFrame] = field(default_factory=PictureWay)

    async def tell(self, said: Mapping[str, Any]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self.web.send_text(json.dumps(said, separators=(",", ":"), allow_nan=False))

    async def send_pictures(self) -> None:
        while True:
            serial, drawn = await self.way.next()
            header = {k: v for k, v in dataclasses.asdict(drawn).items() if k != "payload"}
            counts = {"seen": self.way.asked, "sent": self.way.sent, "passed_by": self.way.passed_by}
            said = {"v": 1, "t": "picture", "serial": serial, "kind": "jpeg", **header, **counts}
            await self.web.send_bytes(pack(said, drawn.payload))


class Playground:
    """The scene that is played, and the tabs that look at it. It belongs to one asyncio loop."""

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self.wanted = WantedScene(FIRST_SETUP, 1)
        self.playing = True
        self.tabs: set[_Tab] = set()
        self._about: dict[str, Any] | None = None
        self._last: DrawnFrame | None = None
        self._call, self._number, self._rate_hz = call, 0, 20.0
        self._told: set[asyncio.Task[None]] = set()
        self._free = asyncio.Event()
        self._start()
        self.show(self.wanted)

    def _start(self) -> None:
        here, there = multiprocessing.get_context("spawn").Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=run_playground, args=(there,), daemon=True)
        self._process.start()
        there.close()
        self._pipe = here
        threading.Thread(target=self._listen, args=(here,), name="playground", daemon=True).start()

    def _listen(self, pipe: Any) -> None:
        while True:
            try:
                word = pipe.recv()
            except (EOFError, OSError):
                break
            self._call(lambda w=word: self._heard(*w))  # type: ignore[misc]
        self._call(lambda: self.tell_all({"t": "wrong", "reason": "the simulator has ended; start the console again"}))

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.join(2.0)

    def tell_all(self, said: Mapping[str, Any]) -> None:
        """Tell every tab."""
        for tab in self.tabs:
            task = asyncio.ensure_future(tab.tell(said))
            self._told.add(task)
            task.add_done_callback(self._told.discard)

    def show(self, wanted: WantedScene) -> None:
        """Make another scene. Pictures of the one before may still come, and are passed by."""
        self.wanted = wanted
        self._number += 1
        self._about = self._last = None
        put_into(self._pipe, ("scene", self._number, wanted.setup, wanted.seed, wanted.overrides))
        self._free.clear()
        self.tell_all(self.told())

    def told(self) -> dict[str, Any]:
        """What a page is told of the scene. `about` is null while it is made."""
        wanted = {"setup": self.wanted.setup, "seed": self.wanted.seed, "fields": dict(self.wanted.fields)}
        return {"t": "scene", **wanted, "about": self._about, "playing": self.playing}

    def hello(self) -> dict[str, Any]:
        """What a new tab is told first."""
        sliders = [{"name": name, **dataclasses.asdict(s)} for name, s in SLIDERS.items()]
        return {"t": "hello", "v": 1, "room": "playground", "setups": list(SETUPS), "sliders": sliders} | {
            "notice": NOT_A_DEVICE
        }

    def joined(self, tab: _Tab) -> None:
        """Show a new tab what the others see."""
        self.tabs.add(tab)
        if self._last is not None:
            tab.way.want(self._last)

    def play(self, on: bool) -> None:
        """Play or pause."""
        self.playing = on
        self.tell_all(self.told())

    def _heard(self, what: str, number: int, said: Any) -> None:
        if number != self._number:
            self._free.set()
            return
        if what == "scene":
            self._about, self._rate_hz = said, float(said["rate_hz"])
            self.tell_all(self.told())
        elif what == "wrong":
            self.tell_all({"t": "wrong", "reason": said})
            return  # nothing more comes of it until another scene is asked for
        else:
            self._last = said
            for tab in self.tabs:
                tab.way.want(said)
        self._free.set()

    async def draw(self) -> None:
        """Ask for picture after picture, at the scene's rate at most, while somebody looks."""
        loop = asyncio.get_running_loop()
        while True:
            await self._free.wait()
            if not self.tabs or (not self.playing and self._last is not None):
                await asyncio.sleep(0.05)
                continue
            self._free.clear()
            begun = loop.time()
            put_into(self._pipe, ("next",))
            await self._free.wait()
            await asyncio.sleep(max(0.0, begun + 1.0 / self._rate_hz - loop.time()))


class PlaygroundConsole:
    """Both rooms behind one door: the playground, and the clip room of what was handed over from it. Plain ASGI."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._playground: Playground | None = None
        self._opened = contextlib.AsyncExitStack()
        self._clip: Starlette | None = None
        self._changing = asyncio.Lock()
        self._rooms = Starlette(
            routes=[
                Route(PLACE, self._page),
                Route("/palette.css", _palette),
                Route(f"{PLACE}/track", self._track, methods=["POST"]),
                WebSocketRoute(f"{PLACE}/ws", self._talk),
                Route("/", self._page),
                Mount("/", StaticFiles(directory=PAGE)),
            ],
            lifespan=self._life,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer: the playground at its own address, everything else by the clip room once there is one."""
        ours = scope["type"] == "lifespan" or scope["path"].startswith(PLACE)
        room = self._rooms if ours or self._clip is None else self._clip
        await room(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def call(work: Callable[[], None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(work)

        self._playground = Playground(call)
        drawing = asyncio.create_task(self._playground.draw())
        try:
            yield
        finally:
            drawing.cancel()
            self._playground.close()
            await self._opened.aclose()

    async def _page(self, request: Request) -> Response:
        return FileResponse(PAGE / "playground.html")

    async def _track(self, request: Request) -> Response:
        """Hand the scene to the clip room, in place of the one before."""
        assert self._playground is not None
        wanted = self._playground.wanted
        out = self._folder / wanted.folder
        async with self._changing:
            await self._opened.aclose()
            self._clip, self._opened = None, contextlib.AsyncExitStack()
            try:
                source = await asyncio.to_thread(open_source, wanted.address, seed=wanted.seed)
                opening = clip_application(
                    source, where=wanted.address, out=out, seed=wanted.seed, beside=(("Playground", PLACE),)
                )
                clip = self._opened.enter_context(opening)
                await self._opened.enter_async_context(clip.router.lifespan_context(clip))
            except SonosteerError as e:
                await self._opened.aclose()
                return JSONResponse({"ok": False, "reason": str(e)})
            self._clip = clip
        return JSONResponse({"ok": True, "labels": str(out)})

    async def _talk(self, web: WebSocket) -> None:
        assert self._playground is not None
        await web.accept()
        tab, room = _Tab(web), self._playground
        await tab.tell(room.hello())
        await tab.tell(room.told())
        room.joined(tab)
        sending = asyncio.create_task(tab.send_pictures())
        try:
            while True:
                await self._hear(tab, await web.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):  # gone, or it sent bytes
            pass
        finally:
            room.tabs.discard(tab)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _hear(self, tab: _Tab, text: str) -> None:
        assert self._playground is not None
        try:
            said = json.loads(text)
            match said:
                case {"t": "drawn", "serial": int(serial)}:
                    tab.way.drawn(serial)
                case {"t": "scene", **fields}:
                    self._playground.show(read_wanted(fields))
                case {"t": "play", "on": bool(on)}:
                    self._playground.play(on)
                case _:
                    raise InputError("there is no such word; there are: drawn, scene, play")
        except (ValueError, RecursionError):
            await tab.tell({"t": "wrong", "reason": "a message that is no JSON"})
        except InputError as e:
            await tab.tell({"t": "wrong", "reason": str(e)})


async def _palette(request: Request) -> Response:
    return PlainTextResponse(palette_css(), media_type="text/css")


def serve_playground(
    *, folder: Path = Path(), port: int | None = None, ready: Callable[[str], None] = lambda address: None
) -> None:
    """Serve the playground until it is interrupted. Raises InputError if the port cannot be had.

    folder: where the folders of labels of what is tracked go.
    """
    listening = listening_socket(port)
    try:
        serve_behind_door(PlaygroundConsole(folder), listening, ready)
    finally:
        listening.close()
