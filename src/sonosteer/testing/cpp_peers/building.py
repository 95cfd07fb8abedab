"""Builds the peers. They need a compiler and Debian's libopenigtlink, which nothing else here does."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sonosteer.core.errors import BrokenError, InputError

_SOURCES = Path(__file__).parent
HEADERS = Path("/usr/include/openigtlink")
NEEDED = "g++ and libopenigtlink-dev are needed (apt-get install g++ libopenigtlink-dev)"


def build_peer(name: str, folder: Path, *, source: Path | None = None) -> Path:
    """Compile a peer into a folder and return the program. source: another file than the one of that name here.

    Raises InputError where compiler or library are absent, BrokenError if it does not compile.
    """
    compiler = shutil.which("g++")
    if compiler is None or not (HEADERS / "igtlImageMessage.h").exists():
        raise InputError(f"no C++ peer: {NEEDED}")
    program = folder / name
    words = [compiler, "-O1", "-w", str(source or _SOURCES / f"{name}.cxx")]
    words += [f"-I{HEADERS}", "-lOpenIGTLink", "-lpthread", "-o", str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BrokenError(f"the C++ peer {name} does not compile: {done.stderr.strip().splitlines()[-1:]}")
    return program


def new_port() -> int:
    """A TCP port that nobody waits at just now. libopenigtlink's servers do not reuse one for a minute."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def running_sender(
    program: Path, port: int, rate_hz: float, count: int, *, size_px: tuple[int, int]
) -> Iterator[subprocess.Popen[str]]:
    """Run `igtl_sender`. Yields its process once it waits for a client. Raises BrokenError if it does not."""
    words = [str(program), str(port), str(rate_hz), str(count), *map(str, size_px)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise BrokenError(f"the C++ sender does not wait at port {port}")
            yield process
        finally:
            process.kill()
