"""A loop's newest value, seen from another process. Whoever writes never waits: three slots, and the reader copies one.

Layout of the block: serial of the newest value (u64), then the slots. A slot has its serial (u64), the lengths of
header and payload and their check sum (u32 each), the header as JSON, the payload. A slot whose serial changes while it
is copied was written over meanwhile. The check sum tells a copy that is torn where a processor writes out of order.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

MIRROR_SLOTS = 3  # chosen: the newest one, one that is being written, one that is still being read
HEADER_BYTES = 16_384  # chosen: several times the longest header
READ_TRIES = 4  # chosen: so often a reader begins again within a call, before it comes back later
SLOT_HEAD = struct.Struct("<QIII")
NEWEST_SERIAL = struct.Struct("<Q")


class Mirrored(NamedTuple):
    """A value as it was put."""

    serial: int
    """Its serial number, from 1, no unit."""
    header: dict[str, Any]
    """What was said of it."""
    payload: bytes
    """The bytes that came with it."""


class Mirror:
    """Shared memory that one process writes to and others read from.

    payload_bytes: largest payload. name: of a block that there is, to read from it. None makes a new one.
    """

    def __init__(self, payload_bytes: int, name: str | None = None) -> None:
        self._payload_bytes = payload_bytes
        self._slot_bytes = SLOT_HEAD.size + HEADER_BYTES + payload_bytes
        self._block = SharedMemory(name, create=name is None, size=NEWEST_SERIAL.size + MIRROR_SLOTS * self._slot_bytes)
        self._made = name is None
        self._serial = 0

    @property
    def name(self) -> str:
        """Name of the block, for whoever reads."""
        return self._block.name

    def put(self, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> int:
        """Put a value in the place of the oldest. Returns its serial number. A copy, no lock, no wait.

        Raises ValueError if header or payload do not fit, or if the header holds what JSON has no word for.
        """
        said = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
        if len(said) > HEADER_BYTES or len(payload) > self._payload_bytes:
            raise ValueError(f"{len(said)} and {len(payload)} bytes: {HEADER_BYTES} and {self._payload_bytes} fit")
        serial = self._serial + 1
        buffer, at = self._buffer, self._at(serial)
        body = at + SLOT_HEAD.size
        SLOT_HEAD.pack_into(buffer, at, 0, 0, 0, 0)  # serial 0: it is being written
        buffer[body : body + len(said)] = said
        buffer[body + HEADER_BYTES : body + HEADER_BYTES + len(payload)] = payload
        SLOT_HEAD.pack_into(buffer, at, serial, len(said), len(payload), zlib.crc32(payload, zlib.crc32(said)))
        NEWEST_SERIAL.pack_into(buffer, 0, serial)
        self._serial = serial
        return serial

    def newer(self, than: int) -> Mirrored | None:
        """The newest value, None if there is none newer than a serial, or if it was written over while it was read."""
        for _ in range(READ_TRIES):
            serial: int = NEWEST_SERIAL.unpack_from(self._buffer, 0)[0]
            if serial <= than:
                return None
            found = self._copy(serial)
            if found is not None:
                return found
        return None

    def close(self) -> None:
        """Let go of the memory. Whoever made it takes it away. May be called twice."""
        self._block.close()
        if self._made:
            self._made = False
            self._block.unlink()

    @property
    def _buffer(self) -> memoryview:
        buffer: memoryview | None = self._block.buf
        if buffer is None:
            raise ValueError("this mirror is closed")
        return buffer

    def _at(self, serial: int) -> int:
        return NEWEST_SERIAL.size + (serial % MIRROR_SLOTS) * self._slot_bytes

    def _copy(self, serial: int) -> Mirrored | None:
        buffer, at = self._buffer, self._at(serial)
        before, said_bytes, payload_bytes, check = SLOT_HEAD.unpack_from(buffer, at)
        if before != serial or said_bytes > HEADER_BYTES or payload_bytes > self._payload_bytes:
            return None
        body = at + SLOT_HEAD.size
        said = bytes(buffer[body : body + said_bytes])
        payload = bytes(buffer[body + HEADER_BYTES : body + HEADER_BYTES + payload_bytes])
        whole = SLOT_HEAD.unpack_from(buffer, at)[0] == serial and zlib.crc32(payload, zlib.crc32(said)) == check
        return Mirrored(serial, json.loads(said), payload) if whole else None
