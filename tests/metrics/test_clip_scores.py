"""Scores of trackers on clips with marks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Truth
from sonosteer.metrics import clip_scores as cs
from sonosteer.recording.tips import TipRow

SIZE = (400, 300)  # px; the cap is 20 px


def mark(i, tip=(100.0, 80.0), visible=True, off=None):
    return Truth(i, None, tip, None, visible and tip is not None, None, None, uncertainty_px=off)


def said(i, dx=0.0, state="tracking", sure=0.9, tip=(100.0, 80.0)):
    at = (tip[0] + dx, tip[1])
    return TipRow(i, i / 20, at, None, 35.0, None, None, sure, state)


def score(tips, marks, clip="a", method="m", spacing=None):
    return cs.score_clip(tips, marks, clip=clip, method=method, size_px=SIZE, spacing=spacing)


def lost(i):
    return TipRow.lost(i, i / 20)


def constant(clip, dx, n=10, state="tracking"):
    """A clip in which every claim is off by dx px; None: nothing is claimed."""
    tips = [lost(i) if dx is None else said(i, dx, state) for i in range(n)]
    return score(tips, [mark(i) for i in range(n)], clip)


def test_errors_are_distances_in_px_and_mm_where_both_name_a_place():
    marks = [mark(0), mark(1), mark(3, tip=None), mark(4)]
    got = score([said(0, 3.0), lost(1), said(2), said(3)], marks, spacing=Spacing(0.1, 0.2))
    assert got.frame.tolist() == [0, 1, 2, 3, 4]
    assert got.state.tolist() == ["tracking", "lost", "tracking", "tracking", "lost"]
    assert got.compared.tolist() == [True, False, False, False, False]
    assert (got.error_px[0], got.error_mm[0]) == pytest.approx((3.0, 0.3))
    assert got.marked.tolist() == [True, True, False, False, True]
    assert got.empty.tolist() == [False, False, False, True, False]


def test_without_a_scale_there_are_no_millimetres():
    assert score([said(0)], [mark(0)]).error_mm is None
    assert cs.summarise_scores([constant("a", 2.0)])["median_mm"] is None


def test_up_to_the_marks_uncertainty_an_error_costs_nothing():
    got = score([said(0, 9.0), said(1, 14.0), said(2, 4.0)], [mark(0, off=10.0), mark(1, off=10.0), mark(2)])
    assert got.beyond_px.tolist() == [0.0, 4.0, 4.0]
    assert cs.frame_costs(got).tolist() == pytest.approx([0.0, 0.2, 0.2])


@pytest.mark.parametrize(
    ("tip", "given_mark", "cost"),
    [
        (said(0, 10.0), mark(0), 0.5),  # half the cap
        (said(0, 500.0), mark(0), 1.0),  # capped
        (lost(0), mark(0), 0.5),  # silence where a tip can be seen
        (lost(0), mark(0, visible=False), 0.0),  # silence where none can
        (lost(0), mark(0, tip=None), 0.0),
        (said(0), mark(0, tip=None), 1.0),  # a claim without a needle
        (said(0, 5.0, "coasting"), mark(0, visible=False), 0.25),  # a hidden tip may be named
    ],
)
def test_every_answer_has_its_price(tip, given_mark, cost):
    assert cs.frame_costs(score([tip], [given_mark])).tolist() == pytest.approx([cost])


def test_a_frame_without_a_mark_has_no_price():
    assert np.isnan(cs.frame_costs(score([said(0)], []))).all()
    assert cs.mean_cost([score([said(0)], [])]) is None


@given(st.lists(st.sampled_from([0.0, 300.0]), min_size=1, max_size=30))
def test_silence_ranks_below_a_tracker_that_is_right_more_often_than_wrong(errors):
    marks = [mark(i) for i in range(len(errors))]
    speaks = cs.mean_cost([score([said(i, e) for i, e in enumerate(errors)], marks)])
    silent = cs.mean_cost([score([lost(i) for i in range(len(errors))], marks)])
    right = sum(e == 0.0 for e in errors)
    assert (speaks < silent) == (right > len(errors) - right)


def test_coasting_is_told_from_tracking():
    tips = [said(0, 1.0), said(1, 2.0), said(2, 40.0, "coasting"), lost(3)]
    got = cs.by_state([score(tips, [mark(i) for i in range(4)])])
    assert (got["tracking"]["frames"], got["tracking"]["median_px"], got["tracking"]["wrong"]) == (2, 1.5, 0)
    assert (got["coasting"]["frames"], got["coasting"]["median_px"], got["coasting"]["wrong"]) == (1, 40.0, 1)
    assert got["lost"] == {"frames": 1, "tip_to_be_seen": 1}


def test_the_figures_of_a_table():
    tips = [said(0, 3.0), said(1, 10.0), said(2, 100.0), lost(3), said(4, 0.0, "coasting"), said(5)]
    got = cs.summarise_scores([score(tips, [*(mark(i) for i in range(5)), mark(5, tip=None)])])
    assert (got["frames"], got["claimed"], got["lost"], got["tracking"], got["coasting"]) == (6, 5, 1, 4, 1)
    assert got["within"] == {"5": 2, "15": 3, "30": 3}
    assert got["wrong_while_tracking"] == 2  # one far off, one where there is no needle
    assert got["claims_without_a_needle"] == 1
    assert (got["median_px"], got["compared"]) == (6.5, 4)
    assert got["found"] == pytest.approx(3 / 5)


def test_a_claim_within_a_wide_marks_uncertainty_is_not_wrong():
    tips = [said(0, 35.0), said(1, 35.0)]
    assert score(tips, [mark(0, off=40.0), mark(1)]).wrong.tolist() == [False, True]


def test_a_detection_curve_rises_and_counts_silence_as_a_miss():
    scores = [constant("a", 4.0), constant("b", None), constant("c", 12.0)]
    assert cs.detection_curve(scores, [0, 4, 11.9, 12, 1e9]).tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert cs.detection_curve([score([said(0)], [])], [1.0]) is None
    assert cs.curve_area([constant("a", 0.0)]) == 1.0
    assert cs.curve_area([constant("a", None)]) == 0.0
    assert cs.relative_detection_curve([constant("a", 10.0)], np.array([0.4, 0.5])).tolist() == [0.0, 1.0]


def test_risk_falls_with_coverage_if_confidence_is_honest():
    tips = [said(0, 0.0, sure=0.9), said(1, 20.0, sure=0.2), said(2, 0.0, sure=0.9), lost(3)]
    coverage, risk = cs.risk_coverage([score(tips, [mark(i) for i in range(4)])])
    assert coverage.tolist() == pytest.approx([0.5, 0.75])
    assert risk.tolist() == pytest.approx([0.0, 1 / 3])
    assert [len(v) for v in cs.risk_coverage([constant("a", None)])] == [0, 0]


def test_an_interval_holds_the_figure_and_is_the_same_again():
    scores = [constant(str(i), float(i)) for i in range(12)]
    got = cs.interval_by_clip(scores, cs.median_error_px, seed=3)
    assert got == cs.interval_by_clip(scores, cs.median_error_px, seed=3)
    assert got[0] < cs.median_error_px(scores) < got[1]
    assert got != cs.interval_by_clip(scores, cs.median_error_px, seed=4) or got[1] - got[0] > 0


def test_it_is_clips_that_are_drawn_not_frames():
    """Ten times as many alike frames in each clip tell nothing new."""
    few = cs.interval_by_clip([constant(str(i), float(i), n=1) for i in range(8)], cs.median_error_px)
    many = cs.interval_by_clip([constant(str(i), float(i), n=50) for i in range(8)], cs.median_error_px)
    assert many == pytest.approx(few)


@pytest.mark.parametrize("errors", [[], [1.0], [1.0, 2.0, 3.0, 4.0], [2.0] * 9, [None] * 9])
def test_an_interval_that_cannot_be_had_is_none(errors):
    scores = [constant(str(i), e) for i, e in enumerate(errors)]
    assert cs.interval_by_clip(scores, cs.median_error_px, draws=200) is None


def test_two_methods_are_compared_on_the_same_clips():
    """The clips differ far more than the methods: only pairing shows that one is always better."""
    a = [constant(str(i), 20.0 * i) for i in range(10)]
    b = [constant(str(i), 20.0 * i + 1.0 + 0.01 * i) for i in range(10)]
    low, high = cs.paired_interval(a, list(reversed(b)), cs.median_error_px)
    assert -1.2 < low < high < -0.9
    wide = cs.interval_by_clip(a, cs.median_error_px)
    assert wide[1] - wide[0] > 10 * (high - low)
    with pytest.raises(ValueError, match="same clips"):
        cs.paired_interval(a, b[1:], cs.median_error_px)


def test_without_marks_two_trackers_agree_or_do_not():
    tips_a, tips_b = [said(0), said(1), lost(2)], [said(0, 3.0), lost(1), lost(2)]
    a, b = score(tips_a, []), score(tips_b, [])
    got = cs.agreement(a, b, tips_a, tips_b)
    assert got == {"both": 1, "one": 1, "median_px": 3.0, "within_cap": 1.0}
    with pytest.raises(ValueError, match="not the same clip"):
        cs.agreement(a, score(tips_b, [], clip="other"), tips_a, tips_b)


def test_a_frame_that_is_marked_twice_is_refused():
    with pytest.raises(InputError, match="a: a frame is marked twice"):
        score([said(0)], [mark(0), mark(0)])


def test_clips_of_several_sizes_go_together_by_their_longer_side():
    large = cs.score_clip(
        [said(0, 40.0)], [mark(0)], clip="b", method="m", size_px=(1600, 900), spacing=Spacing(0.05, 0.05)
    )
    assert cs.frame_costs(large).tolist() == pytest.approx([0.5])
    assert math.isclose(large.error_mm[0], 2.0)
    both = cs.summarise_scores([large, constant("a", 1.0, n=1)])
    assert both["median_mm"] == pytest.approx(2.0)  # of the clip that has a scale
    assert both["median_px"] == pytest.approx(20.5)
