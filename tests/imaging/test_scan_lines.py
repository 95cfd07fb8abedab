"""Scan lines are read where they run, and a shadow is what stays dark to the bottom."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.geometry import ConvexProbe, LinearProbe, Spacing
from sonosteer.imaging.scan_lines import ScanGeometry, in_view, scan_lines, shadow_starts_mm, usual_levels

SPACING = Spacing(0.25, 0.25)
CONVEX = ScanGeometry(ConvexProbe((200.0, 20.0), radius_mm=60.0, fov_rad=1.0, depth_mm=90.0))
LINEAR = ScanGeometry(LinearProbe((200.0, 20.0), width_mm=60.0, depth_mm=90.0))
BOTH = pytest.mark.parametrize("geometry", [CONVEX, LINEAR], ids=["convex", "linear"])


def picture(geometry, shadows=(), level=80.0, shape=(420, 400), seed=0):
    """Speckle, and dark where a shadow (first line, last line, from mm, to mm) lies."""
    rng = np.random.default_rng(seed)
    grey = level + 12.0 * rng.standard_normal(shape)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, z = (columns - geometry.probe.apex_px[0]) * 0.25, (rows - geometry.probe.apex_px[1]) * 0.25
    line, range_mm = geometry.to_lines(x, z)
    for first, last, start, end in shadows:
        grey[(line >= first) & (line <= last) & (range_mm >= start) & (range_mm <= end)] *= 0.2
    return np.clip(grey, 0, 255).astype(np.uint8)


def starts(geometry, **drawn):
    read = scan_lines(picture(geometry, **drawn), geometry, SPACING)
    return shadow_starts_mm(read, usual_levels(read))


@BOTH
@given(line=st.floats(0.0, 63.0), range_mm=st.floats(0.0, 90.0))
def test_there_and_back(geometry, line, range_mm):
    x, z = geometry.from_lines(np.array([line]), np.array([range_mm]))
    again, far = geometry.to_lines(x, z)
    assert again[0] == pytest.approx(line, abs=1e-9)
    assert far[0] == pytest.approx(range_mm, abs=1e-9)


def test_the_beam_points_away_from_the_face():
    x, z = np.array([-20.0, 0.0, 20.0]), np.array([30.0, 30.0, 30.0])
    assert CONVEX.beam_rad(x, z) == pytest.approx([math.atan2(v, 90.0) for v in x])
    assert (LINEAR.beam_rad(x, z) == 0).all()
    for k, probe in enumerate(x):
        assert CONVEX.beam_rad(x, z)[k] == pytest.approx(CONVEX.probe.beam_angle_rad((float(probe), 30.0)))


@BOTH
def test_even_tissue_has_no_shadow(geometry):
    assert np.isinf(starts(geometry)).all()


@BOTH
def test_a_shadow_begins_where_it_is_drawn(geometry):
    found = starts(geometry, shadows=[(30, 37, 20.0, 99.0)])
    assert found[31:37] == pytest.approx(20.0, abs=2.5)
    assert np.isinf(found[:28]).all()
    assert np.isinf(found[40:]).all()


@BOTH
def test_lost_contact_is_a_shadow_from_the_face_on(geometry):
    found = starts(geometry, shadows=[(0, 7, -5.0, 99.0)])
    assert (found[1:7] <= 2.0).all()
    assert np.isinf(found[10:]).all()


@BOTH
def test_a_dark_tumour_is_no_shadow(geometry):
    assert np.isinf(starts(geometry, shadows=[(25, 45, 30.0, 50.0)])).all()


@BOTH
def test_a_wall_that_crosses_a_shadow_does_not_end_it(geometry):
    grey = picture(geometry, shadows=[(30, 37, 20.0, 99.0)]).copy()
    grey[20 + 4 * 40 : 20 + 4 * 43] = 200
    read = scan_lines(grey, geometry, SPACING)
    assert shadow_starts_mm(read, usual_levels(read))[32:36] == pytest.approx(20.0, abs=2.5)


def test_a_bright_layer_makes_no_shadow_of_the_rest():
    grey = picture(LINEAR).copy()
    grey[20 + 4 * 30 : 20 + 4 * 34] = 240
    read = scan_lines(grey, LINEAR, SPACING)
    assert np.isinf(shadow_starts_mm(read, usual_levels(read))).all()


def test_what_lies_outside_the_picture_is_not_known():
    wide = ScanGeometry(LinearProbe((50.0, 20.0), width_mm=60.0, depth_mm=90.0))
    read = scan_lines(picture(wide), wide, SPACING)
    assert np.isnan(read[:10]).all()
    assert np.isfinite(read[40, 10:80]).all()
    assert np.isinf(shadow_starts_mm(read, usual_levels(read))).all()
    nothing = np.full((4, 8), np.nan, np.float32)
    assert np.isnan(usual_levels(nothing)).all()


def test_whether_a_point_is_in_view():
    def seen(point, margin=2.0):
        return in_view(CONVEX, point, SPACING, (400, 420), margin)

    assert seen((0.0, 30.0))
    assert not seen((0.0, -1.0))
    assert not seen((0.0, 91.0))
    assert not seen((48.0, 20.0))  # in the picture, beside the sector
    assert not seen((60.0, 80.0))  # beside the picture
    edge = CONVEX.from_lines(np.array([2.5]), np.array([10.0]))
    assert seen((float(edge[0][0]), float(edge[1][0])))
    assert not seen((float(edge[0][0]), float(edge[1][0])), margin=3.0)
