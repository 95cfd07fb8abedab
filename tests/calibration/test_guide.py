"""Needle guide to image."""

from __future__ import annotations

import numpy as np
import pytest

from sonosteer.calibration.guide import fit_guide
from sonosteer.calibration.simulated import guide_recording


def test_a_guide_that_turns_tells_where_and_which_way():
    r = guide_recording(np.random.default_rng(0))
    found = fit_guide(r.tips_mm, r.depth_mm, r.angle_rad)
    assert found.sense == -1
    assert found.origin_mm == pytest.approx([-10.0, 5.0], abs=1.5)
    assert found.length_mm == pytest.approx(12.0, abs=1.5)
    assert found.tip_mm(np.array([50.0]), np.zeros(1))[0] == pytest.approx(r.deepest_mm, abs=0.5)


def test_a_guide_at_one_angle_is_a_line():
    r = guide_recording(np.random.default_rng(1), turn_rad=0.0)
    found = fit_guide(r.tips_mm, r.depth_mm, r.angle_rad)
    assert found.length_mm == 0.0
    assert len(found.fit.covariance) == 3
    assert found.tip_mm(np.array([50.0]), np.zeros(1))[0] == pytest.approx(r.deepest_mm, abs=0.5)


def test_a_turned_picture_turns_the_guide():
    r = guide_recording(np.random.default_rng(2))
    c, s = np.cos(0.3), np.sin(0.3)
    here = fit_guide(r.tips_mm, r.depth_mm, r.angle_rad)
    there = fit_guide(r.tips_mm @ np.array([[c, s], [-s, c]]), r.depth_mm, r.angle_rad)
    assert there.angle_rad == pytest.approx(here.angle_rad + 0.3, abs=1e-4)
    assert there.length_mm == pytest.approx(here.length_mm, abs=1e-3)
    assert np.trace(there.tip_covariance(50.0, 0.0)) == pytest.approx(
        np.trace(here.tip_covariance(50.0, 0.0)), rel=1e-3
    )
