"""The tip of a needle that moves by a known way is found in texture that is as bright as it."""

import math

import cv2
import numpy as np
import pytest

from sonosteer.core.geometry import Spacing
from sonosteer.imaging.moving_tip import AHEAD_MM, FADE_MM, find_moving_tip

SPACING = Spacing(0.25, 0.25)
SIDE = 320
TIMES = np.arange(30) / 25
DEPTHS = 40.0 + 0.5 * np.sin(2 * np.pi * 2.0 * TIMES)


def texture(rng, shape):
    """Grain of about a millimetre, from 20 to 140 grey levels."""
    grain = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 1.6)
    return 80.0 + 30.0 * grain / grain.std()


def pictures(tip_mm, angle_rad, *, seed=0, fade_mm=FADE_MM, moves=1.0, tissue_mm=None, noise=1.5):
    """A texture that moves along the needle's line behind the tip, less and less ahead of it, and not beside it."""
    rng = np.random.default_rng(seed)
    grain = texture(rng, (SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    x, y = columns * 0.25 - tip_mm[0], rows * 0.25 - tip_mm[1]
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    along, across = x * c + y * s - AHEAD_MM, -x * s + y * c
    gain = np.exp(-np.maximum(along, 0.0) / fade_mm) * np.exp(-np.maximum(np.abs(across) - 0.6, 0.0) / 3.0)
    out = []
    for k, by in enumerate(DEPTHS - DEPTHS.mean()):
        dx, dy = (0.0, 0.0) if tissue_mm is None else tissue_mm[k]
        moved = moves * by * gain
        shown = cv2.remap(
            grain,
            (columns - (moved * c + dx) / 0.25).astype(np.float32),
            (rows - (moved * s + dy) / 0.25).astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        out.append(np.clip(shown + noise * rng.standard_normal(shown.shape), 1, 255).astype(np.uint8))
    return out


def find(shown, near_mm, angle_rad=0.7, depths=DEPTHS, times=TIMES, **more):
    return find_moving_tip(shown, times, depths, near_mm=near_mm, direction_rad=angle_rad, spacing=SPACING, **more)


@pytest.mark.parametrize("off_mm", [-6.0, 0.0, 6.0])
@pytest.mark.parametrize("angle_rad", [0.5, math.pi - 0.9])
def test_the_tip_is_found_wherever_it_was_thought_to_be(angle_rad, off_mm):
    tip = (40.0, 42.0)
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    near = tip[0] + off_mm * c, tip[1] + off_mm * s
    found = find(pictures(tip, angle_rad, seed=round(10 * angle_rad)), near, angle_rad)
    assert math.dist(found.tip_mm, tip) < 1.0
    assert 0.3 <= found.sd_mm < 2.0


def test_errors_are_as_large_as_is_said():
    errors = []
    for seed in range(4):
        found = find(pictures((40.0, 42.0), 0.7, seed=seed), (41.0, 42.5))
        away = (found.tip_mm[0] - 40.0) * math.cos(0.7) + (found.tip_mm[1] - 42.0) * math.sin(0.7)
        errors.append(away / found.sd_mm)
    assert np.sqrt(np.mean(np.square(errors))) < 2.0


def test_tissue_that_breathes_is_no_needle():
    breath = np.stack([0.2 * TIMES, 0.8 * TIMES + 0.3 * TIMES**2], axis=1)
    found = find(pictures((40.0, 42.0), 0.7, tissue_mm=breath - breath[15]), (41.0, 42.5))
    assert math.dist(found.tip_mm, (40.0, 42.0)) < 1.2


def test_where_nothing_moves_with_the_encoder_nothing_is_found():
    still = pictures((40.0, 42.0), 0.7, moves=0.0)
    assert find(still, (40.0, 42.0)) is None
    moving = pictures((40.0, 42.0), 0.7)
    other_way = np.random.default_rng(1).permutation(DEPTHS)
    assert find(moving, (40.0, 42.0), depths=other_way) is None


def test_too_few_pictures_and_too_little_motion_show_nothing():
    moving = pictures((40.0, 42.0), 0.7)
    assert find(moving[:7], (40.0, 42.0), depths=DEPTHS[:7], times=TIMES[:7]) is None
    assert find(moving, (40.0, 42.0), depths=np.full(30, 40.0)) is None


def test_the_pictures_are_left_as_they_are():
    moving = pictures((40.0, 42.0), 0.7)
    before = [each.copy() for each in moving]
    find(moving, (40.0, 42.0))
    assert all((a == b).all() for a, b in zip(before, moving, strict=True))


def test_by_the_edge_of_the_picture_it_does_not_fail():
    moving = pictures((4.0, 4.0), 0.7)
    found = find(moving, (4.0, 4.0))
    assert found is None or math.dist(found.tip_mm, (4.0, 4.0)) < 12.0
