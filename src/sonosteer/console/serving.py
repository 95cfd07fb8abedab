"""Serves the console: the page, one WebSocket for each tab, and the files that were exported."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from sonosteer.console.clip_frames import ClipFrames, ShownPicture
from sonosteer.console.clip_room import ClipRoom, OpenedClip
from sonosteer.console.door import Door
from sonosteer.console.jobs import Jobs
from sonosteer.console.label_book import LabelBook
from sonosteer.console.palette import palette_css
from sonosteer.console.picture_way import PictureWay, pack
from sonosteer.console.recorded_run import RecordedRun
from sonosteer.console.replay_room import ReplayRoom
from sonosteer.console.room import Clocked, Room, Stoppable, Told
from sonosteer.console.tracks import HeldTrack
from sonosteer.console.words import MAX_WORD_BYTES, Drawn, Ping, SeekFrame, parse_word
from sonosteer.core.errors import InputError
from sonosteer.core.protocols import Source
from sonosteer.recording.output_folder import claimed_folder

PAGE = Path(__file__).parent / "page"
MAX_QUEUED = 10_000  # chosen: what a tab that hangs may leave unread before it is closed. It asks anew then
EXPORTED = (".csv", ".mp4")

#: runs a function in the loop's thread, from any other
Call: TypeAlias = Callable[[Callable[[], None]], None]


def listening_socket(port: int | None) -> socket.socket:
    """A socket of this machine only. None: any free port. Raises InputError if the port cannot be had."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1", port or 0))
    except (OSError, OverflowError) as e:
        found.close()
        why = e.strerror if isinstance(e, OSError) else "there is no such port"
        raise InputError(f"`port` {port} cannot be had: {why}. Leave it out, and a free one is taken") from None
    return found


def serve_clip(
    source: Source,
    *,
    where: str,
    out: Path,
    seed: int = 0,
    port: int | None = None,
    ready: Callable[[str], None] = lambda address: None,
    tracks: Sequence[HeldTrack] = (),
) -> None:
    """Serve the clip room until it is interrupted. `ready` is called with its address, which holds a token.

    out: folder of labels and exports, which is made. tracks: what is there from the start.
    Raises InputError if the port, the folder or the labels in it cannot be used.
    """
    listening = listening_socket(port)
    try:
        with clip_application(source, where=where, out=out, seed=seed, tracks=tracks) as page:
            serve_behind_door(page, listening, ready)
    finally:
        listening.close()


@contextlib.contextmanager
def clip_application(
    source: Source,
    *,
    where: str,
    out: Path,
    seed: int = 0,
    beside: tuple[tuple[str, str], ...] = (),
    tracks: Sequence[HeldTrack] = (),
) -> Iterator[Starlette]:
    """The clip room of a source as an application, its labels open. The source is closed at the end.

    beside: name and address of other rooms that the same console serves. tracks: what is there from the
    start. Raises InputError as `serve_clip` does.
    """
    info = source.info
    if not info.frames:
        raise InputError(f"{info.name} does not say how many frames it has: the clip room needs a recorded clip")
    with claimed_folder(out):
        book = LabelBook(out, info, today=_today)
        frames = ClipFrames(source)
        opened = OpenedClip(where, seed, out, secrets.token_hex(4), beside)
        held = {track.name: track for track in tracks}

        def make(call: Call) -> Room:
            return ClipRoom(opened, frames, book, Jobs(call), tracks=dict(held))

        try:
            yield _Page(make, out).application()
        finally:
            book.close()
            frames.close()


def serve_behind_door(
    application: Any, listening: socket.socket, ready: Callable[[str], None] = lambda address: None
) -> None:
    """Serve an application until it is interrupted, to whoever holds the token. `ready` is called with its address."""
    number = listening.getsockname()[1]
    door = Door(application, number)
    asyncio.run(_serve(door, listening, lambda: ready(f"http://127.0.0.1:{number}/?token={door.token}")))


def serve_runs(
    paths: Sequence[Path], *, port: int | None = None, ready: Callable[[str], None] = lambda address: None
) -> None:
    """Serve the replay room until it is interrupted: one recorded run, or two beside each other.

    `ready` is called with its address, which holds a token. Raises InputError if the port cannot be used, or if a path
    is no recording.
    """
    listening = listening_socket(port)
    runs: list[RecordedRun] = []
    try:
        for path in paths:
            runs.append(RecordedRun(path))
        serve_room(ReplayRoom(runs), listening, ready)
    finally:
        for run in runs:
            run.close()
        listening.close()


def serve_room(room: Room, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve a room that exports nothing, until it is interrupted. `ready` is called with its address."""
    serve_behind_door(_Page(lambda call: room, None).application(), listening, ready)


async def _serve(door: Door, listening: socket.socket, ready: Callable[[], None]) -> None:
    config = uvicorn.Config(
        door,
        log_level="critical",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=MAX_WORD_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready()
        await task
    finally:
        server.should_exit = True


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class _Tab:
    """One browser tab: what it is told, in order, and the pictures that it asked for."""

    def __init__(self, name: str, web: WebSocket, ways: int) -> None:
        self.name = name
        self.ways: list[PictureWay[SeekFrame]] = [PictureWay() for _ in range(ways)]
        self._web = web
        self._queue: deque[Told] = deque()
        self._more = asyncio.Event()

    def tell(self, said: Told) -> None:
        self._queue.append(said)
        self._more.set()

    def want(self, wish: SeekFrame) -> None:
        self.ways[wish.way].want(wish)

    async def send_words(self) -> None:
        while True:
            while self._queue:
                if len(self._queue) > MAX_QUEUED:
                    await self._web.close(1013, "this tab does not read what it is told")
                    return
                await self._web.send_text(json.dumps(self._queue.popleft(), separators=(",", ":"), allow_nan=False))
            self._more.clear()
            await self._more.wait()

    async def send_pictures(self, number: int, picture: Callable[[SeekFrame], ShownPicture]) -> None:
        way = self.ways[number]
        while True:
            serial, wish = await way.next()
            counts = {"asked": way.asked, "sent": way.sent, "passed_by": way.passed_by}  # of one moment: none waits
            shown = await asyncio.to_thread(picture, wish)
            header = {
                **shown.more,
                **{"v": 1, "t": "picture", "serial": serial, "way": number, "index": shown.index},
                **{"time_s": shown.time_s, "size": list(shown.size_px), "kind": shown.kind, "wrong": shown.wrong},
                **counts,
            }
            await self._web.send_bytes(pack(header, shown.payload))


class _Page:
    """The application behind the door."""

    def __init__(self, make: Callable[[Call], Room], exports: Path | None) -> None:
        self._make, self._exports = make, exports
        self._room: Room | None = None

    def application(self) -> Any:
        """The Starlette application."""
        routes = [
            WebSocketRoute("/ws", self._talk),
            Route("/palette.css", self._palette),
            Route("/export/{name}", self._export),
            Route("/stop", self._stop, methods=["POST"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ]
        return Starlette(routes=routes, lifespan=self._life)

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        room = self._room = self._make(lambda work: _call(loop, work))
        watch = asyncio.create_task(room.watch())
        try:
            yield
        finally:
            watch.cancel()
            room.close()

    async def _palette(self, request: Request) -> Response:
        return PlainTextResponse(palette_css(), media_type="text/css")

    async def _export(self, request: Request) -> Response:
        """A file that was exported. Nothing else in the folder, and nothing beside it."""
        if self._exports is not None:
            folder = self._exports.resolve()
            path = (folder / request.path_params["name"]).resolve()
            if path.parent == folder and path.suffix in EXPORTED and path.is_file():
                return FileResponse(path, filename=path.name)
        return PlainTextResponse("there is no such file", status_code=404)

    async def _stop(self, request: Request) -> Response:
        """The operator's stop without a page: who came in at the door may press it."""
        if not isinstance(self._room, Stoppable):
            return PlainTextResponse("nothing moves here", status_code=404)
        self._room.press_stop("POST /stop")
        return PlainTextResponse("pressed: look at the page, or at the robot, whether it is held", status_code=202)

    async def _talk(self, web: WebSocket) -> None:
        assert self._room is not None
        await web.accept()
        room = self._room
        tab = _Tab(web.query_params.get("tab", "")[:32] or secrets.token_hex(4), web, room.ways)
        room.tabs.add(tab)
        room.hello(tab)
        sending = [asyncio.create_task(tab.send_words())]
        sending += [asyncio.create_task(tab.send_pictures(way, room.picture)) for way in range(room.ways)]
        try:
            while True:
                await self._hear(room, tab, await web.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):  # gone, or it sent bytes
            pass
        finally:
            room.tabs.discard(tab)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _hear(self, room: Room, tab: _Tab, text: str) -> None:
        try:
            word = parse_word(text)
        except InputError as e:
            tab.tell({"t": "said", "id": None, "ok": False, "reason": str(e)})
            return
        if isinstance(word, Drawn | SeekFrame) and not 0 <= word.way < room.ways:
            tab.tell({"t": "said", "id": None, "ok": False, "reason": f"there is no picture number {word.way}"})
            return
        match word:
            case Drawn():
                tab.ways[word.way].drawn(word.serial)
            case Ping():
                now_s = room.now_s() if isinstance(room, Clocked) else None
                tab.tell({"t": "pong", "at": word.at} | ({} if now_s is None else {"now": now_s}))
            case SeekFrame():
                if 0 <= word.index < room.frames(word.way):
                    tab.ways[word.way].want(word)
                else:
                    tab.tell({"t": "said", "id": None, "ok": False, "reason": f"there is no frame {word.index}"})
            case _:
                await room.hear(tab, word)


def _call(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(work)
