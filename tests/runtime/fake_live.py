"""The fake needle of `fake_rig` beside a live source and a robot, in real time. Pictures come `LAG_S` late."""

import threading
import time
from dataclasses import replace

from fake_rig import SPACING, Fake, picture, push

from sonosteer.core.clock import RealClock
from sonosteer.core.live import StreamCounts
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.runtime.insertion import Pace
from sonosteer.runtime.live_camera import LiveCamera
from sonosteer.safety.limits import Limits

LAG_S = 0.03
#: nothing here is about a machine that is too slow
CALM = Limits(
    heartbeat_s=30.0,
    silent_s=30.0,
    time_step_s=30.0,
    robot_state_age_s=30.0,
    estimate_age_s=30.0,
    action_age_s=30.0,
    action_life_s=60.0,
)
#: a run ends soon after it is held
SOON = Pace(longest_s=30.0, patience_s=0.6)


class FakeScanner:
    """A live source. trouble, silent, frozen, faults, step: what is wrong; stamp: what becomes of a frame's time."""

    def __init__(self, fake, lock, rate_hz=25.0):
        self.info = SourceInfo("scanner", "live", (64, 64), None, None, SPACING)
        self.clock, self._fake, self._lock, self._period_s = fake.clock, fake, lock, 1 / rate_hz
        self.trouble, self.silent, self.frozen, self.error, self.step = None, False, None, None, None
        self.faults, self.stamp = {}, lambda time_s: time_s
        self.depths_mm = {}
        self._index, self._due_s = 0, self.clock.now_s()

    def next_frame(self, timeout_s):
        if self.error is not None:
            raise self.error
        until_s = self.clock.now_s() + timeout_s
        while self.silent or self.clock.now_s() < self._due_s:
            if self.clock.now_s() >= until_s:
                return None
            time.sleep(0.002)
        with self._lock:
            taken_s = self._fake.now()
            pixels = picture(self._fake.needle, self._index) if self.frozen is None else self.frozen
            self.depths_mm[self._index] = self._fake.needle.depth_mm
        self._due_s = self.clock.now_s() + self._period_s
        time.sleep(LAG_S)
        frame = Frame(pixels, self._index, self.stamp(taken_s), SPACING)
        self._index += 1
        return frame

    def counts(self):
        return StreamCounts(
            received=self._index, seen=self._index, overwritten=0, waiting=0, bad={}, faults=self.faults
        )

    def lag(self):
        return {"clock_offset_s": 0.25}

    def complaint(self):
        return self.trouble

    def clock_step(self):
        return self.step

    def to_wall_s(self, time_s):
        return 1e9 + time_s

    def close(self):
        pass


class FakeLive(Fake):
    """A fake insertion on a live source. hang_s: from that time on the robot says what it said then."""

    def __init__(self, say=push, *, limits=CALM, **more):
        super().__init__(say, limits=limits, clock=RealClock(), **more)
        self._lock = threading.Lock()
        self.scanner = FakeScanner(self, self._lock)
        self.rig = LiveCamera(self.scanner)
        self.hangs = None
        self.robot.read = self._read

    def now(self):
        """Let the needle's time pass up to now. Returns it."""
        now_s = self.clock.now_s()
        self.needle.advance(max(now_s - self.needle.time_s, 0.0))
        return self.needle.time_s

    def _read(self):
        if self.hangs is not None:
            return self.hangs
        with self._lock:
            self.now()
            return self.needle.robot_state()

    def until_held(self, after_s, breaks):
        """Run, and break something once `after_s` is over. Returns the run."""
        done = []

        def watch(now, capture, seen):
            if now > after_s and not done:
                done.append(now)
                breaks(self)

        return self.run(SOON, watch=watch)


def older(state, by_s):
    return replace(state, time_s=state.time_s - by_s)
