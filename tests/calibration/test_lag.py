"""The lag between picture and robot."""

from __future__ import annotations

import numpy as np
import pytest

from sonosteer.calibration.lag import fit_lag
from sonosteer.calibration.simulated import clock_recording
from sonosteer.core.errors import InputError


def found(r, **words):
    return fit_lag(r.times_s, r.px, r.robot_times_s, r.robot_mm, **words)


@pytest.mark.parametrize("lag_s", [-0.137, 0.0, 0.0912])
def test_it_is_found_between_the_samples(lag_s):
    fit = found(clock_recording(np.random.default_rng(1), lag_s=lag_s))
    assert fit.lag_s == pytest.approx(lag_s, abs=0.004)  # an eighth of a frame
    assert fit.rival_s is None


def test_a_shifted_clock_shifts_the_lag_by_as_much():
    r = clock_recording(np.random.default_rng(2), lag_s=0.05)
    early = fit_lag(r.times_s + 0.1, r.px, r.robot_times_s, r.robot_mm)
    assert early.lag_s == pytest.approx(found(r).lag_s + 0.1, abs=1e-3)


def test_scale_and_direction_of_the_picture_do_not_matter():
    r = clock_recording(np.random.default_rng(3), lag_s=0.05)
    turned = fit_lag(r.times_s, 3.0 * r.px @ np.array([[0, -1.0], [1.0, 0]]), r.robot_times_s, -r.robot_mm)
    assert turned.lag_s == pytest.approx(found(r).lag_s, abs=1e-3)


def test_a_rhythm_has_a_rival():
    assert found(clock_recording(np.random.default_rng(4), rhythm_hz=1.5)).rival_s is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: (r.times_s, r.px, r.robot_times_s, 0.0 * r.robot_mm), "the robot does not move"),
        (lambda r: (r.times_s, 0.0 * r.px, r.robot_times_s, r.robot_mm), "the tip in the picture does not move"),
        (lambda r: (r.times_s + 100.0, r.px, r.robot_times_s, r.robot_mm), "only 0 pictures"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        fit_lag(*change(clock_recording(np.random.default_rng(5))))
