"""Hands an OpenIGTLink stream on, byte by byte both ways, as the network of a scanner does.

As a process: `python -m sonosteer.testing.live_insertion.link SENDER_PORT`. It waits for one client after the other.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from typing import Any

from sonosteer.testing.stand_in import obey_input

CHUNK = 1 << 16


class Link(socketserver.ThreadingTCPServer):
    """Waits for clients at a free port, and connects each to the sender. carried: bytes that went to the clients."""

    daemon_threads = True

    def __init__(self, sender_port: int) -> None:
        self.carried, self.clients = 0, 0
        self.sender = ("127.0.0.1", sender_port)
        super().__init__(("127.0.0.1", 0), _Carry)
        self.port: int = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop waiting."""
        self.shutdown()
        self.server_close()


class _Carry(socketserver.BaseRequestHandler):
    server: Link

    def handle(self) -> None:
        client: Any = self.request
        self.server.clients += 1
        with contextlib.suppress(OSError), socket.create_connection(self.server.sender, timeout=5.0) as sender:
            sender.settimeout(None)
            for each in (sender, client):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._back, args=(client, sender), daemon=True).start()
            while True:
                data = sender.recv(CHUNK)
                if not data:
                    return
                client.sendall(data)
                self.server.carried += len(data)

    @staticmethod
    def _back(client: socket.socket, sender: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                sender.sendall(data)
            sender.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Run as a process until the input ends. Says the port."""
    link = Link(int(sys.argv[1]))
    obey_input(lambda word: None, lambda: {"carried": link.carried, "clients": link.clients}, port=link.port)
    link.close()


if __name__ == "__main__":
    main()
