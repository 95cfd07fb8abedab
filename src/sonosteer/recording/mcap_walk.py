"""Reads MCAP in the order of writing, up to the end or to where the file was cut off or damaged."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Header, Message
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

MAGIC: bytes = MCAP0_MAGIC
HEAD = struct.Struct("<BQ")  # of a record: what, and how long


@dataclass
class McapWalk:
    """A walk through a file from its beginning. Raises OSError as the system does."""

    path: Path
    """File to walk through."""
    profile: str | None = None
    """What the file says it is. None before its header was read."""
    library: str = ""
    """Program and version that wrote the file. Empty where it does not say, and before its header was read."""
    cut: str | None = None
    """Why the walk ended early, known after it. None at the file's own end."""

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Yield (topic, message), numbered from 0. Ends at a record that is cut off, a wrong checksum or a gap."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            at = len(file.read(len(MAGIC)))
            self.cut = f"cut off at byte {size}"
            topics: dict[int, str] = {}
            number = 0
            for opcode, payload in _records(file, at, size):
                try:
                    found = self._open(opcode, payload, topics)
                except Exception as e:  # noqa: BLE001  whatever damaged bytes make of themselves
                    self.cut = f"damaged before byte {file.tell()} ({type(e).__name__})"
                    return
                for topic, message in found:
                    if message.sequence != number:
                        self.cut = f"damaged: message {number} is missing, {message.sequence} follows"
                        return
                    yield topic, message
                    number += 1
                if opcode == Opcode.FOOTER and file.read(len(MAGIC)) == MAGIC:
                    self.cut = None
                    return

    def _open(self, opcode: int, payload: bytes, topics: dict[int, str]) -> list[tuple[str, Message]]:
        stream = ReadDataStream(BytesIO(payload))
        records = []
        if opcode == Opcode.HEADER:
            header = Header.read(stream)
            self.profile, self.library = header.profile, header.library
        elif opcode == Opcode.CHUNK:
            records = breakup_chunk(Chunk.read(stream), validate_crc=True)
        elif opcode == Opcode.CHANNEL:
            records = [Channel.read(stream)]
        elif opcode == Opcode.MESSAGE:
            records = [Message.read(stream, len(payload))]
        elif opcode == 0:
            raise ValueError("no record begins with 0")
        topics |= {r.id: r.topic for r in records if isinstance(r, Channel)}
        return [(topics[r.channel_id], r) for r in records if isinstance(r, Message)]


def _records(file: BinaryIO, at: int, size: int) -> Iterator[tuple[int, bytes]]:
    while at + HEAD.size <= size:
        opcode, length = HEAD.unpack(file.read(HEAD.size))
        at += HEAD.size + length
        if at > size:
            return
        yield opcode, file.read(length)
