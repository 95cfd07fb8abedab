"""One page about a track measured against marks: figures by state, errors over time, detection curve, worst frames."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.types import Truth
from sonosteer.metrics.clip_scores import STATES, WRONG_PX, ClipScore
from sonosteer.metrics.tip_error import TipErrors
from sonosteer.recording.tips import TipRow
from sonosteer.viz.page import figure, html_page, page_head, table, tiles, write_page

WORST = 12  # chosen: as many as one looks up by hand
#: figures of a state: key without its unit -> what it is
FIGURES = {"mean": "mean error", "median": "median", "p95": "95th percentile", "max": "largest", "sd": "deviation"}


def write_evaluation_report(
    path: Path,
    title: str,
    *,
    tips: Sequence[TipRow],
    truths: Sequence[Truth],
    errors: TipErrors,
    score: ClipScore,
    numbers: Mapping[str, Any],
) -> None:
    """Write the page. numbers: as evaluation.json holds them. Raises InputError if the disk is full."""
    from sonosteer.viz import plots
    from sonosteer.viz.comparison_plots import detection_plot

    unit = "mm" if numbers["mean_mm"] is not None else "px"
    body = [*page_head(title, _verdict(numbers, unit)), tiles(_cells(numbers, score, unit))]
    body += ["<h2>By state</h2>", _by_state(numbers["by_state"], unit)]
    if len(errors.frame):
        body.append("<h2>Error over time</h2>" + figure(plots.error_over_time(tips, errors), OVER_TIME))
    drawn = detection_plot(score)
    if drawn:
        body.append("<h2>Detection</h2>" + figure(drawn, DETECTION))
    body.append(_worst(score, {t.frame_index: t for t in truths}))
    write_page(path, html_page(title, body))


OVER_TIME = "Positive along: the needle is inserted farther than estimated. Red shade: lost."
DETECTION = "A frame without an estimate is a miss. An error within what the mark may be off counts as none."


def _verdict(numbers: Mapping[str, Any], unit: str) -> str:
    text = f"Of {numbers['frames']} frames with a mark {numbers['tracked']} have an estimate"
    if numbers[f"mean_{unit}"] is not None:
        text += f", off by {numbers[f'mean_{unit}']:.2f} {unit} on average"
    interval = numbers[f"mean_ci95_{unit}"]
    if interval is not None:
        text += f" (95 % interval {interval[0]:.2f} to {interval[1]:.2f})"
    return f"{text}. {numbers['lost']} are lost. {numbers['wrong_while_tracking']} are wrong while tracking."


def _cells(numbers: Mapping[str, Any], score: ClipScore, unit: str) -> list[tuple[str, str, str]]:
    n = max(len(score.frame), 1)
    cells: list[tuple[str, str, str]] = [(f"{100 * int((score.state == s).sum()) / n:.0f} %", s, s) for s in STATES]
    for key, what in ((f"median_{unit}", "median error"), (f"p95_{unit}", "95 % below")):
        if numbers[key] is not None:
            cells.append((f"{numbers[key]:.2f} {unit}", what, ""))
    if numbers["found"] is not None:
        cells.append((f"{100 * numbers['found']:.0f} %", f"tips found within {WRONG_PX:g} px", ""))
    if numbers["within_uncertainty"] is not None:
        cells.append((f"{100 * numbers['within_uncertainty']:.0f} %", "within the mark's uncertainty", ""))
    if numbers["coverage_95"] is not None:
        cells.append((f"{100 * numbers['coverage_95']:.0f} %", "mark in the 95 % ellipse", ""))
    return cells


def _by_state(states: Mapping[str, Mapping[str, Any]], unit: str) -> str:
    known = [s for s in STATES if states[s]["frames"]]
    rows = [["frames with a mark", *(str(states[s]["frames"]) for s in known)]]
    for key, what in FIGURES.items():
        values = [states[s].get(f"{key}_{unit}") for s in known]
        rows.append([f"{what} ({unit})", *("-" if v is None else f"{v:.2f}" for v in values)])
    return table(["", *known], rows, numbers=range(1, len(known) + 1))


def _worst(score: ClipScore, marks: Mapping[int, Truth]) -> str:
    """The frames with the largest errors beyond what their marks may be off."""
    cost = np.where(score.compared, score.beyond_px, -1.0)
    order = [int(i) for i in np.argsort(-cost, kind="stable")[:WORST] if cost[i] > 0]
    rows = []
    for i in order:
        off = marks[int(score.frame[i])].uncertainty_px
        sure = score.confidence[i]
        rows.append(
            [
                str(int(score.frame[i])),
                html.escape(str(score.state[i])),
                f"{score.error_px[i]:.1f}",
                "-" if off is None else f"{off:g}",
                "-" if np.isnan(sure) else f"{sure:.2f}",
            ]
        )
    if not rows:
        return ""
    head = ("frame", "state", "error (px)", "mark may be off (px)", "confidence")
    return "<h2>Worst frames</h2>" + table(head, rows, numbers=(0, 2, 3, 4))
