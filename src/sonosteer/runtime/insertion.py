"""A robotic insertion on a simulated clock: same branches, same gate as live, but the same every time, and faster.

Source: Paper V, III-E and its ablation without the asynchronous pipeline. A control period is a tick: pictures arrive,
branches that are due hand over, free branches take the newest, the gate is asked, the world moves on. How long tracker
and policy take is given (`Pace`), so that a slow language model can be tried on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.types import Capture, Lost, Observation, RobotState
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.runtime.branches import ControlBranch, Decision, PolicyBranch, TrackingBranch
from sonosteer.safety.gate import Cleared, Refused


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the branches take. Defaults: Paper V's machine, 25.1 and 10.4 a second apart, 13.1 in one another's way.

    together_s: of tracker and policy in turn, when synchronous. period_s: of control. patience_s: how long the needle
    is held before a run is given up; settle_s: that it rests at the end. longest_s: of a run.
    """

    track_s: float = 1 / 25.1
    decide_s: float = 1 / 10.4
    together_s: float = 1 / 13.1
    asynchronous: bool = True
    period_s: float = 0.01
    patience_s: float = 6.0
    settle_s: float = 0.3
    longest_s: float = 90.0

    def __post_init__(self) -> None:
        for name in ("track_s", "decide_s", "together_s", "period_s", "patience_s", "longest_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"pace: {name} is {getattr(self, name)}, but must be more than 0")


#: (time, the newest shot if there is a new one, the newest observation) -> why the run is over, or None
Watch: TypeAlias = Callable[[float, Capture | None, Observation | None], str | None]


class Rig(Protocol):
    """A world that moves on a clock of its own: camera, encoders, time."""

    def capture(self, now_s: float) -> Capture | None:
        """The picture that is there since the last call, None if there is none yet."""
        ...

    def advance(self, dt_s: float) -> None:
        """Let time pass."""
        ...


@dataclass
class Run:
    """What a run did; rows: per control period (see ROWS)."""

    ended: str = ""
    stopped: bool = False
    ledger: FrameLedger = field(default_factory=FrameLedger)
    decisions: int = 0
    time_s: float = 0.0
    rows: list[tuple[float, ...]] = field(default_factory=list)


ROWS = ("time_s", "depth_mm", "speed_mm_s", "ordered_mm_s", "visibility", "probe_x_mm", "held")


def insert(
    rig: Rig,
    tracking_branch: TrackingBranch,
    policy_branch: PolicyBranch,
    control_branch: ControlBranch,
    clock: SimulatedClock,
    pace: Pace = Pace(),
    *,
    decide_s: Callable[[int], float] | None = None,
    watch: Watch | None = None,
) -> Run:
    """Insert until the policy stops, nothing moves for too long, or time is up. decide_s: of the k-th decision.

    watch: called every control period, may say why the run is over. Ctrl-C ends it, too; what
    was done is in the result. The robot is told to hold whatever ends it.
    """
    loop = _Loop(rig, tracking_branch, policy_branch, control_branch, pace, decide_s or (lambda k: pace.decide_s))
    try:
        while not loop.run.ended:
            now = clock.now_s()
            capture, observation = loop.tick(now)
            said = None if watch is None else watch(now, capture, observation)
            loop.run.ended = loop.run.ended or said or ""
            rig.advance(pace.period_s)
            clock.advance(pace.period_s)
    except KeyboardInterrupt:
        loop.run.ended = "interrupted"
    finally:
        loop.close(clock.now_s())
    return loop.run


def row_of(
    now_s: float, robot_state: RobotState | None, seen: Observation | None, verdict: Cleared | Refused
) -> tuple[float, ...] | None:
    """A row of ROWS; None while the robot says nothing."""
    if robot_state is None:
        return None
    visible = None if seen is None or isinstance(seen.estimate, Lost) else seen.estimate.visibility
    ordered = verdict.command.insertion_speed_mm_s if isinstance(verdict, Cleared) else 0.0
    return (
        *(
            now_s,
            robot_state.depth_mm,
            robot_state.insertion_speed_mm_s,
            ordered,
            math.nan if visible is None else visible,
        ),
        *(robot_state.probe_mm[0], float(not isinstance(verdict, Cleared))),
    )


def note_used(run: Run, control_branch: ControlBranch, index: int, now_s: float) -> None:
    """The tracker takes a frame; those that waited longer are late."""
    for late in run.ledger.used(index):
        control_branch.recorder.write("/frame", now_s, {"index": late, "outcome": "late"})
    control_branch.recorder.write("/frame", now_s, {"index": index, "outcome": "used"})


def note_seen(control_branch: ControlBranch, seen: Observation, now_s: float, started_s: float, done_s: float) -> None:
    """An estimate is about to be handed over: a replay wants it recorded before the hand is asked about it."""
    control_branch.recorder.write(
        "/estimate", now_s, {"estimate": seen.estimate, "started_s": started_s, "done_s": done_s}
    )


def note_thought(control_branch: ControlBranch, decision: Decision, now_s: float) -> None:
    """An action is about to be handed over, as `note_seen` has it."""
    what = {"observation": decision.observation, "action": decision.action}
    control_branch.recorder.write(
        "/decision", now_s, {**what, "started_s": decision.started_s, "done_s": decision.done_s}
    )


def ended_by(
    run: Run, control_branch: ControlBranch, pace: Pace, running_s: float, still_s: float, rested_s: float
) -> str:
    """Why a run is over, "" while it is not."""
    if run.stopped:
        return "stopped by the policy" if rested_s >= pace.settle_s else ""
    if still_s > pace.patience_s:
        return "held: " + (
            control_branch.last.reason if isinstance(control_branch.last, Refused) else "the policy does not push"
        )
    return f"not there after {pace.longest_s:g} s" if running_s >= pace.longest_s else ""


class _Loop:
    """Who is busy until when, and with what."""

    def __init__(
        self,
        rig: Rig,
        tracking_branch: TrackingBranch,
        policy_branch: PolicyBranch,
        control_branch: ControlBranch,
        pace: Pace,
        decide_s: Callable[[int], float],
    ) -> None:
        self.rig, self.tracking_branch, self.policy_branch, self.control_branch = (
            rig,
            tracking_branch,
            policy_branch,
            control_branch,
        )
        self.pace, self.decide_s = pace, decide_s
        self.run = Run()
        self.waiting: Capture | None = None
        self.seen: Observation | None = None
        self.looking: tuple[float, float, Observation] | None = None  # started, due, with what
        self.thinking: tuple[float, float, Decision | None] | None = None
        self.considered = -1
        self.moved_s = 0.0
        self.rested_s = 0.0

    def tick(self, now: float) -> tuple[Capture | None, Observation | None]:
        capture = self._camera(now)
        self._hand_over(now)
        self._begin(now)
        faults = tuple(filter(None, (self.tracking_branch.fault, self.policy_branch.fault)))
        verdict = self.control_branch.tick(now, self.seen, faults)
        self._judge(now, verdict)
        return capture, self.seen

    def _camera(self, now: float) -> Capture | None:
        capture = self.rig.capture(now)
        if capture is None:
            return None
        frame = capture.frame
        self.control_branch.frame_came(frame, now)
        self.run.ledger.captured(frame.index)
        self.waiting = capture
        return capture

    def _hand_over(self, now: float) -> None:
        if self.looking is not None and self.looking[1] <= now + 1e-9:
            started, due, seen = self.looking
            self.seen, self.looking = seen, None
            note_seen(self.control_branch, seen, now, started, due)
            self.run.ledger.timed("estimate", due - seen.capture_time_s, seen.frame_index)
        if self.thinking is not None and self.thinking[1] <= now + 1e-9:
            decision, self.thinking = self.thinking[2], None
            if decision is not None:
                self.run.decisions += 1
                note_thought(self.control_branch, decision, now)
                seen = decision.observation
                self.run.ledger.timed("decision", now - seen.capture_time_s, seen.frame_index)
                self.control_branch.propose(decision.action, now)

    def _begin(self, now: float) -> None:
        free = self.looking is None and (self.pace.asynchronous or self.thinking is None)
        if free and self.waiting is not None:
            capture, self.waiting = self.waiting, None
            took = self.pace.track_s if self.pace.asynchronous else self.pace.together_s
            seen = self.tracking_branch.see(capture)
            note_used(self.run, self.control_branch, capture.frame.index, now)
            self.looking = (now, now + took, seen)
            if not self.pace.asynchronous:
                self._think(seen, now, now + took)
        newer = self.seen is not None and self.seen.frame_index > self.considered
        if self.pace.asynchronous and self.thinking is None and newer and self.seen is not None:
            self._think(self.seen, now, now + self.decide_s(self.run.decisions))

    def _think(self, seen: Observation, now: float, due: float) -> None:
        self.considered = seen.frame_index
        action = self.policy_branch.decide(seen)
        decision = None if action is None else Decision(seen, action, now, due)
        self.thinking = (now, due, decision)

    def _judge(self, now: float, verdict: Cleared | Refused) -> None:
        run = self.run
        row = row_of(now, self.control_branch.robot_state, self.seen, verdict)
        if row is not None:
            run.rows.append(row)
            if row[3]:
                self.moved_s = now
        if isinstance(verdict, Cleared) and verdict.command.stop and not run.stopped:
            run.stopped, self.rested_s = True, now
        run.ended = ended_by(run, self.control_branch, self.pace, now, now - self.moved_s, now - self.rested_s)

    def close(self, now: float) -> None:
        self.run.time_s = now
        self.run.ledger.close()
        for frame_index, after_s in self.control_branch.commanded.items():
            self.run.ledger.timed("command", after_s, frame_index)
        self.control_branch.let_go()
