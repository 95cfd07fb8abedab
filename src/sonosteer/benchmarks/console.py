"""`sonosteer bench console`: pictures that a browser draws of a clip, beside a page that makes the same ones itself.

A clip of 512 x 512 grain carries the number of each frame as a barcode. A script in the page reads it back from the
canvas each time that a picture was drawn, and compares it with the header that came with the picture. Age: from the
moment in which the page asked for the frame until it was drawn. The page that makes its pictures itself paints the same
noise and the same barcode without any server.

A second tab hangs meanwhile. Its pictures on the way, and what was passed by, are counted by the server and told in
each header. Then a clip of 10,000 frames is opened twice, with a key frame every 12 and every 250, and sought at
random.

Then a live room: what its tabs cost a control loop, and how quick STOP is (`benchmarks.live_console`).

The pictures are drawn by Chromium without a GPU. It needs playwright and Debian's chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from sonosteer.benchmarks.live_console import control_periods, stop_latency
from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError, MissingExtraError

SIDE_PX, BITS, BLOCK_PX = 512, 14, 32
RATES_HZ = (30, 60)
SECONDS = 8.0  # chosen: a measurement of one rate. Longer by --seconds
SEEKS, LONG_FRAMES, EVERY = 30, 10_000, (12, 250)
PATIENCE_S = 240.0

#: what the script in the page notes: when each frame was asked for, and what was seen when it was drawn
SPY = """
(() => {
  const spy = window.spy = { asked: new Map(), header: new Map(), rows: [], wrong: 0, most: 0, counts: null, drawn: 0 };
  const own = window.WebSocket;
  window.WebSocket = class extends own {
    constructor(...words) {
      super(...words);
      this.addEventListener("message", (event) => {
        if (typeof event.data === "string") return;
        const n = new DataView(event.data).getUint32(0, true);
        const said = JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, n)));
        spy.header.set(said.serial, said.index);
        spy.counts = [said.asked, said.sent, said.passed_by];
        spy.most = Math.max(spy.most, said.sent - spy.drawn);
      });
    }
    send(text) {
      const said = JSON.parse(text);
      if (said.t === "seek" && !spy.asked.has(said.index)) spy.asked.set(said.index, performance.now());
      if (said.t === "drawn") { spy.drawn += 1; look(said.serial); }
      super.send(text);
    }
  };
  function look(serial) {
    const now = performance.now(), canvas = document.querySelector("canvas.picture");
    const w = canvas.width, h = canvas.height;
    const margin = Math.min(28, 0.04 * Math.min(w, h)), k = Math.min(w - 2 * margin, h - 2 * margin) / SIDE;
    const x0 = (w - SIDE * k) / 2, y0 = (h - SIDE * k) / 2, pen = canvas.getContext("2d");
    let seen = 0;
    for (let bit = 0; bit < BITS; bit++) {
      const x = Math.round(x0 + (bit + 0.5) * BLOCK * k), y = Math.round(y0 + 0.5 * BLOCK * k);
      const at = pen.getImageData(x, y, 1, 1).data[0];
      if (at > 128) seen += 2 ** bit;
    }
    const index = spy.header.get(serial);
    if (seen !== index % MOD) spy.wrong += 1;
    spy.rows.push([now, now - spy.asked.get(index)]);
    spy.asked.delete(index);
    spy.header.delete(serial);
  }
})();
"""
#: a page that makes the same pictures itself, at a rate, for some seconds
BARE = """async ([rate, seconds]) => {
  const canvas = document.body.appendChild(document.createElement("canvas"));
  const pen = canvas.getContext("2d", { alpha: false });
  [canvas.width, canvas.height] = [900, 570];
  const noise = Array.from({ length: 4 }, () => {
    const data = new ImageData(SIDE, SIDE);
    for (let i = 0; i < data.data.length; i += 4) data.data.set([70, 70, 70, 255], i);
    for (let i = 0; i < data.data.length; i += 4) data.data[i] = data.data[i + 1] = 40 + 60 * Math.random();
    return data;
  });
  const begin = performance.now();
  let drawn = 0, last = -1;
  await new Promise((over) => {
    const tick = async () => {
      const now = performance.now(), index = Math.floor(((now - begin) / 1000) * rate);
      if (now - begin > seconds * 1000) { over(); return; }
      if (index !== last) {
        last = index;
        const data = noise[index % 4];
        for (let bit = 0; bit < BITS; bit++) for (let y = 0; y < BLOCK; y++) {
          const from = 4 * (y * SIDE + bit * BLOCK);
          data.data.fill((index >> bit) & 1 ? 255 : 0, from, from + 4 * BLOCK);
        }
        pen.drawImage(await createImageBitmap(data), 180, 15, 540, 540);
        drawn += 1;
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  return drawn / seconds;
}"""


def barcode(index: int, noise: U8) -> U8:
    """(512, 512) grey levels: the noise, and the number of the frame in its upper edge."""
    grey = noise.copy()
    for bit in range(BITS):
        grey[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 235 if index >> bit & 1 else 16
    return grey


def write_barcodes(path: Path, *, frames: int, rate_hz: int, every: int, distinct: int, seed: int) -> None:
    """Write a clip with a key frame every so many frames. Its first `distinct` pictures come again and again."""
    rng = np.random.default_rng(seed)
    grain = [rng.normal(70.0, 90.0, (SIDE_PX, SIDE_PX)) for _ in range(4)]
    noise = [np.clip(cv2.GaussianBlur(g, (0, 0), 2.5), 0, 255).astype(np.uint8) for g in grain]
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=rate_hz)
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        options = {"crf": "23", "preset": "ultrafast", "g": str(every), "keyint_min": str(every), "sc_threshold": "0"}
        stream.options = {**options, "bf": "0", "threads": "1"}
        packets: list[tuple[bytes, bool]] = []
        for k in range(distinct):
            picture = av.VideoFrame.from_ndarray(barcode(k, noise[k % 4]), format="gray").reformat(format="yuv420p")
            packets += [(bytes(p), p.is_keyframe) for p in stream.encode(picture)]
        packets += [(bytes(p), p.is_keyframe) for p in stream.encode()]
        for k in range(frames):
            data, key = packets[k % distinct]
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, k, k, key
            packet.time_base = stream.codec_context.time_base
            file.mux(packet)


@contextmanager
def _console(clip: Path, out: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a running console."""
    words = [sys.executable, "-m", "sonosteer", "open", str(clip), "--no-browser", "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address.startswith("http"):
            raise InputError("the console did not start: try `sonosteer open` by itself")
        yield address, process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingExtraError("bench console", "playwright", "dev") from None
    path = os.environ.get("SONOSTEER_CHROMIUM") or shutil.which("chromium")
    if path is None:
        raise InputError("bench console: there is no browser: apt-get install chromium, or set SONOSTEER_CHROMIUM")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


def _script(text: str, mod: int) -> str:
    for name, value in (("SIDE", SIDE_PX), ("BITS", BITS), ("BLOCK", BLOCK_PX), ("MOD", mod)):
        text = text.replace(name, str(value))
    return text


def _tab(chrome: Any, address: str, mod: int) -> Any:
    """A tab with the clip room, spied upon, its first picture drawn."""
    page = chrome.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(PATIENCE_S * 1e3)
    page.add_init_script(_script(SPY, mod))
    page.goto(address)
    _until(page, "window.spy.drawn > 0")
    return page


def _until(page: Any, condition: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise InputError(f"bench console: the page did not come so far that {condition}")
        time.sleep(0.02)


def _memory_mb(process: subprocess.Popen[str]) -> float | None:
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():  # not Linux
        return None
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def _case(name: str, ages_ms: list[float], **ratio: float) -> dict[str, Any]:
    if not ages_ms:
        raise InputError(f"{name}: no picture was drawn in that time: give it longer (--seconds), or a quieter machine")
    quantiles = np.percentile(ages_ms, [50, 95, 99, 100]).tolist()
    keys = ("median_ms", "p95_ms", "p99_ms", "max_ms")
    return {"case": name, **dict(zip(keys, quantiles, strict=True)), "ratio": ratio}


def _played(page: Any, seconds: float) -> tuple[float, list[float]]:
    """(pictures drawn a second, their ages in ms) of a clip that plays."""
    page.evaluate("window.spy.rows = []")
    page.keyboard.press("p")
    page.wait_for_timeout(seconds * 1e3)
    rows = page.evaluate("window.spy.rows")
    page.keyboard.press("p")
    return len(rows) / seconds, [age for _, age in rows if age is not None]


def bench_console(seed: int, progress: Callable[[int], None], seconds: float = SECONDS) -> dict[str, Any]:
    """Draw, hang, seek, look at a live loop, stop it. Returns ages by case, and what was counted.

    seconds: how long each rate is played, how long a tab hangs, and how long a loop is looked at. Raises
    MissingExtraError without playwright, InputError without a browser.
    """
    cases: list[dict[str, Any]] = []
    counted: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made, _chromium() as chrome:
        folder = Path(made)
        for n, rate in enumerate(RATES_HZ):
            clip = folder / f"{rate}.mp4"
            distinct = 240
            write_barcodes(
                clip, frames=round(rate * (seconds + 30)), rate_hz=rate, every=12, distinct=distinct, seed=seed
            )
            bare = chrome.new_page(viewport={"width": 1280, "height": 800})
            by_itself = bare.evaluate(_script(BARE, distinct), [rate, seconds])
            bare.close()
            with _console(clip, folder / f"out-{rate}") as (address, process):
                tab = _tab(chrome, address, distinct)
                drawn, ages = _played(tab, seconds)
                counted[f"{rate} Hz"] = _counts(tab) | {"drawn_per_s": drawn, "bare_page_per_s": by_itself}
                cases.append(_case(f"age at {rate} Hz", ages, drawn=drawn / max(by_itself, 1e-9)))
                if rate == RATES_HZ[0]:
                    case, said = _with_a_hung_tab(chrome, address, process, tab, seconds, distinct)
                    cases.append(case)
                    counted["a hung tab"] = said
                tab.context.close()
            progress(n + 1)
        for n, every in enumerate(EVERY):
            clip = folder / f"long-{every}.mp4"
            distinct = every * max(1, 240 // every)
            write_barcodes(clip, frames=LONG_FRAMES, rate_hz=30, every=every, distinct=distinct, seed=seed)
            case, said = _seeks(chrome, clip, folder / f"long-{every}", distinct, seed)
            cases.append(case | {"case": f"seek, key frame every {every}"})
            counted[f"10,000 frames, key frame every {every}"] = said
            progress(len(RATES_HZ) + n + 1)
        for n, measured in enumerate((_periods, _stops)):
            found, said = measured(folder, seconds, chrome)
            cases += found
            counted |= said
            progress(len(RATES_HZ) + len(EVERY) + n + 1)
    notes = "\n".join(f"{name}: {said}" for name, said in counted.items())
    return {"cases": cases, "counted": counted, "seconds": seconds, "notes": notes}


def _periods(folder: Path, seconds: float, chrome: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return control_periods(folder, seconds, chromium=_chromium, chrome=chrome, until=_until, case=_case)


def _stops(folder: Path, seconds: float, chrome: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return stop_latency(folder, seconds, chrome, _until, _case)


def _counts(tab: Any) -> dict[str, Any]:
    """What server and page counted. waiting: asked for and neither sent nor passed by, 1 at most."""
    asked, sent, passed_by = tab.evaluate("window.spy.counts")
    return {
        **{"asked": asked, "sent": sent, "passed_by": passed_by, "waiting": asked - sent - passed_by},
        **{"most_on_the_way": tab.evaluate("window.spy.most"), "wrong_pictures": tab.evaluate("window.spy.wrong")},
    }


def _with_a_hung_tab(
    chrome: Any, address: str, process: subprocess.Popen[str], tab: Any, seconds: float, mod: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A second tab plays and then hangs. Returns the first one's ages, and what was counted."""
    hung = _tab(chrome, address, mod)
    hung.keyboard.press("Home")
    hung.keyboard.press("p")
    hung.wait_for_timeout(500)
    before = _memory_mb(process)
    hung.evaluate(
        "(s) => { setTimeout(() => { const end = Date.now() + 1000 * s; while (Date.now() < end); }, 50); }", seconds
    )
    tab.keyboard.press("Home")
    drawn, ages = _played(tab, seconds)
    after = _memory_mb(process)
    said = _counts(hung) | {"neighbour_drawn_per_s": drawn, "memory_mb": [before, after]}
    hung.context.close()
    return _case("age at 30 Hz beside a hung tab", ages), said


def _seeks(chrome: Any, clip: Path, out: Path, mod: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Random seeks in a long clip, one after the other."""
    begun = time.perf_counter()
    with _console(clip, out) as (address, process):
        listening_s = time.perf_counter() - begun
        tab = _tab(chrome, address, mod)
        opened_s = time.perf_counter() - begun
        before = _memory_mb(process)
        rng, ages = np.random.default_rng(seed), []
        box = tab.locator(".line").bounding_box()
        for index in rng.integers(0, LONG_FRAMES, SEEKS).tolist():
            tab.evaluate("window.spy.rows = []")
            tab.mouse.click(box["x"] + box["width"] * (0.08 + 0.9 * index / LONG_FRAMES), box["y"] + 8)
            _until(tab, "window.spy.rows.length > 0")
            ages.append(tab.evaluate("window.spy.rows[0][1]"))
        said = _counts(tab) | {"listening_s": listening_s, "first_picture_s": opened_s}
        said["memory_mb"] = [before, _memory_mb(process)]
        tab.context.close()
    return _case("seek", [a for a in ages if a is not None]), said
