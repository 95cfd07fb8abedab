"""The tip of a tool that pivots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.calibration.pivot import fit_pivot
from sonosteer.calibration.poses import applied
from sonosteer.calibration.simulated import pivot_recording, random_pose


def test_without_noise_it_is_exact():
    r = pivot_recording(np.random.default_rng(0), wrong=0.0)
    T = r.T_world_tool.copy()
    T[:, :3, 3] = r.pivot_mm - T[:, :3, :3] @ r.tip_mm
    found = fit_pivot(T)
    assert found.tip_mm == pytest.approx(r.tip_mm, abs=1e-6)
    assert found.pivot_mm == pytest.approx(r.pivot_mm, abs=1e-6)


def test_slipped_poses_are_left_out():
    r = pivot_recording(np.random.default_rng(1), wrong=0.0)
    T = r.T_world_tool.copy()
    T[[3, 17, 30], :3, 3] += 15.0
    found = fit_pivot(T)
    assert not found.fit.used[[3, 17, 30]].any()
    assert np.linalg.norm(found.tip_mm - r.tip_mm) < 0.4


@settings(max_examples=6)
@given(st.integers(0, 10_000))
def test_the_tip_does_not_know_where_the_world_begins(seed):
    rng = np.random.default_rng(seed)
    r = pivot_recording(rng, 16)
    W = random_pose(rng, 2.0, 500.0)
    here, there = fit_pivot(r.T_world_tool), fit_pivot(W @ r.T_world_tool)
    sd_mm = here.fit.sd_of(np.eye(6)[:3])
    if not np.array_equal(here.fit.used, there.fit.used):  # one seed in 24: a pose at the edge of being left out
        assert there.tip_mm == pytest.approx(here.tip_mm, abs=2 * sd_mm)
        return
    assert there.tip_mm == pytest.approx(here.tip_mm, abs=1e-4)
    assert there.pivot_mm == pytest.approx(applied(W, here.pivot_mm), abs=1e-4)
    assert there.fit.sd_of(np.eye(6)[:3]) == pytest.approx(sd_mm, rel=1e-3)


@settings(max_examples=6)
@given(st.integers(0, 10_000))
def test_another_frame_of_the_tool_moves_the_tip_with_it(seed):
    rng = np.random.default_rng(seed)
    r = pivot_recording(rng, 16)
    V = random_pose(rng, 2.0, 50.0)
    here, there = fit_pivot(r.T_world_tool), fit_pivot(r.T_world_tool @ V)
    same = np.array_equal(here.fit.used, there.fit.used)
    within_mm = 1e-4 if same else 2 * here.fit.sd_of(np.eye(6)[:3])
    assert applied(V, there.tip_mm) == pytest.approx(here.tip_mm, abs=within_mm)
