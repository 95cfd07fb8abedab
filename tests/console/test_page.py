"""The clip room as a person meets it, in Debian's Chromium: pointer, keys, two tabs, a killed console, axe."""

from __future__ import annotations

import json
import re
import resource

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.recording.truths import read_truth

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # of Playwright's own pipes
]
FRAMES = 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A spot that stays where it is."""
    return b.write_clip(tmp_path_factory.mktemp("clip") / "spot.mp4", [b.dot()] * FRAMES)


@pytest.fixture(scope="module")
def chrome():
    with b.browser() as opened:
        yield opened


@pytest.fixture
def served(clip, tmp_path):
    with b.console(clip, "--out", str(tmp_path / "labels"), "--spacing-mm", "0.1") as running:
        running.out = tmp_path / "labels"
        yield running


def labels(console):
    path = console.out / "labels.csv"
    return {t.frame_index: t.tip_px for t in read_truth(path)} if path.exists() else {}


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_click_lands_on_the_tip_at_every_zoom(chrome, served, ratio):
    """What is bright in a screenshot is clicked. The label lies where the clip has it."""
    tab = b.Page(chrome, served.address, device_scale_factor=ratio)
    pane = tab.page.locator(".pane").first
    for frame, zooms in enumerate((0, 2, 6)):
        tab.at_frame(frame)
        tab.press("f", "o", *["+"] * zooms)
        tab.press(*["Alt+ArrowRight"] * (3 * frame), *["Alt+ArrowUp"] * frame)  # the picture need not be in the middle
        tab.page.wait_for_timeout(300)
        box = pane.bounding_box()
        shot = tab.page.screenshot(clip=box)
        x, y = b.seen_spot(shot, box, ratio)
        tab.press("t")
        tab.page.mouse.click(x, y)
        tab.said("yours")
        tab.said("saved")
        found = b.until(lambda f=frame: labels(served).get(f), "the label")
        assert abs(found[0] - b.TIP[0]) < 0.5
        assert abs(found[1] - b.TIP[1]) < 0.5
        tab.press("o", ".")
    assert tab.errors == []


def test_a_drag_moves_the_label_and_undo_brings_it_back(chrome, served):
    tab = b.Page(chrome, served.address)
    box = tab.page.locator(".pane").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.press("t")
    tab.page.mouse.click(*middle)
    first = b.until(lambda: labels(served).get(0), "the label")
    tab.page.mouse.move(middle[0] + 5, middle[1] - 4)  # the ring is taken where it is touched, and does not jump
    tab.page.mouse.down()
    tab.page.mouse.move(middle[0] + 45, middle[1] - 4, steps=4)
    tab.page.mouse.up()
    moved = b.until(lambda: labels(served).get(0) != first and labels(served).get(0), "the moved label")
    scale = float(re.search(r"zoom ([\d.]+)", tab.text(".badge.right"))[1])
    assert moved[0] - first[0] == pytest.approx(40 / scale, abs=0.5)
    assert moved[1] == pytest.approx(first[1], abs=0.01)
    tab.press("Control+z")
    b.until(lambda: labels(served).get(0) == first, "the first place again")
    tab.press("Control+y")
    b.until(lambda: labels(served).get(0) == moved, "the second place again")


def test_the_room_by_keyboard_alone(chrome, served):
    """Step, place, move, hide, accept, track, re-run, next doubtful, export: without a pointer."""
    tab = b.Page(chrome, served.address)
    tab.press(".", ".", ">", ",")
    tab.at_frame(11)
    tab.press("t", "ArrowRight", "ArrowRight", "Shift+ArrowUp", "Control+ArrowDown", "Enter")
    wanted = pytest.approx((239.5 + 2, 179.5 - 0.1 + 10), abs=0.01)  # from the middle of the picture
    b.until(lambda: labels(served).get(11) == wanted, "the label")  # which a busy machine saves on the way, too
    tab.press(".", "v")
    b.until(lambda: 12 in labels(served), "not visible")
    assert labels(served)[12] is None
    tab.press("Delete")
    b.until(lambda: 12 not in labels(served), "taken away")
    tab.press("g")
    tab.until("document.querySelector('.tracks .num')?.textContent.includes('ms')")
    tab.press("n")
    tab.until("document.querySelector('.told')?.textContent.includes('lost')")
    tab.press("End")
    tab.at_frame(FRAMES - 1)
    tab.press("Home", "?")
    tab.until("document.getElementById('keys').open")
    tab.press("Escape")
    tab.until("!document.getElementById('keys').open")
    for _ in range(60):  # every control can be reached, and says where the focus is
        tab.press("Tab")
        if tab.page.evaluate("document.activeElement.textContent") == "Tips":
            break
    assert tab.page.evaluate("document.activeElement.textContent") == "Tips"
    tab.press("Enter")
    b.until(lambda: (served.out / "tips-auto.csv").exists(), "tips.csv")
    assert tab.errors == []


def test_a_label_survives_kill_9_right_after_the_drop(chrome, clip, tmp_path):
    out = tmp_path / "labels"
    with b.console(clip, "--out", str(out)) as first:
        tab = b.Page(chrome, first.address)
        box = tab.page.locator(".pane").first.bounding_box()
        tab.press("t")
        tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.said("saved ·")
        first.kill()
        tab.until("document.getElementById('banners').textContent.includes('does not answer')")
    lines = (out / "labels.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines[1:]] == [0]
    with b.console(clip, "--out", str(out)) as again:
        fresh = b.Page(chrome, again.address)
        fresh.said("yours")


def test_a_full_disk_is_said_and_the_label_is_kept_on_the_page(chrome, served):
    """The console's process may write no further byte, as on a full disk. Then there is room again."""
    tab = b.Page(chrome, served.address)
    tab.press("t", "ArrowRight", "Enter")
    tab.said("saved ·")
    before = labels(served)
    whole = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (1, whole[1]))
    tab.press("ArrowRight")
    tab.until("document.getElementById('banners').textContent.includes('NOT SAVED: the disk is full')")
    assert labels(served) == before
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, whole)
    tab.page.get_by_role("button", name="Try again").click()
    b.until(lambda: labels(served)[0][0] == before[0][0] + 1, "the label after all")
    tab.said("saved ·")


def test_two_tabs_see_each_other_and_a_race_is_said(chrome, served):
    one, two = b.Page(chrome, served.address), b.Page(chrome, served.address)
    one.press("t", "ArrowRight", "Enter")
    two.said("yours")
    two.press("ArrowRight")
    b.until(lambda: labels(served).get(0, (0, 0))[0] > 240.5, "moved by the other tab")
    # the first tab asks upon what it saw long ago
    one.page.evaluate(
        """async () => {
        const web = new WebSocket(`ws://${location.host}/ws?tab=old`);
        await new Promise((r) => { web.onopen = r; });
        window.answer = new Promise((r) => { web.onmessage = (e) => {
          if (typeof e.data === "string" && JSON.parse(e.data).t === "said") r(JSON.parse(e.data)); }; });
        web.send(JSON.stringify({ t: "label", id: 1, frame: 0, tip: [1, 1], base: 0 }));
        }"""
    )
    said = one.page.evaluate("window.answer")
    assert said["ok"] is False
    assert said["conflict"] is True
    assert labels(served)[0] != (1.0, 1.0)


def test_labels_changed_outside_are_said_and_taken_in(chrome, served):
    tab = b.Page(chrome, served.address)
    tab.press("t", "ArrowRight", "Enter")
    b.until(lambda: labels(served), "the label")
    (served.out / "labels.csv").write_text("frame,tip_x_px,tip_y_px\n5,10,20\n")
    tab.until("document.getElementById('banners').textContent.includes('changed outside')")
    tab.page.get_by_role("button", name="Take theirs in").click()
    tab.until("!document.getElementById('banners').textContent.includes('changed outside')")
    assert labels(served) == {5: (10.0, 20.0)}


def test_the_scale_by_ruler_and_a_track_corrected_from_here_on(chrome, served):
    tab = b.Page(chrome, served.address)
    box = tab.page.locator(".pane").first.bounding_box()
    x, y = box["x"] + 150, box["y"] + 150
    tab.press("m")
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 200, y, steps=3)
    tab.page.mouse.up()
    tab.page.get_by_label("length in mm").fill("20")
    tab.press("Enter")
    zoom = float(re.search(r"zoom ([\d.]+)", tab.text(".badge.right"))[1])
    tab.said("ruler: 20 mm")
    shown = float(re.search(r"Scale([\d.]+) mm per pixel", tab.text("aside"))[1])
    assert shown == pytest.approx(20 / (200 / zoom), rel=0.01)


def test_nothing_leaves_this_machine_and_nothing_breaks_the_policy(chrome, served):
    tab = b.Page(chrome, served.address)
    tab.page.get_by_role("button", name="Read the screen").click()
    tab.until("document.querySelector('aside').textContent.includes('on the screen')")
    ours = (f"http://127.0.0.1:{served.port}/", f"ws://127.0.0.1:{served.port}/", "blob:")
    assert [url for url in tab.asked if not url.startswith(ours)] == []
    assert tab.errors == []
    assert "token" not in tab.page.url


@pytest.mark.parametrize(
    ("scheme", "size"), [("dark", (1280, 800)), ("light", (1280, 800)), ("dark", (390, 844)), ("light", (390, 844))]
)
def test_no_serious_finding_of_axe(chrome, served, scheme, size):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python"
    )
    tab = b.Page(chrome, served.address, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    tab.press("t", "ArrowRight", "Enter", "g")
    tab.until("document.querySelector('.tracks .num')?.textContent.includes('ms')")
    tab.page.locator("summary").click()
    found = axe.Axe().run(tab.page).response["violations"]
    serious = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
