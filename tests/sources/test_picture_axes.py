"""Pictures are found wherever their axes are stored."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.sources.picture_axes import find_axes

KINDS = {"t": "list", "y": "domain", "x": "domain", "c": "RGB-color".lower(), "z": "domain"}


@given(order=st.permutations("tyxc"), frames=st.integers(1, 4), flat=st.booleans())
def test_a_picture_is_the_same_in_any_order_of_axes(order, frames, flat):
    names = [n for n in order if n != "t"]
    if names.index("y") > names.index("x"):  # x is the first axis of places
        order = [{"x": "y", "y": "x"}.get(n, n) for n in order]
    whole = np.random.default_rng(0).integers(0, 255, (frames, 3, 5, 3), dtype=np.uint8)
    order = [*order, *(["z"] if flat else [])]
    wide = whole[..., None]
    stored = (
        wide.transpose(["tyxcz".index(n) for n in order]) if flat else whole.transpose(["tyxc".index(n) for n in order])
    )
    fastest_first = order[::-1]
    kinds = [KINDS[n] for n in fastest_first]
    if flat:  # an axis of one value behind x and y
        stored, kinds = np.moveaxis(stored, -1, 0), [*kinds[1:], "domain"]
    axes = find_axes(stored.shape[::-1], kinds)
    assert axes.frames == frames
    assert (axes.size_px, axes.channels) == ((5, 3), 3)
    for i in range(frames):
        one = np.take(stored, i, axis=stored.ndim - 1 - axes.time)
        assert np.array_equal(axes.picture(one.ravel()), whole[i])


@pytest.mark.parametrize(
    ("sizes", "kinds", "frames"),
    [((6, 5), (), 1), ((6, 5, 4), (), 4), ((6, 5, 1, 4), (), 4), ((6, 5, 4, 1), (), 4), ((6, 5, 1, 1), (), 1)],
)
def test_without_kinds_time_is_the_last_axis(sizes, kinds, frames):
    axes = find_axes(sizes, kinds)
    assert axes.frames == frames
    assert axes.size_px == (6, 5)
    assert axes.in_order


@pytest.mark.parametrize(
    ("sizes", "kinds"),
    [
        ((6, 5, 2, 4), ()),
        ((6,), ()),
        ((6, 5, 4, 4), ("domain", "domain", "list", "time")),
        ((2, 6, 5), ("vector", "domain", "domain")),
        ((3, 3, 6, 5), ("vector", "rgb-color", "domain", "domain")),
        ((2, 6, 5), ("complex", "domain", "domain")),
        ((2, 6, 5), ("scalar", "domain", "domain")),
    ],
)
def test_what_holds_no_pictures_is_refused(sizes, kinds):
    with pytest.raises(InputError):
        find_axes(sizes, kinds)
