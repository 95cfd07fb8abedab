"""Drains a connection in a thread of its own, whatever the consumer does, and connects again when it breaks.

A sender that is not read slows down its other clients (PLUS waits half a second for each), or puts pictures off. So
this thread does nothing but read, check and hand over.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

from sonosteer.core.clock import Clock
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.address import IgtlAddress
from sonosteer.sources.igtlink.message_stream import Damaged, EndOfStream, MessageStream, WholeMessage
from sonosteer.sources.igtlink.wire import WireError, make_message

CONNECT_S = 2.0  # chosen: a machine that is on answers within a second, also over a poor network
SILENT_S = 3.0  # chosen: PLUS says something four times a second. A cable that was pulled says nothing for ever.
LOOK_S = 0.25  # chosen: how often a thread that waits looks whether it is to end
MIN_WAIT_S, MAX_WAIT_S = 0.05, 2.0  # chosen: between two attempts, doubled each time
CHECK_S = 0.1  # chosen: how often the time of day is compared with the run's clock


class TakesMessages(Protocol):
    """Takes what comes out of a connection, in its thread."""

    good: int
    """How many messages of use came. A connection that brings none is tried less often."""
    connections: int
    """How many connections there were."""

    def connected(self) -> None:
        """Note that a connection was made."""

    def take(self, item: WholeMessage | Damaged, arrived_s: float) -> None:
        """Take one message. arrived_s: s on the run's clock."""

    def fault(self, what: str) -> None:
        """Count something that was wrong."""

    def broke(self, error: Exception) -> None:
        """Note that nothing will come any more."""


class Receiver:
    """A connection to a sender that comes back by itself. Use it as a context manager, or call `close`.

    Raises InputError if the port that it is to wait at cannot be had.
    """

    def __init__(self, address: IgtlAddress, intake: TakesMessages, clock: Clock, wall: WallClock) -> None:
        self._address, self._intake, self._clock, self._wall = address, intake, clock, wall
        self._over = threading.Event()
        self._sock: socket.socket | None = None
        self._trouble: str | None = "not connected yet"
        self._refused = False
        self._checked_s = clock.now_s()
        self._server = None if address.host is not None else listen_at(address)
        self._thread = threading.Thread(target=self._run, name="igtlink", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, None while there is one."""
        return self._trouble

    @property
    def refused(self) -> bool:
        """Whether the last attempt to connect was refused, or the name of the machine is not known."""
        return self._refused

    def close(self) -> None:
        """End the thread and the connection. May be called twice."""
        self._over.set()
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(CONNECT_S + 1.0)
        if self._server is not None:
            self._server.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._keep_connected()
        except Exception as e:  # noqa: BLE001  raised again where pictures are taken
            self._intake.broke(BrokenError(f"reading {self._address.where} broke: {type(e).__name__}: {e}"))

    def _keep_connected(self) -> None:
        wait_s = MIN_WAIT_S
        while not self._over.is_set():
            before = self._intake.good
            try:
                sock = self._connect()
            except OSError as e:
                self._broken(e)
            else:
                if sock is None:
                    continue
                self._drain(sock)
            wait_s = MIN_WAIT_S if self._intake.good > before else min(2 * wait_s, MAX_WAIT_S)
            self._over.wait(wait_s)

    def _connect(self) -> socket.socket | None:
        """A connection, None if nobody came within LOOK_S. Raises OSError."""
        if self._server is None:
            assert self._address.host is not None
            return socket.create_connection((self._address.host, self._address.port), timeout=CONNECT_S)
        self._trouble = "nobody has connected yet" if self._intake.connections == 0 else "nobody is connected"
        if not select.select([self._server], [], [], LOOK_S)[0]:
            self._check_wall()
            return None
        return self._server.accept()[0]

    def _drain(self, sock: socket.socket) -> None:
        """Read one connection to its end."""
        self._sock = sock
        try:
            with sock:
                with contextlib.suppress(OSError):  # what is not known here is not needed
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(LOOK_S)
                self._intake.connected()
                self._trouble, self._refused = None, False
                # PLUS answers in version 1, without metadata, until a client has spoken version 2
                sock.sendall(make_message("GET_STATUS", "sonosteer", b"", number=1))
                stream = MessageStream(_Reading(sock, self._over, self._waits), checked=self._address.checked)
                while not self._over.is_set():
                    item = stream.next()
                    arrived_s = self._clock.now_s()
                    self._intake.take(item, arrived_s)
                    if arrived_s - self._checked_s > CHECK_S:
                        self._check_wall()
        except (OSError, WireError) as e:
            self._broken(e)
        finally:
            self._sock = None

    def _waits(self) -> bool:
        """Called while nothing comes. Returns whether another sender waits to be let in."""
        self._check_wall()
        return self._server is None or bool(select.select([self._server], [], [], 0.0)[0])

    def _check_wall(self) -> None:
        self._checked_s = self._clock.now_s()
        stepped = self._wall.check()
        if stepped is not None:
            self._intake.fault("the time of day on this machine stepped")

    def _broken(self, error: Exception) -> None:
        if self._over.is_set():
            return
        self._trouble = said_of(error)
        refused = isinstance(error, ConnectionRefusedError | socket.gaierror)
        self._refused = refused or getattr(error, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH)
        if isinstance(error, EndOfStream) and self._server is not None:
            return  # a sender may go when it likes
        self._intake.fault(self._trouble)


class _Reading:
    """recv_into of a socket that gives up after SILENT_S without a byte."""

    def __init__(self, sock: socket.socket, over: threading.Event, give_up: Callable[[], bool]) -> None:
        self._sock, self._over, self._give_up = sock, over, give_up
        self._last_s = time.monotonic()

    def __call__(self, into: memoryview) -> int:
        while True:
            try:
                got = self._sock.recv_into(into)
            except TimeoutError:
                if self._over.is_set():
                    return 0
                replaceable = self._give_up()
                if replaceable and time.monotonic() - self._last_s > SILENT_S:
                    raise TimeoutError(f"nothing came for {SILENT_S:g} s") from None
                continue
            self._last_s = time.monotonic()
            return got


def listen_at(address: IgtlAddress) -> socket.socket:
    """A socket that waits for connections. Raises InputError if the port cannot be had."""
    try:
        return socket.create_server((address.bind, address.port), backlog=8)
    except OSError as e:
        reason = "another program waits there already" if e.errno == errno.EADDRINUSE else e.strerror
        raise InputError(f"{address.where}: cannot wait at port {address.port}: {reason}") from None


def said_of(error: Exception) -> str:
    """A connection's error as a reason to count: the same words for the same thing."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "no machine of that name"
    if isinstance(error, TimeoutError):
        return str(error) if error.errno is None and str(error) not in ("", "timed out") else "no answer"
    if getattr(error, "errno", None) is None and str(error):
        return str(error)
    return str(getattr(error, "strerror", None) or type(error).__name__).lower()
