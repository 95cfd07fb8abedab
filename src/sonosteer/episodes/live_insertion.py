"""A robotic insertion on a live source: a scanner or a grabber that sends pictures, and a robot that holds the needle.

Nobody knows the truth here, so nobody judges. The result says why the run ended, and how far from the target the
tracker saw the tip at last. The run's clock is the source's. Encoders and orders are on it, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sonosteer.calibration.record import Calibration, gate_covariance
from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Matrix, Point, Spacing, transform_point
from sonosteer.core.live import LiveSource, is_live
from sonosteer.core.protocols import Policy, Tracker
from sonosteer.core.types import Capture, Frame, Hint, Observation, RobotState, Task, TipEstimate, Vector
from sonosteer.episodes.clip_tracking import check_clip, check_method
from sonosteer.episodes.published_insertion import InsertionPublisher, PublishedTracking
from sonosteer.policies.table import make_policy
from sonosteer.robots.hold import HoldRobot
from sonosteer.robots.rig import open_rig
from sonosteer.robots.rig_file import RigFile, read_rig
from sonosteer.runtime.branches import ControlBranch, NoRecorder, PolicyBranch, Recorder, TrackingBranch, with_fields
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace, Run
from sonosteer.runtime.live import insert_live
from sonosteer.runtime.live_camera import LiveCamera, stream_account
from sonosteer.runtime.viewing import RunViewer
from sonosteer.safety.gate import Gate
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import EXACT
from sonosteer.safety.regions import Covariance, Region
from sonosteer.safety.robot import Robot
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.publisher import Publisher, check_publishable
from sonosteer.sources.opening import open_source
from sonosteer.sources.poses import MAX_OUT_OF_PLANE_MM
from sonosteer.trackers.table import make_tracker

FIRST_FRAME_S = 5.0  # chosen: a source that is open has sent its first picture already
POSE_AGE_S = 0.5  # chosen: the pose that a target in the world is brought into the picture with


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveInsertionConfig:
    """What is inserted, on which source, with which robot. Exactly one target is given."""

    source: str
    """Address of the live source, such as `igtl://scanner:18944`."""
    enters: Literal["left", "right"]
    """Side of the picture that the needle comes from."""
    target_mm: Point | None = None
    """Target in the first picture, mm from its upper left corner: (x, y)."""
    target_world_mm: Vector | None = None
    """Target in the world that the pictures have their place in, mm."""
    rig: Path | None = None
    """Rig file of the robot. None: there is no robot, which only a dry run allows."""
    dry_run: bool = False
    """True where nothing is sent to the robot. What would have been ordered is recorded."""
    angle_rad: float | None = None
    """Planned angle of the needle, rad below the horizontal. None: where the robot has it when the run begins."""
    policy: str = "vla"
    """Name of the policy, see `policies.table`."""
    mode: Literal["ips", "ipm"] = "ips"
    """Technique: the probe stands still (ips) or moves along (ipm)."""
    tracker: str = "vla"
    """Name of the tracker that the policy sees through."""
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the policy."""
    tracker_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the tracker."""
    start_px: Point | None = None
    """Tip in the first picture, px: a click. None: the tracker finds it."""
    spacing: Spacing | None = None
    """Millimetres per pixel. None: as the source says."""
    orientation: str | None = None
    """Of OpenIGTLink, where x and y of the pictures point, as in MF. None: as the sender says."""
    calibration: Calibration | None = None
    """Calibration of the picture to its probe. It gives the scale, and the way to the world with `probe`."""
    probe: str | None = None
    """Name of the transform that the sender gives of the probe, such as ProbeToTracker."""
    pace: Pace = field(default_factory=Pace)
    """Period of control, and when the run is given up. What it says of the branches does not count."""
    regions: tuple[Region, ...] = ()
    """Where the tip must not go, mm of the first picture."""
    calibration_mm2: Covariance = EXACT
    """Error of the image's calibration beside that of the files: xx, xy and yy of its covariance, mm^2."""
    paused: bool = False
    """True for a run that begins paused: nothing moves until the operator's button says resume."""
    publish: str | None = None
    """Address at which what is known of each frame is published, such as `igtl://:18950`. None: nowhere."""

    def __post_init__(self) -> None:
        if (self.target_mm is None) == (self.target_world_mm is None):
            raise InputError("one target is needed: `target_mm` in the first picture, or `target_world_mm`")
        if self.rig is None and not self.dry_run:
            raise InputError("a live insertion needs a robot: give its `rig` file, or `dry_run` to move nothing")
        if self.rig is None and self.angle_rad is None:
            raise InputError("without a `rig` nobody measures the needle's angle: give `angle_deg`")
        if self.probe is not None and self.calibration is None:
            raise InputError("`probe` names the pose for a calibration: give `calibration`, too")
        if self.calibration is not None and self.spacing is not None:
            raise InputError("`calibration` says the scale: leave out `spacing_mm`")
        if self.enters not in ("left", "right"):
            raise InputError(f"`enters` is {self.enters!r}: left and right are possible")


@dataclass
class LiveEpisode:
    """Everything of one live insertion before it begins. Close it, whatever happens."""

    config: LiveInsertionConfig
    """What it was built from."""
    source: LiveSource
    """The pictures. Its clock is the run's."""
    task: Task
    """What the policy is told to do."""
    hint: Hint
    """What the operator tells the tracker of the first frame."""
    robot: Robot
    """What carries out cleared commands."""
    tracker: Tracker[Any]
    """Who looks for the tip."""
    policy: Policy[Any]
    """Who decides."""
    gate: Gate
    """The safety gate, with the rig's limits and the error of all calibrations."""
    publisher: InsertionPublisher | None = None
    """Where what is known of each frame is published. None: nowhere."""

    def aim(self, target_px: Point, regions: tuple[Region, ...]) -> None:
        """Take another target and other regions, before the run begins. target_px: in the first picture, px."""
        self.task = dataclasses.replace(self.task, target_px=target_px)
        self.gate = dataclasses.replace(self.gate, regions=regions)

    def close(self) -> None:
        """Hold and let go of the robot, then of source and publisher. May be called twice."""
        with contextlib.ExitStack() as all_of_them:
            if self.publisher is not None:
                all_of_them.callback(self.publisher.close)
            all_of_them.callback(self.source.close)
            all_of_them.callback(self.robot.close)


@dataclass
class LiveResult:
    """What came of a live insertion."""

    run: Run
    """What the loop says: decisions, frames by outcome, and why it ended."""
    task: Task
    """What the policy was told to do."""
    refused: Counter[str]
    """Number of actions that the gate refused, or in a dry run would have refused, by rule."""
    held_because: Counter[str]
    """Number of control periods at hold, by rule."""
    source: Mapping[str, Any]
    """Account of the stream: counts, offset of the clocks, faults."""
    dry_run: bool
    """True where nothing was sent."""
    published: Mapping[str, Any] | None
    """Account of the publisher: frames, clients. None where nothing was published."""
    errors_mm: F64
    """(n, 2) time in s and distance of the tip from the target in mm, as tracked, a row per picture with a tip."""
    truths: list[NeedleTruth] = field(default_factory=list)
    """The true needle: nobody knows it here."""

    @property
    def seen_from_target_mm(self) -> float | None:
        """Distance of tip and target in the last picture with a tip, as the tracker saw it, mm. None without one."""
        return float(self.errors_mm[-1, 1]) if len(self.errors_mm) else None

    def summary(self) -> dict[str, Any]:
        """Return the numbers that `insert --json` prints. success is None: nobody knows the truth."""
        run = self.run
        rates = run.ledger.rates_hz(run.time_s)
        seen_mm = self.seen_from_target_mm
        return {
            "success": None,
            "stopped": run.stopped,
            "reason": run.ended,
            "dry_run": self.dry_run,
            "final_error_mm": None,
            "seen_from_target_mm": None if seen_mm is None else round(seen_mm, 3),
            "time_s": round(run.time_s, 3),
            "frames": run.ledger.frames,
            "actions": run.decisions,
            "tracking_hz": round(rates.get("estimate", 0.0), 2),
            "action_hz": round(rates.get("decision", 0.0), 2),
            "refused": dict(self.refused),
            "source": self.source,
            **({} if self.published is None else {"published": self.published}),
        }


def build_live_episode(config: LiveInsertionConfig) -> LiveEpisode:
    """Open source and robot, and bring the target into the first picture. Nothing moves.

    Raises InputError for what cannot be done, and RobotError for a robot that cannot be opened.
    """
    rig_file = None if config.rig is None else read_rig(config.rig)
    policy = make_policy(config.policy, **config.policy_settings)
    tracker = with_fields(make_tracker(config.tracker, **config.tracker_settings), waits=False)
    tracker.prepare()  # before pictures come
    policy.prepare()
    with contextlib.ExitStack() as opened:
        source = _open(config)
        opened.callback(source.close)
        check_clip(source.info, 0)
        check_method(source.info, tracker, config.tracker)
        publisher = _publisher(config, source)
        if publisher is not None:
            opened.callback(publisher.close)
        robot = _robot(config, source)
        opened.callback(robot.close)
        first = source.next_frame(FIRST_FRAME_S)
        if first is None:
            raise InputError(f"{source.info.name}: no picture for {FIRST_FRAME_S:g} s: is the scanner frozen?")
        task = _task(config, source, first, robot.read())
        episode = LiveEpisode(
            config=config,
            source=source,
            task=task,
            hint=Hint(enters=config.enters, start_px=config.start_px),
            robot=robot,
            tracker=tracker,
            policy=policy,
            gate=_gate(config, rig_file, task.spacing),
            publisher=publisher,
        )
        opened.pop_all()
    return episode


def _open(config: LiveInsertionConfig) -> LiveSource:
    spacing = config.spacing if config.calibration is None else config.calibration.spacing
    source = open_source(config.source, spacing=spacing, orientation=config.orientation)
    if not is_live(source):
        source.close()
        raise InputError(f"{config.source} is no live source: give igtl://HOST:PORT or video:DEVICE")
    return source  # type: ignore[return-value]


def _publisher(config: LiveInsertionConfig, source: LiveSource) -> InsertionPublisher | None:
    if config.publish is None:
        return None
    address = parse_address(config.publish)
    check_publishable(address)
    return InsertionPublisher(Publisher(address, source.clock, to_wall_s=source.to_wall_s), source.clock)


def _robot(config: LiveInsertionConfig, source: LiveSource) -> Robot:
    if config.rig is not None:
        return open_rig(config.rig, source.clock, dry_run=config.dry_run)
    assert config.angle_rad is not None
    return HoldRobot(source.clock, config.angle_rad)


def _gate(config: LiveInsertionConfig, rig_file: RigFile | None, spacing: Spacing) -> Gate:
    """The gate with the rig's limits. Errors of calibrations are independent, so their covariances add."""
    limits = Limits() if rig_file is None else rig_file.limits
    errors = [config.calibration_mm2]
    if config.calibration is not None:
        errors.append(gate_covariance([config.calibration]))
    if rig_file is not None:
        errors.append(rig_file.calibration_mm2)
    xx, xy, yy = (float(v) for v in np.sum(errors, axis=0))
    return Gate(limits, config.regions, spacing, (xx, xy, yy))


def _task(config: LiveInsertionConfig, source: LiveSource, first: Frame, robot_state: RobotState) -> Task:
    """What is to be done, as in the first picture. Raises InputError for a target that is not in it."""
    if first.spacing is None:
        raise InputError(f"{source.info.name} does not say its scale: give `spacing_mm`, or `calibration`")
    x_mm, y_mm = config.target_mm or _target_in_picture(config, source, first)
    x, y = first.spacing.to_px((x_mm, y_mm))
    width, height = first.size_px
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        raise InputError(
            f"the target lies at {x_mm:.1f},{y_mm:.1f} mm of the picture, which is "
            f"{(width - 1) * first.spacing.x_mm:.1f} x {(height - 1) * first.spacing.y_mm:.1f} mm large"
        )
    technique: Literal["in-plane-static", "in-plane-moving"]
    technique = "in-plane-moving" if config.mode == "ipm" else "in-plane-static"
    angle_rad = robot_state.insertion_angle_rad if config.angle_rad is None else config.angle_rad
    return Task((x, y), technique, angle_rad, config.enters, first.spacing)


def _target_in_picture(config: LiveInsertionConfig, source: LiveSource, first: Frame) -> Point:
    """A target of the world in mm of the first picture. Raises InputError if it lies off its plane."""
    assert config.target_world_mm is not None
    T_image_world: Matrix = np.asarray(np.linalg.inv(_place_of_image(config, source, first)), dtype=np.float64)
    x, y, z = transform_point(T_image_world, config.target_world_mm)
    if not abs(z) <= MAX_OUT_OF_PLANE_MM:
        raise InputError(
            f"the target lies {abs(z):.1f} mm off the picture's plane; {MAX_OUT_OF_PLANE_MM:g} mm are allowed: move "
            "the probe"
        )
    return x, y


def _place_of_image(config: LiveInsertionConfig, source: LiveSource, first: Frame) -> Matrix:
    """4x4 matrix, mm of the first picture -> mm of the world."""
    if config.calibration is None:
        if first.T_world_image is None:
            raise InputError(
                f"{source.info.name} has no place in a world: give `calibration` and `probe`, or `target_mm`"
            )
        return first.T_world_image
    pose = getattr(source, "pose", None)
    if pose is None or config.probe is None:
        raise InputError(
            "a target in the world needs the probe's pose with `calibration`: give `probe`, the name of a transform "
            "that the sender gives over OpenIGTLink"
        )
    T_probe_image = config.calibration.transform("probe", "image")
    T: Matrix = np.asarray(pose(config.probe, POSE_AGE_S) @ T_probe_image.matrix, dtype=np.float64)
    return T


def run_live_episode(
    episode: LiveEpisode,
    *,
    recorder: Recorder | None = None,
    watch: Callable[[Frame, Observation | None], None] | None = None,
    button: Button | None = None,
    viewer: RunViewer | None = None,
) -> LiveResult:
    """Carry out a live insertion until the policy stops, nothing moves for too long, or time is up.

    watch: told of every image, with the newest observation. button: the operator's. viewer: is shown every control
    period. The robot holds at the end.
    """
    config, task = episode.config, episode.task
    clock, publisher = episode.source.clock, episode.publisher
    seen_mm: dict[int, tuple[float, float]] = {}

    def look(now_s: float, capture: Capture | None, seen: Observation | None) -> str | None:
        if seen is not None and isinstance(seen.estimate, TipEstimate):
            tip, target = task.spacing.to_mm(seen.estimate.tip_px), task.spacing.to_mm(seen.target_px)
            seen_mm[seen.frame_index] = seen.capture_time_s, math.dist(tip, target)
        if capture is not None and watch is not None:
            watch(capture.frame, seen)
        if publisher is not None:
            publisher.look(now_s)
        return None

    tracking_branch = TrackingBranch.open(episode.tracker, task, episode.hint, episode.policy)
    if publisher is not None:
        tracking_branch = PublishedTracking(**vars(tracking_branch), publisher=publisher)
        publisher.begin()
    policy_branch = PolicyBranch.open(episode.policy, task)
    begins = {"held": "the run begins paused"} if config.paused else {}
    control_branch = ControlBranch.open(
        episode.gate,
        episode.robot,
        task,
        clock.now_s(),
        recorder=recorder or NoRecorder(),
        dry_run=config.dry_run,
        **begins,
    )
    run = insert_live(
        LiveCamera(episode.source),
        tracking_branch,
        policy_branch,
        control_branch,
        clock,
        config.pace,
        watch=look,
        button=button,
        viewer=viewer,
    )
    account = stream_account(episode.source)
    control_branch.recorder.write("/source", clock.now_s(), account)
    return LiveResult(
        run=run,
        task=task,
        refused=control_branch.refused,
        held_because=control_branch.held_because,
        source=account,
        dry_run=config.dry_run,
        published=None if publisher is None else publisher.summary(),
        errors_mm=np.array(list(seen_mm.values()), np.float64).reshape(-1, 2),
    )
