"""MetaImage and NRRD sequences are written here by SimpleITK and read back through our source."""

import numpy as np
import pytest
from written_clips import pictures, write_meta

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.sources.opening import open_source


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
        keys[f"Seq_Frame{i:04d}_ProbeToTrackerTransform"] = f"1 0 0 {i} 0 1 0 0 0 0 1 0 0 0 0 1"
        keys[f"Seq_Frame{i:04d}_ProbeToTrackerTransformStatus"] = "OK" if i < 2 else "INVALID"
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
