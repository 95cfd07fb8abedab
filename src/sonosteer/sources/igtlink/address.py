"""Reads `igtl://[HOST]:PORT[/DEVICE][?option=value&option=value]`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from sonosteer.core.errors import InputError

SCHEME = "igtl://"
USUAL_PORT = 18944
FORM = "igtl://HOST:PORT[/DEVICE], or igtl://:PORT to wait for the other side"
#: option -> values that it takes. Empty: any.
OPTIONS = {"orientation": (), "clock": ("own", "shared"), "crc": ("yes", "no"), "bind": ()}


@dataclass(frozen=True, slots=True)
class IgtlAddress:
    """Where a peer is, or where to wait for one."""

    text: str
    """As it was typed."""
    host: str | None
    """Name or number of the machine to connect to. None: others connect to us."""
    port: int
    """TCP port, no unit."""
    device: str | None
    """Name of the device whose pictures are wanted. None: the only one that sends any."""
    orientation: str | None = None
    """Where x and y of the pictures point, such as MF. None: nobody said."""
    clock: str = "own"
    """shared: the sender's clock is ours, or both follow one time. own: it is not known to be."""
    checked: bool = True
    """Whether check sums are compared."""
    bind: str = ""
    """Address of our own machine to wait at. Empty: all of them."""

    @property
    def where(self) -> str:
        """The address without device and options, to show."""
        return f"igtl://{self.host or ''}:{self.port}"


def parse_address(text: str) -> IgtlAddress:
    """Read an address. Raises InputError if it is none, or names an option that there is not."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(f"{text}: the port is no number from 1 to 65535: give {FORM}") from None
    if parts.scheme != "igtl" or (parts.hostname is None and port is None) or port == 0:
        raise InputError(f"{text}: that is no OpenIGTLink address: give {FORM}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in given.items():
        if name not in OPTIONS:
            raise InputError(f"{text}: there is no option {name!r}; there are: {', '.join(OPTIONS)}")
        if OPTIONS[name] and value not in OPTIONS[name]:
            raise InputError(f"{text}: {name} is {value!r}; {' and '.join(OPTIONS[name])} are possible")
    return IgtlAddress(
        text=text,
        host=parts.hostname,
        port=port or USUAL_PORT,
        device=unquote(parts.path.strip("/")) or None,
        orientation=given.get("orientation"),
        clock=given.get("clock", "own"),
        checked=given.get("crc", "yes") == "yes",
        bind=given.get("bind", ""),
    )
