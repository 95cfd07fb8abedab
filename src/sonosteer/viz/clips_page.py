"""One page about many clips: a row for each with its picture, its states, its error, and why it failed if it did."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sonosteer.viz.page import html_page, page_head, state_bar, table, tiles, write_page


def write_clips_page(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    total: int,
    method: str,
    with_report: Collection[str],
    with_picture: Collection[str],
) -> None:
    """Write the page. rows: as in summary.csv, of the clips that are done or failed. total: how many there will be.

    with_report, with_picture: names of the clips whose folders have one. Raises InputError if the disk is full.
    """
    page = render_clips(rows, total=total, method=method, with_report=with_report, with_picture=with_picture)
    write_page(path, page, "the clips that are done are kept")


def render_clips(
    rows: Sequence[Mapping[str, Any]],
    *,
    total: int,
    method: str,
    with_report: Collection[str],
    with_picture: Collection[str],
) -> str:
    """The page as text. Arguments as `write_clips_page` takes them."""
    failed = [row for row in rows if row["outcome"] != "done"]
    done = len(rows) - len(failed)
    sentence = f"{done} of {total} clips are tracked"
    if failed:
        sentence += f", {len(failed)} could not be"
    if len(rows) < total:
        left = total - len(rows)
        sentence += f", {left} {'is' if left == 1 else 'are'} still to do: the same command goes on"
    counted = {s: sum(row[s] or 0 for row in rows) for s in ("tracking", "coasting", "lost")}
    frames = max(sum(counted.values()), 1)
    cells = [(f"{100 * n / frames:.0f} %", f"{state}: {n} frames", state) for state, n in counted.items()]
    unit = next((u for u in ("mm", "px") if any(row[f"mean_error_{u}"] is not None for row in rows)), None)
    head = ("", "clip", "tracking, coasting, lost", "frames", f"mean error ({unit})" if unit else "", "ms a frame")
    shown = [i for i, name in enumerate(head) if name or i == 0]
    lines = [_line(row, unit, row["name"] in with_report, row["name"] in with_picture) for row in rows]
    body = [
        *page_head(f"{total} clips by {method}", f"{sentence}."),
        tiles(cells),
        '<div class="clips">',
        table([head[i] for i in shown], [[line[i] for i in shown] for line in lines], numbers=(3, 4, 5)),
        "</div>",
        '<p class="soft">The same figures for a spreadsheet: <a href="summary.csv">summary.csv</a>.</p>',
    ]
    return html_page(f"{total} clips by {method}", body)


def _line(row: Mapping[str, Any], unit: str | None, reported: bool, pictured: bool) -> tuple[str, ...]:
    name, folder = html.escape(row["name"]), quote(row["name"])
    linked = f'<a href="{folder}/report.html">{name}</a>' if reported else f"<b>{name}</b>"
    source = f'<span class="soft path">{html.escape(row["source"])}</span>'
    why = f'<span class="why">{html.escape(row["why"])}</span>' if row["why"] else ""
    picture = f'<img class="small" alt="" loading="lazy" src="{folder}/picture.jpg">' if pictured else ""
    if row["frames"] is None:
        return picture, f"{linked}{source}{why}", "", "", "", ""
    said = ", ".join(str(row[s]) for s in ("tracking", "coasting", "lost"))
    error = row[f"mean_error_{unit}"] if unit else None
    return (
        picture,
        f"{linked}{source}{why}",
        f"{state_bar(row)}{_with_unit(said, 'tracking, coasting, lost')}",
        _with_unit(str(row["frames"]), "frames"),
        "" if error is None else _with_unit(f"{error:.2f}", f"{unit} off"),
        "" if row["median_ms"] is None else _with_unit(f"{row['median_ms']:.1f}", "ms a frame"),
    )


def _with_unit(number: str, unit: str) -> str:
    """A number with its unit, which shows where the page is too narrow for the table's head."""
    return f'{number}<span class="unit"> {unit}</span>'
