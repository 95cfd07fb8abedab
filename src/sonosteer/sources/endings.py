"""File endings that sources read, by the kind of source."""

from __future__ import annotations

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
# fmt: off
VIDEO_ENDINGS = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v",  # MPEG-4 and QuickTime
    ".avi", ".divx", ".mkv", ".webm", ".wmv", ".asf", ".flv", ".ogv", ".ogm", ".mxf", ".nut", ".rm", ".rmvb", ".wtv",
    ".mpg", ".mpeg", ".mpe", ".vob", ".ts", ".m2t", ".m2ts", ".mts",  # MPEG program and transport streams
    ".m1v", ".m2v", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".dv", ".ivf", ".obu",
    ".y4m", ".gif", ".apng",
})
# fmt: on
ENDINGS: dict[str, frozenset[str]] = {
    "video": VIDEO_ENDINGS,
    "images": IMAGE_ENDINGS,
    "metaimage": frozenset({".mha", ".mhd", ".nrrd", ".nhdr"}),
    "dicom": frozenset({".dcm", ".dicom", ".ima"}),
}
