"""A X = Y B: robot to tracker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.calibration.hand_eye import fit_hand_eye, start_hand_eye
from sonosteer.calibration.simulated import hand_eye_recording, random_pose
from sonosteer.core.frames import inverse_rigid


@given(st.integers(0, 10_000))
def test_four_pairs_without_noise_tell_both_unknowns(seed):
    rng = np.random.default_rng(seed)
    X, Y = random_pose(rng, 1.5, 80.0), random_pose(rng, 1.5, 900.0)
    A = np.stack([random_pose(rng, 1.0, 300.0) for _ in range(4)])
    found = start_hand_eye(A, inverse_rigid(Y) @ A @ X)
    assert found is not None
    assert np.allclose(found[0], X, atol=1e-4)
    assert np.allclose(found[1], Y, atol=1e-4)


@settings(max_examples=4)
@given(st.integers(0, 10_000))
def test_it_is_the_same_seen_from_another_base_and_another_tracker(seed):
    rng = np.random.default_rng(seed)
    r = hand_eye_recording(rng, 12)
    P, Q = random_pose(rng, 1.5, 300.0), random_pose(rng, 1.5, 300.0)
    here = fit_hand_eye(r.T_base_hand, r.T_tracker_marker)
    there = fit_hand_eye(P @ r.T_base_hand, Q @ r.T_tracker_marker)
    assert np.allclose(there.T_hand_marker, here.T_hand_marker, atol=1e-3)
    assert np.allclose(there.T_base_tracker, P @ here.T_base_tracker @ inverse_rigid(Q), atol=2e-3)


def test_pairs_that_are_wrong_are_left_out():
    r = hand_eye_recording(np.random.default_rng(2), wrong=0.0)
    B = r.T_tracker_marker.copy()
    B[[1, 9], :3, 3] += 12.0
    found = fit_hand_eye(r.T_base_hand, B)
    assert np.flatnonzero(~found.fit.used).tolist() == [1, 9]
    assert np.linalg.norm((found.T_hand_marker - r.T_hand_marker)[:3, 3]) < 0.4


def test_a_hand_that_turns_about_one_axis_gives_no_beginning():
    c = np.array([random_pose(np.random.default_rng(i), 0.0, 100.0) for i in range(4)])
    assert start_hand_eye(c, c) is None or not np.allclose(start_hand_eye(c, c)[0], np.eye(4))


def test_the_error_of_a_rotation_is_told_in_radians():
    r = hand_eye_recording(np.random.default_rng(3))
    found = fit_hand_eye(r.T_base_hand, r.T_tracker_marker)
    assert found.fit.noise[0] == pytest.approx(0.001, rel=0.4)
    assert found.fit.noise[1] == pytest.approx(0.2, rel=0.5)
