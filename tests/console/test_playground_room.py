"""The playground: what a tab may ask for, and the page as a person meets it in Debian's Chromium."""

from __future__ import annotations

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.playground_room import WantedScene, read_wanted
from sonosteer.console.playground_worker import SLIDERS, _scene, value_of
from sonosteer.core.errors import InputError
from sonosteer.sim.scenes import make_scene
from sonosteer.sources.simulated import SimulatedSource


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "a scene is"),
        ({"setup": "/etc/passwd.toml", "seed": 1, "fields": {}}, "no set-up"),
        ({"setup": "os:system", "seed": 1, "fields": {}}, "no set-up"),
        ({"setup": "axial", "seed": -1, "fields": {}}, "the seed is"),
        ({"setup": "axial", "seed": True, "fields": {}}, "the seed is"),
        ({"setup": "axial", "seed": 1, "fields": {"material": 3}}, "no slider"),
        ({"setup": "axial", "seed": 1, "fields": {"artefacts.tgc_db": "1"}}, "is possible"),
        ({"setup": "axial", "seed": 1, "fields": {"artefacts.tgc_db": float("nan")}}, "is possible"),
        ({"setup": "axial", "seed": 1, "fields": {"artefacts.tgc_db": 1e9}}, "is possible"),
    ],
)
def test_what_is_no_scene_is_refused_in_one_line(said, why):
    with pytest.raises(InputError, match=why) as found:
        read_wanted(said)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("end", ["low", "high"])
def test_both_ends_of_every_slider_make_a_scene(end):
    fields = {name: getattr(slider, end) for name, slider in SLIDERS.items()}
    wanted = read_wanted({"setup": "in-plane-linear", "seed": 3, "fields": fields})
    scene = make_scene("in-plane-linear", 3, **wanted.overrides)
    assert {name: value_of(scene, name) for name in SLIDERS} == fields


def test_the_clip_room_is_handed_the_scene_that_was_played():
    wanted = WantedScene("in-plane-linear", 3, (("artefacts.occluders", 2.0), ("artefacts.tgc_db", 4.5)))
    played, clip = make_scene("in-plane-linear", 3, **wanted.overrides), SimulatedSource(wanted.address[4:], seed=3)
    assert clip.scene == played
    assert clip.scene.artefacts.occluders == 2


def test_another_scene_has_another_folder():
    one, other = WantedScene("axial", 1), WantedScene("axial", 1, (("artefacts.tgc_db", 1.0),))
    assert len({one.folder, other.folder, WantedScene("axial", 2).folder}) == 3


def test_the_worker_draws_frames_with_their_truth():
    about, frames = _scene("in-plane-linear", 2, {"width_px": 64, "height_px": 64, "spacing_mm": 0.8})
    drawn = [next(frames) for _ in range(3)]
    assert [d.index for d in drawn] == [0, 1, 2]
    assert about["frames"] == drawn[0].frames
    assert drawn[0].payload[:2] == b"\xff\xd8"  # JPEG
    assert set(about["values"]) == set(SLIDERS)


# -- in a browser ----------------------------------------------------------------------------------------------

slow = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # of Playwright's own pipes
]


def playground(tmp_path):
    return b.console("--playground", "--out", str(tmp_path))


class Tab(b.Page):
    """A tab with the playground."""

    READY = "document.querySelector('.badge.left b')?.textContent"


class TestInABrowser:
    pytestmark = slow

    def test_by_keyboard_alone_to_a_track_in_the_clip_room(self, tmp_path):
        """A slider by arrow keys makes another scene, G opens it as a clip, and nothing asks another machine."""
        with b.browser() as chrome, playground(tmp_path) as served:
            tab = Tab(chrome, served.address)
            tab.until("document.querySelector('.making').hidden")
            slider = tab.page.get_by_label("uneven gain, dB")
            slider.focus()
            before = float(slider.input_value())
            tab.press("ArrowRight", "ArrowRight")
            tab.until("document.querySelector('.slider.own output')?.value.includes('dB')")
            assert float(slider.input_value()) == before + 1.0
            tab.until("document.querySelector('.making').hidden")
            tab.press("t")
            assert tab.page.evaluate("document.querySelector('.playground input[type=checkbox]').checked") is False
            tab.press("p")
            tab.until("document.querySelector('.transport button').textContent.startsWith('Play')")
            tab.press("g")
            tab.until("/frame \\d+ \\//.test(document.querySelector('.clip .badge.left')?.textContent ?? '')")
            assert tab.page.get_by_role("link", name="Playground").get_attribute("href") == "/playground"
            folders = [p.name for p in tmp_path.iterdir()]
            assert [name.startswith("playground-in-plane-convex-1-") for name in folders] == [True]
            ours = (f"http://127.0.0.1:{served.port}/", f"ws://127.0.0.1:{served.port}/", "blob:")
            assert [url for url in tab.asked if not url.startswith(ours)] == []
            assert tab.errors == []

    @pytest.mark.parametrize(("scheme", "size"), [("dark", (1280, 800)), ("light", (390, 844))])
    def test_no_serious_finding_of_axe(self, tmp_path, scheme, size):
        with b.browser() as chrome, playground(tmp_path) as served:
            tab = Tab(chrome, served.address, color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
            assert b.serious(tab) == []
            assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
