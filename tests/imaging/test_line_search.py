import math

import cv2
import numpy as np
import pytest

from sonosteer.imaging.line_search import find_lines, normalised, view_of
from sonosteer.imaging.scratch import Scratch


def scene(angle_deg, start, length, size=256, seed=0):
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(70, 45, (size, size)).astype(np.float32), (0, 0), 1.2)
    a = math.radians(angle_deg)
    end = (start[0] + length * math.cos(a), start[1] + length * math.sin(a))
    cv2.line(image, tuple(map(round, start)), tuple(map(round, end)), 190.0, 4, cv2.LINE_AA)
    return np.clip(image, 8, 255).astype(np.uint8), end


@pytest.mark.parametrize(
    ("angle", "right", "steep"), [(25, False, False), (155, True, False), (60, False, True), (118, True, True)]
)
def test_a_bright_line_from_the_border_is_found_with_its_end(angle, right, steep):
    start = {25: (0, 20), 155: (255, 20), 60: (30, 0), 118: (220, 0)}[angle]
    image, end = scene(angle, start, 150)
    lines = find_lines(view_of(image), from_right=right, steep=steep, angle_rad=(0.15, 1.4))
    best = lines[0]
    assert math.degrees(best.angle_rad) == pytest.approx(angle, abs=2.5)
    assert math.dist(best.tip_px, end) < 18
    assert best.score > 5


def test_the_longer_line_that_would_pierce_the_skin_far_away_loses():
    """A bright, long, shallow line deep in the image is a bone or a fascia."""
    image, _ = scene(30, (0, 20), 110)
    cv2.line(image, (0, 170), (250, 196), 255, 5, cv2.LINE_AA)
    best = find_lines(view_of(image), from_right=False, steep=False, angle_rad=(0.1, 0.8))[0]
    assert math.degrees(best.angle_rad) == pytest.approx(30, abs=2.5)


@pytest.mark.parametrize(
    "image", [np.zeros((200, 200), np.uint8), np.full((200, 200), 90, np.uint8), np.zeros((20, 30), np.uint8)]
)
def test_a_blank_image_has_no_clear_line(image):
    lines = find_lines(view_of(image), from_right=False, steep=False, angle_rad=(0.2, 0.8))
    assert all(line.score < 1.5 for line in lines)


def test_speckle_alone_scores_far_below_a_needle():
    worst = []
    for seed in range(12):
        image, _ = scene(30, (0, -500), 1, seed=seed)
        lines = find_lines(view_of(image), from_right=False, steep=False, angle_rad=(0.5, 0.7))
        worst.append(max((line.score for line in lines), default=0.0))
    assert np.median(worst) < 2.5


def test_normalisation_takes_brightness_and_contrast_out():
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal(60, 12, (128, 128)), 10, 255)
    image[:, 64:] = np.clip(image[:, 64:] * 2.2, 0, 255)
    flat = normalised(image.astype(np.uint8), np.ones((128, 128), np.uint8), Scratch())
    left, right = flat[20:-20, 5:40], flat[20:-20, 90:-5]
    assert abs(left.mean() - right.mean()) < 2.0
    assert left.std() == pytest.approx(right.std(), rel=0.35)
