"""Orders for tests of parts and rigs: as long as a busy machine may need, each cleared by a gate."""

import time

import numpy as np

from sonosteer.core.clock import RealClock
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, RobotState, TipEstimate, Track
from sonosteer.robots.parts import Opening
from sonosteer.safety.gate import Cleared, Gate, GateInput
from sonosteer.safety.limits import Limits

WAIT_S = 60.0  # a machine that is busy with other things makes a test wait, never fail
PATIENT = {"silent_s": 1.0, "following_mm": 10.0}  # settings of a drive, for the same reason


def opening(name="needle", **limits):
    """What a part is told. Its limits let it stop as late as a test likes."""
    return Opening(name, RealClock(), Limits(**({"standstill_s": 10.0} | limits)))


def cleared(now_s, speed_mm_s=5.0, *, lasts_s=30.0, stop=False, **wanted):
    """What a gate with wide limits clears. **wanted: more fields of the command."""
    angles = {"insertion_angle_rad": 0.6, "roll_rad": 0.0}
    state = RobotState(now_s, 50.0, 0.0, **angles, probe_mm=(0.0, 0.0, 0.0))
    limits = Limits(
        order_s=lasts_s,
        action_life_s=lasts_s + 1.0,
        acceleration_mm_s2=1e6,
        probe_mm_s2=1e6,
        forward_mm_s=1e3,
        backward_mm_s=1e3,
        depth_mm=(-1e6, 1e6),
        probe_mm=(1e5, 1e5, 1e5),
        growth_s=1.0,
    )
    command = Command(expires_at_s=now_s + lasts_s, insertion_speed_mm_s=speed_mm_s, stop=stop, **(angles | wanted))
    tip = TipEstimate(1, now_s, (100.0, 100.0), 0.6, 0.01 * np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0))
    gate = Gate(limits, shows_depth=False)
    given = GateInput(now_s, state, tip, Spacing(0.25, 0.25))
    _, verdict = gate.clear(gate.start(now_s - 0.2), Action(1, now_s, command), given)
    assert isinstance(verdict, Cleared), verdict
    return verdict


def wait_until(met, what):
    until_s = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < until_s, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.005)
