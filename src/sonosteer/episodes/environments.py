"""The simulated rig as Gymnasium environments, which are registered when this module is imported.

`sonosteer/Insertion-v0` is in plane, with a target. `sonosteer/Steering-v0` is axial, with a flexible needle that is to
be kept on its axis. An action moves the rig for one frame. The observation is the next frame with what the encoders
say. The truth is in `info` and never in the observation. Same seed, same episode. Simulation only: nothing here drives
a robot.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.core.types import Command, Frame, Vector
from sonosteer.episodes.tasks import INSERTION_ROBOT, insertion_task
from sonosteer.metrics.success import HIT_MM
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
STOP_AT = 0.5  # chosen: a larger stop ends the episode
HIT_REWARD = 10.0  # chosen: reward of a stop at the target, and its loss elsewhere
ON_AXIS_MM = 1.0  # chosen: steering succeeds within this distance of the axis
COMMAND_LIFETIME_S = 0.5  # chosen: much longer than a frame


class _RigEnv(gymnasium.Env[EnvObservation, F32]):
    """What both environments share: a world per episode, a step per frame."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012
    setup = ""
    names: tuple[str, ...] = ()  # of the action's axes

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
        return self._observe(), self._info()

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
        world.order(order)
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
        r = world.read()
        state = (r.depth_mm, r.insertion_speed_mm_s, r.insertion_angle_rad, r.roll_rad, *r.probe_mm, *self._goal())
        return {"image": self._frame.grey()[..., None].copy(), "state": np.array(state, np.float32)}

    def _command(
        self, *, speed_mm_s: float, angle_rad: float, roll_rad: float, probe_mm_s: Vector, stop: bool = False
    ) -> Command:
        return Command(
            expires_at_s=self.world.time_s + COMMAND_LIFETIME_S,
            insertion_speed_mm_s=speed_mm_s,
            insertion_angle_rad=angle_rad,
            roll_rad=roll_rad,
            probe_velocity_mm_s=probe_mm_s,
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
            "cost_mm": self._cost_mm(),
            "success": False,
            "hand_mm_s": 0.0,
        }

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
        self._angle = min(max(self._angle + float(a[1]) * step, low), high)
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
        behind = world.rig.depth_mm - world.rig.probe_mm[1]
        return self._command(
            speed_mm_s=speed,
            angle_rad=world.scene.angle_rad,
            roll_rad=self._base,
            probe_mm_s=(0.0, speed + 4.0 * behind, 0.0),
        )

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
