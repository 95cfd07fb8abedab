"""Laws that every robot driver keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sonosteer.core.errors import RobotError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, RobotState, TipEstimate, Track
from sonosteer.robots.table import plug_in_robot
from sonosteer.safety.gate import Cleared, Gate, GateInput
from sonosteer.safety.robot import Robot
from sonosteer.testing.laws import require


def check_robot(robot: Any) -> None:
    """Check that a driver keeps the laws, and close it. Raises AssertionError for the first that it breaks.

    The driver is sent one cleared command of 5 mm/s, which expires within 0.35 s, and is then told to hold.
    """
    ours = type(robot).__module__.startswith("sonosteer.")
    driver: Robot = robot if ours else plug_in_robot(robot, f"robot {type(robot).__name__}")
    state = driver.read()
    numbers = (state.time_s, state.depth_mm, state.insertion_angle_rad, *state.probe_mm)
    require(all(map(math.isfinite, numbers)), f"the encoders must say numbers, but say {state}")
    cleared = cleared_for(state, insertion_speed_mm_s=5.0)
    driver.send(cleared)
    driver.hold("a test")
    driver.close()
    driver.close()
    _must_be_closed("read", lambda: driver.read())
    _must_be_closed("send", lambda: driver.send(cleared))


def cleared_for(state: RobotState, **wanted: Any) -> Cleared:
    """A command that the gate has cleared for a rig in this state. wanted: fields of the Command."""
    now = state.time_s
    tip = TipEstimate(
        frame_index=1,
        time_s=now,
        tip_px=(100.0, 100.0),
        angle_rad=0.7,
        covariance_mm2=0.01 * np.eye(2),
        confidence=0.9,
        state=Track.TRACKING,
        entry_px=(0.0, 0.0),
    )
    still: dict[str, Any] = {"insertion_angle_rad": state.insertion_angle_rad, "roll_rad": state.roll_rad}
    action = Action(1, now, Command(expires_at_s=now + 0.35, **(still | wanted)))
    gate = Gate()
    _, verdict = gate.clear(gate.start(now), action, GateInput(now, state, tip, Spacing(0.25, 0.25)))
    require(isinstance(verdict, Cleared), f"the gate clears nothing for a rig that says {state}: {verdict}")
    assert isinstance(verdict, Cleared)
    return verdict


def _must_be_closed(method: str, call: Callable[[], object]) -> None:
    try:
        call()
    except RobotError as e:
        require("closed" in str(e), f"{method} after close must say that the robot is closed, but says: {e}")
    else:
        require(False, f"{method} after close must raise a RobotError that says that the robot is closed")
