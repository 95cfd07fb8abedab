"""What an insertion is put together from comes to the gate and to the loop."""

import math

import pytest

from sonosteer.core.errors import InputError
from sonosteer.episodes import insertion
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.safety.limits import Limits


def config(**more):
    return InsertionConfig(policy="constant", tracker="kf", **more)


def test_the_gate_has_limits_and_the_error_of_the_calibration():
    limits = Limits(tip_sd_mm=1.5)
    gate = build_episode(config(limits=limits, calibration_mm2=(0.25, 0.1, 1.0))).gate
    assert (gate.limits, gate.calibration_mm2) == (limits, (0.25, 0.1, 1.0))
    assert build_episode(config()).gate.calibration_mm2 == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [(-1.0, 0.0, 1.0), (1.0, 0.0, -1.0), (1.0, 1.1, 1.0), (math.nan, 0.0, 1.0)])
def test_an_error_of_the_calibration_that_is_no_covariance_is_refused(bad):
    with pytest.raises(InputError, match="calibration_mm2 is"):
        config(calibration_mm2=bad)


def test_only_a_live_run_begins_paused():
    with pytest.raises(InputError, match="nobody could continue it"):
        config(paused=True)


@pytest.mark.parametrize("paused", [True, False])
def test_a_run_begins_paused_or_not(paused, monkeypatch):
    held = []

    class EnoughError(Exception):
        pass

    def stop_here(rig, tracking_branch, policy_branch, control_branch, *rest, **more):
        held.append(control_branch.held)
        raise EnoughError

    monkeypatch.setattr(insertion, "insert_live", stop_here)
    with pytest.raises(EnoughError):
        run_episode(build_episode(config(live=True, paused=paused)))
    assert held == ["the run begins paused" if paused else None]
