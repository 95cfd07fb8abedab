"""A live insertion with a console, as a script: the loop of `insert --live`, with limits that bear a busy machine.

`python shown_loop.py FOLDER` prints the page's address and begins paused. It ends when a line comes on its input.
"""

import sys
import threading
from pathlib import Path

from sonosteer.console.live_feed import LiveFeed
from sonosteer.console.live_state import LiveAbout
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.recording.run_log import RunLog
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.limits import Limits


class EndedError(Exception):
    """The test has had enough."""


def main(folder: Path) -> None:
    pace = Pace(longest_s=3000.0, patience_s=3000.0)
    config = InsertionConfig(
        policy="constant", tracker="kf", live=True, paused=True, limits=Limits(heartbeat_s=60.0), pace=pace, seed=3
    )
    episode = build_episode(config)
    about = LiveAbout(
        name="a loop for tests",
        moves=True,
        size_px=episode.first_picture().size_px,
        spacing=episode.task.spacing,
        target_px=episode.task.target_px,
        tip_sd_mm=3.0,
    )
    feed = LiveFeed.open(about, told_lost=lambda why: print(why, file=sys.stderr, flush=True))
    print(feed.address, flush=True)
    print(feed._process.pid, flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()

    def watch(frame, seen):
        if ended.is_set():
            raise EndedError

    with RunLog(folder / "recording.mcap", {"command": {}, "task": episode.task, "regions": []}, live=True) as log:
        try:
            run_episode(episode, recorder=log, watch=watch, button=feed.button, viewer=feed)
            why = "by itself"
        except EndedError:
            why = "ended by the test"
        feed.end(why)
        log.close(why)
    feed.close()
    print(why, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
