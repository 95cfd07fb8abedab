"""What becomes of messages: the newest picture waits, everything is counted, transforms have an age."""

import numpy as np
import pytest
from igtl_peers import image_message, number_of

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError
from sonosteer.core.wall_clock import WallClock
from sonosteer.sources.igtlink.intake import Intake
from sonosteer.sources.igtlink.message_stream import Damaged, WholeMessage
from sonosteer.sources.igtlink.wire import make_message, parse_header, status_content, transform_content


def whole(message):
    return WholeMessage(parse_header(message[:58]), memoryview(bytearray(message[58:])))


class Fed:
    """An intake on a clock that moves by 10 ms a message."""

    def __init__(self, **options):
        self.clock = SimulatedClock()
        self.intake = Intake(WallClock(self.clock, lambda: 1000.0 + self.clock.now_s()), **options)

    def feed(self, *messages, step_s=0.01):
        for each in messages:
            self.clock.advance(step_s)
            self.intake.take(each if isinstance(each, Damaged) else whole(each), self.clock.now_s())

    def taken(self):
        got = self.intake.pictures.take(0.0)
        return None if got is None else number_of(got.image.pixels)

    def sums(self):
        counts = self.intake.counts()
        assert counts.received == counts.seen + counts.overwritten + counts.waiting + sum(counts.bad.values())
        return counts


def test_the_newest_picture_waits_and_the_others_are_counted():
    fed = Fed(device="Image")
    fed.feed(*(image_message(i) for i in range(5)))
    assert fed.taken() == 4
    assert fed.taken() is None
    fed.feed(image_message(5), Damaged("wrong check sum"), image_message(6))
    assert fed.taken() == 6
    counts = fed.sums()
    assert (counts.received, counts.seen, counts.overwritten, dict(counts.bad)) == (8, 2, 5, {"wrong check sum": 1})


def test_serial_numbers_have_no_gap_so_that_a_consumer_knows_what_it_missed():
    fed = Fed(device="Image")
    fed.feed(image_message(0), image_message(1))
    assert fed.intake.pictures.take(0.0).serial == 1
    fed.feed(image_message(2), image_message(3), image_message(4))
    assert fed.intake.pictures.take(0.0).serial == 4


def test_the_same_message_again_is_bad_and_a_still_scene_is_not():
    fed = Fed(device="Image")
    fed.feed(image_message(1, stamp_s=1001.0), image_message(1, stamp_s=1001.0), image_message(1, stamp_s=1001.1))
    counts = fed.sums()
    assert counts.received == 3
    assert counts.bad == {"the same message again": 1}
    still = Fed(device="Image")
    still.feed(*[image_message(1, stamp_s=0.0)] * 3)
    assert still.sums().bad == {}


def test_without_a_name_the_only_device_that_sends_pictures_is_taken():
    fed = Fed(device=None)
    fed.feed(image_message(0), make_message("STATUS", "Scanner", status_content()))
    assert fed.taken() is None  # one picture alone may have a damaged name
    fed.feed(image_message(1))
    assert (fed.intake.device, fed.taken()) == ("Image", 1)
    assert fed.sums().received == 2


def test_two_devices_with_pictures_are_rivals():
    fed = Fed(device=None)
    fed.feed(image_message(0, "A"), image_message(1, "B"), image_message(2, "A"))
    assert fed.intake.device is None
    assert fed.intake.rivals == {"A", "B"}


def test_messages_of_others_are_counted_by_kind_and_name():
    fed = Fed(device="Image")
    fed.feed(image_message(0, "Other"), make_message("STATUS", "", status_content()), image_message(1))
    assert fed.sums().other == {"IMAGE Other": 1, "STATUS": 1}


def test_pictures_without_a_stamp_have_the_time_of_their_arrival():
    fed = Fed(device="Image")
    fed.feed(image_message(0, stamp_s=0.0))
    got = fed.intake.pictures.take(0.0)
    assert got.acquired_s == got.arrived_s
    assert got.stamp_s is None


def test_transforms_have_an_age_and_are_refused_when_too_old_or_not_valid():
    fed = Fed(device="Image")
    T = np.eye(4)
    T[0, 3] = 5.0
    content = transform_content(T)
    fed.feed(make_message("TRANSFORM", "ProbeToReference", content, stamp_s=1000.0))
    now_s = fed.clock.now_s()
    assert np.allclose(fed.intake.pose("ProbeToReference", now_s=now_s, max_age_s=0.1), T)
    with pytest.raises(InputError, match=r"0\.50 s old"):
        fed.intake.pose("ProbeToReference", now_s=now_s + 0.5, max_age_s=0.1)
    with pytest.raises(InputError, match="no transform 'X' came; these did: ProbeToReference"):
        fed.intake.pose("X", now_s=now_s, max_age_s=0.1)
    invalid = {"TransformStatus": "INVALID"}
    fed.feed(make_message("TRANSFORM", "ProbeToReference", content, stamp_s=1000.0, number=9, metadata=invalid))
    with pytest.raises(InputError, match="not valid"):
        fed.intake.pose("ProbeToReference", now_s=fed.clock.now_s(), max_age_s=0.1)


def test_long_names_of_transforms_come_from_the_metadata():
    fed = Fed(device="Image")
    name = "StylusTipToReferenceOfThePatient"
    beside = {"IGTL_DEVICE_NAME": name}
    fed.feed(make_message("TRANSFORM", name[:20], transform_content(np.eye(4)), number=1, metadata=beside))
    assert list(fed.intake.poses()) == [name]


def test_gaps_in_the_senders_numbers_were_lost_before():
    fed = Fed(device="Image")
    numbers = [1, 2, 5, 6]
    fed.feed(*(image_message(i, number=n) for i, n in enumerate(numbers)))
    assert fed.sums().lost_before == 2
    of_each = Fed(device="Image")  # a sender that numbers those of each device
    for n in range(1, 8):
        of_each.feed(image_message(n, number=n))
        if n % 3 == 0:
            of_each.feed(make_message("STATUS", "S", status_content(), number=n // 3))
    assert of_each.sums().lost_before == 0
    damaged = Fed(device="Image")
    damaged.feed(image_message(0, number=1), Damaged("wrong check sum"), image_message(2, number=3))
    assert damaged.sums().lost_before == 0
    assert damaged.sums().bad == {"wrong check sum": 1}


def test_names_that_are_made_up_do_not_fill_the_memory():
    fed = Fed(device="Image")
    for i in range(300):
        fed.feed(make_message("STATUS", f"S{i}", status_content()))
    assert len(fed.sums().other) <= 65
    assert sum(fed.sums().other.values()) == 300


def test_a_shared_clock_takes_stamps_as_they_are():
    fed = Fed(device="Image", shared=True)
    fed.feed(image_message(0, stamp_s=999.90))  # arrives at 1000.01
    got = fed.intake.pictures.take(0.0)
    assert got.acquired_s == pytest.approx(-0.1, abs=1e-6)
    own = Fed(device="Image")
    own.feed(image_message(0, stamp_s=999.90))
    assert own.intake.pictures.take(0.0).acquired_s == pytest.approx(0.01)


def test_a_shared_clock_that_is_ahead_is_a_fault_and_no_negative_age():
    fed = Fed(device="Image", shared=True)
    fed.feed(image_message(0, stamp_s=1000.5))
    got = fed.intake.pictures.take(0.0)
    assert got.acquired_s == got.arrived_s
    assert any("ahead" in fault for fault in fed.sums().faults)
