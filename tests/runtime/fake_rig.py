"""An insertion without tissue: a needle that pivots about its entry, a probe, tiny pictures, and ways to break it all.

The truth is written into the first row of every picture, where the fake tracker reads it (so that a recording is enough
to track it again); the rest of the picture is noise of its own. A second of it takes some milliseconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import RobotError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Capture, Command, Frame, Hint, Lost, RobotState, Task, TipEstimate, Track
from sonosteer.runtime.branches import ControlBranch, PolicyBranch, TrackingBranch
from sonosteer.runtime.insertion import Pace, insert
from sonosteer.runtime.live import insert_live
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits

SPACING = Spacing(0.2, 0.2)
ENTRY_MM = (5.0, 8.0)
ANGLE_RAD = 0.6
TASK = Task((300.0, 300.0), "in-plane-static", ANGLE_RAD, "left", SPACING)
HINT = Hint(enters="left")
BRAKE_MM_S2 = 600.0  # stands 25 mm/s within 42 ms, of the 50 that the gate allows for
TURN_RAD_S = 0.5
NEVER = math.inf


def follow(at, wanted, most):
    return at + min(max(wanted - at, -most), most)


@dataclass
class Needle:
    """Where needle and probe are, and what they were last told. They stand once that has expired."""

    depth_mm: float = 20.0
    angle_rad: float = ANGLE_RAD
    time_s: float = 0.0
    speed_mm_s: float = 0.0
    roll_rad: float = 0.0
    probe_mm: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    probe_mm_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    order: Any = None
    stuck: bool = False
    turn_rad_s: float = TURN_RAD_S
    rolls: bool = True

    def advance(self, dt_s):
        order = self.order if self.order is not None and self.time_s < self.order.command.expires_at_s else None
        wanted = 0.0 if order is None else order.command.insertion_speed_mm_s
        probe = (0.0, 0.0, 0.0) if order is None else order.command.probe_velocity_mm_s
        self.time_s += dt_s
        if self.stuck:
            return
        self.speed_mm_s = follow(self.speed_mm_s, wanted, BRAKE_MM_S2 * dt_s)
        self.depth_mm += self.speed_mm_s * dt_s
        for k in range(3):
            self.probe_mm_s[k] = follow(self.probe_mm_s[k], probe[k], BRAKE_MM_S2 * dt_s)
            self.probe_mm[k] += self.probe_mm_s[k] * dt_s
        if order is not None:
            self.angle_rad = follow(self.angle_rad, order.command.insertion_angle_rad, self.turn_rad_s * dt_s)
            self.roll_rad = order.command.roll_rad if self.rolls else self.roll_rad

    @property
    def tip_mm(self):
        """In the tissue, which is the first frame's."""
        x, y = ENTRY_MM
        return x + self.depth_mm * math.cos(self.angle_rad), y + self.depth_mm * math.sin(self.angle_rad)

    def robot_state(self):
        return RobotState(
            self.time_s, self.depth_mm, self.speed_mm_s, self.angle_rad, self.roll_rad, tuple(self.probe_mm)
        )


@dataclass
class Told:
    """One thing that the robot was told: order None means hold. at: the needle's reading just then."""

    time_s: float
    order: Any
    reason: str | None
    at: RobotState


@dataclass
class FakeRobot:
    """Keeps all that it was told. fault: "refuses" or "disconnects"; spoil: what becomes of a reading."""

    needle: Needle
    fault: str | None = None
    spoil: Callable[[RobotState], RobotState] = lambda robot_state: robot_state
    told: list[Told] = field(default_factory=list)

    def read(self):
        self._reach()
        return self.spoil(self.needle.robot_state())

    def send(self, cleared):
        self._reach()
        if self.fault == "refuses":
            raise RobotError("it was told to refuse")
        self.needle.order = None if cleared.command.stop else cleared
        self.told.append(Told(self.needle.time_s, cleared, None, self.needle.robot_state()))

    def hold(self, reason):
        self._reach()
        self.needle.order = None
        self.told.append(Told(self.needle.time_s, None, reason, self.needle.robot_state()))

    def close(self):
        pass

    def _reach(self):
        if self.fault == "disconnects":
            raise RobotError("connection lost")

    @property
    def sent(self):
        return [t for t in self.told if t.order is not None]


@dataclass
class FakeRig:
    """Camera of a needle. silent: no frames; stuck: the last frame again and again; frozen: its picture, renumbered.

    shift_s: added to time stamps; back: to frame numbers. captured_s: when each frame was really acquired.
    spacing: what a frame says by its number. shows: the picture that is shown instead of one, by number and picture.
    """

    needle: Needle
    rate_hz: float = 25.0
    silent: bool = False
    stuck: bool = False
    frozen: bool = False
    shift_s: float = 0.0
    renumber: int = 0
    spacing: Callable[[int], Spacing | None] = lambda index: SPACING
    shows: Callable[[int, Any], Any] = lambda index, pixels: pixels
    captured_s: dict[int, float] = field(default_factory=dict)
    stamped_s: dict[int, float] = field(default_factory=dict)
    last: Frame | None = None
    _count: int = 0
    _due_s: float = 0.0

    def capture(self, now_s):
        needle = self.needle
        if self.silent or needle.time_s < self._due_s - 1e-9:
            return None
        self._due_s = max(self._due_s + 1 / self.rate_hz, needle.time_s)
        if not (self.stuck and self.last is not None):
            index = self._count + self.renumber
            self._count += 1
            pixels = self.last.pixels if self.frozen and self.last is not None else picture(needle, index)
            pixels = self.shows(index, pixels)
            self.last = Frame(pixels, index, needle.time_s + self.shift_s, self.spacing(index))
            self.captured_s[index] = needle.time_s
            self.stamped_s[index] = self.last.time_s
        return Capture(self.last, needle.robot_state(), now_s)

    def advance(self, dt_s):
        self.needle.advance(dt_s)


def picture(needle, index):
    """Noise of its own, and the truth: tip in px of this frame, angle."""
    pixels = np.random.default_rng(index % 2**32).integers(0, 255, (64, 64), np.uint8)
    x, y = (v - needle.probe_mm[k] for v, k in zip(needle.tip_mm, (0, 2), strict=True))
    truth = np.array([x / SPACING.x_mm, y / SPACING.y_mm, needle.angle_rad])
    pixels[0, : truth.nbytes] = np.frombuffer(truth.tobytes(), np.uint8)
    return pixels


@dataclass
class FakeTracker:
    """Reads the truth, off by a normal error of a frame (shared: of a run). Its state is the number of frames it saw.

    fails: frame -> "lost", "jump" (30 mm aside, as sure as ever), "raises", "nonsense", or None.
    """

    sd_mm: tuple[float, float] = (0.3, 0.1)  # along, across
    seed: int = 0
    shared: bool = False
    fails: Callable[[int], str | None] = lambda index: None
    takes: Callable[[], None] = lambda: None

    def prepare(self):
        pass

    def start(self, hint):
        return 0

    def step(self, state, frame):
        self.takes()
        fails = self.fails(frame.index)
        if fails == "raises":
            raise ValueError("a tracker's own mistake")
        if fails == "nonsense":
            return state + 1, "over there"
        if fails == "lost":
            return state + 1, Lost(frame.index, frame.time_s, "nothing to be seen")
        x, y, angle = np.frombuffer(frame.pixels[0, :24].tobytes()).tolist()
        along, across = np.random.default_rng([self.seed, 0 if self.shared else frame.index]).normal(0, self.sd_mm)
        c, s = math.cos(angle), math.sin(angle)
        px = x + (c * along - s * across) / SPACING.x_mm, y + (s * along + c * across) / SPACING.y_mm
        if fails == "jump":
            px = px[0], px[1] + 30.0 / SPACING.y_mm
        return state + 1, TipEstimate(
            frame.index,
            frame.time_s,
            px,
            angle,
            np.diag(np.square(self.sd_mm)),
            (state % 10) / 10,
            Track.TRACKING,
            (0.0, 0.0),
            visibility=0.75,
        )


@dataclass
class Scripted:
    """A policy that says what a function of (number of the decision, observation) says. Its state is that number."""

    say: Callable[[int, Any], Any]

    def prepare(self):
        pass

    def start(self, task):
        return 0

    def step(self, state, observation):
        return state + 1, self.say(state, observation)


def act(observation, speed_mm_s=8.0, angle_rad=ANGLE_RAD, probe=(0.0, 0.0, 0.0), *, lives_s=0.45, **more):
    time_s = observation.capture_time_s
    command = Command(
        expires_at_s=time_s + lives_s,
        insertion_speed_mm_s=speed_mm_s,
        insertion_angle_rad=angle_rad,
        probe_velocity_mm_s=probe,
        **more,
    )
    return Action(observation.frame_index, time_s, command)


def push(k, observation):
    """The simplest policy: on and on."""
    return act(observation)


@dataclass
class Notes:
    """A recorder that keeps a list."""

    failed: str | None = None
    said: list[tuple[str, float, dict[str, Any]]] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def write(self, topic, time_s, what):
        self.said.append((topic, time_s, dict(what)))

    def frame(self, frame, now_s):
        self.frames.append(frame.index)

    def on(self, topic):
        return [(time_s, what) for t, time_s, what in self.said if t == topic]


QUICK = Pace(longest_s=2.0)


class Fake:
    """All of one fake insertion. `run` may be called once."""

    def __init__(self, say=push, *, limits=None, regions=(), tracker=None, recorder=None, needle=None, clock=None):
        self.needle = needle or Needle()
        self.rig = FakeRig(self.needle)
        self.robot = FakeRobot(self.needle)
        self.tracker = tracker or FakeTracker()
        self.policy = Scripted(say)
        self.limits = limits or Limits()
        self.gate = Gate(self.limits, regions, SPACING)
        self.notes = recorder or Notes()
        self.clock = clock or SimulatedClock()
        self.tracking_branch = TrackingBranch.open(self.tracker, TASK, HINT)
        self.policy_branch = PolicyBranch.open(self.policy, TASK)
        self.control_branch = ControlBranch.open(self.gate, self.robot, TASK, self.clock.now_s(), recorder=self.notes)

    def run(self, pace=QUICK, **more):
        how = insert if isinstance(self.clock, SimulatedClock) else insert_live
        return how(self.rig, self.tracking_branch, self.policy_branch, self.control_branch, self.clock, pace, **more)
