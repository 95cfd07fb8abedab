import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Lost, TipEstimate, Track, Truth
from sonosteer.metrics.tip_error import summarise, tip_errors
from sonosteer.recording.tips import TipRow
from sonosteer.viz.overlay import STATE_COLOURS, TRUTH, OverlayPictures, draw_overlay
from sonosteer.viz.report import Story, render


def frame(w=320, h=240, i=0):
    return Frame(np.full((h, w), 40, np.uint8), i, i / 20, Spacing(0.1, 0.1))


def estimate(state=Track.TRACKING, tip=(150.0, 100.0)):
    return TipEstimate(0, 0.0, tip, math.radians(35), np.diag([0.6, 0.1]), 0.8, state, (40.0, 23.0))


def near(picture, colour, tolerance=40):
    return (np.abs(picture.astype(int) - colour).sum(-1) < tolerance).sum()


@pytest.mark.parametrize("state", [Track.TRACKING, Track.COASTING])
def test_a_tip_is_drawn_in_the_colour_of_its_state(state):
    picture = draw_overlay(frame(), estimate(state))
    assert picture.shape == (240, 320, 3)
    assert near(picture[:200], STATE_COLOURS[state]) > 30


def test_a_lost_frame_shows_no_needle_but_says_so():
    picture = draw_overlay(frame(), Lost(0, 0.0, "no needle found yet"))
    assert (picture[:200] == 40).all()
    assert near(picture[200:], STATE_COLOURS[Track.LOST], 80) > 10


def test_truth_is_marked_where_it_is():
    truth = Truth(0, 0.0, (60.0, 180.0), 0.5, True, 10.0, 5.0)
    picture = draw_overlay(frame(), Lost(0, 0.0, "x"), truth)
    ys, xs = np.nonzero(np.abs(picture[:200].astype(int) - TRUTH).sum(-1) < 60)
    assert (xs.mean(), ys.mean()) == pytest.approx((60, 180), abs=1.5)


@pytest.mark.parametrize("size", [(60, 40), (200, 150), (1920, 1080)])
@pytest.mark.parametrize("tip", [(20.0, 20.0), (-500.0, 1e7)])
def test_any_size_and_any_tip_can_be_drawn(size, tip):
    assert draw_overlay(frame(*size), estimate(tip=tip), trail=((1.0, 1.0), (5.0, 5.0))).shape == (size[1], size[0], 3)


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.refers, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "path", "use"):
            self.open.append(tag)
        self.refers += [v for k, v in attrs if k in ("src", "href")]

    def handle_startendtag(self, tag, attrs):
        self.refers += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data


def story(n=30, *, tracked=True, with_truth=True):
    a = math.radians(35)
    truths = [Truth(i, i / 20, (50 + 3 * i, 40 + 2.0 * i), a, True, 10.0 + i, 5.0) for i in range(n)]
    tips = [
        TipRow(i, i / 20, (51 + 3 * i, 40 + 2.0 * i), (5.1 + 0.3 * i, 4 + 0.2 * i), 35.2, 0.5, 0.2, 0.8, "tracking")
        if tracked and i > 2
        else TipRow(i, i / 20, None, None, None, None, None, None, "lost")
        for i in range(n)
    ]
    errors = tip_errors(tips, truths, Spacing(0.1, 0.1)) if with_truth else None
    found = sum(t.tip_px is not None for t in tips)
    counts = {"frames": n, "tracking": found, "coasting": 0, "lost": n - found, "dropped": 0, "dropped_because": {}}
    counts["lost_because"] = {"no needle <found>": n - found} if n > found else {}
    return Story(
        title="Needle tip in <clip> by kf+f",
        summary={"counts": counts, "timing": {"track": {"median_ms": 0.7, "p99_ms": 1.2}}},
        tips=tips,
        times_ms={"read": [1.0] * n, "track": [0.7] * n, "hand over": [0.1] * n},
        sheet=[(f"frame {i}", draw_overlay(frame(i=i), estimate())) for i in range(min(n, 12))],
        video="overlay.mp4",
        errors=errors,
        error_numbers=summarise(errors) if errors else None,
        truth=[(t.time_s, 0.1 * t.tip_px[0], 0.1 * t.tip_px[1]) for t in truths] if with_truth else (),
    )


@pytest.mark.parametrize(
    "kw", [{}, {"with_truth": False}, {"tracked": False}, {"tracked": False, "with_truth": False}, {"n": 1}, {"n": 4}]
)
def test_the_report_is_one_page_that_needs_nothing_else(kw):
    text = render(story(**kw))
    page = Page()
    page.feed(text)
    outside = [r for r in page.refers if not r.startswith(("data:", "#")) and r != "overlay.mp4"]
    assert outside == []
    assert "://" not in text
    assert "nan" not in page.text.lower().split()
    assert text.count("<script") == 1
    assert page.refers.count("overlay.mp4") == 1
    assert "not a medical device" in text
    assert "&lt;clip&gt;" in text
    assert len(text) < 2_000_000


def test_the_report_has_its_figures():
    text = render(story())
    assert text.count("<svg") == 5  # four figures and the timeline
    assert text.count('src="data:image/jpeg') == 12
    for heading in ("Tip", "Error", "Latency", "Contact sheet", "Settings and versions"):
        assert f">{heading}</h2>" in text
    assert "Of 30 frames 27 are tracking, 0 coasting (predicted, not seen) and 3 lost" in text
    assert "mostly because: no needle &lt;found&gt;" in text


def unscaled_story(n=30):
    whole = story(n)
    tips = [
        replace(t, tip_mm=None, sd_along_mm=None, sd_across_mm=None, sd_along_px=5.0, sd_across_px=2.0)
        if t.tip_px is not None
        else t
        for t in whole.tips
    ]
    truths = [Truth(i, None, (50 + 3 * i, 40 + 2.0 * i), None, True, None, None) for i in range(n)]
    errors = tip_errors(tips, truths)
    return replace(
        whole,
        summary={**whole.summary, "source": {"spacing": None}},
        tips=tips,
        errors=errors,
        error_numbers=summarise(errors),
        truth=[(i / 20, *t.tip_px) for i, t in enumerate(truths)],
    )


def test_a_report_without_a_scale_speaks_of_pixels_and_says_how_to_have_millimetres():
    text = render(unscaled_story())
    assert "positions are in pixels" in text
    assert "--spacing-mm X[,Y]" in text
    assert "(mm)" not in text
    for label in ("x (px)", "error (px)", "tip error (px)", "sd along (px)", "1.00 px", "confidence"):
        assert label in text, label
    assert text.count("<svg") == 5
    page = Page()
    page.feed(text)
    assert "nan" not in page.text.lower().split()
    assert "positions are in pixels" not in render(
        replace(story(), summary={**story().summary, "source": {"spacing": {}}})
    )


def test_an_ellipse_is_as_large_in_pixels_as_in_the_millimetres_that_they_are():
    scaled = draw_overlay(frame(), estimate())
    same = replace(estimate(), covariance_mm2=None, covariance_px2=np.diag([0.6, 0.1]) * 100)
    bare = Frame(frame().pixels, 0, 0.0)
    assert (draw_overlay(bare, same)[:180] == scaled[:180]).all()
    none = draw_overlay(bare, replace(same, covariance_px2=None))
    assert (none[:180] != scaled[:180]).any()


def test_a_report_of_stills_is_a_gallery_and_a_table():
    tips = [replace(t, name=f"<{t.frame}>.png") for t in story(4).tips]
    text = render(replace(story(4), stills=True, video=None, tips=tips))
    assert ">Pictures</h2>" in text
    assert "All are in the folder overlay." in text
    assert "<svg" not in text  # nothing goes on from picture to picture
    assert "<td>track</td><td>0.70</td><td>0.70</td><td>0.70</td><td>0.70</td>" in text
    assert "<td>&lt;0&gt;.png</td><td>lost</td><td>-</td>" in text
    assert "<td>&lt;3&gt;.png</td><td>tracking</td><td>60.0</td><td>46.0</td>" in text
    many = render(replace(story(30), stills=True, video=None))
    assert "12 of 30 are shown here. All are in the folder overlay." in many


def test_pictures_of_stills_are_written_under_their_names_and_kept_small(tmp_path):
    names = ("a.png", "A.jpg", "b/c d.png", "a-1.png")
    overlay = OverlayPictures(tmp_path / "overlay", names, {}.get, frozenset({0, 2}))
    for i in range(4):
        overlay.saw(frame(900 if i == 2 else 320, 240, i), estimate())
    overlay.close()
    assert {p.name for p in (tmp_path / "overlay").iterdir()} == {"a.png", "A-1.png", "c-d.png", "a-1-3.png"}
    assert [(text, picture.shape) for text, picture in overlay.sheet] == [
        ("a.png, tracking", (240, 320, 3)),
        ("b/c d.png, tracking", (112, 420, 3)),
    ]
    with pytest.raises(InputError, match="cannot be written"):
        OverlayPictures(tmp_path / "overlay" / "a.png", names, {}.get, frozenset())


@pytest.mark.parametrize("size", [(96, 80), (128, 160), (160, 128), (320, 240), (640, 480), (1280, 960)])
@pytest.mark.parametrize("lost", [False, True])
def test_caption_and_scale_bar_do_not_lie_over_each_other(monkeypatch, size, lost):
    from sonosteer.viz import overlay

    boxes, write = [], overlay.cv2.putText

    def noted(canvas, text, at, font, scale, colour, thickness, line):
        (width, height), base = overlay.cv2.getTextSize(text, font, scale, thickness)
        boxes.append((at[0], at[1] - height, at[0] + width, at[1] + base))
        return write(canvas, text, at, font, scale, colour, thickness, line)

    monkeypatch.setattr(overlay.cv2, "putText", noted)
    draw_overlay(
        replace(frame(*size), spacing=Spacing(0.2, 0.2)), Lost(0, 0.0, "no needle yet") if lost else estimate()
    )
    (x_0, y_0, x_1, y_1), (u_0, v_0, u_1, v_1) = boxes
    assert x_1 <= u_0 or u_1 <= x_0 or y_1 <= v_0 or v_1 <= y_0
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= size[0] for b in boxes)


def texts_of(monkeypatch):
    """Boxes of all words that are drawn from now on, px: (left, top, right, bottom)."""
    from sonosteer.viz import overlay

    boxes, write = [], overlay.cv2.putText

    def noted(canvas, text, at, font, scale, colour, thickness, line):
        (width, height), base = overlay.cv2.getTextSize(text, font, scale, thickness)
        boxes.append((at[0], at[1] - height, at[0] + width, at[1] + base))
        return write(canvas, text, at, font, scale, colour, thickness, line)

    monkeypatch.setattr(overlay.cv2, "putText", noted)
    return boxes


@pytest.mark.parametrize("taken", ["left", "right", "bottom", "left and bottom"])
def test_our_words_stay_clear_of_the_scanners(monkeypatch, taken):
    """Its words fill some corners with letters. Ours go where there are none."""
    import cv2

    pixels = np.full((480, 640), 12, np.uint8)
    theirs = np.zeros_like(pixels)
    for y in range(14, 480, 14):
        if "left" in taken:
            cv2.putText(theirs, "Gen THI 12 MHz", (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 220, 1)
        if "right" in taken:
            cv2.putText(theirs, "MI 0.9 TIs 0.4", (520, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 220, 1)
    if "bottom" in taken:
        for x in range(0, 640, 90):
            cv2.putText(theirs, "D 4.0 cm FR 21", (x, 472), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 220, 1)
    pixels = np.maximum(pixels, theirs)
    boxes = texts_of(monkeypatch)
    draw_overlay(Frame(pixels, 0, 0.0, Spacing(0.1, 0.1)), estimate())
    assert len(boxes) == 2
    for left, top, right, bottom in boxes:
        assert not theirs[max(top, 0) : bottom, max(left, 0) : right].any(), (taken, boxes)


def test_a_clip_keeps_its_words_in_one_place(tmp_path):
    """A letter that comes and goes must not make the caption jump."""
    from sonosteer.core.protocols import SourceInfo
    from sonosteer.viz.overlay import OverlayVideo

    info = SourceInfo("c", "video", (320, 240), 3, 20.0, None)
    overlay = OverlayVideo(tmp_path / "o.mp4", info, {}.get, frozenset({0, 1, 2}))
    noisy = np.full((240, 320), 40, np.uint8)
    noisy[200:, ::2] = 250
    for i, pixels in enumerate((np.full((240, 320), 40, np.uint8), noisy, noisy)):
        overlay.saw(Frame(pixels, i, i / 20), Lost(i, i / 20, "x"))
    overlay.close()
    lost = [near(picture[:60], STATE_COLOURS[Track.LOST], 80) for _, picture in overlay.sheet]
    assert lost == [0, 0, 0]


def test_coasting_is_a_number_of_its_own():
    tips = [replace(t, state="coasting") if t.frame > 20 and t.tip_px else t for t in story().tips]
    counts = {**story().summary["counts"], "tracking": 18, "coasting": 9}
    text = render(replace(story(), tips=tips, summary={**story().summary, "counts": counts}))
    page = Page()
    page.feed(text)
    for said in ("60 %", "30 %", "10 %"):
        assert f"<b>{said}</b>" in text
    assert "90 %" not in page.text
    assert 'class="coasting"' in text


def test_pictures_come_before_latency():
    text = render(story())
    order = [text.index(f">{h}</h2>") for h in ("Overlay", "Contact sheet", "Tip", "Error", "Latency")]
    assert order == sorted(order)


@pytest.mark.parametrize("kw", [{"tracked": False}, {"tracked": False, "with_truth": False}])
def test_where_nothing_was_found_there_is_advice_and_no_empty_plot(kw):
    text = render(replace(story(**kw), advice=["Try --enters left."]))
    assert "Try --enters left." in text
    assert ">Tip</h2>" not in text
    assert ">Error</h2>" not in text
    assert ">Angle and confidence</h2>" not in text
    assert text.count("<svg") == 2  # timeline and latency
    assert "What to try" not in render(story())


def test_a_tracker_without_confidence_gets_no_line_of_it():
    none = {"confidence": None, "sd_along_mm": None, "sd_across_mm": None}
    text = render(replace(story(), tips=[replace(t, **none) for t in story().tips]))
    assert 'class="confidence"' not in text
    assert ">Angle and confidence</h2>" not in text


def test_the_page_runs_its_own_script_only():
    """The rule in the head names the hash of the script, so nothing else can run."""
    import base64
    import hashlib
    import re

    text = render(story())
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert " onclick=" not in text
