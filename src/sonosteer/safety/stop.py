"""The latched stop. It stays until the operator releases it. One that ended the procedure stays for good.

`by` is a name, not a proof. Wire `release` to the operator's key, and to nothing that decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sonosteer.core.errors import InputError

StopKind = Literal["operator", "heartbeat", "encoders", "ended"]
MAY_RELEASE = ("operator",)


@dataclass(frozen=True, slots=True)
class Stop:
    """A reason why everything is refused."""

    kind: StopKind
    """Who stopped. "encoders": the gate, since they contradict the orders. "ended": the policy, since all is over."""
    reason: str
    """Why, in one line."""
    at_s: float
    """Since when, s on the run's clock."""


def latch(before: Stop | None, new: Stop | None) -> Stop | None:
    """Return the stop that holds: the first one, unless a later one ends the procedure."""
    if before is None or (new is not None and new.kind == "ended" and before.kind != "ended"):
        return new
    return before


def check_release(stop: Stop, by: str, now_s: float, since_s: float) -> None:
    """Raise InputError unless `by` may release this stop, and not before `since_s`."""
    if by not in MAY_RELEASE:
        raise InputError(f"a stop is released by the {' or '.join(MAY_RELEASE)}, not by {by!r}")
    if stop.kind == "ended":
        raise InputError(f"the procedure is over ({stop.reason}): start a new one")
    if not since_s <= now_s < math.inf:
        raise InputError(f"a stop cannot be released at {now_s} s; the gate's last tick was at {since_s} s")
