"""Where a live insertion has its frames from: a live source beside a robot, or a world that moves on its own.

Frame, robot state and order are on one clock, the source's. Whatever makes that clock doubtful is said for as long as
it is, and holds the needle: a step of this machine's time of day, a step of the sender's clock, a source that is gone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from sonosteer.core.clock import Clock
from sonosteer.core.live import LiveSource
from sonosteer.core.sender_clock import BACKLOG_S, STEPS
from sonosteer.core.types import Capture, Frame, RobotState
from sonosteer.runtime.awaited import AwaitedFrames
from sonosteer.runtime.insertion import Rig
from sonosteer.runtime.robot_states import RobotStates

POLL_S = 0.001  # chosen: a world that draws its own pictures is asked so often
STATE_S = 0.1  # chosen: longest time that a frame waits for the robot state after it
STEP_HOLD_S = BACKLOG_S  # after a step the offset of the clocks is known again by then
ACCOUNT_S = 0.5  # chosen: how often ages, offset and counts go into the recording


@runtime_checkable
class Camera(Protocol):
    """Frames as they come, and what the robot said when they were acquired."""

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame. Waits up to timeout_s for one, then None."""
        ...

    def state_of(self, frame: Frame) -> RobotState | str:
        """Return the robot's state when that frame was acquired, or in one line why there is none."""
        ...

    def heard(self, state: RobotState) -> None:
        """Take note of what the robot said. Called every control period."""
        ...

    def faults(self, now_s: float) -> tuple[str, ...]:
        """Return what is wrong with the source or with the clocks just now. Called every control period."""
        ...

    def account(self, now_s: float) -> Mapping[str, Any] | None:
        """Return what a recording shall have of the source, None while there is nothing new."""
        ...


class LiveCamera:
    """A live source and the states of a robot. now_s everywhere is on the source's clock, which is the run's."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self._awaited = AwaitedFrames(source)
        self._states = RobotStates()
        self._steps: dict[str, int] = {}
        self._stepped: tuple[float, str] | None = None  # when the sender's clock stepped, and how
        self._accounted_s = -ACCOUNT_S
        self._leaps = 0
        self._leapt_s: float | None = None

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame. Waits up to timeout_s for one, then None. Raises what the source raises."""
        return self._awaited.next(timeout_s)

    def state_of(self, frame: Frame) -> RobotState | str:
        """Return the robot's state at the frame's time, or why there is none. Waits up to STATE_S for it."""
        return self._states.at(frame.time_s, STATE_S)

    def heard(self, state: RobotState) -> None:
        """Take note of what the robot said."""
        self._states.heard(state)

    def faults(self, now_s: float) -> tuple[str, ...]:
        """Return what is wrong with the source or with the clocks just now."""
        out = []
        complaint = self.source.complaint()
        if complaint is not None:
            out.append(f"no pictures: {complaint}")
        step = self.source.clock_step()
        if step is not None and not now_s - step.at_s > STEP_HOLD_S:
            out.append(f"{step.reason}, less than {STEP_HOLD_S:g} s ago")
        stepped = self._sender_stepped(now_s)
        if stepped is not None:
            out.append(f"{stepped}, less than {STEP_HOLD_S:g} s ago")
        if self._states.leaps > self._leaps:
            self._leaps, self._leapt_s = self._states.leaps, now_s
        if self._leapt_s is not None and not now_s - self._leapt_s > STEP_HOLD_S:
            out.append(f"the times of the robot's states leapt, less than {STEP_HOLD_S:g} s ago")
        return tuple(out)

    def _sender_stepped(self, now_s: float) -> str | None:
        """How the sender's clock stepped of late, None if it did not."""
        counted = self.source.counts().faults
        for words in STEPS:
            if counted.get(words, 0) > self._steps.get(words, 0):
                self._steps[words] = counted[words]
                self._stepped = now_s, words
        if self._stepped is None or now_s - self._stepped[0] > STEP_HOLD_S:
            return None
        return self._stepped[1]

    def account(self, now_s: float) -> Mapping[str, Any] | None:
        """Return counts, offset of the clocks and what is wrong, every ACCOUNT_S."""
        if now_s - self._accounted_s < ACCOUNT_S:
            return None
        self._accounted_s = now_s
        return stream_account(self.source)


def stream_account(source: LiveSource) -> dict[str, Any]:
    """What a recording and a summary have of a live source.

    run_began_wall_s: the time of day at 0 s of the run, by the one mapping that it has.
    """
    step = source.clock_step()
    return {
        "counts": source.counts().to_summary(),
        "lag": source.lag(),
        "complaint": source.complaint(),
        "run_began_wall_s": source.to_wall_s(0.0),
        "clock_step": None if step is None else {"at_s": step.at_s, "by_s": step.by_s},
    }


class SteppedCamera:
    """A world that moves on its own, such as the simulated rig: its time passes, and its pictures are taken."""

    def __init__(self, rig: Rig, clock: Clock) -> None:
        self._rig, self._clock = rig, clock
        self._last_s = clock.now_s()
        self._capture: Capture | None = None

    def next_frame(self, timeout_s: float) -> Frame | None:
        """Let time pass until a picture is due, or timeout_s is over. Returns None then."""
        until_s = self._clock.now_s() + timeout_s
        while True:
            now_s = self._clock.now_s()
            self._rig.advance(now_s - self._last_s)
            self._last_s = now_s
            self._capture = self._rig.capture(now_s)
            if self._capture is not None:
                return self._capture.frame
            if now_s >= until_s:
                return None
            time.sleep(POLL_S)

    def state_of(self, frame: Frame) -> RobotState | str:
        """Return what the encoders said when that frame was taken."""
        assert self._capture is not None
        return self._capture.robot_state

    def heard(self, state: RobotState) -> None:
        """Forget it: the world knows its own."""

    def faults(self, now_s: float) -> tuple[str, ...]:
        """Nothing is wrong here."""
        return ()

    def account(self, now_s: float) -> Mapping[str, Any] | None:
        """There is nothing to account for."""
        return None
