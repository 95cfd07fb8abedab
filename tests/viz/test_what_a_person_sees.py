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
    assert "<script" not in text
    assert "not a medical device" in text
    assert "&lt;clip&gt;" in text
    assert len(text) < 2_000_000


def test_the_report_has_its_figures():
    text = render(story())
    assert text.count("<svg") == 4
    assert text.count('src="data:image/jpeg') == 12
    for heading in ("Tip", "Error", "Latency", "Contact sheet", "Settings and versions"):
        assert f">{heading}</h2>" in text
    assert "27 of 30 frames have a tip" in text
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
    assert text.count("<svg") == 4
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
