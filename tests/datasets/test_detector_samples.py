"""Samples of the needle detector: the targets lie where the picture shows the needle, whatever was done to it."""

import dataclasses
import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.datasets.detector_samples import (
    NEAR_MORE,
    PLAIN_LOOK,
    TIP_SD,
    UNASKED_CELLS,
    UNSEEN,
    DetectorAugmentation,
    DetectorSampler,
    draw_shaft,
)
from sonosteer.datasets.stills import STORED_POINTS, STORED_PX, Stills
from sonosteer.imaging.detector_planes import CELL_PX, NEAR_PX, fill_planes

SIDE = 160
#: all changes of place, none of look
MOVED_ONLY = DetectorAugmentation(changed=0.0, blur=0.0, noise=0.0)
#: the default, and all wear at once
WORN = DetectorAugmentation(floor=1.0, uneven=0.3, streaked=1.0, despeckled=1.0, coarse=1.0, packed=1.0)


def empty(n):
    """Stills without a needle, black."""
    return Stills(
        pixels=np.zeros((n, 2, STORED_PX, STORED_PX), np.uint8),
        size=np.full((n, 2), STORED_PX, np.int16),
        tip=np.full((n, 2), np.nan, np.float32),
        visible=np.zeros(n, bool),
        shaft=np.full((n, STORED_POINTS, 2), np.nan, np.float32),
        seen=np.zeros((n, STORED_POINTS), bool),
        width=np.full(n, np.nan, np.float32),
    )


@pytest.fixture(scope="module")
def dots():
    """A bright dot at each tip, in pictures of many shapes."""
    rng, stills = np.random.default_rng(0), empty(24)
    ys, xs = np.mgrid[:STORED_PX, :STORED_PX]
    for k in range(24):
        shorter = int(rng.integers(150, STORED_PX + 1))
        width, height = (STORED_PX, shorter) if k % 2 else (shorter, STORED_PX)
        tip = rng.uniform(25, [width - 25, height - 25])
        square = (xs - tip[0]) ** 2 + (ys - tip[1]) ** 2
        stills.pixels[k, :] = (250 * np.exp(-0.5 * square / 4.0**2)).round()
        stills.size[k], stills.tip[k], stills.visible[k] = (width, height), tip, k % 3 > 0
    return stills


@pytest.fixture(scope="module")
def bars():
    """A bright straight shaft in each picture, from its tip back. The back half cannot be seen by a person."""
    rng, stills = np.random.default_rng(1), empty(16)
    ys, xs = np.mgrid[:STORED_PX, :STORED_PX].astype(float)
    for k in range(16):
        angle, tip = rng.uniform(-math.pi, math.pi), rng.uniform(150, 250, 2)
        along, width = np.array([math.cos(angle), math.sin(angle)]), rng.uniform(9, 16)
        length = 110.0
        stills.shaft[k] = tip - np.linspace(0, length, STORED_POINTS)[:, None] * along
        u = np.clip((tip[0] - xs) * along[0] + (tip[1] - ys) * along[1], 0, length)
        off = np.hypot(xs - tip[0] + u * along[0], ys - tip[1] + u * along[1])
        stills.pixels[k, :] = 240 * np.clip(width / 2 + 0.5 - off, 0, 1)
        stills.tip[k], stills.visible[k], stills.width[k] = tip, True, width
        stills.seen[k, : STORED_POINTS // 2] = True
    return stills


def middle_of_light(grey):
    """Middle of what is bright, px."""
    weight = np.clip(grey - 0.5 * grey.max(), 0, None).astype(float)
    ys, xs = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()


def px(cells):
    return (np.asarray(cells) + 0.5) * CELL_PX - 0.5


@pytest.mark.parametrize(
    ("augmentation", "exact_px"), [(DetectorAugmentation(), 0.9), (WORN, 1.5), (MOVED_ONLY, 0.2), (PLAIN_LOOK, 0.2)]
)
def test_the_dot_of_the_picture_is_where_the_tip_shall_be_found(dots, augmentation, exact_px):
    batch = DetectorSampler(dots, SIDE, 3, augmentation).batch(0, 96)
    inside = 0
    for planes, tip in zip(batch.planes, batch.tip, strict=True):
        if np.isnan(tip).any():  # only the dot's rim may be in view
            assert planes[0, 4:-4, 4:-4].max() < 0.75
        elif (np.abs(px(tip) - SIDE / 2) < SIDE / 2 - 8).all():
            assert np.abs(middle_of_light(planes[0]) - px(tip)).max() < exact_px
            inside += 1
    assert inside > 60
    if augmentation is PLAIN_LOOK:
        assert inside == 96


def test_places_of_the_dot_differ_from_sample_to_sample(dots):
    """Each kind of change of place is really made: else the test above says little."""
    one = dataclasses.replace(empty(1), pixels=dots.pixels[:1], size=dots.size[:1], tip=dots.tip[:1])
    whole = DetectorSampler(one, SIDE, 0, PLAIN_LOOK).batch(0, 1).tip[0]
    for more in ({"flip": 1.0}, {"turned": 1.0}, {"aspect": 0.4}, {"whole_zoom": (0.5, 0.9)}, {"close": 1.0}):
        tips = DetectorSampler(one, SIDE, 0, dataclasses.replace(PLAIN_LOOK, **more)).batch(0, 20).tip
        assert np.nanmax(np.abs(tips - whole)) > 1.0, more


def test_the_bell_stands_on_a_visible_tip_and_nothing_is_asked_round_another(dots):
    batch = DetectorSampler(dots, SIDE, 3, MOVED_ONLY).batch(0, 96)
    rows, columns = np.mgrid[: SIDE // CELL_PX, : SIDE // CELL_PX]
    seen = unseen = 0
    for heat, tip, visible in zip(batch.heat, batch.tip, batch.visible, strict=True):
        if np.isnan(tip).any():
            assert visible == 0
            assert not heat.any()
            continue
        off = np.hypot(columns - tip[0], rows - tip[1])
        if visible:
            seen += 1
            assert np.abs(heat - np.exp(-0.5 * (off / TIP_SD) ** 2)).max() < 1e-5
            assert heat.max() == heat.flat[off.argmin()] > 0.7
        else:
            unseen += 1
            assert np.array_equal(heat == -1, off < UNASKED_CELLS)
            assert set(np.unique(heat)) == {-1.0, 0.0}
    assert min(seen, unseen) > 15


def test_a_shaft_s_cells_width_and_direction_are_what_the_picture_shows(bars):
    shown = dataclasses.replace(bars, seen=np.ones_like(bars.seen))
    batch = DetectorSampler(shown, SIDE, 5, dataclasses.replace(MOVED_ONLY, close=0.0, aspect=0.0)).batch(0, 48)
    for k in range(48):
        grey = batch.planes[k, 0]
        ys, xs = np.nonzero(grey > 0.45)
        d = batch.direction[k]
        assert np.linalg.norm(d) == pytest.approx(1.0, abs=1e-5)
        u, v = xs * d[0] + ys * d[1], xs * d[1] - ys * d[0]
        assert v.max() - v.min() == pytest.approx(batch.width[k], abs=1.6)
        tip = px(batch.tip[k])
        assert u.max() == pytest.approx(tip @ d + batch.width[k] / 2, abs=1.2)
        assert u.max() - u.min() > 3 * batch.width[k]
        # all of a cell is bright: the shaft is asked there. None of it and its neighbours is: it is not
        blocks = grey.reshape(SIDE // CELL_PX, CELL_PX, -1, CELL_PX)
        assert (batch.shaft[k][blocks.min((1, 3)) > 0.9] == 1).all()
        wide = cv2.dilate(blocks.max((1, 3)), np.ones((3, 3)))
        assert not batch.shaft[k][wide < 0.05].any()
        assert (batch.shaft[k] == 1).sum() > 5


def test_a_shaft_that_cannot_be_seen_is_marked_as_not_asked(bars):
    batch = DetectorSampler(bars, SIDE, 5, dataclasses.replace(MOVED_ONLY, close=0.0)).batch(0, 16)
    rows, columns = np.mgrid[: SIDE // CELL_PX, : SIDE // CELL_PX]
    for shaft, tip, d in zip(batch.shaft, batch.tip, batch.direction, strict=True):
        behind = (tip[0] - columns) * d[0] + (tip[1] - rows) * d[1]
        assert set(np.unique(shaft)) == {0, 1, UNSEEN}
        assert behind[shaft == 1].max() < behind[shaft == UNSEEN].max()
        assert behind[shaft == 1].mean() < behind[shaft == UNSEEN].mean()
        assert behind[shaft == UNSEEN].min() > 0


def test_without_a_needle_nothing_is_to_be_found():
    batch = DetectorSampler(empty(3), SIDE, 0).batch(0, 6)
    assert not batch.shaft.any()
    assert not batch.heat.any()
    assert not batch.visible.any()
    for there in (batch.tip, batch.direction, batch.width):
        assert np.isnan(there).all()


def test_a_sample_of_a_seed_is_always_the_same(bars):
    look = DetectorAugmentation(near=0.0)
    whole = DetectorSampler(bars, SIDE, 7, look).batch(0, 40)
    again = DetectorSampler(bars, SIDE, 7, look)
    for first, count in ((30, 10), (5, 3), (0, 1)):
        part = again.batch(first, count)
        for f in dataclasses.fields(part):
            wanted = getattr(whole, f.name)[first : first + count]
            assert np.array_equal(getattr(part, f.name), wanted, equal_nan=wanted.dtype.kind == "f"), f.name
    other = DetectorSampler(bars, SIDE, 8, look).batch(0, 40)
    assert not np.array_equal(other.planes, whole.planes)


def test_looks_near_a_tip_are_small_and_many_and_show_it_ahead_of_the_middle(bars):
    look = dataclasses.replace(PLAIN_LOOK, near=1.0, near_sd=0.0, elsewhere=0.0)
    batch = DetectorSampler(bars, SIDE, 3, look).batch(0, 5)
    again = DetectorSampler(bars, SIDE, 3, look).batch(0, 5)
    assert np.array_equal(batch.planes, again.planes)
    assert batch.planes.shape == (5 * NEAR_MORE, 3, NEAR_PX, NEAR_PX)
    middle = (NEAR_PX / CELL_PX - 1) / 2
    there = np.isfinite(batch.tip).all(1)
    assert there.sum() >= 5
    ahead = batch.tip[there] - middle - 0.2 * NEAR_PX / CELL_PX * batch.direction[there]
    assert np.abs(ahead).max() < 0.1
    looks = [len(DetectorSampler(bars, SIDE, 3, DetectorAugmentation(near=0.34)).batch(k, 1).tip) for k in range(60)]
    assert 8 < sum(n == NEAR_MORE for n in looks) < 35


def test_every_still_is_shown_once_before_any_is_shown_again():
    stills = empty(20)
    stills.pixels[:] = np.arange(20, dtype=np.uint8)[:, None, None, None]
    batch = DetectorSampler(stills, SIDE, 2, PLAIN_LOOK).batch(0, 60)
    which = (batch.planes[:, 0, 50, 50] * 255).round().astype(int).reshape(3, 20)
    for turn in which:
        assert sorted(turn) == list(range(20))
    assert not np.array_equal(which[0], which[1])


def test_a_whole_still_is_shown_as_the_detector_shows_a_picture_at_run_time(dots):
    """The black round it is no part of it, so that training and run time see the same contrast at its edges."""
    batch = DetectorSampler(dots, STORED_PX, 0, PLAIN_LOOK).batch(0, len(dots))
    pictures = {}
    for pixels, (width, height), tip in zip(dots.pixels, dots.size.tolist(), dots.tip, strict=True):
        planes = np.zeros((3, STORED_PX, STORED_PX), np.float32)
        fill_planes(*(np.ascontiguousarray(p[:height, :width]) for p in pixels), planes)
        pictures[tuple(tip.round(2).tolist())] = planes
    for planes, tip in zip(batch.planes, (batch.tip + 0.5) * CELL_PX - 0.5, strict=True):
        assert np.abs(planes - pictures[tuple(tip.round(2).tolist())]).max() < 2e-3


def test_the_first_samples_are_smaller(dots):
    small = DetectorSampler(dots, SIDE, 0, DetectorAugmentation(near=0.0), begin_px=96, begun=8)
    assert [small.batch(first, 4).planes.shape[2] for first in (0, 4, 8, 12)] == [96, 96, SIDE, SIDE]
    alone = DetectorSampler(dots, 96, 0, DetectorAugmentation(near=0.0))
    assert np.array_equal(small.batch(4, 4).planes, alone.batch(4, 4).planes)
    near = DetectorSampler(dots, SIDE, 0, DetectorAugmentation(near=1.0), begin_px=64, begun=8)
    assert near.batch(0, 2).planes.shape == (2 * NEAR_MORE, 3, NEAR_PX, NEAR_PX)


def test_the_change_is_of_the_frame_against_the_earlier_one(bars):
    stills = dataclasses.replace(bars, pixels=bars.pixels.copy())
    stills.pixels[:, 1] = 0  # the needle was not there earlier
    moved = DetectorSampler(stills, SIDE, 0, dataclasses.replace(MOVED_ONLY, alone=0.0)).batch(0, 20)
    for planes in moved.planes:
        bright = planes[0] > 0.5
        assert (planes[2][bright] > 0).all()
        assert not planes[2][planes[0] == 0].any()
    alone = DetectorSampler(stills, SIDE, 0, dataclasses.replace(DetectorAugmentation(), alone=1.0)).batch(0, 20)
    assert alone.planes[:, 0].any()
    assert not alone.planes[:, 2].any()


def test_a_look_is_changed_by_grey_map_blur_and_noise_and_black_stays_black(bars):
    plain = DetectorSampler(bars, SIDE, 0, PLAIN_LOOK).batch(0, 8).planes[:, 0]
    mapped = DetectorSampler(bars, SIDE, 0, dataclasses.replace(PLAIN_LOOK, changed=1.0)).batch(0, 8).planes[:, 0]
    assert not mapped[plain == 0].any()
    assert np.abs(mapped - plain).max() > 0.1
    blurred = DetectorSampler(bars, SIDE, 0, dataclasses.replace(PLAIN_LOOK, blur=1.0)).batch(0, 8).planes[:, 0]
    assert np.abs(np.diff(blurred, axis=2)).max() < np.abs(np.diff(plain, axis=2)).max()
    assert blurred.sum() == pytest.approx(plain.sum(), rel=0.02)
    grainy = DetectorSampler(bars, SIDE, 0, dataclasses.replace(PLAIN_LOOK, noise=1.0)).batch(0, 8).planes[:, 0]
    spread = (grainy - plain)[(plain > 0.9) | (plain == 0)].std() * 255
    assert 0.5 < spread < 12


WEAR = {
    "uneven": {"uneven": 1.0},
    "streaked": {"streaked": 1.0},
    "despeckled": {"despeckled": 1.0},
    "coarse": {"coarse": 1.0},
    "packed": {"packed": 1.0},
    "cut off": {"changed": 1.0, "floor": 1.0, "gamma": (1.0, 1.0), "gain": (1.0, 1.0)},
}


@pytest.mark.parametrize("more", WEAR.values(), ids=WEAR)
def test_wear_changes_a_look_but_not_where_the_needle_is(dots, more):
    plain = DetectorSampler(dots, SIDE, 0, PLAIN_LOOK).batch(0, 24)
    worn = DetectorSampler(dots, SIDE, 0, dataclasses.replace(PLAIN_LOOK, **more)).batch(0, 24)
    assert np.array_equal(worn.tip, plain.tip)
    changed = 0
    for before, after in zip(plain.planes[:, 0], worn.planes[:, 0], strict=True):
        changed += np.abs(after - before).max() > 0.02
        assert np.abs(middle_of_light(after) - middle_of_light(before)).max() < 0.8
    assert changed >= 22  # a median or JPEG may leave a dot as it is


def test_what_wears_a_look_does_as_it_says(bars):
    def look(**more):
        return DetectorSampler(bars, SIDE, 0, dataclasses.replace(PLAIN_LOOK, **more)).batch(0, 12).planes[:, 0]

    plain = look()
    streaked = look(streaked=1.0, streak_px=(2.0, 2.0))
    lost = [np.abs(np.diff(plain, axis=a)).sum() - np.abs(np.diff(streaked, axis=a)).sum() for a in (1, 2)]
    assert lost[1] > 1.5 * max(lost[0], 0.0)  # along the rows more than down the columns
    cut = look(changed=1.0, floor=1.0, floor_part=(0.3, 0.3), gamma=(1.0, 1.0), gain=(1.0, 1.0))
    assert not cut[plain < 0.29].any()
    assert cut[plain > 0.9].min() > 0.8
    uneven = look(uneven=1.0)
    assert not uneven[plain == 0].any()
    ratio = uneven[0][plain[0] > 0.5] / plain[0][plain[0] > 0.5]
    assert ratio.max() > 1.1 * ratio.min()


def plain_shaft(shaft, seen, radius, rows, columns):
    """Every piece against all cells. A part that can be seen counts more than one that cannot."""
    out = np.zeros((rows, columns), np.uint8)
    xs, ys = px(np.arange(columns)), px(np.arange(rows))[:, None]
    for (a, b), shown in sorted(zip(pairwise(shaft), pairwise(seen), strict=True), key=lambda piece: all(piece[1])):
        d = b - a
        t = np.clip(((xs - a[0]) * d[0] + (ys - a[1]) * d[1]) / (d @ d), 0, 1)
        near = np.hypot(xs - a[0] - t * d[0], ys - a[1] - t * d[1]) <= radius
        out[near] = 1 if all(shown) else UNSEEN
    return out


@given(
    st.lists(st.tuples(st.integers(-40, 100), st.integers(-40, 100)), min_size=2, max_size=5, unique=True),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.sampled_from([3.1, 5.3, 11.7]),
)
def test_the_cells_of_a_shaft_are_those_within_its_radius(points, seen, radius):
    shaft = np.array(points) + np.array([0.137, 0.291])  # no cell lies just on the rim
    out = np.zeros((12, 15), np.uint8)
    draw_shaft(shaft, np.array(seen[: len(points)]), radius, out)
    assert np.array_equal(out, plain_shaft(shaft, seen[: len(points)], radius, 12, 15))
