"""The steer room: the story of a recorded run, and the page as a person meets it in Debian's Chromium."""

from __future__ import annotations

import json
import math

import browser as b
import numpy as np
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.commands.main import main
from sonosteer.commands.steering_runs import open_steering_run, recording_in
from sonosteer.console.steer_room import RunPictures, told_story
from sonosteer.core.errors import InputError
from sonosteer.episodes.steering_story import silhouettes
from sonosteer.steering.obstacles import Sphere, combine_obstacles

WORDS = ("--depth-mm", "30", "--seed", "3", "--target", "0.5,-0.4", "--obstacle", "sphere:18,-2,1,1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short steered insertion with pictures and an obstacle."""
    out = tmp_path_factory.mktemp("steered") / "run"
    with pytest.raises(SystemExit) as ended:
        main(["steer", "run", *WORDS, "--out", str(out)])
    assert ended.value.code == 0
    return out


@pytest.fixture(scope="module")
def opened(run):
    return open_steering_run(run / "recording.mcap")


@pytest.mark.slow
def test_the_story_has_a_row_for_each_decision_and_the_orders_that_were_recorded(run, opened):
    recorded, story = opened
    decisions = [m.what["action"] for m in recorded.messages("/decision")]
    assert story.columns["frame"] == [a.frame_index for a in decisions]
    assert story.columns["ordered_rad"] == [a.command.roll_rad for a in decisions]
    assert story.notes == []
    assert story.target_mm == (0.5, -0.4)
    assert story.budget_rad == pytest.approx(math.radians(540))
    total = json.loads((run / "summary.json").read_text())["total_rotation_deg"]
    assert math.degrees(story.columns["used_rad"][-1]) == pytest.approx(total, abs=1e-6)


@pytest.mark.slow
def test_a_planned_path_begins_at_the_tip_and_ends_at_the_depth(opened):
    _, story = opened
    c = story.columns
    assert story.plans
    for plan in story.plans:
        (depth, y, z), (last, *_) = plan.path_mm[0], plan.path_mm[-1]
        assert last == pytest.approx(30.0)
        assert abs(depth - max(c["depth_mm"][: plan.decision + 1])) < 2.0  # it is reckoned ahead to the next picture
        seen = c["seen_y_mm"][plan.decision], c["seen_z_mm"][plan.decision]
        if None not in seen:
            assert np.hypot(y - seen[0], z - seen[1]) < 1.0


@pytest.mark.slow
def test_a_plan_is_not_told_of_orders_that_were_not_recorded(run):
    """Another seed plans otherwise. What cannot be known is said, and the recorded orders are shown all the same."""
    from sonosteer.commands.steering_aim import steering_deciders
    from sonosteer.episodes.steering_story import tell_story
    from sonosteer.recording.run_reader import RunReader

    recorded = RunReader(run / "recording.mcap")
    said = {**recorded.configuration, "command": {**recorded.configuration["command"], "target": "-3,3"}}
    story = tell_story(recorded, steering_deciders(said)[1], 9.0, ())
    assert "cannot be told" in story.notes[0]
    assert story.columns["used_rad"][-1] is None
    assert None not in story.columns["ordered_rad"]


@pytest.mark.slow
def test_the_page_is_told_numbers_only(opened):
    recorded, story = opened
    pictures = RunPictures(recorded)
    try:
        said = told_story(story, pictures, "run")
        json.dumps(said, allow_nan=False)
        frame = story.columns["frame"][0]
        assert pictures.picture(frame)[:2] == b"\xff\xd8"  # JPEG
        assert pictures.picture(10**6) is None
        assert said["size_px"] is not None
    finally:
        pictures.close()


def test_a_silhouette_is_as_large_as_its_obstacle():
    (seen,) = silhouettes(combine_obstacles((Sphere((20.0, 1.0, -2.0), 3.0),), 60.0))
    assert seen.depth_mm[0] == pytest.approx(17.0, abs=0.6)
    assert seen.depth_mm[-1] == pytest.approx(23.0, abs=0.6)
    assert min(low for low, _ in seen.y_mm) == pytest.approx(-2.0, abs=0.6)
    assert max(high for _, high in seen.z_mm) == pytest.approx(1.0, abs=0.6)


def test_two_obstacles_one_behind_the_other_are_two():
    far_apart = (Sphere((20.0, 1.0, 0.0), 2.0), Sphere((40.0, -1.0, 0.0), 2.0))
    assert len(silhouettes(combine_obstacles(far_apart, 60.0))) == 2
    assert silhouettes(combine_obstacles((), 60.0)) == []


def test_what_is_no_recording_is_opened_as_a_clip(tmp_path):
    assert recording_in(str(tmp_path)) is None
    assert recording_in("sim:in-plane-linear") is None
    (tmp_path / "recording.mcap").write_bytes(b"nothing")
    assert recording_in(str(tmp_path)) == tmp_path / "recording.mcap"
    with pytest.raises(InputError, match="is no recording"):
        open_steering_run(tmp_path / "recording.mcap")


# -- in a browser ----------------------------------------------------------------------------------------------


class Tab(b.Page):
    """A tab with the steer room."""

    READY = "document.querySelector('.badge.left b')?.textContent"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Playwright's own pipes
def test_by_keyboard_alone_without_another_machine_and_without_a_finding_of_axe(run):
    with b.browser() as chrome, b.console(run) as served:
        tab = Tab(chrome, served.address)
        clock = "document.querySelector('.transport .num').textContent"
        tab.press("Home")
        tab.until(f"{clock}.startsWith('1 /')")
        tab.press(".", ".", ">", ",")
        tab.until(f"{clock}.startsWith('12 /')")
        tab.press("p")
        tab.until(f"Number({clock}.split(' ')[0]) > 14")
        tab.press("p", "End")
        assert tab.page.evaluate("document.querySelectorAll('.views svg').length") == 2
        assert tab.page.evaluate("document.querySelector('.axial image').getAttribute('href')").startswith("frames/")
        assert tab.page.evaluate("document.querySelector('button.stop')") is None  # nothing moves here
        assert b.serious(tab) == []
        ours = (f"http://127.0.0.1:{served.port}/", "blob:")
        assert [url for url in tab.asked if not url.startswith(ours)] == []
        assert tab.errors == []
        phone = Tab(chrome, served.address, color_scheme="light", viewport={"width": 390, "height": 844})
        assert b.serious(phone) == []
        assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
