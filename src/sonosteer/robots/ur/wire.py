"""RTDE 2, the data exchange of Universal Robots' controllers (TCP port 30004), as pure functions.

A package is its size in bytes (uint16), its kind (one byte) and what it carries, all big-endian. Types of fields come
from the controller's answer and never from a table here, since another controller may lack a field (NOT_FOUND), or
another client may write to it (IN_USE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

#: a field's value: a number, or several
FieldValue: TypeAlias = float | tuple[float, ...]
#: type of a field as the controller calls it -> how it is packed
FIELD_TYPES: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT32": "I",
    "UINT64": "Q",
    "INT32": "i",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
    "VECTOR6UINT32": "6I",
}
PACKAGE_HEAD = struct.Struct(">HB")
RTDE_VERSION = 2
PACKAGE_KINDS = frozenset("VvMUOISP")
_WHY = {
    "NOT_FOUND": "the controller does not know it",
    "IN_USE": "another client writes to it",
    "": "the controller does not say its type",
}


class RtdeError(ValueError):
    """What came is no RTDE, or not what was agreed."""


class RecipeError(ValueError):
    """The controller will not exchange what was asked for."""


def package(kind: str, payload: bytes = b"") -> bytes:
    """One package. Raises RtdeError for a payload that is too long."""
    size = PACKAGE_HEAD.size + len(payload)
    if size > 0xFFFF:
        raise RtdeError(f"a package of {size} bytes is too long")
    return PACKAGE_HEAD.pack(size, ord(kind)) + payload


@dataclass(frozen=True, slots=True)
class Recipe:
    """Fields that are exchanged together, as the controller agreed to them."""

    number: int
    """Its number at the controller, which each package begins with, no unit."""
    names: tuple[str, ...]
    """Names of the fields."""
    types: tuple[str, ...]
    """Their types, keys of `FIELD_TYPES`."""

    def unpack(self, payload: bytes) -> dict[str, FieldValue]:
        """Values of a data package. Raises RtdeError unless it is one of this recipe."""
        row = self._row()
        if len(payload) != 1 + row.size or payload[0] != self.number:
            raise RtdeError(f"a row of {len(payload)} bytes came, where recipe {self.number} has {1 + row.size}")
        flat, out, at = row.unpack(payload[1:]), {}, 0
        for name, kind in zip(self.names, self.types, strict=True):
            n = _length(kind)
            out[name] = flat[at] if n == 1 else flat[at : at + n]
            at += n
        return out

    def pack(self, values: Mapping[str, FieldValue]) -> bytes:
        """A data package. Raises RtdeError for a value that is missing or does not fit its type."""
        flat: list[float] = []
        try:
            for name in self.names:
                value = values[name]
                flat.extend(value if isinstance(value, tuple) else (value,))
            return package("U", bytes([self.number]) + self._row().pack(*flat))
        except KeyError as e:
            raise RtdeError(f"there is no value for {e.args[0]}") from None
        except struct.error as e:
            raise RtdeError(f"a value does not fit: {e}") from None

    def _row(self) -> struct.Struct:
        return struct.Struct(">" + "".join(FIELD_TYPES[t] for t in self.types))


def agreed(names: Sequence[str], number: int, types: str) -> Recipe:
    """The recipe of a controller's answer. Raises RecipeError that names the fields it will not exchange."""
    said = types.split(",")
    said += [""] * (len(names) - len(said))
    wrong = [f"{n} ({_WHY.get(t, f'of type {t}')})" for n, t in zip(names, said, strict=False) if t not in FIELD_TYPES]
    if wrong or len(said) != len(names) or number == 0:
        raise RecipeError(f"the controller will not exchange {', '.join(wrong) or types}")
    return Recipe(number, tuple(names), tuple(said))


class PackageReader:
    """Cuts a stream into packages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def fed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """Take bytes, and yield (kind, payload) of each whole package.

        Raises RtdeError for what cannot be a package: from then on the stream is lost, since nothing marks a beginning.
        """
        self._rest += data
        while len(self._rest) >= PACKAGE_HEAD.size:
            size, kind = PACKAGE_HEAD.unpack_from(self._rest)
            if size < PACKAGE_HEAD.size or chr(kind) not in PACKAGE_KINDS:
                raise RtdeError(f"a package of {size} bytes and kind {kind} came: the stream is broken")
            if len(self._rest) < size:
                return
            payload = bytes(self._rest[PACKAGE_HEAD.size : size])
            del self._rest[:size]
            yield chr(kind), payload


def message_text(payload: bytes) -> str:
    """What a text message of the controller says, with who says it. Bytes that are no text show as such."""
    if not payload:
        return ""
    length = payload[0]
    text, rest = payload[1 : 1 + length], payload[1 + length :]
    source = rest[1 : 1 + rest[0]] if rest else b""
    said = " ".join(text.decode("utf-8", "replace").split())
    who = " ".join(source.decode("utf-8", "replace").split())
    return f"{who}: {said}" if who else said


def _length(kind: str) -> int:
    """How many numbers a field of this type has."""
    head = FIELD_TYPES[kind][0]
    return int(head) if head.isdigit() else 1
