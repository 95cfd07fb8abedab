"""The pages of the tracking study: its tables as they are read, as HTML and as Markdown."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from sonosteer.studies.pages import TableRow, caption, html_table, markdown_head, markdown_table, study_page
from sonosteer.studies.tracking.comparison import START_S
from sonosteer.studies.tracking.numbers import DAGGER
from sonosteer.studies.tracking.published import PAPER_FRAMES, TABLE_III, PublishedErrors
from sonosteer.viz.page import figure


def _merged(rows: Sequence[TableRow]) -> list[TableRow]:
    """Table III to read: ours, and the paper's below it in grey."""
    out = []
    for r in rows:
        out.append(
            {
                "method": r["method"],
                "e_θ (deg)": _signed_cell(r, "etheta"),
                "|e_θ| (deg)": _size_cell(r, "etheta_abs"),
                "‖e‖ (mm)": _size_cell(r, "e"),
                "e_n (mm)": _signed_cell(r, "en"),
                "e_p (mm)": _signed_cell(r, "ep"),
                "frames": r["frames"],
                "lost": r["lost"],
            }
        )
        name = r["method"].rstrip(DAGGER)
        if name in TABLE_III:
            out.append(_published_row(TABLE_III[name]))
    return out


def _signed_cell(r: TableRow, key: str) -> str:
    if r[f"{key}_mean"] is None:
        return "-"
    mark = _mark(r[f"{key}_mean_not_0_runs"], r["runs"])
    mean, sd, low, high = (r[f"{key}_{k}"] for k in ("mean", "sd", "p2.5", "p97.5"))
    return f"{mean:.2f}{mark} ± {sd:.2f} [{low:.2f} to {high:.2f}]"


def _mark(differs: int, runs: int) -> str:
    """Star if the mean differs from 0 at 0.001. In some of the runs only: in how many."""
    if runs == 1 or differs in (0, runs):
        return "*" if differs else ""
    return f"* ({differs} of {runs} runs)"


def _size_cell(r: TableRow, key: str) -> str:
    if r[f"{key}_mean"] is None:
        return "-"
    return f"{r[f'{key}_mean']:.2f} ± {r[f'{key}_sd']:.2f} [{r[f'{key}_p95']:.2f}]"


def _published_row(p: PublishedErrors) -> TableRow:
    def signed(key: str) -> str:
        s = getattr(p, key)
        return f"{s.mean:.2f}{_mark(round(50 * s.not_zero), 50)} ± {s.sd:.2f} [{s.low:.2f} to {s.high:.2f}]"

    def size(key: str) -> str:
        s = getattr(p, key)
        return f"{s.mean:.2f} ± {s.sd:.2f} [{s.p95:.2f}]"

    return {
        "method": "paper",
        "e_θ (deg)": signed("etheta"),
        "|e_θ| (deg)": size("etheta_abs"),
        "‖e‖ (mm)": size("e"),
        "e_n (mm)": signed("en"),
        "e_p (mm)": signed("ep"),
        "frames": PAPER_FRAMES,
        "lost": "",
    }


TRACKING_TITLE = "Tracking study after Mathiassen et al. 2017"
TRACKING_CAPTIONS = {
    "fig-4": "Fig. 4. Boxes: quartiles; whiskers: smallest and largest; all runs of the particle filters.",
    "fig-5": "Fig. 5. Parzen window of 0.1 mm. The paper's three methods, and auto.",
    "fig-6": "Fig. 6. One dot a frame; bins of 5 mm, the first up to 15 mm.",
    "calibration": "Honest covariances lie on the dotted line; above it they are too wide, below too narrow.",
}


def _sections(tables: dict[str, list[TableRow]]) -> list[tuple[str, str, list[TableRow]]]:
    """(title, what to know about it, rows) of every table that was made, in the order of the page."""
    every = [
        ("Table I: the insertions", "", tables["table-1"]),
        (
            "Table III: errors, ours and the paper's",
            "Mean ± SD; in brackets the 95th percentile, or 2.5th to 97.5th. * mean differs from 0 at 0.001 (t-test "
            "over frames, as in the paper). † mean over the runs of a particle filter. `optical` is a simulated "
            "tracking system that sees markers and no image. Its sizes are chosen, not fitted to the paper's.",
            _merged(tables["table-3"]),
        ),
        ("auto: all that it claims, and while it says tracking", "Errors in mm.", tables["auto"]),
        (
            "Frames within 1 mm across and 5 mm along",
            "The paper has these in its text (Section V-A1) and at Fig. 5.",
            tables["within"],
        ),
        (
            "Fall against OM, %",
            "The paper's headline. Its OM is more than 5 mm off along the needle in 25 % of the frames, so that the "
            "95th percentile sees these failures. Where OM fails in fewer than 5 % of the frames, as here, that "
            "percentile does not see them: the SD and the 99th percentile do.",
            tables["reductions"],
        ),
        (
            "Table IV: SD of e_θ, all pairs",
            "Row against column at 0.001, ours then the paper's. ↓ row is smaller, ↑ larger, - no difference, "
            "× opposite. p-values by frame and by insertion: table-4-pairs.csv.",
            _beside(tables["table-4-pairs"]),
        ),
        ("Table IV: how many pairs agree", _BY_INSERTION, tables["table-4-agreement"]),
        ("Table V: SD of e_n, all pairs", "As above. table-5-pairs.csv.", _beside(tables["table-5-pairs"])),
        ("Table V: how many pairs agree", _BY_INSERTION, tables["table-5-agreement"]),
        ("Order of the methods by the SD of e_n (F-test, 0.001)", "", tables["order-of-spread"]),
        (
            "Is the mean error 0? By frame and by insertion",
            "By frame as in the paper; by insertion a t-test of the insertions' means, with Holm's correction for all "
            "rows of the table, at 0.05.",
            tables["table-3-tests"],
        ),
        (
            "What the paper leaves open",
            "Each reading on the same insertions. mm, deg. `--set` takes each of them.",
            tables["readings"],
        ),
        (
            "Why PF+F spreads less than KF+F here: experiments",
            f"Early is the first {START_S:.0f} s of an insertion, late is after it. mm.",
            tables["causes"],
        ),
        ("The same by speed", "Mean and SD of e_n in mm, early and late.", tables["causes-by-speed"]),
        ("Imaged at 15.9 Hz, grabbed at 20", "As the paper's scanner and grabber. mm.", tables["grabbed"]),
        (
            "Table VI: time per frame",
            "Wall-clock time. Other work on the machine makes it longer, several times on a busy one.",
            tables["table-6"],
        ),
        ("Harder scenes", "", tables["harder"]),
        ("Calibration", "", tables["calibration"]),
    ]
    return [each for each in every if each[2]]


_BY_INSERTION = (
    "By insertion: a permutation test over whole insertions at 0.05, Holm's correction for all pairs of the table. By "
    "frame, Holm: the paper's F-test at 0.001, corrected alike."
)


def study_html(summary: dict[str, Any], figures: dict[str, str], tables: dict[str, list[TableRow]]) -> str:
    """The page in one file. figures: name -> SVG. tables: name of the file -> rows."""
    quick = summary.get("quick_run", "")
    told = f" {summary['told']}" if summary["told"] else ""
    body = [
        f"<h1>{TRACKING_TITLE}</h1>",
        f"<p>{summary['insertions']} simulated insertions of the test split, {summary['frames']} frames "
        f"(the paper: 18 and {PAPER_FRAMES}), seed {summary['seed']}.{html.escape(told)} Positive e_n: inserted "
        "farther than estimated. Simulation, not beef: orders can be compared, single figures only with care.</p>",
        '<p class="soft">Research software, not a medical device: not for clinical decisions.</p>',
    ]
    for title, about, rows in _sections(tables):
        said = f"<p>{html.escape(about)}</p>" if about else ""
        body.append(f"<h2>{html.escape(title)}</h2>{said}{html_table(rows)}")
        if title.startswith("Table III"):
            for name, svg in figures.items():
                drawn = figure(svg, caption(TRACKING_CAPTIONS[name], quick))
                body.append(f'<div class="narrow">{drawn}</div>' if name == "calibration" else drawn)
    if summary["needle_free_frames"]:
        body.append(f"<h2>Without a needle</h2><p>{_needle_free(summary)}</p>")
    return study_page("Tracking study", body, quick)


def _needle_free(summary: dict[str, Any]) -> str:
    free = summary["needle_free_claims"]
    return (
        f"{summary['needle_free_frames']} simulated frames without a needle: auto claimed one in {free['auto']} with "
        f"nothing given, in {free['auto, side given']} with the side given."
    )


def study_markdown(summary: dict[str, Any], tables: dict[str, list[TableRow]]) -> str:
    """The same as a page for the repository."""
    quick = summary.get("quick_run", "")
    told = [summary["told"], ""] if summary["told"] else []
    parts = [
        *markdown_head(TRACKING_TITLE, quick),
        f"`sonosteer study tracking --seed {summary['seed']}`: {summary['insertions']} simulated insertions of the "
        f"test split, {summary['frames']} frames (the paper: 18 and {PAPER_FRAMES}). Every table is also a `.csv` "
        "here.",
        "",
        *told,
    ]
    for title, about, rows in _sections(tables):
        escaped = [{k.replace("|", "\\|"): _cell(v) for k, v in r.items()} for r in rows]
        parts += [f"## {title}", "", *([about, ""] if about else []), *markdown_table(escaped), ""]
        if title.startswith("Table III"):
            for name in ("fig-4", "fig-5", "fig-6"):
                parts += [f"![{caption(TRACKING_CAPTIONS[name], quick)}]({name}.svg)", ""]
    again = summary["reacquired"]
    if again["returns of the tip"]:
        parts += [
            f"Re-acquired within 10 frames of the tip's return: {again['found again within 10 frames']} of "
            f"{again['returns of the tip']}.",
            "",
        ]
    if summary["needle_free_frames"]:
        parts += [f"Without a needle, {_needle_free(summary)}", ""]
    return "\n".join(parts)


def _cell(value: Any) -> Any:
    return value.replace("|", "\\|").replace("*", "\\*") if isinstance(value, str) else value


def _beside(pairs: Sequence[TableRow]) -> list[TableRow]:
    """All pairs as a table to read: ours, then the paper's, with a cross where they are opposite."""
    names = list(dict.fromkeys([p["row"] for p in pairs] + [p["column"] for p in pairs]))
    cell = {
        (p["row"], p["column"]): f"{p['ours']} {p['paper']}{' ×' if p['agreement'] == 'opposite' else ''}"
        for p in pairs
    }
    return [{"row": a, **{b: cell.get((a, b), "") for b in names[1:]}} for a in names[:-1]]
