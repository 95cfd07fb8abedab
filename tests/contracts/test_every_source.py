"""Laws that every kind of source keeps."""

import av
import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sonosteer.sources.opening import SOURCES, open_source

N = 60


def pictures():
    rng = np.random.default_rng(0)
    return rng.integers(20, 230, (N, 40, 56), dtype=np.uint8)


def make_video(folder):
    path = folder / "a.mkv"
    with av.open(str(path), "w") as c:
        s = c.add_stream("ffv1", rate=20)
        s.width, s.height, s.pix_fmt = 56, 40, "gray"
        for i, p in enumerate(pictures()):
            f = av.VideoFrame.from_ndarray(p, format="gray")
            f.pts = i
            c.mux(s.encode(f))
        c.mux(s.encode(None))
    return path


def make_images(folder):
    for i, p in enumerate(pictures()):
        cv2.imwrite(str(folder / f"{i}.png"), p)
    return folder


def make_metaimage(folder):
    sitk.WriteImage(sitk.GetImageFromArray(pictures()), str(folder / "a.mha"), useCompression=True)
    return folder / "a.mha"


MAKERS = {
    "video": make_video,
    "images": make_images,
    "metaimage": make_metaimage,
    "simulated": lambda folder: "sim:in-plane-linear?speed_mm_s=10&end_mm=40&enters=left&angle_deg=35",
}


@pytest.fixture(scope="module", params=[k for k in SOURCES if k != "dicom"])
def source(request, tmp_path_factory):
    return open_source(MAKERS[request.param](tmp_path_factory.mktemp(request.param)))


def test_the_number_of_frames_is_what_was_said(source):
    frames = list(source.frames())
    assert len(frames) == source.info.frames
    assert [f.index for f in frames] == list(range(len(frames)))
    assert all(f.size_px == source.info.size_px for f in frames)


def test_time_goes_forward(source):
    times = [f.time_s for f in source.frames()]
    assert times[0] == 0
    assert np.all(np.diff(times) > 0)


def test_a_range_is_a_slice_of_the_whole(source):
    whole = [f.pixels for f in source.frames()]
    for start, stop in ((0, 3), (7, 12), (50, None), (20, 21)):
        part = [f.pixels for f in source.frames(start, stop)]
        assert len(part) == len(whole[start:stop])
        assert all(np.array_equal(a, b) for a, b in zip(part, whole[start:stop], strict=True))


def test_reading_twice_gives_the_same(source):
    a, b = ([f.pixels for f in source.frames(0, 5)] for _ in range(2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_frames_stay_as_they_were_while_others_are_read(source):
    frames = source.frames()
    first = next(frames)
    copy = first.pixels.copy()
    for _ in range(10):
        next(frames)
    assert np.array_equal(first.pixels, copy)
    assert not first.pixels.flags.writeable


def test_a_source_may_be_closed_twice(source):
    source.close()
    source.close()
