import math

import numpy as np
import pytest

from sonosteer.metrics.significance import (
    ClusterSums,
    compare_spread,
    ellipse_coverage,
    holm,
    mean_differs_from_zero,
    mean_nees,
    mean_p_value,
    parzen,
    pearson,
    spread_p_by_cluster,
    spread_p_value,
)

RNG = np.random.default_rng(0)


def test_a_mean_far_from_zero_is_told_from_one_at_zero():
    assert mean_differs_from_zero(RNG.normal(0.5, 1, 400))
    assert not mean_differs_from_zero(RNG.normal(0.0, 1, 400))
    assert not mean_differs_from_zero(np.ones(1))


@pytest.mark.slow
def test_the_t_test_is_wrong_once_in_a_thousand():
    wrong = sum(mean_differs_from_zero(RNG.normal(0, 1, 30)) for _ in range(4000))
    assert 0 <= wrong <= 12


def test_the_f_test_against_its_closed_form_for_two_degrees():
    # F with (2, 2) degrees has the distribution function x / (1 + x)
    for ratio in (3.0, 50.0, 5000.0):
        p = 2 * (1 - ratio / (1 + ratio))
        assert (compare_spread(math.sqrt(ratio), 3, 1.0, 3) == "↑") == (p < 0.001)
        assert (compare_spread(1.0, 3, math.sqrt(ratio), 3) == "↓") == (p < 0.001)


def test_the_paper_s_own_arrows_come_out_of_its_numbers():
    """Table V: KFv+F (0.92 mm) below KF+F (2.01); PF and PF+F (3.15, 3.14) alike; OM (7.14) and OM+F (6.70) alike."""
    n = 1390
    assert compare_spread(0.92, n, 2.01, n) == "↓"
    assert compare_spread(13.43, n, 7.14, n) == "↑"
    assert compare_spread(3.15, n, 3.14, n) == "-"
    assert compare_spread(7.14, n, 6.70, n) == "-"


def test_the_density_integrates_to_one_and_has_its_closed_form_for_one_sample():
    x = np.linspace(-8, 8, 4001)
    y = parzen(RNG.normal(0, 1, 50), x, 0.3)
    assert np.trapezoid(y, x) == pytest.approx(1.0, abs=1e-6)
    assert parzen(np.zeros(1), np.zeros(1), 0.1)[0] == pytest.approx(1 / (0.1 * math.sqrt(2 * math.pi)))


def test_pearson_of_a_line_is_one():
    x = np.arange(10.0)
    assert pearson(x, 3 - 2 * x)[0] == pytest.approx(-1.0)
    y = RNG.normal(0, 1, 10)
    r, p = pearson(x, y)
    assert r == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert 0 <= p <= 1


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.95])
def test_honest_covariances_cover_what_they_claim(fraction):
    n = 20_000
    sd_a, sd_b = RNG.uniform(0.2, 3, n), RNG.uniform(0.1, 0.5, n)
    a, b = sd_a * RNG.normal(0, 1, n), sd_b * RNG.normal(0, 1, n)
    assert ellipse_coverage(a, b, sd_a, sd_b, fraction) == pytest.approx(fraction, abs=0.01)
    assert mean_nees(a, b, sd_a, sd_b) == pytest.approx(2.0, abs=0.06)
    assert ellipse_coverage(2 * a, 2 * b, sd_a, sd_b, fraction) < fraction - 0.1


def test_holm_s_correction_of_his_kind_of_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_p_values_are_one_where_there_is_nothing_to_test():
    assert mean_p_value(np.ones(4)) == mean_p_value(np.ones(1)) == 1.0
    assert spread_p_value(0.0, 10, 1.0, 10) == spread_p_value(1.0, 1, 1.0, 10) == 1.0
    one = ClusterSums.of([np.arange(3.0)])
    assert spread_p_by_cluster(one, one, RNG) == 1.0


def clusters(sd, n=8, frames=30, common=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, common) + rng.normal(0, sd, frames) for _ in range(n)]


def test_exchanging_whole_clusters_against_every_exchange_written_out():
    a, b = clusters(1.0, 5, seed=1), clusters(1.4, 5, seed=2)

    def ratio(x, y):
        return abs(math.log(np.concatenate(x).var(ddof=1) / np.concatenate(y).var(ddof=1)))

    seen = ratio(a, b)
    every = []
    for code in range(2**5):
        swap = [(code >> k) & 1 for k in range(5)]
        every.append(
            ratio([(b if s else a)[k] for k, s in enumerate(swap)], [(a if s else b)[k] for k, s in enumerate(swap)])
        )
    want = np.mean([e >= seen - 1e-9 for e in every])
    assert spread_p_by_cluster(ClusterSums.of(a), ClusterSums.of(b), RNG) == pytest.approx(want)


def test_a_larger_spread_in_every_cluster_is_found_and_the_smallest_p_is_that_of_all_exchanges():
    a, b = ClusterSums.of(clusters(1.0, 10)), ClusterSums.of(clusters(5.0, 10, seed=1))
    assert spread_p_by_cluster(a, b, RNG) == pytest.approx(2 / 2**10)
    assert spread_p_by_cluster(a, b, RNG) == spread_p_by_cluster(b, a, RNG)
    many = [ClusterSums.of(clusters(sd, 40, seed=k)) for k, sd in enumerate((1.0, 5.0))]
    assert spread_p_by_cluster(*many, RNG) <= 2e-5


@pytest.mark.slow
def test_one_wild_cluster_is_no_proof_though_frames_say_so():
    """Both methods alike, but frames of a cluster have much in common: by frame far too many tests are significant."""
    by_frame, by_cluster = 0, 0
    for seed in range(200):
        a, b = (clusters(1.0, 10, common=3.0, seed=2 * seed + k) for k in (0, 1))
        sd = [float(np.concatenate(x).std(ddof=1)) for x in (a, b)]
        by_frame += spread_p_value(sd[0], 300, sd[1], 300) < 0.05
        by_cluster += spread_p_by_cluster(ClusterSums.of(a), ClusterSums.of(b), RNG) < 0.05
    assert by_frame > 60
    assert by_cluster < 20
