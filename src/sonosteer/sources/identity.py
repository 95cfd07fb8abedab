"""Keeps names of patients out of what is passed on: reports, overlays, data sets, markups.

Nothing of a DICOM file's identity is ever written on purpose. Two ways remain, and both are closed here unless a person
asks for them (`keep_identity`):

* **Pixels.** Names may be burned into the pictures. DICOM's tag Burned In Annotation (0028,0301) says YES, NO or
  nothing. If it says YES, all that lies outside of the ultrasound regions of the file (PS3.3 C.8.5.5) is blackened. If
  the file has no regions, it is refused. If the tag is missing, a line warns, and the pictures are as they are.
* **Paths.** Folders and files are often named after a patient. A text that holds a word of the file's identity is
  withheld. A clip whose name holds one is called `clip-` and a part of a hash where it needs a name.

It is not more than that: a name inside of an ultrasound region stays, a wrong tag is believed, and files of other
formats do not say what is in them. Look at the pictures before you pass them on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.protocols import Source

WITHHELD = "withheld: it holds a word of the patient's identity"
MIN_WORD = 3  # chosen: shorter words, such as initials, are in every path
#: (left, top, right, bottom), px, all included
Region = tuple[int, int, int, int]
BURNED_IN = "names are burned into its pictures: all but the ultrasound regions is blackened"
MAY_BE_BURNED_IN = (
    "the file does not say whether names are burned into its pictures (Burned In Annotation is missing): look at them "
    "before you pass the results on"
)


def identity_words(source: Source) -> tuple[str, ...]:
    """Words of the identity that a source's file holds, lower case. Empty for all but DICOM."""
    words: tuple[str, ...] = getattr(source, "identity_words", ())
    return words


def words_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The words of names and numbers of a patient that are long enough to tell one, lower case."""
    found = {w.lower() for text in texts for w in re.findall(r"[^\W_]+", text)}
    return tuple(sorted(w for w in found if len(w) >= MIN_WORD))


def without_identity(value: Any, words: Sequence[str]) -> Any:
    """The same value with every text withheld that holds one of the words. Keys of mappings stay as they are."""
    if not words:
        return value
    if isinstance(value, str):
        lower = value.lower()
        return WITHHELD if any(w in lower for w in words) else value
    if isinstance(value, Mapping):
        return {k: without_identity(v, words) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_identity(v, words) for v in value]
    return value


def without_place(text: str, where: str, name: str, words: Sequence[str]) -> str:
    """A line about a clip, with its name in place of its path if the line holds one of the words.

    where: the clip as it was named. What holds a word all the same is withheld.
    """
    if without_identity(text, words) == text:
        return text
    for each in (where, str(Path(where)), Path(where).name):
        text = text.replace(each, name)
    told: str = without_identity(text, words)
    return told


def regions_of(regions: Sequence[Mapping[str, float | None]], size_px: tuple[int, int]) -> tuple[Region, ...]:
    """The parts of a picture that a DICOM file calls ultrasound regions, within its bounds."""
    out = []
    for region in regions:
        ends = [region.get(f"RegionLocation{n}") for n in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if any(e is None for e in ends):
            continue
        x_0, y_0, x_1, y_1 = (int(e) for e in ends if e is not None)
        x_0, y_0, x_1, y_1 = max(x_0, 0), max(y_0, 0), min(x_1, size_px[0] - 1), min(y_1, size_px[1] - 1)
        if x_1 > x_0 and y_1 > y_0:
            out.append((x_0, y_0, x_1, y_1))
    return tuple(out)


def blackened(pixels: NDArray[Any], regions: Sequence[Region]) -> NDArray[Any]:
    """A copy of a picture, black outside of the regions."""
    out = np.zeros_like(pixels)
    for left, top, right, bottom in regions:
        out[top : bottom + 1, left : right + 1] = pixels[top : bottom + 1, left : right + 1]
    return out
