"""Junk is refused and never raised, and nothing passes for what the gate has cleared but that itself."""

import copy
import gc
import math
import pickle
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from gate_inputs import (
    ACTION,
    FAST,
    GATE,
    LOST,
    NOW,
    READING,
    SPACING,
    STATE,
    TIP,
    act,
    ask,
    cleared,
    gate_input,
    read,
    refused,
    tip,
)

from sonosteer.core.types import Command
from sonosteer.safety import cleared as cleared_module
from sonosteer.safety.cleared import Cleared, genuine
from sonosteer.safety.gate import Gate, Refused
from sonosteer.safety.gate_input import is_covariance
from sonosteer.safety.regions import Circle
from sonosteer.safety.stop import Stop


class Raises:
    """Whatever is done with it raises."""

    def _raise(self, *_):
        raise RuntimeError("do not ask")

    __bool__ = __iter__ = __len__ = __float__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = _raise
    __hash__ = object.__hash__


@dataclass
class Other:
    depth_mm: float = 1.0


JUNK = [
    *(None, "text", b"bytes", math.nan, math.inf, -math.inf, -1e300, 10**400, 1j, True, (), [], {}, set(), object()),
    *(Decimal(1), Fraction(1, 3), np.array([]), np.array([1.0, 2.0]), np.array(None), np.zeros((2, 2)), np.bool_(1)),
    *([[1.0], [2.0, 3.0]], ((1.0, 2.0), 3.0), Other(), Other, Raises(), READING, TIP, LOST, FAST, SPACING, ACTION),
    *(lambda: None, range(3), float, -1, np.float16(1), "nan", ("a", "b"), ((), ())),
]
IDS = [f"{k}-{type(each).__name__}" for k, each in enumerate(JUNK)]
GUARDED = Gate(GATE.limits, (Circle("artery", (500.0, 500.0), 1.0),), SPACING)


def never_raises(action, told, gate=GUARDED):
    state, verdict = gate.clear(STATE, action, told)
    assert isinstance(verdict, Refused | Cleared)
    if isinstance(verdict, Refused):
        assert isinstance(verdict.reason, str)
        assert state.command is None
    return verdict


@pytest.mark.parametrize("junk", JUNK, ids=IDS)
def test_whatever_any_field_is_told_the_gate_answers(junk):
    for name in [f.name for f in fields(gate_input())]:
        never_raises(ACTION, replace(gate_input(), **{name: junk}))
    for owner, given in ((READING, "robot_state"), (TIP, "estimate"), (LOST, "estimate")):
        for field in fields(owner):
            never_raises(ACTION, gate_input(**{given: replace(owner, **{field.name: junk})}))
    for field in fields(ACTION):
        never_raises(replace(ACTION, **{field.name: junk}), gate_input())
    for field in fields(FAST):
        never_raises(act(**{field.name: junk}), gate_input())
    never_raises(junk, gate_input())
    never_raises(ACTION, junk)


@pytest.mark.parametrize("junk", JUNK, ids=IDS)
def test_a_stop_of_the_operator_is_latched_whatever_else_is_told(junk):
    for name in ("robot_state", "estimate", "spacing", "faults", "now_s", "by_hand"):
        state, _ = GUARDED.clear(STATE, ACTION, gate_input(stop="enough", **{name: junk}))
        assert state.stop is not None
        assert state.stop.kind in ("operator", "heartbeat")


def test_what_the_gate_cannot_read_is_refused_in_words():
    no = refused(ask(faults=5), "number")
    assert no.reason == "what the gate was told cannot be read: TypeError: 'int' object is not iterable"
    assert refused(GATE.clear(STATE, ACTION, "now")[1], "number").reason == "the gate was told str"
    assert refused(ask(act(stop="yes")), "number").reason == "action: stop is 'yes', which is neither true nor false"
    assert refused(ask(act(stop=1)), "number")
    assert refused(ask(faults=(5,)), "fault").reason == "5"
    assert refused(ask(robot_state=TIP), "number").reason.startswith("robot state: TipEstimate(")
    assert refused(ask(spacing=0.2), "no scale")
    state, _ = GATE.clear(replace(STATE, stop=Stop("operator", "x", NOW)), ACTION, "now")
    assert (state.command, state.stop.kind, state.time_s) == (None, "operator", STATE.time_s)
    assert GATE.clear(STATE, ACTION, gate_input(stop=5))[0].stop.reason == "for no reason in words"


def test_a_covariance_is_a_symmetric_matrix():
    assert is_covariance(np.array([[1.0, 0.5], [0.5, 1.0]]))
    assert is_covariance(np.array([[1.0, 0.5], [0.5 + 1e-6, 1.0]]))
    assert not is_covariance(np.array([[1.0, 0.5], [0.5 + 4e-6, 1.0]]))
    assert not is_covariance(np.array([[1.0, 0.5], [0.5 - 4e-6, 1.0]]))
    assert not is_covariance(np.array([[1.0, 0.5], [-0.5, 1.0]]))
    assert not is_covariance([[1.0, 0.0], [0.0, 1.0]])
    assert not is_covariance(np.zeros((2, 2, 1)))
    refused(ask(estimate=tip(covariance_mm2=np.array([[1.0, 0.5], [-0.5, 1.0]]))), "number")


# -- what was cleared ------------------------------------------------------------------------------------------


def same_but_own():
    """Looks like what was cleared, but the gate did not make it."""
    order = cleared(ask())
    made = object.__new__(Cleared)
    for name in ("frame_index", "cleared_at_s", "command", "bounded"):
        object.__setattr__(made, name, getattr(order, name))
    return made


def test_only_what_the_gate_made_is_genuine():
    order = cleared(ask())
    assert genuine(order)
    assert genuine(cleared(ask(act(stop=True))))
    for other in (
        *(copy.copy(order), copy.deepcopy(order), pickle.loads(pickle.dumps(order))),
        *(same_but_own(), order.command, ACTION, None, "order", Raises),
    ):
        assert not genuine(other)
    assert genuine(order)


@pytest.mark.parametrize("name", [f.name for f in fields(Command)])
def test_what_was_changed_after_it_was_cleared_is_not_genuine(name):
    order = cleared(ask())
    object.__setattr__(order.command, name, (1.0, 2.0, 3.0) if name == "probe_velocity_mm_s" else 99.0)
    assert not genuine(order)


@pytest.mark.parametrize("name", ["frame_index", "cleared_at_s"])
def test_nor_is_one_of_another_time(name):
    order = cleared(ask())
    object.__setattr__(order, name, 99)
    assert not genuine(order)


def test_what_is_gone_is_forgotten():
    gc.collect()
    before = len(cleared_module._MADE)
    orders = [cleared(ask()) for _ in range(50)]
    assert len(cleared_module._MADE) == before + 50
    del orders
    gc.collect()
    assert len(cleared_module._MADE) == before


def test_a_reading_of_another_kind_is_none():
    refused(ask(robot_state=Other()), "number")
    refused(ask(robot_state=read(probe_mm=[0.0, 0.0, 0.0])), "number")
