"""The simulated scanner: tissue, and a needle that is where the robot's encoders say, as pictures over OpenIGTLink.

It keeps the truth and judges every picture. As a process:
`python -m sonosteer.testing.live_insertion.scanner CONFIG.json PORT`.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from sonosteer.core.clock import RealClock
from sonosteer.core.types import Lost, RobotState
from sonosteer.core.wall_clock import WallClock
from sonosteer.episodes.insertion import Episode, InsertionConfig, build_episode
from sonosteer.episodes.tasks import Judge, Outcome
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sources.igtlink.address import parse_address
from sonosteer.sources.igtlink.publisher import Publisher
from sonosteer.testing.stand_in import obey_input

NO_END_S = 1e6  # the judge's own limit of time: the run has one


class SimulatedScanner:
    """Publishes pictures of an episode's world in real time. Encoders come as datagrams at `encoder_port`."""

    def __init__(self, episode: Episode, port: int) -> None:
        self.world = episode.world
        x, y, z = episode.target_mm.tolist()
        self._judge = Judge((x, y, z), max_time_s=NO_END_S)
        self._watched = self._judge.start()
        self.outcome: Outcome | None = None
        self.frames = self.late = 0
        self.last: NeedleTruth | None = None
        self.depths_mm: list[float] = []
        self._clock = RealClock()
        self._wall = WallClock(self._clock)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.encoder_port: int = self._socket.getsockname()[1]
        address = parse_address(f"igtl://:{port}?bind=127.0.0.1")
        self._publisher = Publisher(address, self._clock, to_wall_s=self._wall.to_wall_s)
        self._over, self._lock = threading.Event(), threading.Lock()
        self._said: RobotState | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        period_s = 1.0 / self.world.scene.rate_hz
        due_s = last_s = self._clock.now_s()
        while not self._over.wait(max(due_s - self._clock.now_s(), 0.0)):
            now_s = self._clock.now_s()
            self._read_encoders()
            if self._said is None:
                self.world.advance(now_s - last_s)
            else:
                self.world.follow(self._said, now_s - last_s)
            last_s = now_s
            frame, truth = self.world.look()
            self._publisher.saw(
                dataclasses.replace(frame, time_s=now_s), Lost(frame.index, now_s, "a scanner does not track")
            )
            self._judged(truth)
            due_s += period_s
            if self._clock.now_s() > due_s:  # a machine that is too slow makes fewer pictures, not older ones
                self.late += 1
                due_s = self._clock.now_s()

    def _read_encoders(self) -> None:
        while True:
            try:
                said = json.loads(self._socket.recv(4096))
            except BlockingIOError:
                return
            x, y, z = said["probe_mm"]
            self._said = RobotState(
                time_s=self._clock.now_s(),
                depth_mm=said["depth_mm"],
                insertion_speed_mm_s=said["speed_mm_s"],
                insertion_angle_rad=said["angle_rad"],
                roll_rad=said["roll_rad"],
                probe_mm=(x, y, z),
            )

    def _judged(self, truth: NeedleTruth) -> None:
        with self._lock:
            self.frames += 1
            self.last = truth
            self.depths_mm.append(self.world.rig.depth_mm)
            if self.outcome is None:
                self._watched, self.outcome = self._judge.step(self._watched, truth)

    def report(self) -> dict[str, Any]:
        """What became of the insertion, and what would, had the policy stopped now."""
        with self._lock:
            ended = self.outcome
            stopped = None if self.last is None else self._judge.step(self._watched, self.last, stopped=True)[1]
            depths = self.depths_mm
        return {
            "frames": self.frames,
            "late": self.late,
            "published": self._publisher.summary(),
            "moved_mm": max(depths) - min(depths) if depths else 0.0,
            "judged": None if ended is None else dataclasses.asdict(ended),
            "if_stopped": None if stopped is None else dataclasses.asdict(stopped),
        }

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join(5.0)
        self._publisher.close()
        self._socket.close()


def main() -> None:
    """Run as a process until the input ends. Says the port that takes encoders."""
    said = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    episode = build_episode(InsertionConfig(**said))
    episode.world.look()  # builds the tissue before time begins
    episode.world.restart()
    scanner = SimulatedScanner(episode, int(sys.argv[2]))
    obey_input(lambda word: None, scanner.report, encoder_port=scanner.encoder_port)
    scanner.close()


if __name__ == "__main__":
    main()
