import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.clip_comment import format_clip_comment, parse_clip_comment
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import ConvexProbe, LinearProbe, Spacing, axis_angle_rad, rigid, transform_point

coordinate = st.floats(-500, 500)
step = st.floats(0.01, 2.0)


@given(coordinate, coordinate, step, step)
def test_pixels_to_mm_and_back_is_where_we_started(x, y, sx, sy):
    spacing = Spacing(sx, sy)
    assert spacing.to_px(spacing.to_mm((x, y))) == pytest.approx((x, y), abs=1e-9)


@given(coordinate, coordinate, step)
@pytest.mark.parametrize(
    "probe", [LinearProbe((255.5, 0.0), 38.0, 50.0), ConvexProbe((255.5, -20.0), 60.0, 1.1, 120.0)]
)
def test_probe_mm_and_back_is_where_we_started(probe, x, y, s):
    spacing = Spacing(s, s)
    assert probe.to_image_px(probe.to_probe_mm((x, y), spacing), spacing) == pytest.approx((x, y), abs=1e-6)


@given(st.floats(0, 120), st.floats(-0.5, 0.5))
def test_convex_polar_coordinates_round_trip(range_mm, beam):
    probe = ConvexProbe((0.0, 0.0), 60.0, 1.1, 120.0)
    assert probe.to_polar(probe.from_polar(range_mm, beam)) == pytest.approx((range_mm, beam), abs=1e-9)


def test_a_beam_of_a_convex_probe_points_away_from_the_centre_of_its_face():
    probe = ConvexProbe((0.0, 0.0), 60.0, 1.2, 120.0)
    assert probe.beam_angle_rad((0.0, 30.0)) == 0.0
    assert probe.beam_angle_rad((10.0, 0.0)) == pytest.approx(math.atan2(10, 60))
    assert probe.contains_mm((0.0, 119.0))
    assert not probe.contains_mm((0.0, 121.0))


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf])
def test_a_spacing_that_is_no_length_is_refused(value):
    with pytest.raises(InputError, match="positive number"):
        Spacing(0.1, value)


def test_world_transforms_cancel_like_fractions():
    c, s = math.cos(0.3), math.sin(0.3)
    T_world_probe = rigid(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), (10.0, -5.0, 2.0))
    T_probe_tip = rigid(np.eye(3), (1.0, 2.0, 3.0))
    T_world_tip = T_world_probe @ T_probe_tip
    assert transform_point(T_world_tip, (0, 0, 0)) == pytest.approx(transform_point(T_world_probe, (1, 2, 3)))


def test_an_angle_is_measured_in_millimetres_not_pixels():
    assert axis_angle_rad((1.0, 1.0), Spacing(0.1, 0.1)) == pytest.approx(math.radians(45))
    assert axis_angle_rad((1.0, 1.0), Spacing(0.1, 0.2)) == pytest.approx(math.atan(2))


@pytest.mark.parametrize(
    "probe",
    [None, LinearProbe((255.5, 0.0), 38.0, 50.0), ConvexProbe((255.5, -3.25), 60.0, math.radians(66), 120.0)],
)
@pytest.mark.parametrize("spacing", [None, Spacing(0.1, 0.123456789)])
def test_the_comment_of_a_clip_reads_back(spacing, probe):
    got_spacing, got_probe = parse_clip_comment(format_clip_comment(spacing, probe))
    assert got_spacing == spacing
    if isinstance(probe, ConvexProbe):
        assert isinstance(got_probe, ConvexProbe)
        assert got_probe.fov_rad == pytest.approx(probe.fov_rad)
    else:
        assert got_probe == probe


def test_somebody_elses_comment_says_nothing():
    assert parse_clip_comment("Lavf61") == (None, None)


def test_a_damaged_comment_is_named():
    with pytest.raises(InputError, match="damaged"):
        parse_clip_comment("sonosteer spacing_mm=0.1")
