"""The hash chain of a recording: each message carries a digest of itself and of all messages before it.

SHA-256. A message that is altered, missing, added or moved makes its own digest wrong, and that of every message after
it. The last digest stands for the whole recording. Whoever alters a recording can compute the chain anew, since it
needs no secret. Only a digest that was noted elsewhere tells that.

A message is JSON. Its digest is the last field, `chain`. What is hashed is the digest before, the message's place in
the order of writing, its times, its channel with the schema, and its data without that field.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field

DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELD, _END = b',"chain":"', b'"}'
_TAIL = len(_FIELD) + 64 + len(_END)
_PLACE = struct.Struct("<QQQ")


def channel_digest(topic: str, encoding: str, schema_name: str, schema_encoding: str, schema: bytes) -> bytes:
    """Return what stands for a channel in the chain."""
    parts = (*(text.encode() for text in (topic, encoding, schema_name, schema_encoding)), schema)
    return hashlib.sha256(b"".join(struct.pack("<Q", len(part)) + part for part in parts)).digest()


@dataclass(frozen=True, slots=True)
class ChainLink:
    """Where a message stands, apart from its data."""

    number: int
    """Its place in the order of writing, an index from 0."""
    log_ns: int
    """MCAP's log time, ns."""
    publish_ns: int
    """MCAP's publish time, ns."""
    channel: bytes
    """Digest of its channel, see `channel_digest`."""


@dataclass
class HashChain:
    """The chain as far as it goes."""

    _last: bytes = field(default_factory=lambda: hashlib.sha256(b"sonosteer-run").digest())

    @property
    def digest(self) -> str:
        """Digest of all messages so far, 64 hexadecimal digits."""
        return self._last.hex()

    def sealed(self, link: ChainLink, body: bytes) -> bytes:
        """Append a message, a JSON object with at least one field. Returns it with its digest."""
        self._append(link, body)
        return body[:-1] + _FIELD + self.digest.encode() + _END

    def opened(self, link: ChainLink, data: bytes) -> bytes | None:
        """Append a message that was sealed. Returns it without its digest, None if that is not the one it must have."""
        body, tail = data[:-_TAIL] + b"}", data[-_TAIL:]
        self._append(link, body)
        return body if tail == _FIELD + self.digest.encode() + _END else None

    def _append(self, link: ChainLink, body: bytes) -> None:
        place = _PLACE.pack(link.number, link.log_ns, link.publish_ns)
        self._last = hashlib.sha256(self._last + link.channel + place + body).digest()
