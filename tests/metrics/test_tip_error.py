import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Truth
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.metrics.tip_error import block_bootstrap_ci, summarise, tip_errors
from sonosteer.recording.tips import TipRow

S = Spacing(0.1, 0.1)


def truth(i, angle_deg=35.0, tip=None, visible=True):
    a = math.radians(angle_deg)
    at = tip or (100 + 3 * i * math.cos(a), 80 + 3 * i * math.sin(a))
    return Truth(i, i / 20, at, a, visible, 10 + 0.3 * i, 6.0)


def row(t, along=0.0, across=0.0, angle_error=0.0, sd=(0.5, 0.2), spacing=S):
    """An estimate that is off by (along, across) mm, as Mathiassen et al. 2017 define it: truth minus estimate."""
    c, s = math.cos(t.angle_rad), math.sin(t.angle_rad)
    x = t.tip_px[0] - (along * c - across * s) / spacing.x_mm
    y = t.tip_px[1] - (along * s + across * c) / spacing.y_mm
    angle = math.degrees(t.angle_rad) - angle_error
    return TipRow(t.frame_index, t.time_s, (x, y), spacing.to_mm((x, y)), angle, *sd, 0.9, "tracking")


def lost(i):
    return TipRow(i, i / 20, None, None, None, None, None, None, "lost")


def test_a_perfect_track_has_no_error():
    truths = [truth(i) for i in range(10)]
    got = summarise(tip_errors([row(t) for t in truths], truths))
    assert got["mean_mm"] == pytest.approx(0, abs=1e-9)
    assert got["coverage_95"] == 1.0
    assert (got["frames"], got["tracked"], got["lost"]) == (10, 10, 0)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 360), st.floats(-20, 20))
def test_errors_split_along_and_across_whatever_the_direction(along, across, angle, angle_error):
    truths = [truth(i, angle) for i in range(4)]
    got = summarise(tip_errors([row(t, along, across, angle_error) for t in truths], truths, S))
    assert got["bias_along_mm"] == pytest.approx(along, abs=1e-9)
    assert got["mean_mm"] == pytest.approx(math.hypot(along, across), abs=1e-9)
    assert got["mean_px"] == pytest.approx(math.hypot(along, across) / 0.1, abs=1e-6)
    assert got["angle_mean_deg"] == pytest.approx(angle_error, abs=1e-6)


def test_a_positive_error_means_the_needle_is_in_farther_than_estimated():
    t = truth(5)
    short = row(t, along=2.0)
    entry_side = math.dist(short.tip_px, (100, 80)) < math.dist(t.tip_px, (100, 80))
    assert entry_side
    assert summarise(tip_errors([short], [t]))["bias_along_mm"] == pytest.approx(2.0)


def test_frames_without_an_estimate_count_against_the_tracker():
    truths = [truth(i) for i in range(10)]
    rows = [row(t) if t.frame_index < 6 else lost(t.frame_index) for t in truths[:9]]
    got = summarise(tip_errors(rows, truths))
    assert (got["frames"], got["tracked"], got["lost"], got["missing"]) == (10, 6, 4, 1)


def test_an_estimate_where_there_is_no_needle_is_a_false_alarm():
    truths = [Truth(0, 0.0, None, 0.0, False, 0.0, 0.0), truth(1)]
    alarm = TipRow(0, 0.0, (1.0, 1.0), (0.1, 0.1), 30.0, 0.5, 0.2, 0.5, "tracking")
    got = summarise(tip_errors([alarm, row(truths[1])], truths))
    assert got["false_alarms"] == 1
    assert got["frames"] == 1


def test_order_does_not_matter():
    truths = [truth(i) for i in range(8)]
    rows = [row(t, along=0.1 * t.frame_index) for t in truths]
    assert summarise(tip_errors(rows[::-1], truths)) == summarise(tip_errors(rows, truths))


def test_coverage_is_the_share_inside_the_claimed_ellipse():
    rng = np.random.default_rng(0)
    truths = [truth(i) for i in range(2000)]
    rows = [row(t, *rng.normal(0, (0.5, 0.2))) for t in truths]
    assert summarise(tip_errors(rows, truths))["coverage_95"] == pytest.approx(0.95, abs=0.02)


def test_pixels_that_are_not_square_are_measured_in_millimetres():
    spacing = Spacing(0.1, 0.3)
    truths = [truth(i, 50.0) for i in range(3)]
    rows = [row(t, 1.5, -0.5, spacing=spacing) for t in truths]
    got = summarise(tip_errors(rows, truths))  # the scale is read off the rows
    assert got["bias_along_mm"] == pytest.approx(1.5, abs=1e-6)
    assert got["mean_mm"] == pytest.approx(math.hypot(1.5, 0.5), abs=1e-6)


def test_without_a_scale_there_are_pixels_only():
    t = truth(3)
    r = TipRow(3, 0.15, (t.tip_px[0] - 4, t.tip_px[1]), None, 35.0, None, None, None, "tracking")
    got = summarise(tip_errors([r], [t]))
    assert got["mean_px"] == pytest.approx(4)
    assert got["mean_mm"] is None
    assert got["coverage_95"] is None


def unscaled(t, along=0.0, across=0.0, sd=(5.0, 2.0)):
    """An estimate that is off by (along, across) px, without a scale."""
    c, s = math.cos(t.angle_rad), math.sin(t.angle_rad)
    tip = (t.tip_px[0] - (along * c - across * s), t.tip_px[1] - (along * s + across * c))
    return TipRow(
        frame=t.frame_index,
        time_s=t.time_s,
        tip_px=tip,
        tip_mm=None,
        angle_deg=math.degrees(t.angle_rad),
        sd_along_mm=None,
        sd_across_mm=None,
        confidence=0.9,
        state="tracking",
        sd_along_px=sd[0],
        sd_across_px=sd[1],
    )


def test_every_figure_in_mm_has_a_twin_in_px():
    truths = [truth(i, visible=i < 30) for i in range(40)]
    got = summarise(tip_errors([row(t, 0.1 * (t.frame_index % 7), 0.05) for t in truths], truths, S))
    for name in [k for k in got if k.endswith("_mm")]:
        twin = got[name.removesuffix("_mm") + "_px"]
        assert got[name] is not None
        assert np.array(twin) * 0.1 == pytest.approx(np.array(got[name]))


def test_without_a_scale_the_figures_are_in_px_and_the_claims_too():
    rng = np.random.default_rng(0)
    truths = [truth(i) for i in range(2000)]
    rows = [unscaled(t, *rng.normal(0, (5.0, 2.0))) for t in truths]
    got = summarise(tip_errors(rows, truths))
    assert got["coverage_95"] == pytest.approx(0.95, abs=0.02)
    assert (got["sd_along_px"], got["sd_across_px"]) == pytest.approx((5.0, 2.0), rel=0.1)
    assert got["mean_ci95_px"][0] < got["mean_px"] < got["mean_ci95_px"][1]
    assert {got[k] for k in got if k.endswith("_mm")} == {None}


def test_a_scale_that_is_given_later_measures_in_mm():
    truths = [truth(i) for i in range(5)]
    got = summarise(tip_errors([unscaled(t, along=4.0) for t in truths], truths, Spacing(0.5, 0.5)))
    assert (got["mean_mm"], got["mean_px"], got["bias_along_mm"]) == pytest.approx((2.0, 4.0, 2.0))
    assert got["angle_mean_deg"] == pytest.approx(0.0)
    wide = Spacing(0.2, 0.1)  # an angle measured in px is another one in mm
    true = [replace(t, angle_rad=math.atan2(math.sin(t.angle_rad), 2 * math.cos(t.angle_rad))) for t in truths]
    got = summarise(tip_errors([unscaled(t) for t in truths], true, wide))
    assert got["angle_mean_deg"] == pytest.approx(0.0, abs=1e-9)


def test_a_mark_without_an_angle_is_split_by_the_estimates_own():
    truths = [truth(i) for i in range(4)]
    marks = [Truth(t.frame_index, None, t.tip_px, None, True, None, None) for t in truths]
    errors = tip_errors([unscaled(t, along=3.0, across=-1.0) for t in truths], marks)
    got = summarise(errors)
    assert (got["bias_along_px"], got["mean_px"]) == pytest.approx((3.0, math.hypot(3, 1)))
    assert (got["angle_mean_deg"], got["angle_sd_deg"]) == (None, None)
    assert errors.time_s.tolist() == [t.time_s for t in truths]


def test_how_often_the_error_is_within_what_the_mark_may_be_off():
    truths = [replace(truth(i), uncertainty_px=u) for i, u in enumerate((5.0, 3.9, None, 4.1))]
    got = summarise(tip_errors([unscaled(t, along=4.0) for t in truths], truths))
    assert got["within_uncertainty"] == pytest.approx(2 / 3)
    assert got["mean_px"] == pytest.approx(4.0)
    assert summarise(tip_errors([row(truth(1))], [truth(1)]))["within_uncertainty"] is None


def test_visible_and_hidden_frames_are_told_apart():
    truths = [truth(i, visible=i < 3) for i in range(5)]
    rows = [row(t, along=1.0 if t.visible else 4.0) for t in truths]
    got = summarise(tip_errors(rows, truths))
    assert (got["visible_mean_mm"], got["hidden_mean_mm"]) == pytest.approx((1.0, 4.0))


def test_nothing_tracked_gives_nulls_not_nan():
    got = summarise(tip_errors([lost(i) for i in range(3)], [truth(i) for i in range(3)]))
    assert got["tracked"] == 0
    assert got["mean_mm"] is None
    assert not any(isinstance(v, float) and math.isnan(v) for v in got.values())


@pytest.mark.parametrize(
    ("tips", "truths", "said"),
    [([], [], "no frame with a tip"), ([lost(50)], [truth(1)], "no frame in common")],
)
def test_nothing_to_compare_is_refused(tips, truths, said):
    with pytest.raises(InputError, match=said):
        tip_errors(tips, truths)


def test_the_bootstrap_interval_holds_the_mean_and_widens_for_sluggish_errors():
    rng = np.random.default_rng(1)
    quick = rng.normal(1.0, 0.3, 400)
    slow = np.repeat(rng.normal(1.0, 0.3, 20), 20)
    a, b = block_bootstrap_ci(quick), block_bootstrap_ci(slow)
    assert a[0] < quick.mean() < a[1]
    assert b[1] - b[0] > 1.5 * (a[1] - a[0])


def test_percentiles_of_times():
    got = percentiles_ms(list(range(1, 101)))
    assert (got["median_ms"], got["max_ms"]) == (50.5, 100)
    assert got["p95_ms"] < got["p99_ms"]
    assert percentiles_ms([]) == {}


@pytest.mark.parametrize("n", [0, 1, 2, 19, 20])
def test_an_interval_that_cannot_be_had_is_null(n):
    assert block_bootstrap_ci(np.random.default_rng(n).normal(1.0, 0.3, n)) is None


def test_an_interval_is_never_of_zero_width():
    assert block_bootstrap_ci(np.full(50, 0.7)) is None
    low, high = block_bootstrap_ci(np.random.default_rng(0).normal(1.0, 0.3, 21))
    assert low < high
