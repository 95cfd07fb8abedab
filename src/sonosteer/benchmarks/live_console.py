"""The live half of `sonosteer bench console`: what a page costs a control loop, and how quick its STOP is.

A simulated insertion that is held runs at 100 Hz with the gate and the recording of `insert --live`
(`sonosteer.console.simulated_loop`, a process of its own). First nobody looks at it. Then four tabs do: one that draws,
one that hangs in an endless loop, one whose process is stopped (SIGSTOP), and one that fetches the page's files without
end. The live room has no export, and this stands for it. How late control periods were is read from the recording.

Then STOP is pressed again and again by a key, and released by holding R. From the server's receipt, and from the key,
until the first recorded period with a stop.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sonosteer.core.errors import InputError
from sonosteer.recording.run_reader import RunReader

CONTROL_PERIOD_S = 0.01
TOO_LATE_S = 0.1  # chosen: a control period that begins so much later than it should is counted
MAX_PRESSES = 200
SECONDS_A_PRESS = 3.0  # chosen: so that ten minutes give two hundred presses

#: notes when STOP's key was pressed and when the server had it, both on the run's clock, and the pictures' account
LIVE_SPY = """
(() => {
  const spy = window.spy = { keys: [], received: [], pongs: [], counts: null, latched: false };
  Object.assign(spy, { most: 0, drawn: 0, wrong: 0 });
  const own = window.WebSocket;
  const now = () => {
    const best = spy.pongs.slice(-40).reduce((a, b) => (b.trip < a.trip ? b : a));
    return performance.now() / 1000 + best.offset;
  };
  window.WebSocket = class extends own {
    constructor(...words) {
      super(...words);
      this.addEventListener("message", (event) => {
        if (typeof event.data !== "string") {
          const n = new DataView(event.data).getUint32(0, true);
          const said = JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, n)));
          spy.counts = [said.asked, said.sent, said.passed_by];
          spy.wrong += said.asked !== said.sent + said.passed_by;
          spy.most = Math.max(spy.most, said.sent - spy.drawn);
          return;
        }
        const said = JSON.parse(event.data), back = performance.now();
        if (said.t === "pong") spy.pongs.push({ trip: back - said.at, offset: said.now - (said.at + back) / 2000 });
        if (said.t === "pressed") spy.received.push(said.at);
        if (said.t === "state") spy.latched = said.stop !== null;
      });
    }
    send(text) {
      if (JSON.parse(text).t === "drawn") spy.drawn += 1;
      super.send(text);
    }
  };
  addEventListener("keydown", (event) => { if (event.key === " ") spy.keys.push(now()); }, { capture: true });
})();
"""
FETCH = """() => {
  const more = () => fetch("/live/room.js", { cache: "no-store" }).then((answer) => answer.text()).then(more);
  more();
}"""
HANG = "() => setTimeout(() => { for (;;); }, 50)"

Case = Callable[..., dict[str, Any]]
Until = Callable[[Any, str], None]


@contextmanager
def _loop(folder: Path) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """(address, number of the console's process, process) of a loop that is held. It has recorded once this is over."""
    folder.mkdir()
    words = [sys.executable, "-m", "sonosteer.console.simulated_loop", str(folder)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address.startswith("http"):
            raise InputError("the loop with its console did not start")
        yield address, int(process.stdout.readline()), process
        process.communicate("end\n", timeout=120.0)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _ticks(folder: Path) -> list[tuple[float, str]]:
    """(time in s, rule that refused) of every recorded period."""
    reader = RunReader(folder / "recording.mcap")
    return [(m.time_s, _reason(m.what["verdict"])) for m in reader.messages("/tick")]


def _reason(verdict: Any) -> str:
    return f"{verdict.get('rule', '')}: {verdict.get('reason', '')}"


def _late(ticks: list[tuple[float, str]]) -> tuple[list[float], dict[str, Any]]:
    """(how late each period began in ms, counts)."""
    late = [max(b[0] - a[0] - CONTROL_PERIOD_S, 0.0) for a, b in itertools.pairwise(ticks)]
    stops = sum("heartbeat" in after[1] and "heartbeat" not in before[1] for before, after in itertools.pairwise(ticks))
    counted = {"periods": len(ticks), "over_100_ms_late": sum(v > TOO_LATE_S for v in late), "heartbeat_stops": stops}
    return [1e3 * v for v in late], counted


def _memory_mb(number: int) -> float | None:
    status = Path(f"/proc/{number}/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


def _tab(chrome: Any, address: str, until: Until) -> Any:
    page = chrome.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(LIVE_SPY)
    page.goto(address)
    until(page, "window.spy.counts !== null && window.spy.pongs.length > 0")
    return page


def control_periods(
    folder: Path,
    seconds: float,
    chromium: Callable[[], AbstractContextManager[Any]],
    chrome: Any,
    until: Until,
    case: Case,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(cases, what was counted): how late control periods are with nobody looking, and beside tabs that misbehave."""
    counted: dict[str, Any] = {}
    with _loop(folder / "alone"):
        chrome.new_page().wait_for_timeout(1e3 * seconds)
    alone, counted["control periods, no tab"] = _late(_ticks(folder / "alone"))
    with _loop(folder / "beside") as (address, number, _), _stopped_tab(chromium, address, until) as stopped:
        drawing, hung, fetching = (_tab(chrome, address, until) for _ in range(3))
        fetching.evaluate(FETCH)
        hung.evaluate(HANG)
        before = _memory_mb(number)
        drawing.wait_for_timeout(1e3 * seconds)
        asked, sent, passed_by = drawing.evaluate("window.spy.counts")
        said = {"seen": asked, "sent": sent, "passed_by": passed_by, "tab_stopped_by_signal": stopped}
        said |= {"headers_that_do_not_add_up": drawing.evaluate("window.spy.wrong")}
        said |= {"most_on_the_way": drawing.evaluate("window.spy.most"), "memory_mb": [before, _memory_mb(number)]}
        for page in (drawing, fetching):
            page.context.close()
    beside, late = _late(_ticks(folder / "beside"))
    counted["control periods beside four tabs"] = late | said
    return [case("control period late, no tab", alone), case("control period late, three bad tabs", beside)], counted


@contextmanager
def _stopped_tab(chromium: Callable[[], AbstractContextManager[Any]], address: str, until: Until) -> Iterator[bool]:
    """A tab in a browser of its own whose page is stopped by SIGSTOP. False where that cannot be done."""
    with chromium() as other:
        before = _renderers()
        page = _tab(other, address, until)
        found = _renderers() - before
        for number in found:
            os.kill(number, signal.SIGSTOP)
        try:
            yield bool(found)
        finally:
            for number in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGCONT)
            page.context.close()


def _renderers() -> set[int]:
    """Numbers of the processes that draw pages, as Linux has them. Empty elsewhere."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"--type=renderer" in each.read_bytes():
                found.add(int(each.parent.name))
    return found


def stop_latency(
    folder: Path, seconds: float, chrome: Any, until: Until, case: Case
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(cases, what was counted): from the server's receipt and from the key to the first recorded stop."""
    presses = max(5, min(MAX_PRESSES, round(seconds / SECONDS_A_PRESS)))
    with _loop(folder / "stop") as (address, _, _process):
        tab = _tab(chrome, address, until)
        for _ in range(presses):
            tab.keyboard.press(" ")
            until(tab, "window.spy.latched")
            tab.keyboard.down("r")
            until(tab, "!window.spy.latched")
            tab.keyboard.up("r")
        keys, received = tab.evaluate("[window.spy.keys, window.spy.received]")
        tab.context.close()
    ticks = _ticks(folder / "stop")
    stopped = [(time_s, said.startswith("stopped")) for time_s, said in ticks]
    begun = [after[0] for before, after in itertools.pairwise(stopped) if after[1] and not before[1]]

    def waited(since: list[float]) -> list[float]:
        return [1e3 * (min(t for t in begun if t >= at - CONTROL_PERIOD_S) - at) for at in since]

    cases = [case("STOP: server's receipt to recorded period", waited(received))]
    cases.append(case("STOP: key to recorded period", waited(keys)))
    return cases, {"STOP": {"presses": presses, "recorded": len(begun)}}
