"""Several clips named at once: patterns filled in, a folder's name for each, the marks that belong to each."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.episodes.clip_identity import ClipIdentity, name_is_withheld
from sonosteer.sources.endings import ENDINGS
from sonosteer.sources.opening import LIVE

#: how tables of marks in a folder end, the first that there is counts
MARK_ENDINGS = (".csv", ".mrk.json", ".json", ".xml")
#: names below an output folder that are ours
TAKEN = frozenset({"index", "summary", "compare", "tips", "film-strip"})


def is_pattern(word: str) -> bool:
    """True for what reads like a quoted pattern of files, as "clips/*.mp4". Simulated and live ones are none."""
    return not word.startswith(("sim:", *LIVE)) and any(c in word for c in "*?[") and not Path(word).exists()


def named_sources(words: Sequence[str]) -> list[str]:
    """Fill in the patterns. Each source once, in the order given, those of a pattern in natural order.

    Raises InputError for a pattern that no file matches.
    """
    out: list[str] = []
    for word in words:
        found = [word]
        if is_pattern(word):
            found = sorted(glob.glob(word, recursive=True), key=natural_key)  # noqa: PTH207  Path.glob refuses absolute ones
            if not found:
                raise InputError(f"no file matches {word!r}")
        out += [each for each in found if each not in out]
    return out


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Key to sort by, with which clip2 stands before clip10."""
    parts = re.split(r"(\d+)", text.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def clip_names(sources: Sequence[str], identities: Mapping[str, ClipIdentity] | None = None) -> list[str]:
    """A name for each source, unlike all others also where case does not count, fit for a folder.

    It is the file's name without its ending. Where several have it, their endings stand behind it, then a part of the
    hash of their places. So a name does not hang on the order, and is the same the next time. identities: of
    `identities_of`. A clip that is named after its patient is called `clip-` and that hash.
    """
    hidden = [name_is_withheld(s, identities or {}) for s in sources]
    ends = [hashlib.sha256(_place(s).encode()).hexdigest()[:6] for s in sources]
    plain = [f"clip-{end}" if h else _slug(_stem(s)) for s, h, end in zip(sources, hidden, ends, strict=True)]
    whole = [f"clip-{end}" if h else _slug(_last(s)) for s, h, end in zip(sources, hidden, ends, strict=True)]
    hashed = [f"{p}-{end}" for p, end in zip(plain, ends, strict=True)]
    out: list[str] = []
    for names in zip(plain, whole, hashed, strict=True):
        for name, kind in zip(names, (plain, whole, hashed), strict=True):
            if Counter(n.lower() for n in kind)[name.lower()] == 1 and name.lower() not in TAKEN:
                break
        out.append(name)
    used = Counter(name.lower() for name in out)
    return [name if used[name.lower()] == 1 else h for name, h in zip(out, hashed, strict=True)]


def marks_of(sources: Sequence[str], names: Sequence[str], marks: Sequence[Path]) -> list[Path | None]:
    """The table of marks of each source: one for each in their order, or a folder with NAME.csv for some or all.

    None where there is none. NAME is the clip's, or its file's name without the ending. Marks of other programs end in
    one of MARK_ENDINGS. Raises InputError if their number is another, or a folder has no table of any of the clips.
    """
    if not marks:
        return [None] * len(sources)
    if len(marks) == 1 and marks[0].is_dir():
        found = [_in_folder(marks[0], (name, _stem(s))) for s, name in zip(sources, names, strict=True)]
        if not any(found):
            raise InputError(f"{marks[0]} has no table of marks of any clip: it would be called {names[0]}.csv")
        return found
    if len(marks) != len(sources):
        raise InputError(
            f"{len(marks)} tables of marks for {len(sources)} clips: give `truth` for each, or one folder with NAME.csv"
        )
    return list(marks)


def with_stills_together(sources: Sequence[str]) -> list[tuple[str, ...]]:
    """How stills are put together: each folder is one set of pictures, and all named files are one."""
    files = tuple(s for s in sources if Path(s).suffix.lower() in ENDINGS["images"] and not Path(s).is_dir())
    out: list[tuple[str, ...]] = []
    for each in sources:
        group = files if each in files else (each,)
        if group not in out:
            out.append(group)
    return out


def stamps_of(sources: Sequence[str]) -> Mapping[str, list[int]]:
    """Number of files, their bytes and the time of the newest in ns, of each source that is a file or a folder."""
    out = {}
    for each in sources:
        path = Path(each)
        try:
            files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path] if path.is_file() else []
            stats = [p.stat() for p in files]
        except OSError:
            continue
        if stats:
            out[each] = [len(stats), sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)]
    return out


def _in_folder(folder: Path, stems: Sequence[str]) -> Path | None:
    places = (folder / f"{stem}{ending}" for stem in stems for ending in MARK_ENDINGS)
    return next((path for path in places if path.is_file()), None)


def _last(source: str) -> str:
    if source.startswith("sim:"):
        return source[4:].partition("?")[0]
    return Path(source).name or Path(source).resolve().name


def _stem(source: str) -> str:
    """The name without its ending, or without two where the last is of a pair, as in a.igs.mha."""
    last = _last(source)
    if source.startswith("sim:") or Path(source).is_dir():
        return last
    return re.sub(r"\.(igs|nii|seq)$", "", Path(last).stem)


def _place(source: str) -> str:
    return source if source.startswith("sim:") else str(Path(source).absolute())


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:80] or "clip"
