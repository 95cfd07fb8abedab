"""Open whatever the user names: by its ending, by what is inside, `sim:SETUP`, live, or a source of the user's own.

Live are `igtl://HOST:PORT[/DEVICE]` (OpenIGTLink) and `video:` with a device or a stream.

A source of one's own is named `package.module:Class[:WHAT]`. If an installed package declares NAME in the entry points
"sonosteer.sources", it is `NAME:WHAT`. It is made as `Class(WHAT)`, and given `spacing` and `seed` if its constructor
names them. Files that are not known here go to the first installed class whose `opens(path)` says True.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.plugins import accepted, construct, is_reference, naming
from sonosteer.core.protocols import Source
from sonosteer.core.registry import LazyTable
from sonosteer.sources.endings import ENDINGS
from sonosteer.sources.plugged_in import PluggedInSource, WithSpacing
from sonosteer.sources.poses import parse_poses

#: how addresses of live sources begin
LIVE = ("igtl:", "video:")
SOURCES = LazyTable(
    "kind of source",
    {
        "video": "sonosteer.sources.video:VideoFile",
        "images": "sonosteer.sources.images:ImageFolder",
        "metaimage": "sonosteer.sources.metaimage:MetaImageSequence",
        "dicom": "sonosteer.sources.dicom:DicomCine",
        "simulated": "sonosteer.sources.simulated:SimulatedSource",
        "igtlink": "sonosteer.sources.igtlink.source:OpenIGTLinkSource",
        "live-video": "sonosteer.sources.live_video:LiveVideo",
    },
    group="sonosteer.sources",
)


def kind_of(path: Path) -> str:
    """Kind of source behind a path. Raises InputError if it does not exist, is empty, or cannot be read."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        return "dicom" if _is_dicom_folder(path) else "images"
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    try:
        with path.open("rb") as f:
            head = f.read(132)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    if not head:
        raise InputError(f"{path} is empty (0 bytes)")
    ending = path.suffix.lower()
    for kind, endings in ENDINGS.items():
        if ending in endings:
            return kind
    if head[128:132] == b"DICM":
        return "dicom"
    known = ", ".join(sorted(set().union(*ENDINGS.values())))
    raise InputError(f"{path}: files ending in {ending!r} are not read; these are: {known}")


def _is_dicom_folder(path: Path) -> bool:
    """True for a folder that has DICOM files and no pictures."""
    try:
        pictures = any(p.suffix.lower() in ENDINGS["images"] and not p.name.startswith(".") for p in path.iterdir())
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from None
    if pictures:
        return False
    from sonosteer.sources.dicom import dicom_files_in

    return bool(dicom_files_in(path))


def is_live_address(where: str | Path) -> bool:
    """True for what `open_source` opens as a live source, by its first letters."""
    return str(where).startswith(LIVE)


def open_source(
    where: str | Path,
    *,
    spacing: Spacing | None = None,
    seed: int = 0,
    poses: str | None = None,
    keep_identity: bool = True,
    orientation: str | None = None,
) -> Source:
    """Open a clip: a file, a folder of pictures, `sim:SETUP`, a live source, or a source of your own.

    spacing: mm per px, overrides what the file says. seed: of `sim:SETUP`, and of plug-ins that take one. poses: the
    chain of transforms from Image to the world, such as "ImageToProbe=calibration.txt,ProbeToTracker", of tracked
    sequences. keep_identity: False blackens what a DICOM file says to be burned in (`sources/identity`), for pictures
    that are passed on. orientation: of OpenIGTLink, where x and y of the pictures point, as in MF. Raises InputError if
    nothing can open it.
    """
    text = str(where)
    chain = None if poses is None else parse_poses(poses)
    if orientation is not None and not text.startswith("igtl:"):
        raise InputError(f"{where}: `orientation` is for igtl:// only, other sources say it or have none")
    if is_live_address(text):
        if chain is not None:
            raise InputError(f"{where}: `poses` is for recorded sequences, a live picture brings its place with it")
        return _open_live(text, spacing, orientation)
    if text.startswith("sim:"):
        simulated: Callable[..., Source] = SOURCES.load("simulated")
        return simulated(text[4:], seed=seed)
    path = Path(where)
    scheme = None if path.exists() else _scheme(text)
    if scheme is not None:
        return _open_plugged_in(*scheme, spacing=spacing, seed=seed)
    try:
        kind = kind_of(path)
    except InputError:
        plugin = _plugin_for(path)
        if plugin is None:
            raise
        return _open_plugged_in(plugin, path, spacing=spacing, seed=seed)
    opener: Callable[..., Source] = SOURCES.load(kind)
    if chain is not None and kind != "metaimage":
        raise InputError(f"{path} has no poses: `poses` is for sequences of PLUS and 3D Slicer (.mha, .nrrd)")
    if kind == "metaimage":
        return opener(path, spacing=spacing, poses=chain)
    if kind == "dicom":
        return opener(path, spacing=spacing, keep_identity=keep_identity)
    return opener(path, spacing=spacing)


def _open_live(text: str, spacing: Spacing | None, orientation: str | None) -> Source:
    if text.startswith("igtl:"):
        from_scanner: Callable[..., Source] = SOURCES.load("igtlink")
        return from_scanner(text, spacing=spacing, orientation=orientation)
    from_card: Callable[..., Source] = SOURCES.load("live-video")
    return from_card(text.removeprefix("video:"), spacing=spacing)


def open_stills(where: Sequence[str | Path], *, spacing: Spacing | None = None) -> Source:
    """Open pictures that are to be tracked each on its own: folders of them, and picture files.

    spacing: mm per px of all of them. Raises InputError for what does not exist or is no picture, and if not one
    picture can be read.
    """
    from sonosteer.sources.images import StillPictures

    return StillPictures([Path(each) for each in where], spacing=spacing)


def _scheme(text: str) -> tuple[str, str] | None:
    """(name of the plug-in, what it is to open) if the text begins with a plug-in's name."""
    first, colon, rest = text.partition(":")
    if not colon:
        return None
    if first in SOURCES and first not in SOURCES.built_in:
        return first, rest
    second, _, what = rest.partition(":")
    reference = f"{first}:{second}"
    return (reference, what) if len(first) > 1 and is_reference(reference) else None  # C: is a drive


def _plugin_for(path: Path) -> str | None:
    """The first installed plug-in that says it opens this path."""
    if not path.exists():
        return None
    for name in SOURCES:
        if name in SOURCES.built_in:
            continue
        opens = getattr(SOURCES.load(name), "opens", None)
        if opens is not None:
            with naming(f"source {name}", "opens", opens):
                if opens(path):
                    return name
    return None


def _open_plugged_in(name: str, what: str | Path, *, spacing: Spacing | None, seed: int) -> Source:
    make = SOURCES.load(name)
    given = accepted(make, spacing=spacing, seed=seed)
    opened = construct(lambda: make(*([what] if what else []), **given), {}, f"source {name}")
    source: Source = PluggedInSource(opened, f"source {name}")
    return source if spacing is None or "spacing" in given else WithSpacing(source, spacing)
