"""Every kind of source keeps the laws of `sonosteer.testing`."""

import av
import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from sonosteer.core.geometry import Spacing
from sonosteer.episodes.tracking import simulate
from sonosteer.sources.in_memory import frames_of_array
from sonosteer.sources.opening import SOURCES, open_source
from sonosteer.testing import check_source

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


#: they have no end, and have laws of their own in tests/sources
LIVE = ("igtlink", "live-video")


@pytest.mark.parametrize("kind", [k for k in SOURCES if k not in ("dicom", *LIVE)])
def test_a_source_keeps_the_laws(kind, tmp_path):
    check_source(open_source(MAKERS[kind](tmp_path)))


def test_frames_in_memory_keep_the_laws():
    check_source(frames_of_array(pictures(), spacing=Spacing(0.1, 0.1), rate_hz=20.0))


def test_a_simulated_clip_keeps_the_laws():
    check_source(simulate("in-plane-linear", width_px=64, height_px=64, looks=1, frames=slice(0, 60)))
