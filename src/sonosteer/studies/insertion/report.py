"""Tables, figures and pages of the insertion study from its trials."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.metrics.proportions import mcnemar, wilson
from sonosteer.metrics.success import paired
from sonosteer.studies.insertion.published import PAPER
from sonosteer.studies.insertion.trials import AS_THEY_COME, OUR_METHOD
from sonosteer.studies.pages import (
    TableRow,
    caption,
    html_table,
    markdown_head,
    markdown_table,
    quick_words,
    study_page,
    write_csv,
)
from sonosteer.viz import insertion_plots as plots
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone

#: method -> mode -> what came of each target, in the order of the targets
InsertionResults = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
INSERTION_TITLE = "Robotic insertions on the simulated rig"
INSERTION_NOTE = (
    "Success: a stop within 5 mm of the target, by the truth. T: mean time of the successes. Intervals: 95 % Wilson. "
    "p: exact McNemar test against ours on the same targets. The operator is simulated. Grey: the paper's own figures, "
    "on its phantoms. Scenes as they come have bones and lost contact, which hide the tip whoever inserts; those with "
    "an acoustic window (no bones, full contact) are others."
)


def write_insertion_study(
    out: Path, found: Mapping[str, InsertionResults], papers: Mapping[str, str], about: TableRow
) -> dict[str, list[TableRow]]:
    """Write tables, figures, report.html and README.md into `out`. Returns the tables.

    found: by condition. papers: method -> its row in the paper's table. about: the study's summary, without tables.
    """
    tables = _tables(found, papers)
    figures = {name: svg for name, svg in _figures(found, papers).items() if svg}
    for title, rows in tables.items():
        write_csv(out / (re.sub(r"[^a-z0-9]+", "-", title.lower()) + ".csv"), rows)
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg))
    missing = [f"Not run: {line}" for line in about["missing"]]
    quick = quick_words(about["trials"]) if about["quick"] else ""
    strip = (out / "failures.png").exists()
    page = _page(tables, figures, missing, quick=quick, strip=strip)
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "README.md").write_text(_markdown(tables, missing, quick=quick, strip=strip), encoding="utf-8")
    return tables


def _tables(found: Mapping[str, InsertionResults], papers: Mapping[str, str]) -> dict[str, list[TableRow]]:
    tables: dict[str, list[TableRow]] = {}
    for condition, results in found.items():
        tables[f"Table II, {condition}"] = table_2(results, papers)
    if AS_THEY_COME in found:
        tables["Table II, targets that some method reached"] = table_2(reachable_targets(found[AS_THEY_COME]), papers)
    for condition, results in found.items():
        tables[f"Why insertions failed, {condition}"] = failures(results)
    for condition, results in found.items():
        tables[f"Distance from the target and what the gate did, {condition}"] = details(results)
    return tables


def _figures(found: Mapping[str, InsertionResults], papers: Mapping[str, str]) -> dict[str, str]:
    figures: dict[str, str] = {}
    for condition, results in found.items():
        word = condition.rpartition(" ")[2]
        figures[f"success-{word}"] = success_figure(results, papers, condition)
        figures[f"times-{word}"] = times_figure(results)
        for mode in ("ips", "ipm"):
            figures[f"example-{mode}-{word}"] = example(results, mode)
    return figures


def _page(
    tables: Mapping[str, list[TableRow]],
    figures: Mapping[str, str],
    missing: Sequence[str],
    *,
    quick: str,
    strip: bool,
) -> str:
    body = [f"<h1>{INSERTION_TITLE}</h1>", f"<p>{html.escape(INSERTION_NOTE)}</p>"]
    body += [f"<p>{html.escape(line)}</p>" for line in missing]
    body += [f"<h2>{html.escape(title)}</h2>{html_table(rows)}" for title, rows in tables.items()]
    words = caption("", quick)
    body += [figure(svg, words) for svg in figures.values()]
    said = f"<figcaption>{words}</figcaption>" if quick else ""
    picture = '<div class="scroll"><img class="cells" src="failures.png" alt="failed insertions frame by frame"></div>'
    body += [f"<h2>Failures</h2><figure>{picture}{said}</figure>"] * strip
    return study_page("Insertions", body, quick)


def _markdown(tables: Mapping[str, list[TableRow]], missing: Sequence[str], *, quick: str, strip: bool) -> str:
    lines = [*markdown_head(INSERTION_TITLE, quick), INSERTION_NOTE, "", *missing]
    for title, rows in tables.items():
        lines += ["", f"## {title}", "", *markdown_table(rows)]
    lines += ["", f"![{caption('Failed insertions frame by frame', quick)}](failures.png)"] * strip
    return "\n".join(lines) + "\n"


def table_2(results: InsertionResults, papers: Mapping[str, str]) -> list[TableRow]:
    """Success, interval and time of every method: IPS, IPM and both. The paper's row below those it has."""
    rows: list[TableRow] = []
    ours = results.get(OUR_METHOD)
    for name, modes in results.items():
        row: TableRow = {"method": name}
        both: list[Mapping[str, Any]] = []
        for mode, trials in modes.items():
            both += trials
            row |= _share(mode.upper(), trials)
        row |= _share("both", both)
        row["p"] = _against(ours, modes) if ours is not None and name != OUR_METHOD else None
        rows.append(row)
        theirs = PAPER.get(papers.get(name, ""))
        if theirs is not None:
            rows.append(_paper(row, theirs))
    return rows


def reachable_targets(results: InsertionResults) -> InsertionResults:
    """Without the targets that no method reached: there the tip was mostly never to be seen, whoever inserted."""
    out: dict[str, dict[str, list[Mapping[str, Any]]]] = {name: {} for name in results}
    for mode in {m for modes in results.values() for m in modes}:
        lists = [modes.get(mode, ()) for modes in results.values()]
        reached = {k for trials in lists for k, t in enumerate(trials) if t["success"]}
        for name, trials in zip(results, lists, strict=True):
            out[name][mode] = [t for k, t in enumerate(trials) if k in reached]
    return out


def _share(title: str, trials: Sequence[Mapping[str, Any]]) -> TableRow:
    hits = [t for t in trials if t["success"]]
    low, high = wilson(len(hits), len(trials))
    time_s = [t["time_s"] for t in hits]
    return {
        f"{title} success %": f"{100 * len(hits) / max(len(trials), 1):.1f} ({100 * low:.0f} to {100 * high:.0f})",
        f"{title} T s": f"{np.mean(time_s):.1f} ± {np.std(time_s):.1f}" if time_s else None,
        f"{title} n": len(trials),
    }


def _against(ours: Any, modes: Any) -> str:
    pairs = [(a["success"], b["success"]) for a, b in _side_by_side(ours, modes)]
    return f"{mcnemar([a for a, _ in pairs], [b for _, b in pairs]):.2g}"


def _side_by_side(ours: Any, modes: Any) -> list[tuple[Any, Any]]:
    """(ours, theirs) on the targets that both had: each mode's first ones."""
    return [pair for mode in modes for pair in zip(ours[mode], modes[mode], strict=False)]


def _paper(like: TableRow, theirs: Sequence[tuple[float, float] | None]) -> TableRow:
    row: TableRow = dict.fromkeys(like)
    row["method"] = "paper"
    for title, pair in zip(("IPS", "IPM", "both"), theirs, strict=True):
        if pair is not None:
            row[f"{title} success %"], row[f"{title} T s"] = f"{pair[0]:.1f}", f"{pair[1]:.1f}"
    return row


def failures(results: InsertionResults) -> list[TableRow]:
    """How often each method failed, and why."""
    counts = {name: Counter(_why(t) for t in _all(modes) if not t["success"]) for name, modes in results.items()}
    reasons = sorted({r for c in counts.values() for r in c})
    return [{"method": n, "failed": sum(c.values())} | {r: c[r] or None for r in reasons} for n, c in counts.items()]


def _why(trial: Mapping[str, Any]) -> str:
    return str(trial["judged"]) if trial["judged"] != "gave up" else "gave up: held too long"


def details(results: InsertionResults) -> list[TableRow]:
    """Final error, rates, refusals, and time beside ours on targets that both reached."""
    rows = []
    ours = results.get(OUR_METHOD)
    for name, modes in results.items():
        trials = _all(modes)
        error = [t["final_error_mm"] for t in trials if t["success"]]
        pairs = _side_by_side(ours, modes) if ours is not None else []
        both = [(t["time_s"], o["time_s"]) for o, t in pairs if t["success"] and o["success"]]
        p = paired(*zip(*both, strict=True)) if name != OUR_METHOD and len(both) > 5 else None
        rows.append(
            {
                "method": name,
                "error of successes mm": f"{np.mean(error):.2f} ± {np.std(error):.2f}" if error else None,
                "tracking /s": round(float(np.mean([t["tracking_hz"] for t in trials])), 1),
                "actions /s": round(float(np.mean([t["action_hz"] for t in trials])), 1),
                "refused orders a run": round(float(np.mean([sum(t["refused"].values()) for t in trials])), 1),
                "tip unseen %": round(100 * float(np.mean([t["unseen"] for t in trials])), 1),
                "p of the time": None if p is None else f"{p:.2g}",
            }
        )
    return rows


def _all(modes: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    return [t for trials in modes.values() for t in trials]


def success_figure(results: InsertionResults, papers: Mapping[str, str], condition: str) -> str:
    """Success of every method with its interval."""
    rates, theirs = {}, {}
    for name, modes in results.items():
        trials = _all(modes)
        hits = sum(t["success"] for t in trials)
        low, high = wilson(hits, len(trials))
        rates[name] = (100 * hits / len(trials), 100 * low, 100 * high)
        row = PAPER.get(papers.get(name, ""))
        if row is not None and row[2] is not None:
            theirs[name] = row[2][0]
    return plots.success_rates(rates, theirs, f"Success, IPS and IPM together, {condition}")


def times_figure(results: InsertionResults) -> str:
    """Times of the successes."""
    found = {name: [t["time_s"] for t in _all(modes) if t["success"]] for name, modes in results.items()}
    found = {name: times for name, times in found.items() if times}
    return plots.times(found) if found else ""


def example(results: InsertionResults, mode: str) -> str:
    """Fig. 5: the success of ours during which the tip was unseen longest."""
    hits = [t for t in results.get(OUR_METHOD, {}).get(mode, ()) if t["success"] and len(t["rows"]) > 5]
    if not hits:
        return ""
    shown = max(hits, key=lambda t: t["unseen"])
    rows = np.array([[np.nan if v is None else v for v in row] for row in shown["rows"]], float)
    title = f"{mode.upper()}: tip unseen in {100 * shown['unseen']:.0f} % of the frames, {shown['time_s']:.1f} s"
    return plots.speed_and_visibility(rows, np.array(shown["error_mm"], float).reshape(-1, 2), title)
