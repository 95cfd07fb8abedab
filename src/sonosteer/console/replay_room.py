"""The replay room: one recorded run or two beside each other, with every decision and every refusal."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from sonosteer.console.clip_frames import ShownPicture
from sonosteer.console.recorded_run import RecordedRun
from sonosteer.console.room import PROTOCOL, Listener
from sonosteer.console.words import SeekFrame, TabWord
from sonosteer.core.errors import InputError
from sonosteer.core.notice import NOT_A_DEVICE

ROWS_IN_MESSAGE = 2000  # chosen: some hundred kB in a message
MAX_RUNS = 2  # chosen: as many as a screen shows beside each other


@dataclass
class ReplayRoom:
    """Runs to look at. Raises InputError if there are more than two."""

    runs: Sequence[RecordedRun]
    """The runs, read."""
    tabs: set[Listener] = field(default_factory=set)
    """Who looks."""
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Name of this console, new each time."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.runs) <= MAX_RUNS:
            raise InputError(f"{len(self.runs)} recordings were named: one is shown, or two beside each other")

    @property
    def ways(self) -> int:
        """Number of pictures that are shown at a time: one of each run."""
        return len(self.runs)

    def frames(self, way: int) -> int:
        """Number of frames of a run."""
        return len(self.runs[way].frames)

    def picture(self, wish: SeekFrame) -> ShownPicture:
        """The picture that a tab asked for."""
        return self.runs[wish.way].picture(wish.index, exact=wish.exact)

    def hello(self, tab: Listener) -> None:
        """Tell a new tab everything."""
        about = [run.about() for run in self.runs]
        tab.tell(
            {"t": "hello", "v": PROTOCOL, "run": self.run, "room": "replay", "runs": about, "notice": NOT_A_DEVICE}
        )
        for way, run in enumerate(self.runs):
            for part, rows in run.parts().items():
                for i in range(0, len(rows), ROWS_IN_MESSAGE):
                    tab.tell({"t": "recorded", "way": way, "part": part, "rows": rows[i : i + ROWS_IN_MESSAGE]})
        tab.tell({"t": "read"})

    async def hear(self, tab: Listener, word: TabWord) -> None:
        """Nothing can be changed in a recording."""
        number = getattr(word, "id", None)
        why = f"{type(word).__name__} is no word of this room: a recording is only looked at"
        tab.tell({"t": "said", "id": number, "ok": False, "reason": why})

    async def watch(self) -> None:
        """Nothing changes by itself."""

    def close(self) -> None:
        """Release the recordings."""
        for run in self.runs:
            run.close()
