"""Decoders that may hang, crash or allocate without bound on damaged files run in a process of their own.

The process is started at the first picture and answers until it is closed: starting it takes some tenths of a second,
so only formats that need it use it. Each picture may take `SONOSTEER_MAX_DECODE_S` of computing, and the process may
hold `SONOSTEER_MAX_DECODE_BYTES`. It never outlives its parent: it ends when its input does, or by the first bound.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.limits import LIMITS, limit_of

Argument: TypeAlias = str | int | float | bool | None
WAITING = 15  # chosen: a busy machine gives a process a fifteenth of the time, and a picture that waits is not damaged
ARRAY_KINDS = ("|u1", "<u2", "<i2", "|i1", "<u4", "<i4", "<f4", "<f8")


class GuardedReader:
    """Calls functions of this package in a child process, and hands back the arrays that they return.

    A function is named "module:function", takes what JSON holds and returns an array. It raises InputError for what it
    refuses. After a picture that took too long or let the decoder die, the next call starts another process.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._stop: Callable[[], object] = _nothing

    def read(self, what: str, function: str, *arguments: Argument, mapped_bytes: int = 0) -> NDArray[Any]:
        """Return what the function returns for these arguments.

        what: names the picture in messages. mapped_bytes: size of a file that the function maps, which does not count
        as memory that it holds. Raises InputError if the function does, if it takes too long or too much
        memory, or if the decoder dies.
        """
        seconds = limit_of("SONOSTEER_MAX_DECODE_S")
        memory = limit_of("SONOSTEER_MAX_DECODE_BYTES") + mapped_bytes
        asked = {"function": function, "arguments": arguments, "cpu_s": seconds, "memory": memory}
        with self._lock:
            child = self._started()
            assert child.stdin is not None
            assert child.stdout is not None
            late = threading.Event()
            timer = threading.Timer(seconds * WAITING, _kill, (child, late))
            timer.start()
            try:
                child.stdin.write(json.dumps(asked).encode() + b"\n")
                child.stdin.flush()
                answer = json.loads(child.stdout.readline() or b"null")
                data = child.stdout.read(answer["bytes"]) if answer and "bytes" in answer else b""
            except (BrokenPipeError, ConnectionResetError):
                answer, data = None, b""
            finally:
                timer.cancel()
            if answer is None or len(data) < answer.get("bytes", 0):
                status = child.wait()
                self.close()
                raise InputError(f"{what} {_death(status, late.is_set(), seconds)}")
        if "refused" in answer:
            raise InputError(answer["refused"])
        if "too_big" in answer:
            variable = "SONOSTEER_MAX_DECODE_BYTES"
            raise InputError(
                f"{what} needs more than {limit_of(variable)} {LIMITS[variable][1]}; set {variable} to raise that"
            )
        if "broke" in answer:
            raise InputError(f"{what} cannot be decoded: {answer['broke']}")
        return np.frombuffer(bytearray(data), np.dtype(answer["dtype"])).reshape(answer["shape"])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # this process was forked: the child belongs to the other one
            self._owner, self._child, self._stop = os.getpid(), None, _nothing
        if self._child is None or self._child.poll() is not None:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            # chosen: threads of a library of linear algebra would reserve memory that no decoder needs
            environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
            try:
                self._child = subprocess.Popen(
                    [sys.executable, "-c", "from sonosteer.core.guarded import serve; serve()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
            except OSError as e:
                raise BrokenError(f"a process that decodes pictures cannot be started: {e.strerror}") from None
            self._stop = weakref.finalize(self, _end, self._child)
        return self._child

    def close(self) -> None:
        """End the process. May be called twice, and before another reading."""
        self._stop()
        self._child, self._stop = None, _nothing


def _nothing() -> None:
    """There is no process to end."""


def _kill(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    child.kill()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except OSError:  # what was not yet sent
            continue
    child.wait()


def _death(status: int, late: bool, seconds: int) -> str:
    """Why there is no picture, for the message."""
    if late or (sys.platform != "win32" and status == -_signal("SIGXCPU")):
        return f"takes more than {seconds} s to decode: it is damaged, or set SONOSTEER_MAX_DECODE_S to raise that"
    return f"cannot be decoded: it is damaged, and its decoder died ({f'signal {-status}' if status < 0 else status})"


def _signal(name: str) -> int:
    import signal

    return int(getattr(signal, name))


# -- in the child ----------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests of a `GuardedReader` on stdin until it ends. Runs in the child process."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries print on it
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _bound(asked["cpu_s"], asked["memory"])
        try:
            module, _, name = asked["function"].partition(":")
            array = getattr(importlib.import_module(module), name)(*asked["arguments"])
            _send(answers, array)
        except InputError as e:
            _say(answers, {"refused": str(e)})
        except MemoryError:
            _say(answers, {"too_big": True})
        except Exception as e:  # noqa: BLE001  a decoder's mistake on damaged data, whatever its kind
            _say(answers, {"broke": " ".join(f"{type(e).__name__} {e}".split())[:160]})


def _send(answers: IO[bytes], array: NDArray[Any]) -> None:
    array = np.ascontiguousarray(array)
    if array.dtype.str not in ARRAY_KINDS:
        array = array.astype(array.dtype.newbyteorder("<"))
    _say(answers, {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": array.nbytes})
    answers.write(array.data)
    answers.flush()


def _say(answers: IO[bytes], said: dict[str, Any]) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()


def _bound(seconds: int, memory_bytes: int) -> None:
    """Let the process end once it has computed for so many seconds more, and allocations fail beyond so many bytes.

    Does nothing on systems that cannot.
    """
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    for kind, bound in ((resource.RLIMIT_CPU, until), (resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (bound, resource.getrlimit(kind)[1]))
