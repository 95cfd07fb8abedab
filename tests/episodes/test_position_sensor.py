"""A position sensor's reading is a picture: what goes in comes out, and one that repeats itself is found."""

import numpy as np
import pytest

from sonosteer.core.errors import BrokenError
from sonosteer.core.types import Frame, Hint
from sonosteer.episodes.position_sensor import COUNT_MM, MIDDLE_PX, PositionSensor, sensor_reading
from sonosteer.recording.pictures import from_png, no_picture, to_png
from sonosteer.safety.watchdog import fingerprint


def tip_mm(frame, sd_mm=0.1):
    """What the sensor says of a reading."""
    sensor = PositionSensor(sd_mm)
    _, said = sensor.step(sensor.start(Hint()), frame)
    return tuple((v - m) * COUNT_MM.x_mm for v, m in zip(said.tip_px, MIDDLE_PX, strict=True)), said


@pytest.mark.parametrize("tip", [(0.0, 0.0), (1.2345, -6.789), (-31.9, 31.9)])
def test_a_tip_is_read_to_the_micrometre(tip):
    read, said = tip_mm(sensor_reading(70_000, 1.5, tip), sd_mm=0.25)
    assert read == pytest.approx(tip, abs=0.0005 + 1e-9)
    assert (said.frame_index, said.time_s, said.sd_along_mm, said.sd_across_mm) == (70_000, 1.5, 0.25, 0.25)


def test_a_tip_beyond_the_sensor_s_reach_is_read_at_its_end():
    read, _ = tip_mm(sensor_reading(0, 0.0, (40.0, -40.0)))
    assert read == pytest.approx((32.767, -32.768))


def test_a_reading_is_recorded_as_it_is():
    frame = sensor_reading(7, 0.5, (1.0, 2.0))
    assert no_picture(frame.pixels) is None
    assert np.array_equal(from_png(to_png(frame.pixels)), frame.pixels)


def test_no_two_readings_look_alike_to_the_watch_even_of_a_needle_that_rests():
    assert len({fingerprint(sensor_reading(k, 0.0, (0.5, 0.5)).pixels) for k in range(1000)}) == 1000
    assert len({fingerprint(sensor_reading(3, 0.0, (0.001 * k, 0.0)).pixels) for k in range(1000)}) == 1000


def test_an_image_is_no_reading():
    with pytest.raises(BrokenError, match="no reading of a position sensor"):
        tip_mm(Frame(np.zeros((64, 64), np.uint8), 0, 0.0))
