"""A simulated insertion on a real clock that is held from its beginning, with a page: to measure and try the console.

`python -m sonosteer.console.simulated_loop FOLDER [HEARTBEAT_S]` prints the page's address and the console's process
number, and records into FOLDER. The loop, the gate and the recording are those of `insert --live`. It ends when a line
comes on its input.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from sonosteer.console.live_feed import LiveFeed
from sonosteer.console.live_state import LiveAbout
from sonosteer.core.types import Frame, Observation
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.recording.run_log import RunLog
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.limits import Limits

LONGEST_LOOP_S = 3600.0  # chosen: longer than anybody measures


class EndedError(Exception):
    """Somebody has had enough."""


def run_simulated_loop(folder: Path, heartbeat_s: float) -> str:
    """Run until a line comes on the input. Returns why it ended.

    heartbeat_s: longest time between two control periods, s. A busy machine needs more than the usual 0.25.
    """
    config = InsertionConfig(
        policy="constant",
        tracker="kf",
        seed=3,
        live=True,
        paused=True,
        limits=Limits(heartbeat_s=heartbeat_s),
        pace=Pace(longest_s=LONGEST_LOOP_S, patience_s=LONGEST_LOOP_S),
    )
    episode = build_episode(config)
    about = LiveAbout(
        name="a simulated insertion that is held",
        moves=True,
        size_px=episode.first_picture().size_px,
        spacing=episode.task.spacing,
        target_px=episode.task.target_px,
        tip_sd_mm=config.limits.tip_sd_mm,
        recording=str(folder),
    )
    feed = LiveFeed.open(about, told_lost=lambda why: print(why, file=sys.stderr, flush=True))
    print(feed.address, feed.process_number, sep="\n", flush=True)
    ended = threading.Event()

    def wait_for_line() -> None:
        sys.stdin.readline()
        ended.set()

    threading.Thread(target=wait_for_line, daemon=True).start()

    def watch(frame: Frame, seen: Observation | None) -> None:
        if ended.is_set():
            raise EndedError

    configuration = {"command": {}, "task": episode.task, "regions": []}
    with RunLog(folder / "recording.mcap", configuration, live=True) as log:
        try:
            why = run_episode(episode, recorder=log, watch=watch, button=feed.button, viewer=feed).run.ended
        except EndedError:
            why = "somebody has had enough"
        feed.end(why)
        log.close(why)
    feed.close()
    return why


if __name__ == "__main__":
    print(run_simulated_loop(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.25), flush=True)
