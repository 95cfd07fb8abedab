"""The simulated rig as Gymnasium environments, which are registered when this module is imported.

`sonosteer/Insertion-v0` is in plane, with a target. `sonosteer/Steering-v0` is axial, with a flexible needle that is to
be kept on its axis. An action moves the rig for one frame. The observation is the next frame with what the encoders
say. The truth is in `info` and never in the observation. Same seed, same episode. Simulation only: nothing here drives
a robot.

An action goes through the gate, as everything that moves a rig does. Whoever acts is the policy, and there is no
tracker. So the gate is told the true tip, with the deviation of a good tracker. Its limits are those of the actions and
of the rig. An axis is slowed down before the end of its travel, so that the gate seldom refuses.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.types import (
    Action,
    Command,
    Estimate,
    Frame,
    Observation,
    RobotState,
    Task,
    TipEstimate,
    Track,
    Vector,
)
from sonosteer.episodes.tasks import INSERTION_ROBOT, insertion_task
from sonosteer.metrics.success import HIT_MM
from sonosteer.robots.simulated import SimulatedRobot
from sonosteer.runtime.branches import ControlBranch
from sonosteer.safety.gate import Gate, Refused
from sonosteer.safety.limits import Limits
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    raise MissingExtraError("sonosteer.episodes.environments", "gymnasium", "env") from None

EnvObservation = dict[str, Any]
#: chosen: full scale of the actions: mm/s of the needle, deg/s of its angle, mm/s of the probe
INSERTION_MM_S, ANGLE_DEG_S, PROBE_MM_S = 30.0, 10.0, (20.0, 5.0, 5.0)
#: chosen: full scale of the actions of steering: rad/s of the base, mm/s of the needle
ROLL_RAD_S, STEERED_MM_S = 2 * math.pi, 10.0
FASTEST_PROBE_MM_S = 25.0  # chosen: as the gate's default. A probe that follows the tip of 10 mm/s needs less
STOP_AT = 0.5  # chosen: a larger stop ends the episode
HIT_REWARD = 10.0  # chosen: reward of a stop at the target, and its loss elsewhere
ON_AXIS_MM = 1.0  # chosen: steering succeeds within this distance of the axis
COMMAND_LIFETIME_S = 0.35  # chosen: much longer than a frame, and less than the 0.5 s that the gate allows
TIP_SD_MM = 0.5  # chosen: as a good tracker says of itself
OVERLAP_S = 0.025  # chosen: an order outlasts the arrival of the next by so much, else the needle moves in jerks
END_SD = 6.0  # chosen: so many deviations of its encoder before the end of its travel an axis stands
END_PER_S = 3.0  # chosen: an axis closes at this rate what is left of its travel. The gate would refuse 4
FOLLOW_PER_S = 4.0  # chosen: the probe of an axial scene closes its gap to the tip at this rate
LEAD_RAD = 0.1  # chosen: the ordered angle is no further from the encoder's. The gate refuses 0.15


class _RigEnv(gymnasium.Env[EnvObservation, F32]):
    """What both environments share: a world per episode, a step per frame."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    setup = ""
    names: tuple[str, ...] = ()  # of the action's axes
    shows_depth = True  # whether images show how deep the needle is
    _robot: SimulatedRobot
    _control: ControlBranch
    _read: RobotState

    def __init__(
        self,
        render_mode: str | None = None,
        *,
        split: str = "train",
        image_px: int = 512,
        limits: RigLimits = INSERTION_ROBOT,
        max_s: float = 60.0,
        episodes_per_tissue: int = 1,
        scene: dict[str, Any] | None = None,
    ) -> None:
        """Set up the environment. Raises InputError if a value makes no sense.

        split: split of the scenes. image_px: side of the image, which always shows the same field. limits: what the rig
        can do. max_s: longest episode. episodes_per_tissue: number of unseeded resets that keep the tissue, which takes
        half a second to build. scene: fields that override those of the recipe.
        """
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"render_mode is {render_mode!r}, but only rgb_array is possible")
        if not (32 <= image_px <= 1024 and episodes_per_tissue >= 1 and max_s > 0):
            raise InputError(f"image_px {image_px}, episodes_per_tissue {episodes_per_tissue}, max_s {max_s}: nonsense")
        self.render_mode, self.limits, self.max_s = render_mode, limits, max_s
        self._split, self._image_px, self._fields = split, image_px, scene or {}
        self._keep = episodes_per_tissue
        self._episodes = 0
        self._world: World | None = None
        self._frame: Frame | None = None
        self._truth: NeedleTruth | None = None
        self._seen: Observation | None = None
        make_scene(f"{self.setup}/{split}", 0, **self._fields)  # a wrong field is said here, not in the first reset
        self.action_space = spaces.Box(-1.0, 1.0, (len(self.names),), np.float32)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (image_px, image_px, 1), np.uint8),
                "state": spaces.Box(-np.inf, np.inf, (10,), np.float32),
            }
        )

    @property
    def world(self) -> World:
        """The world of this episode. Raises InputError before the first reset."""
        if self._world is None:
            raise InputError(f"{type(self).__name__}: call reset() first")
        return self._world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[EnvObservation, dict[str, Any]]:
        """Begin an episode.

        options: {"scene_seed": n} asks for one scene of the split. Returns observation and info.
        """
        super().reset(seed=seed)
        wanted = (options or {}).get("scene_seed")
        fresh = seed is not None or wanted is not None or self._episodes % self._keep == 0
        if fresh or self._world is None:
            number = int(wanted if wanted is not None else self.np_random.integers(1 << 31))
            self._world = World(self._shrunk(number), self.limits)
            self._episodes = 0
        self._episodes += 1
        self._world.restart()
        self._begin(self._world)
        self._robot = SimulatedRobot(self._world)
        rate_hz = self._world.scene.rate_hz
        gate = Gate(self._gate_limits(1.0 / rate_hz), (), self._world.spacing, shows_depth=self.shows_depth)
        self._control = ControlBranch.open(gate, self._robot, self._task(), -1.0 / rate_hz)
        return self._observe(), self._info()

    def _gate_limits(self, frame_s: float) -> Limits:
        """Return the gate's limits: those of the actions and of the rig. A control period is a frame."""
        rig = self.limits
        fastest_mm_s = min(INSERTION_MM_S, rig.insertion_mm_s)
        return Limits(
            forward_mm_s=fastest_mm_s,
            backward_mm_s=fastest_mm_s,
            acceleration_mm_s2=min(200.0, rig.insertion_mm_s2),
            growth_s=frame_s,
            order_s=frame_s + rig.latency_s + OVERLAP_S,
            depth_mm=rig.depth_mm,
            angle_rad=rig.angle_rad,
            roll_rad_s=ROLL_RAD_S,
            probe_mm_s=(FASTEST_PROBE_MM_S, FASTEST_PROBE_MM_S, PROBE_MM_S[2]),
            probe_mm=rig.probe_mm,
            standstill_s=max(0.05, rig.latency_s),
        )

    def _shrunk(self, seed: int) -> Scene:
        """Return the scene of a seed with an image of image_px and the same field of view."""
        drawn = make_scene(f"{self.setup}/{self._split}", seed, **self._fields)
        side_mm = max(drawn.width_px, drawn.height_px) * drawn.spacing_mm
        size = {"width_px": self._image_px, "height_px": self._image_px, "spacing_mm": side_mm / self._image_px}
        return make_scene(f"{self.setup}/{self._split}", seed, **{**self._fields, **size})

    def step(self, action: F32) -> tuple[EnvObservation, float, bool, bool, dict[str, Any]]:
        """Move the rig for one frame. Raises InputError unless the action is finite and of the right size."""
        a = np.asarray(action, np.float64)
        if a.shape != self.action_space.shape or not np.isfinite(a).all():
            raise InputError(f"an action must be {len(self.names)} finite numbers ({', '.join(self.names)}), not {a}")
        world = self.world
        order = self._order(np.clip(a, -1.0, 1.0))
        before = self._cost_mm()
        assert self._seen is not None
        self._control.propose(Action(self._seen.frame_index, self._seen.capture_time_s, order), world.time_s)
        self._control.tick(world.time_s, self._seen)
        world.advance(1.0 / world.scene.rate_hz)
        observation = self._observe()
        ended, bonus = self._judge(order)
        late = world.time_s >= self.max_s
        return observation, before - self._cost_mm() + bonus, ended, late and not ended, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return the (height, width, 3) current image with the true tip drawn in, and the target if there is one."""
        if self.render_mode is None or self._frame is None:
            return None
        picture = np.repeat(self._frame.grey()[..., None], 3, axis=2)
        for point, colour in self._marks():
            x, y = (round(v) for v in point)
            picture[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = colour
        return picture

    def _observe(self) -> EnvObservation:
        """Return the image, (height, width, 1) uint8, and the ten numbers of the state."""
        world = self.world
        self._frame, self._truth = world.look()
        self._control.frame_came(self._frame, world.time_s)
        r = self._read = self._robot.read()
        self._seen = Observation(self._frame.index, world.time_s, self._true_estimate(), r, self._goal()[:2])
        state = (r.depth_mm, r.insertion_speed_mm_s, r.insertion_angle_rad, r.roll_rad, *r.probe_mm, *self._goal())
        return {"image": self._frame.grey()[..., None].copy(), "state": np.array(state, np.float32)}

    def _true_estimate(self) -> Estimate:
        """Return the true tip as a tracker would say it, or the entry while no needle is in the tissue."""
        world, frame, truth = self.world, self._frame, self._truth
        assert frame is not None
        assert truth is not None
        tip_mm = world.scene.entry_mm
        if world.scene.needle and world.plant.state.inserted_mm > 0:
            x, y, z = world.plant.place()[0][0].tolist()
            tip_mm = (x, y, z)
        tip_px = world.to_px(tip_mm, world.rig.probe_mm)
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=tip_px,
            angle_rad=truth.angle_rad,
            covariance_mm2=TIP_SD_MM**2 * np.eye(2),
            confidence=1.0,
            state=Track.TRACKING,
            entry_px=world.to_px(world.scene.entry_mm, world.rig.probe_mm),
        )

    def _slowed(self, speed_mm_s: float, *, at_mm: float, travel_mm: tuple[float, float], most_mm_s: float) -> float:
        """Return the speed of an axis, less where the end of its travel is near."""
        margin_mm = END_SD * self.limits.encoder_mm
        low, high = END_PER_S * (travel_mm[0] + margin_mm - at_mm), END_PER_S * (travel_mm[1] - margin_mm - at_mm)
        return min(max(speed_mm_s, -most_mm_s, min(low, 0.0)), most_mm_s, max(high, 0.0))

    def _insertion_mm_s(self, speed_mm_s: float) -> float:
        """Return the insertion speed, within the rig's and less where its travel ends."""
        most = min(INSERTION_MM_S, self.limits.insertion_mm_s)
        return self._slowed(speed_mm_s, at_mm=self._read.depth_mm, travel_mm=self.limits.depth_mm, most_mm_s=most)

    def _probe_mm_s(self, wanted_mm_s: Vector) -> Vector:
        """Return the speed of the probe, within the rig's and less where its travel ends."""
        most = (FASTEST_PROBE_MM_S, FASTEST_PROBE_MM_S, PROBE_MM_S[2])
        x, y, z = (
            self._slowed(v, at_mm=at, travel_mm=(-travel, travel), most_mm_s=min(fastest, self.limits.probe_mm_s))
            for v, at, travel, fastest in zip(wanted_mm_s, self._read.probe_mm, self.limits.probe_mm, most, strict=True)
        )
        return x, y, z

    def _command(
        self, *, speed_mm_s: float, angle_rad: float, roll_rad: float, probe_mm_s: Vector, stop: bool = False
    ) -> Command:
        return Command(
            expires_at_s=self.world.time_s + COMMAND_LIFETIME_S,
            insertion_speed_mm_s=self._insertion_mm_s(speed_mm_s),
            insertion_angle_rad=angle_rad,
            roll_rad=roll_rad,
            probe_velocity_mm_s=self._probe_mm_s(probe_mm_s),
            stop=stop,
        )

    def _tip(self) -> NDArray[np.float64]:
        assert self._truth is not None
        return np.array(self._truth.tip_mm if self._truth.tip_mm is not None else self.world.scene.entry_mm)

    def _info(self) -> dict[str, Any]:
        t = self._truth
        assert t is not None
        return {
            "scene": self.world.scene.name,
            "tip_px": t.tip_px,
            "tip_mm": t.tip_mm,
            "visible": t.visible,
            "visibility_db": t.visibility_db,
            "axial_n": t.axial_n,
            "fault": self.world.rig.fault,
            "refused": self._control.last.rule if isinstance(self._control.last, Refused) else None,
            "cost_mm": self._cost_mm(),
            "success": False,
            "hand_mm_s": 0.0,
        }

    @abstractmethod
    def _task(self) -> Task:
        """Return what is to be done in this episode."""

    @abstractmethod
    def _begin(self, world: World) -> None:
        """Begin an episode in this world."""

    @abstractmethod
    def _order(self, a: NDArray[np.float64]) -> Command:
        """Return the command of an action, clipped to [-1, 1]."""

    @abstractmethod
    def _goal(self) -> tuple[float, float, float]:
        """Return the last three numbers of the state."""

    @abstractmethod
    def _cost_mm(self) -> float:
        """Return the number whose decrease is the reward, mm."""

    @abstractmethod
    def _judge(self, order: Command) -> tuple[bool, float]:
        """Return whether the episode has ended, and what is added to the reward."""

    def _marks(self) -> list[tuple[tuple[float, float], tuple[int, int, int]]]:
        t = self._truth
        return [(t.tip_px, (60, 220, 90))] if t is not None and t.tip_px is not None else []


class InsertionEnv(_RigEnv):
    """Bring the tip of an 18G needle to a target under a convex probe, after Zhang et al. 2026.

    Action, each in [-1, 1]: insertion speed (30 mm/s), change of the insertion angle (10 deg/s), probe speed along x, y
    and z (20, 5 and 5 mm/s), stop (above 0.5 ends the episode). Observation: `image`, (image_px, image_px, 1) uint8.
    `state`: depth mm, speed mm/s, angle rad, roll rad, probe x y z mm, target x and y px, 0. Reward: millimetres that
    the tip came nearer. A stop adds 10 within 5 mm of the target, and -10 elsewhere.
    """

    setup = "in-plane-convex"
    names = ("insertion", "angle", "probe x", "probe y", "probe z", "stop")

    def _begin(self, world: World) -> None:
        self.task, self.target_mm = insertion_task(world, self.np_random)
        self._angle = world.scene.angle_rad

    def _order(self, a: NDArray[np.float64]) -> Command:
        step = math.radians(ANGLE_DEG_S) / self.world.scene.rate_hz
        low, high = self.limits.angle_rad
        at = self._read.insertion_angle_rad  # the ordered angle does not run away from one that is held
        self._angle = min(max(self._angle + float(a[1]) * step, low, at - LEAD_RAD), high, at + LEAD_RAD)
        x, y, z = PROBE_MM_S
        probe = (x * float(a[2]), y * float(a[3]), z * float(a[4]))
        roll = math.radians(self.world.scene.roll_deg)
        return self._command(
            speed_mm_s=INSERTION_MM_S * float(a[0]),
            angle_rad=self._angle,
            roll_rad=roll,
            probe_mm_s=probe,
            stop=bool(a[5] > STOP_AT),
        )

    def _task(self) -> Task:
        return self.task

    def _goal(self) -> tuple[float, float, float]:
        x, y = self._target_px()
        return x, y, 0.0

    def _target_px(self) -> tuple[float, float]:
        x, y, z = self.target_mm.tolist()
        return self.world.to_px((x, y, z), self.world.rig.probe_mm)

    def _cost_mm(self) -> float:
        return float(np.linalg.norm(self._tip() - self.target_mm))

    def _judge(self, order: Command) -> tuple[bool, float]:
        if not order.stop:
            return False, 0.0
        return True, HIT_REWARD if self._cost_mm() <= HIT_MM else -HIT_REWARD

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"target_px": self._target_px(), "success": self._cost_mm() <= HIT_MM}

    def _marks(self) -> list[tuple[tuple[float, float], tuple[int, int, int]]]:
        return [*super()._marks(), (self._target_px(), (255, 170, 0))]


class SteeringEnv(_RigEnv):
    """Keep a flexible bevel-tip needle on its axis to the target depth by rolling its base, after Carriere et al. 2019.

    Action, each in [-1, 1]: roll speed of the base (2 pi rad/s), insertion speed (10 mm/s). With `hand` a simulated
    hand pushes, and the insertion speed is ignored. The probe follows the tip. Observation: `image`, (image_px,
    image_px, 1) uint8, axial. `state`: depth mm, speed mm/s, angle rad, roll rad, probe x y z mm, axis x and y px,
    depth left mm. Reward: millimetres of deflection lost. At the target depth the deflection is subtracted.
    """

    setup = "axial"
    names = ("roll", "insertion")
    shows_depth = False
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, *, hand: bool = False, **options: Any) -> None:
        """Set up the environment. hand: a simulated hand pushes. The rest is as in `InsertionEnv`."""
        self._hand = hand
        super().__init__(render_mode, **{"max_s": 120.0, **options})

    def _begin(self, world: World) -> None:
        self._base = math.radians(world.scene.roll_deg)

    def _order(self, a: NDArray[np.float64]) -> Command:
        world, script = self.world, self.world.script
        self._base += ROLL_RAD_S * float(a[0]) / world.scene.rate_hz
        speed = STEERED_MM_S * float(a[1])
        if self._hand:
            k = min(round(world.time_s * 100), len(script.insertion_speed_mm_s) - 1)
            speed = float(script.insertion_speed_mm_s[k])
        behind = self._read.depth_mm - self._read.probe_mm[1]
        return self._command(
            speed_mm_s=speed,
            angle_rad=world.scene.angle_rad,
            roll_rad=self._base,
            probe_mm_s=(0.0, speed + FOLLOW_PER_S * behind, 0.0),
        )

    def _task(self) -> Task:
        world = self.world
        return Task(self._goal()[:2], "across", world.scene.angle_rad, "left", world.spacing)

    def _goal(self) -> tuple[float, float, float]:
        x, y = self.world.to_px(self.world.scene.entry_mm, self.world.rig.probe_mm)
        return x, y, self.world.scene.end_mm - self.world.rig.depth_mm

    def _cost_mm(self) -> float:
        x, _, z = self._tip() - np.array(self.world.scene.entry_mm)
        return math.hypot(x, z)

    def _judge(self, order: Command) -> tuple[bool, float]:
        there = self.world.rig.depth_mm >= self.world.scene.end_mm - 0.05
        return there, -self._cost_mm() if there else 0.0

    def _info(self) -> dict[str, Any]:
        deflection = self._cost_mm()
        there = self.world.rig.depth_mm >= self.world.scene.end_mm - 0.05
        more = {"success": there and deflection < ON_AXIS_MM, "hand_mm_s": self.world.rig.insertion_speed_mm_s}
        return super()._info() | more


for _name, _env in (("Insertion", InsertionEnv), ("Steering", SteeringEnv)):
    if f"sonosteer/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(f"sonosteer/{_name}-v0", entry_point=f"{__name__}:{_env.__name__}")
