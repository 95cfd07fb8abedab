"""Whatever the user names is opened by its kind, or refused with one line."""

import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from written_clips import write_video

from sonosteer.core.errors import InputError
from sonosteer.sources.opening import kind_of, open_source


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.mp4", None, "does not exist"),
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"this is not a video\n" * 50, "not a video"),
        ("text.mha", b"this is not an image\n" * 50, "not a MetaImage"),
        ("text.png", b"this is not a picture\n" * 50, "not a picture"),
        ("text.dcm", b"this is not dicom\n" * 50, "not a DICOM"),
        ("clip.xyz", b"who knows", "are not read"),
    ],
)
def test_what_is_no_clip_is_refused_with_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as e:
        open_source(path)
    assert "\n" not in str(e.value)


def test_dicom_is_known_by_its_mark_too(tmp_path):
    path = tmp_path / "IM0001"
    path.write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 10)
    assert kind_of(path) == "dicom"


@pytest.mark.parametrize("kind", ["video", "mha", "zlib", "images"])
def test_memory_does_not_grow_with_the_length_of_the_clip(tmp_path, kind):
    h, w, n = 200, 300, 400
    noise = np.random.default_rng(0).integers(0, 255, (h, w), dtype=np.uint8)
    if kind == "video":
        path = write_video(tmp_path / "a.mp4", noise[None].repeat(n, 0))
    elif kind == "images":
        path = tmp_path / "clip"
        path.mkdir()
        for i in range(60):
            cv2.imwrite(str(path / f"{i}.png"), noise)
    else:
        path = tmp_path / "a.mha"
        data = noise.tobytes() * n
        header = f"ObjectType = Image\nNDims = 3\nDimSize = {w} {h} {n}\nElementSpacing = 0.1 0.1 1\n"
        header += "BinaryData = True\nBinaryDataByteOrderMSB = False\n"
        if kind == "zlib":
            data = zlib.compress(data)
            header += f"CompressedData = True\nCompressedDataSize = {len(data)}\n"
        header += "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        path.write_bytes(header.encode() + data)
        del data
    source = open_source(path)
    tracemalloc.start()
    count = sum(f.pixels[0, 0] >= 0 for f in source.frames())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == (60 if kind == "images" else n)
    assert peak < 20 * h * w


def test_the_real_recordings_open(real_data):
    stills = len(list((real_data / "needle-stills-ge").glob("*.png")))
    assert stills >= 3
    expected = {
        "needle-inplane-clarius/ph_1_3_1.mp4": (448, (1080, 860)),
        "plus-sequences/USTC_3NWires_ProbeTranslation.igs.mha": (159, (820, 616)),
        "plus-sequences/BkCurvilinearScanConvertedData.igs.mha": (1, (600, 400)),
        "needle-stills-ge": (stills, (1280, 960)),
        "needle-stills-ge/45.png": (1, (1280, 960)),
        "pocus/clarius-ocular-short.mp4": (50, (1280, 960)),
    }
    for name, (count, size) in expected.items():
        source = open_source(real_data / name)
        assert (source.info.frames, source.info.size_px) == (count, size)
        *_, last = source.frames(max(0, count - 2))
        assert last.index == count - 1
        assert last.grey().std() > 5


def test_opening_loads_no_reader_before_it_is_needed():
    import subprocess
    import sys

    code = "import sys, sonosteer.sources.opening; print({'cv2', 'av', 'SimpleITK', 'pydicom'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
