"""Transforms cancel like fractions, and what moves no rigid body is refused with what is wrong with it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sonosteer.core.errors import InputError
from sonosteer.core.frames import Transform, check_rigid, inverse_rigid
from sonosteer.core.geometry import rigid

angle = st.floats(-3.0, 3.0)
length = st.floats(-1000.0, 1000.0)
matrices = st.builds(
    lambda a, b, c, x, y, z: rigid(Rotation.from_rotvec([a, b, c]).as_matrix(), (x, y, z)),
    *(angle, angle, angle),
    *(length, length, length),
)


@given(matrices, matrices, matrices)
def test_inner_names_cancel(A, B, C):
    T = Transform("world", "probe", A) @ Transform("probe", "image", B) @ Transform("image", "tip", C)
    assert (T.to, T.of) == ("world", "tip")
    assert np.allclose(T.matrix, A @ B @ C, atol=1e-6)


@given(matrices)
def test_an_inverse_undoes(A):
    T = Transform("world", "probe", A)
    assert (T.inverse().to, T.inverse().of) == ("probe", "world")
    assert np.allclose((T @ T.inverse()).matrix, np.eye(4), atol=1e-9 * 1e3)
    assert np.allclose(inverse_rigid(A), np.linalg.inv(A), atol=1e-6)


@given(matrices, st.lists(st.tuples(length, length, length), min_size=1, max_size=5))
def test_points_go_where_the_matrix_says(A, points):
    p = np.array(points)
    assert np.allclose(Transform("world", "probe", A).apply(p), (np.c_[p, np.ones(len(p))] @ A.T)[:, :3], atol=1e-6)


def test_what_does_not_cancel_is_refused_with_both_names():
    with pytest.raises(InputError, match="T_world_probe @ T_image_tip: probe and image do not cancel"):
        Transform("world", "probe", np.eye(4)) @ Transform("image", "tip", np.eye(4))


def test_the_matrix_inside_is_locked_also_after_pickling():
    T = pickle.loads(pickle.dumps(Transform("world", "probe", np.eye(4))))
    with pytest.raises(ValueError, match="read-only"):
        T.matrix[0, 0] = 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda T: T[:3], "4 x 4"),
        (lambda T: np.where(T == 5.0, np.nan, T), "no finite number"),
        (lambda T: T.T, "transposed"),
        (lambda T: T * [[1], [1], [1], [2]], "last row"),
        (lambda T: T @ np.diag([0.1, 0.1, 0.1, 1.0]), "scaled rotation.*0.1, 0.1, 0.1"),
        (lambda T: T @ np.diag([1.0, 1.0, -1.0, 1.0]), "left-handed"),
        (lambda T: T @ np.array([[1, 0.5, 0, 0], [0, 0.75**0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "perpendicular"),
    ],
)
def test_what_is_no_rigid_motion_is_named(change, said):
    T = rigid(Rotation.from_rotvec([0.3, 0.2, 0.1]).as_matrix(), (5.0, 6.0, 7.0))
    with pytest.raises(InputError, match=said):
        check_rigid(change(T), "T")


def test_a_matrix_printed_with_few_digits_is_made_exact():
    T = np.round(rigid(Rotation.from_rotvec([0.3, 0.2, 0.1]).as_matrix(), (5.0, 6.0, 7.0)), 4)
    R = check_rigid(T, "T")[:3, :3]
    assert np.allclose(R.T @ R, np.eye(3), atol=1e-12)
