"""What the studies' pages are made of: tables as HTML, CSV and Markdown, and the page around them."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonosteer.viz.report import STYLE


def html_page(title: str, body: Sequence[str]) -> str:
    """A self-contained page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>{STYLE} table.wide td, table.wide th {{ font-size: 12px; padding: 2px 7px; white-space: nowrap }} "
        "tr.theirs td { color: #8a8f98 } div.scroll { overflow-x: auto }</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def html_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys; those of the paper (method: paper) in grey."""
    if not rows:
        return "<p>nothing</p>"
    head = "".join(f"<th>{html.escape(str(k))}</th>" for k in rows[0])
    lines = []
    for row in rows:
        kind = ' class="theirs"' if row.get("method") == "paper" else ""
        cells = "".join(f"<td>{html.escape('' if v is None else str(v))}</td>" for v in row.values())
        lines.append(f"<tr{kind}>{cells}</tr>")
    return f'<div class="scroll"><table class="wide"><tr>{head}</tr>{"".join(lines)}</table></div>'


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the same keys as a CSV."""
    with path.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]) if rows else ["nothing"])
        writer.writeheader()
        writer.writerows(rows)


def markdown_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of a table; none for no rows."""
    if not rows:
        return []
    out = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    return out + ["| " + " | ".join("" if v is None else str(v) for v in r.values()) + " |" for r in rows]
