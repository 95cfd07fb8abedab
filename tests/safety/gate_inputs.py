"""A moment at which all is well, and ways to spoil it. Numbers are binary fractions: at a bound is exactly at it."""

from dataclasses import replace

import numpy as np

from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, Lost, RobotState, TipEstimate, Track
from sonosteer.safety.gate import Cleared, Gate, GateInput, GateState, Refused
from sonosteer.safety.limits import Limits
from sonosteer.safety.memory import Memory

NOW = 64.0
TINY = 2.0**-20
LIMITS = Limits(
    forward_mm_s=24.0,
    backward_mm_s=20.0,
    acceleration_mm_s2=256.0,
    depth_mm=(4.0, 128.0),
    angle_rad=(0.25, 1.5),
    angle_step_rad=0.125,
    still_rad=2.0**-7,
    roll_rad_s=4.0,
    probe_mm_s=(16.0, 12.0, 4.0),
    probe_mm_s2=128.0,
    probe_mm=(32.0, 16.0, 8.0),
    action_age_s=0.5,
    action_life_s=0.75,
    order_s=0.125,
    standstill_s=0.0625,
    estimate_age_s=0.375,
    robot_state_age_s=0.1875,
    ahead_s=0.03125,
    tip_sd_mm=2.0,
    coasting_mm_s=4.0,
    lost_back_mm_s=2.0,
    jump_mm=3.0,
    jump_hold_s=0.5,
    recall_s=0.5,
    heartbeat_s=0.25,
    silent_s=0.25,
    time_step_s=0.125,
    repeats=4,
    remembered=8,
    clean=3,
    growth_s=0.125,
    sideways_mm_s=64.0,
    unseen_mm_s=2.0,
    unseen_mm=4.0,
    encoder_mm=2.0,
    encoder_rad=0.0625,
    encoder_roll_rad=0.25,
    stuck_s=0.25,
    speed_error_fraction=0.125,
    astray_mm=8.0,
    wiggle_mm_s=4.0,
    wiggle_mm=2.0,
    wiggle_turn_s=0.125,
    wiggle_s=2.0,
)
GATE = Gate(LIMITS)
SPACING = Spacing(0.125, 0.25)
READING = RobotState(NOW, 40.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0))
ACTION = Action(
    10,
    NOW - 0.125,
    Command(expires_at_s=NOW + 0.25, insertion_speed_mm_s=8.0, insertion_angle_rad=0.5, roll_rad=0.0),
)
TIP = TipEstimate(
    frame_index=10,
    time_s=NOW - 0.125,
    tip_px=(160.0, 80.0),  # (20, 20) mm
    angle_rad=0.5,
    covariance_mm2=np.diag([0.25, 0.0625]),
    confidence=0.9,
    state=Track.TRACKING,
    entry_px=(0.0, 40.0),
)
LOST = Lost(10, NOW - 0.125, "no needle")
FAST = Command(  # being carried out: nothing grows beyond it
    expires_at_s=NOW + 0.125,
    insertion_speed_mm_s=24.0,
    insertion_angle_rad=0.5,
    roll_rad=0.0,
    probe_velocity_mm_s=(16.0, 12.0, 4.0),
)
STATE = GateState(NOW - 0.125, FAST, memory=Memory(angle_rad=0.5))


def gate_input(now_s=NOW, robot_state=READING, estimate=TIP, spacing=SPACING, faults=(), **more):
    return GateInput(now_s, robot_state, estimate, spacing, faults, **more)


def ask(action=ACTION, at=None, *, state=STATE, gate=GATE, **changes):
    """What the gate says; changes: of the moment."""
    return gate.clear(state, action, at or gate_input(**changes))[1]


def act(**changes):
    """ACTION with changes of its own and of its command."""
    names = ("frame_index", "capture_time_s", "wiggle", "found_px")
    own = {name: changes.pop(name) for name in names if name in changes}
    return replace(ACTION, command=replace(ACTION.command, **changes), **own)


def read(**changes):
    return replace(READING, **changes)


def tip(**changes):
    return replace(TIP, **changes)


def cleared(verdict):
    assert isinstance(verdict, Cleared), verdict
    return verdict


def refused(verdict, rule):
    assert isinstance(verdict, Refused), verdict
    assert verdict.rule == rule, verdict
    return verdict
