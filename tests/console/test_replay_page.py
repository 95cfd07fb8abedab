"""The replay room as a person meets it, in Debian's Chromium."""

from __future__ import annotations

import browser as b
import pytest
from written_runs import HELD, STOPPED, write_run

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # of Playwright's own pipes
]


class Tab(b.Page):
    """A tab with the replay room."""

    READY = "/gate /.test(document.querySelector('.badge.left')?.textContent ?? '')"

    def fact(self, name: str) -> str:
        """What the panel says at this moment."""
        return str(
            self.page.evaluate(
                "name => [...document.querySelectorAll('.facts dt')].find(d => d.textContent === name)"
                ".nextElementSibling.textContent",
                name,
            )
        )

    def time(self) -> float:
        """Where the time line stands, s."""
        return float(self.page.locator("[role=slider]").get_attribute("aria-valuenow"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run") / "recording.mcap")


@pytest.fixture(scope="module")
def chrome():
    with b.browser() as opened:
        yield opened


@pytest.fixture
def served(recording):
    with b.console(recording) as running:
        yield running


def test_every_refusal_can_be_reached_by_keyboard_alone(chrome, served):
    tab = Tab(chrome, served.address)
    tab.press("n")
    b.until(lambda: tab.time() == pytest.approx(HELD[0], abs=0.021), "the refusal")
    tab.until("document.querySelector('.badge.left').textContent.includes('HELD')")
    assert "tip sd 3.5 mm is above 3 mm" in tab.fact("Gate")
    tab.press("n")
    b.until(lambda: tab.time() == pytest.approx(STOPPED, abs=0.021), "the stop")
    assert "STOPPED" in tab.fact("Gate")
    assert "the operator pressed stop" in tab.fact("Gate")
    tab.press("N", "Home")
    b.until(lambda: tab.time() == 0.0, "the beginning")
    assert tab.fact("Tip") == "none yet"
    tab.press(".", ".", ".", ".")
    b.until(lambda: tab.time() == pytest.approx(0.4), "the fourth picture")
    assert tab.fact("Tip") == "lost: behind a bone"  # as it was known then: that of the picture before
    tab.press("a")
    b.until(lambda: tab.fact("Tip").startswith("tracking 0.90"), "the tip of this very picture")
    tab.press("?")
    tab.until("document.getElementById('keys').open")
    tab.press("Escape")
    for _ in range(40):
        tab.press("Tab")
        if tab.page.evaluate("document.activeElement.closest('.moments') !== null"):
            break
    tab.press("Enter")
    b.until(lambda: tab.time() == 0.0, "the first moment")
    assert tab.errors == []


def test_it_plays_to_the_end_and_a_click_in_the_time_line_goes_there(chrome, served):
    tab = Tab(chrome, served.address)
    tab.press("p")
    b.until(lambda: tab.time() > 1.8, "the end")
    box = tab.page.locator("[role=slider]").bounding_box()
    tab.page.mouse.click(box["x"] + 62 + (box["width"] - 74) / 2, box["y"] + 20)
    b.until(lambda: 0.85 < tab.time() < 1.1, "the middle")
    assert tab.errors == []


def test_two_runs_lie_beside_each_other_on_one_clock(chrome, recording, tmp_path):
    other = write_run(tmp_path / "recording.mcap", {"command": {"policy": "constant"}})
    with b.console(recording, str(other)) as running:
        tab = Tab(chrome, running.address)
        assert tab.page.locator(".seat").count() == 2
        tab.press("n")
        b.until(lambda: tab.page.locator(".badge.left", has_text="HELD").count() == 2, "both are held")
        assert "policy seek" in tab.text("aside section >> nth=0")
        assert "policy constant" in tab.text("aside section >> nth=1")
        assert tab.errors == []


def test_a_recording_that_was_cut_says_so_on_the_page(chrome, recording, tmp_path):
    cut = tmp_path / "recording.mcap"
    cut.write_bytes(recording.read_bytes()[:-40])
    with b.console(cut) as running:
        tab = Tab(chrome, running.address)
        tab.until("document.getElementById('banners').textContent.includes('cut off')")
        assert "altered or cut" in tab.text("aside section >> nth=0")


def test_nothing_leaves_this_machine(chrome, served):
    tab = Tab(chrome, served.address)
    tab.press("p")
    ours = (f"http://127.0.0.1:{served.port}/", f"ws://127.0.0.1:{served.port}/", "blob:")
    assert [url for url in tab.asked if not url.startswith(ours)] == []
    assert tab.errors == []


@pytest.mark.parametrize(("scheme", "size"), [("dark", (1280, 800)), ("light", (390, 844))])
def test_no_serious_finding_of_axe(chrome, served, scheme, size):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python"
    )
    tab = Tab(chrome, served.address, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    tab.press("n")
    found = axe.Axe().run(tab.page).response["violations"]
    serious = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"
