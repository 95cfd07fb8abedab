"""One self-contained page about an insertion: outcome, speed and visibility over time, pictures, settings."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonosteer.recording.tables import writing_failed
from sonosteer.viz.report import PAGE_STYLE, RgbPicture, figure, thumb

SHADE_CAPTION = "Shaded: held by the gate. Visibility: the tracker's own word; the gate and the policy see no truth."
SHEET = "Green: the tip as tracked; yellow: target and 5 mm around it; blue cross: the true tip."


def write_insertion_report(
    path: Path, title: str, summary: Mapping[str, Any], svg: str, sheet: Sequence[tuple[str, RgbPicture]]
) -> None:
    """Write the page. Raises InputError if the disk is full."""
    rows = [(k, summary[k]) for k in ("success", "reason", "final_error_mm", "time_s", "tracking_hz", "action_hz")]
    rows += [(f"frames {k}", v) for k, v in summary["counts"].items() if not isinstance(v, Mapping)]
    rows += [(f"refused: {k}", v) for k, v in summary["refused"].items()]
    for stage, t in summary["timing"].items():
        rows.append(
            (f"capture to {stage}, ms", f"p50 {t['median_ms']:.1f}, p95 {t['p95_ms']:.1f}, p99 {t['p99_ms']:.1f}")
        )
    cells = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows)
    body = [
        f"<h1>{html.escape(title)}</h1>",
        '<p class="soft">A simulated insertion. Research software, not a medical device: '
        "not for clinical decisions.</p>",
        f"<table>{cells}</table>",
        "<h2>Speed and visibility</h2>" + figure(svg, SHADE_CAPTION) if svg else "",
        '<h2 class="film">Overlay</h2><video controls muted loop src="overlay.mp4"></video>' if sheet else "",
        f'<h2>Pictures</h2><p class="soft">{SHEET}</p><div class="sheet">{"".join(map(thumb, sheet))}</div>',
        f"<h2>Settings</h2><details><summary>summary.json</summary><pre>"
        f"{html.escape(json.dumps(summary, indent=2))}</pre></details>",
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{PAGE_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as e:
        raise writing_failed(path, e, "the other results are kept") from None
