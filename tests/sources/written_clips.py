"""Clips that each format's own library has written."""

import av
import numpy as np
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
