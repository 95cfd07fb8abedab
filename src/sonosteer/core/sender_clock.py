"""A sender's clock, watched from one-way delays: when was a picture acquired, on our clock?

The offset of the two clocks is the least (arrival - stamp) of late. That is too large by the least delay on the way,
which nobody can measure from one side. So ages that come of it are too small by that delay. Where both machines keep
the same time (chrony, PTP), stamps can be taken as they are instead.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

SPAN_S = 10.0  # chosen: 200 ppm of drift make 2 ms in it, and the fastest picture of 10 s is fast
BUCKET_S = 1.0  # chosen: a tenth of the span
HISTORY = 60  # chosen: a minute of offsets tells 10 ppm of drift beneath a jitter of 1 ms
STEP_S = 0.1  # chosen: more than networks delay, less than what a gate allows as age
SURE_S = 0.15  # chosen: a step is named within 0.3 s also where pictures come ten times a second
SURE_COUNT = 3  # chosen: one damaged stamp, or two, are no step
BACKLOG_S = 2.0  # chosen: so long ages are upper bounds. A backlog is over by then, or it changes.
DRIFT_BUCKETS = 10  # chosen: fewer seconds tell no drift
STEPPED_FORWARD = "the sender's clock stepped forward"
STEPPED_BACK = "the sender's clock stepped back, or every picture comes later than before"
#: faults after which ages begin anew
STEPS = (STEPPED_FORWARD, STEPPED_BACK)


@dataclass(frozen=True, slots=True)
class Acquired:
    """When a picture was acquired, as far as its stamp tells."""

    time_s: float
    """On our clock, s."""
    fault: str | None
    """What is wrong with its stamp, None if nothing is."""


class SenderClock:
    """Watches the stamps of one sender. `acquired` is called for every picture, in the order of arrival."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, float]] = deque(maxlen=HISTORY)  # (number of the second, least delta)
        self._odd: list[tuple[float, float]] = []  # (arrival, delta) of stamps that do not fit, one after the other

    def acquired(self, stamp_s: float, arrived_s: float) -> Acquired:
        """Return when a picture was acquired. stamp_s: on the sender's clock. arrived_s: on ours.

        It is never later than the arrival. A stamp from far ahead is answered with the arrival, one from far back
        with the stamp as it is, so that an age is rather too large.
        """
        delta_s = arrived_s - stamp_s
        offset_s = self.offset_s
        if offset_s is None:
            self._note(arrived_s, delta_s)
            return Acquired(arrived_s, None)
        off_s = delta_s - offset_s
        if abs(off_s) <= STEP_S:
            self._odd.clear()
            self._note(arrived_s, delta_s)
            return Acquired(min(stamp_s + min(offset_s, delta_s), arrived_s), None)
        return self._does_not_fit(stamp_s, arrived_s, offset_s)

    def _does_not_fit(self, stamp_s: float, arrived_s: float, offset_s: float) -> Acquired:
        delta_s = arrived_s - stamp_s
        off_s = delta_s - offset_s
        if self._odd and abs(self._odd[-1][1] - delta_s) > STEP_S:
            self._odd.clear()
        self._odd.append((arrived_s, delta_s))
        lasted_s = arrived_s - self._odd[0][0]
        sure = len(self._odd) >= SURE_COUNT and lasted_s >= (SURE_S if off_s < 0 else BACKLOG_S)
        if sure:
            self._buckets.clear()
            for each_s, each in self._odd:
                self._note(each_s, each)
            self._odd.clear()
        if off_s < 0:
            words = STEPPED_FORWARD if sure else "a time stamp is ahead of the sender's clock"
            return Acquired(arrived_s, words)
        if sure:
            return Acquired(arrived_s, STEPPED_BACK)
        return Acquired(stamp_s + offset_s, "a picture is late, or the sender's clock stepped back")

    def _note(self, arrived_s: float, delta_s: float) -> None:
        slot = int(arrived_s // BUCKET_S)
        if self._buckets and self._buckets[-1][0] >= slot:
            last, least = self._buckets[-1]
            self._buckets[-1] = last, min(least, delta_s)
        else:
            self._buckets.append((slot, delta_s))

    @property
    def offset_s(self) -> float | None:
        """Our clock minus the sender's, with the least delay of late in it, s. None before the first stamp."""
        known = list(self._buckets)  # other threads ask, too
        if not known:
            return None
        return min(d for slot, d in known if slot > known[-1][0] - SPAN_S / BUCKET_S)

    @property
    def drift_ppm(self) -> float | None:
        """How much our clock gains on the sender's, s in a million. None before ten seconds of stamps."""
        points = list(self._buckets)
        if len(points) < DRIFT_BUCKETS or points[-1][0] - points[0][0] < DRIFT_BUCKETS - 1:
            return None
        slope = statistics.linear_regression([slot * BUCKET_S for slot, _ in points], [d for _, d in points]).slope
        return slope * 1e6
