"""Pictures over OpenIGTLink as a source: peers of others, wrong input, and what changes on the way."""

import contextlib
import itertools
import threading
import time

import numpy as np
import pytest
from igtl_peers import (
    WAIT_S,
    Sender,
    build,
    cpp_sender,
    free_port,
    image_message,
    number_of,
    picture,
    stay,
    until,
)

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.igtlink import source as source_page
from sonosteer.sources.igtlink.source import OpenIGTLinkSource, turned_to_stored
from sonosteer.sources.igtlink.wire import image_content, make_message, status_content
from sonosteer.sources.metaimage import ORIENTATIONS
from sonosteer.sources.opening import open_source


@contextlib.contextmanager
def opened(*steps, then=(), path="", open_s=WAIT_S, **options):
    """A source on a sender that plays these steps, further ones once the source is open, and then stays."""
    is_open, done = threading.Event(), threading.Event()
    with Sender([*steps, stay(is_open), *then, stay(done)]) as peer:
        options = {"orientation": "MF"} | options
        try:
            source = OpenIGTLinkSource(peer.where + path, open_s=open_s, **options)
            try:
                is_open.set()
                yield source
            finally:
                source.close()
        finally:
            is_open.set()
            done.set()


def frames_of(source, count):
    out = []
    while len(out) < count:
        frame = source.next_frame(WAIT_S)
        assert frame is not None
        out.append(frame)
    return out


def message_of(pixels, i=0, device="Image", spacing=(0.2, 0.1), T=None, **beside):
    content = image_content(pixels, spacing, np.eye(4) if T is None else T)
    return make_message("IMAGE", device, content, stamp_s=1000.0 + 0.01 * i, **beside)


def test_pictures_of_the_cpp_sender_come_as_they_were_sent_and_are_accounted_for(tmp_path):
    program, port = build("igtl_sender", tmp_path), free_port()
    with cpp_sender(program, port, 200, 120) as peer:
        source = open_source(f"igtl://127.0.0.1:{port}/Image_Reference", orientation="MF")
        assert source.info.size_px == (64, 48)
        assert source.info.spacing.x_mm == pytest.approx(0.2)
        assert source.info.frames is None
        seen = []
        end_s = time.monotonic() + WAIT_S
        while source.counts().waiting or (source.counts().received < 120 and time.monotonic() < end_s):
            frame = source.next_frame(0.05)
            if frame is not None:
                assert (frame.pixels.reshape(-1)[4:] == number_of(frame.pixels) & 0xFF).all()
                seen.append(frame)
        assert peer.stdout.readline() == "sent 120 and 12 transforms\n"
        source.close()
        last = source.next_frame(0.0)
        assert last is None
        counts = source.counts()
    assert counts.received == 120 == counts.seen + counts.overwritten
    assert counts.seen == len(seen)
    numbers = [number_of(f.pixels) for f in seen]
    assert numbers == sorted(set(numbers))
    assert [f.index for f in seen] == numbers, "the sender's first picture is number 0"
    times = [f.time_s for f in seen]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[0] >= 0.0


def test_a_device_that_is_not_there_is_one_line_that_names_those_that_are():
    with (
        pytest.raises(InputError, match="no picture of device 'B' came; there are: A"),
        opened(image_message(0, "A"), image_message(1, "A"), path="/B", open_s=0.5),
    ):
        pass


def test_two_devices_must_be_chosen_from():
    with (
        pytest.raises(InputError, match=r"several devices, A, B: name one, as in igtl://127\.0\.0\.1:\d+/A"),
        opened(image_message(0, "A"), image_message(1, "B")),
    ):
        pass


def test_a_port_where_nobody_listens_is_one_line():
    with pytest.raises(InputError, match="connection refused: start the sender"):
        OpenIGTLinkSource(f"igtl://127.0.0.1:{free_port()}", orientation="MF")


def test_a_name_that_is_no_machine_is_one_line():
    with pytest.raises(InputError, match="no machine of that name"):
        OpenIGTLinkSource("igtl://no-such-machine.invalid:18944", orientation="MF")


def test_a_scanner_that_is_frozen_is_said():
    with (
        pytest.raises(InputError, match=r"what came: 1 STATUS Scanner\. Is the scanner frozen\?"),
        opened(make_message("STATUS", "Scanner", status_content()), open_s=0.5),
    ):
        pass
    with pytest.raises(InputError, match="connected, but nothing came"), opened(open_s=0.3):
        pass


def test_nobody_who_connects_is_said():
    with pytest.raises(InputError, match="nobody has connected yet within"):
        OpenIGTLinkSource(f"igtl://:{free_port()}?bind=127.0.0.1", orientation="MF", open_s=0.3)


def test_a_sender_without_check_sums_is_told_how_to_be_taken():
    bad = [bytearray(image_message(i)) for i in range(3)]
    for each in bad:
        each[50:58] = bytes(8)
    with pytest.raises(InputError, match=r"wrong check sum.*add \?crc=no"), opened(*map(bytes, bad), open_s=0.5):
        pass
    with opened(*map(bytes, bad), path="?crc=no") as source:
        until(lambda: source.counts().received == 3)
        assert "check sums are not compared" in source.info.notes[-1]


def test_pixels_of_another_type_are_said():
    content = bytearray(image_content(picture(0), None, np.eye(4)))
    content[3] = 10
    with (
        pytest.raises(InputError, match="float32 values"),
        opened(make_message("IMAGE", "Image", bytes(content)), path="/Image", open_s=0.5),
    ):
        pass


def test_an_orientation_that_nobody_says_is_asked_for_and_never_guessed():
    with (
        pytest.raises(InputError, match="does not say how its pictures lie: give `orientation`"),
        opened(image_message(0), image_message(1), orientation=None),
    ):
        pass
    unknown = {"UltrasoundImageOrientation": "XX"}
    with (
        pytest.raises(InputError, match="does not say how"),
        opened(
            image_message(0, number=1, metadata=unknown), image_message(1, number=2), path="/Image", orientation=None
        ),
    ):
        pass
    with (
        pytest.raises(InputError, match="orientation 'QQ' is not known"),
        opened(image_message(0), image_message(1), orientation="QQ"),
    ):
        pass


def test_a_sender_that_says_it_only_once_it_was_greeted_is_waited_for(monkeypatch):
    """PLUS and our own publisher speak version 1, without metadata, until a client has spoken version 2."""
    monkeypatch.setattr(source_page, "GREETED_S", WAIT_S)
    said = {"number": 1, "metadata": {"UltrasoundImageOrientation": "UF"}}
    steps = (image_message(0), lambda sock: time.sleep(0.2), image_message(1, **said))
    with opened(*steps, path="/Image", orientation=None) as source:
        assert source.said_orientation == "UF"
        assert source.counts().overwritten == 1


def test_an_orientation_that_the_sender_says_is_followed_and_the_users_word_counts_more():
    pixels = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64).astype(np.uint8)
    said = {"number": 1, "metadata": {"UltrasoundImageOrientation": "UN"}}
    with opened(message_of(pixels, **said), path="/Image", orientation=None) as source:
        assert np.array_equal(frames_of(source, 1)[0].pixels, pixels[::-1, ::-1])
    with opened(message_of(pixels, **said), path="/Image?orientation=MF", orientation=None) as source:
        assert np.array_equal(frames_of(source, 1)[0].pixels, pixels)


@pytest.mark.parametrize("name", sorted(k for k in ORIENTATIONS if k not in ("", "XX")))
def test_a_turned_picture_keeps_its_place_in_space(name):
    """The same pixel is at the same place in the world, however the picture is turned."""
    turn, (rows, columns), (x_mm, y_mm) = ORIENTATIONS[name], (48, 64), (0.2, 0.1)
    stored = np.arange(rows * columns).reshape(rows, columns)
    shown = turn.of(stored)
    T = turned_to_stored(turn, (columns - 1) * x_mm, (rows - 1) * y_mm)
    sx, sy = (y_mm, x_mm) if turn.swap else (x_mm, y_mm)
    for row, column in ((0, 0), (3, 7), (shown.shape[0] - 1, 5)):
        value = shown[row, column]
        at = T @ [column * sx, row * sy, 0.0, 1.0]
        assert at[:2] == pytest.approx([(value % columns) * x_mm, (value // columns) * y_mm], abs=1e-9)


def test_a_pose_is_handed_on_and_a_sender_without_one_says_none():
    T = np.eye(4)
    T[:3, 3] = 10, 20, 30
    with opened(message_of(picture(0), T=T), path="/Image") as source:
        assert np.allclose(frames_of(source, 1)[0].T_world_image, T, atol=1e-4)
    with opened(message_of(picture(0)), path="/Image") as source:
        assert frames_of(source, 1)[0].T_world_image is None


def test_a_size_that_changes_ends_the_run_in_one_line():
    with opened(image_message(0), image_message(1)) as source:
        until(lambda: source.counts().received == 2)
        frames_of(source, 1)
    with opened(image_message(0), then=[image_message(1, size=(40, 64))], path="/Image") as source:
        until(lambda: source.counts().received == 2)
        with pytest.raises(InputError, match="frame 1 is 64x40 px, those before it 64x48"):
            frames_of(source, 1)


def test_a_scale_that_changes_ends_the_run_unless_the_user_gave_one():
    further = [image_message(1, spacing=(0.3, 0.15))]
    with opened(image_message(0), then=further, path="/Image") as source:
        until(lambda: source.counts().received == 2)
        with pytest.raises(InputError, match=r"has 0\.3,0\.15 mm per pixel, those before it 0\.2,0\.1"):
            frames_of(source, 1)
    with opened(image_message(0), then=further, path="/Image", spacing=Spacing(0.5, 0.5)) as source:
        until(lambda: source.counts().received == 2)
        assert frames_of(source, 1)[0].spacing == Spacing(0.5, 0.5)


def test_colour_is_said_and_tracked_as_luminance():
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 4), dtype=np.uint8)
    with opened(message_of(rgb), path="/Image") as source:
        assert any("in colour (4 components)" in note for note in source.info.notes)
        frame = frames_of(source, 1)[0]
        assert np.array_equal(frame.pixels, rgb[..., :3])
        assert frame.grey().shape == (48, 64)
    with opened(image_message(0), then=[message_of(rgb[..., :3].copy(), 1)], path="/Image") as source:
        until(lambda: source.counts().received == 2)
        with pytest.raises(InputError, match="is in colour, those before it are not"):
            frames_of(source, 1)


def test_sixteen_bits_have_their_white():
    deep = np.full((48, 64), 900, np.uint16)
    with opened(message_of(deep), path="/Image") as source:
        frame = frames_of(source, 1)[0]
        assert frame.full_scale == 1023.0
        assert frame.grey().max() == 224


def test_without_time_stamps_one_line_says_so():
    with opened(image_message(0, stamp_s=0.0), path="/Image") as source:
        assert "no time stamps: the time of arrival is taken" in source.info.notes[0]
        assert source.lag()["stamped"] is False


def test_frames_can_be_read_in_a_loop():
    steps = [image_message(i) for i in range(2)]
    with opened(*steps, path="/Image") as source:
        [frame] = source.frames(0, 1)
        assert number_of(frame.pixels) in (0, 1)
        source.close()
        source.close()
    counts = source.counts()
    assert counts.received == counts.seen + counts.overwritten
    assert counts.waiting == 0


def test_an_orientation_belongs_to_openigtlink():
    with pytest.raises(InputError, match="for igtl:// only"):
        open_source("sim:in-plane-linear", orientation="MF")
