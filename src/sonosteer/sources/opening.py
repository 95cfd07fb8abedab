"""Open whatever the user names: by its ending, by what is inside, or `sim:SETUP`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import Source
from sonosteer.core.registry import LazyTable

SOURCES = LazyTable(
    "kind of source",
    {
        "video": "sonosteer.sources.video:VideoFile",
        "images": "sonosteer.sources.images:ImageFolder",
        "metaimage": "sonosteer.sources.metaimage:MetaImageSequence",
        "dicom": "sonosteer.sources.dicom:DicomCine",
        "simulated": "sonosteer.sources.simulated:SimulatedSource",
    },
)

VIDEO = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
METAIMAGE = {".mha", ".mhd", ".nrrd", ".nhdr"}
DICOM = {".dcm", ".dicom", ".ima"}


def kind_of(path: Path) -> str:
    """Kind of source behind a path. InputError if it does not exist, is empty, or is nothing we read."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        return "images"
    try:
        with path.open("rb") as f:
            head = f.read(132)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    if not head:
        raise InputError(f"{path} is empty (0 bytes)")
    ending = path.suffix.lower()
    for kind, endings in (("video", VIDEO), ("images", IMAGES), ("metaimage", METAIMAGE), ("dicom", DICOM)):
        if ending in endings:
            return kind
    if head[128:132] == b"DICM":
        return "dicom"
    known = ", ".join(sorted(VIDEO | IMAGES | METAIMAGE | DICOM))
    raise InputError(f"{path}: files ending in {ending!r} are not read; these are: {known}")


def open_source(where: str | Path, *, spacing: Spacing | None = None, seed: int = 0) -> Source:
    """Open a clip. `spacing` (mm per px) overrides what the file says; `seed` is for `sim:SETUP` only."""
    if str(where).startswith("sim:"):
        simulated: Callable[..., Source] = SOURCES.load("simulated")
        return simulated(str(where)[4:], seed=seed)
    path = Path(where)
    opener: Callable[..., Source] = SOURCES.load(kind_of(path))
    return opener(path, spacing=spacing)
