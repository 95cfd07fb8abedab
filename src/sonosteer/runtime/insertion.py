"""Runs a robotic insertion on a simulated clock: the branches and the gate of a live run, reproducible and faster.

Source: Zhang et al. 2026, Section III-E, and the ablation without the asynchronous pipeline.

A control period is a tick. Pictures arrive, branches that are due hand over, free branches take the newest, the gate is
asked, the world moves on. `Pace` gives how long tracker and policy take, so that a slow language model can be tried on
any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Capture, Lost, Observation, RobotState
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.runtime.branches import ROBOT, ControlBranch, Decision, PolicyBranch, TrackingBranch
from sonosteer.runtime.viewing import ControlMoment, RunViewer
from sonosteer.safety.gate import Cleared, Refused

#: rules of the gate that say that something failed, and not that the needle is better held
FAILURES = (ROBOT, "fault", "robot fault", "robot state age", "clock")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the branches take. The defaults are those of the machine of Zhang et al. 2026."""

    track_s: float = 1 / 25.1
    """How long the tracker takes for a frame, s."""
    decide_s: float = 1 / 10.4
    """How long the policy takes for a decision, s."""
    together_s: float = 1 / 13.1
    """How long tracker and policy take in turn, where they are synchronous, s."""
    asynchronous: bool = True
    """True where the tracker never waits for the policy."""
    period_s: float = 0.01
    """Period of control, s."""
    patience_s: float = 6.0
    """How long the needle is held before a run is given up, s."""
    settle_s: float = 0.3
    """How long the needle rests at the end, s."""
    longest_s: float = 90.0
    """Longest duration of a run, s."""

    def __post_init__(self) -> None:
        for name in ("track_s", "decide_s", "together_s", "period_s", "patience_s", "longest_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"pace: {name} is {getattr(self, name)}, but must be more than 0")


#: (time, the newest capture if there is a new one, the newest observation) -> why the run is over, or None
Watch: TypeAlias = Callable[[float, Capture | None, Observation | None], str | None]


class Rig(Protocol):
    """A world that moves on a clock of its own: camera, encoders, time."""

    def capture(self, now_s: float) -> Capture | None:
        """Return the picture that has arrived since the last call, None if there is none yet."""
        ...

    def advance(self, dt_s: float) -> None:
        """Let time pass."""
        ...


class ControlRow(NamedTuple):
    """One control period of a run."""

    time_s: float
    """Time of the tick, s."""
    depth_mm: float
    """Inserted length of the needle, mm."""
    insertion_speed_mm_s: float
    """Measured speed of the needle along itself, mm/s."""
    ordered_mm_s: float
    """Cleared speed of the needle along itself, mm/s. 0 while it is held."""
    visibility: float | None
    """How well the tip is seen, 0 to 1. None where the tracker does not say."""
    probe_x_mm: float
    """Place of the probe along the image, mm."""
    held: bool
    """True where the gate or the robot refused."""


@dataclass
class Run:
    """What a run did."""

    ended: str = ""
    """Why it ended, empty while it has not."""
    stopped: bool = False
    """True once the policy said that the procedure is over."""
    broke: str | None = None
    """What failed so that it had to be given up: robot, camera, disk or a branch. None if nothing did."""
    interrupted: bool = False
    """True if a person ended it: by Ctrl-C, a signal or the stop button."""
    ledger: FrameLedger = field(default_factory=FrameLedger)
    """What became of every frame."""
    decisions: int = 0
    """Number of decisions of the policy."""
    time_s: float = 0.0
    """How long it took, s."""
    rows: list[ControlRow] = field(default_factory=list)
    """One row for each control period in which the robot answered."""

    def interrupt(self) -> None:
        """Note that a signal ended it."""
        self.ended, self.interrupted = "interrupted", True

    def close(self, control_branch: ControlBranch, time_s: float) -> None:
        """Close the books. time_s: how long the run took."""
        self.time_s = time_s
        self.ledger.close()
        for frame_index, after_s in control_branch.commanded.items():
            self.ledger.timed("command", after_s, frame_index)


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
    viewer: RunViewer | None = None,
) -> Run:
    """Insert until the policy stops, nothing moves for too long, or time is up.

    decide_s: how long the k-th decision takes, instead of the pace's. watch: called every control period, may say why
    the run is over. viewer: is shown every control period. Ctrl-C ends it, too, and the result has what was done. The
    robot is told to hold whatever ends it.
    """
    loop = _Loop(
        rig=rig,
        tracking_branch=tracking_branch,
        policy_branch=policy_branch,
        control_branch=control_branch,
        pace=pace,
        decide_s=decide_s or (lambda k: pace.decide_s),
    )
    try:
        while not loop.run.ended:
            now = clock.now_s()
            capture, observation = loop.tick(now)
            said = None if watch is None else watch(now, capture, observation)
            loop.run.ended = loop.run.ended or said or ""
            show_moment(viewer, loop.run, control_branch, now_s=now, capture=capture, observation=observation)
            rig.advance(pace.period_s)
            clock.advance(pace.period_s)
    except KeyboardInterrupt:
        loop.run.interrupt()
    finally:
        loop.run.close(control_branch, clock.now_s())
        control_branch.let_go()
    return loop.run


class RunJudge:
    """Notes every control period of a run, and says when the run is over."""

    def __init__(self, run: Run, control_branch: ControlBranch, pace: Pace, began_s: float) -> None:
        self.run, self.control_branch, self.pace, self.began_s = run, control_branch, pace, began_s
        self._moved_s = self._rested_s = began_s

    def judge(self, now_s: float, seen: Observation | None, verdict: Cleared | Refused) -> None:
        """Note one control period."""
        run = self.run
        if self.control_branch.robot_state is not None:
            row = control_row(now_s, self.control_branch.robot_state, seen, verdict)
            run.rows.append(row)
            if row.ordered_mm_s:
                self._moved_s = now_s
        if self.control_branch.held is not None or self.control_branch.dry_run:  # who pauses has the time he wants
            self._moved_s = now_s
        if isinstance(verdict, Cleared) and verdict.command.stop and not run.stopped:
            run.stopped, self._rested_s = True, now_s
        run.ended = self._ended(now_s)

    def _ended(self, now_s: float) -> str:
        """Return why the run is over, "" while it is not."""
        pace, last = self.pace, self.control_branch.last
        if self.run.stopped:
            return "stopped by the policy" if now_s - self._rested_s >= pace.settle_s else ""
        if now_s - self._moved_s > pace.patience_s:
            if isinstance(last, Refused):
                self._note_why_held(last)
            return "held: " + (last.reason if isinstance(last, Refused) else "the policy does not push")
        return f"not there after {pace.longest_s:g} s" if now_s - self.began_s >= pace.longest_s else ""

    def _note_why_held(self, last: Refused) -> None:
        """Tell a run that broke off, or that a person stopped, from one that the gate held."""
        stop = self.control_branch.state.stop
        if stop is not None and stop.kind == "operator":
            self.run.interrupted = True
        elif last.rule in FAILURES or (stop is not None and stop.kind == "heartbeat"):
            self.run.broke = last.reason


def control_row(
    now_s: float, robot_state: RobotState, seen: Observation | None, verdict: Cleared | Refused
) -> ControlRow:
    """Make the row of one control period."""
    return ControlRow(
        time_s=now_s,
        depth_mm=robot_state.depth_mm,
        insertion_speed_mm_s=robot_state.insertion_speed_mm_s,
        ordered_mm_s=verdict.command.insertion_speed_mm_s if isinstance(verdict, Cleared) else 0.0,
        visibility=None if seen is None or isinstance(seen.estimate, Lost) else seen.estimate.visibility,
        probe_x_mm=robot_state.probe_mm[0],
        held=not isinstance(verdict, Cleared),
    )


def show_moment(
    viewer: RunViewer | None,
    run: Run,
    control_branch: ControlBranch,
    *,
    now_s: float,
    capture: Capture | None,
    observation: Observation | None,
) -> None:
    """Show a viewer the control period that is just over. Nothing if there is no viewer."""
    if viewer is None or control_branch.last is None:
        return
    viewer.look(
        ControlMoment(
            now_s=now_s,
            tick=control_branch.ticks,
            capture=capture,
            observation=observation,
            verdict=control_branch.last,
            stop=control_branch.state.stop,
            held=control_branch.held,
            robot_state=control_branch.robot_state,
            action=control_branch.newest,
            ledger=run.ledger,
            decisions=run.decisions,
        )
    )


def record_used(
    run: Run, control_branch: ControlBranch, capture: Capture, now_s: float, start_px: Point | None = None
) -> None:
    """Book and record that the tracker takes a frame, with its robot state. Those that waited longer are late.

    start_px: where the tracker began anew with it, None where it went on.
    """
    index = capture.frame.index
    for late in run.ledger.used(index):
        control_branch.recorder.write("/frame", now_s, {"index": late, "outcome": "late"})
    used = {"index": index, "outcome": "used", "robot_state": capture.robot_state}
    if start_px is not None:
        used["start_px"] = start_px
    control_branch.recorder.write("/frame", now_s, used)


def record_estimate(
    control_branch: ControlBranch, seen: Observation, *, now_s: float, started_s: float, done_s: float
) -> None:
    """Record an estimate before it is handed over: a replay needs it before the gate is asked about it."""
    control_branch.recorder.write(
        "/estimate", now_s, {"estimate": seen.estimate, "started_s": started_s, "done_s": done_s}
    )


def record_decision(control_branch: ControlBranch, decision: Decision, now_s: float) -> None:
    """Record a decision before it is handed over, as `record_estimate` does."""
    what = {"observation": decision.observation, "action": decision.action}
    control_branch.recorder.write(
        "/decision", now_s, {**what, "started_s": decision.started_s, "done_s": decision.done_s}
    )


class _Loop:
    """Who is busy until when, and with what."""

    def __init__(
        self,
        *,
        rig: Rig,
        tracking_branch: TrackingBranch,
        policy_branch: PolicyBranch,
        control_branch: ControlBranch,
        pace: Pace,
        decide_s: Callable[[int], float],
    ) -> None:
        self.rig, self.pace, self.decide_s = rig, pace, decide_s
        self.tracking_branch, self.policy_branch = tracking_branch, policy_branch
        self.control_branch = control_branch
        self.run = Run()
        self.judge = RunJudge(self.run, control_branch, pace, began_s=0.0)
        self.waiting: Capture | None = None
        self.seen: Observation | None = None
        self.tracking: tuple[float, float, Observation] | None = None  # started, due, with what
        self.deciding: tuple[float, Decision | None] | None = None  # due, with what
        self.considered: int | None = None  # frame that was last decided on

    def tick(self, now: float) -> tuple[Capture | None, Observation | None]:
        capture = self._take_picture(now)
        self._hand_over_estimate(now)
        self._hand_over_decision(now)
        self._begin_tracking(now)
        self._begin_deciding(now)
        faults = tuple(filter(None, (self.tracking_branch.fault, self.policy_branch.fault)))
        verdict = self.control_branch.tick(now, self.seen, faults)
        self.judge.judge(now, self.seen, verdict)
        return capture, self.seen

    def _take_picture(self, now: float) -> Capture | None:
        capture = self.rig.capture(now)
        if capture is None:
            return None
        self.control_branch.frame_came(capture.frame, now)
        self.run.ledger.captured(capture.frame.index)
        self.waiting = capture
        return capture

    def _hand_over_estimate(self, now: float) -> None:
        if self.tracking is None or not self.tracking[1] <= now + 1e-9:
            return
        started, due, seen = self.tracking
        self.seen, self.tracking = seen, None
        record_estimate(self.control_branch, seen, now_s=now, started_s=started, done_s=due)
        self.run.ledger.timed("estimate", due - seen.capture_time_s, seen.frame_index)

    def _hand_over_decision(self, now: float) -> None:
        if self.deciding is None or not self.deciding[0] <= now + 1e-9:
            return
        decision, self.deciding = self.deciding[1], None
        if decision is None:
            return
        self.run.decisions += 1
        record_decision(self.control_branch, decision, now)
        seen = decision.observation
        self.run.ledger.timed("decision", now - seen.capture_time_s, seen.frame_index)
        self.control_branch.propose(decision.action, now)
        if decision.action.found_px is not None:
            self.tracking_branch.begin_at(decision.action.found_px)

    def _begin_tracking(self, now: float) -> None:
        free = self.tracking is None and (self.pace.asynchronous or self.deciding is None)
        if not free or self.waiting is None:
            return
        capture, self.waiting = self.waiting, None
        took = self.pace.track_s if self.pace.asynchronous else self.pace.together_s
        start_px = self.tracking_branch.begin_anew()
        seen = self.tracking_branch.see(capture)
        record_used(self.run, self.control_branch, capture, now, start_px)
        self.tracking = (now, now + took, seen)
        if not self.pace.asynchronous:
            self._decide(seen, now, now + took)

    def _begin_deciding(self, now: float) -> None:
        if not self.pace.asynchronous or self.deciding is not None or self.seen is None:
            return
        if self.considered is None or self.seen.frame_index > self.considered:
            self._decide(self.seen, now, now + self.decide_s(self.run.decisions))

    def _decide(self, seen: Observation, now: float, due: float) -> None:
        self.considered = seen.frame_index
        action = self.policy_branch.decide(seen)
        self.deciding = (due, None if action is None else Decision(seen, action, now, due))
