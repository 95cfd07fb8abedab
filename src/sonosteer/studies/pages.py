"""The parts of a study's report: tables as HTML, CSV and Markdown, the page around them, the words of a quick run."""

from __future__ import annotations

import csv
import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from sonosteer.core.progress import StageProgress
from sonosteer.viz.page import html_page

#: a row of a table: title of the column -> what stands there
TableRow: TypeAlias = dict[str, Any]


def quick_words(trials: int) -> str:
    """What every page of a quick run says first."""
    return (
        f"Quick run with {trials} trial{'' if trials == 1 else 's'}: it shows that the study runs and proves nothing."
    )


def quick_facts(trials: int, *, quick: bool) -> dict[str, Any]:
    """What summary.json says more of a quick run. Empty for a full study."""
    return {"quick_run": quick_words(trials), "trials": trials} if quick else {}


def caption(text: str, quick: str) -> str:
    """A figure's caption, which says so if the run is quick. quick: `quick_words`, empty for a full study."""
    return f"Quick run, proves nothing. {text}".strip() if quick else text


@contextmanager
def writing(progress: StageProgress) -> Iterator[None]:
    """Announces the last stage of a study, so that a progress bar does not stand still while the report is written."""
    progress("writing the report", 0, 1)
    yield
    progress("writing the report", 1, 1)


def study_page(title: str, body: Sequence[str], quick: str = "") -> str:
    """A self-contained page of a study. quick: what a quick run says of itself, in the title and in the first line."""
    first = [f"<p><b>{html.escape(quick)}</b></p>"] if quick else []
    return html_page(f"Quick run: {title}" if quick else title, [*first, *body])


def markdown_head(title: str, quick: str = "") -> list[str]:
    """The first lines of a README.md. quick: what a quick run says of itself."""
    return [f"# Quick run: {title}", "", f"**{quick}**", ""] if quick else [f"# {title}", ""]


def html_table(rows: Sequence[TableRow]) -> str:
    """Rows with the same keys. Those of the paper (method: paper) are grey."""
    if not rows:
        return "<p>nothing</p>"
    head = "".join(f"<th>{html.escape(str(k))}</th>" for k in rows[0])
    lines = []
    for row in rows:
        kind = ' class="theirs"' if row.get("method") == "paper" else ""
        cells = "".join(f"<td>{html.escape('' if v is None else str(v))}</td>" for v in row.values())
        lines.append(f"<tr{kind}>{cells}</tr>")
    return f'<div class="scroll"><table class="wide"><tr>{head}</tr>{"".join(lines)}</table></div>'


def write_csv(path: Path, rows: Sequence[TableRow]) -> None:
    """Write rows with the same keys as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]) if rows else ["nothing"])
        writer.writeheader()
        writer.writerows(rows)


def markdown_table(rows: Sequence[TableRow]) -> list[str]:
    """The lines of a table. None for no rows."""
    if not rows:
        return []
    out = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    return out + ["| " + " | ".join("" if v is None else str(v) for v in r.values()) + " |" for r in rows]
