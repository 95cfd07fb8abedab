"""Plays a plan: the real branches, gate and robot, over the simulated rig on the simulated clock.

No picture is drawn. What a picture shows stands in its first row, where the tracker's stand-in reads it. The run notes
what really happened, for the laws to judge.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Capture, Command, Frame, Hint, Lost, RobotState, Task, TipEstimate, Track
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.runtime.branches import ControlBranch, PolicyBranch, TrackingBranch
from sonosteer.runtime.button import Button, listen
from sonosteer.runtime.insertion import insert
from sonosteer.safety.gate import Cleared, Gate, GateInput, Refused
from sonosteer.safety.limits import Limits
from sonosteer.safety.regions import Circle
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.script import SCRIPT_STEP_S
from sonosteer.sim.world import World

from .plan import Plan, Trick

LIMITS = Limits()
PERIOD_S = 0.01
AFTERWARDS_S = 0.6  # how long the needle is watched after the run
FALSE_NAMES: tuple[Any, ...] = (
    "policy",
    "operator ",
    "Operator",
    "operators",
    "operator\n",
    "",
    None,
    0,
    ("operator",),
)


@dataclass
class Trace:
    """What really happened. Times are the world's, s."""

    moves: list[tuple[float, ...]] = field(default_factory=list)  # time, depth, angle, roll, probe x, y, z
    told: list[tuple[float, str, float]] = field(default_factory=list)  # time, "cleared" or "held", expiry there
    handed: list[tuple[float, float, str]] = field(default_factory=list)  # time, of when, what kind of estimate
    reads: list[tuple[float, float]] = field(default_factory=list)  # time, of when the reading is
    ticks: list[tuple[float, bool]] = field(default_factory=list)  # time, cleared to move
    must_stand: list[tuple[str, float, float]] = field(default_factory=list)  # why, since, until
    presses: list[float] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    rules: set[str] = field(default_factory=set)
    entry_mm: tuple[float, float] = (0.0, 0.0)
    towards: float = 1.0
    region: Circle | None = None
    periods: int = 0


class Deck:
    """The tricks of a plan, and which have been played."""

    def __init__(self, tricks: tuple[Trick, ...]) -> None:
        self.tricks = tricks
        self.played: set[int] = set()

    def on(self, kind: str, time_s: float) -> Trick | None:
        """The trick of this kind that is played now."""
        return next((t for t in self.tricks if t.kind == kind and t.on(time_s)), None)

    def once(self, kind: str, time_s: float, what: str | None = None) -> Trick | None:
        """A trick of this kind that is due and was not played."""
        for k, trick in enumerate(self.tricks):
            if trick.kind == kind and k not in self.played and trick.at_s <= time_s and what in (None, trick.what):
                self.played.add(k)
                return trick
        return None


@lru_cache
def _scene(enters: str) -> Scene:
    scene = make_scene("in-plane-linear/test", 0, enters=enters)
    still = {"tip_y_mm": 0.0, "yaw_deg": 0.0, "bend_per_mm": 0.0, "breathing_mm": 0.0}
    return dataclasses.replace(scene, start_mm=10.0, end_mm=12.0, angle_deg=45.0, speed_mm_s=20.0, **still)


class LyingWorld(World):
    """The simulated world, with encoders that lie and axes that stick."""

    def __init__(self, plan: Plan, deck: Deck, trace: Trace) -> None:
        self.deck, self.trace = deck, trace
        rig = RigLimits(
            depth_mm=(-300.0, 600.0),
            angle_rad=(0.0, 1.57),
            probe_mm=(500.0, 500.0, 500.0),
            angle_rad_s=plan.angle_rad_s,
            roll_rad_s=plan.roll_rad_s,
            latency_s=plan.latency_s,
            encoder_mm=0.01,
            encoder_rad=0.0002,
        )
        super().__init__(_scene("right" if plan.seed % 2 else "left"), rig)
        self.rig.depth_mm, self.rig.insertion_angle_rad = plan.depth_mm, plan.angle_rad
        self.rig.rng = np.random.default_rng([plan.seed, 5])
        self._stuck: dict[Trick, Any] = {}
        self._said: tuple[RobotState, float] | None = None

    def advance(self, dt_s: float) -> None:
        """Let time pass in steps, and note where the needle is after each."""
        left = dt_s
        while left > 1e-9:
            step = min(SCRIPT_STEP_S, left)
            left -= step
            super().advance(step)
            rig = self.rig
            for trick in self.deck.tricks:
                if trick.kind == "axis sticks":
                    self._stick(trick)
            self.trace.moves.append((self.time_s, rig.depth_mm, rig.insertion_angle_rad, rig.roll_rad, *rig.probe_mm))

    def _stick(self, trick: Trick) -> None:
        name = {"angle": "insertion_angle_rad", "roll": "roll_rad", "depth": "depth_mm"}[trick.what]
        if trick.on(self.time_s):
            setattr(self.rig, name, self._stuck.setdefault(trick, getattr(self.rig, name)))
            if trick.what == "depth":
                self.rig.insertion_speed_mm_s = 0.0

    def read(self) -> RobotState:
        """What the encoders say, true or not."""
        time_s = self.time_s
        old = self.deck.on("encoders age", time_s)
        if old is None or self._said is None:
            said = super().read()
            for trick in self.deck.tricks:
                if trick.kind.startswith("encoder ") and time_s >= trick.at_s:
                    said = self._lie(said, trick)
            self._said = said, time_s
        self.trace.reads.append((time_s, self._said[1]))
        return self._said[0]

    def _lie(self, true: RobotState, trick: Trick) -> RobotState:
        """One that sticks or scales goes on from where it is when the trick ends. A jump and a drift stay."""
        on = trick.on(self.time_s)
        since = min(self.time_s - trick.at_s, trick.lasts_s)
        at = _axis(true, trick.what)
        first, lag = self._stuck.get(trick, (at, 0.0))
        if trick.kind == "encoder jumps":
            said, rate = at + trick.size, 0.0
        elif trick.kind == "encoder drifts":
            said, rate = at + trick.size * since, trick.size * on
        else:
            share = 0.0 if trick.kind == "encoder sticks" else trick.size
            lag = (first - at) * (1.0 - share) if on else lag
            said, rate = at + lag, (share - 1.0) * true.insertion_speed_mm_s * on
        self._stuck[trick] = first, lag
        out = _with_axis(true, trick.what, said)
        if trick.what == "depth":
            out = replace(out, insertion_speed_mm_s=out.insertion_speed_mm_s + rate)
        return out


def _axis(state: RobotState, what: str) -> float:
    if what.startswith("probe"):
        return float(state.probe_mm["xyz".index(what[-1])])
    return float(getattr(state, _FIELDS[what]))


_FIELDS = {
    "depth": "depth_mm",
    "angle": "insertion_angle_rad",
    "roll": "roll_rad",
    "speed": "insertion_speed_mm_s",
}


def _with_axis(state: RobotState, what: str, value: float) -> RobotState:
    if what.startswith("probe"):
        probe = list(state.probe_mm)
        probe["xyz".index(what[-1])] = value
        return replace(state, probe_mm=tuple(probe))
    return replace(state, **{_FIELDS[what]: value})


class Time(SimulatedClock):
    """The run's clock. It can be set, too."""

    def step(self, by_s: float) -> None:
        """Set the clock on or back."""
        self._now_s += by_s


class Camera:
    """Pictures that say what they show, and all that can be wrong with them. Lets the world's time pass."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.rng = np.random.default_rng([stage.plan.seed, 6])
        self.count, self.due_s, self.zoom = 0, 0.0, 1.0
        self.underway: deque[tuple[float, Frame, RobotState, float, bool]] = deque()
        self.loop: list[tuple[Any, float]] = []
        self.recent: deque[tuple[Any, float]] = deque(maxlen=40)
        self.shown: dict[int, tuple[float, bool]] = {}

    def advance(self, dt_s: float) -> None:
        """Let a control period pass, and a pause if there is one."""
        self.stage.world.advance(dt_s)
        self.stage.pause("between")

    def capture(self, now_s: float) -> Capture | None:
        """The picture that has arrived, None if there is none."""
        stage, world = self.stage, self.stage.world
        stage.pause("camera")
        time_s = world.time_s
        if time_s >= self.due_s - 1e-9:
            self.due_s = max(self.due_s + 1.0 / stage.plan.rate_hz, time_s)
            if not stage.deck.on("camera is silent", time_s):
                self._take(time_s)
        if not self.underway or self.underway[0][0] > time_s + 1e-9:
            return None
        _, frame, robot_state, true_s, usable = self.underway.popleft()
        if stage.deck.on("picture is late and dated now", time_s):
            frame = replace(frame, time_s=time_s)
        shift, number = stage.deck.on("stamps shift", time_s), stage.deck.on("numbers shift", time_s)
        index = self.count + (round(number.size) if number else 0)
        self.count += 1
        frame = replace(frame, index=index, time_s=frame.time_s + (shift.size if shift else 0.0))
        self.shown[index] = true_s, usable
        return Capture(frame, robot_state, now_s)

    def _take(self, time_s: float) -> None:
        stage = self.stage
        zooms, deck = stage.deck.on("picture zooms", time_s), stage.deck
        if zooms:
            self.zoom *= 1.0 + zooms.size
        pixels, true_s = self._picture(time_s), time_s
        self.recent.append((pixels, time_s))
        again = deck.on("pictures repeat", time_s)
        if again:
            self.loop = self.loop or list(self.recent)[-max(round(again.size), 1) :]
            pixels, true_s = self.loop[self.count % len(self.loop)]
        spacing: Spacing | None = Spacing(stage.spacing.x_mm * self.zoom, stage.spacing.y_mm * self.zoom)
        if deck.on("picture has no scale", time_s):
            spacing = None
        usable = spacing is not None and self.zoom == 1.0
        frame = Frame(pixels, 0, time_s, stage.spacing if usable else spacing)
        lag, late = deck.on("picture lags", time_s), deck.on("picture is late and dated now", time_s)
        arrives_s = time_s + max(lag.size if lag else 0.0, late.size if late else 0.0)
        arrives_s = max(arrives_s, self.underway[-1][0] if self.underway else 0.0)
        self.underway.append((arrives_s, frame, stage.world.read(), true_s, usable))

    def _picture(self, time_s: float) -> Any:
        """Noise, and in its first row what it shows: tip in px, angle, time."""
        stage = self.stage
        rig = stage.world.rig
        (x, y), angle = stage.tip_mm(rig.depth_mm, rig.insertion_angle_rad), stage.seen_angle(rig.insertion_angle_rad)
        s = stage.spacing.x_mm * self.zoom
        shown = np.array([(x - rig.probe_mm[0]) / s, (y - rig.probe_mm[2]) / s, angle, time_s])
        pixels = self.rng.integers(0, 255, (16, 64), np.uint8)
        pixels[0, : shown.nbytes] = np.frombuffer(shown.tobytes(), np.uint8)
        return pixels


class StandIn:
    """A tracker that reads the truth, off by one error all along, and lies."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        rng = np.random.default_rng([stage.plan.seed, 7])
        self.error = (0.0, 0.0) if stage.plan.exact else tuple(rng.normal(0, stage.plan.sd_mm))
        self.said: dict[int, str] = {}

    def prepare(self) -> None:
        """Nothing to do."""

    def start(self, hint: Hint) -> int:
        """Count frames."""
        return 0

    def step(self, state: int, frame: Frame) -> tuple[int, Any]:
        """What it says of a frame, and note for the laws what kind of answer that is."""
        deck, time_s = self.stage.deck, self.stage.world.time_s
        self.said[frame.index] = "junk"
        if deck.on("tracker raises", time_s):
            self.stage.stand("the tracker broke")
            raise ValueError("a tracker's own mistake")
        if deck.on("tracker talks nonsense", time_s):
            self.stage.stand("the tracker broke")
            return state + 1, "over there"
        if deck.on("tip is lost", time_s):
            self.said[frame.index] = "lost"
            return state + 1, Lost(frame.index, frame.time_s, "nothing to be seen")
        estimate = self._estimate(frame)
        self.said[frame.index] = "coasting" if estimate.state is Track.COASTING else "tracking"
        junk = deck.on("covariance", time_s)
        if junk:
            self.said[frame.index] = "junk"
            estimate = replace(estimate, covariance_mm2=_covariance(junk.what, self.stage.plan.sd_mm))
        return state + 1, estimate

    def _estimate(self, frame: Frame) -> TipEstimate:
        stage, deck, time_s = self.stage, self.stage.deck, self.stage.world.time_s
        x, y, angle, _ = np.frombuffer(frame.pixels[0, :32].tobytes()).tolist()
        along, across = self.error
        jumps, slides = deck.on("tip jumps", time_s), deck.on("tip slides", time_s)
        across += jumps.size if jumps else 0.0
        across += slides.size * (time_s - slides.at_s) if slides else 0.0
        c, s, mm = math.cos(angle), math.sin(angle), stage.spacing.x_mm
        entry = stage.spacing.to_px(stage.trace.entry_mm)
        probe = stage.world.rig.probe_mm
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(x + (c * along - s * across) / mm, y + (s * along + c * across) / mm),
            angle_rad=angle,
            covariance_mm2=np.diag(np.square(stage.plan.sd_mm)),
            confidence=0.9,
            state=Track.COASTING if deck.on("tip is coasting", time_s) else Track.TRACKING,
            entry_px=(entry[0] - probe[0] / mm, entry[1] - probe[2] / mm),
            visibility=0.9,
        )


def _covariance(what: str, sd_mm: tuple[float, float]) -> Any:
    a, b = sd_mm[0] ** 2, sd_mm[1] ** 2
    if what == "none":
        return None
    if what == "shape":
        return np.diag([a, b, b])
    return np.array(
        {
            "antisymmetric": [[a, 5.0], [-5.0, b]],
            "negative": [[-a, 0.0], [0.0, b]],
            "nan": [[a, math.nan], [math.nan, b]],
            "infinite": [[math.inf, 0.0], [0.0, b]],
        }[what]
    )


class Policy:
    """Wants what the plan wishes, as much of it as the gate lets through."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.share = 1.0
        self.said: list[Action] = []

    def prepare(self) -> None:
        """Nothing to do."""

    def start(self, task: Task) -> int:
        """Count decisions."""
        return 0

    def step(self, state: int, seen: Any) -> tuple[int, Any]:
        """The next action, or junk."""
        stage = self.stage
        time_s = stage.world.time_s
        last = stage.control.last
        if isinstance(last, Refused) and last.bound is not None:
            self.share = 1.0 if stage.plan.wish.bold else max(0.7 * self.share, 0.01)
        else:
            self.share = min(1.25 * self.share, 1.0)
        action = Action(seen.frame_index, seen.capture_time_s, self._command(seen, time_s))
        junk = stage.deck.on("orders", time_s)
        if junk:
            return state + 1, self._junk(junk.what, action)
        self.said.append(action)
        return state + 1, action

    def _command(self, seen: Any, time_s: float) -> Command:
        stage = self.stage
        plan, wish = stage.plan, stage.plan.wish
        reading = stage.control.robot_state or seen.robot_state
        rests = wish.burst_s > 0 and time_s % (wish.burst_s + 0.15) < wish.burst_s
        share = 0.0 if rests else self.share
        ends = stage.deck.on("ends", time_s) is not None
        return Command(
            expires_at_s=seen.capture_time_s + LIMITS.action_life_s - 0.01,
            insertion_speed_mm_s=wish.speed_mm_s * share,
            insertion_angle_rad=self._angle(reading.insertion_angle_rad, time_s, share, plan),
            roll_rad=reading.roll_rad + 10.0 * wish.roll,
            probe_velocity_mm_s=tuple(v * share for v in wish.probe_mm_s),
            stop=ends,
        )

    def _angle(self, at: float, time_s: float, share: float, plan: Plan) -> float:
        wish = plan.wish
        low, high = LIMITS.angle_rad
        if wish.turn == "creep":
            goal = at + wish.side * 0.98 * LIMITS.still_rad
        elif wish.turn == "sweep":
            goal = at + wish.side * 0.98 * LIMITS.angle_step_rad * share
        elif wish.turn == "swing":
            goal = at + (1 if time_s % 0.6 < 0.3 else -1) * 0.98 * LIMITS.angle_step_rad * share
        elif wish.turn == "aim" and self.stage.trace.region is not None:
            x, y = (c - e for c, e in zip(self.stage.trace.region.center_mm, self.stage.trace.entry_mm, strict=True))
            step = 0.98 * LIMITS.angle_step_rad * share
            goal = at + min(max(math.atan2(y, abs(x)) - at, -step), step)
        else:
            goal = plan.angle_rad
        return min(max(goal, low), high)

    def _junk(self, what: str, action: Action) -> Any:
        command, number = action.command, {"nan": math.nan, "inf": math.inf, "huge": 1e30}.get(what)
        if number is not None:
            return replace(action, command=replace(command, insertion_speed_mm_s=number))
        if what == "old":
            return self.said[0] if self.said else action
        if what == "long lived":
            return replace(action, command=replace(command, expires_at_s=command.expires_at_s + 60.0))
        self.stage.stand("the policy broke")
        if what == "text":
            return replace(action, command=replace(command, insertion_speed_mm_s="fast"))
        if what == "ahead of time":
            return replace(action, capture_time_s=action.capture_time_s + 5.0)
        return None if what == "none" else SimpleNamespace(command=command, frame_index=0, capture_time_s=0.0)


class Driver(SimulatedRobot):
    """The simulated robot. It notes what it was told, and time may pass before it hears."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.world)
        self.stage = stage

    def read(self) -> RobotState:
        """Read, then perhaps wait."""
        said = super().read()
        self.stage.pause("read")
        return said

    def send(self, cleared: Cleared) -> None:
        """Perhaps wait, then carry out."""
        self.stage.pause("send")
        super().send(cleared)
        if not cleared.command.stop and self.fault != "deaf":
            until_s = cleared.command.expires_at_s
            rig_s = self.stage.world.rig.time_s
            left = min(until_s - rig_s, LIMITS.order_s + LIMITS.robot_state_age_s)
            self.stage.trace.told.append((self.stage.world.time_s, "cleared", self.stage.world.time_s + max(left, 0.0)))

    def hold(self, reason: str) -> None:
        """Stop."""
        super().hold(reason)
        if self.fault != "deaf":
            self.stage.trace.told.append((self.stage.world.time_s, "held", 0.0))


class Notes:
    """A recorder that keeps what the laws need, can fail, and can block."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @property
    def failed(self) -> str | None:
        """Why it cannot record any more."""
        return "the disk is full" if self.stage.deck.on("recorder fails", self.stage.world.time_s) else None

    def write(self, topic: str, time_s: float, what: Any) -> None:
        """Note an estimate as it is handed over."""
        stage = self.stage
        stage.pause("recorder")
        if topic == "/estimate":
            index = what["estimate"].frame_index
            true_s, usable = stage.rig.shown[index]
            kind = stage.tracker.said[index]
            stage.trace.handed.append((stage.world.time_s, true_s, kind if usable or kind == "lost" else "junk"))

    def frame(self, frame: Frame, now_s: float) -> None:
        """Perhaps block."""
        self.stage.pause("recorder")


class WatchedGate(Gate):
    """The gate, asked junk beside each question."""

    def clear(self, state: Any, action: Any, gate_input: GateInput) -> Any:
        """Answer, and note the answer."""
        stage = _STAGES[-1]
        if stage.deck.on("junk", stage.world.time_s):
            stage.ask_junk(super().clear, state, action, gate_input)
        out = super().clear(state, action, gate_input)
        said = out[1]
        moves = isinstance(said, Cleared) and not said.command.stop  # the order to stop is no motion
        stage.trace.ticks.append((stage.world.time_s, moves))
        if isinstance(out[1], Refused):
            stage.trace.rules.add(out[1].rule)
        return out


_STAGES: list[Any] = []


class Pace:
    """How long tracker and policy take. Longer while they are dead."""

    asynchronous = True
    period_s = PERIOD_S
    patience_s, settle_s = 1e6, 0.5
    together_s = 0.1

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.longest_s = stage.plan.longest_s

    @property
    def track_s(self) -> float:
        """How long the tracker takes, s."""
        return self._took("tracker is dead", self.stage.plan.track_s)

    def decide_s(self, k: int) -> float:
        """How long the k-th decision takes, s."""
        slow = self.stage.deck.on("policy is slow", self.stage.world.time_s)
        return self._took("policy is dead", slow.size if slow else self.stage.plan.decide_s)

    def _took(self, kind: str, usually_s: float) -> float:
        time_s = self.stage.world.time_s
        dead = self.stage.deck.on(kind, time_s)
        return dead.at_s + dead.lasts_s - time_s + usually_s if dead else usually_s


class _Died(BaseException):
    """The process is gone."""


class Stage:
    """All of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.deck, self.trace = plan, Deck(plan.tricks), Trace()
        self.world = LyingWorld(plan, self.deck, self.trace)
        world = self.world
        self.spacing, trace = world.spacing, self.trace
        entry = world.to_px(world.scene.entry_mm, (0.0, 0.0, 0.0))
        trace.entry_mm = float(entry[0] * self.spacing.x_mm), float(entry[1] * self.spacing.y_mm)
        trace.towards = 1.0 if world.scene.enters == "left" else -1.0
        trace.region = self._region()
        self.clock = Time()
        self.rng = np.random.default_rng([plan.seed, 8])
        self.robot, self.rig, self.tracker = Driver(self), Camera(self), StandIn(self)
        self.button = Button()
        task = Task((300.0, 300.0), "in-plane-static", plan.angle_rad, world.scene.enters, self.spacing)
        gate = WatchedGate(self.limits(), () if trace.region is None else (trace.region,), self.spacing)
        self.tracking = TrackingBranch.open(self.tracker, task, Hint(enters=world.scene.enters))
        self.policy = PolicyBranch.open(Policy(self), task)
        self.control = ControlBranch.open(gate, self.robot, task, 0.0, recorder=Notes(self))
        self._releases: deque[float] = deque()
        self._stood: set[str] = set()
        self._resumes_s = math.inf

    def limits(self) -> Limits:
        """The gate's limits. The laws hold those of LIMITS."""
        return replace(LIMITS, clearance=self.plan.clearance)

    def tip_mm(self, depth_mm: float, angle_rad: float) -> tuple[float, float]:
        """The true tip in the tissue, mm of the first frame."""
        x, y = self.trace.entry_mm
        return x + self.trace.towards * depth_mm * math.cos(angle_rad), y + depth_mm * math.sin(angle_rad)

    def seen_angle(self, angle_rad: float) -> float:
        """The direction of the needle in the image."""
        return angle_rad if self.trace.towards > 0 else math.pi - angle_rad

    def pause(self, where: str) -> None:
        """Let time pass, if a pause is due here."""
        trick = self.deck.once("loop pauses", self.world.time_s, where)
        if trick:
            self.world.advance(trick.size)
            self.clock.step(trick.size)

    def stand(self, why: str, until_s: float = math.inf) -> None:
        """From now on nothing may move, for the laws."""
        if why not in self._stood:
            self._stood.add(why)
            self.trace.must_stand.append((why, self.world.time_s, until_s))

    def run(self) -> Trace:
        """Play it, and watch the needle for a while after."""
        pace = Pace(self)
        _STAGES.append(self)
        try:
            branches = (self.rig, self.tracking, self.policy, self.control)
            insert(*branches, self.clock, pace, decide_s=pace.decide_s, watch=self.watch)
        except _Died:
            pass
        except Exception as e:  # noqa: BLE001  that is one of the laws
            self.trace.raised.append(f"the run: {type(e).__name__}: {e}")
        finally:
            _STAGES.pop()
        self.trace.periods = len(self.trace.ticks)
        self.world.advance(AFTERWARDS_S)
        return self.trace

    def watch(self, now_s: float, capture: Capture | None, seen: Any) -> str | None:
        """Once a period, after the gate was asked."""
        time_s, deck = self.world.time_s, self.deck
        if deck.once("loop dies", time_s):
            self.robot.break_("disconnects")
            raise _Died
        link = deck.on("link", time_s)
        self.robot.fault = link.what if link else None
        if deck.on("recorder fails", time_s):
            self.stand("the recorder fails", time_s + 1e-3)
            self._stood.discard("the recorder fails")
        self._clocks(time_s)
        self._operator(time_s)
        forged = deck.once("forged", time_s)
        if forged:
            self._forge(forged.what)
        if self.trace.ticks and self.control.state.stop is not None and self.control.state.stop.kind == "ended":
            self.stand("the procedure is over")
        return None

    def _clocks(self, time_s: float) -> None:
        steps = self.deck.once("clock steps", time_s)
        if steps:
            self.clock.step(steps.size)

    def _operator(self, time_s: float) -> None:
        deck, button = self.deck, self.button
        for kind in ("stop", "stop in a full queue", "stop and false release", "stop and release"):
            trick = deck.once(kind, time_s)
            if trick is None:
                continue
            self.trace.presses.append(time_s)
            button.press()
            if kind == "stop in a full queue":
                for _ in range(round(trick.size)):
                    button.release()
            elif kind == "stop and release":
                self._releases.append(time_s + trick.size)
                self.trace.must_stand.append((kind, time_s, time_s + trick.size))
            else:
                self.stand(kind)
        while self._releases and self._releases[0] <= time_s:
            self._releases.popleft()
            button.release()
        self._pause(time_s)
        channel = deck.once("stop channel", time_s)
        if channel:
            _listen_to(button, channel.what)
            self.stand("the stop channel is dead")
        self.control.obey(button, self.clock.now_s())
        if "stop and false release" in self._stood:
            self._release_falsely()

    def _pause(self, time_s: float) -> None:
        trick = self.deck.once("pause and resume", time_s)
        if trick and hasattr(self.button, "pause"):  # the gate of old had none
            self.button.pause()
            self._resumes_s = time_s + trick.size
            self.trace.must_stand.append((trick.kind, time_s, self._resumes_s))
        if time_s >= self._resumes_s:
            self.button.resume()
            self._resumes_s = math.inf

    def _release_falsely(self) -> None:
        for name in FALSE_NAMES:
            try:
                self.control.release(name, self.clock.now_s())
            except InputError:
                continue
            except Exception as e:  # noqa: BLE001  that is one of the laws
                self.trace.raised.append(f"release by {name!r}: {type(e).__name__}: {e}")

    def _forge(self, how: str) -> None:
        """Send what no gate has cleared."""
        wanted = Command(
            expires_at_s=self.world.rig.time_s + 0.1,
            insertion_speed_mm_s=40.0,
            insertion_angle_rad=self.world.rig.insertion_angle_rad,
            roll_rad=self.world.rig.roll_rad,
        )
        real = self.control.last
        try:
            made = _FORGERS[how](wanted, real if isinstance(real, Cleared) else None)
        except Exception:  # noqa: BLE001  it cannot be made: good
            return
        if made is None:
            return
        try:
            self.robot.send(made)
        except Exception:  # noqa: BLE001  the robot does not take it: good
            return
        self.trace.forged.append(how)

    def ask_junk(self, clear: Callable[..., Any], state: Any, action: Any, gate_input: GateInput) -> None:
        """Ask the gate something senseless, beside the run."""
        for _ in range(3):
            bad_action, bad_input = spoil(action, gate_input, self.rng)
            try:
                _, verdict = clear(state, bad_action, bad_input)
            except Exception as e:  # noqa: BLE001  that is one of the laws
                self.trace.raised.append(f"the gate: {type(e).__name__}: {e}")
                continue
            if isinstance(verdict, Cleared) and not _is_sane(verdict.command):
                self.trace.raised.append(f"the gate cleared {verdict}")

    def _region(self) -> Circle | None:
        plan = self.plan
        if plan.region is None:
            return None
        gap, share, side, radius = plan.region
        away = gap + radius
        c, s = math.cos(plan.angle_rad), math.sin(plan.angle_rad)
        along = plan.depth_mm * share + (0.0 if side else away)
        x, y = self.trace.entry_mm
        across = side * away
        return Circle("vessel", (x + self.trace.towards * (along * c - across * s), y + along * s + across * c), radius)


def _listen_to(button: Button, what: str) -> None:
    """Listen to a channel that ends at once, or breaks. Its thread is over when this returns."""

    def lines() -> Iterator[str]:
        if what == "breaks":
            b"\xff".decode("utf-8")
        yield from ()

    before, threading.excepthook = threading.excepthook, lambda _: None
    try:
        listen(button, lines()).join()
    finally:
        threading.excepthook = before


def _is_sane(command: Command) -> bool:
    numbers = (command.insertion_speed_mm_s, command.insertion_angle_rad, command.roll_rad)
    numbers = (*numbers, *command.probe_velocity_mm_s)
    return all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers) and (
        -LIMITS.backward_mm_s <= command.insertion_speed_mm_s <= LIMITS.forward_mm_s
    )


def _unmade(wanted: Command, real: Cleared | None) -> Any:
    made = object.__new__(Cleared)
    for name, value in (("frame_index", 0), ("cleared_at_s", 0.0), ("command", wanted), ("bounded", ())):
        object.__setattr__(made, name, value)
    return made


def _subclass(wanted: Command, real: Cleared | None) -> Any:
    @dataclass(frozen=True)
    class Forged(Cleared):
        def __post_init__(self, key: object) -> None:
            pass

    return Forged(0, 0.0, wanted)


def _copied(wanted: Command, real: Cleared | None) -> Any:
    if real is None:
        return None
    made = copy.copy(real)
    object.__setattr__(made, "command", wanted)
    return made


def _pickled(wanted: Command, real: Cleared | None) -> Any:
    if real is None:
        return None
    made = pickle.loads(pickle.dumps(real))
    object.__setattr__(made, "command", wanted)
    return made


_FORGERS: dict[str, Callable[[Command, Cleared | None], Any]] = {
    "look-alike": lambda wanted, real: SimpleNamespace(command=wanted, frame_index=0, cleared_at_s=0.0, bounded=()),
    "unmade": _unmade,
    "subclass": _subclass,
    "copied": _copied,
    "pickled": _pickled,
    "replaced": lambda wanted, real: None if real is None else replace(real, command=wanted),
}

JUNK_VALUES: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, 1e300, -1e13, 10**400, -(10**400), "fast", b"x", None, [], (), {}, object(),
    complex(1, 2), np.array([1.0, 2.0]), np.array(math.nan), np.float32(math.inf), np.zeros((2, 2)), (1.0, 2.0),
    (math.nan,) * 3, ("a", "b", "c"), [1.0, 2.0, 3.0], (10**400,) * 3, (10**400,) * 2, ((0.0, 1.0),), range(3), True,
    type, Track.LOST,
    np.array([[10**400, 0], [0, 1]], object), np.array([["a", "b"], ["c", "d"]]), [[1.0, 0.0], [0.0, 1.0]],
    np.full((2, 2), 1e200), np.full((2, 2), 1j), np.str_("x"), frozenset(), lambda: 0, Spacing(1e9, 1e-9),
)  # fmt: skip


def spoil(action: Any, gate_input: GateInput, rng: np.random.Generator) -> tuple[Any, Any]:
    """Put junk in one or two places of what the gate is asked."""
    for _ in range(1 + int(rng.random() < 0.3)):
        value = JUNK_VALUES[int(rng.integers(len(JUNK_VALUES)))]
        where = int(rng.integers(4))
        if where == 0 and isinstance(action, Action):
            action = _spoiled(action, ("command",), value, rng)
        elif where == 1 and isinstance(action, Action) and isinstance(action.command, Command):
            action = replace(action, command=_spoiled(action.command, ("stop",), value, rng))
        elif where == 2 and dataclasses.is_dataclass(gate_input.robot_state):
            gate_input = replace(gate_input, robot_state=_spoiled(gate_input.robot_state, (), value, rng))
        elif dataclasses.is_dataclass(gate_input.estimate):
            gate_input = replace(gate_input, estimate=_spoiled(gate_input.estimate, ("features", "reason"), value, rng))
        else:
            gate_input = _spoiled(gate_input, ("robot_state", "faults", "stop"), value, rng)
    return action, gate_input


def _spoiled(owner: Any, but: tuple[str, ...], value: Any, rng: np.random.Generator) -> Any:
    names = [f.name for f in dataclasses.fields(owner) if f.init and f.name not in but]
    return replace(owner, **{names[int(rng.integers(len(names)))]: value})


def play(plan: Plan) -> Trace:
    """Play a plan."""
    return Stage(plan).run()
