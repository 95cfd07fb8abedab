"""The limits in the code are those of SAFETY.md, and so are rules and tests. A bound that is none is refused."""

import ast
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from gate_inputs import ask, cleared
from test_gate_rules import ABOVE, BELOW, WHOLE

from sonosteer.core.config import from_dict, to_dict
from sonosteer.core.errors import InputError
from sonosteer.safety.gate import Cleared
from sonosteer.safety.limits import Limits
from sonosteer.safety.robot import Robot

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "SAFETY.md").read_text()
TABLE = PAGE[PAGE.index("| hazard | rule | limit | test |") : PAGE.index("Slower, not refused")]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()[2:] if line]
STATED = re.compile(r"`(\w+)` ((?:-?[\d.]+(?:, | to )?)+) ?([a-z/^2]*)")
UNITS = (("_mm_s2", "mm/s^2"), ("_mm_s", "mm/s"), ("_rad_s", "rad/s"), ("_mm", "mm"), ("_rad", "rad"), ("_s", "s"))


def stated():
    for _, _, limit, _ in ROWS:
        for name, numbers, unit in STATED.findall(limit):
            yield name, tuple(float(n) for n in re.findall(r"-?[\d.]+", numbers)), unit


def test_every_limit_is_stated_once_more_and_is_the_same():
    limits = Limits()
    said = list(stated())
    assert sorted(name for name, _, _ in said) == sorted(f.name for f in fields(limits))
    for name, numbers, unit in said:
        value = getattr(limits, name)
        assert numbers == (value if isinstance(value, tuple) else (float(value),)), name
        assert unit == next((u for ending, u in UNITS if name.endswith(ending)), ""), name


def test_every_test_that_the_page_names_exists():
    there = {n.name for path in HERE.glob("test_*.py") for n in ast.parse(path.read_text()).body if hasattr(n, "name")}
    for *_, test in ROWS:
        assert test.strip("`") in there


def test_every_test_at_run_time_that_the_page_names_exists():
    table = PAGE[PAGE.index("| input | source at run time | broken by |") : PAGE.index("### Who may release a stop")]
    named = set(re.findall(r"`(test_\w+)`", table))
    files = (HERE.parent / "runtime").glob("test_*.py")
    there = {n.name for path in files for n in ast.parse(path.read_text()).body if hasattr(n, "name")}
    assert len(named) > 15
    assert named <= there, named - there


def test_every_rule_is_on_the_page():
    named = {name for _, rule, _, _ in ROWS for name in re.findall(r"`([^`]+)`", rule)}
    others = {"no action", "number", "no estimate", "robot fault", "no scale", "scale changed", "fault", "stopped"}
    others |= {"held", "tip against encoder"}
    others |= {f"{what} by hand while the tip is lost" for what in ("speed", "way", "depth")}
    others |= {"wiggle speed", "wiggle depth", "wiggle time", "time between turns of a wiggle"}
    assert named == {*ABOVE, *BELOW, *WHOLE, *others, "clock", "tip jump", "forbidden region", "tip unknown"}


@pytest.mark.parametrize("name", [f.name for f in fields(Limits)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_limit_that_is_no_number_is_refused(name, bad):
    value = getattr(Limits(), name)
    for i in range(len(value) if isinstance(value, tuple) else 1):
        spoilt = tuple(bad if k == i else v for k, v in enumerate(value)) if isinstance(value, tuple) else bad
        with pytest.raises(InputError, match=f"safety limits: {name} is"):
            Limits(**{name: spoilt})


POSITIVE = {
    *("forward_mm_s", "backward_mm_s", "acceleration_mm_s2", "angle_step_rad", "roll_rad_s", "probe_mm_s2"),
    *("action_age_s", "action_life_s", "order_s", "estimate_age_s", "robot_state_age_s", "tip_sd_mm"),
    *("jump_mm", "jump_hold_s", "heartbeat_s", "silent_s", "time_step_s"),
    *("growth_s", "sideways_mm_s", "encoder_mm", "encoder_rad", "encoder_roll_rad", "stuck_s", "astray_mm"),
    "wiggle_turn_s",
}
MAY_BE_0 = {"still_rad", "standstill_s", "ahead_s", "coasting_mm_s", "lost_back_mm_s", "recall_s"}
MAY_BE_0 |= {"speed_error_fraction", "unseen_mm_s", "unseen_mm", "wiggle_mm_s", "wiggle_mm", "wiggle_s"}


@pytest.mark.parametrize("name", sorted(POSITIVE | MAY_BE_0))
def test_no_limit_is_negative_and_only_some_may_be_0(name):
    Limits(**{name: 1e6})
    for value in (-1e-9, 1e6 + 0.5, *([] if name in MAY_BE_0 else [0.0, 9e-7])):
        with pytest.raises(InputError, match=f"safety limits: {name} is"):
            Limits(**{name: value})
    assert getattr(Limits(**{name: 0.0 if name in MAY_BE_0 else 1e-6}), name) <= 1e-6


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("clearance", [0.5, 0.999999999], [0.4999, 0.9999999993, 1.0, 0.0]),
        ("clean", [1, 1000], [0, 1001]),
        ("repeats", [2, 1000], [1, 1001]),
        ("remembered", [1, 10_000], [0, 10_001]),
        ("depth_mm", [(-1.0, 0.5), (0.0, 1e-3)], [(1.0, 1.0), (2.0, 1.0)]),
        ("angle_rad", [(0.5, 0.6)], [(0.5, 0.5), (1.0, 0.5)]),
        ("probe_mm_s", [(0.0, 0.0, 0.0)], [(-1e-9, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, -1.0)]),
        ("probe_mm", [(0.0, 0.0, 0.0)], [(-1e-9, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, -1.0)]),
    ],
)
def test_a_limit_that_cannot_be_one_is_refused(name, good, bad):
    for value in good:
        assert getattr(Limits(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(InputError, match=f"safety limits: {name} is"):
            Limits(**{name: value})


def test_limits_are_written_and_read():
    assert from_dict(Limits, to_dict(Limits(tip_sd_mm=1.5))) == Limits(tip_sd_mm=1.5)


def test_a_robot_takes_only_what_was_cleared():
    assert get_type_hints(Robot.send)["cleared"] is Cleared


def test_what_is_right_in_every_way_passes():
    cleared(ask())
