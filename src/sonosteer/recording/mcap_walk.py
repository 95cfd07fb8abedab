"""Reads MCAP in the order of writing, up to the end or to where the file was cut off, damaged or altered."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, Header, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from sonosteer.recording.hash_chain import ChainLink, HashChain, channel_digest

MAGIC: bytes = MCAP0_MAGIC
HEAD = struct.Struct("<BQ")  # of a record: what, and how long
MAX_CHUNK = 1 << 28  # chosen: bytes of an opened chunk. Ours are of one megabyte and one more picture
#: records that a recording of ours has none of
FOREIGN = (Opcode.ATTACHMENT, Opcode.METADATA, Opcode.ATTACHMENT_INDEX, Opcode.METADATA_INDEX)


@dataclass(frozen=True, slots=True)
class WalkedMessage:
    """A message that is what was written."""

    number: int
    """Its place in the order of writing, an index from 0."""
    topic: str
    """Topic that it was written to."""
    log_ns: int
    """When it was said, ns on the run's clock."""
    body: bytes
    """Its JSON without the chain's digest."""


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
    """Why the walk ended early, or what is wrong with the file's end, known after it. None if nothing is wrong."""
    chain: HashChain = field(default_factory=HashChain)
    """The hash chain of the messages so far."""
    _schemas: dict[int, Schema] = field(default_factory=dict)
    _channels: dict[int, tuple[str, bytes]] = field(default_factory=dict)

    def messages(self) -> Iterator[WalkedMessage]:
        """Yield the messages. Ends at one that is not what was written, at a wrong checksum, at a cut or a gap."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            at = len(file.read(len(MAGIC)))
            self.cut = f"cut off at byte {size}"
            ends = _Ends()
            number = 0
            for opcode, payload in _records(file, at, size):
                try:
                    found = self._open(opcode, payload)
                    ends.take(opcode, payload)
                except Exception as e:  # noqa: BLE001  whatever damaged bytes make of themselves
                    self.cut = f"damaged before byte {file.tell()} ({type(e).__name__})"
                    return
                for message in found:
                    if message.sequence != number:
                        self.cut = f"altered: message {number} is missing, {message.sequence} follows"
                        return
                    walked = self._checked(message)
                    if walked is None:
                        self.cut = f"altered: message {number} is not what was written, or not where it was"
                        return
                    yield walked
                    number += 1
                if opcode == Opcode.FOOTER and file.read(len(MAGIC)) == MAGIC:
                    self.cut = ends.wrong or (None if file.tell() == size else "altered: it goes on after its end")
                    return

    def _open(self, opcode: int, payload: bytes) -> list[Message]:
        stream = ReadDataStream(BytesIO(payload))
        records = []
        if opcode == Opcode.HEADER:
            header = Header.read(stream)
            self.profile, self.library = header.profile, header.library
        elif opcode == Opcode.CHUNK:
            records = breakup_chunk(_bounded(Chunk.read(stream)), validate_crc=True)
        elif opcode == Opcode.SCHEMA:
            records = [Schema.read(stream)]
        elif opcode == Opcode.CHANNEL:
            records = [Channel.read(stream)]
        elif opcode == Opcode.MESSAGE:
            records = [Message.read(stream, len(payload))]
        elif opcode == 0:
            raise ValueError("no record begins with 0")
        elif opcode in FOREIGN:
            raise ValueError("a recording has no attachments")
        for record in records:
            if isinstance(record, Schema):
                self._schemas[record.id] = record
            elif isinstance(record, Channel):
                self._channels[record.id] = (record.topic, self._digest_of(record))
        return [r for r in records if isinstance(r, Message)]

    def _digest_of(self, channel: Channel) -> bytes:
        schema = self._schemas.get(channel.schema_id)
        said = ("", "", b"") if schema is None else (schema.name, schema.encoding, schema.data)
        return channel_digest(channel.topic, channel.message_encoding, *said)

    def _checked(self, message: Message) -> WalkedMessage | None:
        """Return the message, None if the chain says that it is not the one that was written here."""
        if message.channel_id not in self._channels:
            return None
        topic, channel = self._channels[message.channel_id]
        link = ChainLink(message.sequence, message.log_time, message.publish_time, channel)
        body = self.chain.opened(link, message.data)
        return None if body is None else WalkedMessage(message.sequence, topic, message.log_time, body)


def _bounded(chunk: Chunk) -> Chunk:
    """Return the chunk. Raises ValueError if opening it would take more room than it says, or than any of ours."""
    opened = zstandard.frame_content_size(chunk.data) if chunk.compression == "zstd" else len(chunk.data)
    if opened != chunk.uncompressed_size or opened > MAX_CHUNK:
        raise ValueError(f"a chunk of {opened} bytes")
    return chunk


@dataclass
class _Ends:
    """Checks the checksums of a file's two parts: what was recorded, and the index behind it."""

    wrong: str | None = None
    _crc: int = zlib.crc32(MAGIC)
    _whole: bool = False  # all that was recorded has gone by, and its checksum is right

    def take(self, opcode: int, payload: bytes) -> None:
        """Take the next record."""
        head = HEAD.pack(opcode, len(payload))
        if opcode == Opcode.DATA_END:
            said = DataEnd.read(ReadDataStream(BytesIO(payload))).data_section_crc
            self._whole = said == self._crc
            self._crc = 0
        elif opcode == Opcode.FOOTER:
            said = Footer.read(ReadDataStream(BytesIO(payload))).summary_crc
            crc = zlib.crc32(payload[:-4], zlib.crc32(head, self._crc))
            if not self._whole:
                self.wrong = "altered: what was recorded does not fit its checksum"
            elif said != crc or len(payload) != 20:
                self.wrong = "altered: the index at its end does not fit its checksum"
        else:
            self._crc = zlib.crc32(payload, zlib.crc32(head, self._crc))


def _records(file: BinaryIO, at: int, size: int) -> Iterator[tuple[int, bytes]]:
    while at + HEAD.size <= size:
        opcode, length = HEAD.unpack(file.read(HEAD.size))
        at += HEAD.size + length
        if at > size:
            return
        yield opcode, file.read(length)
