"""Poses beside the pictures of a sequence, and a sequence with a calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sonosteer.calibration.record import Calibration, rows_of, stored
from sonosteer.calibration.verdict import Check
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing, rigid, transform_point
from sonosteer.core.types import Frame
from sonosteer.sources.calibrated import WithCalibration
from sonosteer.sources.in_memory import FramesInMemory
from sonosteer.sources.metaimage import MetaImageSequence
from sonosteer.sources.sequence_poses import read_poses

CHECK = Check(
    observations=9,
    used=9,
    rms=0.1,
    held_out_rms=0.1,
    max_held_out=0.2,
    unit="mm",
    sd=0.1,
    jackknife_sd=0.1,
    sd_unit="mm",
    condition=5.0,
)
T_PROBE_IMAGE = rigid(np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]]), (5.0, 0.0, 2.0))
IMAGE = Calibration(
    kind="image",
    method="points",
    inputs=(),
    parameters=("x_mm",),
    covariance=((0.01,),),
    check=CHECK,
    transforms=(stored("probe", "image", T_PROBE_IMAGE),),
    spacing_mm=(0.2, 0.1),
    size_px=(6, 4),
    gate_mm2=(0.01, 0.0, 0.01),
)


@pytest.fixture
def sequence(tmp_path):
    """Three frames, the second of which PLUS calls invalid, with poses of probe and stylus."""

    def write(change=lambda i, T: T):
        lines = ["ObjectType = Image", "NDims = 3", "DimSize = 6 4 3", "Kinds = domain domain list"]
        lines += ["ElementSpacing = 1 1 1", "ElementType = MET_UCHAR", "UltrasoundImageOrientation = MF"]
        for i in range(3):
            at = change(i, rigid(np.eye(3), (10.0 * i, 20.0, 300.0)))
            for name, T in (("Probe", at), ("Stylus", at @ rigid(np.eye(3), (0.0, 1.0, 0.0)))):
                numbers = " ".join(f"{v:g}" for v in T.ravel())
                lines.append(f"Seq_Frame{i:04}_{name}ToTrackerTransform = {numbers}")
                status = "INVALID" if (i, name) == (2, "Stylus") else "OK"
                lines.append(f"Seq_Frame{i:04}_{name}ToTrackerTransformStatus = {status}")
            lines.append(f"Seq_Frame{i:04}_Timestamp = {5.0 + 0.1 * i}")
            lines.append(f"Seq_Frame{i:04}_ImageStatus = {'INVALID' if i == 1 else 'OK'}")
        lines.append("ElementDataFile = LOCAL\n")
        path = tmp_path / "s.igs.mha"
        path.write_bytes("\n".join(lines).encode() + bytes(72))
        return path

    return write


def test_poses_are_numbered_as_the_frames_are_read(sequence):
    poses = read_poses(sequence(), "ProbeToTracker")
    assert poses.frames == (0, 1)  # the stored frames 0 and 2
    assert poses.T[1, 0, 3] == 20.0
    assert poses.times_s == pytest.approx((0.0, 0.2))
    stylus = read_poses(sequence(), "StylusToTracker")
    assert stylus.frames == (0,)
    assert stylus.invalid == {1}


def test_a_transform_must_be_named_and_there(sequence):
    with pytest.raises(InputError, match="2 transforms: name one of ProbeToTracker, StylusToTracker"):
        read_poses(sequence())
    with pytest.raises(InputError, match="no transform NeedleToTracker"):
        read_poses(sequence(), "NeedleToTracker")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, T: T @ np.diag([1, 1, -1.0, 1]), "ProbeToTracker of frame 0 is left-handed"),
        (lambda i, T: T @ np.diag([0.1, 0.1, 0.1, 1]), "scaled rotation"),
        (lambda i, T: rigid(T[:3, :3], tuple(1e-3 * T[:3, 3])), "metres"),
    ],
)
def test_what_is_no_pose_is_refused(sequence, change, said):
    with pytest.raises(InputError, match=said):
        read_poses(sequence(change), "ProbeToTracker")


def test_a_calibration_gives_scale_and_world(sequence):
    clip = WithCalibration(MetaImageSequence(sequence()), IMAGE)
    assert clip.info.spacing == Spacing(0.2, 0.1)
    assert clip.info.world == "Tracker"
    frames = list(clip.frames())
    assert len(frames) == 2
    x_mm, y_mm = frames[1].spacing.to_mm((5.0, 3.0))
    # image (1, 0.3) -> probe (5 - 0.3, 1, 2) -> tracker (+20, +20, +300)
    assert transform_point(frames[1].T_world_image, (x_mm, y_mm, 0.0)) == pytest.approx((24.7, 21.0, 302.0))
    clip.close()


@pytest.mark.parametrize(
    ("calibration", "transform", "said"),
    [
        (replace(IMAGE, size_px=(7, 4)), None, "6 x 4 px, and the calibration is of 7 x 4"),
        (IMAGE, "NeedleToTracker", "no transform NeedleToTracker"),
        (replace(IMAGE, kind="clock", lag_s=0.1), None, "a clock calibration does not say"),
    ],
)
def test_a_calibration_of_something_else_is_refused(sequence, calibration, transform, said):
    with pytest.raises(InputError, match=said):
        WithCalibration(MetaImageSequence(sequence()), calibration, transform)


def test_a_clip_without_poses_or_of_another_scale_is_refused(sequence):
    with pytest.raises(InputError, match="calibrate at this depth"):
        WithCalibration(MetaImageSequence(sequence(), spacing=Spacing(0.3, 0.1)), IMAGE)
    with pytest.raises(InputError, match="has no poses"):
        WithCalibration(FramesInMemory([Frame(np.zeros((4, 6), np.uint8), index=0, time_s=0.0)]), IMAGE)


def test_track_takes_a_calibration(sequence, tmp_path, capsys):
    from sonosteer.calibration.record import write_calibration
    from sonosteer.commands.main import main

    assert rows_of(np.eye(2)) == ((1.0, 0.0), (0.0, 1.0))
    write_calibration(tmp_path / "c.toml", IMAGE)
    for words, said in (
        (["--spacing-mm", "0.1", "--calibration", str(tmp_path / "c.toml")], "leave out --spacing-mm"),
        (["--probe", "ProbeToTracker"], "give --calibration, too"),
        (["--probe", "NeedleToTracker", "--calibration", str(tmp_path / "c.toml")], "no transform NeedleToTracker"),
    ):
        with pytest.raises(SystemExit) as e:
            main(["track", str(sequence()), "--out", str(tmp_path / "out"), *words])
        assert e.value.code == 2
        assert said in capsys.readouterr().err
