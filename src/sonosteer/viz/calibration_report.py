"""One self-contained page about a calibration: verdict, results, residuals with and without their own observation."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from sonosteer.calibration.verdict import amount
from sonosteer.recording.tables import writing_failed
from sonosteer.viz.page import figure, folded, html_page, page_head, tiles
from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, RED, _figure, _svg, standalone


@dataclass(frozen=True)
class CalibrationStory:
    """What a report tells of a calibration."""

    title: str
    """Heading of the page."""
    refused: Sequence[str]
    """Why it may not be used, a line each. Empty if it may."""
    found: Sequence[tuple[str, str]]
    """Results in words: (name, value with unit)."""
    notes: Sequence[str]
    """What to know of it, a line each."""
    check: Mapping[str, Any]
    """Numbers of the check, by their names in the file."""
    bounds: Mapping[str, Any]
    """What they were held to, by name."""
    labels: Sequence[int]
    """Number of the frame or row of each observation."""
    residual: NDArray[np.float64]
    """(n,) length of each residual, in the check's unit (mm)."""
    held_out: NDArray[np.float64]
    """(n,) the same, predicted without its own observation, in the check's unit (mm)."""
    used: NDArray[np.bool_]
    """(n,) whether it was used, no unit."""
    summary: Mapping[str, Any]
    """All of it, for the end of the page."""
    lag: Any = None
    """A LagFit to draw, None if there is none."""


def write_calibration_report(folder: Path, story: CalibrationStory) -> None:
    """Write report.html and residuals.svg. Raises InputError if the place cannot be written to."""
    svg = residual_plot(story)
    for name, text in (("residuals.svg", standalone(svg)), ("report.html", render_calibration(story, svg))):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as e:
            raise writing_failed(folder / name, e, "nothing was kept") from None


def render_calibration(story: CalibrationStory, svg: str) -> str:
    """The page as text."""
    check = story.check
    accepted = not story.refused
    verdict = (
        f"Accepted. {check['used']} of {check['observations']} observations agree within "
        f"{amount(check['rms'], check['unit'])} rms. The claimed error is {amount(check['sd'], check['sd_unit'])}."
        if accepted
        else "Refused. No calibration file was written."
    )
    refusals = (_sentence(line) for line in story.refused)
    body = [
        *page_head(story.title, verdict, [*refusals, *story.notes]),
        _tiles(story),
        "<h2>Result</h2>" + _table(story.found),
        "<h2>Residuals</h2>" + figure(svg, RESIDUAL_CAPTION),
        *(["<h2>Motion</h2>" + figure(lag_plot(story.lag), LAG_CAPTION)] if story.lag is not None else []),
        "<h2>Checks</h2>" + _checks(story),
        "<h2>All numbers</h2>" + folded("as --json prints them", json.dumps(story.summary, indent=2)),
    ]
    return html_page(story.title, body)


RESIDUAL_CAPTION = (
    "Left: distance of each observation from what the calibration says. Blue with, green without its own observation. "
    "A red cross was left out as wrong. Right: how they are spread. The dashed line is what is allowed, as rms."
)
LAG_CAPTION = (
    "Left: correlation of picture and robot for each lag. Right: the picture's motion (points) and the robot's, "
    "late by the lag found (line)."
)


def _sentence(line: str) -> str:
    """A line of a refusal as a sentence, its parameters spelled as options."""
    said = re.sub(r"`([a-z][a-z0-9_]*)`", lambda found: "--" + found[1].replace("_", "-"), line)
    return f"{said[:1].upper()}{said[1:]}."


def _tiles(story: CalibrationStory) -> str:
    c = story.check
    return tiles(
        [
            (amount(c["sd"], c["sd_unit"]), "claimed error", ""),
            (amount(c["jackknife_sd"], c["sd_unit"]), "the same by leaving out one observation after the other", ""),
            (amount(c["held_out_rms"], c["unit"]), "residual, rms, each without its own observation", ""),
            (f"{c['used']} of {c['observations']}", "observations used", ""),
            (f"{c['condition']:.3g}", "condition number", ""),
        ]
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return (
        "<table>"
        + "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
        + "</table>"
    )


def _checks(story: CalibrationStory) -> str:
    c, b = story.check, story.bounds
    used = c["used"] / c["observations"]
    ratio = c["jackknife_sd"] / max(c["sd"], 1e-12)
    rows = [
        (f"residual, rms ({c['unit']})", c["rms"], b["max_rms"], c["rms"] <= b["max_rms"], "at most"),
        (f"claimed error ({c['sd_unit']})", c["sd"], b["max_sd"], c["sd"] <= b["max_sd"], "at most"),
        ("error by leaving out / claimed error", ratio, b["max_jackknife"], ratio <= b["max_jackknife"], "at most"),
        ("condition number", c["condition"], b["max_condition"], c["condition"] <= b["max_condition"], "at most"),
        ("observations that agree", used, b["min_used"], used >= b["min_used"], "at least"),
    ]
    lines = ["<tr><th>check</th><th>is</th><th>allowed</th><th></th></tr>"]
    for name, value, bound, holds, word in rows:
        lines.append(
            f"<tr><td>{html.escape(name)}</td><td>{value:.3g}</td><td>{word} {bound:g}</td>"
            f"<td>{'holds' if holds else '<b>refused</b>'}</td></tr>"
        )
    return f"<table>{''.join(lines)}</table>"


def residual_plot(story: CalibrationStory) -> str:
    """Residual of each observation, and their distribution."""
    with mpl.rc_context(PLOT_STYLE):
        drawn, axes = _figure(1, 2, 3.0)
        over, spread = axes[0]
        at, used = np.array(story.labels), story.used
        top = 1.25 * max(float(story.held_out[used].max()), story.bounds["max_rms"])
        over.vlines(at[used], story.residual[used], story.held_out[used], color=MID_GREY, lw=0.6)
        over.plot(at[used], story.held_out[used], "o", ms=3, color=GREEN, label="without its own")
        over.plot(at[used], story.residual[used], "o", ms=3, color=BLUE, label="with its own")
        if (~used).any():
            beyond = np.minimum(story.residual[~used], top * 0.98)
            over.plot(at[~used], beyond, "x", ms=6, color=RED, label="left out", clip_on=False)
        over.axhline(story.bounds["max_rms"], color=AMBER, lw=1, ls="--")
        over.set_ylim(0, top)
        unit = story.check["unit"]
        over.set(xlabel="frame or row", ylabel=f"residual ({unit})", title="Each observation")
        over.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=3)
        bins = np.linspace(0, top, 25)
        spread.hist(story.residual[used], bins, color=BLUE, alpha=0.55, label="with its own")
        spread.hist(story.held_out[used], bins, histtype="step", color=GREEN, lw=1.4, label="without its own")
        spread.axvline(story.bounds["max_rms"], color=AMBER, lw=1, ls="--")
        spread.set(xlabel=f"residual ({unit})", ylabel="observations", title="Spread")
        spread.yaxis.get_major_locator().set_params(integer=True)
        spread.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=2)
        return _svg(drawn)


def lag_plot(lag: Any) -> str:
    """Correlation over the lag, and the two motions on top of each other."""
    with mpl.rc_context(PLOT_STYLE):
        drawn, axes = _figure(1, 2, 2.8)
        search, motion = axes[0]
        search.plot(1e3 * lag.searched_s, lag.correlation, color=BLUE, lw=1.3)
        search.axvline(1e3 * lag.lag_s, color=GREEN, lw=1.2)
        search.set(xlabel="lag (ms)", ylabel="correlation", title="Search", ylim=(0, 1.02))
        used = lag.fit.used
        main = int(np.argmax(np.std(lag.explained, axis=0)))
        motion.plot(lag.times_s[used], lag.seen[used, main], ".", ms=2.5, color=MID_GREY, label="picture")
        motion.plot(lag.times_s, lag.explained[:, main], color=GREEN, lw=1.1, label="robot, late by the lag")
        motion.set(xlabel="time (s)", ylabel="tip in the picture", title="Motion")
        motion.legend(fontsize=8)
        return _svg(drawn)
