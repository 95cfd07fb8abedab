"""File endings that sources read, by the kind of source."""

from __future__ import annotations

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
ENDINGS: dict[str, frozenset[str]] = {
    "video": frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}),
    "images": IMAGE_ENDINGS,
    "metaimage": frozenset({".mha", ".mhd", ".nrrd", ".nhdr"}),
    "dicom": frozenset({".dcm", ".dicom", ".ima"}),
}
