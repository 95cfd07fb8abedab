"""Parts a stream of bytes into messages, and finds the next one again behind whatever is damaged.

The check sum of a message covers its body. A message whose check sum is wrong may have swallowed the ones behind it,
since its size may be what is damaged. So its bytes are looked through again for the beginning of another message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sonosteer.sources.igtlink.wire import HEADER, MAX_BODY, BodyView, Header, WireError, crc64, parse_header

#: how a header begins: a version, then a type in capitals. What follows is looked at by `_is_plausible`.
BEGINNING = re.compile(rb"\x00[\x01-\x03](?=[A-Z][A-Z0-9_]{1,11})")
KIND = re.compile(rb"[A-Z][A-Z0-9_]{1,11}\x00*")
DEVICE_FIELD = re.compile(rb"[\x20-\x7e\x80-\xff]*\x00*")
READ_BYTES = 1 << 16
GROWTH = 8  # chosen: once a message was right, none is believed that has more than eight times as many bytes
FLOOR = 4 << 20  # chosen: or 4 MiB, a fifth of a second of 640 x 480 pixels sixty times a second
MOST_BAD = 16  # chosen: so many damaged ones in a row, and a new connection is quicker than to look on

ReceiveInto: TypeAlias = Callable[[memoryview], int]


@dataclass(frozen=True, slots=True, eq=False)
class WholeMessage:
    """A message whose check sum is right, or is not looked at."""

    header: Header
    """Its first 58 bytes."""
    body: BodyView
    """The rest of it, a buffer of its own."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that are no whole message."""

    reason: str
    """What is wrong with them."""


class EndOfStream(OSError):  # noqa: N818  an end, not an error
    """The peer closed the connection between two messages."""


class MessageStream:
    """Messages of one connection, in order. receive_into: as that of a socket, 0 at the end.

    checked: whether check sums are compared.
    """

    def __init__(self, receive_into: ReceiveInto, *, checked: bool = True) -> None:
        self._receive_into, self._checked = receive_into, checked
        self._pending = memoryview(b"")  # received, and not looked at yet
        self._largest = 0  # body of a message that was right, bytes
        self._bad_in_row = 0
        self._lost = False  # whether the next message must be looked for
        self._ended = False

    @property
    def max_body(self) -> int:
        """Size of the largest body that is believed just now, bytes."""
        return min(MAX_BODY, max(GROWTH * self._largest, FLOOR)) if self._largest else MAX_BODY

    def next(self) -> WholeMessage | Damaged:
        """Return the next message, or what is damaged. Blocks.

        Raises EndOfStream at the end, WireError if there is too much damage to go on, and what receive_into raises.
        """
        if self._bad_in_row >= MOST_BAD:
            raise WireError(f"{MOST_BAD} damaged messages in a row")
        if self._ended:
            raise EndOfStream("the peer closed the connection")
        if self._lost:
            self._seek()
        head = memoryview(bytearray(HEADER.size))
        missing = self._fill(head)
        if missing == HEADER.size:
            raise EndOfStream("the peer closed the connection")
        if missing:
            return self._cut_off()
        try:
            header = parse_header(head, self.max_body)
        except WireError as e:
            return self._damaged(str(e), head[1:])
        body = np.empty(header.size, np.uint8).data  # not zeroed. A picture is a view of it.
        missing = self._fill(body)
        if missing:
            return self._cut_off(body[: header.size - missing])
        if self._checked and crc64(body) != header.crc:
            return self._damaged("wrong check sum", body)
        self._largest = max(self._largest, header.size)
        self._bad_in_row = 0
        return WholeMessage(header, body)

    def _damaged(self, reason: str, look_again: memoryview) -> Damaged:
        self._bad_in_row += 1
        self._pending = memoryview(b"".join((look_again, self._pending)))
        self._lost = True
        return Damaged(reason)

    def _cut_off(self, look_again: memoryview | None = None) -> Damaged:
        """The end came within a message. Whole ones may be in what its size claimed."""
        self._pending = look_again if look_again is not None else memoryview(b"")
        self._lost = bool(self._pending)
        self._ended = not self._lost
        return Damaged("cut off by the end of the connection")

    def _fill(self, into: memoryview) -> int:
        """Fill a buffer. Returns how many bytes are missing at the end of the stream."""
        at = min(len(self._pending), len(into))
        if at:
            into[:at] = self._pending[:at]
            self._pending = self._pending[at:]
        while at < len(into):
            got = self._receive_into(into[at:])
            if got == 0:
                break
            at += got
        return len(into) - at

    def _seek(self) -> None:
        """Drop bytes up to the next plausible header. Raises EndOfStream if there is none."""
        data, at = bytes(self._pending), 0
        while True:
            for found in BEGINNING.finditer(data, at):
                begin = found.start()
                if len(data) - begin < HEADER.size:
                    break
                if self._is_plausible(data[begin : begin + HEADER.size]):
                    self._pending, self._lost = memoryview(data)[begin:], False
                    return
            chunk = bytearray(READ_BYTES)
            got = self._receive_into(memoryview(chunk))
            if got == 0:
                self._pending, self._ended = memoryview(b""), True
                raise EndOfStream("the peer closed the connection")
            kept = data[max(len(data) - HEADER.size + 1, 0) :]
            data, at = kept + bytes(chunk[:got]), 0

    def _is_plausible(self, head: bytes) -> bool:
        if not (KIND.fullmatch(head[2:14]) and DEVICE_FIELD.fullmatch(head[14:34])):
            return False
        try:
            parse_header(head, self.max_body)
        except WireError:
            return False
        return True
