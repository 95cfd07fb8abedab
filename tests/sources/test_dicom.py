import numpy as np
import pytest
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
