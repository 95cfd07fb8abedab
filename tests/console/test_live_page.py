"""The live room as an operator meets it, in Debian's Chromium, beside a real loop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.recording.run_reader import RunReader

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # of Playwright's own pipes
]
CONFIRMED = "document.querySelector('.stop small').textContent.includes('confirmed by the control loop')"
LATCHED = "document.querySelector('.headline').textContent.includes('STOPPED by the operator')"
FREE = "document.querySelector('.headline').textContent.includes('HELD')"  # paused, and no stop


class Shown:
    """A running `sonosteer.console.simulated_loop`, with a heartbeat that bears a busy machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        words = [sys.executable, "-m", "sonosteer.console.simulated_loop", str(folder), "60"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr.read()
        self.console = int(self.process.stdout.readline())
        self.port = int(self.address.split(":")[2].split("/")[0])

    def end(self) -> str:
        """End the run. Returns why it ended, as the script says."""
        said, _ = self.process.communicate("end\n", timeout=b.PATIENCE_S)
        return said.strip()

    def stops(self) -> list[str]:
        """What the recorded periods say of the stop: each change of it."""
        changes = []
        for message in RunReader(self.folder / "recording.mcap").messages("/tick"):
            said = "stopped" if message.what["verdict"].get("rule") == "stopped" else "free"
            if not changes or changes[-1] != said:
                changes.append(said)
        return changes


class Tab(b.Page):
    """A tab with the live room."""

    READY = "document.querySelectorAll('.pairs')[1]?.querySelector('dd').textContent > 0"  # pictures are counted

    def hold(self, key: str, until: str) -> None:
        """Hold a key until something is so. A busy machine lets a holding break off: then it is held again."""

        def held() -> bool:
            self.page.keyboard.down(key)
            self.page.wait_for_timeout(1500)
            self.page.keyboard.up(key)
            self.page.wait_for_timeout(200)
            return bool(self.page.evaluate(until))

        b.until(held, until)

    def release(self) -> None:
        self.hold("r", FREE)


@pytest.fixture(scope="module")
def chrome():
    with b.browser() as opened:
        yield opened


@pytest.fixture
def shown(tmp_path):
    running = Shown(tmp_path)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.process.pid, signal.SIGCONT)
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def test_stop_by_key_click_touch_and_post_with_focus_in_a_field_and_latched(chrome, shown):
    """Each press is confirmed by a control period, stays, and is released by holding R. All of it is in the record."""
    tab = Tab(chrome, shown.address, has_touch=True)
    page = tab.page
    page.evaluate(
        "() => { const field = document.createElement('input'); field.type = 'text'; field.id = 'field';"
        " field.setAttribute('aria-label', 'a field'); document.querySelector('aside').append(field); }"
    )
    stop = page.locator("button.stop")

    def by_post():
        assert page.evaluate("fetch('/stop', { method: 'POST' }).then((r) => r.status)") == 202

    ways = [
        lambda: page.keyboard.press(" "),
        lambda: page.keyboard.press("Escape"),
        stop.click,
        stop.tap,
        lambda: (page.locator("#field").focus(), page.keyboard.press(" ")),
        lambda: (page.locator("#field").focus(), page.keyboard.press("Escape")),
        lambda: (page.locator("button", has_text="Hold").focus(), page.keyboard.press(" ")),
        lambda: (page.keyboard.press("?"), page.keyboard.press("Escape")),
        by_post,
    ]
    for way in ways:
        way()
        tab.until(LATCHED)
        if way is not by_post:
            tab.until(CONFIRMED)
        tab.until("document.querySelector('.gate strong').textContent === 'Refused'")
        tab.until("document.querySelector('.gate .hint').textContent.includes('by holding R')")
        page.evaluate("document.activeElement.blur()")
        tab.release()
    assert page.locator("#field").input_value() == ""  # the key did nothing but STOP
    assert tab.errors == []
    assert shown.end() == "somebody has had enough"
    assert shown.stops() == ["free", *["stopped", "free"] * len(ways)]


def test_a_short_press_a_reload_and_a_second_tab_release_nothing(chrome, shown):
    tab = Tab(chrome, shown.address)
    tab.press(" ")
    tab.until(LATCHED)
    for _ in range(3):
        tab.page.keyboard.down("r")
        tab.page.wait_for_timeout(300)
        tab.page.keyboard.up("r")
        tab.press("Enter")
    tab.page.keyboard.down("r")
    tab.page.reload()  # in the middle of holding
    tab.until("document.documentElement.dataset.ready === '1'")
    other = Tab(chrome, shown.address)
    tab.page.wait_for_timeout(1500)
    tab.page.keyboard.up("r")
    for each in (tab, other):
        each.until(LATCHED)
        assert "latched" in each.page.locator(".stop small").text_content()
    assert shown.end() == "somebody has had enough"
    assert shown.stops() == ["free", "stopped"]


def test_start_hold_and_stop_by_keyboard_alone_no_serious_finding_and_nothing_leaves_this_machine(chrome, shown):
    tab = Tab(chrome, shown.address)
    b.until(lambda: tab.page.locator(".headline", has_text="begins paused").count(), "paused")
    tab.hold("Enter", "document.querySelector('.headline').hidden")
    tab.until("document.querySelector('.gate strong').textContent === 'Cleared'")
    tab.press("h")
    tab.until("document.querySelector('.headline').textContent.includes('HELD')")
    tab.press("a", "o", "o", "+", "f", "?")
    tab.until("document.getElementById('keys').open")
    assert "STOP" in tab.page.locator("#keys").text_content()
    tab.press("Escape")
    tab.until(CONFIRMED)
    assert not tab.page.evaluate("document.getElementById('keys').open")
    for _ in range(20):
        tab.press("Tab")
        if tab.page.evaluate("document.activeElement.dataset.what === 'release'"):
            break
    tab.hold("Enter", FREE)  # on the button that has the focus
    assert b.serious(tab) == []
    ours = (f"http://127.0.0.1:{shown.port}/", f"ws://127.0.0.1:{shown.port}/", "blob:")
    assert [url for url in tab.asked if not url.startswith(ours)] == []
    counts = [int(x) for x in tab.page.locator(".pairs >> nth=2 >> dd").all_text_contents()]
    assert counts[0] == counts[1] + counts[2] > 0  # seen = sent + passed by
    assert counts[3] <= counts[1]
    assert tab.errors == []


def test_on_a_phone_in_the_light_stop_stays_in_sight_and_axe_finds_nothing_serious(chrome, shown):
    tab = Tab(chrome, shown.address, color_scheme="light", viewport={"width": 390, "height": 844})
    assert b.serious(tab) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
    tab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    box = tab.page.locator("button.stop").bounding_box()
    assert 0 <= box["y"] < 200
    assert "not a medical device" in tab.page.locator("body").text_content()


def test_a_console_that_is_killed_is_told_and_the_run_goes_on(chrome, shown):
    tab = Tab(chrome, shown.address)
    os.kill(shown.console, signal.SIGKILL)
    tab.until("document.getElementById('banners').textContent.includes('STOP on this page does not work now')")
    tab.press(" ")
    tab.until("document.querySelector('.stop small').textContent.includes('NOT CONFIRMED: use the hardware stop')")
    assert shown.end() == "somebody has had enough"
    reader = RunReader(shown.folder / "recording.mcap")
    assert shown.stops() == ["free"]
    assert sum(1 for _ in reader.messages("/tick")) > 10


def test_a_loop_that_is_killed_or_stands_still_is_told(chrome, shown):
    tab = Tab(chrome, shown.address)
    os.kill(shown.process.pid, signal.SIGSTOP)
    tab.until("document.querySelector('main').classList.contains('stale')")
    tab.until("/(NO PICTURE|NOTHING HEARD) FOR/.test(document.querySelector('.pane svg').textContent)")
    tab.until("document.querySelector('.gate strong').textContent === 'Not heard'")
    tab.press(" ")
    tab.until("document.querySelector('.headline').textContent.includes('NOT CONFIRMED')")
    os.kill(shown.process.pid, signal.SIGCONT)
    tab.until(CONFIRMED)  # it was kept, and is obeyed as soon as there is somebody
    tab.until("!document.querySelector('main').classList.contains('stale')")
    os.kill(shown.process.pid, signal.SIGKILL)
    tab.until("document.getElementById('banners').textContent.includes('THE LOOP IS GONE')")
    assert tab.errors == []


class Waiting(Tab):
    """A tab with a run that waits for its start."""

    READY = "document.querySelector('[data-mark=target]') !== null"


def drawn_and_started(tab: Tab) -> float:
    """Draw a target and two regions, by mouse and by key, and start. Returns the height of the picture, CSS px."""
    box = tab.page.locator(".pane").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.click(x, y)
    tab.page.evaluate("document.querySelector('input[value=\"keep out\"]').click()")
    tab.page.mouse.move(x - 60, y + 60)
    tab.page.mouse.down()
    tab.page.mouse.move(x - 60, y + 95, steps=3)
    tab.page.mouse.up()
    tab.until("document.querySelectorAll('[data-mark=region]').length === 1")
    tab.press("ArrowUp", "ArrowUp", "k")
    tab.until("document.querySelectorAll('[data-mark=region]').length === 2")
    tab.hold("Enter", "!document.querySelector('.headline').textContent.includes('BEFORE')")
    return box["height"]


def test_target_and_region_are_drawn_before_the_start_and_recorded(chrome, tmp_path):
    words = ["insert", "--policy", "constant", "--method", "kf", "--seed", "3", "--live", "--console", "--paused"]
    command = [sys.executable, "-m", "sonosteer", *words, "--no-browser", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        tab = Waiting(chrome, process.stdout.readline().strip())
        height = drawn_and_started(tab)
        tab.until("document.getElementById('banners').textContent.includes('The run is over')")
        process.communicate(timeout=b.PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    said = next(RunReader(tmp_path / "run" / "recording.mcap").messages("/configuration")).what["configuration"]
    assert said["task"].target_px == pytest.approx((255.5, 255.5), abs=2)
    assert [r["name"] for r in said["regions"]] == ["region 1", "region 2"]
    first = said["regions"][0]
    assert first["radius_mm"] == pytest.approx(35 * 128 / height, rel=0.15)
    assert first["center_mm"][0] < 64 < first["center_mm"][1]
    assert tab.errors == []
