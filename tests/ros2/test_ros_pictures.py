"""sensor_msgs/Image as arrays, and a tip as ROS has it. ROS itself is not needed."""

import array
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.geometry import rigid
from sonosteer.sources.ros2.pictures import ENCODINGS, RosImageError, pixels_of, stamp_s
from sonosteer.sources.ros2.poses import (
    UNKNOWN_M2,
    UNKNOWN_RAD2,
    TipPose,
    pose_covariance,
    position_m,
    quaternion,
    read_sd,
)


def message(data, *, width, height, encoding="mono8", step=None, big=0):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id="probe")
    data = array.array("B", data)
    step = len(data) // height if step is None else step
    return SimpleNamespace(
        header=header, height=height, width=width, encoding=encoding, is_bigendian=big, step=step, data=data
    )


def test_rows_may_be_longer_than_their_pixels():
    got = pixels_of(message(bytes(range(12)), width=4, height=2, step=6))
    assert got.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]


@pytest.mark.parametrize("big", [0, 1])
def test_sixteen_bits_come_in_either_order(big):
    values = np.array([[1, 300], [65535, 0]], ">u2" if big else "<u2")
    got = pixels_of(message(values.tobytes(), width=2, height=2, encoding="mono16", big=big))
    assert got.dtype == np.uint16
    assert got.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("encoding", "one"), [("rgb8", (1, 2, 3)), ("bgr8", (3, 2, 1)), ("rgba8", (1, 2, 3, 9)), ("bgra8", (3, 2, 1, 9))]
)
def test_colours_are_red_green_blue_whatever_their_order(encoding, one):
    got = pixels_of(message(bytes(one) * 6, width=3, height=2, encoding=encoding))
    assert got.shape == (2, 3, 3)
    assert got.reshape(-1, 3).tolist() == [[1, 2, 3]] * 6


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"encoding": "8UC3"}, "encoding '8UC3': mono8"),  # nobody says which of the three is red
        ({"encoding": "yuv422_yuy2"}, "encoding"),
        ({"encoding": "mono16"}, "bytes"),
        ({"width": 0}, "without a pixel"),
        ({"height": 3, "step": 4}, "bytes"),
        ({"step": 3}, "bytes"),
        ({"step": 1 << 31}, "bytes"),
    ],
)
def test_what_is_no_picture_says_why(fields, said):
    with pytest.raises(RosImageError, match=said):
        pixels_of(message(bytes(8), **({"width": 4, "height": 2} | fields)))


@given(
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**32 - 1),
    encoding=st.sampled_from([*ENCODINGS, "", "x" * 100]),
    data=st.binary(max_size=64),
)
def test_no_size_of_a_message_breaks_the_reader(width, height, step, encoding, data):
    m = message(data, width=width, height=1, step=step, encoding=encoding)
    m.height = height
    try:
        got = pixels_of(m)
    except RosImageError:
        return
    assert got.shape[:2] == (height, width)


def test_a_stamp_of_zero_is_no_time():
    assert stamp_s(SimpleNamespace(sec=0, nanosec=0)) is None
    assert stamp_s(SimpleNamespace(sec=2, nanosec=500_000_000)) == 2.5
    assert stamp_s(SimpleNamespace(sec=0, nanosec=1)) == pytest.approx(1e-9)


# -- a tip -----------------------------------------------------------------------------------------------------------


def pose(T, along=0.4, across=0.1):
    return TipPose("TipToImage", T, 1.0, along, across)


def turned(angle_rad, place=(10.0, 20.0, 0.0)):
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return rigid(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]), place)


def test_lengths_are_metres():
    assert position_m(turned(0.0)) == pytest.approx((0.010, 0.020, 0.0))


def test_the_covariance_is_the_trackers_along_and_across_and_unknown_elsewhere():
    C = pose_covariance(pose(turned(0.0)))
    assert np.diag(C) == pytest.approx([1.6e-7, 1e-8, UNKNOWN_M2, UNKNOWN_RAD2, UNKNOWN_RAD2, UNKNOWN_RAD2])
    C = pose_covariance(pose(turned(math.pi / 2)))  # the needle points down: along is y
    assert np.diag(C)[:3] == pytest.approx([1e-8, 1.6e-7, UNKNOWN_M2])


def test_without_deviations_nothing_is_claimed():
    C = pose_covariance(pose(turned(0.3), along=None, across=None))
    assert np.diag(C)[:3] == pytest.approx([UNKNOWN_M2] * 3)


@given(angle=st.floats(-10, 10), tilt=st.floats(-3, 3), along=st.floats(0.001, 20), across=st.floats(0.001, 20))
def test_turning_keeps_a_covariance_one(angle, tilt, along, across):
    c, s = math.cos(tilt), math.sin(tilt)
    T = rigid(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), (1.0, 2.0, 3.0)) @ turned(angle)
    C = pose_covariance(pose(T, along, across))
    assert np.array_equal(C, C.T)
    R = T[:3, :3]
    assert np.sqrt(np.diag(R.T @ C[:3, :3] @ R)[:2]) == pytest.approx([1e-3 * along, 1e-3 * across], rel=1e-3)
    assert np.linalg.eigvalsh(C).min() > 0


@given(angle=st.floats(-10, 10), tilt=st.floats(-4, 4))
def test_a_quaternion_turns_as_its_matrix_does(angle, tilt):
    c, s = math.cos(tilt), math.sin(tilt)
    T = rigid(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), (0.0, 0.0, 0.0)) @ turned(angle)
    x, y, z, w = quaternion(T)
    assert math.hypot(x, y, z, w) == pytest.approx(1.0)
    assert w >= 0
    R = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    assert np.allclose(R, T[:3, :3], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "value"), [("0.4", 0.4), ("", None), ("nan", None), ("inf", None), ("-1", None), ("x", None)]
)
def test_a_deviation_that_is_no_number_is_unknown(text, value):
    assert read_sd({"sd_along_mm": text}, "sd_along_mm") == value
    assert read_sd({}, "sd_along_mm") is None
