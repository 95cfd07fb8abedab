"""The paper's tables as we hold them, and ours beside them, on numbers made up for it."""

import itertools

import numpy as np
import pytest

from sonosteer.metrics.significance import compare_spread
from sonosteer.studies.tracking.comparison import (
    agreement,
    agreement_counts,
    mean_tests,
    pair_rows,
    paper_arrow,
    reduction_rows,
    within_rows,
)
from sonosteer.studies.tracking.numbers import error_row, insertion_sums, phases
from sonosteer.studies.tracking.optical import OpticalTracker
from sonosteer.studies.tracking.published import PAPER_FRAMES, REDUCTIONS, TABLE_III
from sonosteer.studies.tracking.readings import READINGS
from sonosteer.trackers.table import make_tracker


def results(spreads, insertions=8, frames=60, bias=0.0, seed=0):
    """Trials of methods whose e_n has the SD given, one value an insertion in common and one a frame."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(insertions):
        methods = {}
        for name, sd in spreads.items():
            en = bias + rng.normal(0, sd / 2) + rng.normal(0, sd, frames)
            zero = [0.0] * frames
            run = {"claimed": frames, "frame": list(range(frames)), "en": en.tolist(), "ep": zero, "etheta": zero}
            methods[name] = {"runs": [run | {"tracking": [1] * frames}], "ms": []}
        out.append({"kind": "paper", "frames": frames, "speed_mm_s": 5.0, "methods": methods})
    return out


@pytest.mark.parametrize("key", ["etheta", "en"])
def test_the_paper_s_arrows_are_those_of_its_own_deviations(key):
    """Every one of the 66 arrows of Table IV and of Table V is what an F-test of 1,390 frames gives."""
    for a, b in itertools.combinations(TABLE_III, 2):
        sd = [getattr(TABLE_III[m], key).sd for m in (a, b)]
        assert paper_arrow(key, a, b) == compare_spread(sd[0], PAPER_FRAMES, sd[1], PAPER_FRAMES), (a, b)
        assert paper_arrow(key, b, a) == compare_spread(sd[1], PAPER_FRAMES, sd[0], PAPER_FRAMES), (b, a)


@pytest.mark.parametrize("method", REDUCTIONS)
def test_the_paper_s_reductions_are_those_of_its_table(method):
    ours, om = TABLE_III[method], TABLE_III["om"]
    fall = [100 * (1 - a / b) for a, b in ((ours.e.p95, om.e.p95), (ours.e.sd, om.e.sd), (ours.en.sd, om.en.sd))]
    assert fall == pytest.approx(REDUCTIONS[method], abs=0.4)  # its last digits are not those of its rounded table


def test_percentiles_enclose_the_means_of_the_published_table():
    for row in TABLE_III.values():
        for signed in (row.etheta, row.en, row.ep):
            assert signed.low < signed.mean < signed.high
            assert 0.0 <= signed.not_zero <= 1.0
        for size in (row.etheta_abs, row.e):
            assert 0.0 < size.mean < size.p95


def test_pairs_are_all_there_and_agree_where_they_should():
    names = list(TABLE_III)[:-1]
    rows = pair_rows("en", names, results({m: TABLE_III[m].en.sd for m in names}))
    assert len(rows) == 55
    clear = [r for r in rows if r["row"] == "df"]
    assert all(r["agreement"] == "agrees" for r in clear)
    count = agreement_counts(rows)[0]
    assert count["all"] == 55
    assert sum(count[w] for w in ("agrees", "only the paper", "only ours", "opposite")) == 55
    assert all(r["p_frames"] <= r["p_frames_holm"] <= 1 for r in rows)
    assert all(r["p_insertions"] <= r["p_insertions_holm"] <= 1 for r in rows)


def test_insertions_are_more_cautious_than_frames():
    """One value in common per insertion makes frames dependent: by frame a mean is far from 0, by insertion not."""
    rng = np.random.default_rng(1)
    some = results({"kf": 0.01})
    for r, shift in zip(some, rng.normal(0.0, 1.0, len(some)), strict=True):
        r["methods"]["kf"]["runs"][0]["en"] = (shift + rng.normal(0, 0.05, 60)).tolist()
    row = next(r for r in mean_tests(["kf"], some) if r["error"] == "en")
    assert row["not_0_by_frame"] == "yes"
    assert row["not_0_by_insertion_holm"] == "no"


@pytest.mark.parametrize(
    ("theirs", "ours", "word"),
    [
        ("↑", "↑", "agrees"),
        ("-", "-", "agrees"),
        ("↑", "↓", "opposite"),
        ("-", "↓", "only ours"),
        ("↓", "-", "only the paper"),
    ],
)
def test_words_of_agreement(theirs, ours, word):
    assert agreement(theirs, ours) == word


def test_reductions_and_shares_are_those_of_the_rows():
    some = results({"om": 4.0, "kf": 1.0})
    rows = [error_row(m, some) for m in ("om", "kf")]
    fall = reduction_rows(rows)[0]
    assert fall["SD of e_n, ours"] == pytest.approx(100 * (rows[1]["en_sd"] / rows[0]["en_sd"] - 1), abs=0.06)
    assert fall["95 % of ‖e‖, paper"] == -68.5
    shares = within_rows(rows)
    e = np.concatenate([r["methods"]["om"]["runs"][0]["en"] for r in some])
    assert shares[0]["|e_n| <= 5 mm, %"] == pytest.approx(100 * (np.abs(e) <= 5).mean(), abs=0.06)
    assert shares[0]["|e_p| < 1 mm, %"] == 100.0


def test_sums_by_insertion_give_back_the_means():
    some = results({"kf": 1.0})
    means = [np.mean(r["methods"]["kf"]["runs"][0]["en"]) for r in some]
    assert insertion_sums("kf", "en", some).means() == pytest.approx(means)


def test_phases_split_by_time():
    some = results({"kf": 0.0}, frames=40)
    for r in some:
        r["methods"]["kf"]["runs"][0]["en"] = [3.0] * 20 + [1.0] * 20
    assert phases("kf", some, 1.0) == {"early_mean": 3.0, "early_sd": 0.0, "late_mean": 1.0, "late_sd": 0.0}


def test_the_optical_tracker_s_errors_are_its_levers_times_its_turns():
    angles = [0.7] * 4000
    quiet = OpticalTracker(marker_sd_mm=0.6, baseline_mm=60.0, markers=10_000, calibration_mm=0.0, calibration_deg=0.0)
    along, across, turn = quiet.errors(angles, np.random.default_rng(3))
    one = np.sqrt(2) * 0.6 / 60.0
    assert turn.std() == pytest.approx(np.sqrt(2) * one, rel=0.05)
    assert along.std() == pytest.approx(100.0 * np.sin(0.7) * one, rel=0.05)
    assert across.std() == pytest.approx(np.hypot(150.0, 100.0 * np.cos(0.7)) * one, rel=0.05)
    short = OpticalTracker(needle_lever_mm=30.0, calibration_deg=0.0).errors(angles, np.random.default_rng(3))
    assert short[1].std() < across.std()


def test_a_calibration_is_one_error_for_a_whole_insertion():
    some = OpticalTracker(marker_sd_mm=0.0)
    along, across, turn = some.errors([0.7] * 5, np.random.default_rng(0))
    assert np.ptp(along) == np.ptp(across) == np.ptp(turn) == 0.0
    assert along[0] != some.errors([0.7] * 5, np.random.default_rng(1))[0][0]


@pytest.mark.parametrize("name", READINGS)
def test_every_reading_differs_from_its_method_in_what_it_says(name):
    reading = READINGS[name]
    plain, other = make_tracker(reading.method), make_tracker(reading.method, **reading.settings)
    for key, value in reading.settings.items():
        part, _, field = key.rpartition(".")
        here = [getattr(t, part) if part else t for t in (plain, other)]
        assert getattr(here[1], field) == value
        assert getattr(here[0], field) != value
