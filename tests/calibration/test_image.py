"""Image to probe, from points and from wires."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.calibration.image import (
    ImageState,
    fit_points,
    image_jacobian,
    image_points_mm,
    turn_between,
    worst_corner,
)
from sonosteer.calibration.poses import applied
from sonosteer.calibration.simulated import (
    SIZE_PX,
    fit_wire_recording,
    point_recording,
    random_pose,
    wire_recording,
)


def place(state: ImageState, px) -> np.ndarray:
    return applied(state.T_probe_image, image_points_mm(state, np.array([px], float)))[0]


def test_points_without_noise_are_explained_exactly():
    r = point_recording(np.random.default_rng(0), 12, wrong=0.0)
    world = applied(r.T_world_probe, applied(r.truth.T_probe_image, image_points_mm(r.truth, r.px)))
    found = fit_points(r.px, r.T_world_probe, world)
    assert found.state.spacing_mm == pytest.approx(r.truth.spacing_mm, rel=1e-6)
    assert np.allclose(found.state.T_probe_image, r.truth.T_probe_image, atol=1e-4)


@settings(max_examples=5)
@given(st.integers(0, 10_000))
def test_points_do_not_know_where_the_world_begins(seed):
    rng = np.random.default_rng(seed)
    r = point_recording(rng, 16)
    W = random_pose(rng, 2.0, 500.0)
    here = fit_points(r.px, r.T_world_probe, r.world_mm)
    there = fit_points(r.px, W @ r.T_world_probe, applied(W, r.world_mm))
    assert there.state.spacing_mm == pytest.approx(here.state.spacing_mm, rel=1e-5)
    assert np.allclose(there.state.T_probe_image, here.state.T_probe_image, atol=1e-3)


def test_the_jacobian_is_the_change_of_a_place():
    rng = np.random.default_rng(4)
    state, px = ImageState(np.array([0.08, 0.11]), random_pose(rng, 1.0, 50.0)), np.array([500.0, 90.0])
    r = point_recording(rng, 12)
    from sonosteer.calibration.image import points_problem

    moved = points_problem(r.px, r.T_world_probe, r.world_mm).moved
    J = image_jacobian(state, px)
    for i in range(8):
        h = np.zeros(8)
        h[i] = 1e-6
        change = (place(moved(state, h), px) - place(moved(state, -h), px)) / 2e-6
        assert J[:, i] == pytest.approx(state.T_probe_image[:3, :3].T @ change, abs=1e-4)


def test_the_worst_corner_claims_more_than_the_middle():
    r = point_recording(np.random.default_rng(5))
    found = fit_points(r.px, r.T_world_probe, r.world_mm)
    corner, P = worst_corner(found, SIZE_PX)
    assert corner[0] in (0, SIZE_PX[0] - 1)
    middle = image_jacobian(found.state, (np.array(SIZE_PX) - 1) / 2)
    assert np.sqrt(np.trace(P)) > found.fit.sd_of(middle)


def test_wires_of_a_phantom_that_stands_somewhere_tell_scale_and_place():
    r = wire_recording(np.random.default_rng(6))
    found = fit_wire_recording(r, known=False)
    assert found.state.spacing_mm == pytest.approx(r.truth.spacing_mm, rel=0.01)
    assert turn_between(found.state.T_probe_image[:3, :3], r.truth.T_probe_image[:3, :3]) < 0.02
    assert np.linalg.norm(place(found.state, (320, 240)) - place(r.truth, (320, 240))) < 1.0
    assert found.state.T_world_phantom is not None


def test_a_known_phantom_needs_no_tilting():
    r = wire_recording(np.random.default_rng(7), tilt_rad=0.0)
    found = fit_wire_recording(r, known=True)
    assert found.fit.condition < 100
    assert np.linalg.norm(place(found.state, (320, 240)) - place(r.truth, (320, 240))) < 0.7
