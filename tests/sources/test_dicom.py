import shutil
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, UltrasoundMultiFrameImageStorage

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import open_source


def cine(path, frames, *, region=None, syntax=None, photometric="MONOCHROME2", **fields):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UltrasoundMultiFrameImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.Modality, ds.PhotometricInterpretation = "US", photometric
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel = frames.shape[3] if frames.ndim == 4 else 1
    if frames.ndim == 4:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * frames.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    for name, value in fields.items():
        setattr(ds, name, value)
    if region is not None:
        item = Dataset()
        item.RegionSpatialFormat, item.RegionDataType = 1, 1
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX, item.PhysicalDeltaY = region
        for name, v in zip(("MinX0", "MinY0", "MaxX1", "MaxY1"), (0, 0, 63, 47), strict=True):
            setattr(item, f"RegionLocation{name}", v)
        ds.SequenceOfUltrasoundRegions = [item]
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OB" if frames.dtype == np.uint8 else "OW"
    if syntax is not None:
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 255, (6, 48, 64), dtype=np.uint8)


def test_a_calibrated_region_is_the_scale(tmp_path, frames):
    source = open_source(cine(tmp_path / "a.dcm", frames, region=(0.01, 0.012), FrameTime=40.0))
    assert source.info.spacing == Spacing(0.1, 0.12)
    assert source.info.frames == 6
    got = list(source.frames())
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=True))
    np.testing.assert_allclose([f.time_s for f in got], 0.04 * np.arange(6))
    assert [f.index for f in source.frames(2, 4)] == [2, 3]


def test_compressed_frames_are_decoded(tmp_path, frames):
    path = cine(tmp_path / "a.dcm", frames, syntax=RLELossless)
    got = list(open_source(path).frames(1, 5))
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames[1:5], strict=True))


def test_sixteen_bits_and_frame_times_of_their_own(tmp_path):
    deep = np.random.default_rng(0).integers(0, 4095, (3, 20, 30)).astype(np.uint16)
    path = cine(tmp_path / "a.dcm", deep, BitsStored=12, HighBit=11, FrameTimeVector=[0.0, 50.0, 70.0])
    got = list(open_source(path).frames())
    assert np.array_equal(got[1].pixels, deep[1])
    assert got[1].full_scale == 4095
    np.testing.assert_allclose([f.time_s for f in got], [0.0, 0.05, 0.12])


def test_colour_and_inverted_grey(tmp_path):
    rgb = np.zeros((2, 20, 30, 3), np.uint8)
    rgb[..., 0] = 180
    first = next(iter(open_source(cine(tmp_path / "c.dcm", rgb, photometric="RGB")).frames()))
    assert tuple(first.pixels[0, 0]) == (180, 0, 0)
    grey = np.full((2, 20, 30), 10, np.uint8)
    first = next(iter(open_source(cine(tmp_path / "i.dcm", grey, photometric="MONOCHROME1")).frames()))
    assert first.pixels[0, 0] == 245


def test_pixel_spacing_is_taken_where_there_is_no_region(tmp_path, frames):
    assert open_source(cine(tmp_path / "a.dcm", frames, PixelSpacing=[0.3, 0.2])).info.spacing == Spacing(0.2, 0.3)
    assert open_source(cine(tmp_path / "b.dcm", frames)).info.spacing is None


def test_a_file_without_pictures_is_named(tmp_path, frames):
    path = cine(tmp_path / "a.dcm", frames)
    import pydicom

    ds = pydicom.dcmread(path)
    del ds.Rows, ds.Columns, ds.PixelData
    ds.save_as(path)
    with pytest.raises(InputError, match="holds no pictures"):
        open_source(path)


def test_cut_off_pixel_data_is_named(tmp_path, frames):
    path = cine(tmp_path / "a.dcm", frames)
    path.write_bytes(path.read_bytes()[:-8000])
    with pytest.raises(InputError, match="frames could be read"):
        list(open_source(path).frames())


# -- scale -----------------------------------------------------------------------------------------------------


def region(delta=(0.02, 0.02), box=(0, 0, 63, 47), **fields):
    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    if delta is not None:
        item.PhysicalDeltaX, item.PhysicalDeltaY = delta
    if box is not None:
        for name, v in zip(("MinX0", "MinY0", "MaxX1", "MaxY1"), box, strict=True):
            setattr(item, f"RegionLocation{name}", v)
    for name, value in fields.items():
        setattr(item, name, value)
    return item


@pytest.mark.parametrize(
    "half_filled",
    [
        region(None),
        region((None, None)),
        region((0.0, 0.0)),
        region((0.02, None)),
        region(RegionDataType=3),
        region(PhysicalUnitsXDirection=4),
        region(PhysicalUnitsXDirection=None),
        Dataset(),
    ],
)
def test_a_region_that_says_no_scale_is_passed_over(tmp_path, frames, half_filled):
    said = {"SequenceOfUltrasoundRegions": [half_filled], "PixelSpacing": [0.2, 0.2]}
    assert open_source(cine(tmp_path / "a.dcm", frames, **said)).info.spacing == Spacing(0.2, 0.2)
    said["PixelSpacing"] = None
    assert open_source(cine(tmp_path / "b.dcm", frames, **said)).info.spacing is None


def test_the_scale_is_that_of_the_largest_region(tmp_path, frames):
    small, large = region((0.2, 0.2), (0, 0, 9, 9)), region((0.01, 0.02), (10, 0, 63, 47))
    for i, regions in enumerate(([small, large], [large, small], [region((0.3, 0.3), None), large])):
        info = open_source(cine(tmp_path / f"{i}.dcm", frames, SequenceOfUltrasoundRegions=regions)).info
        assert info.spacing == Spacing(0.1, 0.2)
        (note,) = info.notes
        assert "that of the largest is taken" in note


def test_regions_that_agree_need_no_word(tmp_path, frames):
    regions = [region((0.02001, -0.02), (0, 0, 30, 47)), region(box=(31, 0, 63, 47))]
    info = open_source(cine(tmp_path / "a.dcm", frames, SequenceOfUltrasoundRegions=regions)).info
    assert info.spacing == Spacing(0.2, 0.2)
    assert info.notes == ()


def test_two_large_regions_that_disagree_leave_the_scale_unknown(tmp_path, frames):
    regions = [region((0.02, 0.02), (0, 0, 31, 47)), region((0.03, 0.03), (32, 0, 5000, 47))]
    path = cine(tmp_path / "a.dcm", frames, SequenceOfUltrasoundRegions=regions)
    info = open_source(path).info
    assert info.spacing is None
    assert "0.2 x 0.2 mm and 0.3 x 0.3 mm" in info.notes[0]
    assert open_source(path, spacing=Spacing(0.3, 0.3)).info.notes == ()


def measures(*spacings):
    groups = []
    for spacing in spacings:
        measure, group = Dataset(), Dataset()
        measure.PixelSpacing = list(spacing)
        group.PixelMeasuresSequence = [measure]
        groups.append(group)
    return groups


def test_enhanced_files_keep_the_scale_in_their_groups(tmp_path, frames):
    shared = cine(tmp_path / "a.dcm", frames, SharedFunctionalGroupsSequence=measures((0.3, 0.2)))
    each = cine(tmp_path / "b.dcm", frames, PerFrameFunctionalGroupsSequence=measures(*[(0.3, 0.2)] * 6))
    varied = cine(tmp_path / "c.dcm", frames, PerFrameFunctionalGroupsSequence=measures(*[(0.3, 0.2), (0.1, 0.1)] * 3))
    assert open_source(shared).info.spacing == open_source(each).info.spacing == Spacing(0.2, 0.3)
    assert open_source(varied).info.spacing is None
    assert "different scales" in open_source(varied).info.notes[0]


@pytest.mark.parametrize("damaged", [["0", "0"], ["-0.2", "0.2"], ["1e9", "1e9"], ["0.2"]])
def test_a_pixel_spacing_that_is_none_is_no_scale(tmp_path, frames, damaged):
    assert open_source(cine(tmp_path / "a.dcm", frames, PixelSpacing=damaged)).info.spacing is None


# -- times -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "step_s"),
    [
        ({"FrameTimeVector": [0] * 6, "FrameTime": 40}, 0.04),
        ({"FrameTimeVector": [0, 30, 30, -1, 30, 30], "FrameTime": 40}, 0.04),
        ({"FrameTimeVector": [0, 30], "FrameTime": 40}, 0.04),
        ({"FrameTimeVector": [0] + [30] * 5, "FrameTime": 50, "FrameIncrementPointer": [0x00181063]}, 0.05),
        ({"FrameTimeVector": [0] + [30] * 5, "FrameTime": 50, "FrameIncrementPointer": [0x00181065]}, 0.03),
        ({"FrameTimeVector": [0] + [30] * 5, "FrameTime": -1, "FrameIncrementPointer": [0x00181063]}, 0.03),
        ({"FrameTime": -40, "CineRate": 25}, 0.04),
        ({"FrameTime": 0, "CineRate": 0, "RecommendedDisplayFrameRate": 10}, 0.1),
        ({"FrameTime": None, "CineRate": None, "ActualFrameDuration": 20}, 0.02),
        ({"FrameTime": "1e-300"}, 0.05),
        ({}, 0.05),
    ],
)
def test_times_come_from_the_first_field_that_says_times(tmp_path, frames, fields, step_s):
    got = list(open_source(cine(tmp_path / "a.dcm", frames, **fields)).frames())
    np.testing.assert_allclose([f.time_s for f in got], step_s * np.arange(6))


# -- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "allocated"), [(8, 8), (8, 16), (10, 16), (12, 16), (16, 16)])
@pytest.mark.parametrize("inverted", [False, True])
def test_values_with_a_sign_begin_at_the_lowest(tmp_path, frames, stored, allocated, inverted):
    levels = frames.astype(np.int64) << (stored - 8)
    values = (levels - (1 << (stored - 1))).astype(f"i{allocated // 8}")
    path = cine(
        tmp_path / "a.dcm",
        values,
        photometric="MONOCHROME1" if inverted else "MONOCHROME2",
        PixelRepresentation=1,
        BitsStored=stored,
        HighBit=stored - 1,
    )
    top = (1 << stored) - 1
    for got, want in zip(open_source(path).frames(), levels, strict=True):
        assert np.array_equal(got.pixels, top - want if inverted else want)
        assert got.full_scale == top


def test_bits_may_lie_at_the_upper_end_beside_bits_of_others(tmp_path, frames):
    values = (frames.astype(np.uint16) << 8) | 0x5A
    path = cine(tmp_path / "a.dcm", values, BitsStored=8, HighBit=15)
    assert all(np.array_equal(f.pixels, w) for f, w in zip(open_source(path).frames(), frames, strict=True))


@pytest.mark.parametrize(("slope", "inverted"), [(2, False), (-1, True), (0, False)])
def test_a_falling_rescale_slope_inverts(tmp_path, frames, slope, inverted):
    path = cine(tmp_path / "a.dcm", frames, RescaleSlope=slope, RescaleIntercept=-1024)
    got = next(iter(open_source(path).frames()))
    assert np.array_equal(got.pixels, 255 - frames[0] if inverted else frames[0])


def ybr_of(rgb):
    """(brightness, two differences) of RGB, full range (PS3.3 C.7.6.3.1.2)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return rgb @ matrix.T + [0, 128, 128]


@pytest.mark.parametrize("kind", ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "RGB"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colours_come_back_as_rgb_in_every_frame(tmp_path, kind, planar):
    if planar and kind.endswith("422"):
        pytest.skip("DICOM has no such pictures")
    rgb = np.random.default_rng(0).integers(40, 200, (4, 10, 6, 3)).repeat(2, axis=2).astype(np.uint8)
    values = rgb.astype(float)
    if kind != "RGB":
        values = ybr_of(values)
    if kind == "YBR_PARTIAL_422":
        values = (values - [0, 128, 128]) * [219 / 255, 224 / 255, 224 / 255] + [16, 128, 128]
    values = np.rint(values).astype(np.uint8)
    path = cine(tmp_path / "a.dcm", values, photometric=kind, PlanarConfiguration=planar)
    import pydicom

    ds = pydicom.dcmread(path)
    if kind.endswith("422"):
        ds.PixelData = np.stack(
            [values[:, :, 0::2, 0], values[:, :, 1::2, 0], values[:, :, 0::2, 1], values[:, :, 0::2, 2]], -1
        ).tobytes()
    elif planar:
        ds.PixelData = np.moveaxis(values, 3, 1).tobytes()
    ds.save_as(path)
    for got, want in zip(open_source(path).frames(), rgb, strict=True):
        assert np.abs(got.pixels.astype(int) - want).max() <= 2


def test_palette_colour_becomes_rgb(tmp_path, frames):
    tables = {}
    for k, name in enumerate(("Red", "Green", "Blue")):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = (np.arange(256, dtype="<u2") * (k + 1) * 20).tobytes()
    path = cine(tmp_path / "a.dcm", frames, photometric="PALETTE COLOR", **tables)
    got = list(open_source(path).frames())
    assert np.array_equal(got[3].pixels[..., 2], frames[3].astype(np.uint16) * 60)
    assert got[3].full_scale == 65535


@pytest.mark.parametrize(("photometric", "samples"), [("HSV", 3), ("CMYK", 4), ("MONOCHROME2", 3), ("RGB", 1)])
def test_colours_of_other_kinds_are_refused(tmp_path, frames, photometric, samples):
    path = cine(tmp_path / "a.dcm", frames, photometric=photometric, SamplesPerPixel=samples)
    with pytest.raises(InputError, match="values per pixel of kind") as e:
        list(open_source(path).frames())
    assert "\n" not in str(e.value)


# -- limits and damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "variable"),
    [({"NumberOfFrames": 2_000_000_000}, "SONOSTEER_MAX_FRAMES"), ({"Rows": 30000, "Columns": 30000}, "MAX_FRAME_PX")],
)
def test_a_header_that_asks_for_too_much_is_refused(tmp_path, frames, fields, variable):
    with pytest.raises(InputError, match=variable):
        open_source(cine(tmp_path / "a.dcm", frames, **fields))


def test_a_limit_can_be_raised(tmp_path, frames, monkeypatch):
    monkeypatch.setenv("SONOSTEER_MAX_FRAMES", "5")
    path = cine(tmp_path / "a.dcm", frames)
    with pytest.raises(InputError, match=r"says it has 6 frames: 5 are read at most"):
        open_source(path)
    monkeypatch.setenv("SONOSTEER_MAX_FRAMES", "6")
    assert open_source(path).info.frames == 6


@pytest.mark.parametrize(
    "fields", [{"NumberOfFrames": -3}, {"Rows": 0}, {"BitsAllocated": 32}, {"BitsStored": 99}, {"BitsStored": 65535}]
)
def test_absurd_fields_are_one_line(tmp_path, frames, fields):
    path = cine(tmp_path / "a.dcm", frames, **fields)
    with pytest.raises(InputError) as e:
        list(open_source(path).frames())
    assert "\n" not in str(e.value)


def test_an_unknown_codec_is_named(tmp_path, frames):
    path = cine(tmp_path / "a.dcm", frames, syntax=RLELossless)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.9"))
    with pytest.raises(InputError, match=r"a\.dcm") as e:
        list(open_source(path).frames())
    assert "\n" not in str(e.value)


def test_sequences_nested_without_end_are_one_line(tmp_path, frames):
    path = cine(tmp_path / "a.dcm", frames)
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x02\x00US")
    nested = (b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20000
    path.write_bytes(data[:at] + nested + data[at:])
    with pytest.raises(InputError) as e:
        list(open_source(path).frames())
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 500


# -- folders ---------------------------------------------------------------------------------------------------


def slices(folder, frames, **fields):
    folder.mkdir()
    for i, each in enumerate(frames):
        own = {k: v(i) if callable(v) else v for k, v in fields.items()}
        said = {"SeriesInstanceUID": "1.2.3", "InstanceNumber": i + 1} | own
        cine(folder / f"IM{(7 * i) % 97:04d}", each[None], **said)
    return folder


def test_a_folder_of_dicom_files_is_a_clip_in_the_order_of_its_numbers(tmp_path, frames):
    folder = slices(tmp_path / "a", frames, FrameTime=40, PixelSpacing=[0.3, 0.2])
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "._IM0000").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("not a picture")
    source = open_source(folder)
    got = list(source.frames())
    assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=True))
    np.testing.assert_allclose([f.time_s for f in got], 0.04 * np.arange(6))
    assert source.info.spacing == Spacing(0.2, 0.3)
    assert [f.index for f in source.frames(2, 4)] == [2, 3]


def test_files_of_a_folder_have_the_times_of_their_clocks(tmp_path, frames):
    folder = slices(tmp_path / "a", frames, AcquisitionDateTime=lambda i: f"20260131120059.{100 * i + 7:03d}")
    np.testing.assert_allclose([f.time_s for f in open_source(folder).frames()], 0.1 * np.arange(6), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"SeriesInstanceUID": lambda i: f"1.2.{i // 3 + 1}"}, "2 DICOM series"),
        ({"BitsStored": lambda i: 8 - i // 3, "HighBit": 7}, "2 sizes or depths"),
    ],
)
def test_a_folder_of_several_clips_is_refused(tmp_path, frames, fields, said):
    with pytest.raises(InputError, match=said):
        open_source(slices(tmp_path / "a", frames, **fields))


def test_a_folder_with_a_cine_among_others_is_refused_and_a_cine_alone_is_opened(tmp_path, frames):
    folder = tmp_path / "a"
    folder.mkdir()
    cine(folder / "a.dcm", frames)
    assert open_source(folder).info.frames == 6
    cine(folder / "b.dcm", frames)
    with pytest.raises(InputError, match=r"is a clip itself: name one file"):
        open_source(folder)


def test_a_folder_of_pictures_and_dicom_files_is_refused(tmp_path, frames):
    import cv2

    cine(tmp_path / "a.dcm", frames)
    cv2.imwrite(str(tmp_path / "a.png"), frames[0])
    with pytest.raises(InputError, match=r"holds pictures and DICOM files, such as a\.dcm"):
        open_source(tmp_path)


# -- files of other tools --------------------------------------------------------------------------------------


def run_dcmtk(program, *arguments):
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install dcmtk")
    subprocess.run([found, *map(str, arguments)], check=True, capture_output=True)


def test_a_series_that_simpleitk_wrote_is_read(tmp_path, frames):
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for i, each in enumerate(frames):
        image = sitk.GetImageFromArray(each.astype(np.int16) - 100)
        image.SetSpacing((0.2, 0.3))
        image.SetMetaData("0020|0013", str(i + 1))
        image.SetMetaData("0020|000e", "1.2.3")
        image.SetMetaData("0028|0030", "0.3\\0.2")
        writer.SetFileName(str(tmp_path / f"{9 - i}.dcm"))
        writer.Execute(image)
    source = open_source(tmp_path)
    got = list(source.frames())
    assert source.info.spacing == Spacing(0.2, 0.3)
    assert all(
        np.array_equal(f.pixels.astype(int) - 32768, w.astype(int) - 100) for f, w in zip(got, frames, strict=True)
    )


@pytest.mark.parametrize("option", ["+e1", "+eb", "+s4", "+s2"])
def test_colour_that_dcmtk_compressed_is_read(tmp_path, option):
    """Lossless, baseline, and with colours shared by four or two pixels."""
    y, x = np.mgrid[0:48, 0:64]
    rgb = np.stack([x * 3, y * 4, 255 - x * 2], -1).astype(np.uint8)
    rgb = np.stack([rgb, rgb[::-1], rgb[:, ::-1]])
    plain = cine(tmp_path / "a.dcm", rgb, photometric="RGB", region=(0.02, 0.02))
    how = {"+s4": ("+eb", "+s4"), "+s2": ("+eb", "+s2")}.get(option, (option,))
    run_dcmtk("dcmcjpeg", *how, plain, tmp_path / "b.dcm")
    for got, want in zip(open_source(tmp_path / "b.dcm").frames(), rgb, strict=True):
        assert np.abs(got.pixels.astype(int) - want).mean() < 4


def test_files_that_dcmtk_packed_as_a_whole_are_read(tmp_path, frames):
    plain = cine(tmp_path / "a.dcm", frames, FrameTime=40)
    for i, option in enumerate(("+td", "+tb", "+ti")):  # deflated, big endian, implicit
        run_dcmtk("dcmconv", option, plain, tmp_path / f"{i}.dcm")
        got = list(open_source(tmp_path / f"{i}.dcm").frames())
        assert all(np.array_equal(f.pixels, want) for f, want in zip(got, frames, strict=True))


def test_deep_pictures_that_dcmtk_compressed_are_read(tmp_path, frames):
    deep = frames.astype(np.uint16) * 16
    plain = cine(tmp_path / "a.dcm", deep, BitsStored=12, HighBit=11)
    run_dcmtk("dcmcjpls", plain, tmp_path / "b.dcm")
    run_dcmtk("dcmconv", "+tb", plain, tmp_path / "c.dcm")
    for name in ("b.dcm", "c.dcm"):
        got = list(open_source(tmp_path / name).frames())
        assert all(np.array_equal(f.pixels, want) for f, want in zip(got, deep, strict=True))
