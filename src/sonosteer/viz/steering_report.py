"""One self-contained page about a steered insertion: how it ended, its figures, the path, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonosteer.viz.page import figure, folded, html_page, page_head, table, tiles, write_page

PATH = "The tip across the insertion axis over depth: true, as the controller was told, and the base's set-point."


def write_steering_report(path: Path, title: str, result: Mapping[str, Any], svg: str) -> None:
    """Write the page. Figures that nobody knows are left out.

    result: as summary.json holds it. svg: the figure of the path. Raises InputError if the disk is full.
    """
    said = (
        ("final_deflection_mm", ".2f", " mm", "off the target at the end"),
        ("mean_deflection_mm", ".2f", " mm", "mean deflection"),
        ("max_deflection_mm", ".2f", " mm", "largest deflection"),
        ("total_rotation_deg", ".0f", " deg", "rotation in all"),
        ("depth_mm", ".1f", " mm", "depth at the end"),
    )
    known = [(result[k], form, unit, what) for k, form, unit, what in said if result.get(k) is not None]
    refused = [(str(rule), str(n)) for rule, n in dict(result.get("refused") or {}).items()]
    body = [
        *page_head(title, f"The insertion ended: {result['ended']}. It is simulated."),
        tiles((f"{value:{form}}{unit}", what, "") for value, form, unit, what in known),
        "<h2>Path</h2>" + figure(svg, PATH),
        "<h2>Refused by the gate</h2>" + table(("rule", "actions"), refused, numbers=(1,)) if refused else "",
        "<h2>Settings and versions</h2>" + folded("summary.json", json.dumps(result, indent=2, default=str)),
    ]
    write_page(path, html_page(title, body))
