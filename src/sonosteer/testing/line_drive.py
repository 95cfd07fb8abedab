"""A stand-in of a drive that takes lines of text over TCP, in the protocol of `robots/line_protocol.py`.

As a process, `python -m sonosteer.testing.line_drive [PORT]`, it says its port and obeys the words of `stand_in.HAND`
on its input.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
from typing import Any

from sonosteer.robots.line_protocol import checked, unchecked
from sonosteer.testing.axis_model import STEP_S, AxisModel, OwnTime
from sonosteer.testing.stand_in import obey_input

MAX_LASTS_MS = 1000
FASTEST_UM_S = 60_000


class SimulatedLineDrive:
    """A drive with its axis, for one client at a time. `run` in a thread, or `start`."""

    def __init__(self, port: int = 0, axis: AxisModel | None = None) -> None:
        self.axis = axis or AxisModel()
        self.state, self.fault = "OFF", "-"
        self.linked = True
        self._until_s = 0.0  # in the axis's time
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self._client: socket.socket | None = None
        self._rest = b""

    def hand(self, word: str) -> None:
        """Do one of `stand_in.HAND`. Raises ValueError for another word."""
        with self._lock:
            if word in ("jam", "free"):
                self.axis.jammed = word == "jam"
            elif word in ("stop", "fault", "limit"):
                self._fail({"stop": "STOP", "fault": "DRIVE", "limit": "LIMIT"}[word])
            elif word == "off":
                self.state, self.axis.target_mm_s = "OFF", 0.0
            elif word in ("mute", "link"):
                self.linked = word == "link"
            else:
                raise ValueError(f"there is no {word!r}")

    def report(self) -> dict[str, Any]:
        """What the axis did, and the state of the drive."""
        with self._lock:
            return self.axis.report() | {"state": self.state, "fault": self.fault}

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop running, and hang up."""
        self._over.set()
        self._thread.join(2.0)
        self._server.close()
        self._hang_up()

    def run(self) -> None:
        """Serve, and let its time pass, until it is closed."""
        own = OwnTime()
        while not self._over.is_set():
            listened: list[socket.socket] = [self._server]
            if self._client is not None and self.linked:
                listened.append(self._client)
            ready, _, _ = select.select(listened, [], [], 0.002)
            with self._lock:
                for _ in range(own.steps()):
                    self._advance()
                self._serve(ready)

    def _advance(self) -> None:
        if self.axis.target_mm_s != 0.0 and not self.axis.time_s < self._until_s:
            self._fail("WATCHDOG")
        self.axis.advance(STEP_S)

    def _serve(self, ready: list[socket.socket]) -> None:
        if self._server in ready:
            self._hang_up()
            self._client, _ = self._server.accept()
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._client is None or not self.linked or self._client not in ready:
            return
        try:
            came = self._client.recv(4096)
            if not came:
                self._hang_up()
                return
            *lines, self._rest = (self._rest + came).split(b"\n")
            for line in lines:
                self._client.sendall(self._answer(line) + b"\n")
        except OSError:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._rest = None, b""

    def _answer(self, line: bytes) -> bytes:
        try:
            kind, *words = unchecked(line).split(" ")
            return checked(self._do(kind, [int(word) for word in words]))
        except (ValueError, TypeError, UnicodeDecodeError) as e:
            return checked(f"ER {e}".encode("ascii", "replace").decode())

    def _do(self, kind: str, numbers: list[int]) -> str:
        if kind == "ID":
            return "ID stand-in 1"
        if kind == "ST":
            axis = self.axis
            return f"ST {self.state} {round(1e3 * axis.depth_mm)} {round(1e3 * axis.speed_mm_s)} {self.fault}"
        if kind == "RS":
            self.state, self.fault = "OFF", "-"
        elif kind == "X":
            self.axis.target_mm_s = 0.0
        elif self.state == "FAULT":
            raise ValueError(f"fault {self.fault}")
        elif kind == "EN":
            self.state = "READY"
        elif kind == "V":
            self._go(*numbers)
        else:
            raise ValueError(f"there is no {kind}")
        return "OK"

    def _go(self, speed_um_s: int, lasts_ms: int) -> None:
        if self.state != "READY":
            raise ValueError("not switched on")
        if not abs(speed_um_s) <= FASTEST_UM_S or not 0 < lasts_ms <= MAX_LASTS_MS:
            raise ValueError("out of range")
        self.axis.target_mm_s = 1e-3 * speed_um_s
        self._until_s = self.axis.time_s + 1e-3 * lasts_ms
        self.axis.heard()

    def _fail(self, fault: str) -> None:
        self.axis.target_mm_s = 0.0
        if self.state != "FAULT":
            self.state, self.fault = "FAULT", fault


def main() -> None:
    """Run as a process: the port, or none for a free one."""
    drive = SimulatedLineDrive(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    drive.start()
    obey_input(drive.hand, drive.report, port=drive.port)
    drive.close()


if __name__ == "__main__":
    main()
