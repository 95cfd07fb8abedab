"""Pushes the needle of a rig to and fro through gate and control branch, for stand-ins.

`python -m sonosteer.testing.pushing rig.toml 25` is a process that can be killed, frozen and cut off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sonosteer.core.clock import Clock, RealClock
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Frame, Observation, RobotState, Task, TipEstimate, Track
from sonosteer.robots.rig import open_rig
from sonosteer.robots.rig_file import read_rig
from sonosteer.runtime.branches import ControlBranch
from sonosteer.safety.gate import Cleared, Gate
from sonosteer.safety.limits import Limits
from sonosteer.safety.robot import Robot

PERIOD_S = 0.01  # as that of a live run
TURN_MM = (20.0, 120.0)  # chosen: where it turns round
SPACING = Spacing(0.25, 0.25)


def push(robot: Robot, clock: Clock, speed_mm_s: float, *, limits: Limits, said: Callable[[str], bool]) -> None:
    """Push and draw at this speed until `said` returns True. It is told each period what was ordered, or why nothing.

    Pictures and tip are made up: the tip is sure and in place. Everything else is as in a live run.
    """
    task = Task((100.0, 100.0), "across", 0.6, "left", SPACING)
    branch = ControlBranch.open(Gate(limits, shows_depth=False), robot, task, clock.now_s())
    way, frame = 1.0, 0
    while True:
        now, at = clock.now_s(), branch.robot_state
        frame += 1
        branch.frame_came(_made_up_frame(frame, now), now)
        observation = None
        if at is not None:
            way = -1.0 if at.depth_mm > TURN_MM[1] else 1.0 if at.depth_mm < TURN_MM[0] else way
            observation = _observed(frame, now, at)
            branch.propose(Action(frame, now, _wanted(now, way * speed_mm_s, at)), now)
        verdict = branch.tick(now, observation)
        if isinstance(verdict, Cleared):
            over = said(f"ordered {verdict.command.insertion_speed_mm_s:.3f}")
        else:
            over = said(f"held: {verdict.reason}")
        if over:
            return
        clock.sleep_until(now + PERIOD_S)


def _wanted(now_s: float, speed_mm_s: float, at: RobotState) -> Command:
    return Command(
        expires_at_s=now_s + 0.3,
        insertion_speed_mm_s=speed_mm_s,
        insertion_angle_rad=at.insertion_angle_rad,
        roll_rad=at.roll_rad,
    )


def _made_up_frame(frame: int, now_s: float) -> Frame:
    """A picture that says its own number, so that none is like another."""
    pixels = np.zeros((16, 16), np.uint8)
    pixels[0, ::4] = list(frame.to_bytes(4, "little"))
    return Frame(pixels, frame, now_s, SPACING)


def _observed(frame: int, now_s: float, at: RobotState) -> Observation:
    tip = TipEstimate(
        frame_index=frame,
        time_s=now_s,
        tip_px=(100.0, 100.0),
        angle_rad=at.insertion_angle_rad,
        covariance_mm2=0.01 * np.eye(2),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
    )
    return Observation(frame_index=frame, capture_time_s=now_s, estimate=tip, robot_state=at, target_px=(100.0, 100.0))


def main() -> None:
    """Push until killed, and say a line each period."""
    path, clock = Path(sys.argv[1]), RealClock()
    limits = read_rig(path).limits
    robot = open_rig(path, clock)

    def say(line: str) -> bool:
        print(f"{clock.now_s():.3f} {line}", flush=True)
        return False

    try:
        push(robot, clock, float(sys.argv[2]), limits=limits, said=say)
    finally:
        robot.close()


if __name__ == "__main__":
    main()
