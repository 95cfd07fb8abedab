"""The page of the tracking study of networks: README, HTML, CSVs, curves and the film strip of hard cases."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.datasets.videos import Entry
from sonosteer.learning.nets.presets import tracking_preset
from sonosteer.metrics.success import success_curve
from sonosteer.studies.pages import (
    caption,
    html_table,
    markdown_head,
    markdown_table,
    quick_words,
    study_page,
    write_csv,
)
from sonosteer.studies.vla_tracking import film_strip, speed
from sonosteer.studies.vla_tracking.figures import (
    Table,
    ahead,
    differences,
    frames_of,
    intervals,
    networks_table,
    table_1,
)
from sonosteer.studies.vla_tracking.published import ABLATIONS, ZHANG2026_TABLE_1
from sonosteer.studies.vla_tracking.trials import CLASSIC, OUR_NETWORK, SHIPPED_MODEL, VlaTrackingResults
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone
from sonosteer.viz.study_plots import tracking_curves

PAGE_TITLE = "Tracking by the network of Zhang et al. 2026"
VLA_TRACKING_TITLE = f"{PAGE_TITLE}: ours beside the paper"
VLA_TRACKING_NOTE = "Research software, not a medical device. All data are simulated."
WORDS = {
    "Table I": (
        "Frames with a visible tip. Err: mean and standard deviation over frames. Rows `paper`: as printed, on the "
        "paper's own videos; boxes, videos and the way of counting differ, so they stand side by side and no more."
    ),
    "Intervals": "All frames with a visible tip; 95 % intervals draw whole videos.",
    "Against vla, video by video": (
        "The method's figure less that of `vla`, a figure a video (all videos weigh the same, unlike in Table I): mean "
        "difference, its 95 % interval, and p of Wilcoxon's signed-rank test, not corrected for the number of rows."
    ),
    "Ablations": (
        "Each changes one thing of `vla`, whose register has {} tokens; Table I's columns. Rows `paper`: its mean; it "
        "does not print the rest. Its register of another length, which is lost from the text: AUC {:.1f}, P {:.1f}, "
        "Err {:.2f} +- {:.2f}."
    ).format(tracking_preset("edge").register, *ABLATIONS["another register length"]),
    "Ablations against vla, video by video": "As for the compared methods above.",
    "Networks: size, speed, training": speed.SAID,
    "All frames": "As Table I, with the frames whose tip cannot be seen.",
}
FILES = {
    "Table I": "table-1",
    "Intervals": "intervals",
    "Against vla, video by video": "differences",
    "Ablations": "ablations",
    "Ablations against vla, video by video": "ablation-differences",
    "Networks: size, speed, training": "networks",
    "All frames": "all-frames",
}


def write_vla_tracking_study(
    out: Path, results: VlaTrackingResults, entries: Mapping[str, Entry], summary: Mapping[str, Any]
) -> Table:
    """README.md, report.html, CSVs and figures. Returns Table I. summary: the study's, but for its table."""
    known = [m for m in results if m in ZHANG2026_TABLE_1]
    others = [m for m in (SHIPPED_MODEL, *CLASSIC) if m in results]
    varied = [m for m in results if m not in known and m not in others]
    tables = {
        "Table I": table_1(results, entries, [*known, *others], seen=True),
        "Intervals": intervals(results, entries, [*known, *others, *varied]),
        "Against vla, video by video": differences(results, entries, [*known, *others]),
        "Ablations": table_1(results, entries, [OUR_NETWORK, *varied], seen=True) if varied else [],
        "Ablations against vla, video by video": differences(results, entries, varied),
        "Networks: size, speed, training": networks_table(summary),
        "All frames": table_1(results, entries, [*known, *others, *varied], seen=False),
    }
    for title, rows in tables.items():
        if rows:
            write_csv(out / f"{FILES[title]}.csv", rows)
    svg = tracking_curves(curves(results, entries, [*known, *others]))
    (out / "curves.svg").write_text(standalone(svg))
    said = {
        "facts": facts(results, entries, summary),
        "ahead": ahead(results, entries, [m for m in known if m != OUR_NETWORK]),
        "strip": _strip(summary["film_strip"]),
        "command": f"sonosteer study vla-tracking{' --quick' if summary['quick'] else ''} --seed {summary['seed']}",
        "quick": quick_words(sum(map(len, results.values()))) if summary["quick"] else "",
    }
    (out / "README.md").write_text("\n".join(_markdown(tables, said)) + "\n")
    (out / "report.html").write_text(study_page(PAGE_TITLE, _html(tables, said, svg), said["quick"]))
    return tables["Table I"]


def curves(
    results: VlaTrackingResults, entries: Mapping[str, Entry], methods: Sequence[str]
) -> dict[str, tuple[Any, Any, Any]]:
    """name -> (success at 21 overlaps, distances in mm, share of frames within them), frames with a visible tip."""
    out, at_mm = {}, np.linspace(0.0, 10.0, 41)
    for method in methods:
        rows = np.concatenate(frames_of(results, method, entries, "", seen=True))
        error = np.where(rows[:, 3] > 0, rows[:, 0], np.inf)
        out[method] = (success_curve(rows[:, 2]), at_mm, np.array([(error <= d).mean() for d in at_mm]))
    return out


def facts(results: VlaTrackingResults, entries: Mapping[str, Entry], summary: Mapping[str, Any]) -> str:
    """What was tracked, after which training."""
    videos = next(iter(results.values())).values()
    hidden = sum(not any(r["visible"]) for r in videos)
    return (
        f"{len(entries)} test videos (unseen tissue), {sum(len(r['visible']) for r in videos)} frames after the first, "
        f"{sum(sum(r['visible']) for r in videos)} with a visible tip; {hidden} of the videos without one. "
        f"{summary['samples']} training samples for each compared network, seed {summary['seed']}. Every tracker is "
        "started on the true tip of the first frame that has one. A frame in which it says nothing misses in AUC and "
        "P, and its last place counts in Err. P: within 20 px, 5 mm here."
    )


def _strip(film: Mapping[str, Any]) -> str:
    if not film:
        return ""
    return (
        f"{film['rule']} Each cut is 32 mm wide, around the true tip (white cross); a filled shape at the edge: that "
        "tracker's tip lies outside the cut, that way. Below: errors in mm. The trackers were run again for the "
        f"picture; their errors differ from those in the tables by at most {film['differs_mm']:g} mm."
    )


def _markdown(tables: Mapping[str, Table], said: Mapping[str, str]) -> list[str]:
    quick = said["quick"]
    out = [*markdown_head(VLA_TRACKING_TITLE, quick), VLA_TRACKING_NOTE, ""]
    out += [f"Made by `{said['command']}`. {said['facts']}", "", said["ahead"], ""]
    for title, rows in tables.items():
        if not rows or title == "All frames":
            continue
        out += [f"## {title}", "", WORDS[title], "", *markdown_table([_paper_in_italics(row) for row in rows]), ""]
        if title == "Table I":
            out += [f"![{caption('Success and precision', quick)}](curves.svg)", ""]
            picture = f"![{caption('Hard cases', quick)}]({film_strip.STRIP_FILE})"
            out += ["## Hard cases", "", said["strip"], "", picture, ""] if said["strip"] else []
    return [*out, "All frames, also those whose tip cannot be seen: `all-frames.csv`."]


def _paper_in_italics(row: Mapping[str, Any]) -> dict[str, Any]:
    theirs = row.get("method") == "paper"
    return {k: f"*{v}*" if theirs and v != "" else v for k, v in row.items()}


def _html(tables: Mapping[str, Table], said: Mapping[str, str], svg: str) -> list[str]:
    body = [f"<h1>{html.escape(VLA_TRACKING_TITLE)}</h1><p>{VLA_TRACKING_NOTE}</p>"]
    quick = said["quick"]
    words = caption("", quick)
    body += [f"<p>{_code(said['facts'])}</p><p>{_code(said['ahead'])}</p>"]
    for title, rows in tables.items():
        if not rows:
            continue
        body += [f'<h2>{title}</h2><p class="soft">{_code(WORDS[title])}</p>', html_table(rows)]
        if title == "Table I":
            body += [figure(svg, words)]
            strip = f'<img class="cells" src="{film_strip.STRIP_FILE}" alt="Hard cases">'
            picture = f'<div class="scroll">{strip}</div>'
            below = f"<figcaption>{_code(caption(said['strip'], quick))}</figcaption>"
            body += [f"<h2>Hard cases</h2><figure>{picture}{below}</figure>"] if said["strip"] else []
    return body


def _code(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
