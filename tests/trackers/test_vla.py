"""The loop around the network, with a network that sees bright spots, and the model that ships."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging.crops import crop, step_of
from sonosteer.imaging.shaft_direction import ray_contrast
from sonosteer.inference.needle_detector import Detection
from sonosteer.inference.tip_network import TipReply
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.sources.opening import open_source
from sonosteer.trackers.vla import VlaTipTracker, _entry

#: of a picture of 200 px, whose longer side is then that of the pictures of training
MM = 0.64


class BrightSpots:
    """Cells of 8 x 8; the score is the brightest pixel's, the place where it is."""

    search_px, template_px, scale_mm = 80, 32, 0.64

    def __init__(self):
        self.centres = []

    def embed(self, template):
        return np.full((1, 1, 1), template.max(), np.float32)

    def respond(self, search, kept):
        cells = search[1].reshape(10, 8, 10, 8).swapaxes(1, 2).reshape(100, 64)
        k = cells.argmax(1)
        y, x = np.divmod(np.arange(100), 10)
        centre = np.stack([x * 8 + k % 8 + 0.5, y * 8 + k // 8 + 0.5], 1) / 80
        score = (cells.max(1) / 255.0) ** 2
        one = np.ones(100, np.float32)
        return TipReply(score.astype(np.float32), score.astype(np.float32), 0.01 * one, centre, 0.2 * np.ones((100, 2)))


class BrightestNeedle:
    """A detector for which the brightest pixel is the tip of a needle from the upper left."""

    side_px = 320

    def look(self, pixels, earlier=None):
        y, x = np.unravel_index(int(pixels.argmax()), pixels.shape)
        self.best = self.needle((float(x), float(y)), (pixels.max() / 255.0) ** 2)
        self.needles = (self.best,) if self.best.score > 0.1 else ()
        return self

    def at(self, tip_px):
        near = math.dist(tip_px, self.best.tip_px) < 6
        return self.needle(tip_px, self.best.score if near else 0.0)

    def needle(self, tip_px, score):
        return Detection(
            tip_px=tip_px,
            angle_rad=0.6,
            width_px=3.0,
            tail_px=(tip_px[0] - 33.0, tip_px[1] - 22.0),
            tip_logit=0.0,
            visible=1.0,
            shaft=1.0,
            ahead=0.0,
            lead=1.0,
            score=float(score),
        )


def image(*spots, size=200, level=0):
    out = np.full((size, size), level, np.uint8)
    for x, y, bright in spots:
        out[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = np.maximum(bright, out[round(y), round(x)])
    return out


def run(images, hint=None, mm=MM, mm_y=None, **settings):
    tracker = VlaTipTracker(network=BrightSpots(), **settings)
    tracker._desk._detector = BrightestNeedle()
    state, out = tracker.start(hint or Hint()), []
    for i, each in enumerate(images):
        spacing = None if mm is None else Spacing(mm, mm_y or mm)
        state, estimate = tracker.step(state, Frame(each, i, i / 30, spacing))
        out.append(estimate)
    return out


def path(n, speed=1.5):
    return [(50 + speed * i, 60 + 0.6 * speed * i) for i in range(n)]


def test_a_click_is_followed_to_the_pixel():
    places = path(40)
    found = run([image((x, y, 250)) for x, y in places], Hint(start_px=places[0]))
    assert all(e.state is Track.TRACKING for e in found)
    assert max(math.dist(e.tip_px, (round(x), round(y))) for e, (x, y) in zip(found, places, strict=True)) < 2.5
    assert math.dist(found[-1].tip_px, places[-1]) < 1.6


def test_without_a_click_the_detector_finds_the_tip():
    places = path(40)
    found = run([image(level=9)] * 5 + [image((x, y, 250)) for x, y in places])
    states = [e.state for e in found]
    assert all(s is Track.LOST for s in states[:5])
    first = states.index(Track.TRACKING)
    assert first < 12  # the detector is asked ten times a second
    assert all(s is Track.TRACKING for s in states[first:])


def test_a_hint_rules_out_what_the_detector_sees():
    places = path(20)
    found = run([image((x, y, 250)) for x, y in places], Hint(enters="right"))
    assert all(isinstance(e, Lost) for e in found)


def test_the_direction_is_near_the_detector_s_and_not_turned_round():
    places = path(40)
    found = run([image((x, y, 250)) for x, y in places], Hint(start_px=places[0]))
    assert all(abs(e.angle_rad - 0.6) < math.radians(18) for e in found)


def test_a_tip_that_vanishes_coasts_then_is_lost_then_found_again():
    places = path(100, 0.5)
    seen = [image((x, y, 250)) if not 20 <= i < 70 else image() for i, (x, y) in enumerate(places)]
    found = run(seen, Hint(start_px=places[0]))
    states = [e.state for e in found]
    assert states[22] is Track.COASTING
    assert states[60] is Track.LOST
    assert next(e for e in found if isinstance(e, Lost)).reason == "the tip is not seen any more"
    assert states[-1] is Track.TRACKING
    grows = [e.sd_along_mm for e in found[20:40] if isinstance(e, TipEstimate)]
    assert grows == sorted(grows)


def test_a_brighter_spot_far_away_is_not_jumped_to_at_once():
    places = path(30, 0.8)
    frames = [image((x, y, 200), *([(120, 120, 255)] if i in (10, 12, 14) else [])) for i, (x, y) in enumerate(places)]
    found = run(frames, Hint(start_px=places[0]))
    assert max(math.dist(e.tip_px, p) for e, p in zip(found, places, strict=True)) < 3


def test_a_place_that_returns_while_the_prediction_is_empty_is_believed():
    frames = [image((60, 60, 250)) for _ in range(10)] + [image((90, 90, 250)) for _ in range(20)]
    found = run(frames, Hint(start_px=(60.0, 60.0)))
    assert math.dist(found[-1].tip_px, (90, 90)) < 2


def test_a_needle_drawn_back_and_a_probe_that_slides_are_followed():
    out = path(20, 2.0)
    places = out + out[::-1]
    found = run([image((x, y, 250)) for x, y in places], Hint(start_px=places[0]))
    assert math.dist(found[-1].tip_px, places[-1]) < 2


def test_a_tip_that_leaves_the_image_is_lost_with_the_reason():
    places = [(150 + 3.0 * i, 100.0) for i in range(30)]
    found = run([image((x, y, 250)) if x < 197 else image() for x, y in places], Hint(start_px=places[0]), lost_s=5.0)
    assert any(isinstance(e, Lost) and e.reason == "the tip has left the image" for e in found)


def test_times_that_jump_and_frames_of_another_size_do_not_break_it():
    tracker = VlaTipTracker(network=BrightSpots())
    state = tracker.start(Hint(start_px=(60.0, 60.0)))
    for i, (time_s, size) in enumerate([(0.0, 200), (0.03, 200), (9.0, 200), (8.0, 200), (8.03, 160), (8.06, 160)]):
        state, estimate = tracker.step(state, Frame(image((60, 60, 250), size=size), i, time_s, Spacing(MM, MM)))
        if isinstance(estimate, TipEstimate):
            assert np.isfinite([*estimate.tip_px, *estimate.covariance_mm2.ravel()]).all()


def test_the_same_picture_with_twice_the_pixels_gives_the_same_places():
    places = path(25, 1.0)
    coarse = run([image((x, y, 250)) for x, y in places], Hint(start_px=places[0]))
    fine = run(
        [np.kron(image((x, y, 250)), np.ones((2, 2), np.uint8)) for x, y in places],
        Hint(start_px=(2 * places[0][0] + 0.5, 2 * places[0][1] + 0.5)),
    )
    for a, b in zip(coarse, fine, strict=True):
        assert math.dist(a.tip_px, [(v - 0.5) / 2 for v in b.tip_px]) < 1.0


@pytest.mark.parametrize("mm", [None, MM / 2, 2 * MM, 0.0355])
@pytest.mark.parametrize("click", [True, False])
def test_the_stated_scale_does_not_matter(mm, click):
    places = path(40)
    seen = [image((x, y, 250)) if not 15 <= i < 22 else image() for i, (x, y) in enumerate(places)]
    hint = Hint(start_px=places[0] if click else None)
    stated, other = run(seen, hint), run(seen, hint, mm=mm)
    assert sum(isinstance(e, TipEstimate) for e in stated) > 30
    for a, b in zip(stated, other, strict=True):
        assert a.state is b.state
        if isinstance(a, TipEstimate):
            assert (a.tip_px, a.angle_rad, a.entry_px, a.box_px) == (b.tip_px, b.angle_rad, b.entry_px, b.box_px)
            assert np.array_equal(a.covariance_px2, b.covariance_px2)
            assert np.allclose(a.covariance_mm2, a.covariance_px2 * MM**2)
            assert b.covariance_mm2 is None if mm is None else np.allclose(b.covariance_mm2, b.covariance_px2 * mm**2)


def test_of_a_spacing_only_the_ratio_counts():
    places = path(20)
    seen = [image((x, y, 250)) for x, y in places]
    few, many = (run(seen, Hint(start_px=places[0]), mm=k * 0.1, mm_y=k * 0.15) for k in (1, 7))
    square = run(seen, Hint(start_px=places[0]))
    for a, b in zip(few, many, strict=True):
        assert a.tip_px == pytest.approx(b.tip_px, abs=1e-6)
        assert a.covariance_px2 == pytest.approx(b.covariance_px2, abs=1e-6)
    assert few[-1].covariance_px2[0, 0] != pytest.approx(square[-1].covariance_px2[0, 0], rel=1e-3)


@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0, 110.0, 150.0])
def test_the_shaft_behind_the_tip_tells_the_angle(degrees):
    a = math.radians(degrees)
    y, x = np.mgrid[0:200, 0:200].astype(float)
    along, across = (
        (x - 100) * math.cos(a) + (y - 120) * math.sin(a),
        -(x - 100) * math.sin(a) + (y - 120) * math.cos(a),
    )
    picture = (40 + 180 * (np.abs(across) < 2.5) * (along < 0)).astype(np.uint8)
    out = np.empty(90, np.float32)
    ray_contrast(picture, 100.0, 120.0, 1.0, 1.0, 45, 6.0, out)
    assert abs(2.0 * out.argmax() - degrees) <= 2.0


def test_a_crop_is_the_image_at_its_own_scale_and_mirrored_when_asked():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (60, 60)).astype(np.uint8)
    same = crop(picture, (29.5, 31.5), 20, (1.0, 1.0))
    assert np.array_equal(same, picture[22:42, 20:40])
    assert np.array_equal(crop(picture, (29.5, 31.5), 20, (1.0, 1.0), True), same[:, ::-1])
    assert not crop(picture, (-100.0, 0.0), 20, (1.0, 1.0)).any()
    assert step_of(Spacing(0.1, 0.2), 0.4) == (4.0, 2.0)


def test_an_axis_enters_at_the_image_s_border():
    assert _entry((50.0, 30.0), (1.0, 1.0), 200) == (20.0, 0.0)
    assert _entry((50.0, 80.0), (1.0, 1.0), 200) == (0.0, 30.0)
    assert _entry((150.0, 80.0), (-1.0, 1.0), 200) == (199.0, 31.0)


def test_settings_out_of_range_are_one_line():
    with pytest.raises(InputError, match="believed"):
        VlaTipTracker(believed=1.5)
    with pytest.raises(InputError, match="wide"):
        VlaTipTracker(wide=9.0)
    with pytest.raises(InputError, match="there is no runtime"):
        VlaTipTracker(runtime="tensorflow").start(Hint())


def test_the_model_that_ships_follows_the_tip_in_unseen_tissue():
    """Validation scenes: no choice of weights was made on them."""
    errors = []
    for seed, mode in ((3, "ips"), (5, "ipm")):
        scene = make_scene("in-plane-convex/validation", seed, mode=mode)
        clip = list(World(scene).frames())
        tracker = VlaTipTracker()
        state = tracker.start(Hint(start_px=clip[0][1].tip_px))
        for frame, truth in clip:
            state, estimate = tracker.step(state, frame)
            if truth.visible:
                assert isinstance(estimate, TipEstimate)
                errors.append(math.dist(estimate.tip_px, truth.tip_px) * scene.spacing_mm)
    assert np.median(errors) < 1.0
    assert np.mean(errors) < 2.0


@pytest.mark.slow
def test_the_model_that_ships_follows_a_real_needle_from_a_click(real_data):
    """Never trained on; the marks were read by eye, +-15 to 40 px. Where the drawn-back tip fades it stays behind."""
    folder = real_data / "needle-inplane-clarius"
    frames = list(open_source(folder / "ph_1_3_1.mp4", spacing=Spacing(0.0355, 0.0355)).frames())
    marks = np.loadtxt(folder / "hand_marks.csv", delimiter=",", skiprows=1)
    tracker, first = VlaTipTracker(), int(marks[0, 0])
    state, tips = tracker.start(Hint(start_px=(marks[0, 1], marks[0, 2]))), {}
    for frame in frames[first : int(marks[-1, 0]) + 1]:
        state, e = tracker.step(state, frame)
        tips[frame.index] = e.tip_px if isinstance(e, TipEstimate) else (math.inf, math.inf)
    distance = [math.dist(tips[int(frame)], (x, y)) for frame, x, y, _ in marks]
    assert max(distance[:4]) <= 60


def test_of_a_fast_stream_the_pair_is_taken_from_frames_far_enough_apart():
    tracker = VlaTipTracker(network=BrightSpots())
    state, earlier = tracker.start(Hint(start_px=(100.0, 100.0))), []
    for i in range(9):
        state, _ = tracker.step(state, Frame(image((100, 100, 250), level=i), i, i / 100, Spacing(MM, MM)))
        earlier.append(int(state.before[0, 0]))
    assert earlier == [0, 0, 0, 3, 3, 3, 6, 6, 6]


def test_torch_is_not_needed_and_not_loaded():
    code = (
        "import sys; from sonosteer.trackers.vla import VlaTipTracker; from sonosteer.core.types import Hint; "
        "VlaTipTracker().start(Hint()); print([m for m in ('torch', 'transformers', 'onnx') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_a_state_is_small_enough_to_keep():
    tracker = VlaTipTracker(network=BrightSpots())
    state = tracker.start(Hint(start_px=(60.0, 60.0)))
    state, _ = tracker.step(state, Frame(image((60, 60, 250)), 0, 0.0, Spacing(MM, MM)))
    arrays = [getattr(state, f.name) for f in dataclasses.fields(state)]
    assert sum(a.nbytes for a in arrays if isinstance(a, np.ndarray)) < 200_000


@pytest.mark.parametrize("away", [(0.15, 0.1), (0.4, 0.3)])
def test_a_belief_that_was_led_astray_does_not_refuse_the_right_place_for_ever(away):
    """Right candidates far from a belief are refused. Several that agree open it again, or it is said to be lost."""
    tracker = VlaTipTracker(network=BrightSpots())
    state, states = tracker.start(Hint(start_px=path(1)[0])), []
    places = path(140, 0.5)
    for i, (x, y) in enumerate(places):
        if i == 20:
            assert state.belief is not None
            mean = state.belief.mean + np.array([*away, 0.0, 0.0])
            state = dataclasses.replace(state, belief=dataclasses.replace(state.belief, mean=mean))
        state, e = tracker.step(state, Frame(image((x, y, 250)), i, i / 30, Spacing(MM, MM)))
        states.append(e)
    assert any(e.state is not Track.TRACKING for e in states[20:30])
    assert states[-1].state is Track.TRACKING
    assert math.dist(states[-1].tip_px, places[-1]) < 2.5
