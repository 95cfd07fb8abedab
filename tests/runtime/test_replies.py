"""What a tracker and a policy may answer, checked field by field."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.errors import BrokenError
from sonosteer.core.types import Action, Command, Frame, Lost, Observation, RobotState, TipEstimate, Track
from sonosteer.recording.wire import decode, encode, recorded_fields
from sonosteer.runtime.replies import check_action, check_estimate

FRAME = Frame(np.zeros((4, 4), np.uint8), 3, 0.125)
TIP = TipEstimate(
    *(3, 0.125, (1.0, 2.0), 0.5, np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0)),
    shaft_px=((0.0, 0.0), (1.0, 2.0)),
    visibility=0.5,
    box_px=(0.0, 1.0, 2.0, 3.0),
)
COMMAND = Command(expires_at_s=0.5, insertion_speed_mm_s=3.0)
ACTION = Action(3, 0.125, COMMAND)
OBSERVATION = Observation(3, 0.125, TIP, RobotState(0.125, 9.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0)), (1.0, 2.0))
ODD = (None, True, 7, 0.5, math.nan, np.float32(0.5), np.int64(3), "fast", b"", (), (1.0, 2.0), (1.0, "x"))
MORE = ([1.0, 2.0], ((0.0, 1.0),), {}, object(), np.eye(2), np.array(["x"]), np.array([1j]), Track.LOST, TIP, COMMAND)


def spoiled(owner):
    """Each recorded field with each odd value in its place."""
    for name in recorded_fields(type(owner)):
        for k, odd in enumerate((*ODD, *MORE)):
            said = dataclasses.replace(owner, **{name: odd})
            yield pytest.param(said, id=f"{type(owner).__name__}-{name}-{type(odd).__name__}{k}")


def fits(said):
    """Whether a recording can give it back."""
    try:
        decode(type(said), encode(said))
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("said", [*spoiled(TIP), *spoiled(Lost(3, 0.125, "gone"))])
def test_an_estimate_passes_if_a_recording_can_give_it_back(said):
    if fits(said) and (said.frame_index, said.time_s) == (3, 0.125):
        assert check_estimate(said, FRAME) is said
    else:
        with pytest.raises(BrokenError):
            check_estimate(said, FRAME)


@pytest.mark.parametrize(
    "said",
    [
        *spoiled(ACTION),
        *(pytest.param(dataclasses.replace(ACTION, command=p.values[0]), id=p.id) for p in spoiled(COMMAND)),
    ],
)
def test_an_action_passes_if_a_recording_can_give_it_back(said):
    if fits(said) and not said.frame_index > 3 and not said.capture_time_s > 0.125:
        passed = check_action(said, OBSERVATION)
        assert encode(passed) == encode(said)
        assert type(passed.command.stop) is bool
    else:
        with pytest.raises(BrokenError):
            check_action(said, OBSERVATION)


@pytest.mark.parametrize("stop", [np.False_, np.True_])
def test_a_stranger_s_numbers_may_be_numpy_s_and_go_on_as_python_s(stop):
    """A comparison of numpy's numbers is numpy's truth value, which the gate would refuse."""
    command = dataclasses.replace(COMMAND, stop=stop, insertion_speed_mm_s=np.float32(2.0), roll_rad=np.float64(0.5))
    passed = check_action(dataclasses.replace(ACTION, frame_index=np.int64(3), command=command), OBSERVATION)
    assert passed.command.stop is bool(stop)
    assert type(passed.frame_index) is int
    assert (passed.command.insertion_speed_mm_s, passed.command.roll_rad) == (2.0, 0.5)
    plain = dataclasses.replace(ACTION, command=dataclasses.replace(COMMAND, stop=bool(stop)))
    assert check_action(plain, OBSERVATION) is plain


@pytest.mark.parametrize("said", [None, "push", 3, OBSERVATION, ACTION])
def test_what_is_no_estimate_is_named(said):
    with pytest.raises(BrokenError, match="which is no estimate"):
        check_estimate(said, FRAME)


def test_features_may_be_anything_since_they_are_not_recorded():
    more = dataclasses.replace(TIP, features=np.ones((2, 3), np.float32))
    assert check_estimate(more, FRAME) is more
