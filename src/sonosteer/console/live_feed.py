"""The loop's side of a live console: it shows what it does in shared memory, and hears the operator by a pipe.

The console is a process of its own (`console.live_process`). A loop that shows never waits for it: a picture or a
control period is copied, and whoever is slow misses some. What the operator does comes back as the words of his button,
no more. A console that ends, however it ends, changes nothing in the run.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from sonosteer.console.live_process import MAX_PIPE_BYTES, LiveAsked, run_console
from sonosteer.console.live_state import DrawnAim, LiveAbout, MomentTeller, Phase, ToldState, told_picture, told_stop
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Vector
from sonosteer.runtime.button import Button
from sonosteer.runtime.viewing import ControlMoment
from sonosteer.safety.regions import Circle
from sonosteer.safety.stop import Stop

CONSOLE_READY_S = 120.0  # chosen: a very busy machine takes a minute to start an interpreter
CONSOLE_END_S = 3.0  # chosen: how long the console may take to tell its tabs that the run is over
MAX_REASON = 500  # chosen: characters that fit a page's line
PIXEL_BYTES = 3  # chosen: RGB of 8 bit, or grey of 16

#: calls with what the operator drew before the start: ("target", x, y), ("region", x, y, r), ("clear",)
Drawing = tuple[Any, ...]


@dataclass
class LiveFeed:
    """A console that looks at a run. Open it with `open`, and close it whatever happens."""

    about: LiveAbout
    """What is shown."""
    button: Button
    """What the operator's words press."""
    address: str
    """Where the page is, with its token."""
    run: str
    """Name of this run on the page, new each time."""
    aim: DrawnAim
    """Target and regions as the page draws them."""
    lost: str | None = None
    """Why the console has ended before the run. None while it has not."""
    drawn: deque[Drawing] = field(default_factory=deque)
    """What the operator drew before the start, oldest first."""
    phase: Phase = "running"
    """Where the run is, as the page is told."""
    _teller: MomentTeller = field(default_factory=lambda: MomentTeller(None))
    _pictures: Any = None
    _states: Any = None
    _pipe: Connection | None = None
    _process: Any = None
    _wall: Callable[[], float] = time.monotonic
    _broken: str | None = None
    _over: bool = False

    @classmethod
    def open(
        cls,
        about: LiveAbout,
        *,
        port: int | None = None,
        told_lost: Callable[[str], None] = lambda why: None,
        wall: Callable[[], float] = time.monotonic,
    ) -> LiveFeed:
        """Start the console, and return once its page can be opened.

        told_lost: called in another thread if the console ends before the run. wall: monotonic seconds that all
        processes of the machine share. Raises InputError if the port cannot be had, BrokenError if it does not start.
        """
        from sonosteer.console.mirror import Mirror

        width, height = about.size_px
        run = secrets.token_hex(4)
        with contextlib.ExitStack() as made:
            pictures, states = Mirror(PIXEL_BYTES * width * height), Mirror(0)
            made.callback(pictures.close)
            made.callback(states.close)
            here, there = multiprocessing.get_context("spawn").Pipe()
            made.callback(here.close)
            asked = LiveAsked(
                run=run,
                about=about.told(),
                pictures=pictures.name,
                picture_bytes=PIXEL_BYTES * width * height,
                states=states.name,
                port=port,
            )
            process = multiprocessing.get_context("spawn").Process(
                target=run_console, args=(asked, there), name="sonosteer console", daemon=True
            )
            process.start()
            there.close()
            address = _address(here, process)
            feed = cls(
                about=about,
                button=Button(),
                address=address,
                run=run,
                aim=DrawnAim(about.target_px, about.regions),
                _pictures=pictures,
                _states=states,
                _pipe=here,
                _process=process,
                _wall=wall,
                _teller=MomentTeller(about.spacing),
            )
            made.pop_all()
        threading.Thread(target=feed._listen, args=(here, told_lost), name="console's words", daemon=True).start()
        return feed

    @property
    def process_number(self) -> int:
        """Number of the console's process, as the system has it. No unit."""
        return int(self._process.pid)

    # -- what the loop shows ---------------------------------------------------------------------------------------

    def look(self, moment: ControlMoment) -> None:
        """Show a control period of a run, and the picture that is new in it."""
        try:
            if moment.capture is not None:
                self.show_picture(moment.capture.frame, moment.now_s, moment.capture.robot_state.probe_mm)
            self._show(self._teller.told(moment))
        except Exception as e:  # noqa: BLE001  whatever it is, the run goes on
            self._break(e)

    def show_tracked(self, frame: Frame, estimate: Estimate, *, now_s: float, counts: Mapping[str, int]) -> None:
        """Show a frame that was tracked, where no robot moves."""
        try:
            self.show_picture(frame, now_s, None)
            told: ToldState = {
                "at": now_s,
                "tick": frame.index,
                "verdict": None,
                "refused": None,
                "stop": None,
                "held": None,
            }
            told |= {"robot": None, "action": None, "decisions": 0, "counts": dict(counts)}
            self._show(told | {"estimate": self._teller.told_estimate(estimate)})
        except Exception as e:  # noqa: BLE001  whatever it is, tracking goes on
            self._break(e)

    def wait_for_start(self, now_s: float, tick: int, stop: Stop | None) -> None:
        """Show that the run waits for its start."""
        told: ToldState = {
            "at": now_s,
            "tick": tick,
            "verdict": None,
            "refused": None,
            "stop": told_stop(stop),
            "held": None,
        }
        told |= {"robot": None, "action": None, "estimate": None, "decisions": 0, "counts": None}
        self._show(told)

    def show_picture(self, frame: Frame, now_s: float, probe_mm: Vector | None) -> None:
        """Show a picture. probe_mm: where the probe is, mm. None: it does not move."""
        if self._over or self._broken is not None:
            return
        header = told_picture(frame, self.about.spacing, probe_mm) | {"said": now_s, "wall": self._wall()}
        self._put(self._pictures, header, np.ascontiguousarray(frame.pixels).data.cast("B"))

    def _show(self, told: ToldState) -> None:
        if self._over or self._broken is not None:
            return
        self._put(self._states, {**told, **self.aim.told(), "phase": self.phase, "wall": self._wall()})

    def _put(self, mirror: Any, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> None:
        try:
            mirror.put(header, payload)
        except ValueError as e:  # a picture that is larger than the source said
            self._break(e)

    def _break(self, error: Exception) -> None:
        """Show nothing any more. The page says that nothing comes."""
        self._broken = f"{type(error).__name__}: {error}"
        print(f"sonosteer: the console is shown nothing any more: {self._broken}; the run goes on", file=sys.stderr)

    # -- what the operator does ------------------------------------------------------------------------------------

    def press(self, word: tuple[Any, ...]) -> None:
        """Do what the operator did at the page. Words that are not known do nothing."""
        does: dict[str, Callable[[], None]] = {
            "stop": self.button.press,
            "release": self.button.release,
            "pause": self.button.pause,
            "resume": self.button.resume,
        }
        if word[0] in does:
            does[word[0]]()
        elif word[0] in ("target", "region", "clear") and self.phase == "before":
            self.drawn.append(word)

    def take_drawn(self) -> None:
        """Let what was drawn since the last call count for target and regions."""
        while self.drawn:
            what, *numbers = self.drawn.popleft()
            if what == "target":
                self.aim.target_px = (numbers[0], numbers[1])
            elif what == "region":
                center, radius = self._mm((numbers[0], numbers[1])), numbers[2]
                name = f"region {len(self.aim.regions) + 1}"
                with contextlib.suppress(InputError):  # one of no size, which the room has refused already
                    self.aim.regions += (Circle(name, center, radius),)
            else:
                self.aim.regions = self.about.regions

    def _mm(self, place_px: Point) -> Point:
        assert self.about.spacing is not None  # the room lets nobody draw without a scale
        return self.about.spacing.to_mm(place_px)

    def _listen(self, pipe: Connection, told_lost: Callable[[str], None]) -> None:
        while True:
            try:
                word = json.loads(pipe.recv_bytes(MAX_PIPE_BYTES))
            except (EOFError, OSError, ValueError):
                break
            self.press(tuple(word))
        if not self._over:
            self.lost = "the console has ended; the run goes on"
            told_lost(self.lost)

    # -- the end ---------------------------------------------------------------------------------------------------

    def end(self, why: str) -> None:
        """Tell the page why the run is over. Nothing is shown any more. Only the first call counts."""
        if self._over:
            return
        self._over, self.phase = True, "over"
        if self._pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                self._pipe.send_bytes(json.dumps(["over", why[:MAX_REASON]]).encode())

    def close(self) -> None:
        """End the console, and let go of the memory. May be called twice."""
        self.end("the command has ended")
        if self._process is not None:
            self._process.join(CONSOLE_END_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join(CONSOLE_END_S)
        self._pictures.close()
        self._states.close()


def _address(pipe: Connection, process: Any) -> str:
    """The address that a console says once it listens."""
    try:
        if not pipe.poll(CONSOLE_READY_S):
            process.kill()
            raise BrokenError(f"the console did not start within {CONSOLE_READY_S:g} s")
        word, said = json.loads(pipe.recv_bytes(MAX_PIPE_BYTES))
    except (EOFError, OSError, ValueError):
        process.join(CONSOLE_END_S)
        raise BrokenError(f"the console did not start (exit code {process.exitcode})") from None
    if word != "ready":
        raise InputError(str(said))
    return str(said)
