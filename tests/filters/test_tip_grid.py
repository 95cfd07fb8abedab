"""The grid filter against its plain statement, and its laws."""

import math

import numpy as np
import pytest

from sonosteer.filters import tip_grid

V = np.array([-2.5, 0.0, 1.0, 3.25])
N = 60


def belief(seed=0):
    A = np.random.default_rng(seed).uniform(0, 1, (2, len(V), N)).astype(np.float32)
    A[:, :, :10] = 0
    A[:, :, -12:] = 0
    return A / A.sum()


def predicted(A, walk=0.1, forget_v=0.05, forget_u=1e-3, fade=0.02, clear=0.1):
    out = np.empty_like(A)
    tip_grid.predict_grid(A, V, walk, forget_v, forget_u, fade, clear, np.zeros((len(V), N), np.float32), out)
    return out


def plainly(A, walk, forget_v, forget_u, fade, clear):
    out = np.zeros_like(A, dtype=float)
    m = len(V)
    for f in range(2):
        for i in range(m):
            row = (1 - 2 * walk) * A[f, i] + walk * (A[f, max(i - 1, 0)] + A[f, min(i + 1, m - 1)])
            k, part = math.floor(V[i]), V[i] - math.floor(V[i])
            for u in range(N):
                if u - k - 1 >= 0 and 0 <= u - k < N and u - k - 1 < N:
                    out[f, i, u] = (1 - part) * row[u - k] + part * row[u - k - 1]
        column = out[f].sum(0)
        out[f] = (1 - forget_v) * out[f] + forget_v / m * column + forget_u / (2 * m * N)
    seen, hidden = out
    return np.stack([(1 - fade) * seen + clear * hidden, fade * seen + (1 - clear) * hidden])


def test_the_prediction_is_its_plain_statement():
    A = belief()
    args = {"walk": 0.1, "forget_v": 0.05, "forget_u": 1e-3, "fade": 0.02, "clear": 0.1}
    assert predicted(A, **args) == pytest.approx(plainly(A, **args), abs=1e-6)


def test_prediction_loses_no_probability_inside():
    assert predicted(belief()).sum() == pytest.approx(1.0 + 1e-3, abs=1e-4)


def test_a_needle_at_a_known_speed_is_moved_by_it():
    A = np.zeros((2, len(V), N), np.float32)
    A[0, 3, 20] = 1.0
    for _ in range(4):
        A = predicted(A, walk=0.0, forget_v=0.0, forget_u=0.0, fade=0.0, clear=0.0)
    p, out = np.zeros(N, np.float32), np.zeros(4)
    tip_grid.grid_moments(A, V, p, out)
    assert out[0] == pytest.approx(20 + 4 * 3.25, abs=1e-4)
    assert out[2] == pytest.approx(3.25)


def test_moments_are_those_of_the_probabilities():
    A = belief(1)
    p, out = np.zeros(N, np.float32), np.zeros(4)
    tip_grid.grid_moments(A, V, p, out)
    q, u = A.sum((0, 1)), np.arange(N)
    mean = (q * u).sum()
    expected = [mean, (q * (u - mean) ** 2).sum(), (A.sum((0, 2)) * V).sum(), A[1].sum()]
    assert p == pytest.approx(q, rel=1e-4)
    assert out == pytest.approx(expected, rel=1e-3)


def test_weighing_is_bayes_rule():
    A = belief(2)
    rng = np.random.default_rng(3)
    ll = rng.normal(0, 2, N).astype(np.float32)
    faded = np.maximum.accumulate(ll)
    like_v = rng.uniform(0.2, 1, len(V)).astype(np.float32)
    expected = A * np.exp(0.5 * np.stack([ll, faded - 1.0]))[:, None, :] * like_v[:, None]
    expected /= expected.sum()
    tip_grid.weigh_grid(A, ll, faded, 0.5, 1.0, like_v, np.zeros(N, np.float32))
    assert pytest.approx(expected, rel=1e-3, abs=1e-7) == A


def test_the_likelihood_peaks_where_the_shaft_ends():
    z = np.full(200, 0.2, np.float32)
    z[:130] = 1.6
    l, ll, faded = (np.zeros(200, np.float32) for _ in range(3))  # noqa: E741
    tip_grid.shaft_evidence(z, 180, tip_grid.shaft_table(), 1.3, l)
    peak, at = tip_grid.tip_likelihood(l, 180, 8.0, ll, faded)
    assert at == 129
    assert peak == ll[129]
    assert faded[170] == peak
    assert ll[190] < -100


def test_more_shaft_is_more_evidence():
    table = tip_grid.shaft_table()
    at = tip_grid.Z_FIRST + tip_grid.Z_STEP * np.arange(tip_grid.Z_COUNT)
    assert (np.diff(table[(at > -0.2) & (at < 1.6)]) > 0).all()
    assert table[np.searchsorted(at, 0.0)] < 0 < table[np.searchsorted(at, 1.5)]


def test_change_is_evidence_for_the_shaft_only_where_the_needle_moves():
    g = np.array([0.0, 0.4, 1.0, 2.0], np.float32)
    l = np.zeros(4, np.float32)  # noqa: E741
    tip_grid.change_evidence(g, 4, 1.0, 0.45, 0.05, 0.3, 1.3, l)
    assert l[0] == pytest.approx(-1.3)
    assert (np.diff(l) >= 0).all()
    assert l[2] == l[3] > 0
