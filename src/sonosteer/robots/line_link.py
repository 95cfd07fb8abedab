"""A line of text out, a line of text in, over TCP or a serial port."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, Protocol
from urllib.parse import urlsplit

from sonosteer.core.errors import InputError, MissingExtraError, RobotError

MAX_LINE = 4096
REACH_S = 2.0


class LineLink(Protocol):
    """A way to a drive."""

    def ask(self, line: bytes, terminator: bytes, timeout_s: float) -> bytes:
        """Write a line and return the next one that comes. Raises OSError if none comes in time."""
        ...

    def close(self) -> None:
        """Close it. May be called twice."""
        ...


def open_link(address: str, baud: int) -> LineLink:
    """Open tcp://HOST:PORT or serial:PORT. Raises InputError for another address, RobotError if nobody is there."""
    if address.startswith("serial:"):
        return SerialLink(address.removeprefix("serial:").removeprefix("//"), baud)
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "tcp" or not parts.hostname or port is None:
        raise InputError(f"address is {address!r}: give tcp://HOST:PORT or serial:PORT, such as serial:/dev/ttyUSB0")
    return TcpLink(parts.hostname, port)


class TcpLink:
    """Over TCP."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), REACH_S)
        except OSError as e:
            raise RobotError(f"nobody answers at {host}:{port}: {e.strerror or e}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def ask(self, line: bytes, terminator: bytes, timeout_s: float) -> bytes:
        """Write a line and return the next one."""
        until_s = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        self._socket.sendall(line + terminator)
        while terminator not in self._rest:
            self._socket.settimeout(max(until_s - time.monotonic(), 1e-3))
            came = self._socket.recv(MAX_LINE)
            self._rest += came
            if not came:
                raise ConnectionError("the drive closed the connection")
            if len(self._rest) > MAX_LINE:
                raise ConnectionError(f"a line has more than {MAX_LINE} bytes")
        answer, _, self._rest = self._rest.partition(terminator)
        return answer

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._socket.close()


class SerialLink:
    """Over a serial port, by pyserial."""

    def __init__(self, port: str, baud: int) -> None:
        try:
            import serial
        except ImportError:
            raise MissingExtraError("a drive on a serial port", "pyserial", "serial") from None
        try:
            self._port: Any = serial.serial_for_url(port, baudrate=baud, timeout=0.1, write_timeout=0.1)
        except (OSError, ValueError) as e:
            raise RobotError(f"the serial port {port} cannot be opened: {' '.join(str(e).split())[:160]}") from None

    def ask(self, line: bytes, terminator: bytes, timeout_s: float) -> bytes:
        """Write a line and return the next one."""
        self._port.timeout = self._port.write_timeout = timeout_s
        self._port.reset_input_buffer()
        self._port.write(line + terminator)
        came: bytes = self._port.read_until(terminator, MAX_LINE)
        if not came.endswith(terminator):
            raise TimeoutError(f"no whole line came within {timeout_s:g} s")
        return came.removesuffix(terminator)

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._port.close()
