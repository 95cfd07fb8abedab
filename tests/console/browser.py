"""A console started as users start it, and Debian's Chromium that looks at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import cv2
import numpy as np
import pytest

PATIENCE_S = 240.0  # the machine may be busy: nothing here is a measurement
TIP = (301.25, 187.5)


def chromium() -> str:
    """The browser, or a skip that says how to get it."""
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    found = os.environ.get("SONOSTEER_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.environ.get("CI"):
        pytest.fail("continuous integration installs chromium (.ci/run), and it is not there")
    if found is None:
        pytest.skip("no browser: apt-get install chromium, or set SONOSTEER_CHROMIUM")
    return found


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, and return what it is."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


class Console:
    """A running `sonosteer open`."""

    def __init__(self, clip: Path | str, *options: str) -> None:
        words = [sys.executable, "-m", "sonosteer", "open", str(clip), *options, "--no-browser"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.address or self.process.stderr.read()  # type: ignore[union-attr]

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    @property
    def cookie(self) -> str:
        return f"sonosteer_{self.port}={self.token}"

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> int:
        """As Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


@contextlib.contextmanager
def console(clip: Path | str, *options: str) -> Iterator[Console]:
    """A console that is ended, whatever happens."""
    running = Console(clip, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Chromium."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


class Page:
    """A tab with the console's page, and what went wrong in it."""

    #: what is true once a picture is shown
    READY = "/frame \\d+ \\//.test(document.querySelector('.badge.left')?.textContent ?? '')"

    def __init__(self, opened: Any, address: str, **context: Any) -> None:
        self.context = opened.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.context.set_default_timeout(PATIENCE_S * 1e3)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("websocket", lambda w: self.asked.append(w.url))
        self.page.goto(address)
        self.until("document.documentElement.dataset.ready === '1'")
        self.until(self.READY)

    def until(self, script: str) -> Any:
        """Wait until a script says something true. Not by wait_for_function, which our CSP forbids."""
        from playwright.sync_api import Error

        def asked() -> Any:
            try:
                return self.page.evaluate(script)
            except Error as e:
                if "context was destroyed" not in str(e):
                    raise
                return None  # another page is being opened

        return until(asked, script)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.text_content())

    def at_frame(self, frame: int) -> None:
        """Wait until a frame is shown."""
        self.until(f"document.querySelector('.badge.left').textContent.startsWith('frame {frame} /')")

    def said(self, words: str) -> None:
        """Wait until the label panel says something."""
        self.until(f"document.querySelector('aside').textContent.includes({words!r})")


def write_clip(path: Path, frames: list[np.ndarray], *, rate: int = 20, every: int = 12) -> Path:
    """Write grey frames as H.264, a key frame every so often."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = frames[0].shape[1], frames[0].shape[0]
        stream.pix_fmt, stream.options = (
            "yuv420p",
            {"crf": "10", "preset": "ultrafast", "g": str(every), "threads": "1"},
        )
        for grey in frames:
            picture = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def dot(tip: tuple[float, float] = TIP, size: tuple[int, int] = (480, 360)) -> np.ndarray:
    """A round bright spot in the dark, its middle at a place between pixels."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    spot = 235.0 * np.exp(-((columns - tip[0]) ** 2 + (rows - tip[1]) ** 2) / (2 * 2.5**2))
    return np.round(16 + spot).astype(np.uint8)


def seen_spot(png: bytes, box: dict[str, float], ratio: float) -> tuple[float, float]:
    """Where a screenshot of the page shows the spot: the middle of the largest bright thing, in CSS px of the page."""
    grey = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    _, parts, stats, _ = cv2.connectedComponentsWithStats((grey > 120).astype(np.uint8))
    grey = np.where(parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]), grey, 0).astype(np.float64)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    x, y = ((grey * v).sum() / grey.sum() for v in (columns + 0.5, rows + 0.5))
    return box["x"] + x / ratio, box["y"] + y / ratio


def serious(tab: Page) -> list[Any]:
    """Serious findings of axe in a tab."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install axe-playwright-python"
    )
    found = axe.Axe().run(tab.page).response["violations"]
    return [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]
