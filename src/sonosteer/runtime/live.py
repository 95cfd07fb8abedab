"""A robotic insertion on a real clock: a thread for the camera, one for the tracker, one for the policy, and the hand.

Source: Paper V, III-E. Every branch takes the newest value of a mailbox and puts its own into the next; none waits for
the one behind it. The hand runs in the caller's thread at its own rate; recorder and viewers have threads of their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sonosteer.core.clock import Clock
from sonosteer.core.types import Capture, Observation
from sonosteer.runtime.branches import ControlBranch, Decision, PolicyBranch, TrackingBranch
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace, Rig, Run, Watch, ended_by, note_seen, note_thought, note_used, row_of
from sonosteer.runtime.mailbox import Latest
from sonosteer.safety.gate import Cleared

LIVE = Pace()
WAIT_S = 0.05  # ours: how often a branch with nothing to do looks whether the run is over


def insert_live(
    rig: Rig,
    tracking_branch: TrackingBranch,
    policy_branch: PolicyBranch,
    control_branch: ControlBranch,
    clock: Clock,
    pace: Pace = LIVE,
    *,
    watch: Watch | None = None,
    button: Button | None = None,
) -> Run:
    """Insert in real time until the policy stops, nothing moves for too long, or time is up. Of `pace`, how long the
    branches take does not count: they take as long as they take.

    rig.shot and rig.advance are called by the camera's thread only. button: the operator's. Ctrl-C ends the run. The
    robot holds at the end.
    """
    live = _Live(rig, tracking_branch, policy_branch, control_branch, clock, pace)
    threads = [threading.Thread(target=live.guarded, args=(f,), name=f.__name__, daemon=True) for f in live.branches()]
    run = live.run
    for thread in threads:
        thread.start()
    began_s = live.began_s
    moved_s = rested_s = began_s
    k, serial, shown = 0, 0, 0
    try:
        while not run.ended:
            now = clock.now_s()
            if button is not None:
                control_branch.obey(button, now)
            fresh = live.decisions.newer(serial)
            if fresh is not None:
                serial = fresh[0]
                control_branch.propose(fresh[1].action, now)
            newest = live.sights.peek()
            observation = None if newest is None else newest[1]
            faults = tuple(f for f in (tracking_branch.fault, policy_branch.fault, live.fault) if f)
            verdict = control_branch.tick(now, observation, faults)
            row = row_of(now, control_branch.robot_state, observation, verdict)
            if row is not None:
                run.rows.append(row)
                if row[3]:
                    moved_s = now
            if isinstance(verdict, Cleared) and verdict.command.stop and not run.stopped:
                run.stopped, rested_s = True, now
            run.ended = ended_by(run, control_branch, pace, now - began_s, now - moved_s, now - rested_s)
            capture = live.shots.newer(shown)
            if capture is not None:
                shown = capture[0]
            said = None if watch is None else watch(now, None if capture is None else capture[1], observation)
            run.ended = run.ended or said or ""
            k += 1
            clock.sleep_until(began_s + k * pace.period_s)
            behind = clock.now_s() - (began_s + k * pace.period_s)
            if behind > pace.period_s:  # late by more than a period: go on from here, with no burst
                k += int(behind / pace.period_s)
    except KeyboardInterrupt:
        run.ended = "interrupted"
    finally:
        control_branch.let_go()
        live.over.set()
        for thread in threads:
            thread.join(2.0)
        run.time_s = clock.now_s() - began_s
        run.ledger.close()
        for frame_index, after_s in control_branch.commanded.items():
            run.ledger.timed("command", after_s, frame_index)
    return run


class _Live:
    """The branches' threads and the mailboxes between them."""

    def __init__(
        self,
        rig: Rig,
        tracking_branch: TrackingBranch,
        policy_branch: PolicyBranch,
        control_branch: ControlBranch,
        clock: Clock,
        pace: Pace,
    ) -> None:
        self.rig, self.tracking_branch, self.policy_branch, self.control_branch = (
            rig,
            tracking_branch,
            policy_branch,
            control_branch,
        )
        self.clock, self.pace, self.began_s = clock, pace, clock.now_s()
        self.shots: Latest[Capture] = Latest()
        self.sights: Latest[Observation] = Latest()
        self.decisions: Latest[Decision] = Latest()
        self.over = threading.Event()
        self.run = Run()
        self.fault: str | None = None

    def branches(self) -> list[Callable[[], None]]:
        """What runs in threads."""
        return [self.camera, self.tracking, self.deciding] if self.pace.asynchronous else [self.camera, self.tracking]

    def guarded(self, branch: Callable[[], None]) -> None:
        """A branch that breaks is a fault that holds the needle."""
        try:
            branch()
        except Exception as e:  # noqa: BLE001  the needle is held, and the run says why
            self.fault = f"{branch.__name__} broke: {type(e).__name__}: {e}"

    def camera(self) -> None:
        """Lets the rig live, and hands over its pictures."""
        last = self.began_s
        while not self.over.is_set():
            now = self.clock.now_s()
            self.rig.advance(now - last)
            last = now
            capture = self.rig.capture(now)
            if capture is None:
                time.sleep(0.001)
                continue
            self.run.ledger.captured(capture.frame.index)
            self.control_branch.frame_came(capture.frame, self.clock.now_s())
            self.shots.put(capture)

    def tracking(self) -> None:
        """The real-time branch."""
        serial = 0
        while not self.over.is_set():
            fresh = self.shots.newer(serial, WAIT_S)
            if fresh is None:
                continue
            serial, capture = fresh
            started = self.clock.now_s()
            note_used(self.run, self.control_branch, capture.frame.index, started)
            seen = self.tracking_branch.see(capture)
            done = self.clock.now_s()
            self.run.ledger.timed("estimate", done - capture.frame.time_s, capture.frame.index)
            note_seen(self.control_branch, seen, done, started, done)
            self.sights.put(seen)
            if not self.pace.asynchronous:
                self._decide(seen)

    def deciding(self) -> None:
        """The deep branch."""
        serial = 0
        while not self.over.is_set():
            fresh = self.sights.newer(serial, WAIT_S)
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
        note_thought(self.control_branch, decision, done)
        self.decisions.put(decision)
