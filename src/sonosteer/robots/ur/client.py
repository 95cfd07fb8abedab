"""A connection to a controller by RTDE. Its thread always drains: it hands the newest row over, and counts the rest."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sonosteer.robots.ur.wire import (
    RTDE_VERSION,
    FieldValue,
    PackageReader,
    Recipe,
    RecipeError,
    RtdeError,
    agreed,
    message_text,
    package,
)

KEPT_MESSAGES = 20  # chosen: the controller's texts of late, for whoever asks
_CHUNK = 1 << 16


@dataclass(slots=True)
class RtdeCounts:
    """What a connection has seen. rows = handed over + overwritten."""

    handed_over: int = 0
    """Rows that were handed over, no unit."""
    overwritten: int = 0
    """Rows that a newer one in the same buffer replaced, no unit."""
    messages: int = 0
    """Text messages, no unit."""


class RtdeClient:
    """Connects and agrees on the protocol. Raises OSError or RtdeError if that fails.

    on_row: called in the reader's thread with the newest row and how many have come. on_end: called there once, with
    why the connection ended, unless `close` ended it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer_s: float,
        on_row: Callable[[dict[str, FieldValue], int], None],
        on_end: Callable[[str], None],
    ) -> None:
        self.counts = RtdeCounts()
        self.messages: deque[str] = deque(maxlen=KEPT_MESSAGES)
        self._answer_s, self._on_row, self._on_end = answer_s, on_row, on_end
        self._answers: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._asking, self._writing = threading.Lock(), threading.Lock()
        self._outputs: Recipe | None = None
        self._ended: str | None = None
        self._closing = False
        self._sock = socket.create_connection((host, port), answer_s)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.settimeout(answer_s)
        self._thread = threading.Thread(target=self._drain, name="rtde", daemon=True)
        self._thread.start()
        try:
            if self._ask("V", struct.pack(">H", RTDE_VERSION)) != b"\x01":
                raise RtdeError("the controller does not speak RTDE 2")
            said = self._ask("v")
            if len(said) != 16:
                raise RtdeError("the controller does not say its version")
            self.controller_version: str = ".".join(map(str, struct.unpack(">4I", said)))
        except BaseException:
            self.close()
            raise

    def outputs(self, names: Sequence[str], rate_hz: float) -> None:
        """Agree on what comes, and let it come. Raises RecipeError for a field that the controller has not."""
        said = self._ask("O", struct.pack(">d", rate_hz) + ",".join(names).encode("ascii"))
        self._outputs = agreed(names, *_numbered(said))
        self._start()

    def inputs(self, names: Sequence[str]) -> Recipe:
        """Agree on what is written. Rows pause meanwhile. Raises RecipeError for a field that another client has."""
        if self._ask("P") != b"\x01":
            raise RtdeError("the controller does not pause its rows")
        try:
            return agreed(names, *_numbered(self._ask("I", ",".join(names).encode("ascii"))))
        finally:
            self._start()

    def write(self, recipe: Recipe, values: Mapping[str, FieldValue]) -> None:
        """Write values to the controller. Raises OSError if the connection is gone or takes nothing."""
        self._write(recipe.pack(values))

    @property
    def ended(self) -> str | None:
        """Why the connection ended. None while it stands."""
        return self._ended

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _start(self) -> None:
        if self._ask("S") != b"\x01":
            raise RtdeError("the controller does not start its rows")

    def _ask(self, kind: str, payload: bytes = b"") -> bytes:
        """Ask, and wait for the answer. Rows and text messages in between go their own ways."""
        with self._asking:
            self._write(package(kind, payload))
            while True:
                try:
                    got, data = self._answers.get(timeout=self._answer_s)
                except queue.Empty:
                    raise TimeoutError(f"no answer within {self._answer_s:g} s") from None
                if got == "":
                    raise ConnectionError(self._ended or "the connection is closed")
                if got == kind:
                    return data

    def _write(self, data: bytes) -> None:
        with self._writing:
            if self._ended is not None or self._closing:
                raise ConnectionError(self._ended or "the connection is closed")
            self._sock.sendall(data)

    # -- the reader's thread -----------------------------------------------------------------------------------------

    def _drain(self) -> None:
        reader = PackageReader()
        try:
            while True:
                try:
                    data = self._sock.recv(_CHUNK)
                except TimeoutError:
                    continue  # silence is the part's to judge, by its own clock
                if not data:
                    raise ConnectionError("the controller closed the connection")
                self._take(reader, data)
        except (OSError, RtdeError) as e:
            self._ended = str(e)
            self._answers.put(("", b""))
            if not self._closing:
                self._on_end(self._ended)

    def _take(self, reader: PackageReader, data: bytes) -> None:
        newest: bytes | None = None
        for kind, payload in reader.fed(data):
            if kind == "U":
                self.counts.overwritten += newest is not None
                newest = payload
            elif kind == "M":
                self.counts.messages += 1
                self.messages.append(message_text(payload))
            else:
                self._answers.put((kind, payload))
        if newest is not None and self._outputs is not None:
            self.counts.handed_over += 1
            self._on_row(self._outputs.unpack(newest), self.counts.handed_over + self.counts.overwritten)


def _numbered(said: bytes) -> tuple[int, str]:
    """Number and types of an answer about a recipe."""
    if not said:
        raise RecipeError("the controller does not answer what it exchanges")
    return said[0], said[1:].decode("ascii", "replace")
