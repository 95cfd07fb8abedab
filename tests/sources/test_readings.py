"""A robot's readings beside a clip: a state for each frame, and one clear line for what is wrong with the file."""

import math

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Frame, RobotState
from sonosteer.episodes.clip_tracking import check_readings
from sonosteer.recording.readings import ReadingsWriter, read_readings
from sonosteer.sources.readings import WithReadings
from sonosteer.trackers.table import make_tracker

HEAD = "time_s,depth_mm,angle_deg\n"


class Clip:
    info = SourceInfo("clip", "video", (8, 8), 10, 20.0, Spacing(0.1, 0.1))

    def frames(self, start=0, stop=None):
        for i in range(start, 10 if stop is None else stop):
            yield Frame(np.zeros((8, 8), np.uint8), i, i / 20)

    def close(self):
        pass


def beside(tmp_path, text):
    path = tmp_path / "readings.csv"
    path.write_text(text)
    return WithReadings(Clip(), path)


def test_each_frame_has_the_state_of_its_time(tmp_path):
    clip = beside(tmp_path, HEAD + "0,10,40\n0.1,12,40\n0.2,14,42\n")
    states = [f.robot_state for f in clip.frames()]
    assert [s.depth_mm for s in states[:5]] == pytest.approx([10, 11, 12, 13, 14])
    assert math.degrees(states[3].insertion_angle_rad) == pytest.approx(41.0)
    assert states[1].insertion_speed_mm_s == pytest.approx(20.0)
    assert states[5:] == [None] * 5  # after the last row nothing is made up


def test_in_a_gap_nothing_is_made_up(tmp_path):
    clip = beside(tmp_path, HEAD + "0,10,40\n0.3,16,40\n0.35,17,40\n")
    assert [f.robot_state is None for f in clip.frames(0, 8)] == [False, *[True] * 5, False, False]


def test_what_is_written_is_read_back(tmp_path):
    said = RobotState(9.0, 33.25, 0.0, math.radians(41.5), 0.5, (1.0, -2.0, 0.25))
    with ReadingsWriter(tmp_path / "r.csv") as table:
        for k in range(2):
            table.add(k / 20, said)
    first, second = read_readings(tmp_path / "r.csv")
    assert (first.time_s, second.time_s) == (0.0, 0.05)
    assert second.depth_mm == 33.25
    assert second.probe_mm == said.probe_mm
    assert (second.insertion_angle_rad, second.roll_rad) == pytest.approx((math.radians(41.5), 0.5), abs=1e-5)


@pytest.mark.parametrize(("text", "said"), [
    ("time_s,depth_mm\n0,1\n1,2\n", "lacks the column 'angle_deg'"),
    (HEAD, "fewer than two rows"),
    (HEAD + "0,1,40\n", "fewer than two rows"),
    (HEAD + "0,1,40\n0,2,40\n", "must rise"),
    (HEAD + "0,1,40\n1,nan,40\n", "line 3.*depth_mm"),
    (HEAD + "0,1,40\n1,two,40\n", "line 3.*not a number"),
    (HEAD + "0,1,140\n1,2,40\n", "line 2.*angle_deg is 140"),
    (HEAD + "0,1,40\n1,900,40\n", "line 3.*depth_mm is 900"),
    (HEAD + "1e9,1,40\n2e9,2,40\n", "on the clip's clock"),
])  # fmt: skip
def test_a_fault_of_the_file_is_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as wrong:
        beside(tmp_path, text)
    assert "\n" not in str(wrong.value)


def test_a_file_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        WithReadings(Clip(), tmp_path / "none.csv")


@pytest.mark.parametrize(("method", "spacing", "live", "stills", "said"), [
    ("kf+f", Spacing(0.1, 0.1), False, False, "auto and vla do"),
    ("auto", None, False, False, "give `spacing_mm`"),
    ("auto", Spacing(0.1, 0.1), True, False, "recorded clips"),
    ("auto", Spacing(0.1, 0.1), False, True, "no times"),
])  # fmt: skip
def test_readings_that_are_of_no_use_are_refused(method, spacing, live, stills, said):
    info = SourceInfo("clip", "video", (8, 8), 10, 20.0, spacing)
    with pytest.raises(InputError, match=said):
        check_readings(info, make_tracker(method), method, live=live, stills=stills)
