"""Whose names may be in clips that are tracked together: asked of each DICOM file before anything is named after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonosteer.core.errors import InputError
from sonosteer.sources.identity import BURNED_IN, MAY_BE_BURNED_IN, identity_words
from sonosteer.sources.opening import is_live_address, kind_of, open_source


@dataclass(frozen=True)
class ClipIdentity:
    """What a clip's file says of its patient, as far as it matters for what is passed on."""

    words: tuple[str, ...] = ()
    """Words of the identity, lower case. Empty for all but DICOM."""
    note: str = ""
    """Whether names are burned into its pictures. Empty where nothing is to be said."""


NOBODY = ClipIdentity()


def identity_of(where: str) -> ClipIdentity:
    """What a DICOM file or folder says of its patient. NOBODY for all else, and for what cannot be read."""
    if where.startswith("sim:") or is_live_address(where):
        return NOBODY
    try:
        if kind_of(Path(where)) != "dicom":
            return NOBODY
        source = open_source(where)
    except InputError:  # it is said when it is tracked
        return NOBODY
    try:
        said = open_source(where, keep_identity=False).info.notes
    except InputError:  # names are burned in, and nothing says where: it is refused when it is tracked
        said = ()
    note = next((n for n in said if n in (BURNED_IN, MAY_BE_BURNED_IN)), "")
    return ClipIdentity(identity_words(source), note)


def identities_of(sources: Sequence[str], *, keep: bool) -> dict[str, ClipIdentity]:
    """What each clip says of its patient. keep: nothing is to be withheld, so nobody is asked."""
    return {} if keep else {each: found for each in sources if (found := identity_of(each)) != NOBODY}


def identity_lines(sources: Sequence[str], names: Sequence[str], identities: Mapping[str, ClipIdentity]) -> list[str]:
    """What a person should know before the results are passed on, a line each."""
    out = []
    for note in (BURNED_IN, MAY_BE_BURNED_IN):
        told = [each for each in sources if identities.get(each, NOBODY).note == note]
        if told:
            out.append(f"{told[0]}{f' and {len(told) - 1} more' if len(told) > 1 else ''}: {note}")
    for each, name in zip(sources, names, strict=True):
        if name_is_withheld(each, identities):
            out.append(
                f"{each} is called {name} in the results: it is named after its patient; `keep_identity` keeps it"
            )
    return out


def name_is_withheld(where: str, identities: Mapping[str, ClipIdentity]) -> bool:
    """True for a clip whose own name holds a word of its patient's identity."""
    last = (Path(where).name or Path(where).resolve().name).lower()
    return any(word in last for word in identities.get(where, NOBODY).words)
