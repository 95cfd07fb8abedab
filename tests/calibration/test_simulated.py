"""Claimed errors beside true ones, over recordings with noise and with wrong observations."""

from __future__ import annotations

import pytest

from sonosteer.calibration.simulated import CLAIMS, claimed_and_true


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLAIMS)
def test_the_claimed_error_is_the_true_one_over_200_seeds(kind):
    claimed, true = claimed_and_true(kind, range(200))
    assert 0.7 < claimed / true < 1.4


@pytest.mark.parametrize(("kind", "most"), [("pivot", 0.3), ("guide", 0.4), ("robot", 0.3)])
def test_a_dozen_seeds_claim_what_they_achieve(kind, most):
    claimed, true = claimed_and_true(kind, range(1000, 1012))
    assert 0.5 < claimed / true < 2.0  # twelve seeds tell a ratio within a third
    assert true < most
