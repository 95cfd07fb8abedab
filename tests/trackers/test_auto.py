"""auto: starts by itself, follows, knows when it does not know."""

import dataclasses
import math
import threading
import time

import cv2
import numpy as np
import pytest

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate, Track
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.sources.opening import open_source
from sonosteer.trackers.auto import Auto

NOTHING = Hint()


def follow(frames, hint=NOTHING):
    tracker = Auto()
    state, out = tracker.start(hint), []
    for frame in frames:
        state, estimate = tracker.step(state, frame)
        out.append(estimate)
    return out


def errors_mm(clip, estimates, mm=0.1):
    return np.array(
        [
            mm * math.dist(e.tip_px, t.tip_px)
            for (_, t), e in zip(clip, estimates, strict=True)
            if isinstance(e, TipEstimate) and t.tip_px is not None
        ]
    )


def claimed(estimates):
    return sum(isinstance(e, TipEstimate) for e in estimates)


@pytest.fixture(scope="module")
def clip():
    """An insertion at 10 mm/s from the right: enough frames to start and to be judged."""
    scene = make_scene("in-plane-linear/validation", 31, enters="right", angle_deg=38.0, speed_mm_s=10.0)
    return list(World(scene).frames())


@pytest.fixture(scope="module")
def found(clip):
    return follow(f for f, _ in clip)


def test_with_nothing_given_it_starts_and_follows(clip, found):
    assert claimed(found) > 0.7 * len(clip)
    error = errors_mm(clip, found)
    assert np.median(error) < 0.7
    sure = [e for e in found if e.state is Track.TRACKING]
    assert len(sure) > 0.5 * len(clip)
    truth = {f.index: t for f, t in clip}
    assert max(0.1 * math.dist(e.tip_px, truth[e.frame_index].tip_px) for e in sure) < 5.0


def test_the_direction_is_that_of_the_needle(clip, found):
    angles = [math.degrees(e.angle_rad) for e in found[-20:] if isinstance(e, TipEstimate)]
    assert np.median(angles) == pytest.approx(180 - 38, abs=1.5)


def test_the_claimed_ellipse_holds_the_truth(clip, found):
    inside = []
    for (_, t), e in zip(clip, found, strict=True):
        if isinstance(e, TipEstimate):
            d = 0.1 * np.subtract(t.tip_px, e.tip_px)
            c, s = math.cos(e.angle_rad), math.sin(e.angle_rad)
            nees = ((d[0] * c + d[1] * s) / e.sd_along_mm) ** 2 + ((-d[0] * s + d[1] * c) / e.sd_across_mm) ** 2
            inside.append(nees < 5.99)
    assert np.mean(inside) > 0.85


def test_a_single_image_is_enough(clip):
    frame, truth = clip[-1]
    still = dataclasses.replace(frame, index=0, time_s=0.0)
    for hint in (NOTHING, Hint(enters="right"), Hint(angle_rad=(math.radians(135), math.radians(150)))):
        estimate = follow([still], hint)[0]
        assert isinstance(estimate, TipEstimate)
        assert 0.1 * math.dist(estimate.tip_px, truth.tip_px) < 4.0


def test_a_resting_needle_is_found_with_nothing_given(clip):
    rng = np.random.default_rng(0)
    pixels = clip[-1][0].pixels.astype(float)
    frames = [
        dataclasses.replace(
            clip[-1][0],
            pixels=np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8),
            index=i,
            time_s=i / 20,
        )
        for i in range(30)
    ]
    for hint in (NOTHING, Hint(enters="right")):
        estimates = follow(frames, hint)
        assert claimed(estimates) > 25
        assert math.dist(estimates[-1].tip_px, clip[-1][1].tip_px) < 20
    assert claimed(follow(frames, Hint(enters="left"))) == 0  # the hint rules it out


def test_without_a_needle_it_says_so(needle_free):
    assert claimed(follow(f for f, _ in needle_free)) <= 0.05 * len(needle_free)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_blank_and_flat_images_are_lost(grey):
    frames = [Frame(np.full((200, 300), grey, np.uint8), i, i / 20, Spacing(0.1, 0.1)) for i in range(15)]
    assert claimed(follow(frames)) == 0
    assert claimed(follow(frames, Hint(enters="left"))) == 0


def test_noise_is_lost():
    rng = np.random.default_rng(1)
    frames = [Frame(rng.integers(0, 255, (400, 400), dtype=np.uint8), i, i / 20, Spacing(0.1, 0.1)) for i in range(30)]
    assert claimed(follow(frames)) == 0


def test_a_cut_to_another_scene_ends_the_track(clip, needle_free):
    before = [f for f, _ in clip]
    last = before[-1].time_s
    after = [
        dataclasses.replace(f, index=1000 + i, time_s=last + 0.05 * (i + 1)) for i, (f, _) in enumerate(needle_free)
    ]
    estimates = follow([*before, *after])
    assert isinstance(estimates[len(before) - 1], TipEstimate)
    assert claimed(estimates[len(before) :]) <= 0.05 * len(after)


def test_a_clip_that_begins_again_is_begun_again(clip):
    frames = [f for f, _ in clip]
    again = [dataclasses.replace(f, index=500 + f.index) for f in frames]
    estimates = follow([*frames, *again])
    first, second = estimates[: len(frames)], estimates[len(frames) :]
    assert [getattr(e, "tip_px", None) for e in second] == [getattr(e, "tip_px", None) for e in first]


@pytest.mark.parametrize(("size", "spacing"), [((256, 256), 0.2), ((700, 700), 512 / 700 * 0.1)])
def test_another_size_of_pixels_is_the_same_needle(clip, size, spacing):
    frames = [
        Frame(cv2.resize(f.pixels, size, interpolation=cv2.INTER_AREA), f.index, f.time_s, Spacing(spacing, spacing))
        for f, _ in clip
    ]
    estimates = follow(frames)
    k = size[0] / 512
    error = [
        spacing * math.dist(e.tip_px, ((t.tip_px[0] + 0.5) * k - 0.5, (t.tip_px[1] + 0.5) * k - 0.5))
        for (_, t), e in zip(clip, estimates, strict=True)
        if isinstance(e, TipEstimate)
    ]
    assert len(error) > 0.5 * len(clip)
    assert np.median(error) < 1.5


def test_every_other_frame_is_enough(clip):
    half = clip[::2]
    estimates = follow(f for f, _ in half)
    assert claimed(estimates) > 0.5 * len(half)
    assert np.median(errors_mm(half, estimates)) < 1.2


def test_a_curved_needle_is_followed_along_its_bend():
    from sonosteer.studies.tracking.trials import hard_scene

    clip = list(World(hard_scene("curved", 604, "validation")).frames())
    estimates = follow(f for f, _ in clip)
    assert claimed(estimates) > 0.6 * len(clip)
    assert np.median(errors_mm(clip, estimates)) < 1.0


class Blind:
    """A detector that sees nothing."""

    side_px, needles = 320, ()

    def look(self, *pictures):
        return self

    def look_near(self, *where):
        return self

    def at(self, tip_px):
        return None


def test_while_nothing_is_seen_the_covariance_grows_until_the_needle_is_lost(clip):
    tracker = Auto(told=0.0)
    state, spread, after = tracker.start(NOTHING), [], []
    for k, (frame, _) in enumerate(clip):
        if k == 40:
            tracker._desk._detector = Blind()
        state, estimate = tracker.step(state, frame)
        if k >= 40:
            after.append(estimate)
    spread = [e.sd_along_mm for e in after if isinstance(e, TipEstimate)]
    assert len(spread) > 5
    assert spread == sorted(spread)
    assert spread[-1] > 2 * spread[0]
    assert all(e.state is not Track.TRACKING for e in after[3:])
    assert isinstance(after[25], Lost)  # more than a second later


def test_without_a_scale_it_works_in_pixels(clip, found):
    bare = follow(dataclasses.replace(f, spacing=None) for f, _ in clip)
    assert claimed(bare) > 0.7 * len(clip)
    assert np.median(errors_mm(clip, bare)) < 1.0
    one = next(e for e in bare if isinstance(e, TipEstimate))
    assert one.covariance_mm2 is None
    assert one.covariance_px2.shape == (2, 2)
    scaled = next(e for e in found if isinstance(e, TipEstimate))
    assert np.allclose(scaled.covariance_px2, 100.0 * scaled.covariance_mm2, rtol=0.05)  # 0.1 mm a px


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_wrong_scale_does_little(clip, wrong):
    frames = [dataclasses.replace(f, spacing=Spacing(0.1 * wrong, 0.1 * wrong)) for f, _ in clip]
    estimates = follow(frames)
    assert claimed(estimates) > 0.6 * len(clip)
    assert np.median(errors_mm(clip, estimates)) < 1.2


def test_a_click_is_where_it_begins(clip):
    frame, truth = clip[-1]
    still = dataclasses.replace(frame, index=0, time_s=0.0)
    estimate = follow([still], Hint(start_px=truth.tip_px))[0]
    assert math.dist(estimate.tip_px, truth.tip_px) < 15


class Slow:
    """A detector that takes its time, or answers only when it is let."""

    def __init__(self, detector, pause_s=0.0, gate=None):
        self.detector, self.pause_s, self.gate, self.side_px = detector, pause_s, gate, detector.side_px

    def look(self, *pictures):
        if self.gate is not None:
            self.gate.wait(5.0)
        time.sleep(self.pause_s)
        return self.detector.look(*pictures)

    def look_near(self, *where):
        return self.detector.look_near(*where)


def tracked(tracker, frames):
    state, out = tracker.start(NOTHING), []
    for frame in frames:
        state, estimate = tracker.step(state, frame)
        out.append(estimate)
    return out


def test_a_slow_detector_changes_nothing_in_a_file(clip, found):
    tracker = Auto()
    tracker._desk._detector = Slow(tracker._desk.detector, pause_s=0.03)
    again = tracked(tracker, [f for f, _ in clip[:30]])
    assert [getattr(e, "tip_px", None) for e in again] == [getattr(e, "tip_px", None) for e in found[:30]]


def test_a_live_run_says_which_answers_it_used_and_they_can_be_repeated(clip):
    frames = [f for f, _ in clip[:40]]
    tracker, gate = Auto(waits=False), threading.Event()
    gate.set()
    state, live = tracker.start(NOTHING), []
    tracker._desk._detector = Slow(tracker._desk.detector, gate=gate)
    for k, frame in enumerate(frames):
        if k == 5:
            gate.clear()  # no answer for a while
        if k == 30:
            gate.set()
            while not all(q.future.done() for q in state.questions):
                time.sleep(0.001)
        state, estimate = tracker.step(state, frame)
        live.append(estimate)
    used = {e.frame_index: e.answer_frame for e in live if e.answer_frame is not None}
    assert not any(5 < index < 30 for index in used)
    assert any(index >= 30 for index in used)
    again = tracked(Auto(applied=used), frames)
    assert [getattr(e, "tip_px", None) for e in again] == [getattr(e, "tip_px", None) for e in live]


def test_a_real_needle_is_found_with_nothing_given_and_what_is_claimed_of_it_is_right(real_data):
    folder = real_data / "needle-inplane-clarius"
    source = open_source(folder / "ph_1_3_1.mp4")
    estimates = follow(source.frames())
    marks = np.loadtxt(folder / "hand_marks.csv", delimiter=",", skiprows=1)
    distance = [
        math.dist(e.tip_px, mark[1:3]) for mark in marks if isinstance(e := estimates[int(mark[0])], TipEstimate)
    ]
    assert len(distance) >= 2
    assert max(distance) <= 60
    claimed = [e for e in estimates if isinstance(e, TipEstimate)]
    assert len(claimed) >= 40
    assert all(e.angle_rad % math.tau == pytest.approx(math.radians(160), abs=0.2) for e in claimed)  # never reversed


def test_real_images_without_a_needle_are_lost(real_data):
    frames = lost = 0
    clips = [real_data / "pocus" / "clarius-ocular-short.mp4", *sorted((real_data / "plus-sequences").glob("*.mha"))]
    clips += sorted(p for p in (real_data / "nerve-backgrounds").glob("*.png") if "mask" not in p.name)
    for path in clips:
        estimates = follow(open_source(path, spacing=Spacing(0.1, 0.1)).frames())
        frames += len(estimates)
        lost += sum(isinstance(e, Lost) for e in estimates)
    assert frames > 200
    assert lost >= 0.95 * frames
