"""Runs a robotic insertion on a real clock: a thread each for camera, tracker and policy, and the control loop.

Source: Zhang et al. 2026, Section III-E. Every branch takes the newest value of a mailbox and puts its own into the
next. None waits for the one behind it. Control runs in the caller's thread at its own rate. Recorder and viewers have
threads of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sonosteer.core.clock import Clock
from sonosteer.core.types import Capture, Observation
from sonosteer.runtime.branches import ControlBranch, Decision, PolicyBranch, TrackingBranch
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import (
    Pace,
    Rig,
    Run,
    RunJudge,
    Watch,
    record_decision,
    record_estimate,
    record_used,
    show_moment,
)
from sonosteer.runtime.live_camera import Camera, SteppedCamera
from sonosteer.runtime.mailbox import Latest
from sonosteer.runtime.viewing import RunViewer

LIVE = Pace()
JOIN_S = 2.0  # chosen: a branch that hangs does not keep a run from ending within a few seconds
WAIT_S = 0.05  # chosen: how often a branch with nothing to do looks whether the run is over


def insert_live(
    rig: Rig | Camera,
    tracking_branch: TrackingBranch,
    policy_branch: PolicyBranch,
    control_branch: ControlBranch,
    clock: Clock,
    pace: Pace = LIVE,
    *,
    watch: Watch | None = None,
    button: Button | None = None,
    viewer: RunViewer | None = None,
) -> Run:
    """Insert in real time until the policy stops, nothing moves for too long, or time is up.

    The branches take as long as they take: what `pace` says of that does not count. rig: a camera beside a robot, on
    `clock`, or a world that moves on its own. Its frames are taken by the camera's thread only. watch: called every
    control period, may say why the run is over. button: the operator's. viewer: is shown every control period. Ctrl-C
    ends it. The robot holds at the end.
    """
    live = _Live(
        camera=rig if isinstance(rig, Camera) else SteppedCamera(rig, clock),
        tracking_branch=tracking_branch,
        policy_branch=policy_branch,
        control_branch=control_branch,
        clock=clock,
        pace=pace,
    )
    threads = [threading.Thread(target=live.guarded, args=(f,), name=f.__name__, daemon=True) for f in live.branches()]
    for thread in threads:
        thread.start()
    try:
        while not live.run.ended:
            now = clock.now_s()
            if button is not None:
                control_branch.obey(button, now)
            live.control(now, watch, viewer)
            live.wait_for_next_period()
    except KeyboardInterrupt:
        live.run.interrupt()
    finally:
        control_branch.let_go()
        live.over.set()
        until_s = time.monotonic() + JOIN_S
        for thread in threads:
            thread.join(max(until_s - time.monotonic(), 0.0))
        live.run.close(control_branch, clock.now_s() - live.began_s)
    return live.run


class _Live:
    """The control loop, the branches' threads and the mailboxes between them."""

    def __init__(
        self,
        *,
        camera: Camera,
        tracking_branch: TrackingBranch,
        policy_branch: PolicyBranch,
        control_branch: ControlBranch,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self.source, self.clock, self.pace, self.began_s = camera, clock, pace, clock.now_s()
        self.tracking_branch, self.policy_branch = tracking_branch, policy_branch
        self.control_branch = control_branch
        self.captures: Latest[Capture] = Latest()
        self.observations: Latest[Observation] = Latest()
        self.decisions: Latest[Decision] = Latest()
        self.over = threading.Event()
        self.run = Run()
        self.judge = RunJudge(self.run, control_branch, pace, began_s=self.began_s)
        self.fault: str | None = None
        self.unmatched: str | None = None  # why the newest frame has no robot state
        self._period = 0
        self._proposed = self._shown = 0  # serial numbers of the decision and the capture that were taken last

    # -- control, in the caller's thread --------------------------------------------------------------------------

    def control(self, now: float, watch: Watch | None, viewer: RunViewer | None = None) -> None:
        """Do one control period."""
        self._propose_newest(now)
        observation = self._newest_observation()
        broken = (self.tracking_branch.fault, self.policy_branch.fault, self.fault, self.unmatched)
        faults = (*filter(None, broken), *self.source.faults(now))
        verdict = self.control_branch.tick(now, observation, faults)
        if self.control_branch.robot_state is not None:
            self.source.heard(self.control_branch.robot_state)
        self.judge.judge(now, observation, verdict)
        capture = self._new_capture()
        said = None if watch is None else watch(now, capture, observation)
        self.run.ended = self.run.ended or said or ""
        show_moment(viewer, self.run, self.control_branch, now_s=now, capture=capture, observation=observation)

    def wait_for_next_period(self) -> None:
        """Sleep until the next period begins. One that is late by more than a period goes on with no burst."""
        period_s = self.pace.period_s
        self._period += 1
        self.clock.sleep_until(self.began_s + self._period * period_s)
        behind = self.clock.now_s() - (self.began_s + self._period * period_s)
        if behind > period_s:
            self._period += int(behind / period_s)

    def _propose_newest(self, now: float) -> None:
        fresh = self.decisions.newer(self._proposed)
        if fresh is not None:
            self._proposed = fresh[0]
            self.control_branch.propose(fresh[1].action, now)

    def _newest_observation(self) -> Observation | None:
        newest = self.observations.peek()
        return None if newest is None else newest[1]

    def _new_capture(self) -> Capture | None:
        fresh = self.captures.newer(self._shown)
        if fresh is None:
            return None
        self._shown = fresh[0]
        return fresh[1]

    # -- branches, each in a thread of its own -----------------------------------------------------------------------

    def branches(self) -> list[Callable[[], None]]:
        """Return what runs in threads."""
        return [self.camera, self.tracking, self.deciding] if self.pace.asynchronous else [self.camera, self.tracking]

    def guarded(self, branch: Callable[[], None]) -> None:
        """Run a branch. One that breaks is a fault that holds the needle."""
        try:
            branch()
        except Exception as e:  # noqa: BLE001  the needle is held, and the run says why
            self.fault = f"{branch.__name__} broke: {type(e).__name__}: {e}"

    def camera(self) -> None:
        """Hand over pictures as they come, each with the robot's state of its time."""
        while not self.over.is_set():
            frame = self.source.next_frame(WAIT_S)
            now = self.clock.now_s()
            account = self.source.account(now)
            if account is not None:
                self.control_branch.recorder.write("/source", now, account)
            if frame is None:
                continue
            self.run.ledger.captured(frame.index)
            self.run.ledger.timed("arrival", now - frame.time_s, frame.index)
            self.control_branch.frame_came(frame, now)
            found = self.source.state_of(frame)
            if isinstance(found, str):
                self.unmatched = found
                continue
            self.unmatched = None
            self.captures.put(Capture(frame, found, now))

    def tracking(self) -> None:
        """Track every frame that there is time for: the real-time branch."""
        serial = 0
        while not self.over.is_set():
            fresh = self.captures.newer(serial, WAIT_S)
            if fresh is None:
                continue
            serial, capture = fresh
            started = self.clock.now_s()
            record_used(self.run, self.control_branch, capture, started, self.tracking_branch.begin_anew())
            seen = self.tracking_branch.see(capture)
            done = self.clock.now_s()
            self.run.ledger.timed("estimate", done - capture.frame.time_s, capture.frame.index)
            record_estimate(self.control_branch, seen, now_s=done, started_s=started, done_s=done)
            self.observations.put(seen)
            if not self.pace.asynchronous:
                self._decide(seen)

    def deciding(self) -> None:
        """Decide on the newest observation whenever the policy is free: the deep branch."""
        serial = 0
        while not self.over.is_set():
            fresh = self.observations.newer(serial, WAIT_S)
            if fresh is None:
                continue
            serial = fresh[0]
            self._decide(fresh[1])

    def _decide(self, seen: Observation) -> None:
        started = self.clock.now_s()
        action = self.policy_branch.decide(seen)
        done = self.clock.now_s()
        if action is None:
            return
        self.run.decisions += 1
        self.run.ledger.timed("decision", done - seen.capture_time_s, seen.frame_index)
        decision = Decision(seen, action, started, done)
        record_decision(self.control_branch, decision, done)
        if action.found_px is not None:
            self.tracking_branch.begin_at(action.found_px)
        self.decisions.put(decision)
