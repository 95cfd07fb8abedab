"""The leaderboard of needlebench: a page, a README, CSV, and a LaTeX table for a paper."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sonosteer.metrics.clip_scores import CAP_FRACTION, SILENCE_COST
from sonosteer.studies.needlebench.figures import (
    Entry,
    curves_of,
    interval_of,
    leaderboard,
    real_table,
    refusals,
    tier_table,
    track_rows,
)
from sonosteer.studies.needlebench.trials import CLICK, DUMMIES, NOTHING, PROTOCOLS, AnyTrack
from sonosteer.studies.pages import TableRow, caption, html_table, markdown_head, markdown_table, study_page, write_csv
from sonosteer.viz.needlebench_plots import cost_plot, risk_plot
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone

BENCH_TITLE = "needlebench"
CURVES = 8  # chosen: more lines cannot be told apart
SLUGS = {NOTHING: "nothing-given", CLICK: "one-click"}
PROTOCOL_WORDS = {
    NOTHING: "Pixels and times, from the first frame on. Nobody says where the needle is.",
    CLICK: "One click on the tip in the first frame that shows it, off by a few pixels as a person's is. That frame "
    "has no score. Tracks without a needle are left out.",
}
#: said of a method below `always lost`
SILENCE = (
    "**Than silence** says by the paired interval whether a method is better than saying nothing. One that is right "
    "more often than wrong stands before `always lost`, one that is wrong more often behind it: better not asked. "
    "So `always lost` is not the last row where such methods enter: that is what they cost."
)
HOW = (
    f"**Cost of a frame.** A claim costs its distance from the true tip, as a part of {100 * CAP_FRACTION:g} % of the "
    "picture's longer side, at most 1. A claim without a needle in the picture costs 1. Silence costs "
    f"{SILENCE_COST:g} where the tip can be seen, and nothing where it cannot. A mark's own uncertainty costs nothing. "
    "Tracking and coasting are claims.",
    "**Cost of a method.** The mean over tracks, each weighing the same. 0 is always right, 1 is always wrong. The "
    "lower, the better. Intervals are of 95 % and draw whole tracks. Those behind the first are paired: above 0 the "
    "first is surely better.",
    "**Given**: what a method is told more than the protocol says, since it does not work without.",
    "**Risk area**: mean cost of the surest claims, over all coverages. It tells whether a method knows when it is "
    "right.",
    "**Rows without a rank** know nothing: one is always lost, one claims the middle of the picture, one claims any "
    "place.",
    SILENCE,
    "**mil** draws at random, and OpenCV lets nobody seed it. Its row is another one in every run, by about 0.01. All "
    "others come out the same.",
)
CAPTIONS = {
    "costs": "Cost and its interval of 95 %. Grey: methods that know nothing.",
    "risk": f"Risk against coverage of the best {CURVES} methods. Dotted grey: methods that know nothing.",
}


def write_leaderboard(
    tracks: Sequence[AnyTrack], entries: Mapping[str, Sequence[Entry]], out: Path, about: Mapping[str, Any]
) -> dict[str, list[TableRow]]:
    """Write the page, README.md, CSVs, leaderboard.tex and figures into `out`. Returns the tables by protocol."""
    boards = {p: leaderboard(entries[p]) for p in PROTOCOLS}
    figures: dict[str, str] = {}
    for p in PROTOCOLS:
        write_csv(out / f"leaderboard-{SLUGS[p]}.csv", boards[p])
        shown = [(e.method, e.cost, interval_of(e)) for e in entries[p] if e.cost is not None and not e.refused]
        if shown:
            figures[f"costs-{SLUGS[p]}"] = cost_plot([(m, c, i) for m, c, i in shown if c is not None], DUMMIES)
            figures[f"risk-{SLUGS[p]}"] = risk_plot(curves_of(entries[p], CURVES), DUMMIES)
    write_csv(out / "tracks.csv", track_rows(tracks, entries))
    (out / "leaderboard.tex").write_text(latex(boards, about), encoding="utf-8")
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg), encoding="utf-8")
    parts = _parts(tracks, entries, boards)
    quick = str(about.get("quick_run", ""))
    (out / "leaderboard.html").write_text(_page(parts, figures, _facts(about), quick), encoding="utf-8")
    (out / "README.md").write_text(_markdown(parts, figures, _facts(about), quick), encoding="utf-8")
    return boards


def _parts(
    tracks: Sequence[AnyTrack], entries: Mapping[str, Sequence[Entry]], boards: Mapping[str, list[TableRow]]
) -> list[tuple[str, str, list[TableRow], tuple[str, ...]]]:
    """(title, words, table, names of the figures behind it) of each part of the page."""
    parts: list[tuple[str, str, list[TableRow], tuple[str, ...]]] = []
    for p in PROTOCOLS:
        slug = SLUGS[p]
        parts.append((p[0].upper() + p[1:], PROTOCOL_WORDS[p], boards[p], (f"costs-{slug}", f"risk-{slug}")))
        if refused := refusals(entries[p]):
            parts.append((f"Not entered: {p}", "They refuse to work so.", refused, ()))
        if real := real_table(entries[p]):
            parts.append((f"Real tracks: {p}", "Supplied by the user. They change no rank.", real, ()))
    parts.append(("The tracks", "Frozen. Each in-the-wild track is another scanner.", tier_table(tracks), ()))
    return parts


def _facts(about: Mapping[str, Any]) -> list[str]:
    models = ", ".join(f"`{name}` {digits}" for name, digits in about["models"].items())
    real = f" and {about['real_tracks']} real tracks of the user" if about["real_tracks"] else ""
    return [
        "Which tracker finds the tip of a needle in ultrasound, and which one knows when to be silent? All tracks are "
        "simulated, except those that a user supplies.",
        f"Version {about['version']} (`{about['digest'][:16]}`), {about['tracks']} tracks{real}. Command: "
        f"`{about['command']}`.",
        *_prices(about["prices"]),
        *HOW,
        f"Models: {models}. sonosteer {about['versions']['sonosteer']}.",
    ]


def _prices(prices: Mapping[str, Any]) -> list[str]:
    """What this version prices otherwise than others. Empty for version 1."""
    said = []
    if prices["reader_off"]:
        said.append(
            f"**The reader's uncertainty** is {100 * prices['reader_off']:g} % of the longer side in simulated tracks: "
            "two standard deviations of the click. No person could tell from the picture that such an answer is wrong, "
            "so it costs nothing."
        )
    if not prices["hidden_after_click"]:
        said.append(
            "**Hidden after a click.** With one click it is known that the needle is there. Where its tip is hidden, "
            "silence says nothing that was not known, and a place can only be guessed. Such frames have no price. With "
            "nothing given they have: whoever claims what nobody sees may claim what is not there."
        )
    return said


# -- LaTeX ---------------------------------------------------------------------------------------------------

TEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}"}
TEX_COLUMNS = ("method", "given", "cost", "95 %", "right %", "wrong %", "silent %", "risk area")


def tex(text: str) -> str:
    """A text with what LaTeX takes for its own."""
    plain = re.sub(r"[&%$#_{}~^\\]", lambda m: TEX.get(m[0], r"\textasciicircum{}" if m[0] == "^" else "/"), text)
    return plain.replace(" to ", "--")


def latex(boards: Mapping[str, Sequence[TableRow]], about: Mapping[str, Any]) -> str:
    """Both leaderboards as one table for a paper. It needs the package booktabs."""
    columns = list(TEX_COLUMNS)
    width = len(columns)
    lines = [
        f"% needlebench version {about['version']}, hash {about['digest']}",
        *([f"% {about['quick_run']}"] if about.get("quick_run") else []),
        r"\begin{tabular}{ll" + "r" * (width - 2) + "}",
        r"\toprule",
        " & ".join(tex(c) for c in columns) + r" \\",
    ]
    for protocol, rows in boards.items():
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{tex(protocol)}}}}} \\"]
        lines += [" & ".join(tex(str(row[c])) for c in columns) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


# -- pages ---------------------------------------------------------------------------------------------------


def _page(parts: Sequence[Any], figures: Mapping[str, str], facts: Sequence[str], quick: str) -> str:
    body = [f'<h1 class="board">{BENCH_TITLE}</h1>', f"<p>{_marked(facts[0])}</p>", f"<p>{_marked(facts[1])}</p>"]
    body.append('<p class="soft">Research software, not a medical device: not for clinical decisions.</p>')
    for title, words, rows, names in parts:
        body.append(f"<h2>{html.escape(title)}</h2><p>{_marked(words)}</p>{_table(title, rows)}")
        for name in names:
            if name in figures:
                said = caption(CAPTIONS[name.partition("-")[0]], quick)
                body.append(figure(figures[name], said))
    body.append("<h2>How it is scored</h2>" + "".join(f"<p>{_marked(fact)}</p>" for fact in facts[2:]))
    return study_page(BENCH_TITLE, body, quick)


def _table(title: str, rows: Sequence[TableRow]) -> str:
    table = html_table(rows)
    return table.replace('"wide"', '"wide wrap"') if title.startswith("Not entered") else _greyed(table)


def _greyed(table: str) -> str:
    """A table whose rows of methods that know nothing are grey."""
    for name in DUMMIES:
        table = re.sub(rf"<tr>(<td>[^<]*</td><td>{re.escape(name)}</td>)", r'<tr class="theirs">\1', table)
    return table


def _marked(text: str) -> str:
    """Markdown's `code` and **bold** as HTML."""
    out = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", out)


def _markdown(parts: Sequence[Any], figures: Mapping[str, str], facts: Sequence[str], quick: str) -> str:
    lines = markdown_head(BENCH_TITLE, quick)
    for fact in facts[:2]:
        lines += [fact, ""]
    for title, words, rows, names in parts:
        lines += [f"## {title}", "", words, "", *markdown_table(rows), ""]
        lines += [f"![{caption(CAPTIONS[n.partition('-')[0]], quick)}]({n}.svg)\n" for n in names if n in figures]
    lines += ["## How it is scored", ""]
    for fact in facts[2:]:
        lines += [fact, ""]
    lines += [
        "Every table is a CSV file too. `leaderboard.tex` is for a paper. `tracks.csv` has the cost of each method on "
        "each track. Your own tracker: [needlebench](../../how-to/needlebench.md)."
    ]
    return "\n".join(lines) + "\n"
