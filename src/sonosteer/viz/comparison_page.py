"""One page about several methods on several clips: tables, success and error plots, paired differences, film strip."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from sonosteer.metrics.clip_scores import MIN_CLIPS, SILENCE_COST, WRONG_PX, ClipScore
from sonosteer.viz.page import figure, html_page, page_head, state_bar, table

HOW = (
    "An error is the distance of the tip from the mark. A mark's own uncertainty costs nothing. The cost of a frame "
    f"is its error as part of 5 % of the longer side, at most 1. Silence costs {SILENCE_COST:g} where a tip can be "
    "seen. A claim where there is no needle costs 1. Intervals are 95 %, by drawing whole clips again."
)
NO_MARKS = (
    "Nobody marked these clips. So there are no errors: the table says what each method claims, and how often two of "
    "them agree. Methods that agree may be wrong together."
)
STRIP = "Each row holds the worst claims of one method. A white cross is the mark. Below, each method's error."


def render_comparison(
    figures: Mapping[str, Any], scores: Mapping[str, Sequence[ClipScore]], *, marked: bool, strip: str | None
) -> str:
    """The page as text. figures: as compare.json holds them. strip: name of the film strip's file, None without one."""
    from sonosteer.viz import comparison_plots as plots

    clips = len({row["clip"] for row in figures["clips"]})
    title = f"{len(figures['methods'])} methods on {clips} clip{'' if clips == 1 else 's'}"
    notes = [HOW if marked else NO_MARKS]
    if clips < MIN_CLIPS:
        notes.append(f"There are no intervals: they need {MIN_CLIPS} clips or more.")
    body = [*page_head(title, _verdict(figures, marked=marked), notes), _left_out(figures["left_out"])]
    body += ["<h2>Methods</h2>", _methods(figures["methods"], marked=marked)]
    for heading, drawn, caption in (
        ("Success", plots.success_plot(scores), "A frame without a claim is a miss. Dotted: the cap of the cost."),
        ("Errors", plots.error_plot(scores), "Of the frames in which a method names a place and a mark does, too."),
        ("Clips", plots.cost_by_clip(scores), "What is better on every clip is better by more than chance."),
    ):
        if drawn:
            body.append(f"<h2>{heading}</h2>{figure(drawn, caption)}")
    if len(figures["methods"]) > 1:
        body += ["<h2>Two by two</h2>", _pairs(figures["pairs"], marked=marked)]
    if strip is not None:
        picture = f'<img class="strip" alt="worst frames of each method" src="{html.escape(strip)}">'
        image = f'<div class="scroll">{picture}</div>'
        body.append(f"<h2>Worst frames</h2><figure>{image}<figcaption>{STRIP}</figcaption></figure>")
    body += ["<h2>Each clip</h2>", _clips(figures["clips"])]
    body.append(
        '<p class="soft">For a spreadsheet: <a href="compare.csv">compare.csv</a>. Everything: '
        '<a href="compare.json">compare.json</a>.</p>'
    )
    return html_page(title, body)


def _verdict(figures: Mapping[str, Any], *, marked: bool) -> str:
    known = [row for row in figures["methods"] if row["mean_cost"] is not None]
    if not marked or not known:
        return "What the methods claim of these clips, and where they agree."
    best = min(known, key=lambda row: row["mean_cost"])
    found = "" if best["found"] is None else f", finds {100 * best['found']:.0f} % of the tips that can be seen"
    wrong = best["wrong_while_tracking"]
    return (
        f"{best['method']} has the lowest cost, {best['mean_cost']:.3f}{found} within {WRONG_PX:g} px, and is wrong in "
        f"{wrong} of {best['tracking']} frames that it calls tracking."
    )


def _left_out(left_out: Mapping[str, str]) -> str:
    lines = "".join(f'<li class="why">{html.escape(why)}</li>' for why in left_out.values())
    return f"<p>{len(left_out)} clips could not be read:</p><ul>{lines}</ul>" if left_out else ""


def _methods(rows: Sequence[Mapping[str, Any]], *, marked: bool) -> str:
    head = ["method", "told", "tracking, coasting, lost"]
    if marked:
        head += ["cost", "95 %", "found", "median px", "median mm", "within 15 px", "wrong while tracking"]
    head.append("ms a frame")
    lines = []
    for row in rows:
        line = [f"<b>{html.escape(row['method'])}</b>", html.escape(row["given"]), _states(row)]
        if marked:
            line += [
                _number(row["mean_cost"], 3),
                _interval(row["mean_cost_by_clip_ci95"], 3),
                "-" if row["found"] is None else f"{100 * row['found']:.0f} %",
                _number(row["median_px"], 1),
                _number(row["median_mm"], 2),
                f"{row['within']['15']} of {row['marked']}",
                str(row["wrong_while_tracking"]),
            ]
        line.append(_number(row["median_ms"], 1))
        lines.append(line)
    return table(head, lines, numbers=range(3, len(head)))


def _pairs(pairs: Sequence[Mapping[str, Any]], *, marked: bool) -> str:
    head = ["a", "b", *(["cost of a minus b", "95 %"] if marked else []), "both claim", "of these agree"]
    lines = []
    for p in pairs:
        line = [html.escape(p["a"]), html.escape(p["b"])]
        if marked:
            line += [
                _number(p["mean_cost_by_clip_difference"], 3),
                _interval(p["mean_cost_by_clip_difference_ci95"], 3),
            ]
        line += [str(p["both_claim"]), "-" if p["agree"] is None else f"{100 * p['agree']:.0f} %"]
        lines.append(line)
    return table(head, lines, numbers=range(2, len(head)))


def _clips(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("clip", "method", "tracking, coasting, lost", "cost", "median px", "ms a frame")
    lines = []
    for row in rows:
        why = f'<span class="why">{html.escape(row["broke"])}</span>' if row["broke"] else ""
        lines.append(
            (
                html.escape(row["clip"]),
                html.escape(row["method"]) + why,
                _states(row),
                _number(row["mean_cost"], 3),
                _number(row["median_px"], 1),
                _number(row["median_ms"], 1),
            )
        )
    return table(head, lines, numbers=(3, 4, 5))


def _states(row: Mapping[str, Any]) -> str:
    return f"{state_bar(row)}<span>{row['tracking']}, {row['coasting']}, {row['lost']}</span>"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(value: Sequence[float] | None, digits: int) -> str:
    return "-" if value is None else f"{value[0]:.{digits}f} to {value[1]:.{digits}f}"
