"""RTDE 2 as a controller serves it, for any number of clients. Nobody waits for a client that does not read."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sonosteer.robots.ur.wire import RTDE_VERSION, FieldValue, PackageReader, Recipe, RtdeError, package
from sonosteer.testing.ur.fields import type_of

CYCLE_HZ = 500.0
CONTROLLER_VERSION = (5, 19, 0, 0)
_ROWS = 1  # number of the one recipe of rows that a client has


@dataclass(slots=True)
class Client:
    """One connection."""

    sock: socket.socket
    """Its socket, which never blocks."""
    reader: PackageReader = field(default_factory=PackageReader)
    """Cuts what it sends into packages."""
    rows: Recipe | None = None
    """What it reads."""
    every: int = 1
    """A row each so many cycles, no unit."""
    started: bool = False
    """Whether rows go to it."""
    inputs: list[Recipe] = field(default_factory=list)
    """What it may write, each by its number."""
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    """Rows that go out later, each with its time, s."""


class RtdeServer:
    """Clients of one controller. on_inputs: told what a client writes. lacking: fields that this controller has not."""

    def __init__(self, host: str, port: int, on_inputs: Callable[[dict[str, FieldValue]], None]) -> None:
        self.lacking: set[str] = set()
        self.delay_s = 0.0
        self.frozen = self.deaf = self.muted = False
        self._on_inputs = on_inputs
        self._owners: dict[str, Client] = {}
        self.clients: list[Client] = []
        self.server = socket.create_server((host, port))
        self.port: int = self.server.getsockname()[1]

    def listened(self) -> list[socket.socket]:
        """Sockets of which something may come."""
        return [self.server] if self.muted else [self.server, *(c.sock for c in self.clients)]

    def serve(self, ready: list[socket.socket]) -> None:
        """Take what has come."""
        if self.server in ready:
            sock, _ = self.server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self.clients.append(Client(sock))
        for client in [c for c in self.clients if c.sock in ready and not self.muted]:
            try:
                data = client.sock.recv(65536)
                if not data:
                    raise ConnectionError("it hung up")
                for kind, payload in client.reader.fed(data):
                    self._answer(client, kind, payload)
            except BlockingIOError:
                continue
            except (OSError, RtdeError, struct.error, UnicodeDecodeError):
                self._drop(client)

    def cycle(self, number: int, now_s: float, value: Callable[[str], FieldValue]) -> None:
        """Let rows go, as they are due in this cycle of the controller."""
        for client in list(self.clients):
            if client.started and client.rows is not None and number % client.every == 0 and not self.frozen:
                values: Mapping[str, FieldValue] = {name: value(name) for name in client.rows.names}
                client.waiting.append((now_s + self.delay_s, client.rows.pack(values)))
            while client.waiting and client.waiting[0][0] <= now_s and not self.muted:
                if not self._write(client, client.waiting.popleft()[1]):
                    break

    def say(self, text: str, source: str = "controller") -> None:
        """Send a text message to everybody."""
        a, b = text.encode("utf-8")[:255], source.encode("utf-8")[:255]
        for client in list(self.clients):
            self._write(client, package("M", bytes([len(a)]) + a + bytes([len(b)]) + b + b"\x03"))

    def drop_all(self) -> None:
        """Close every connection."""
        for client in list(self.clients):
            self._drop(client)

    def close(self) -> None:
        """Stop serving."""
        self.drop_all()
        self.server.close()

    def _answer(self, client: Client, kind: str, payload: bytes) -> None:
        if kind == "V":
            self._write(client, package("V", bytes([struct.unpack(">H", payload)[0] == RTDE_VERSION])))
        elif kind == "v":
            self._write(client, package("v", struct.pack(">4I", *CONTROLLER_VERSION)))
        elif kind == "O":
            (rate_hz,) = struct.unpack_from(">d", payload)
            self._agree_rows(client, rate_hz, _names(payload[8:]))
        elif kind == "I":
            self._agree_inputs(client, _names(payload))
        elif kind in "SP":
            client.started = kind == "S" and client.rows is not None
            self._write(client, package(kind, b"\x01" if client.started or kind == "P" else b"\x00"))
        elif kind == "U" and not self.deaf and 1 <= payload[0] <= len(client.inputs):
            self._on_inputs(client.inputs[payload[0] - 1].unpack(payload))

    def _agree_rows(self, client: Client, rate_hz: float, names: list[str]) -> None:
        types = ["NOT_FOUND" if n in self.lacking else type_of(n, written=False) for n in names]
        if not 1.0 <= rate_hz <= CYCLE_HZ or "NOT_FOUND" in types:
            client.rows = None
            self._write(client, package("O", bytes([0]) + ",".join(types).encode()))
            return
        client.every = max(round(CYCLE_HZ / rate_hz), 1)
        client.rows = Recipe(_ROWS, tuple(names), tuple(types))
        self._write(client, package("O", bytes([_ROWS]) + ",".join(types).encode()))

    def _agree_inputs(self, client: Client, names: list[str]) -> None:
        types = []
        for name in names:
            taken = self._owners.get(name, client) is not client
            lacks = name in self.lacking
            types.append("IN_USE" if taken else "NOT_FOUND" if lacks else type_of(name, written=True))
        number = 0
        if not {"IN_USE", "NOT_FOUND"} & set(types):
            client.inputs.append(Recipe(len(client.inputs) + 1, tuple(names), tuple(types)))
            self._owners |= dict.fromkeys(names, client)
            number = len(client.inputs)
        self._write(client, package("I", bytes([number]) + ",".join(types).encode()))

    def _write(self, client: Client, data: bytes) -> bool:
        """Write, or drop a client that does not read."""
        try:
            client.sock.sendall(data)  # which raises where not all of it can go at once
        except OSError:
            self._drop(client)
            return False
        return True

    def _drop(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        self._owners = {name: owner for name, owner in self._owners.items() if owner is not client}
        with contextlib.suppress(OSError):
            client.sock.shutdown(socket.SHUT_RDWR)
        client.sock.close()


def _names(said: bytes) -> list[str]:
    """Names of a recipe. Some clients end it with a comma."""
    return [name for name in said.decode("ascii").split(",") if name]
