"""The live room: what a loop in another process shows now, and what its operator does.

The room presses the operator's button and nothing else. STOP is passed on at once. What lets something move again, the
release of a latched stop and the start, is passed on only after a second of holding that the room itself has timed,
while the run is heard, by a tab that means this very run. So a tab that comes back, or one of yesterday, moves nothing.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sonosteer.console.clip_frames import ShownPicture, encode_picture
from sonosteer.console.holding import Holding
from sonosteer.console.live_state import ToldState, rates_of
from sonosteer.console.mirror import Mirror, Mirrored
from sonosteer.console.room import PROTOCOL, Listener
from sonosteer.console.words import (
    ClearRegions,
    Grip,
    HoldRun,
    KeepOut,
    LetGo,
    PlaceTarget,
    PressStop,
    SeekFrame,
    TabWord,
)
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.core.types import Frame

LOOK_S = 0.004  # chosen: adds 2 ms to the age of a picture, and costs a hundredth of a core
TELL_S = 0.05  # chosen: twenty times a second is more than a person reads
UNHEARD_S = 0.3  # chosen: a loop that has said nothing for so long is not heard
KEPT_PICTURES = 4  # chosen: the newest, and what is being encoded for a slow tab
RATE_S = 2.0  # chosen: rates are those of the last two seconds
MAX_RADIUS_MM = 100.0  # chosen: no picture is larger


@dataclass
class LiveRoom:
    """A run that goes on. All methods but `picture` and `end` belong to one asyncio loop."""

    about: ToldState
    """What a page is told once of the run."""
    run: str
    """Name of the run, new each time."""
    pictures: Mirror
    """The newest picture, in shared memory."""
    states: Mirror
    """The newest control period, in shared memory."""
    press: Callable[[tuple[Any, ...]], None]
    """Passes a word of the operator's button on. It does not wait."""
    wall: Callable[[], float] = time.monotonic
    """Monotonic seconds that this process shares with the loop's."""
    tabs: set[Listener] = field(default_factory=set)
    """Who looks."""
    over: str | None = None
    """Why the run is over. None while it goes on."""
    killed: bool = False
    """True if the loop ended without a word."""
    state: ToldState | None = None
    """The newest control period. None before the first."""
    _holding: Holding = field(default_factory=Holding)
    _kept: OrderedDict[int, Mirrored] = field(default_factory=OrderedDict)
    _encoded: dict[int, ShownPicture] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _past: deque[ToldState] = field(default_factory=deque)
    _serials: list[int] = field(default_factory=lambda: [0, 0])  # of the newest picture and state that were read
    _told_at: float = -math.inf
    _told_end: bool = False

    @property
    def ways(self) -> int:
        """Number of pictures that are shown at a time: one."""
        return 1

    def frames(self, way: int) -> int:
        """No picture can be asked for: the newest comes by itself."""
        return 0

    def now_s(self) -> float | None:
        """The run's time now, s. None before its first word."""
        return None if self.state is None else self.state["at"] + (self.wall() - self.state["wall"])

    # -- what comes from the loop ----------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Hand over what is new, as long as the room is open."""
        while True:
            self.step()
            await asyncio.sleep(LOOK_S)

    def step(self) -> None:
        """Hand over what is new since the last call."""
        fresh = self.pictures.newer(self._serials[0])
        if fresh is not None:
            self._serials[0] = fresh.serial
            with self._lock:
                self._kept[fresh.serial] = fresh
                while len(self._kept) > KEPT_PICTURES:
                    self._encoded.pop(self._kept.popitem(last=False)[0], None)
            for tab in self.tabs:
                tab.want(SeekFrame(fresh.serial))
        said = self.states.newer(self._serials[1])
        if said is not None:
            self._serials[1] = said.serial
            self._take(said.header)
        if self.over is not None and not self._told_end:
            self._told_end = True
            self._tell_all({"t": "over", "why": self.over, "killed": self.killed})

    def _take(self, state: ToldState) -> None:
        before, self.state = self.state, state
        if state["counts"] is not None:
            self._past.append(state)
            while self._past[-1]["at"] - self._past[0]["at"] > RATE_S:
                self._past.popleft()
        changed = before is None or any(before[k] != state[k] for k in ("stop", "held", "phase", "target", "regions"))
        if changed or self.wall() - self._told_at >= TELL_S:
            self._told_at = self.wall()
            self._tell_all(self._told())

    def _told(self) -> ToldState:
        assert self.state is not None
        rates = rates_of(self._past[0], self._past[-1]) if len(self._past) > 1 else None
        return {"t": "state", **self.state, "rates": rates}

    def end(self, why: str, *, killed: bool) -> None:
        """Take note that the run is over. Any thread may call this."""
        self.killed, self.over = killed, why

    def picture(self, wish: SeekFrame) -> ShownPicture:
        """A picture as JPEG, encoded once for all tabs. One that is no longer kept is replaced by the newest."""
        with self._lock:
            serial = wish.index if wish.index in self._kept else next(reversed(self._kept))
            found, done = self._kept[serial], self._encoded.get(serial)
        if done is not None:
            return done
        shown = _shown(found)
        with self._lock:
            if serial in self._kept:
                self._encoded[serial] = shown
        return shown

    # -- what comes from the tabs ----------------------------------------------------------------------------------

    def hello(self, tab: Listener) -> None:
        """Tell a new tab everything."""
        hello = {"t": "hello", "v": PROTOCOL, "run": self.run, "room": "live", "notice": NOT_A_DEVICE}
        tab.tell(hello | {"about": self.about})
        if self.state is not None:
            tab.tell(self._told())
        if self._kept:
            tab.want(SeekFrame(next(reversed(self._kept))))
        if self.over is not None:
            tab.tell({"t": "over", "why": self.over, "killed": self.killed})

    async def hear(self, tab: Listener, word: TabWord) -> None:
        """Do what a tab asks for, and answer it."""
        number = getattr(word, "id", None)
        why, more = self._do(tab, word)
        tab.tell({"t": "said", "id": number, "ok": why is None, "reason": why, **more})

    def press_stop(self, by: str) -> None:
        """Press the operator's stop, and tell every tab. Whoever holds a key begins anew."""
        self._holding.let_all_go()
        self.press(("stop",))
        self._tell_all({"t": "pressed", "by": by, "at": self.now_s()})

    def close(self) -> None:
        """Let go of the shared memory."""
        self.pictures.close()
        self.states.close()

    def _do(self, tab: Listener, word: TabWord) -> tuple[str | None, ToldState]:
        """(why it is not done or None, what else is answered)."""
        if not isinstance(word, Grip):  # whoever does something else meanwhile holds no more
            self._holding.let_go(tab)
        if isinstance(word, LetGo):
            return None, {}
        if not self.about["moves"]:
            return "nothing moves here: it is only looked at", {}
        if isinstance(word, PressStop):
            self.press_stop(f"tab {tab.name}")
            return None, {}
        if not isinstance(word, HoldRun | Grip | PlaceTarget | KeepOut | ClearRegions):
            return f"{type(word).__name__} is no word of this room", {}
        why = self._not_now(word)
        if why is not None:
            self._holding.let_go(tab)
            return why, {}
        if isinstance(word, HoldRun):
            self._holding.let_all_go()
            self.press(("pause",))
            return None, {}
        return self._gripped(tab, word) if isinstance(word, Grip) else (self._draw(word), {})

    def _not_now(self, word: HoldRun | Grip | PlaceTarget | KeepOut | ClearRegions) -> str | None:
        """Why nothing but STOP is passed on now, None if it may be."""
        if word.run != self.run:
            return "this page is of another run: load it again"
        if self.over is not None:
            return f"the run is over: {self.over}"
        if self.state is None or not self.wall() - self.state["wall"] <= UNHEARD_S:
            return "nothing is heard of the run"
        return None

    def _gripped(self, tab: Listener, word: Grip) -> tuple[str | None, ToldState]:
        """Count how long a key is held, and do what it is held for once it is long enough."""
        assert self.state is not None
        stop, waits = self.state["stop"], self.state["held"] is not None or self.state["phase"] == "before"
        why = None
        if word.what == "release" and stop is None:
            why = "no stop is latched"
        elif word.what == "release" and stop["kind"] == "ended":
            why = f"the procedure is over ({stop['reason']}): start a new one"
        elif word.what == "start" and stop is not None:
            why = "a stop is latched: release it first"
        elif word.what == "start" and not waits:
            why = "the run goes on already"
        if why is not None:
            self._holding.let_go(tab)
            return why, {}
        about = (stop["kind"], stop["at"]) if stop is not None else None
        enough, held_s = self._holding.grip(tab, word.what, self.wall(), about=about)
        if enough:
            self.press(("release" if word.what == "release" else "resume",))
        return None, {"held_s": round(held_s, 3), "done": enough}

    def _draw(self, word: PlaceTarget | KeepOut | ClearRegions) -> str | None:
        assert self.state is not None
        if self.state["phase"] != "before" or not self.about["drawn_before"]:
            return "target and regions are drawn before the start only (--paused)"
        width, height = self.about["size_px"]
        if isinstance(word, ClearRegions):
            self.press(("clear",))
            return None
        x, y = word.place if isinstance(word, PlaceTarget) else word.center
        if not (0.0 <= x <= width - 1 and 0.0 <= y <= height - 1):
            return f"{x:.0f}, {y:.0f} px lies outside the picture"
        if isinstance(word, PlaceTarget):
            self.press(("target", x, y))
            return None
        if not 0.0 < word.radius_mm <= MAX_RADIUS_MM:
            return f"a radius of {word.radius_mm:g} mm: give one above 0, {MAX_RADIUS_MM:g} mm at most"
        if self.about["spacing_mm"] is None:
            return "without a scale no region can be drawn: give --spacing-mm"
        self.press(("region", x, y, word.radius_mm))
        return None

    def _tell_all(self, said: ToldState) -> None:
        for tab in self.tabs:
            tab.tell(said)


def _shown(found: Mirrored) -> ShownPicture:
    """The pixels of a mirrored picture, encoded."""
    said = found.header
    pixels = np.frombuffer(found.payload, np.dtype(said["dtype"])).reshape(said["shape"])
    frame = Frame(pixels, said["index"], said["time_s"] or 0.0, full_scale=said["full_scale"])
    kind, payload = encode_picture(frame.grey(), exact=False)
    more = {"captured": said["time_s"], "shift": said["shift"]}
    return ShownPicture(said["index"], frame.time_s, frame.size_px, kind, payload, more=more)
