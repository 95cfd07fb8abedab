"""The needle detector at run time, with a network that finds the brightest dot: places, shapes, scores, errors."""

import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.imaging.detector_planes import CELL_PX, STEP_PX, fill_planes
from sonosteer.inference import needle_detector
from sonosteer.inference.needle_detector import (
    CALIBRATION,
    CLOSE_MOVE,
    CLOSE_PX,
    DETECTOR_ARCHITECTURE,
    FEATURES,
    NEAR_PART,
    NEAR_PX,
    UNCALIBRATED,
    WHOLE_FEATURES,
    Calibration,
    CloserLook,
    Detection,
    DetectorAnswer,
    NeedleDetector,
    features_of,
    find_peaks,
    read_calibration,
    trace_shafts,
)

SIDE = 160


class BrightDot:
    """Stands for the network's session: calls the brightest place the tip, and says what it is told of the rest."""

    def __init__(self, direction=(1.0, 0.0), log_width=1.0, seen=2.0):
        self.direction, self.log_width, self.seen = direction, log_width, seen
        self.shown = []

    def run(self, outputs, inputs):
        planes = inputs["planes"]
        self.shown.append(planes.copy())
        rows, columns = (n // CELL_PX for n in planes.shape[2:])
        cells = np.zeros((1, 8, rows, columns), np.float32)
        cells[0, :2] = -9.0
        cells[0, 4:6] = np.reshape(self.direction, (2, 1, 1))
        cells[0, 6], cells[0, 7] = self.log_width, self.seen
        grey = planes[0, 0].astype(float)
        if grey.max() > 0.3:
            weight = np.clip(grey - 0.5 * grey.max(), 0, None)
            ys, xs = np.mgrid[: grey.shape[0], : grey.shape[1]]
            x, y = (((weight * p).sum() / weight.sum() + 0.5) / CELL_PX - 0.5 for p in (xs, ys))
            r, c = min(round(y), rows - 1), min(round(x), columns - 1)
            near = np.s_[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            ys, xs = np.mgrid[:rows, :columns]
            cells[0, 2], cells[0, 3] = x - xs, y - ys
            cells[0, 1][near] = 1.0
            cells[0, 1, r, c] = 4.0
        return [cells]


@pytest.fixture
def folder(tmp_path):
    said = {"architecture": DETECTOR_ARCHITECTURE, "model": {"side_px": SIDE}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    return tmp_path


@pytest.fixture
def detector(folder, monkeypatch):
    """A detector whose network is `BrightDot`."""

    class Graphs:
        def __init__(self, folder, threads):
            pass

        def session(self, name):
            assert name == "detector.onnx"
            return BrightDot()

    monkeypatch.setattr(needle_detector, "OnnxGraphs", Graphs)
    return NeedleDetector(str(folder))


def dotted(rows, columns, x, y, radius):
    ys, xs = np.mgrid[:rows, :columns]
    return (20 + 230 * np.exp(-0.5 * ((xs - x) ** 2 + (ys - y) ** 2) / radius**2)).astype(np.uint8)


# -- a picture of any size -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (160, 160),
        (480, 640),
        (641, 479),
        (1080, 1920),
        (97, 433),
        (500, 101),
        (61, 83),
        (40, 40),
        (161, 159),
        (32, 200),
    ],
)
@pytest.mark.parametrize("place", [(0.3, 0.6), (0.71, 0.27), (0.5, 0.5)])
def test_a_tip_is_placed_in_px_of_the_picture_whatever_its_size(detector, rows, columns, place):
    x, y = place[0] * (columns - 1), place[1] * (rows - 1)
    input_px = max(rows, columns) / SIDE
    picture = dotted(rows, columns, x, y, max(1.7 * input_px, 1.5))
    for closer, width_px in ((0, math.e * input_px), (1, math.e * 0.4 * max(rows, columns) / CLOSE_PX)):
        [found] = detector.look(picture, closer=closer).needles
        assert math.dist(found.tip_px, (x, y)) < 0.15 * max(input_px, 1.0)
        assert found.angle_rad == pytest.approx(0.0, abs=0.01)
        if max(rows, columns) > 79:  # below, the closer look shows more than its part
            assert found.width_px == pytest.approx(width_px, rel=0.06)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 300), (300, 1), (7, 3), (301, 2), (33, 1000), (64, 64), (160, 129), (129, 160)]
)
def test_pictures_of_odd_sizes_are_answered(detector, size):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, size).astype(np.uint8)
    answer = detector.look(picture, rng.integers(0, 256, size).astype(np.uint8))
    [planes] = detector._session.shown[:1]
    assert planes.shape[2] % STEP_PX == planes.shape[3] % STEP_PX == 0
    reduced = [max(round(n * SIDE / max(size)), 1) for n in size]
    assert list(answer.shaft.shape) == [math.ceil(n / CELL_PX) for n in reduced]
    slack = 2.0 * CELL_PX * max(size) / SIDE
    for d in answer.needles:
        assert -slack < d.tip_px[0] < size[1] + slack
        assert -slack < d.tip_px[1] < size[0] + slack
        assert 0.0 <= d.score <= 1.0
    assert answer.at((size[1] / 2 - 0.5, size[0] / 2 - 0.5)) is not None
    for outside in ((-1 - 2 * slack, 0.0), (0.0, size[0] + 2 * slack), (math.nan, 0.0)):
        assert answer.at(outside) is None


def test_a_dark_picture_has_no_needle(detector):
    assert detector.look(np.zeros((300, 200), np.uint8)).needles == ()


def test_the_earlier_picture_is_shown_if_it_is_of_the_same_size(detector):
    now, earlier = dotted(200, 320, 90, 80, 6), dotted(200, 320, 60, 80, 6)
    for before, changes in ((None, False), (now, False), (earlier[:190], False), (earlier, True)):
        detector._session.shown.clear()
        detector.look(now, before)
        assert detector._session.shown[0][0, 2].any() == changes


def test_what_the_network_says_at_a_place_is_what_it_says_of_its_needle(detector):
    picture = dotted(480, 640, 200.0, 300.0, 7.0)
    answer = detector.look(picture)
    [found] = answer.found
    there = answer.at((201.0, 299.0))
    assert there.tip_px == pytest.approx(found.tip_px, abs=1.0)
    assert there.tip_logit == 4.0
    elsewhere = answer.at((500.0, 100.0))
    assert elsewhere.tip_logit == -9.0
    assert elsewhere.score < 0.01 < 0.9 < there.score


# -- a closer look ---------------------------------------------------------------------------------------------


class TwoLooks(BrightDot):
    """The look at the whole picture is some cells off. The closer look is right, and as sure as it is told."""

    def __init__(self, off_cells=2, close_logit=4.0):
        super().__init__()
        self.off_cells, self.close_logit = off_cells, close_logit

    def run(self, outputs, inputs):
        [cells] = super().run(outputs, inputs)
        if inputs["planes"].shape[3] == CLOSE_PX:
            cells[0, 1] -= 4.0 - self.close_logit
        else:
            cells = np.roll(cells, self.off_cells, axis=3)
        return [cells]


def test_a_closer_look_puts_the_tip_right(detector):
    detector._session = TwoLooks()
    [first] = detector.look(dotted(480, 640, 250.0, 210.0, 7.0), closer=0).needles
    assert first.closer is None
    assert first.tip_px == pytest.approx((250.0 + 2 * 16, 210.0), abs=2)
    [found] = detector.look(dotted(480, 640, 250.0, 210.0, 7.0)).needles
    assert found.tip_px == pytest.approx((250.0, 210.0), abs=1)
    assert found.tip_logit == first.tip_logit
    assert found.closer.tip_logit == 4.0
    assert found.closer.moved == pytest.approx(32 / 640, abs=0.004)


class TwoLooksAtAShaft(TwoLooks):
    """The look at the whole picture sees a level shaft from the left to its tip. The true tip is a cell higher."""

    def run(self, outputs, inputs):
        [cells] = BrightDot.run(self, outputs, inputs)
        if inputs["planes"].shape[3] != CLOSE_PX:
            cells = np.roll(cells, 1, axis=2)
            r, c = np.unravel_index(cells[0, 1].argmax(), cells.shape[2:])
            cells[0, 0, r, : c + 1] = 9.0
        return [cells]


def test_a_needle_whose_tip_was_put_right_turns_about_its_tail(detector):
    detector._session = TwoLooksAtAShaft()
    picture = dotted(480, 640, 450.0, 210.0, 7.0)
    [first] = detector.look(picture, closer=0).needles
    [found] = detector.look(picture).needles
    assert found.tip_px[1] == pytest.approx(first.tip_px[1] - 16.0, abs=1.0)
    assert found.tail_px == first.tail_px
    assert found.angle_rad - first.angle_rad == pytest.approx(-16.0 / 440.0, abs=0.005)


@pytest.mark.parametrize("look", [BrightDot, TwoLooks, TwoLooksAtAShaft])
@pytest.mark.parametrize("closer", [0, 1])
def test_a_needle_points_from_its_tail_to_its_tip(detector, look, closer):
    """Also a short one, which its tip's move would turn round."""
    detector._session = look()
    [found] = detector.look(dotted(480, 640, 250.0, 210.0, 7.0), closer=closer).needles
    dx, dy = found.tip_px[0] - found.tail_px[0], found.tip_px[1] - found.tail_px[1]
    assert math.atan2(dy, dx) == pytest.approx(found.angle_rad, abs=1e-9)
    assert abs(found.angle_rad) < 0.1


def test_a_closer_look_that_is_in_doubt_does_not_move_the_tip(detector):
    for logit, tip_x in ((2.1, 250.0), (1.9, 282.0)):
        detector._session = TwoLooks(close_logit=logit)
        [found] = detector.look(dotted(480, 640, 250.0, 210.0, 7.0)).needles
        assert found.tip_px[0] == pytest.approx(tip_x, abs=2)
        assert found.closer.tip_logit == pytest.approx(logit)


def test_a_closer_look_far_from_the_tip_speaks_for_another(detector):
    """What it says at the tip counts then: here that there is none."""
    detector._session = TwoLooks(off_cells=3)
    [found] = detector.look(dotted(480, 480, 250.0, 210.0, 7.0)).needles
    assert math.dist(found.tip_px, (250.0, 210.0)) / 480 > CLOSE_MOVE
    assert found.closer.tip_logit < -8.0
    assert 0.0 <= found.closer.moved <= CLOSE_MOVE


def test_closer_looks_are_at_the_best_and_at_the_part_of_the_picture_round_them(detector):
    picture = dotted(480, 640, 20.0, 470.0, 5.0)  # near a corner: much of the part lies beyond the picture
    detector.look(picture)
    whole, part = detector._session.shown
    assert whole.shape == (1, 3, 128, 160)
    assert part.shape == (1, 3, CLOSE_PX, CLOSE_PX)
    grey = part[0, 0]
    r, c = np.unravel_index(grey.argmax(), grey.shape)
    size = 0.4 * 640 / CLOSE_PX
    beyond = np.array([(640 - 20) / size, (480 - 470) / size])  # from the dot to the picture's edges, input px
    assert c == pytest.approx(CLOSE_PX * 0.7, abs=3)
    assert r == pytest.approx(CLOSE_PX * 0.5, abs=3)
    assert not grey[r + math.ceil(beyond[1]) + 1 :].any()
    assert not grey[:, : c - math.ceil(20.0 / size) - 1].any()
    assert (grey[: r - 10, c - 10 :] > 0).all()
    detector._session.shown.clear()
    detector.look(picture, closer=0)
    assert len(detector._session.shown) == 1


# -- a look near a tip -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(480, 640), (1080, 1920), (300, 200), (97, 433)])
@pytest.mark.parametrize(("x", "y", "angle"), [(0.4, 0.6, 0.5), (0.05, 0.9, -2.0), (0.96, 0.04, 3.0)])
def test_a_look_near_a_tip_places_it_in_px_of_the_whole_picture(detector, rows, columns, x, y, angle):
    x, y, input_px = x * (columns - 1), y * (rows - 1), NEAR_PART * max(rows, columns) / NEAR_PX
    expected = x + 6 * input_px, y - 5 * input_px
    answer = detector.look_near(dotted(rows, columns, x, y, max(1.7 * input_px, 1.5)), None, expected, angle)
    assert [p.shape for p in detector._session.shown] == [(1, 3, NEAR_PX, NEAR_PX)]
    [found] = answer.needles
    if min(x, y, columns - 1 - x, rows - 1 - y) > 5 * input_px:
        assert math.dist(found.tip_px, (x, y)) < 0.3 * max(input_px, 1.0)
    else:  # the dot is cut by the picture's edge
        assert math.dist(found.tip_px, (x, y)) < 2.0 * input_px
    assert answer.at(found.tip_px).tip_logit == 4.0
    side = NEAR_PART * max(rows, columns)
    assert answer.at((x + 1.5 * side, y)) is None


def test_a_look_near_a_tip_shows_the_earlier_picture_too(detector):
    now, earlier = dotted(200, 320, 90, 80, 6), dotted(200, 320, 60, 80, 6)
    for before, changes in ((None, False), (now, False), (earlier[:190], False), (earlier, True)):
        detector._session.shown.clear()
        detector.look_near(now, before, (90.0, 80.0), 0.0)
        assert detector._session.shown[0][0, 2].any() == changes


def test_a_look_over_the_edge_of_the_picture_knows_its_contrast_from_the_picture_alone(detector):
    """What lies beyond is black, but no dark part of the picture."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (300, 320)).astype(np.uint8), (0, 0), 2)
    detector.look_near(picture, None, (316.0, 4.0), 0.0)  # a square of 96 px: nothing is reduced
    planes = detector._session.shown[0][0]
    top, left = -round(4 - NEAR_PX / 2), round(316 - 0.7 * NEAR_PX)
    alone = np.zeros((3, NEAR_PX - top, 320 - left), np.float32)
    fill_planes(picture[: NEAR_PX - top, left:], picture[: NEAR_PX - top, left:], alone)
    assert np.abs(planes[:, top:, : 320 - left] - alone).max() < 1e-4
    assert not planes[:, :top].any()
    assert not planes[:, :, 320 - left :].any()


def test_a_look_has_its_own_calibration(detector):
    picture = dotted(480, 640, 250.0, 210.0, 7.0)
    weights = {look: (0.0,) * (len(names) + 1) for look, names in FEATURES.items()}
    for k, look in enumerate(FEATURES):
        weights[look] = (*weights[look][:-1], float(k))
    detector.calibration = Calibration(weights)
    scores = [1 / (1 + math.exp(-k)) for k in range(3)]
    assert list(FEATURES) == ["whole", "close", "near"]
    assert detector.look(picture, closer=0).needles[0].score == pytest.approx(scores[0])
    assert detector.look(picture).needles[0].score == pytest.approx(scores[1])
    assert detector.look_near(picture, None, (250.0, 210.0), 0.0).needles[0].score == pytest.approx(scores[2])


# -- cells to px -----------------------------------------------------------------------------------------------


def answer_of(cells, k=(1.0, 1.0), picture_px=320.0, corner=(0, 0)):
    cells = np.asarray(cells, np.float32)
    return DetectorAnswer("whole", cells, k, corner_px=corner, picture_px=picture_px, calibration=UNCALIBRATED)


def bar_of_cells(rows, columns, tip, angle, length, half=1.0):
    """Probability of a shaft: a bar from the tip back."""
    ys, xs = np.mgrid[:rows, :columns].astype(float)
    c, s = math.cos(angle), math.sin(angle)
    u = np.clip((tip[0] - xs) * c + (tip[1] - ys) * s, 0, length)
    off = np.hypot(xs - tip[0] + u * c, ys - tip[1] + u * s)
    return np.clip(half + 0.5 - off, 0.0, 1.0).astype(np.float32)


def logit_of(p):
    q = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(q / (1 - q))


@pytest.mark.parametrize("angle_deg", [-150, -70, 10, 40, 95, 180])
@pytest.mark.parametrize("k", [(1.0, 1.0), (2.0, 2.0), (1.5, 2.5)])
def test_direction_tail_and_length_are_those_of_the_picture_not_of_the_cells(angle_deg, k):
    """k: px of the picture per input px along x and y. They differ a little where sizes are rounded."""
    rows, columns, angle = 60, 80, math.radians(angle_deg)
    tip = (40.0 + 12 * math.cos(angle), 30.0 + 12 * math.sin(angle))
    cells = np.full((8, rows, columns), -9.0)
    cells[0] = logit_of(bar_of_cells(rows, columns, tip, angle, 24.0))
    r, c = round(tip[1]), round(tip[0])
    ys, xs = np.mgrid[:rows, :columns]
    cells[1, r, c], cells[2], cells[3] = 3.0, tip[0] - xs, tip[1] - ys
    cells[4], cells[5], cells[6], cells[7] = math.cos(angle), math.sin(angle), math.log(5.0), 0.0
    d = answer_of(cells, k).at([((p + 0.5) * CELL_PX) * f - 0.5 for p, f in zip((c, r), k, strict=True)])

    def px(x, y):
        return (x + 0.5) * CELL_PX * k[0] - 0.5, (y + 0.5) * CELL_PX * k[1] - 0.5

    assert d.tip_px == pytest.approx(px(*tip), abs=0.2)
    tail = px(tip[0] - 24 * math.cos(angle), tip[1] - 24 * math.sin(angle))
    assert math.dist(d.tail_px, tail) < 2.0 * CELL_PX * max(k)
    assert d.length_px == pytest.approx(math.dist(tail, px(*tip)), rel=0.09)
    towards = math.atan2(d.tip_px[1] - tail[1], d.tip_px[0] - tail[0])
    assert math.remainder(d.angle_rad - towards, math.tau) == pytest.approx(0.0, abs=0.03)
    assert d.width_px == pytest.approx(5.0 * math.sqrt(k[0] * k[1]), rel=1e-3)
    assert d.visible == pytest.approx(0.5)
    assert d.shaft > 0.9
    assert d.ahead < 0.1


def test_the_lead_is_over_the_strongest_tip_elsewhere():
    cells = np.zeros((8, 40, 60), np.float32)
    cells[:2] = -9.0
    cells[1, 10, 10], cells[1, 30, 40], cells[1, 31, 42] = 2.0, 0.5, 0.2

    def lead(x, y):
        return answer_of(cells).at(((x + 0.5) * CELL_PX - 0.5, (y + 0.5) * CELL_PX - 0.5)).lead

    assert lead(10, 10) == pytest.approx(1.5)
    assert lead(40, 30) == pytest.approx(-1.5)
    cells[1, 30:32, 40:43] = -9.0
    assert lead(10, 10) == pytest.approx(2.0 - needle_detector.LEAST_LOGIT)


def test_an_offset_beyond_what_was_learnt_is_cut():
    cells = np.zeros((8, 40, 40), np.float32)
    cells[:2], cells[1, 20, 20], cells[2], cells[3] = -9.0, 3.0, 50.0, -50.0
    found = answer_of(cells).at((20.5 * CELL_PX - 0.5, 20.5 * CELL_PX - 0.5))
    reach = needle_detector.OFFSET_CELLS * CELL_PX
    assert found.tip_px == pytest.approx((20.5 * CELL_PX - 0.5 + reach, 20.5 * CELL_PX - 0.5 - reach))


# -- peaks -----------------------------------------------------------------------------------------------------


def plain_peaks(logit, apart, least, most):
    """Strongest first, each unless a taken one is close. Of equals the first in reading order."""
    rows, columns = logit.shape
    tops = []
    for r in range(rows):
        for c in range(columns):
            near = logit[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            if logit[r, c] >= max(near.max(), least):
                tops.append((-logit[r, c], r, c))
    taken = []
    for value, r, c in sorted(tops):
        if len(taken) < most and all(math.hypot(r - i, c - j) >= apart for _, i, j in taken):
            taken.append((-value, r, c))
    return taken


@given(st.data())
def test_peaks_are_the_strongest_maxima_that_are_apart(data):
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    values = data.draw(st.lists(st.integers(-7, 5), min_size=rows * columns, max_size=rows * columns))
    logit = np.array(values, np.float32).reshape(rows, columns)
    apart, most = data.draw(st.sampled_from([0.5, 1.5, 2.0, 3.0, 4.2])), data.draw(st.integers(1, 6))
    found = find_peaks(logit, apart, -5.0, most)
    assert [tuple(p) for p in found] == plain_peaks(logit, apart, -5.0, most)


def test_one_strong_peak_puts_away_all_weaker_ones_round_it():
    """Two weaker ones on its two sides, which are apart from one another."""
    logit = np.full((5, 9), -9.0, np.float32)
    logit[0, 2], logit[0, 6], logit[2, 4] = 1.0, 1.5, 2.0
    assert find_peaks(logit, 3.0, -5.0, 8).tolist() == [[2.0, 2.0, 4.0]]


# -- the shaft -------------------------------------------------------------------------------------------------


def traced(shaft, x, y, angle):
    """(direction, length, mean, ahead) of the shaft of one tip."""
    t = trace_shafts(shaft, np.array([x]), np.array([y]), np.array([angle]))
    return float(t.angle_rad[0]), float(t.length[0]), float(t.mean[0]), float(t.ahead[0])


def plain_value(plane, x, y):
    """Bilinear value at (column, row). 0 outside."""
    rows, columns = plane.shape
    if not (0 <= x <= columns - 1 and 0 <= y <= rows - 1):
        return 0.0
    i, j = min(int(y), max(rows - 2, 0)), min(int(x), max(columns - 2, 0))
    below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
    top = plane[i, j] + (x - j) * (plane[i, right] - plane[i, j])
    low = plane[below, j] + (x - j) * (plane[below, right] - plane[below, j])
    return top + (y - i) * (low - top)


def plain_traced(shaft, x, y, angle):
    """The same, step by step from the tip back until nothing is seen for too long."""
    most = max(shaft.shape)
    for turn in range(3):
        c, s = math.cos(angle), math.sin(angle)
        length, missed, u, weight, uu, uv = 0.0, 0.0, 1.0, 0.0, 0.0, 0.0
        while u < 1.42 * most and missed < max(0.1 * most, 3.0):
            values = {v: plain_value(shaft, x - u * c - v * s, y - u * s + v * c) for v in np.arange(-2, 2.5, 0.5)}
            for v, p in values.items():
                if p > 0.1:
                    weight, uu, uv = weight + p, uu + p * u * u, uv + p * u * v
            length, missed = (u, 0.0) if max(values.values()) > 0.33 else (length, missed + 1)
            u += 1.0
        if turn < 2 and weight > 3.0:
            angle -= math.atan(min(max(uv / uu, -0.3), 0.3))
    c, s = math.cos(angle), math.sin(angle)
    best = [
        max(plain_value(shaft, x - u * c - v * s, y - u * s + v * c) for v in np.arange(-1, 1.5, 0.5))
        for u in np.arange(0.5, max(length, 2.0) + 1e-9)
    ]
    return angle, length, np.mean(best), np.mean([plain_value(shaft, x + k * c, y + k * s) for k in range(2, 6)])


@given(st.data())
def test_shafts_are_traced_as_step_by_step(data):
    rows, columns, n = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30)), data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    logit = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (5, 5), 1.5) * 12 - data.draw(st.floats(-3, 3))
    shaft = (np.round(4096 / (1 + np.exp(-logit))) / 4096).astype(np.float32)  # their differences are exact
    x, y = rng.uniform(-1, columns, n), rng.uniform(-1, rows, n)
    angle = rng.uniform(-math.pi, math.pi, n)
    found = trace_shafts(shaft, x, y, angle)
    said = np.column_stack([found.angle_rad, found.length, found.mean, found.ahead])
    plain = [plain_traced(shaft.astype(float), *tip) for tip in zip(x, y, angle, strict=True)]
    assert said == pytest.approx(np.reshape(plain, (-1, 4)), abs=1e-5)


@given(
    angle=st.floats(-math.pi, math.pi),
    off=st.floats(-0.2, 0.2),
    length=st.floats(9.0, 34.0),
    tip=st.tuples(st.floats(6.0, 73.0), st.floats(6.0, 53.0)),
)
def test_the_direction_and_length_of_a_drawn_bar_are_found(angle, off, length, tip):
    tail = tip[0] - length * math.cos(angle), tip[1] - length * math.sin(angle)
    assume(3 < tail[0] < 76)
    assume(3 < tail[1] < 56)
    way, found, mean, ahead = traced(bar_of_cells(60, 80, tip, angle, length), *tip, angle + off)
    assert math.remainder(way - angle, math.tau) == pytest.approx(0.0, abs=0.025)
    assert found == pytest.approx(length, abs=2.0)
    assert mean > 0.9
    assert ahead < 0.1


def test_a_shaft_that_goes_on_beyond_the_tip_is_noticed():
    _, length, _, ahead = traced(bar_of_cells(60, 80, (70.0, 30.0), 0.0, 60.0), 40.0, 30.0, 0.0)
    assert ahead == pytest.approx(1.0, abs=0.02)
    assert length == pytest.approx(30.0, abs=1.5)


def test_a_short_gap_is_bridged_and_a_long_one_ends_the_shaft():
    whole = bar_of_cells(60, 80, (70.0, 30.0), 0.0, 60.0)
    for gap, length in ((5, 60.0), (12, 20.0)):
        shaft = whole.copy()
        shaft[:, 50 - gap : 50] = 0.0
        assert traced(shaft, 70.0, 30.0, 0.0)[1] == pytest.approx(length, abs=2.0)


def test_where_there_is_no_shaft_its_length_is_nothing():
    assert traced(np.zeros((60, 80), np.float32), 40.0, 30.0, 0.7) == (0.7, 0.0, 0.0, 0.0)


def test_a_map_of_one_cell_has_no_shaft_to_trace():
    for shape in ((1, 1), (1, 40), (40, 1)):
        assert np.isfinite(traced(np.full(shape, 0.5, np.float32), 0.0, 0.0, 0.3)).all()


# -- scores ----------------------------------------------------------------------------------------------------


def detection(**more):
    fields = {
        "tip_px": (100.0, 50.0), "angle_rad": 0.0, "width_px": 5.0, "tail_px": (20.0, 50.0), "tip_logit": 1.5,
        "visible": 0.7, "shaft": 0.8, "ahead": 0.2, "lead": 2.5, **more,
    }  # fmt: skip
    return Detection(**fields)


def test_features_are_those_that_are_named():
    got = dict(zip(WHOLE_FEATURES, features_of(detection(), 400.0), strict=True))
    assert got == {
        "tip": 1.5,
        "visible": pytest.approx(math.log(0.7 / 0.3)),
        "shaft": pytest.approx(math.log(0.8 / 0.2)),
        "length": pytest.approx(math.log(80.0 / 400.0 + 0.02)),
        "ahead": 0.2,
        "lead": 2.5,
    }
    closer = features_of(detection(closer=CloserLook(-2.0, 0.6, 0.9, 0.05)), 400.0)
    assert dict(zip(FEATURES["close"], closer, strict=True)) == {
        **got,
        "close_tip": -2.0,
        "close_visible": pytest.approx(math.log(0.6 / 0.4)),
        "close_shaft": pytest.approx(math.log(0.9 / 0.1)),
        "moved": 1.0,
    }
    extreme = features_of(detection(visible=0.0, shaft=1.0, lead=40.0, tail_px=(100.0, 50.0)), 400.0)
    assert np.isfinite(extreme).all()
    assert extreme[WHOLE_FEATURES.index("lead")] == 6.0


def test_without_a_calibration_the_network_s_own_word_counts(tmp_path):
    assert read_calibration(tmp_path) is UNCALIBRATED
    for logit in (-3.0, 0.0, 1.5):
        score = UNCALIBRATED.score("near", features_of(detection(tip_logit=logit), 400.0))
        assert score == pytest.approx(1 / (1 + math.exp(-logit)))


def test_a_calibration_is_a_logistic_regression(tmp_path):
    """One for each kind of look."""
    rng = np.random.default_rng(0)
    said = {
        look: dict(zip((*names, "bias"), rng.normal(0, 0.5, len(names) + 1), strict=True))
        for look, names in FEATURES.items()
    }
    (tmp_path / CALIBRATION).write_text(json.dumps(said))
    calibration = read_calibration(tmp_path)
    looked_at = detection(closer=CloserLook(2.5, 0.6, 0.9, 0.01))
    for look, d in (("whole", detection()), ("near", detection()), ("close", looked_at)):
        features = features_of(d, 400.0)
        z = said[look]["bias"] + sum(said[look][name] * f for name, f in zip(FEATURES[look], features, strict=True))
        assert calibration.score(look, features) == pytest.approx(1 / (1 + math.exp(-z)))
        for extreme in (1e6, -1e6):
            assert 0.0 <= calibration.score(look, extreme * features) <= 1.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"whole": {"tip": 1.0, "bias": 0}}', '{"whole": 3, "close": {}}'])
def test_a_damaged_calibration_is_one_line(tmp_path, text):
    (tmp_path / CALIBRATION).write_text(text)
    with pytest.raises(
        InputError, match=r"calibration\.json is damaged or of another model .*; copy or train it again"
    ):
        read_calibration(tmp_path)


# -- what is wrong with a folder -------------------------------------------------------------------------------


def test_a_folder_that_holds_no_detector_is_one_line(tmp_path):
    with pytest.raises(InputError, match="there is no model 'nowhere'"):
        NeedleDetector("nowhere")
    with pytest.raises(InputError, match=r"config\.json is missing or of another model"):
        NeedleDetector(str(tmp_path))
    with pytest.raises(InputError, match=r"holds another model \(.*\), not a needle detector"):
        NeedleDetector("edge")


def test_missing_and_damaged_weights_are_one_line(folder):
    with pytest.raises(InputError, match=r"model\.safetensors does not exist"):
        NeedleDetector(str(folder))
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        NeedleDetector(str(folder))


def test_a_needle_s_picture_says_what_its_cells_say():
    """A whole look: a bar is drawn in a picture, and the network is one that calls what is bright a shaft."""
    detector = NeedleDetector.__new__(NeedleDetector)
    detector.side_px, detector.calibration = SIDE, UNCALIBRATED

    class BrightBar(BrightDot):
        def run(self, outputs, inputs):
            [cells] = super().run(outputs, inputs)
            grey = inputs["planes"][0, 0]
            blocks = grey.reshape(grey.shape[0] // CELL_PX, CELL_PX, -1, CELL_PX).max((1, 3))
            cells[0, 0] = np.where(blocks > 0.3, 4.0, -4.0)
            return [cells]

    detector._session = BrightBar(direction=(0.8, 0.6))
    picture = np.zeros((300, 400), np.uint8)
    cv2.line(picture, (60, 50), (260, 200), 110, 9)
    cv2.circle(picture, (260, 200), 9, 255, -1)
    best = detector.look(picture).needles[0]
    assert best.tip_px == pytest.approx((260, 200), abs=3)
    assert best.angle_rad == pytest.approx(math.atan2(150, 200), abs=0.05)
    assert best.length_px == pytest.approx(250, abs=25)
