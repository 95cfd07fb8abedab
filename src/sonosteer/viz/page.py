"""What all of our pages share: head, style, a rule for what they may load, tables, tiles, pictures, bars of states.

A page is one file. It loads nothing but pictures and videos beside it, and runs no script but its own. A rule in its
head holds it to that.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.recording.tables import writing_failed

RgbPicture: TypeAlias = NDArray[np.uint8]
#: captions and RGB pictures, (rows, columns, 3) levels 0 to 255
Sheet: TypeAlias = Sequence[tuple[str, RgbPicture]]
PAGE_STYLE = (resources.files("sonosteer.viz") / "report.css").read_text()
NOT_MEDICAL = "Research software, not a medical device: not for clinical decisions."
#: width of the pictures in a page, px
THUMB_PX = 420
#: colours that figures are drawn in -> the names under which a page in the dark has others
PLOT_INKS = {
    "#000000": "var(--ink)",
    "#9aa0a8": "var(--soft)",
    "#e4e6ea": "var(--line)",
    "#222222": "var(--ink)",
    "#0072b2": "var(--blue)",
}


def html_page(title: str, body: Iterable[str], script: str = "") -> str:
    """A page as text. script: JavaScript of its own, run when the page is there. Empty: none."""
    allowed = "default-src 'none'; img-src data: 'self' file:; media-src 'self' file:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed += f"; script-src 'sha256-{digest}'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{allowed}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{PAGE_STYLE}</style></head><body>{''.join(body)}"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def write_page(path: Path, text: str, kept: str = "the other results are kept") -> None:
    """Write a page: the old one stays, or the whole new one is there. Raises InputError if the disk is full."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise writing_failed(path, e, kept) from None


def page_head(title: str, sentence: str, notes: Iterable[str] = ()) -> list[str]:
    """Heading, what happened in one sentence, notes, and what this software is not."""
    return [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="verdict">{html.escape(sentence)}</p>',
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        f'<p class="soft">{NOT_MEDICAL}</p>',
    ]


def tiles(cells: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers side by side: (number, what it is, class of the tile or "")."""
    made = (
        f"<div{f' class={kind!r}' if kind else ''}><b>{html.escape(a)}</b><span>{html.escape(b)}</span></div>".replace(
            "'", '"'
        )
        for a, b, kind in cells
    )
    return f'<div class="numbers">{"".join(made)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table that scrolls by itself where the page is narrow. Cells are HTML. numbers: columns of numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        made = (f"<{tag}{' class=n' if i in numbers else ''}>{c}</{tag}>" for i, c in enumerate(cells))
        return f"<tr>{''.join(made)}</tr>".replace("class=n", 'class="n"')

    top = f"<thead>{line([html.escape(h) for h in head], 'th')}</thead>"
    return f'<div class="scroll"><table>{top}<tbody>{"".join(line(r, "td") for r in rows)}</tbody></table></div>'


def state_bar(counts: Mapping[str, int | None]) -> str:
    """A bar of the parts that are tracking, coasting and lost, with their numbers for who cannot see it."""
    numbers = {s: counts.get(s) or 0 for s in ("tracking", "coasting", "lost")}
    total = max(sum(numbers.values()), 1)
    said = ", ".join(f"{n} {s}" for s, n in numbers.items())
    x, parts = 0.0, []
    for state, n in numbers.items():
        width = 100 * n / total
        if n:
            parts.append(f'<rect class="{state}" x="{x:.2f}" y="0" width="{width:.2f}" height="8"></rect>')
        x += width
    return (
        f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{said}">'
        f"{''.join(parts)}</svg>"
    )


def figure(svg: str, caption: str) -> str:
    """A figure with its caption, empty for none. It takes on the colours of the page, so that the dark can be read."""
    for ink, name in PLOT_INKS.items():
        svg = svg.replace(f": {ink}", f": {name}")
    svg = svg.replace("fill: #ffffff", "fill: none")
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="plot">{svg}{words}</figure>'


def picture_data(picture: RgbPicture, width_px: int = THUMB_PX) -> bytes:
    """A small picture as JPEG, at most width_px wide."""
    k = min(1.0, width_px / picture.shape[1])
    small = cv2.resize(picture, None, fx=k, fy=k, interpolation=cv2.INTER_AREA) if k < 1 else picture
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return jpeg.tobytes()


def thumb(item: tuple[str, RgbPicture], at: int | None = None) -> str:
    """A small picture with its caption. at: number of the frame in the video, to which a click leads."""
    caption, picture = item
    data = base64.b64encode(picture_data(picture)).decode()
    text = html.escape(caption)
    image = f'<img alt="overlay of {text}" src="data:image/jpeg;base64,{data}">'
    mark = "" if at is None else f' data-frame="{at}" tabindex="0"'
    return f"<figure{mark}>{image}<figcaption>{text}</figcaption></figure>"


def write_picture(path: Path, picture: RgbPicture) -> None:
    """Write a small picture as JPEG. Raises InputError if the disk is full."""
    try:
        path.write_bytes(picture_data(picture))
    except OSError as e:
        raise writing_failed(path, e, "the other results are kept") from None


def folded(title: str, text: str) -> str:
    """Text that is folded away under its title."""
    return f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>"
