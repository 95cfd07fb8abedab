"""Small recordings whose every message is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Frame, Lost, Observation, RobotState, Task, TipEstimate, Track
from sonosteer.recording.run_log import RunLog
from sonosteer.safety.gate_input import Refused

SPACING = Spacing(0.5, 0.5)
TARGET = (70.0, 60.0)
FRAMES, FRAME_S, TICK_S = 20, 0.1, 0.02
HELD, STOPPED = (0.5, 0.8), 1.4  # s: the gate refuses in between, the operator stops from then on


def picture(k: int) -> np.ndarray:
    """(80, 100) grey levels: the frame's number as bars, so that each can be told apart."""
    grey = np.full((80, 100), 40, np.uint8)
    for bit in range(5):
        grey[4:12, 4 + 8 * bit : 10 + 8 * bit] = 220 if k >> bit & 1 else 90
    return grey


def estimate(k: int) -> TipEstimate | Lost:
    """The tip moves half a pixel a frame. It is lost in frame 3."""
    if k == 3:
        return Lost(k, k * FRAME_S, "behind a bone")
    return TipEstimate(
        frame_index=k,
        time_s=k * FRAME_S,
        tip_px=(40.0 + 0.5 * k, 30.0 + 0.5 * k),
        angle_rad=0.8,
        covariance_mm2=np.diag([0.25, 0.16]),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(10.0, 0.0),
    )


def verdict(time_s: float, order: Command) -> Any:
    """What the gate said."""
    if HELD[0] <= time_s < HELD[1]:
        return Refused("tip sd", 3.5, 3.0, "mm", "tip sd 3.5 mm is above 3 mm")
    if time_s >= STOPPED:
        return Refused("stop", None, None, "", "the operator pressed stop")
    return {"_type": "Cleared", "frame_index": 0, "cleared_at_s": time_s, "command": order, "bounded": []}


def write_run(path: Path, configuration: Mapping[str, Any] | None = None, *, pictures: bool = True) -> Path:
    """Record two seconds."""
    task = Task(TARGET, "in-plane-static", 0.8, "left", SPACING)
    said = configuration or {"command": {"policy": "seek", "seed": 7, "settings": []}, "task": task, "regions": []}
    with RunLog(path, said, live=False) as log:
        log.write("/event", 0.0, {"text": "the gate starts"})
        for k in range(FRAMES):
            time_s = k * FRAME_S
            pixels = picture(k) if pictures else np.zeros((80, 100, 2), np.uint8)
            log.frame(Frame(pixels, k, time_s, SPACING), time_s)
            log.write("/frame", time_s, {"index": k, "outcome": "used"})
            tip, robot = estimate(k), RobotState(time_s, 5.0 + time_s, 10.0, 0.8, 0.0, (0.0, 0.0, 0.0))
            done_s = time_s + 0.05
            log.write("/estimate", done_s, {"estimate": tip, "started_s": time_s, "done_s": done_s})
            order = Command(expires_at_s=time_s + 0.3, insertion_speed_mm_s=10.0, insertion_angle_rad=0.8, roll_rad=0.0)
            seen = Observation(k, time_s, tip, robot, TARGET)
            action = Action(k, time_s, order)
            log.write("/decision", done_s + 0.01, {"observation": seen, "action": action})
            for n in range(round(FRAME_S / TICK_S)):
                now_s = time_s + n * TICK_S
                stop = "the operator pressed stop" if now_s >= STOPPED else None
                tick = {"robot_state": robot, "estimate": k, "action": k, "faults": [], "stop": stop, "hold": None}
                log.write("/tick", now_s, tick | {"by_hand": False, "verdict": verdict(now_s, order)})
        log.close("the operator pressed stop")
    assert log.failed is None
    return path
