"""Takes what a publisher of ours sends over OpenIGTLink, and says on what is known of the tip."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from sonosteer.sources.igtlink.message_stream import Damaged, WholeMessage
from sonosteer.sources.igtlink.wire import WireError, parse_string, parse_transform, split_body
from sonosteer.sources.ros2.poses import TipPose, read_sd

STATE_DEVICE, TIP_DEVICES = "NeedleState", ("TipToImage", "TipToReference")
QUIET_S = 0.5  # chosen: as long as a publisher shows a tip without a new picture


@dataclass(frozen=True, slots=True)
class TipCounts:
    """The account of a listener."""

    states: int
    """How many states came."""
    poses: int
    """How many transforms of a tip came."""
    bad: dict[str, int]
    """How many messages could not be used, by reason."""
    faults: dict[str, int]
    """How many times a connection broke, by reason."""
    connections: int
    """How many connections there were."""


class TipListener:
    """Hands on each state and each transform of a tip as it comes, in the receiver's thread.

    tell_state: called with the state and its stamp, s since 1970 or None. tell_pose: called with where the tip is. A
    connection that breaks, and silence of QUIET_S (`look` finds it), are told as a state that begins with `stale:`. No
    transform is ever told twice.
    """

    def __init__(self, tell_state: Callable[[str, float | None], None], tell_pose: Callable[[TipPose], None]) -> None:
        self.good = self.connections = 0
        self._tell_state, self._tell_pose = tell_state, tell_pose
        self._lock = threading.Lock()
        self._states = self._poses = 0
        self._bad: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._heard_s: float | None = None  # when something came last. None: silence has been told
        self.error: Exception | None = None

    def connected(self) -> None:
        """Note that a connection was made."""
        self.connections += 1

    def fault(self, what: str) -> None:
        """Count a connection that broke, and tell it."""
        with self._lock:
            self._faults[what] += 1
            told, self._heard_s = self._heard_s is None, None
        if not told:
            self._tell_state(f"stale: {what}", None)

    def broke(self, error: Exception) -> None:
        """Keep an error: nothing will come any more. `look` raises it."""
        self.error = error

    def take(self, item: WholeMessage | Damaged, arrived_s: float) -> None:
        """Take one message. arrived_s: s on the clock of `look`."""
        try:
            if isinstance(item, Damaged):
                raise WireError(item.reason)
            self._sort(item, arrived_s)
        except WireError as e:
            with self._lock:
                self._bad[str(e)] += 1

    def _sort(self, item: WholeMessage, arrived_s: float) -> None:
        header = item.header
        if (header.kind, header.device) == ("STRING", STATE_DEVICE):
            state = parse_string(split_body(header, item.body)[0])
            self.good += 1
            with self._lock:
                self._states += 1
                self._heard_s = arrived_s
            self._tell_state(state, header.stamp_s)
        elif header.kind == "TRANSFORM" and header.device in TIP_DEVICES:
            content, beside, _ = split_body(header, item.body)
            along_mm, across_mm = read_sd(beside, "sd_along_mm"), read_sd(beside, "sd_across_mm")
            pose = TipPose(header.device, parse_transform(content), header.stamp_s, along_mm, across_mm)
            with self._lock:
                self._poses += 1
            self._tell_pose(pose)

    def look(self, now_s: float) -> None:
        """Tell silence once. Call it now and then. Raises what ended the receiver."""
        if self.error is not None:
            raise self.error
        with self._lock:
            silent = self._heard_s is not None and now_s - self._heard_s > QUIET_S
            if silent:
                self._heard_s = None
        if silent:
            self._tell_state(f"stale: nothing came for {QUIET_S:g} s", None)

    def counts(self) -> TipCounts:
        """The account up to now."""
        with self._lock:
            return TipCounts(self._states, self._poses, dict(self._bad), dict(self._faults), self.connections)
