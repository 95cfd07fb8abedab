"""Peers of tests over OpenIGTLink: C++ programs on Debian's libopenigtlink, and senders that do as they are told."""

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.sources.igtlink.wire import image_content, make_message
from sonosteer.testing.cpp_peers.building import build_peer, new_port, running_sender

HERE = Path(__file__).parent
WAIT_S = 60.0  # a machine that is busy with other things makes a test wait, never fail


def build(name, folder):
    """Compile a peer. Skips the test where compiler or library are absent."""
    own = HERE / f"{name}.cxx"
    try:
        return build_peer(name, folder, source=own if own.exists() else None)
    except InputError as e:
        pytest.skip(str(e))


free_port = new_port


def cpp_sender(program, port, hz, count, width=64, height=48):
    """Run a C++ sender. Gives its process once it waits for a client."""
    return running_sender(program, port, hz, count, size_px=(width, height))


def picture(i, size=(48, 64)):
    """A picture with its number in its first four bytes."""
    pixels = np.full(size, i & 0xFF, np.uint8)
    pixels.reshape(-1)[:4] = np.frombuffer(struct.pack("<i", i), np.uint8)
    return pixels


def number_of(pixels):
    return struct.unpack("<i", pixels.reshape(-1)[:4].tobytes())[0]


def image_message(i, device="Image", stamp_s=None, size=(48, 64), spacing=(0.2, 0.1), **beside):
    stamp_s = 1000.0 + 0.01 * i if stamp_s is None else stamp_s
    content = image_content(picture(i, size), spacing, np.eye(4))
    return make_message("IMAGE", device, content, stamp_s=stamp_s or None, **beside)


class Sender:
    """A server that plays a script to each client in turn: bytes to send, or a function of the connection.

    After the last script it closes.
    """

    def __init__(self, *scripts):
        self.port = free_port()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.settimeout(10 * WAIT_S)  # a command may compile first
        self._scripts = scripts
        self.heard = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def where(self):
        return f"igtl://127.0.0.1:{self.port}"

    def _run(self):
        for script in self._scripts:
            with contextlib.suppress(OSError):
                sock, _ = self._server.accept()
                with sock:
                    sock.settimeout(WAIT_S)
                    self.heard.append(sock.recv(4096))
                    for step in script:
                        if callable(step):
                            step(sock)
                        else:
                            sock.sendall(step)
        self._server.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.close()
        self._thread.join(5.0)


def until(condition, what="it"):
    """Wait for something to be true."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not happen within {WAIT_S:g} s"
        time.sleep(0.005)


def stay(event):
    """A step of a script: keep the connection until an event is set."""
    return lambda sock: event.wait(WAIT_S)


def until_closed(sock):
    """A step of a script: keep the connection until the other side closes it."""
    while sock.recv(4096):
        pass
