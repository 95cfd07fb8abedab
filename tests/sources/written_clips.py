"""Clips that each format's own library has written."""

import shutil
import subprocess

import av
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813


def pictures(n=30, h=48, w=64, dtype=np.uint8):
    """Frames that carry their own number: a bright block whose place and grey tell the index."""
    top = np.iinfo(dtype).max
    out = np.full((n, h, w), top // 8, dtype)
    for i in range(n):
        out[i, 8:40, 2 * (i % 28) : 2 * (i % 28) + 8] = top // 2 + (top // 100) * (i % 30)
    return out


def write_video(
    path, frames, codec="libx264", rate=30, gop=12, bf=0, times=None, color_range=None, pix="yuv420p", **kw
):
    with av.open(str(path), "w") as c:
        options = {"crf": "10", "g": str(gop), "bf": str(bf)} if codec == "libx264" else {}
        s = c.add_stream(codec, rate=rate, options=options)
        s.height, s.width, s.pix_fmt = *frames.shape[1:3], pix
        if color_range:
            s.codec_context.color_range = color_range
        c.metadata.update(kw)
        for i, f in enumerate(frames):
            v = av.VideoFrame.from_ndarray(f, format="gray" if f.ndim == 2 else "rgb24")
            if color_range:
                if f.ndim == 2:
                    v.color_range = color_range
                v = v.reformat(format=pix, dst_color_range=color_range)
                v.color_range = color_range
            v.pts = i if times is None else times[i]
            c.mux(s.encode(v))
        c.mux(s.encode(None))
    return path


def write_meta(path, frames, *, compress=False, spacing=(0.2, 0.1, 1.0), vector=False, **keys):
    image = sitk.GetImageFromArray(frames, isVector=vector)
    image.SetSpacing(spacing)
    for k, v in keys.items():
        image.SetMetaData(k, v)
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


def run_ffmpeg(*arguments):
    """Run ffmpeg, or skip the test where it is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed: apt-get install ffmpeg")
    subprocess.run([program, "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def ffmpeg_clip(path, frames, *arguments, rate=25):
    """Write grey frames with ffmpeg. arguments: of its output, such as the codec."""
    raw = path.with_name(path.name + ".gray")
    raw.write_bytes(frames.tobytes())
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    run_ffmpeg("-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", rate, "-i", raw, *arguments, path)
    raw.unlink()
    return path


def shown_by_ffmpeg(path, size):
    """(n, rows, columns): the frames of a video as ffmpeg shows them. size: (columns, rows) that are expected."""
    raw = path.with_name(path.name + ".shown")
    run_ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", raw)
    return np.frombuffer(raw.read_bytes(), np.uint8).reshape(-1, size[1], size[0])


def meta_header(data="LOCAL", size=(6, 5, 4), **fields):
    """The header of a MetaImage file. A field that is None is left out."""
    said = {
        "ObjectType": "Image",
        "NDims": len(size),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "DimSize": " ".join(map(str, size)),
        "ElementSpacing": " ".join(["0.2", "0.1", "1", "1"][: len(size)]),
        "ElementType": "MET_UCHAR",
    } | fields
    lines = [f"{name} = {value}\n" for name, value in said.items() if value is not None]
    return "".join([*lines, f"ElementDataFile = {data}\n"]).encode()


def nrrd_header(size=(6, 5, 4), pairs=(), **fields):
    """The header of an NRRD file, with a line end behind. Words of a field's name are joined by _ here."""
    said = {
        "type": "unsigned char",
        "dimension": len(size),
        "sizes": " ".join(map(str, size)),
        "encoding": "raw",
    } | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{name}: {value}\n" for name, value in said.items() if value is not None]
    return "".join(["NRRD0004\n", *lines, *(f"{name}:={value}\n" for name, value in pairs), "\n"]).encode()
