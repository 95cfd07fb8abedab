"""Fig. 7's simulation, and the posterior of our own fit."""

import numpy as np
import pytest

from sonosteer.steering import simulated_fits

pytestmark = pytest.mark.slow


def test_nine_in_ten_intervals_hold_the_truth():
    found = simulated_fits.coverage(1000, seed=1)
    assert found["failed"] == 0
    assert 0.86 <= found["kappa"] <= 0.94
    assert 0.86 <= found["theta0"] <= 0.94


def test_the_genetic_fit_settles_within_forty_millimetres(monkeypatch):
    monkeypatch.setattr(simulated_fits, "CHUNK", 40)
    sums = np.array(simulated_fits.fit_chunk(3)["sums"]) / 40
    score, off = sums[0], sums[2]
    assert off[39] < 0.2  # the paper: 0.1 mm at 40 mm
    assert off[39] < off[1]
    assert score[39] == pytest.approx(simulated_fits.NOISE_MM * np.sqrt(np.pi / 2), rel=0.15)


def test_a_chunk_is_its_seed(monkeypatch):
    monkeypatch.setattr(simulated_fits, "CHUNK", 3)
    assert simulated_fits.fit_chunk(5) == simulated_fits.fit_chunk(5)
    assert simulated_fits.fit_chunk(5) != simulated_fits.fit_chunk(6)
