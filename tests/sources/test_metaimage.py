"""MetaImage and NRRD sequences are written here by SimpleITK, or read by it beside ours."""

import bz2
import gzip
import tracemalloc
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from written_clips import meta_header, nrrd_header, pictures, write_meta

from sonosteer import track
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import open_source

SMALL = np.random.default_rng(0).integers(0, 255, (4, 5, 6), dtype=np.uint8)  # frames, rows, columns


def pixels_of(path, **kw):
    return np.stack([f.pixels for f in open_source(path, **kw).frames()])


def by_simpleitk(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "igs.mha"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_sequence_of_metaimage_or_nrrd_is_read(tmp_path, ending, compress, dtype):
    frames = pictures(9, dtype=dtype)
    keys = {f"Seq_Frame{i:04d}_Timestamp": str(100.0 + 0.05 * i) for i in range(9)}
    path = write_meta(tmp_path / f"a.{ending}", frames, compress=compress, **keys)
    source = open_source(path)
    assert source.info.frames == 9
    assert source.info.spacing == Spacing(0.2, 0.1)
    got = list(source.frames())
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=True))
    np.testing.assert_allclose([f.time_s for f in got], 0.05 * np.arange(9), atol=1e-9)
    assert [f.index for f in source.frames(4, 6)] == [4, 5]
    assert np.array_equal(next(iter(source.frames(5))).pixels, frames[5])


def test_a_tracked_sequence_carries_the_pose_of_each_frame(tmp_path):
    keys = {}
    for i in range(3):
        keys[f"Seq_Frame{i:04d}_ImageToTrackerTransform"] = f"1 0 0 {i} 0 1 0 0 0 0 1 0 0 0 0 1"
        keys[f"Seq_Frame{i:04d}_ImageToTrackerTransformStatus"] = "OK" if i < 2 else "INVALID"
    got = list(open_source(write_meta(tmp_path / "a.mha", pictures(3), **keys)).frames())
    assert got[1].T_world_image is not None
    assert got[1].T_world_image[0, 3] == 1
    assert got[2].T_world_image is None


def test_an_image_stored_upside_down_is_turned_to_the_usual_way(tmp_path):
    frames = pictures(2)
    path = write_meta(tmp_path / "a.mha", frames, UltrasoundImageOrientation="UN")
    assert np.array_equal(next(iter(open_source(path).frames())).pixels, frames[0][::-1, ::-1])


def test_a_spacing_of_one_on_every_axis_means_unknown(tmp_path):
    path = write_meta(tmp_path / "a.mha", pictures(2), spacing=(1.0, 1.0, 1.0))
    assert open_source(path).info.spacing is None
    assert open_source(path, spacing=Spacing(0.3, 0.3)).info.spacing == Spacing(0.3, 0.3)


def test_colour_metaimage_is_rgb(tmp_path):
    rgb = np.zeros((2, 10, 12, 3), np.uint8)
    rgb[..., 0] = 200
    (first, _) = open_source(write_meta(tmp_path / "a.mha", rgb, vector=True)).frames()
    assert first.pixels.shape == (10, 12, 3)
    assert tuple(first.pixels[0, 0]) == (200, 0, 0)


@pytest.mark.parametrize("compress", [False, True])
def test_a_cut_off_sequence_gives_what_there_is_and_says_so(tmp_path, compress):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (10, 48, 64), dtype=np.uint8)
    path = write_meta(tmp_path / "a.mha", frames, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    got = []
    with pytest.raises(InputError, match=r"ends early: \d of 10 frames"):
        got.extend(open_source(path).frames())
    assert len(got) >= 3
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=False))


def test_a_detached_data_file_that_is_not_there_is_named(tmp_path):
    path = write_meta(tmp_path / "a.mhd", pictures(2))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"keeps its pixels in a.raw"):
        list(open_source(path).frames())


# -- where the values begin ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
@pytest.mark.parametrize("said", [37, -1])
def test_bytes_before_the_values_of_a_file_that_simpleitk_wrote_are_skipped(tmp_path, ending, said):
    path = write_meta(tmp_path / f"a.{ending}", SMALL)
    raw = tmp_path / "a.raw"
    raw.write_bytes(b"\xff" * 37 + raw.read_bytes())
    last = b"ElementDataFile" if ending == "mhd" else b"encoding"
    field = b"HeaderSize = %d\n" if ending == "mhd" else b"byte skip: %d\n"
    path.write_bytes(path.read_bytes().replace(last, field % said + last))
    assert np.array_equal(pixels_of(path), SMALL)
    assert np.array_equal(by_simpleitk(path), SMALL)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"byte_skip": 7}, b"\xff" * 7 + SMALL.tobytes()),
        ({"byte_skip": -1}, b"\xff" * 7 + SMALL.tobytes()),
        ({"byte_skip": 7, "encoding": "gzip"}, gzip.compress(b"\xff" * 7 + SMALL.tobytes())),
        ({"byte_skip": 7, "encoding": "bzip2"}, bz2.compress(b"\xff" * 7 + SMALL.tobytes())),
        ({"line_skip": 2}, b"one\ntwo\n" + SMALL.tobytes()),
        ({"line_skip": 2, "encoding": "gzip"}, b"one\ntwo\n" + gzip.compress(SMALL.tobytes())),
        ({"line_skip": 2, "byte_skip": 2}, b"one\ntwo\n\xff\xff" + SMALL.tobytes()),
        ({"encoding": "ascii"}, " ".join(map(str, SMALL.ravel())).encode()),
        ({"encoding": "hex"}, SMALL.tobytes().hex().encode()),
        ({"encoding": "gzip"}, gzip.compress(SMALL[:2].tobytes()) + gzip.compress(SMALL[2:].tobytes())),
    ],
)
def test_values_behind_an_nrrd_header_are_found_as_its_definition_says(tmp_path, fields, body):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_header(**fields) + body)
    assert np.array_equal(pixels_of(path), SMALL)
    assert np.array_equal(pixels_of(path)[2:], [f.pixels for f in open_source(path).frames(2)])
    if fields.get("encoding") != "bzip2":  # this SimpleITK reads no bzip2
        assert np.array_equal(by_simpleitk(path), SMALL)


def test_numbers_as_text_and_gzip_instead_of_zlib_are_read_from_metaimage(tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(meta_header(BinaryData="False") + " ".join(map(str, SMALL.ravel())).encode() + b"\n")
    assert np.array_equal(pixels_of(path), SMALL)
    assert np.array_equal(by_simpleitk(path), SMALL)
    path.write_bytes(meta_header(CompressedData="True") + gzip.compress(SMALL.tobytes()))
    assert np.array_equal(pixels_of(path), SMALL)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"HeaderSize": -1, "CompressedData": "True"}, "HeaderSize = -1"),
        ({"HeaderSize": 10}, "lies within the header"),
        ({"HeaderSize": -2}, "HeaderSize is '-2'"),
        ({"HeaderSize": "many"}, "HeaderSize is 'many'"),
    ],
)
def test_an_offset_that_makes_no_sense_is_refused(tmp_path, fields, said):
    path = tmp_path / "a.mha"
    path.write_bytes(meta_header(**fields) + SMALL.tobytes())
    with pytest.raises(InputError, match=said):
        open_source(path)


# -- pixels in several files -----------------------------------------------------------------------------------


def write_slices(folder, packed=lambda data: data, name="s{:02d}.raw"):
    for i, frame in enumerate(SMALL):
        (folder / name.format(i)).write_bytes(packed(frame.tobytes()))


@pytest.mark.parametrize("data", ["LIST", "LIST 2D", "s%02d.raw 0 3 1", "s%2d.raw 0 3 1"])
def test_slices_in_files_of_their_own_are_read_as_simpleitk_reads_them(tmp_path, data):
    write_slices(tmp_path, lambda values: b"\xee" * 5 + values, "s{:2d}.raw" if "%2d" in data else "s{:02d}.raw")
    names = b"".join(b"s%02d.raw\n" % i for i in range(4)) if data.startswith("LIST") else b""
    path = tmp_path / "a.mhd"
    path.write_bytes(meta_header(data, HeaderSize=5) + names)
    assert np.array_equal(pixels_of(path), SMALL)
    assert [f.index for f in open_source(path).frames(2, 4)] == [2, 3]
    assert np.array_equal(next(iter(open_source(path).frames(3))).pixels, SMALL[3])
    assert np.array_equal(by_simpleitk(path), SMALL)


@pytest.mark.parametrize("data", ["s%02d.raw 0 3 1", "s%02d.raw 3 0 -1", "LIST", "LIST 2"])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_an_nrrd_header_may_list_its_slices_too(tmp_path, data, encoding):
    write_slices(tmp_path, gzip.compress if encoding == "gzip" else bytes)
    names = b"".join(b"s%02d.raw\n" % i for i in range(4)) if data.startswith("LIST") else b""
    path = tmp_path / "a.nhdr"
    path.write_bytes(nrrd_header(encoding=encoding, data_file=data)[:-1] + names)
    assert np.array_equal(pixels_of(path), SMALL[::-1] if "-1" in data else SMALL)


def test_a_slice_that_is_missing_or_a_list_that_does_not_fit_is_named(tmp_path):
    write_slices(tmp_path)
    path = tmp_path / "a.mhd"
    path.write_bytes(meta_header("LIST") + b"s00.raw\ns01.raw\n\ns02.raw\n")
    with pytest.raises(InputError, match="names 3 files, which cannot share 4 pictures"):
        open_source(path)
    path.write_bytes(meta_header("s%02d.raw 1 4 1"))
    with pytest.raises(InputError, match=r"s04\.raw'?, which is not beside it"):
        open_source(path)
    path.write_bytes(meta_header("LIST"))
    with pytest.raises(InputError, match="list of the files"):
        open_source(path)


@pytest.mark.parametrize("data", ["s%02d.raw 0 999999999 1", "s%s.raw 0 3 1", "s%d%d.raw 0 3 1", "s%02d.raw 0 3 0"])
def test_a_pattern_that_asks_for_too_much_is_refused(tmp_path, data):
    write_slices(tmp_path)
    path = tmp_path / "a.mhd"
    path.write_bytes(meta_header(data))
    with pytest.raises(InputError, match=r"pattern|at most"):
        open_source(path)


# -- types -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mha", "nrrd", "MHA", "NRRD", "NHDR", "Mhd"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_whole_numbers_of_every_type_are_read_as_grey_levels(tmp_path, ending, dtype):
    values = (SMALL // 2).astype(dtype) * (1 if dtype[1] == "1" else 100)
    write_meta(tmp_path / f"a.{ending.lower()}", values)
    path = (tmp_path / f"a.{ending.lower()}").rename(tmp_path / f"a.{ending}")
    got = pixels_of(path)
    assert np.array_equal(got, values)
    assert got.dtype == (np.uint8 if dtype[1] == "1" else np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes_is_read(tmp_path, order):
    values = (SMALL.astype(np.uint16) * 200).astype(order + "u2")
    (tmp_path / "a.mha").write_bytes(
        meta_header(ElementType="MET_USHORT", BinaryDataByteOrderMSB=str(order == ">")) + values.tobytes()
    )
    (tmp_path / "a.nrrd").write_bytes(
        nrrd_header(type="uint16", endian="big" if order == ">" else "little") + values.tobytes()
    )
    for path in (tmp_path / "a.mha", tmp_path / "a.nrrd"):
        assert np.array_equal(pixels_of(path), values)
        assert np.array_equal(by_simpleitk(path), values)


@pytest.mark.parametrize(("value", "said"), [(-1, "negative"), (65536, "whole numbers"), (0.5, "whole numbers")])
def test_values_that_are_no_grey_levels_are_refused_with_their_frame(tmp_path, value, said):
    values = SMALL.astype(np.float32)
    values[2, 0, 0] = value
    with pytest.raises(InputError, match=f"frame 2 has .*{said}"):
        pixels_of(write_meta(tmp_path / "a.mha", values))


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_transparent_parts_are_black(tmp_path, ending):
    rgba = np.full((2, 5, 6, 4), 200, np.uint8)
    rgba[..., 3] = 255
    rgba[:, 0, :, 3] = 0
    got = pixels_of(write_meta(tmp_path / f"a.{ending}", rgba, vector=True))
    assert got.shape == (2, 5, 6, 3)
    assert got[:, 0].max() == 0
    assert got[:, 1:].min() == 200


def test_two_values_for_each_pixel_are_refused(tmp_path):
    with pytest.raises(InputError, match="2 values for each pixel"):
        open_source(write_meta(tmp_path / "a.mha", np.zeros((2, 5, 6, 2), np.uint8), vector=True))


# -- axes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_a_sequence_of_slicer_has_its_list_axis_first(tmp_path, encoding):
    stored = np.ascontiguousarray(SMALL.transpose(1, 2, 0)).tobytes()
    header = nrrd_header(
        (4, 6, 5, 1),
        [("axis 0 index type", "numeric"), ("axis 0 index unit", "s"), ("axis 0 index values", "3 3.5 4.5 4.75")],
        space="left-posterior-superior",
        kinds="list domain domain domain",
        space_directions="none (0.2,0,0) (0,0,0.1) (0,1,0)",
        encoding=encoding,
    )
    path = tmp_path / "a.seq.nrrd"
    path.write_bytes(header + (gzip.compress(stored) if encoding == "gzip" else stored))
    source = open_source(path)
    assert source.info.spacing == Spacing(0.2, 0.1)
    got = list(source.frames())
    assert np.array_equal([f.pixels for f in got], SMALL)
    assert np.array_equal(by_simpleitk(path)[0].transpose(2, 0, 1), SMALL)  # it takes the list as values of a pixel
    assert [f.time_s for f in got] == [0.0, 0.5, 1.5, 1.75]
    assert [f.index for f in source.frames(2)] == [2, 3]
    source.close()
    assert np.array_equal(next(iter(source.frames(3))).pixels, SMALL[3])


@pytest.mark.parametrize(
    ("kinds", "order"),
    [
        ("domain domain list", "tyx"),
        ("domain domain time", "tyx"),
        ("list domain domain", "yxt"),
        ("domain list domain", "ytx"),
        ("vector domain domain list", "tyxc"),
        ("RGB-color domain list domain", "ytxc"),
        ("list vector domain domain", "yxct"),
        ("domain domain vector list", "tcyx"),
        ("vector domain domain domain list", "tzyxc"),
        ("???  domain ???", "tyx"),
    ],
)
def test_pictures_are_found_wherever_their_axes_are(tmp_path, kinds, order):
    colour = "c" in order
    frames = np.random.default_rng(1).integers(0, 255, (4, 5, 6, 3) if colour else (4, 5, 6), dtype=np.uint8)
    axes = frames[:, None] if "z" in order else frames
    names = ("tzyx" if "z" in order else "tyx") + ("c" if colour else "")
    stored = axes.transpose([names.index(name) for name in order])
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_header(stored.shape[::-1], kinds=kinds) + stored.tobytes())
    assert np.array_equal(pixels_of(path), frames)


def test_a_tracked_sequence_of_plus_in_nrrd_has_times_and_poses(tmp_path):
    pairs = [("ultrasound image orientation", "UNA")]
    for i in range(4):
        pairs += [
            (f"Seq_Frame{i:04d}_Timestamp", 100 + i * i),
            (f"Seq_Frame{i:04d}_ImageToReferenceTransform", f"1 0 0 {i} 0 1 0 0 0 0 1 0 0 0 0 1"),
            (f"Seq_Frame{i:04d}_ImageToReferenceTransformStatus", "OK"),
            (f"Seq_Frame{i:04d}_Status", "INVALID" if i == 0 else "OK"),
        ]
    path = tmp_path / "a.igs.nrrd"
    path.write_bytes(nrrd_header((6, 5, 1, 4), pairs, kinds="domain domain domain list") + SMALL.tobytes())
    got = list(open_source(path).frames())
    assert np.array_equal([f.pixels for f in got], SMALL[1:, ::-1, ::-1])
    assert [f.time_s for f in got] == [0.0, 3.0, 8.0]
    assert [f.T_world_image[0, 3] for f in got] == [1.0, 2.0, 3.0]


def test_a_volume_a_line_and_an_axis_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    for size, kinds, said in [
        ((6, 5, 2, 2), "domain domain domain list", "volume"),
        ((6, 20), "domain list", "no pictures"),
        ((6, 5, 4), "domain domain covariant-vector", "covariant-vector"),
    ]:
        path.write_bytes(nrrd_header(size, kinds=kinds) + SMALL.tobytes())
        with pytest.raises(InputError, match=said):
            open_source(path)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"spacings": "0.2 0.1 nan"}, Spacing(0.2, 0.1)),
        ({"spacings": "-0.2 0.1 nan"}, Spacing(0.2, 0.1)),
        ({"spacings": "0.02 0.01 1", "units": '"cm" "cm" "s"'}, Spacing(0.2, 0.1)),
        ({"spacings": "0.2 0.1 1", "units": '"pixel" "pixel" "s"'}, None),
        ({"spacings": "1 1 1"}, None),
        ({"spacings": "0 inf 1"}, None),
        ({}, None),
        ({"space_directions": "(0,0.0002,0) (0,0,-0.0001) none", "space_units": '"m" "m" "m"'}, Spacing(0.2, 0.1)),
    ],
)
def test_the_scale_of_an_nrrd_file_is_in_millimetres_or_unknown(tmp_path, fields, wanted):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_header(**fields) + SMALL.tobytes())
    got = open_source(path).info.spacing
    assert (got is None) == (wanted is None)
    if wanted is not None:
        np.testing.assert_allclose((got.x_mm, got.y_mm), (wanted.x_mm, wanted.y_mm))


# -- orientation, status and times of PLUS ---------------------------------------------------------------------


def as_stored(frames, orientation):
    """The statement of PLUS' letters: what x and what y of the stored picture run along."""
    x, y = orientation[0].upper(), orientation[1].upper()
    if x in "FN":
        frames, x, y = frames.swapaxes(1, 2), y, x
        frames = frames[:, ::-1] if x == "U" else frames
        return frames[:, :, ::-1] if y == "N" else frames
    frames = frames[:, :, ::-1] if x == "U" else frames
    return frames[:, ::-1] if y == "N" else frames


@pytest.mark.parametrize("orientation", ["MF", "UF", "MN", "UNA", "FM", "FUD", "NMA", "nu", "Mfa", "XX"])
@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_every_orientation_is_turned_to_marked_and_far(tmp_path, orientation, ending):
    frames = pictures(3)
    stored = frames if orientation == "XX" else as_stored(frames, orientation)
    key = "UltrasoundImageOrientation" if ending == "mha" else "ultrasoundimageorientation"
    path = write_meta(tmp_path / f"a.{ending}", np.ascontiguousarray(stored), **{key: orientation})
    source = open_source(path)
    assert np.array_equal([f.pixels for f in source.frames()], frames)
    turned = orientation[0].upper() in "FN"
    assert source.info.spacing == (Spacing(0.1, 0.2) if turned else Spacing(0.2, 0.1))
    assert source.info.size_px == (64, 48)


@pytest.mark.parametrize("orientation", ["AMF", "MM", "F", "up"])
def test_an_orientation_that_is_not_known_is_refused(tmp_path, orientation):
    path = write_meta(tmp_path / "a.mha", pictures(2), UltrasoundImageOrientation=orientation)
    with pytest.raises(InputError, match="UltrasoundImageOrientation"):
        open_source(path)


def test_radio_frequency_lines_are_no_pictures(tmp_path):
    path = write_meta(tmp_path / "a.mha", pictures(2), UltrasoundImageType="RF_REAL")
    with pytest.raises(InputError, match="radio-frequency"):
        open_source(path)


def test_frames_that_the_file_calls_invalid_are_left_out_and_counted(tmp_path):
    keys = {f"Seq_Frame{i:04d}_ImageStatus": "SKIPPED" if i in (0, 3) else "OK" for i in range(8)}
    keys |= {f"Seq_Frame{i:04d}_Timestamp": str(10 + i) for i in range(8)}
    path = write_meta(tmp_path / "a.mha", pictures(8), compress=True, **keys)
    source = open_source(path)
    assert source.info.frames == 6
    (note,) = source.info.notes
    assert note.startswith("2 of 8 frames are left out")
    got = list(source.frames())
    assert np.array_equal([f.pixels for f in got], pictures(8)[[1, 2, 4, 5, 6, 7]])
    assert [f.index for f in got] == list(range(6))
    assert [f.time_s for f in got] == [0.0, 1.0, 3.0, 4.0, 5.0, 6.0]
    assert len(track(path, spacing_mm=0.2, method="df", angle_deg=(20, 60), enters="left")) == 6


def test_a_file_without_one_valid_frame_is_refused(tmp_path):
    keys = {f"Seq_Frame{i:04d}_ImageStatus": "INVALID" for i in range(2)}
    with pytest.raises(InputError, match="2 of 2 frames"):
        open_source(write_meta(tmp_path / "a.mha", pictures(2), **keys))


def test_a_frame_without_a_time_lies_between_its_neighbours(tmp_path):
    keys = {f"Seq_Frame{i:04d}_Timestamp": str(t) for i, t in [(0, 5.0), (1, 5.1), (3, 5.5)]}
    got = open_source(write_meta(tmp_path / "a.mha", pictures(4), **keys)).frames()
    np.testing.assert_allclose([f.time_s for f in got], [0.0, 0.1, 0.3, 0.5], atol=1e-9)


@pytest.mark.parametrize(
    ("times", "said"), [("1 x", "frame 1"), ("1 nan", "frame 1"), ("1 1e300", "frame 1"), ("2 1", "earlier")]
)
def test_a_time_that_is_none_is_refused(tmp_path, times, said):
    keys = {f"Seq_Frame{i:04d}_Timestamp": t for i, t in enumerate(times.split())}
    with pytest.raises(InputError, match=said):
        open_source(write_meta(tmp_path / "a.mha", pictures(2), **keys))


def test_index_values_that_are_no_times_are_not_taken_for_times(tmp_path):
    path = tmp_path / "a.nrrd"
    values = ("axis 2 index values", "1000 2000 3000 4000")
    for unit, wanted in [("ms", [0.0, 1.0, 2.0, 3.0]), ("mm", [0.0, 0.05, 0.1, 0.15])]:
        path.write_bytes(nrrd_header(pairs=[values, ("axis 2 index unit", unit)]) + SMALL.tobytes())
        np.testing.assert_allclose([f.time_s for f in open_source(path).frames()], wanted)


def test_a_matrix_that_is_none_is_refused(tmp_path):
    keys = {"Seq_Frame0001_ImageToReferenceTransform": "1 0 0 x 0 1 0 0 0 0 1 0 0 0 0 1"}
    with pytest.raises(InputError, match="ImageToReferenceTransform of frame 1"):
        pixels_of(write_meta(tmp_path / "a.mha", pictures(2), **keys))


@pytest.mark.parametrize("name", ["USTC_3NWires_ProbeTranslation", "BkCurvilinearScanConvertedData"])
def test_real_sequences_of_plus_are_read_as_simpleitk_reads_them(real_data, name):
    path = real_data / "plus-sequences" / f"{name}.igs.mha"
    want = by_simpleitk(path)
    want = want.reshape(-1, *want.shape[-2:])
    assert all(np.array_equal(f.pixels, w) for f, w in zip(open_source(path).frames(), want, strict=True))


# -- nothing beyond bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.raw", "sub/../../secret.raw", "link.raw", "linked/x.raw"])
@pytest.mark.parametrize("kind", ["mhd", "nhdr", "list"])
def test_pixels_outside_the_folder_of_the_header_are_not_read(tmp_path, name, kind):
    folder = tmp_path / "clip"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(SMALL.tobytes())
    (tmp_path / "x.raw").write_bytes(SMALL.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    (folder / "linked").symlink_to(tmp_path)
    path = folder / ("a.nhdr" if kind == "nhdr" else "a.mhd")
    listed = meta_header("LIST") + f"{name}\n".encode()
    path.write_bytes({"mhd": meta_header(name), "nhdr": nrrd_header(data_file=name), "list": listed}[kind])
    with pytest.raises(InputError, match="outside its folder"):
        open_source(path)


def test_pixels_in_a_folder_below_or_behind_a_link_within_are_read(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.raw").write_bytes(SMALL.tobytes())
    (tmp_path / "link.raw").symlink_to(tmp_path / "sub" / "a.raw")
    path = tmp_path / "a.mhd"
    for name in ("sub/a.raw", "./sub/a.raw", "link.raw"):
        path.write_bytes(meta_header(name))
        assert np.array_equal(pixels_of(path), SMALL)


@pytest.mark.parametrize("name", [".", "sub", "a\0b", "x" * 5000])
def test_a_name_that_is_no_file_is_refused(tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.mhd").write_bytes(meta_header(name))
    with pytest.raises(InputError, match="keeps its pixels in") as e:
        open_source(tmp_path / "a.mhd")
    assert len(str(e.value)) < 300


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((30000, 30000, 4), "pixels in a frame"),
        ((6, 5, 4_000_000_000), "frames"),
        ((6, 5, 0), "no pictures"),
        ((6, 5, -4), "DimSize is '-4'"),
        ((1,) * 200_000, "NDims is '200000'"),
    ],
)
def test_a_header_that_asks_for_too_much_is_refused_at_once(tmp_path, size, said):
    path = tmp_path / "a.mha"
    path.write_bytes(meta_header(size=size) + SMALL.tobytes())
    tracemalloc.start()
    with pytest.raises(InputError, match=said):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_limit_can_be_raised_and_lowered(tmp_path, monkeypatch):
    path = write_meta(tmp_path / "a.mha", pictures(5))
    for variable in ("FRAMES", "FRAME_PX", "FRAME_BYTES", "HEADER_BYTES"):
        variable = f"SONOSTEER_MAX_{variable}"
        monkeypatch.setenv(variable, "4")
        with pytest.raises(InputError, match=f"set {variable} to raise that"):
            open_source(path)
        monkeypatch.setenv(variable, "4000")
        assert open_source(path).info.frames == 5
        monkeypatch.setenv(variable, "many")
        with pytest.raises(InputError, match=f"{variable} is 'many'"):
            open_source(path)
        monkeypatch.delenv(variable)


def test_frames_to_sort_have_a_limit(tmp_path, monkeypatch):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_header(kinds="list domain domain") + SMALL.tobytes())
    monkeypatch.setenv("SONOSTEER_MAX_SORTED_BYTES", "119")
    with pytest.raises(InputError, match="bytes of frames to sort"):
        pixels_of(path)
    monkeypatch.setenv("SONOSTEER_MAX_SORTED_BYTES", "120")
    assert len(pixels_of(path)) == 6


def test_a_bomb_of_zeros_is_unpacked_piece_by_piece(tmp_path):
    size = (1000, 1000, 50)
    for packed, pack in (("gzip", gzip.compress), ("bzip2", bz2.compress)):
        path = tmp_path / f"{packed}.nrrd"
        path.write_bytes(nrrd_header(size, encoding=packed) + pack(bytes(50_000_000)))
        tracemalloc.start()
        assert sum(1 for _ in open_source(path).frames()) == 50
        assert tracemalloc.get_traced_memory()[1] < 15e6
        tracemalloc.stop()


@pytest.mark.parametrize("packing", ["zlib", "text", "hex"])
def test_damaged_values_end_the_clip_where_they_are_damaged(tmp_path, packing):
    if packing == "hex":
        path = tmp_path / "a.nrrd"
        path.write_bytes(nrrd_header(encoding="hex") + SMALL[:2].tobytes().hex().encode() + b"xyz")
    else:
        path = tmp_path / "a.mha"
        data = zlib.compress(SMALL.tobytes()) if packing == "zlib" else " ".join(map(str, SMALL.ravel())).encode()
        fields = {"CompressedData": "True"} if packing == "zlib" else {"BinaryData": "False"}
        path.write_bytes(meta_header(**fields) + data[: len(data) // 2] + (b"" if packing == "zlib" else b" 256 "))
    with pytest.raises(InputError, match=r"ends early: \d of 4 frames"):
        list(open_source(path).frames())
