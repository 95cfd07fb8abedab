"""OpenIGTLink as bytes: what is written comes back, what is damaged is a WireError, and pyigtl agrees."""

import contextlib
import struct

import numpy as np
import pytest

from sonosteer.sources.igtlink import wire


def picture(rows=6, columns=8, dtype=np.uint8, parts=()):
    rng = np.random.default_rng(3)
    return rng.integers(0, 200, (rows, columns, *parts)).astype(dtype)


def image_of(content):
    return wire.parse_image(memoryview(content))


def taken_apart(message):
    header = wire.parse_header(message[:58])
    return header, *wire.split_body(header, memoryview(message)[58:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("parts", [(), (3,), (4,)])
def test_a_picture_comes_back_as_it_was(dtype, parts):
    pixels = picture(dtype=dtype, parts=parts)
    back = image_of(wire.image_content(pixels, (0.2, 0.1), np.eye(4)))
    assert np.array_equal(back.pixels, pixels)
    assert back.spacing_mm == pytest.approx((0.2, 0.1))
    assert np.allclose(back.T_space_image, np.eye(4), atol=1e-6)
    assert not back.placed


def test_a_scale_of_exactly_one_is_unknown():
    assert image_of(wire.image_content(picture(), None, np.eye(4))).spacing_mm is None
    assert image_of(wire.image_content(picture(), (1.0, 1.0), np.eye(4))).spacing_mm is None


def test_the_place_in_a_message_is_that_of_the_middle_of_the_picture():
    """(N - 1) / 2 pixels from the first pixel's centre, not N / 2: half a pixel is easily lost here."""
    content = wire.image_content(picture(6, 8), (0.2, 0.1), np.eye(4))
    assert struct.unpack_from(">3f", content, 12 + 36) == pytest.approx((3.5 * 0.2, 2.5 * 0.1, 0.0))


def test_a_pose_comes_back_and_lps_is_turned_to_ras():
    a = 0.3
    T = np.eye(4)
    T[:3, :3] = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    T[:3, 3] = 10, 20, 30
    content = bytearray(wire.image_content(picture(), (0.2, 0.1), T))
    back = image_of(content)
    assert back.placed
    assert np.allclose(back.T_space_image, T, atol=1e-5)
    content[5] = wire.LPS
    assert np.allclose(image_of(content).T_space_image, np.diag([-1, -1, 1, 1]) @ T, atol=1e-5)


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        (3, 10, "float32"),
        (3, 4, "int16"),
        (2, 2, "2 components"),
        (11, 5, "volume of 5"),
        (4, 7, "no sense"),
        (7, 9, "as many"),
        (0, 9, "no sense"),
    ],
)
def test_what_is_no_picture_is_said(at, value, said):
    content = bytearray(wire.image_content(picture(), (0.2, 0.1), np.eye(4)))
    content[at] = value
    if at == 7:  # the width; the sub-volume says the same
        content[12 + 48 + 6 + 1] = value
    with pytest.raises(wire.WireError, match=said):
        image_of(content)


def test_a_message_of_version_2_carries_metadata_and_a_number():
    text = wire.string_content("lost: ü")
    message = wire.make_message("STRING", "State", text, stamp_s=1.5, number=7, metadata={"frame": "12", "größe": "3"})
    header, content, metadata, number = taken_apart(message)
    assert (header.version, header.kind, header.device, header.stamp_s, number) == (2, "STRING", "State", 1.5, 7)
    assert bytes(content) == text
    assert metadata == {"frame": "12", "größe": "3"}
    assert wire.crc64(message[58:]) == header.crc


def test_a_message_of_version_1_has_neither():
    header, content, metadata, number = taken_apart(wire.make_message("STRING", "State", b"abc"))
    assert (header.version, metadata, number, header.stamp_s, bytes(content)) == (1, {}, None, None, b"abc")


def test_the_check_sum_is_that_of_the_protocol():
    assert wire.crc64(b"123456789") == 0x6C40DF5F0B497347  # the check value of CRC-64/ECMA-182


def test_times_keep_a_microsecond():
    for time_s in (1_800_000_000.123456, 0.25, 1_764_288_000.999999):
        seconds, fraction = wire.split_time(time_s)
        assert abs(seconds + fraction / 2**32 - time_s) < 5e-7


def test_a_transform_comes_back():
    T = np.eye(4)
    T[:3] = np.random.default_rng(0).normal(size=(3, 4))
    assert np.allclose(wire.parse_transform(memoryview(wire.transform_content(T))), T, atol=1e-6)
    with pytest.raises(wire.WireError):
        wire.parse_transform(memoryview(b"x" * 47))
    T[0, 0] = np.nan
    with pytest.raises(wire.WireError):
        wire.parse_transform(memoryview(wire.transform_content(T)))


def test_names_are_cut_at_whole_characters():
    message = wire.make_message("STRING", "a" * 19 + "ü", b"")
    assert wire.parse_header(message[:58]).device == "a" * 19


def test_a_hundred_thousand_headers_of_any_bytes_are_headers_or_wire_errors():
    rng = np.random.default_rng(1)
    good = np.frombuffer(wire.make_message("IMAGE", "Image", b"")[:58], np.uint8)
    random = rng.integers(0, 256, (50_000, 58), dtype=np.uint8)
    near = np.tile(good, (50_000, 1))  # one to three bytes of a right one are changed
    for _ in range(3):
        near[np.arange(50_000), rng.integers(0, 58, 50_000)] = rng.integers(0, 256, 50_000)
    outcomes = {"header": 0, "error": 0}
    for row in np.concatenate([random, near]):
        try:
            header = wire.parse_header(row.tobytes())
        except wire.WireError:
            outcomes["error"] += 1
        else:
            assert header.size <= wire.MAX_BODY
            assert header.version in wire.VERSIONS
            outcomes["header"] += 1
    assert sum(outcomes.values()) == 100_000
    assert min(outcomes.values()) > 10_000


def test_bodies_of_any_bytes_are_content_or_wire_errors():
    rng = np.random.default_rng(2)
    for version in (1, 2, 3):
        header = wire.Header(version, "IMAGE", "Image", None, 0, 0)
        good = wire.make_message("IMAGE", "Image", wire.image_content(picture(), None, np.eye(4)), number=3)[58:]
        for k in range(2000):
            body = bytearray(rng.integers(0, 256, int(rng.integers(0, 90)), dtype=np.uint8).tobytes())
            if k % 2:
                body = bytearray(good)
                body[int(rng.integers(0, len(body)))] = int(rng.integers(0, 256))
            for parse in (wire.parse_image, wire.parse_transform, wire.parse_status):
                with contextlib.suppress(wire.WireError):
                    parse(wire.split_body(header, memoryview(body))[0])


def test_pyigtl_reads_what_is_written():
    messages = pytest.importorskip("pyigtl.messages")
    pixels = picture()
    raw = wire.make_message("IMAGE", "Image", wire.image_content(pixels, (0.2, 0.1), np.eye(4)), stamp_s=12.25)
    read = messages.MessageBase.create_message("IMAGE")
    header = messages.MessageBase.parse_header(raw[:58])
    read.unpack(header, raw[58:])
    assert np.array_equal(read.image.reshape(pixels.shape), pixels)
    assert read.timestamp == pytest.approx(12.25)
    T = np.eye(4)
    T[:3, 3] = 1, 2, 3
    raw = wire.make_message("TRANSFORM", "TipToImage", wire.transform_content(T), number=2, metadata={"age_s": "0.1"})
    read = messages.MessageBase.create_message("TRANSFORM")
    read.unpack(messages.MessageBase.parse_header(raw[:58]), raw[58:])
    assert np.allclose(read.matrix, T)
    assert read.metadata["age_s"] in ("0.1", b"0.1")


def test_what_pyigtl_writes_is_read():
    pyigtl = pytest.importorskip("pyigtl")
    pixels = picture()
    made = pyigtl.ImageMessage(pixels[np.newaxis], device_name="Image", timestamp=7.5)
    header, content, _, _ = taken_apart(made.pack())
    assert (header.kind, header.device, header.stamp_s) == ("IMAGE", "Image", 7.5)
    assert np.array_equal(image_of(content).pixels, pixels)
    assert wire.crc64(made.pack()[58:]) == header.crc
