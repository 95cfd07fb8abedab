"""What a live insertion is put together from: target, robot, gate. Nothing runs here."""

import math
from pathlib import Path

import numpy as np
import pytest

from sonosteer.calibration.record import Calibration, stored
from sonosteer.calibration.verdict import Check
from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing, rigid
from sonosteer.core.live import StreamCounts
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame
from sonosteer.episodes import live_insertion
from sonosteer.episodes.live_insertion import LiveInsertionConfig, build_live_episode
from sonosteer.robots.hold import HoldRobot

SPACING = Spacing(0.2, 0.1)
SOURCE = "igtl://scanner:18944"
T_WORLD_IMAGE = rigid(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (5.0, -3.0, 40.0))
T_WORLD_PROBE = rigid(np.eye(3), (1.0, 2.0, 3.0))
RIG = 'format = "sonosteer rig"\nversion = 1\n[needle]\nkind = "line"\naddress = "tcp://127.0.0.1:1"\nzero = "here"\n'


class Scanner:
    def __init__(self, spacing=SPACING, T_world_image=None, size=(300, 200)):
        self.info = SourceInfo("scanner", "live", size, None, None, spacing)
        self.clock, self.closed = SimulatedClock(), False
        self._frame = Frame(np.zeros(size[::-1], np.uint8), 0, 0.0, spacing, T_world_image=T_world_image)

    def next_frame(self, timeout_s):
        return self._frame

    def frames(self, start=0, stop=None):
        return iter(())

    def counts(self):
        return StreamCounts(received=1, seen=1, overwritten=0, waiting=0, bad={})

    def pose(self, name, max_age_s):
        if name != "ProbeToTracker":
            raise InputError(f"no transform {name!r} came")
        return T_WORLD_PROBE

    def close(self):
        self.closed = True


def calibration(kind="image"):
    return Calibration(
        kind=kind,
        method="points",
        inputs=(),
        parameters=("a_mm",),
        covariance=((1.0,),),
        check=CHECK,
        transforms=(stored("probe", "image", T_WORLD_IMAGE),),
        spacing_mm=(0.2, 0.1),
        gate_mm2=(0.3, 0.0, 0.5),
    )


CHECK = Check(
    observations=20,
    used=20,
    rms=0.1,
    held_out_rms=0.1,
    max_held_out=0.2,
    unit="mm",
    sd=0.1,
    jackknife_sd=0.1,
    sd_unit="mm",
    condition=3.0,
)


def build(monkeypatch, scanner=None, **more):
    scanner = scanner or Scanner()
    monkeypatch.setattr(live_insertion, "open_source", lambda where, **given: scanner)
    words = {"source": SOURCE, "enters": "left", "dry_run": True, "angle_rad": 0.6, "policy": "constant"}
    target = {} if "target_world_mm" in more else {"target_mm": (20.0, 10.0)}
    return build_live_episode(
        LiveInsertionConfig(**{**words, **target, "tracker": "lk", "start_px": (9.0, 9.0), **more})
    )


def test_a_target_in_the_picture_is_the_task_s(monkeypatch):
    episode = build(monkeypatch, regions=(), mode="ipm")
    assert episode.task.target_px == pytest.approx((100.0, 100.0))
    assert episode.task.technique == "in-plane-moving"
    assert episode.task.enters == "left"
    assert episode.task.angle_rad == 0.6
    assert episode.task.spacing == SPACING
    assert episode.hint.start_px == (9.0, 9.0)
    assert isinstance(episode.robot, HoldRobot)


def world_of(T, x_mm, y_mm, z_mm=0.0):
    x, y, z, _ = (T @ (x_mm, y_mm, z_mm, 1.0)).tolist()
    return x, y, z


def test_a_target_in_the_world_is_brought_into_the_picture_by_its_own_place(monkeypatch):
    target = world_of(T_WORLD_IMAGE, 20.0, 10.0, 0.5)
    episode = build(monkeypatch, Scanner(T_world_image=T_WORLD_IMAGE), target_world_mm=target)
    assert episode.task.target_px == pytest.approx((100.0, 100.0))


def test_a_target_in_the_world_is_brought_into_the_picture_by_a_calibration_and_the_probe_s_pose(monkeypatch):
    target = world_of(T_WORLD_PROBE @ T_WORLD_IMAGE, 20.0, 10.0)
    episode = build(monkeypatch, target_world_mm=target, calibration=calibration(), probe="ProbeToTracker")
    assert episode.task.target_px == pytest.approx((100.0, 100.0))


def test_errors_of_all_calibrations_reach_the_gate(monkeypatch):
    episode = build(monkeypatch, calibration=calibration(), calibration_mm2=(0.1, 0.0, 0.2))
    assert episode.gate.calibration_mm2 == pytest.approx((0.4, 0.0, 0.7))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"target_world_mm": (0.0, 0.0, 0.0)}, "has no place in a world"),
        ({"target_mm": (20.0, 10.0), "target_world_mm": (0.0, 0.0, 0.0)}, "one target is needed"),
        ({"target_mm": (90.0, 10.0)}, "the target lies at 90.0,10.0 mm of the picture, which is 59.8 x 19.9 mm large"),
        ({"angle_rad": None}, "nobody measures the needle's angle"),
        ({"dry_run": False}, "needs a robot"),
        ({"probe": "ProbeToTracker"}, "give `calibration`, too"),
        ({"calibration": calibration(), "spacing": SPACING}, "leave out `spacing_mm`"),
    ],
)
def test_what_cannot_be_done_is_one_line(monkeypatch, more, said):
    with pytest.raises(InputError, match=said):
        build(monkeypatch, **more)


def test_a_target_off_the_picture_s_plane_is_refused_and_everything_is_closed(monkeypatch):
    scanner = Scanner(T_world_image=T_WORLD_IMAGE)
    with pytest.raises(InputError, match=r"the target lies 4\.0 mm off the picture's plane"):
        build(monkeypatch, scanner, target_world_mm=world_of(T_WORLD_IMAGE, 20.0, 10.0, 4.0))
    assert scanner.closed


def test_a_pose_that_did_not_come_is_one_line(monkeypatch):
    words = {"target_world_mm": (0.0, 0.0, 0.0), "calibration": calibration()}
    for probe, said in (("StylusToTracker", "no transform"), (None, "needs the probe's pose")):
        with pytest.raises(InputError, match=said):
            build(monkeypatch, probe=probe, **words)


def test_a_picture_without_a_scale_is_refused(monkeypatch):
    scanner = Scanner(spacing=None)
    with pytest.raises(InputError, match="scale"):
        build(monkeypatch, scanner)
    assert scanner.closed


def test_a_robot_that_cannot_be_opened_closes_the_source(monkeypatch, tmp_path):
    (tmp_path / "rig.toml").write_text(RIG)
    scanner = Scanner()
    with pytest.raises(Exception, match=r"rig.toml: needle"):
        build(monkeypatch, scanner, rig=tmp_path / "rig.toml", dry_run=False)
    assert scanner.closed


def test_the_planned_angle_is_where_the_robot_has_it(monkeypatch):
    class Robot(HoldRobot):
        def __init__(self, clock):
            super().__init__(clock, math.radians(40))

    monkeypatch.setattr(live_insertion, "open_rig", lambda path, clock, dry_run: Robot(clock))
    monkeypatch.setattr(live_insertion, "read_rig", lambda path: live_insertion.RigFile(path, ()))
    episode = build(monkeypatch, rig=Path("rig.toml"), angle_rad=None, dry_run=False)
    assert episode.task.angle_rad == pytest.approx(math.radians(40))
