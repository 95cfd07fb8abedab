"""Reads a robot's encoders and tells the scanner where its needle is, a hundred times a second.

As a process: `python -m sonosteer.testing.live_insertion.encoders GUIDE_PORT SCANNER_PORT`.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

from sonosteer.testing.live_insertion.robot import PERIOD_S, connected
from sonosteer.testing.stand_in import obey_input


class Encoders:
    """Asks the robot's stand-in where it is, and sends each answer on as one datagram."""

    def __init__(self, robot_port: int, scanner_port: int) -> None:
        self.sent = 0
        self.ended: str | None = None
        self._over = threading.Event()
        self._robot = connected(f"tcp://127.0.0.1:{robot_port}")
        self._scanner = ("127.0.0.1", scanner_port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due_s = time.monotonic()
        try:
            with self._robot.makefile("rwb") as lines, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                while not self._over.is_set():
                    lines.write(b"{}\n")
                    lines.flush()
                    line = lines.readline()
                    if not line:
                        raise ConnectionError("the robot hung up")
                    out.sendto(line, self._scanner)
                    self.sent += 1
                    due_s = max(due_s + PERIOD_S, time.monotonic() - PERIOD_S)
                    self._over.wait(max(due_s - time.monotonic(), 0.0))
        except OSError as e:
            self.ended = str(e)

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        self._thread.join(1.0)
        self._robot.close()


def main() -> None:
    """Run as a process until the input ends."""
    encoders = Encoders(int(sys.argv[1]), int(sys.argv[2]))
    obey_input(lambda word: None, lambda: {"sent": encoders.sent, "ended": encoders.ended})
    encoders.close()


if __name__ == "__main__":
    main()
