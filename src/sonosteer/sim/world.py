"""A scene come alive: a rig drives a needle into tissue under a probe. Every frame comes with its truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from sonosteer.core.arrays import U8
from sonosteer.core.geometry import Point, Probe, Spacing
from sonosteer.core.types import Command, Frame, RobotState
from sonosteer.needle.tissue import respiratory_signal
from sonosteer.sim.display import Screen, shaft_contrast, tip_contrast
from sonosteer.sim.echo import sample_blocks
from sonosteer.sim.motion import Drag
from sonosteer.sim.plant import Plant
from sonosteer.sim.rig import RigLimits, RigModel
from sonosteer.sim.scanner import NOISE_BANK, ScanImage, Scanner, ScanView, scene_apex_px
from sonosteer.sim.scenes import Scene
from sonosteer.sim.script import SCRIPT_STEP_S, write_script
from sonosteer.sim.truth import SEEN_DB, VISIBLE_DB, NeedleTruth

JITTER_MM = 0.02  # chosen: standard deviation of the needle along its axis, from frame to frame
SHAFT_POINTS = 16  # chosen: points of the shaft's polyline in the truth
HIDDEN_BELOW = 0.5  # chosen: something hides the tip if it takes more than half of the amplitude


class World:
    """A simulated world: builds a scene's needle, and with the first image its tissue (well under a second).

    `frames()` plays the scene's own script and may be called again: it gives the same frames. To act yourself, call
    `restart()`, then `order()`, `advance()` and `look()` as you like. Not safe to share between threads.
    """

    def __init__(self, scene: Scene, limits: RigLimits | None = None) -> None:
        self.scene = scene
        self.limits = limits or RigLimits(angle_rad=_reachable_angles(scene))
        streams = np.random.SeedSequence([scene.seed, len(scene.split), 7]).spawn(2)
        self._tissue, self._life = streams
        self.spacing = Spacing(scene.screen_spacing_mm, scene.screen_spacing_mm)
        self.script = write_script(scene, self._generator(0))
        self.restart()

    @cached_property
    def scanner(self) -> Scanner:
        """What draws the images. The tissue is built when the first one is asked for."""
        return Scanner(self.scene, np.random.default_rng(self._tissue))

    @cached_property
    def screen(self) -> Screen | None:
        """What shows the images. None for a display that changes nothing."""
        scene = self.scene
        if scene.display.plain:
            return None
        return Screen(scene.display, (scene.width_px, scene.height_px), self.scanner.inside())

    @cached_property
    def probe(self) -> Probe:
        """The probe's geometry in the image."""
        apex_px = scene_apex_px(self.scene)
        return self.scene.array.drawn(self.scene.display.to_screen_px(apex_px))

    def _generator(self, k: int) -> np.random.Generator:
        return np.random.default_rng([*self._life.generate_state(4).tolist(), k])

    # -- living ----------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Go back to the beginning: the needle at the scene's start, nothing cut, the same chance."""
        scene = self.scene
        self._rng = self._generator(1)
        self.plant = Plant(scene, self._generator(2))
        self._origin_y = (0.5 + self._generator(3).uniform(-0.3, 0.3)) * scene.period_mm
        self.drag = Drag(scene.pull_mm)
        if "scanner" in self.__dict__:
            self.scanner.restart()
        if self.__dict__.get("screen") is not None:
            self.__dict__["screen"].restart()
        self.time_s = 0.0
        self.index = 0
        self._deepest_mm = scene.start_mm if scene.needle else 0.0
        tip_y = scene.start_mm if scene.view == "axial" else 0.0
        self.rig = RigModel(
            limits=self.limits,
            rng=self._generator(4),
            depth_mm=scene.start_mm if scene.needle else 0.0,
            insertion_angle_rad=scene.angle_rad,
            roll_rad=math.radians(scene.roll_deg),
            probe_mm=(0.0, tip_y, 0.0),
        )
        self._settle()

    def _settle(self) -> None:
        """Let a needle that starts inside the tissue cut its way there."""
        rig = self.rig
        if self.plant.flexible is not None:
            for depth in np.arange(0.5, rig.depth_mm, 0.5):
                self.plant.step(float(depth), rig.insertion_angle_rad, rig.base_rad, 0.0)
        self.plant.step(rig.depth_mm, rig.insertion_angle_rad, rig.base_rad, 0.0)

    def order(self, command: Command) -> None:
        """Tell the rig what to do."""
        self.rig.order(command)

    def advance(self, dt_s: float) -> None:
        """Let time pass for rig, needle and tissue, in steps of SCRIPT_STEP_S."""
        left = dt_s
        while left > 1e-9:
            step = min(SCRIPT_STEP_S, left)
            left -= step
            self.rig.advance(step)
            self.time_s += step
            rig, before = self.rig, self.plant.state.inserted_mm
            self.plant.step(rig.depth_mm, rig.insertion_angle_rad, rig.base_rad, self.time_s)
            self.drag.advance(self.plant.state.inserted_mm - before, step)
            self._deepest_mm = max(self._deepest_mm, self.plant.state.inserted_mm)

    def follow(self, to: RobotState, dt_s: float) -> None:
        """Let dt_s pass while needle and probe go to where the encoders of an outside robot say they are.

        The rig's own motors do nothing meanwhile.
        """
        rig = self.rig
        steps = max(math.ceil(dt_s / SCRIPT_STEP_S), 1)
        begin = np.array([rig.depth_mm, rig.insertion_angle_rad, rig.roll_rad, *rig.probe_mm])
        end = np.array([to.depth_mm, to.insertion_angle_rad, to.roll_rad, *to.probe_mm])
        for k in range(1, steps + 1):
            depth, angle, roll, x, y, z = (begin + k / steps * (end - begin)).tolist()
            rig.depth_mm, rig.insertion_angle_rad, rig.roll_rad, rig.base_rad = depth, angle, roll, roll
            rig.probe_mm, rig.insertion_speed_mm_s = (x, y, z), 0.0
            self.advance(dt_s / steps)
        rig.insertion_speed_mm_s = to.insertion_speed_mm_s

    def read(self) -> RobotState:
        """What the rig's encoders say, in the rig's own axes: a wrong registration turns them against the image."""
        said = self.rig.read()
        turn_rad = math.radians(self.scene.registration_deg)
        if turn_rad == 0.0:
            return said
        side, (x, y, z) = math.copysign(1.0, self.scene.direction[0]), said.probe_mm
        c, s = math.cos(turn_rad), math.sin(turn_rad)
        return dataclasses.replace(
            said,
            insertion_angle_rad=said.insertion_angle_rad + side * turn_rad,
            probe_mm=(c * x - s * z, y, s * x + c * z),
        )

    def look(self) -> tuple[Frame, NeedleTruth]:
        """Take an image now."""
        view, direction = self._view()
        picture = self.scanner.draw(view)
        shown = self.screen.show(picture.pixels, int(view.noise.sum())) if self.screen else picture.pixels
        frame = Frame(
            pixels=shown,
            index=self.index,
            time_s=self.time_s,
            spacing=self.spacing,
            probe=self.probe,
            velocity_mm_s=self.rig.read().insertion_speed_mm_s if self.scene.needle else None,
        )
        truth = self._truth(view, picture, direction)
        if self.screen:
            truth = self._seen(truth, picture, shown)
        self.index += 1
        return frame, truth

    def _view(self) -> tuple[ScanView, tuple[float, float, float]]:
        """(what the scanner has before it now, unit vector of the tip)."""
        scene, state = self.scene, self.plant.state
        breath_mm = scene.breathing_mm * respiratory_signal(scene.breathing_hz, self.time_s)
        axis, direction, trail = None, scene.direction, None
        if scene.needle and state.inserted_mm > 0:
            axis, direction = self.plant.place()
            axis += self._rng.normal(0, JITTER_MM) * np.array(direction)
            if scene.view != "axial" or self.plant.flexible is None:  # else the plant has moved it
                axis[:, 2] += breath_mm
            if scene.view == "in-plane" and self.plant.flexible is None:
                ahead = np.arange(0.0, self._deepest_mm - state.inserted_mm, scene.array.range_step_mm)
                trail = axis[0] + ahead[:, None] * np.array(direction)
        view = ScanView(
            probe_mm=self.rig.probe_mm,
            axis_mm=axis,
            roll_rad=state.roll_rad,
            pull_mm=self.drag.pull_mm,
            tissue_mm=(0.0, breath_mm),
            noise=self._rng.integers(0, NOISE_BANK, (scene.looks, 2)),
            origin_y_mm=self._origin_y,
            trail_mm=trail,
            inserted_mm=state.inserted_mm,
        )
        return view, direction

    def frames(self, *, readings: bool = False) -> Iterator[tuple[Frame, NeedleTruth]]:
        """Play the scene's script: every frame of the clip with its truth.

        readings: frames bring what the encoders said at their time, too.
        """
        self.restart()
        period = 1.0 / self.scene.rate_hz
        last: tuple[Frame, NeedleTruth] | None = None
        k, shown = 0, 0
        for tick, fate in enumerate(self._fates()):
            while k < round(tick * period / SCRIPT_STEP_S):
                self.order(self._scripted(k))
                self.advance(SCRIPT_STEP_S)
                k += 1
            if fate == "dropped":
                continue
            if last is None or fate == "shown":
                last = self.look()
            time_s = tick * period
            frame = dataclasses.replace(last[0], index=shown, time_s=time_s)
            if readings:
                frame = dataclasses.replace(frame, robot_state=self.read())
            truth = dataclasses.replace(last[1], frame_index=shown, time_s=time_s, repeated=fate == "repeated")
            yield frame, truth
            shown += 1

    @property
    def clip_frames(self) -> int:
        """Number of frames of the clip: those of the script, less those that never arrive."""
        return sum(fate != "dropped" for fate in self._fates())

    def _fates(self) -> list[str]:
        """What the stream makes of each frame: shown, dropped or repeated. The first and the last are shown."""
        n, a = self.script.frames, self.scene.artefacts
        chance = self._generator(5).random(n)
        fates = np.where(chance < a.dropped, "dropped", np.where(chance > 1 - a.repeated, "repeated", "shown"))
        fates[[0, -1]] = "shown"
        return [str(f) for f in fates]

    def _scripted(self, k: int) -> Command:
        """The script's command at its k-th step."""
        script = self.script
        px, py, pz = script.probe_velocity_mm_s[k].tolist()
        return Command(
            expires_at_s=None,
            insertion_speed_mm_s=float(script.insertion_speed_mm_s[k]),
            insertion_angle_rad=self.scene.angle_rad,
            roll_rad=float(script.roll_rad[k]),
            probe_velocity_mm_s=(px, py, pz),
        )

    # -- truth -----------------------------------------------------------------------------------------------

    def to_px(self, point_mm: tuple[float, float, float], probe_mm: tuple[float, float, float]) -> Point:
        """A world point in the image, projected onto the image plane, px."""
        return self.probe.to_image_px((point_mm[0] - probe_mm[0], point_mm[2] - probe_mm[2]), self.spacing)

    def _truth(self, view: ScanView, picture: ScanImage, direction: tuple[float, float, float]) -> NeedleTruth:
        scene, probe, state = self.scene, view.probe_mm, self.plant.state
        axis, drawn = view.axis_mm, picture.drawn
        tip, tip_px = None, None
        shaft: tuple[Point, ...] = ()
        angle = math.atan2(direction[2], direction[0])
        if axis is not None:
            tip = (float(axis[0, 0]), float(axis[0, 1]), float(axis[0, 2]))
            if scene.view == "axial":
                angle = math.atan2(tip[2] - scene.entry_mm[2], tip[0] - scene.entry_mm[0])
            elif drawn is not None:
                x, y, z = drawn.apex_mm
                tip = (x + probe[0], y + probe[1], z + probe[2])
            tip_px = self.to_px(tip, probe)
            points = axis[np.linspace(0, len(axis) - 1, min(SHAFT_POINTS, len(axis))).astype(int)].tolist()
            shaft = tuple(self.to_px((p[0], p[1], p[2]), probe) for p in points)
        visible = drawn is not None and tip_px is not None and tip is not None and self._inside(tip_px, tip, probe)
        return NeedleTruth(
            frame_index=self.index,
            time_s=self.time_s,
            tip_px=tip_px,
            angle_rad=angle,
            visible=visible and picture.visibility_db > VISIBLE_DB[scene.view],
            depth_mm=state.inserted_mm if scene.needle else 0.0,
            velocity_mm_s=self.rig.insertion_speed_mm_s if scene.needle else 0.0,
            bright_px=self.probe.to_image_px(drawn.bright_mm, self.spacing) if drawn else None,
            tip_mm=tip,
            direction=direction,
            shaft_px=shaft,
            out_of_plane_mm=tip[1] - probe[1] if tip else 0.0,
            visibility_db=picture.visibility_db,
            roll_rad=state.roll_rad,
            axial_n=state.axial_n,
            bevel_n=state.bevel_n,
            guide_n=state.guide_n,
            occluded=self._hidden(view, picture, tip) if tip else (),
            probe_mm=probe,
            tissue_mm=view.tissue_mm,
            repeated=False,
        )

    def _inside(self, tip_px: Point, tip: tuple[float, float, float], probe: tuple[float, float, float]) -> bool:
        width, height = self.scene.size_px
        in_image = 0 <= tip_px[0] < width and 0 <= tip_px[1] < height
        return in_image and self.probe.contains_mm((tip[0] - probe[0], tip[2] - probe[2]))

    def _seen(self, truth: NeedleTruth, picture: ScanImage, shown: U8) -> NeedleTruth:
        """The truth with what a person could see of the needle on the screen."""
        scene, drawn = self.scene, picture.drawn
        if drawn is None or drawn.wall_mm is None or truth.tip_px is None:
            return dataclasses.replace(truth, visible=False, shaft_px=())
        wall_mm = drawn.wall_mm
        if scene.look.fade_mm > 0:
            wall_mm = wall_mm[: max(round(scene.look.fade_mm / scene.array.range_step_mm), 8)]
        range_mm, line = scene.array.to_beam(wall_mm[:, 0], wall_mm[:, 1])
        inside = (line >= 0) & (line <= scene.array.lines - 1) & (range_mm >= 0) & (range_mm <= scene.array.depth_mm)
        if not inside.any():
            return dataclasses.replace(truth, visible=False, shaft_px=())
        wall_mm = wall_mm[inside]
        mm, apex = self.spacing.x_mm, np.array(self.probe.apex_px)
        path_px = wall_mm / mm + apex
        width_px = math.hypot(drawn.width_mm / mm, 2 * scene.display.smoothing_px * scene.display.scale)
        grey_per_db = 255.0 / scene.dynamic_range_db
        covered = self.screen.covers(path_px) if self.screen else np.zeros(len(path_px), np.bool_)
        in_view = (
            bool(inside[0])
            and not covered[0]
            and self._inside(truth.tip_px, truth.tip_mm or (0.0, 0.0, 0.0), truth.probe_mm)
        )
        step = max(round(0.3 / scene.array.range_step_mm), 1)
        contrast = tip_contrast(shown, path_px[::step], width_px, 1 / mm) / grey_per_db
        k = np.linspace(0, len(path_px) - 1, SHAFT_POINTS).round().astype(int)
        beside = shaft_contrast(shown, path_px[::step], width_px, 1 / mm)
        smooth = np.convolve(beside, np.ones(5) / 5, "same") if len(beside) >= 5 else beside
        seen = np.interp(k, np.arange(len(smooth)) * step, smooth) > SEEN_DB * grey_per_db
        seen &= ~covered[k]
        return dataclasses.replace(
            truth,
            visible=in_view and max(picture.visibility_db, picture.apex_db) > 0.0 and contrast > SEEN_DB,
            shaft_px=tuple((float(x), float(y)) for x, y in path_px[k]),
            shaft_seen=tuple(bool(s) for s in seen),
            width_px=width_px,
            contrast_db=contrast,
        )

    def _hidden(self, view: ScanView, picture: ScanImage, tip: tuple[float, float, float]) -> tuple[str, ...]:
        """What hides the tip."""
        a, probe = self.scene.array, view.probe_mm
        r, q = a.to_beam(np.array([tip[0] - probe[0]]), np.array([tip[2] - probe[2]]))
        rows = (r / a.range_step_mm).astype(np.float32)
        out = []
        if sample_blocks(picture.level, rows, q.astype(np.float32))[0] < HIDDEN_BELOW:
            out.append("occluder")
        line = min(max(int(q[0]), 0), a.lines - 1)
        if self.scanner.masks.contact(-probe[2])[line] < HIDDEN_BELOW:
            out.append("contact")
        seen, best = self.scanner.echo.elevation(np.array([tip[1] - probe[1], 0.0]), np.repeat(r, 2))
        if seen < HIDDEN_BELOW * best:
            out.append("plane")
        return tuple(out)


def _reachable_angles(scene: Scene) -> tuple[float, float]:
    """The default rig's angles, wider where the scene's own needle lies flatter."""
    low, high = RigLimits().angle_rad
    return min(low, scene.angle_rad), high
