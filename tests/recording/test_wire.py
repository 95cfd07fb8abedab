"""What flows, through JSON and back: nothing is lost, not even the last bit or a NaN."""

import dataclasses
import json
import math
import struct
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sonosteer.core.geometry import ConvexProbe, LinearProbe, Spacing
from sonosteer.core.types import Action, Command, Frame, Lost, Observation, RobotState, Task, TipEstimate, Track
from sonosteer.recording.pictures import from_png, no_picture, to_png
from sonosteer.recording.wire import FrameArrival, decode, encode, revive, same

reals = st.floats()  # NaN, infinities, -0.0 and the smallest among them
wholes = st.integers(-(2**53), 2**53)
texts = st.text(max_size=12) | st.sampled_from(["NaN", "Infinity", "-Infinity", "_type"])
points = st.tuples(reals, reals)
vectors = st.tuples(reals, reals, reals)
spacings = st.builds(Spacing, *[st.floats(1e-300, 1e300)] * 2)
probes = st.builds(LinearProbe, points, reals, reals) | st.builds(ConvexProbe, points, reals, reals, reals)


def matrices(n):
    return hnp.arrays(np.float64, (n, n), elements=reals)


tips = st.builds(
    TipEstimate,
    *(wholes, reals, points, reals, st.none() | matrices(2), reals),
    *(st.sampled_from(Track), points, st.lists(points, max_size=3).map(tuple)),
    *(st.none() | reals, st.none() | st.tuples(reals, reals, reals, reals)),
    *(st.none() | matrices(2), st.none() | wholes),
)
estimates = tips | st.builds(Lost, wholes, reals, texts)
robot_states = st.builds(RobotState, reals, reals, reals, reals, reals, vectors, st.none() | texts)
tasks = st.builds(
    Task, points, st.sampled_from(["in-plane-static", "in-plane-moving"]), reals, st.sampled_from(["left"]), spacings
)
commands = st.builds(
    Command,
    expires_at_s=st.none() | reals,
    insertion_speed_mm_s=reals,
    insertion_angle_rad=reals,
    roll_rad=reals,
    probe_velocity_mm_s=vectors,
    stop=st.booleans(),
)
actions = st.builds(Action, wholes, reals, commands)
observations = st.builds(Observation, wholes, reals, estimates, robot_states, points)
arrivals = st.builds(
    FrameArrival,
    *(wholes, reals, reals, st.none() | spacings, st.none() | probes, reals, st.none() | matrices(4)),
    *(st.none() | reals, st.none() | texts),
)
flowing = st.one_of(tips, estimates, robot_states, tasks, actions, observations, arrivals)


def bits(value):
    """All that is in it, floats as their bits."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, bits(value.tolist()))
    if isinstance(value, list | tuple):
        return [bits(v) for v in value]
    if is_dataclass(value):
        return (type(value).__name__, [bits(getattr(value, f.name)) for f in fields(value)])
    return value


def through_json(value):
    return json.loads(json.dumps(encode(value), allow_nan=False))


@given(flowing)
def test_what_flows_comes_back_to_the_last_bit(value):
    back = revive(through_json(value))
    assert type(back) is type(value)
    assert bits(back) == bits(value)
    assert same(back, value)
    assert bits(decode(type(value), through_json(value))) == bits(value)


@given(flowing, flowing)
def test_two_are_the_same_only_if_they_are_written_the_same(a, b):
    assert same(a, a)
    assert same(a, b) == same(b, a)
    if json.dumps(encode(a)) == json.dumps(encode(b)):
        assert same(a, b)
    elif same(a, b):  # -0.0 equals 0.0
        assert json.dumps(encode(a)).replace("-0.0", "0.0") == json.dumps(encode(b)).replace("-0.0", "0.0")


plain = st.recursive(
    st.none() | st.booleans() | wholes | reals | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
def test_plain_objects_come_back_with_their_nans(value):
    assert bits(list(_flat(revive(through_json(value))))) == bits(list(_flat(value)))


def _flat(value):
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _flat(each)
    elif isinstance(value, list):
        yield len(value)
        for each in value:
            yield from _flat(each)
    else:
        yield value


@dataclass(frozen=True)
class Verdict:
    rule: str
    value: float
    parts: tuple[int, ...] = ()
    _key: object = None


def test_a_dataclass_of_another_room_comes_back_as_a_dictionary_without_what_is_private():
    back = revive(through_json({"verdict": Verdict("speed", math.inf, (1, 2), object())}))
    assert back == {"verdict": {"_type": "Verdict", "rule": "speed", "value": math.inf, "parts": [1, 2]}}


def test_an_observation_goes_without_its_features():
    lost, robot_state = Lost(1, 0.1, "nothing"), RobotState(0.1, 0.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0))
    with_features = Observation(1, 0.1, lost, robot_state, (3.0, 4.0), np.zeros(9, np.float32))
    assert revive(through_json(with_features)).features is None
    tip = TipEstimate(1, 0.1, (3.0, 4.0), 0.5, np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0))
    for answer in (tip, lost):
        more = dataclasses.replace(answer, features=np.ones(9, np.float32))
        assert through_json(more) == through_json(answer)
        assert same(more, answer)
        assert "features" not in repr(more)
    assert same(revive(through_json(with_features)), with_features)


def test_numbers_of_numpy_are_numbers():
    assert through_json({"a": np.float32(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.float64("nan")}) == {
        "a": float(np.float32(0.1)),
        "b": 3,
        "c": True,
        "d": "NaN",
    }


def test_paths_are_texts_and_what_has_no_form_in_json_is_refused():
    assert encode({"x": Path("a/b")}) == {"x": "a/b"}
    with pytest.raises(TypeError, match="a object has no form in JSON"):
        encode({"x": object()})


def test_arrays_that_come_back_are_read_only():
    tip = TipEstimate(0, 0.0, (1.0, 2.0), 0.5, np.eye(2), 1.0, Track.TRACKING, (0.0, 0.0))
    with pytest.raises(ValueError, match="read-only"):
        revive(through_json(tip)).covariance_mm2[0, 0] = 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depth_mm": "deep"}, "'deep' is not of type float"),
        ({"depth_mm": True}, "True is not of type float"),
        ({"fault": 3}, "3 is not of type str"),
        ({"probe_mm": [1, 2]}, r"\[1, 2\] has 2 entries, not 3"),
        ({"probe_mm": 1}, "1 is not a list"),
        ({"fault": {"_type": "Lost"}}, "fits none of str, NoneType"),
        ({"colour": 1}, "RobotState has no field 'colour'"),
        ({"_type": "Lost"}, "Lost has no field"),
        ({"_type": "Spacing"}, "Spacing has no field"),
    ],
)
def test_an_object_that_does_not_fit_its_type_is_named(change, said):
    robot_state = through_json(RobotState(0.1, 0.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match=said):
        revive(robot_state | change)


def test_a_missing_field_takes_its_default_or_is_named():
    robot_state = through_json(RobotState(0.1, 0.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0), "stalled"))
    assert revive({k: v for k, v in robot_state.items() if k != "fault"}).fault is None
    with pytest.raises(ValueError, match="RobotState lacks 'depth_mm'"):
        revive({k: v for k, v in robot_state.items() if k != "depth_mm"})
    with pytest.raises(ValueError, match="spacing along x is 0"):
        revive({"_type": "Spacing", "x_mm": 0.0, "y_mm": 1.0})
    with pytest.raises(ValueError, match="fits none of"):
        revive(
            through_json(Observation(1, 0.1, Lost(1, 0.1, ""), revive(robot_state), (3.0, 4.0)))
            | {"estimate": robot_state}
        )


pictures = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
)


@given(pictures, arrivals)
def test_a_frame_comes_back_from_png_and_arrival(pixels, arrival):
    back = from_png(to_png(pixels))
    assert back.dtype == pixels.dtype
    assert np.array_equal(back, pixels)
    assert not back.flags.writeable
    frame = arrival.frame(pixels)
    assert same(FrameArrival.of(frame, arrival.arrived_s, arrival.no_picture), arrival)
    assert same(arrival.frame(back), frame)
    assert isinstance(frame, Frame)


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 2, 4), (2, 2, 1)])
def test_what_is_no_picture_is_said(shape):
    assert "are no picture" in no_picture(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="are no picture"):
        to_png(np.zeros(shape, np.uint8))
    assert no_picture(np.zeros((2, 2), np.float32)) is not None


@pytest.mark.parametrize("data", [b"", b"nonsense", to_png(np.zeros((9, 9), np.uint8))[:20]])
def test_what_is_no_png_is_said(data):
    with pytest.raises(ValueError, match="are no PNG"):
        from_png(data)
