"""Tables, figures and pages of the study `in-the-wild`."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.inference.needle_detector import RIGHT_WITHIN, WRONG_BEYOND
from sonosteer.sim.scenes import make_scene
from sonosteer.studies.pages import TableRow, caption, html_table, markdown_head, markdown_table, study_page, write_csv
from sonosteer.studies.wild.figures import (
    WildSample,
    aims_table,
    outcome_table,
    reliability_table,
    scanner_family,
    unseen_table,
    where_it_fails,
)
from sonosteer.studies.wild.trials import (
    CLIP_FRAMES,
    CLIP_MIN_S,
    CLIP_S,
    WildFrame,
    WildStill,
)
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone
from sonosteer.viz.study_plots import error_curves, reliability

WILD_TITLE = "Needles in the wild"
WORST_CLIPS = 10  # clips in the table of the worst
WILD_WORDS = {
    "What was to be shown": "A claim is an estimate with the state `tracking` or `coasting`.",
    "Right, near, wrong, lost": "Frames whose tip a person could see.",
    "Without a visible tip": (
        "Claims without a needle are false. A claim may be near a hidden tip; far is more than "
        f"{100 * WRONG_BEYOND:g} % of the longer side from it."
    ),
    "Reliability": "All claims of stills and clips as they come. A claim without a needle counts as not right.",
    "Where it fails": "Frames whose tip a person could see. Groups of few stills or clips say little.",
    "Clips with the most wrong frames": "To look at: `sonosteer simulate in-the-wild/SPLIT --seed N`.",
}
WILD_CAPTIONS = {
    "errors": "Frames within an error. Dotted: right, wrong.",
    "reliability": "On the dotted line a confidence is honest. Larger dots: more claims.",
    "stills": "Stills drawn by chance. Blue: the truth. Dashes and cross: the estimate.",
    "wrong": "Wrong stills drawn by chance.",
}


def write_wild_study(sample: WildSample, out: Path, about: Mapping[str, Any]) -> dict[str, list[TableRow]]:
    """Write tables, figures, report.html and README.md into `out`. Returns the tables. about: the study's question."""
    tables = {
        "What was to be shown": aims_table(sample),
        "Right, near, wrong, lost": outcome_table(sample),
        "Without a visible tip": unseen_table(sample),
        "Reliability": reliability_table(sample),
        "Where it fails": where_it_fails(sample),
        "Clips with the most wrong frames": _worst(sample),
    }
    for title, rows in tables.items():
        write_csv(out / (re.sub(r"[^a-z0-9]+", "-", title.lower()) + ".csv"), rows)
    write_csv(out / "stills.csv", _still_rows(sample))
    write_csv(out / "clips.csv", _clip_rows(sample))
    figures = {"errors": _errors(sample), "reliability": _reliability(tables["Reliability"])}
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg))
    sheets = [name for name in ("stills", "wrong") if (out / f"{name}.png").exists()]
    quick = str(about.get("quick_run", ""))
    (out / "report.html").write_text(_page(tables, figures, sheets, _facts(sample, about), quick), encoding="utf-8")
    (out / "README.md").write_text(_markdown(tables, figures, sheets, _facts(sample, about), quick), encoding="utf-8")
    return tables


# -- tables and figures --------------------------------------------------------------------------------------


def _still_rows(sample: WildSample) -> list[TableRow]:
    """A row for each still that counts, in the order of the seeds."""

    def row(still: WildStill) -> TableRow:
        judged = still.judged
        return {
            "seed": still.seed,
            "needle": int(still.needle),
            "width_px": still.size_px[0],
            "height_px": still.size_px[1],
            "state": judged.state,
            "outcome": judged.outcome(),
            "error_percent": None if judged.error is None else round(100 * judged.error, 2),
            "confidence": judged.confidence,
            "inside_95": None if judged.inside is None else int(judged.inside),
            "contrast_db": judged.contrast_db,
            "shaft_width_px": judged.width_px,
        }

    chosen = {s.seed: s for s in (*sample.stills, *sample.free)}
    return [row(chosen[seed]) for seed in sorted(chosen)]


def _clip_rows(sample: WildSample) -> list[TableRow]:
    """A row for each clip: its counted frames."""
    rows: list[TableRow] = []
    for clip in sample.clips:
        frames = sample.counted(clip)
        seen = [f for f in frames if f.visible]
        scene = make_scene(f"in-the-wild/{sample.split}", clip.seed)
        rows.append(
            {
                "seed": clip.seed,
                "needle": int(clip.needle),
                "scanner": scanner_family(scene),
                "frames": len(frames),
                "visible": len(seen),
                **{o: _number(seen, o) for o in ("right", "near", "wrong", "lost")},
                "without_visible": len(frames) - len(seen),
                "without_visible_claimed": sum(f.outcome() != "lost" for f in frames if not f.visible),
                "without_visible_wrong": sum(f.outcome() == "wrong" for f in frames if not f.visible),
            }
        )
    return rows


def _number(frames: list[WildFrame], outcome: str) -> int:
    return sum(f.outcome() == outcome for f in frames)


def _worst(sample: WildSample) -> list[TableRow]:
    rows = [r for r in _clip_rows(sample) if r["wrong"] + r["without_visible_wrong"] > 0]
    rows.sort(key=lambda r: (-r["wrong"] - r["without_visible_wrong"], r["seed"]))
    return rows[:WORST_CLIPS]


def _errors(sample: WildSample) -> str:
    clips = [f for c in sample.clips for f in sample.counted(c) if f.visible]
    return error_curves(
        {"stills": _percent([s.judged for s in sample.stills]), "clips": _percent(clips)},
        (100 * RIGHT_WITHIN, 100 * WRONG_BEYOND),
    )


def _percent(frames: list[WildFrame]) -> F64:
    """Errors in percent of the longer side, infinite where lost."""
    return np.array([np.inf if f.error is None else 100 * f.error for f in frames], float)


def _reliability(table: list[TableRow]) -> str:
    def column(kind: str, what: str) -> F64:
        return np.array([np.nan if r[f"{kind}, {what}"] is None else r[f"{kind}, {what}"] for r in table], float)

    kinds = ("stills", "clips")
    return reliability(
        stated={kind: column(kind, "stated") for kind in kinds},
        right={kind: column(kind, "right") for kind in kinds},
        claims={kind: column(kind, "claims") for kind in kinds},
    )


# -- pages ---------------------------------------------------------------------------------------------------


def _facts(sample: WildSample, about: Mapping[str, Any]) -> list[str]:
    """What was measured and how, a sentence or two each."""
    config = about["config"]
    counted = [sample.counted(c) for c in sample.clips]
    seen = sum(f.visible for frames in counted for f in frames)
    with_tip = sum(any(f.visible for f in frames) for frames in counted)
    free = sum(not c.needle for c in sample.clips)
    typed = "".join(f" --set {setting}" for setting in about["set"])
    scale = "with their scale" if config["scaled"] else "without a scale"
    stills = [s.seed for s in sample.stills]
    models = ", ".join(f"`{name}` {digits}" for name, digits in about["models"].items())
    return [
        f"`sonosteer study in-the-wild{' --quick' if about['quick'] else ''} --seed {about['seed']}{typed}`: method "
        f"`{config['method']}` on the {sample.split} split of the set-up `in-the-wild`. No hint is given. Frames come "
        f"{scale}, without probe and speed.",
        f"**Right**: within {100 * RIGHT_WITHIN:g} % of the picture's longer side. **Wrong**: claimed and more than "
        f"{100 * WRONG_BEYOND:g} % off, or claimed without a needle. **Near**: in between. A tip can be seen while it "
        "is at least 3 dB over its surroundings on the screen and in view.",
        f"Stills: {len(sample.stills)} with a tip that can be seen (seeds {stills[0]} to {stills[-1]}), each a fresh "
        f"start on one frame, and {len(sample.free)} without a needle.",
        f"Clips: {len(sample.clips)} as they come (seeds {sample.clips[0].seed} to {sample.clips[-1].seed}), {free} of "
        f"them without a needle. A clip is followed from its first frame for at most {CLIP_S:g} s and {CLIP_FRAMES} "
        f"frames (at high rates: {CLIP_MIN_S:g} s). Its frames count from the second second on. In {with_tip} clips a "
        f"tip can be seen then, in {seen} frames.",
        "Intervals: 95 %, bootstrap over clips, and over scanners for stills. Where all agree it is Wilson's, with the "
        "number of clips or scanners.",
        f"World: `{about['world']}`. Models: {models}. Version {about['versions']['sonosteer']}. "
        f"Machine: {about['versions']['processor']}.",
    ]


def _page(
    tables: Mapping[str, list[TableRow]],
    figures: Mapping[str, str],
    sheets: list[str],
    facts: list[str],
    quick: str,
) -> str:
    body = [f"<h1>{WILD_TITLE}</h1>", *(f"<p>{_marked(fact)}</p>" for fact in facts)]
    body.append('<p class="soft">Research software, not a medical device: not for clinical decisions. Simulated.</p>')
    for title, rows in tables.items():
        body.append(f"<h2>{html.escape(title)}</h2><p>{_marked(WILD_WORDS[title])}</p>{html_table(rows)}")
    for name, svg in figures.items():
        body.append(figure(svg, caption(WILD_CAPTIONS[name], quick)))
    for name in sheets:
        strip = f'<img class="cells" src="{name}.png" alt="{WILD_CAPTIONS[name]}">'
        picture = f'<div class="scroll">{strip}</div>'
        body.append(f"<figure>{picture}<figcaption>{caption(WILD_CAPTIONS[name], quick)}</figcaption></figure>")
    return study_page(WILD_TITLE, body, quick)


def _marked(text: str) -> str:
    """Markdown's `code` and **bold** as HTML."""
    out = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))
    return re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", out)


def _markdown(
    tables: Mapping[str, list[TableRow]],
    figures: Mapping[str, str],
    sheets: list[str],
    facts: list[str],
    quick: str,
) -> str:
    lines = markdown_head(WILD_TITLE, quick)
    for fact in facts:
        lines += [fact, ""]
    lines += [f"![{caption(WILD_CAPTIONS[name], quick)}]({name}.png)\n" for name in sheets[:1]]
    for title, rows in tables.items():
        lines += [f"## {title}", "", WILD_WORDS[title], ""]
        lines += [*markdown_table(rows), ""] if rows else ["None.", ""]
        if title == "Right, near, wrong, lost":
            lines += [f"![{caption(WILD_CAPTIONS['errors'], quick)}](errors.svg)", ""]
        if title == "Reliability":
            lines += [f"![{caption(WILD_CAPTIONS['reliability'], quick)}](reliability.svg)", ""]
    lines += [f"## Wrong stills\n\n![{caption(WILD_CAPTIONS[name], quick)}]({name}.png)" for name in sheets[1:]]
    lines += [
        "",
        "Each still and each clip: `stills.csv`, `clips.csv`. Every table is a CSV file too. All is simulated.",
    ]
    return "\n".join(lines) + "\n"
