"""Tables of poses, marks, points and wires, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from written import write_matrices, write_poses, write_rows

from sonosteer.calibration.simulated import n_wires, pivot_recording
from sonosteer.calibration.tables import (
    read_image_marks,
    read_points,
    read_pose_table,
    read_signal,
    read_wires,
)
from sonosteer.core.errors import InputError

T = pivot_recording(np.random.default_rng(0), 10).T_world_tool


@pytest.mark.parametrize("write", [write_poses, write_matrices])
def test_quaternions_and_matrices_say_the_same(tmp_path, write):
    poses = read_pose_table(write(tmp_path / "p.csv", T))
    assert np.allclose(poses.T, T, atol=1e-6)
    assert poses.frames == tuple(range(10))
    assert poses.times_s is None
    assert np.allclose(poses.of((3, 3, 1), "x"), T[[3, 3, 1]], atol=1e-6)


def test_metres_that_say_so_are_turned_to_millimetres(tmp_path):
    assert np.allclose(read_pose_table(write_poses(tmp_path / "p.csv", T, unit="m")).T, T, atol=1e-5)


def test_metres_that_do_not_say_so_are_refused(tmp_path):
    small = T.copy()
    small[:, :3, 3] *= 1e-3
    with pytest.raises(InputError, match="seem to be in metres"):
        read_pose_table(write_poses(tmp_path / "p.csv", small))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (np.diag([1.0, 1.0, -1.0, 1.0]), "line 2: its matrix is left-handed"),
        (np.diag([0.2, 0.2, 0.2, 1.0]), "line 2: its matrix has a scaled rotation"),
    ],
)
def test_what_is_no_pose_is_refused_with_its_line(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        read_pose_table(write_matrices(tmp_path / "p.csv", T @ change))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frame,qw,qx,qy,qz,x_mm,y_mm,z_mm\n", "no poses"),
        ("frame,qw,qx,qy,qz,x_mm,y_mm,z_mm\n0,2,0,0,0,1,1,9\n", "length 2, not 1"),
        ("frame,qw,qx,qy,qz\n0,1,0,0,0\n", "x_mm,y_mm,z_mm"),
        ("frame,x_mm,y_mm,z_mm\n0,1,0,0\n", "a pose needs qw,qx,qy,qz"),
        ("frame,qw,qx,qy,qz,x_mm,y_mm,z_mm\n0,1,0,0,0,a,1,9\n", "x_mm is 'a'"),
        ("frame,qw,qx,qy,qz,x_mm,y_mm,z_mm\n0,1,0,0,0,1,1,9\n0,1,0,0,0,1,1,9\n", "a frame stands twice"),
        ("frame,qw,qx,qy,qz,x_mm,y_mm,z_mm\n0,1,0,0,0,1,1,9\n,1,0,0,0,1,1,9\n", "some have none"),
    ],
)
def test_a_wrong_table_of_poses_is_one_line(tmp_path, text, said):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_pose_table(tmp_path / "p.csv")


def test_a_frame_without_a_pose_is_named(tmp_path):
    with pytest.raises(InputError, match=r"marks\.csv names frame 99"):
        read_pose_table(write_poses(tmp_path / "p.csv", T)).of((1, 99), "marks.csv")


def test_lost_tips_are_no_marks(tmp_path):
    rows = [(0, 1.0, 2.0, "a"), (1, "", "", "b"), (2, 5.0, 6.0, "a")]
    marks = read_image_marks(write_rows(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px,wire", rows))
    assert marks.frames == (0, 2)
    assert marks.wires == ("a", "a")
    assert marks.px.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert marks.without(frozenset({0})).px.tolist() == [[5.0, 6.0]]
    with pytest.raises(InputError, match="no marks"):
        read_image_marks(write_rows(tmp_path / "m.csv", "frame,tip_x_px,tip_y_px", rows[1:2]))


def test_points_and_signals(tmp_path):
    frames, mm = read_points(write_rows(tmp_path / "p.csv", "frame,x_mm,y_mm,z_mm", [(4, 1.0, 2.0, 3.0)]))
    assert frames == (4,)
    assert mm.tolist() == [[1.0, 2.0, 3.0]]
    columns = "time_s,depth_mm"
    times, values = read_signal(write_rows(tmp_path / "s.csv", columns, [(0.0, 1.0), (0.5, ""), (1, 2)]), ("depth_mm",))
    assert times.tolist() == [0.0, 1.0]
    assert values.tolist() == [[1.0], [2.0]]
    with pytest.raises(InputError, match="must rise"):
        read_signal(write_rows(tmp_path / "s.csv", columns, [(0.0, 1.0), (0.0, 2.0)]), ("depth_mm",))


def test_wires_have_two_ends_and_names(tmp_path):
    wires = n_wires(2)
    columns = "wire,x1_mm,y1_mm,z1_mm,x2_mm,y2_mm,z2_mm"
    rows = [(n, *a, *b) for n, a, b in zip(wires.names, wires.a_mm, wires.b_mm, strict=True)]
    read = read_wires(write_rows(tmp_path / "w.csv", columns, rows))
    assert read.names == wires.names
    assert np.allclose(read.b_mm, wires.b_mm)
    for bad, said in (
        (rows[:3], "3 wires: five are needed"),
        ([*rows, rows[0]], "stands twice"),
        ([(rows[0][0], *rows[0][1:4], *rows[0][1:4]), *rows[1:]], "within 1 mm"),
    ):
        with pytest.raises(InputError, match=said):
            read_wires(write_rows(tmp_path / "w.csv", columns, bad))
