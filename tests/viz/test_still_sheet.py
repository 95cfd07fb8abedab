"""Sheets of stills: the needle stays free to see, and each outcome has its colour and its word."""

import cv2
import numpy as np
import pytest

from sonosteer.viz.contact_sheet import THUMB
from sonosteer.viz.still_sheet import OUTCOME_COLOURS, TRUE_TIP, StillTile, drawn_still, write_stills

GREY = np.full((200, 400), 60, np.uint8)


def tile(outcome="right", **more):
    fields = {
        "grey": GREY,
        "true_tip_px": (300.0, 100.0),
        "true_shaft_px": ((300.0, 100.0), (150.0, 60.0), (10.0, 20.0)),
        "tip_px": (200.0, 150.0),
        "shaft_px": ((20.0, 150.0), (200.0, 150.0)),
    }
    return StillTile(outcome=outcome, name="seed 3", **{**fields, **more})


def coloured(picture, colour, at, reach):
    x, y = (round((v + 0.5) * THUMB / 400 - 0.5) for v in at)
    part = picture[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].astype(int)
    return int((np.abs(part - colour).sum(-1) < 60).sum())


@pytest.mark.parametrize("outcome", ["right", "near", "wrong"])
def test_truth_and_estimate_are_where_they_are(outcome):
    picture = drawn_still(tile(outcome))
    assert picture.shape == (128, 256, 3)
    assert coloured(picture, TRUE_TIP, (300.0, 100.0), 8) > 5
    assert coloured(picture, OUTCOME_COLOURS[outcome], (200.0, 150.0), 7) > 5
    assert coloured(picture, OUTCOME_COLOURS[outcome], (100.0, 150.0), 9) >= 4
    assert coloured(picture, OUTCOME_COLOURS[outcome], (300.0, 40.0), 9) == 0


def test_the_tip_and_the_shaft_are_left_free():
    picture = drawn_still(tile(tip_px=None, shaft_px=(), outcome="lost"))
    for at in [(300.0, 100.0), (150.0, 60.0), (230.0, 81.0)]:
        x, y = (round((v + 0.5) * THUMB / 400 - 0.5) for v in at)
        assert (picture[y, x] == 60).all()


def test_a_still_without_a_needle_that_is_lost_is_left_alone():
    picture = drawn_still(tile(true_tip_px=None, true_shaft_px=(), tip_px=None, shaft_px=(), outcome="lost"))
    assert (picture == 60).all()


def test_a_sheet_is_one_picture(tmp_path):
    path = tmp_path / "sheet.png"
    write_stills(path, "Stills", [tile(o) for o in OUTCOME_COLOURS] + [tile(grey=np.zeros((400, 200), np.uint8))] * 4)
    sheet = cv2.imread(str(path))
    assert sheet.shape[1] == 12 + 6 * (256 + 12)
    assert sheet.shape[0] > 2 * 256
