"""Hands what is new to any number of clients over OpenIGTLink. Nobody waits for a client.

Each client has a thread and a mailbox of its own that holds the newest only. One that does not read makes only its own
thread wait, and is let go after a while.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from sonosteer.core.newest import Newest
from sonosteer.sources.igtlink.address import IgtlAddress
from sonosteer.sources.igtlink.receiver import CONNECT_S, LOOK_S, MAX_WAIT_S, MIN_WAIT_S, listen_at, said_of
from sonosteer.sources.igtlink.wire import HEADER, WireError, crc64, make_message, parse_header, status_content

STUCK_S = 5.0  # chosen: a client that takes not one byte for so long has gone, or is held in a debugger
MOST_CLIENTS = 16  # chosen: a viewer for each person in a room
BUFFER = 1 << 18  # chosen: less than a picture, so that a client that stops reading is seen by it

Sendable = TypeVar("Sendable")
#: of an item and the number of the next message, None for a client that reads version 1
Messages: TypeAlias = Callable[[Sendable, int | None], list[bytes]]


@dataclass(frozen=True, slots=True)
class OutletCounts:
    """The account of an outlet."""

    put: int
    """How many items were handed over."""
    clients: int
    """How many clients came, also those that have gone."""
    sent: int
    """How many items left, each client counted by itself."""
    overwritten: int
    """How many items a client did not get, since a newer one came. Those that wait are among them."""
    gone: dict[str, int]
    """How many clients went, by reason."""


class Outlet(Generic[Sendable]):
    """Sends items to clients, the newest only. `put` never waits.

    address: `igtl://:PORT` waits for clients, `igtl://HOST:PORT` connects to one. messages: what leaves of an item,
    made when it leaves. Raises InputError if the port cannot be had.
    """

    def __init__(self, address: IgtlAddress, messages: Messages[Sendable]) -> None:
        crc64(b"")  # a missing library is said before anything begins
        self._address, self._messages = address, messages
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._links: set[_Link[Sendable]] = set()
        self._newest: Sendable | None = None
        self._put = self._clients = 0
        self._sent = self._overwritten = 0  # of clients that have gone
        self._gone: Counter[str] = Counter()
        self._server = None if address.host is not None else listen_at(address)
        run = self._connect if self._server is None else self._accept
        self._thread = threading.Thread(target=run, name="publisher", daemon=True)
        self._thread.start()

    def put(self, item: Sendable) -> None:
        """Hand over something new."""
        with self._lock:
            self._newest = item
            self._put += 1
            for link in self._links:
                link.newest.put(item)

    def counts(self) -> OutletCounts:
        """The account up to now."""
        with self._lock:
            counts = [link.newest.counts for link in self._links]
            return OutletCounts(
                put=self._put,
                clients=self._clients,
                sent=self._sent + sum(c[1] for c in counts),
                overwritten=self._overwritten + sum(c[2] + c[3] for c in counts),
                gone=dict(self._gone),
            )

    @property
    def closed(self) -> bool:
        """Whether the clients were let go."""
        return self._over.is_set()

    def close(self) -> None:
        """Let the clients go, once they took what waits or LOOK_S is over. May be called twice."""
        if not self._over.is_set():
            until_s = time.monotonic() + LOOK_S
            while time.monotonic() < until_s and any(link.newest.counts[3] for link in self._copy()):
                time.sleep(0.005)
        self._over.set()
        for link in self._copy():
            link.close()
        self._thread.join(CONNECT_S + 1.0)
        if self._server is not None:
            self._server.close()

    # -- clients ------------------------------------------------------------------------------------------------------

    def _copy(self) -> list[_Link[Sendable]]:
        with self._lock:
            return list(self._links)

    def _accept(self) -> None:
        assert self._server is not None
        while not self._over.is_set():
            if not select.select([self._server], [], [], LOOK_S)[0]:
                continue
            try:
                sock, _ = self._server.accept()
            except OSError:
                continue
            if len(self._copy()) >= MOST_CLIENTS:
                sock.close()
                self._gone["too many clients"] += 1
                continue
            link = self._begin(sock)
            threading.Thread(target=self._serve, args=(link,), name="publish", daemon=True).start()

    def _connect(self) -> None:
        assert self._address.host is not None
        wait_s = MIN_WAIT_S
        while not self._over.is_set():
            try:
                sock = socket.create_connection((self._address.host, self._address.port), timeout=CONNECT_S)
            except OSError as e:
                self._gone[said_of(e)] += 1
            else:
                wait_s = MIN_WAIT_S
                self._serve(self._begin(sock))
            self._over.wait(wait_s)
            wait_s = min(2 * wait_s, MAX_WAIT_S)

    def _begin(self, sock: socket.socket) -> _Link[Sendable]:
        link = _Link(sock, self._messages)
        with self._lock:
            self._links.add(link)
            self._clients += 1
            if self._newest is not None:  # a client that comes while nothing moves is told what holds
                link.newest.put(self._newest)
        return link

    def _serve(self, link: _Link[Sendable]) -> None:
        try:
            reason = link.serve(self._over)
        except Exception as e:  # noqa: BLE001  a client's thread ends, the run goes on and says why
            reason = f"broke with {type(e).__name__}: {e}"
        with self._lock:
            self._links.discard(link)
            counts = link.newest.counts
            self._sent += counts[1]
            self._overwritten += counts[2] + counts[3]
            self._gone[reason] += 1


class _Link(Generic[Sendable]):
    """One client: its connection, its mailbox, and the version that it reads."""

    def __init__(self, sock: socket.socket, messages: Messages[Sendable]) -> None:
        self.newest: Newest[Sendable] = Newest()
        self._sock, self._messages = sock, messages
        self._heard = b""
        self._skip = 0  # bytes of a body that are not looked at
        self._number: int | None = None  # of the last message, once the client has spoken version 2
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.settimeout(LOOK_S)
        self._out = sock.makefile("wb", buffering=0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def serve(self, over: threading.Event) -> str:
        """Send until the client or the run ends. Returns how it ended."""
        try:
            with self._sock, self._out:
                while not over.is_set():
                    self._listen()
                    item = self.newest.take(LOOK_S)
                    if item is None:
                        continue
                    messages = self._messages(item, None if self._number is None else self._number + 1)
                    if self._number is not None:
                        self._number += len(messages)
                    for each in messages:
                        self._send(each, over)
        except OSError as e:
            return "the run is over" if over.is_set() else said_of(e)
        return "the run is over"

    def _send(self, data: bytes, over: threading.Event) -> None:
        """Send all of it. Raises OSError if the client takes nothing for STUCK_S, or has gone."""
        left, moved_s = memoryview(data), time.monotonic()
        while left:
            try:
                sent = self._out.write(left) or 0
            except TimeoutError:
                if over.is_set():
                    raise
                if time.monotonic() - moved_s > STUCK_S:
                    raise TimeoutError(f"it read nothing for {STUCK_S:g} s") from None
                continue
            left, moved_s = left[sent:], time.monotonic()

    def _listen(self) -> None:
        """Read what the client says, without waiting. Raises OSError once it has gone."""
        while select.select([self._sock], [], [], 0.0)[0]:
            data = self._sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the client closed the connection")
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            self._heard += data[skipped:]
            while len(self._heard) >= HEADER.size:
                try:
                    header = parse_header(self._heard[: HEADER.size])
                except WireError:
                    raise ConnectionError("the client does not speak OpenIGTLink") from None
                if header.version > 1 and self._number is None:
                    self._number = 0
                if header.kind == "GET_STATUS":
                    number = None if self._number is None else self._number + 1
                    self._number = number
                    self._sock.sendall(make_message("STATUS", "sonosteer", status_content(), number=number))
                rest = self._heard[HEADER.size :]
                self._heard, self._skip = rest[header.size :], max(header.size - len(rest), 0)
