"""Tables, figures and pages of the steering study from its trials."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.needle.bicycle import ends, stepwise_ends
from sonosteer.sim.steering_scenes import TISSUES
from sonosteer.steering.simulated_fits import DEPTHS
from sonosteer.studies.pages import (
    TableRow,
    caption,
    html_table,
    markdown_head,
    markdown_table,
    quick_facts,
    study_page,
    write_csv,
)
from sonosteer.studies.steering.carriere2019_tables import (
    figure_2_table,
    figure_7_numbers,
    figure_7_table,
    maxima_table,
    regulation_curves,
)
from sonosteer.studies.steering.ladder import LADDER
from sonosteer.studies.steering.plants import knob_table, ladder_table, paired_table, plant_table, weak_table
from sonosteer.studies.steering.published import OVERALL_FINAL_MM, OVERALL_MEAN_MM, TABLE_1, TABLE_2, TABLE_3
from sonosteer.viz import steering_plots as plots
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone

Pair = tuple[Any, dict[str, Any]]
SOLVED_MM = 1.0


def write_steering_study(
    todo: Sequence[Any], results: Sequence[dict[str, Any]], out: Path, *, quick: bool, seed: int
) -> TableRow:
    """Write tables, figures, report.html and README.md into `out`. Returns the summary."""
    pairs = list(zip(todo, results, strict=True))
    paper = [p for p in pairs if p[0].group == "paper"]
    tables = {
        "Controllers on the same scenes": _controllers(paper),
        "Table 1: mean results at 540 degrees, middle recipe": _table_1(paper),
        "Table 2: largest results": _table_2(paper),
        "Table 3: processing time per image frame (ms)": _table_3(paper),
        "Cost of a simulated insertion: analytic against discrete steps": _cost(),
        "Ablation, middle recipe, images": _by(pairs, "ablation", lambda t: t.name.split("/")[1]),
        "Both plants": plant_table(_both_plants(pairs)),
        "Paired tests: controllers on the same insertions": paired_table(_both_plants(pairs)),
        "Ladder: from Paper S's model to both plants, middle recipe, points": ladder_table(_climbs(pairs, "ladder")),
        "Weak bevel: how little a needle must bend, points": weak_table(_weak(pairs)),
        "Event points of Paper S, its own search, points": knob_table(_knobs(pairs, "knob points")),
        "Weights of Paper S, its own search, points": knob_table(_knobs(pairs, "knob weights")),
        "Two maxima: the published test of Eq. (14) and the right one": maxima_table(*((200, 4) if quick else ())),
        "Figure 2 as numbers": figure_2_table(),
        "Figure 7 as numbers": figure_7_table(_fits(pairs)),
        "Event points, points": _by(pairs, "points", lambda t: (t.recipe, t.name.split("/")[1])),
        "Rotation budget, points, no limit on points": _by(pairs, "budget", lambda t: (t.recipe, t.budget_deg)),
        "Robustness, middle recipe, points": _by(pairs, "robust", lambda t: t.name.split("/")[1]),
        "Off-axis targets among obstacles": [_obstacles(pairs)],
        "Posterior of the fit: share of 90 % intervals that hold the truth": [_coverage(pairs)],
    }
    figures = {
        "fig-9": _figure_9(paper, "moves"),
        "fig-9-paper-s": _figure_9(paper, "paper-s"),
        "fig-2": plots.plot_regulation(regulation_curves("gradient"), 120.0),
        "fig-2-genetic": plots.plot_regulation(regulation_curves("genetic"), 120.0),
        "fig-7": _figure_7(pairs),
        "budget": _budget(pairs),
    }
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg))
    for title, rows in tables.items():
        write_csv(out / (_slug(title) + ".csv"), rows)
    summary: TableRow = {
        **{"study": "steering", "quick": quick, "seed": seed, "tables": tables},
        **quick_facts(len(pairs), quick=quick),
    }
    (out / "report.html").write_text(_page(summary, figures), encoding="utf-8")
    (out / "README.md").write_text(_markdown(summary), encoding="utf-8")
    return summary


def _slug(title: str) -> str:
    return title.split(":")[0].split(",")[0].lower().replace(" ", "-")


# -- numbers ---------------------------------------------------------------------------------------------------


def _numbers(rows: Sequence[dict[str, Any]]) -> TableRow:
    final, mean, rotation = (np.array([r[k] for r in rows]) for k in ("final_mm", "mean_mm", "rotation_deg"))
    there = sum(r["ended"] == "target depth reached" for r in rows)
    return {
        "trials": len(rows),
        "final mm": f"{final.mean():.2f} ± {final.std():.2f}",
        "p95": f"{np.quantile(final, 0.95):.2f}",
        "max": f"{final.max():.2f}",
        "path mean mm": f"{mean.mean():.2f} ± {mean.std():.2f}",
        "rotation deg": f"{rotation.mean():.0f} ± {rotation.std():.0f}",
        "max deg": f"{rotation.max():.0f}",
        "reached": there,
    }


def _controllers(paper: Sequence[Pair]) -> list[TableRow]:
    rows: list[TableRow] = []
    for controller in dict.fromkeys(t.controller for t, _ in paper):
        for recipe in dict.fromkeys(t.recipe for t, _ in paper):
            found = [r for t, r in paper if t.controller == controller and t.recipe == recipe]
            sight = "images" if any(t.images for t, _ in paper if t.controller == controller) else "points"
            seen = [r["sight_mm"] for r in found if r.get("sight_mm")]
            error = f"{np.mean([m for m, _ in seen]):.2f} [{np.mean([q for _, q in seen]):.2f}]" if seen else ""
            rows.append(
                {"controller": controller, "sight": sight, "recipe": recipe, **_numbers(found), "sight error mm": error}
            )
    overall = (f"{OVERALL_FINAL_MM:g}", f"{OVERALL_MEAN_MM:g}")
    theirs = {"trials": 30, "final mm": overall[0], "p95": "", "max": "0.90", "path mean mm": overall[1]}
    rows.append(
        {
            "controller": "the paper, its phantoms",
            "sight": "images",
            "recipe": "",
            **theirs,
            "rotation deg": "163",
            "max deg": "306",
            "reached": 30,
            "sight error mm": "",
        }
    )
    return rows


def _of(paper: Sequence[Pair], tissue: str, controller: str = "moves", recipe: str = "middle") -> list[dict[str, Any]]:
    return [r for t, r in paper if (t.controller, t.recipe, t.tissue) == (controller, recipe, tissue)]


def _table_1(paper: Sequence[Pair]) -> list[TableRow]:
    rows: list[TableRow] = []
    columns = ("final mm", "path mean mm", "rotation deg")
    for tissue in TISSUES:
        ours, own = (_numbers(_of(paper, tissue, c)) for c in ("moves", "paper-s"))
        for what, theirs in zip(columns, TABLE_1[tissue], strict=True):
            rows.append({"tissue": tissue, "what": what, "paper": theirs, "moves": ours[what], "paper-s": own[what]})
    return rows


def _table_2(paper: Sequence[Pair]) -> list[TableRow]:
    rows: list[TableRow] = []
    for tissue in TISSUES:
        ours, own = (_numbers(_of(paper, tissue, c)) for c in ("moves", "paper-s"))
        for what, column, theirs in zip(
            ("max final mm", "max rotation deg"), ("max", "max deg"), TABLE_2[tissue], strict=True
        ):
            rows.append(
                {
                    "tissue": tissue,
                    "what": what,
                    "paper": theirs,
                    "moves": ours[column],
                    "paper-s": own[column],
                }
            )
    return rows


def _table_3(paper: Sequence[Pair]) -> list[TableRow]:
    rows: list[TableRow] = []
    for controller in ("moves", "paper-s"):
        found = [r["times_ms"] for t, r in paper if t.controller == controller and t.images and "times_ms" in r]
        for stage, (name, theirs, largest) in TABLE_3.items():
            times = [f[stage] for f in found if f.get(stage)]
            if times:
                rows.append(
                    {
                        "controller": controller,
                        "procedure": name,
                        "ours, mean": round(float(np.mean([t["mean_ms"] for t in times])), 3),
                        "ours, p99": round(float(np.median([t["p99_ms"] for t in times])), 3),
                        "ours, max": round(max(t["max_ms"] for t in times), 2),
                        "paper, mean": theirs,
                        "paper, max": largest,
                    }
                )
    return rows


def _by(pairs: Sequence[Pair], group: str, key: Callable[[Any], Any]) -> list[TableRow]:
    rows: list[TableRow] = []
    found = [p for p in pairs if p[0].group == group]
    for value in dict.fromkeys(key(t) for t, _ in found):
        name = (
            " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value) if isinstance(value, tuple) else value
        )
        rows.append({"what": name, **_numbers([r for t, r in found if key(t) == value])})
    return rows


def _cost() -> list[TableRow]:
    """Operation counts of the paper (49 a section, 17 a step), and times of both ways, compiled, for each of 2,000."""
    needles, depth = 2000, 120.0
    rng = np.random.default_rng(0)
    k, theta0, phi0 = rng.uniform(1e-4, 2e-3, needles), rng.uniform(0, 0.17, needles), np.zeros(needles)
    out = np.empty((needles, 5))
    rows: list[TableRow] = []
    for points in (3, 4):
        middle = np.sort(rng.uniform(5, 115, (needles, points)), axis=1)
        starts = np.concatenate([np.zeros((needles, 1)), middle], axis=1)
        rates = rng.uniform(-0.1, 0.1, (needles, points + 1))
        for step in (0.5, 0.1):
            times: list[list[float]] = [[], []]
            for _ in range(12):
                for i in (0, 1):
                    before = time.perf_counter()
                    if i == 0:
                        ends(k, theta0, phi0, starts, rates, depth, out)
                    else:
                        stepwise_ends(k, theta0, phi0, starts, rates, depth, step, out)
                    times[i].append(time.perf_counter() - before)
            ours, theirs = (1e6 * float(np.median(t[2:])) / needles for t in times)
            counts = (49 * (points + 1), 17 * round(depth / step))
            rows.append(
                {
                    "event points": points,
                    "step mm": step,
                    "operations analytic": counts[0],
                    "operations in steps": counts[1],
                    "their ratio": f"{counts[1] / counts[0]:.0f}",
                    "us analytic": f"{ours:.3f}",
                    "us in steps": f"{theirs:.2f}",
                    "ratio of times": f"{theirs / ours:.0f}",
                    "paper": "17 to 21",
                }
            )
    return rows


def _obstacles(pairs: Sequence[Pair]) -> TableRow:
    found = [r for t, r in pairs if t.group == "obstacles"]
    reached = [r for r in found if r["ended"] == "target depth reached"]
    solved = [r for r in reached if r["clearance_mm"] > 0 and r["final_mm"] <= SOLVED_MM]
    stopped = [r for r in found if r not in reached]
    final = np.array([r["final_mm"] for r in reached] or [math.nan])
    return {
        "scenes": len(found),
        "target off the axis mm": f"{np.mean([r['off_axis_mm'] for r in found]):.1f}",
        "straight way blocked": sum(r["straight_clearance_mm"] < 0 for r in found),
        f"solved (no contact and within {SOLVED_MM:g} mm)": len(solved),
        "share": f"{100 * len(solved) / max(len(found), 1):.1f} %",
        "reached but farther off": len(reached) - len(solved) - sum(r["clearance_mm"] <= 0 for r in reached),
        "stopped: no safe path": len(stopped),
        "contact without a warning": sum(r["clearance_mm"] <= 0 and not r["warned"] for r in found),
        "contact after one": sum(r["clearance_mm"] <= 0 and r["warned"] for r in found),
        "final mm of those that reached": f"{final.mean():.2f} ± {final.std():.2f} [{final.max():.2f}]",
    }


def _both_plants(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Every insertion of the four controllers on the beam and on the second plant, as `plants` takes them."""
    return [
        {"plant": t.plant, "tissue": t.tissue, "recipe": t.recipe, "controller": t.controller, "seed": t.seed, **r}
        for t, r in pairs
        if t.group in ("paper", "second plant")
    ]


def _climbs(pairs: Sequence[Pair], group: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [(t.plant, LADDER[t.plant].what, t.name.split("/")[2], r) for t, r in pairs if t.group == group]


def _knobs(pairs: Sequence[Pair], group: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [(t.plant, t.name.split("/")[2], r) for t, r in pairs if t.group == group]


def _weak(pairs: Sequence[Pair]) -> list[tuple[str, float, str, dict[str, Any]]]:
    return [(t.plant, t.gain or 1.0, t.controller, r) for t, r in pairs if t.group == "weak bevel"]


def _fits(pairs: Sequence[Pair]) -> dict[str, list[dict[str, Any]]]:
    names = {"a standard deviation": "fit", "a variance": "fit of variance"}
    return {name: [r for t, r in pairs if t.group == group] for name, group in names.items()}


def _coverage(pairs: Sequence[Pair]) -> TableRow:
    (found,) = [r for t, r in pairs if t.kind == "coverage"]
    return {
        "insertions": found["insertions"],
        "kappa": f"{100 * found['kappa']:.1f} %",
        "theta_0": f"{100 * found['theta0']:.1f} %",
        "no fit": found["failed"],
    }


# -- figures ---------------------------------------------------------------------------------------------------


def _figure_9(paper: Sequence[Pair], controller: str) -> str:
    found = {t: _of(paper, t, controller) for t in TISSUES}
    paths = {t: [np.array(r["path"]) for r in rows] for t, rows in found.items()}
    rolls = {t: [(np.array(r["roll"])[:, 0], np.array(r["roll"])[:, 1]) for r in rows] for t, rows in found.items()}
    return plots.plot_paths_per_tissue(paths, rolls)


def _figure_7(pairs: Sequence[Pair]) -> str:
    score, off = figure_7_numbers([r for t, r in pairs if t.group == "fit"])
    return plots.plot_fit_score(np.arange(1.0, DEPTHS + 1.0), score, off)


def _budget(pairs: Sequence[Pair]) -> str:
    curves = {}
    for recipe in dict.fromkeys(t.recipe for t, _ in pairs if t.group == "budget"):
        found = [(t.budget_deg, r["final_mm"]) for t, r in pairs if t.group == "budget" and t.recipe == recipe]
        degrees = sorted({d for d, _ in found})
        groups = [np.array([f for b, f in found if b == d]) for d in degrees]
        curves[recipe] = (
            np.array(degrees),
            np.array([g.mean() for g in groups]),
            np.array([g.std() / math.sqrt(len(g)) for g in groups]),
        )
    return plots.plot_budget(curves)


# -- pages -----------------------------------------------------------------------------------------------------

STEERING_TITLE = "Steering study after Carriere et al. 2019"
STEERING_CAPTIONS = {
    "fig-9": "Fig. 9. Every insertion of the middle recipe, controller moves, seen through images: true deflection and "
    "the base's roll as ordered.",
    "fig-9-paper-s": "Fig. 9 with the paper's own controller, the same insertions.",
    "fig-2": "Fig. 2. The bicycle itself, kappa 1/1500 per mm, theta_0 2 degrees, three event points, our search.",
    "fig-2-genetic": "Fig. 2 with the paper's own search, 480 generations and its own test of the maximum of Eq. (14). "
    "Read literally, that test counts the end only if nothing crosses before.",
    "fig-7": "Fig. 7. Bounds widened to theta_0 at most pi/4; noise of 0.5 mm each way. The published score is the "
    "distance from what was measured, and cannot fall below the noise.",
    "budget": "Controller moves without a limit on event points.",
}
INTRO = (
    "Scenes of the test split. Mean ± SD (population). images: the controller knows only what the tracker axial saw; "
    "points: the true tip with 0.1 mm of noise. sight error: of the tip that the controller was told, mean [95 %]. "
    "reached: the target depth; the others were stopped because the tip was lost, and count with where they stopped. "
    "mild, middle, harsh: factor 0.4, 0.7, 1.0 on the bevel's force. Budget of rotation 540 degrees and three event "
    "points unless said. Simulation, not tissue: orders can be compared, single figures only with care."
)


def _page(summary: TableRow, figures: dict[str, str]) -> str:
    quick = summary.get("quick_run", "")
    body = [
        f"<h1>{STEERING_TITLE}</h1>",
        f"<p>Seed {summary['seed']}. {INTRO}</p>",
        '<p class="soft">Research software, not a medical device: not for clinical decisions.</p>',
    ]
    for title, rows in summary["tables"].items():
        body.append(f"<h2>{html.escape(title)}</h2>{html_table(rows)}")
        if title.startswith("Controllers"):
            body += [figure(svg, caption(STEERING_CAPTIONS[name], quick)) for name, svg in figures.items()]
    return study_page("Steering study", body, quick)


def _markdown(summary: TableRow) -> str:
    quick = summary.get("quick_run", "")
    parts = [
        *markdown_head(STEERING_TITLE, quick),
        f"`sonosteer study steering --seed {summary['seed']}`. {INTRO}",
        "",
    ]
    for title, rows in summary["tables"].items():
        parts += [f"## {title}", "", *markdown_table(rows), ""]
        if title.startswith("Controllers"):
            for name, text in STEERING_CAPTIONS.items():
                parts += [f"![{name}]({name}.svg)", "", caption(text, quick), ""]
    return "\n".join(parts)
