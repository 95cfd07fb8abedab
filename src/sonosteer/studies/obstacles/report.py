"""Tables, figure and pages of the obstacle study from its trials."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.metrics.proportions import mcnemar, wilson
from sonosteer.steering.obstacles import Cuboid, Sphere
from sonosteer.studies.obstacles.scenes import GOAL_DEPTH_MM, MIN_BLOCK_MM, MIN_MARGIN_MM, SHAFT_MM
from sonosteer.studies.obstacles.trials import IGNORES, OURS, WITHIN_MM
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
from sonosteer.viz.obstacle_plots import DrawnScene, plot_obstacle_scenes
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone

OBSTACLE_TITLE = "Obstacle study: targets whose straight way is blocked"
SCENES_DRAWN = 3  # scenes in the picture
TrialResult = dict[str, Any]
SCENE_KINDS = {
    "blocked": "straight way blocked, another way known",
    "free": "straight way free",
    "closed": "no way at all",
}
OBSTACLE_INTRO = (
    "Scenes by seed, three tissues, two needles. Blocked: on the straight line and on the reference way the shaft "
    f"would overlap an obstacle by {MIN_BLOCK_MM:g} mm at least. Along one known way it keeps {MIN_MARGIN_MM:g} mm "
    "from all. Closed: no needle can reach the target, and to stop is right. A contact is one of the true tip's way or "
    "of the shaft at the end, with the true obstacles. Solved: the target's depth is reached without contact, within "
    f"{WITHIN_MM:g} mm. Intervals: Wilson, 95 %, by scene. Points with 0.1 mm of noise instead of images. The "
    "controller is told the needle's mean curvature beforehand. Simulation, not tissue."
)
FIGURE_CAPTION = (
    "Blocked scenes. Grey: obstacles, seen from the side. Dotted: reference way. Green cross: target. A way that "
    "crosses an outline may pass beside the obstacle. The clearance below tells: under 0 is a contact."
)


def write_obstacle_study(results: Sequence[TrialResult], out: Path, about: TableRow, *, quick: bool) -> TableRow:
    """Write tables, figure, report.html and README.md into `out`. Returns the summary."""
    tables = {
        "Outcomes": outcome_rows(results),
        "Paired tests": paired_rows(results),
        "Warnings": warning_rows(results),
        "Scenes": scene_rows(results),
        "By needle and tissue": part_rows(results),
    }
    for title, rows in tables.items():
        write_csv(out / (title.lower().replace(" ", "-") + ".csv"), rows)
    drawn = _drawn(results)
    svg = plot_obstacle_scenes(drawn) if drawn else ""
    if svg:
        (out / "scenes.svg").write_text(standalone(svg))
    summary: TableRow = {**about, "tables": tables, **quick_facts(len(results), quick=quick)}
    words = summary.get("quick_run", "")
    body = [
        f"<h1>{OBSTACLE_TITLE}</h1>",
        f"<p>Split {about['split']}, seed {about['seed']}. {OBSTACLE_INTRO}</p>",
        '<p class="soft">Research software, not a medical device: not for clinical decisions.</p>',
    ]
    for title, rows in tables.items():
        body.append(f"<h2>{html.escape(title)}</h2>{html_table(rows)}")
        if title == "Outcomes" and svg:
            body.append(figure(svg, caption(FIGURE_CAPTION, words)))
    (out / "report.html").write_text(study_page(OBSTACLE_TITLE, body, words), encoding="utf-8")
    lines = [
        *markdown_head(OBSTACLE_TITLE, words),
        f"Split {about['split']}, seed {about['seed']}. {OBSTACLE_INTRO}",
        "",
    ]
    lines += ["Research software, not a medical device.", ""]
    for title, rows in tables.items():
        lines += [f"## {title}", "", *markdown_table(rows), ""]
        if title == "Outcomes" and svg:
            lines += [f"![{FIGURE_CAPTION}](scenes.svg)", ""]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")
    return summary


def by_controller(results: Sequence[TrialResult]) -> dict[str, dict[int, TrialResult]]:
    """Return what came of it, by controller and by the scene's number. Each has the scene's kind added."""
    out: dict[str, dict[int, TrialResult]] = {}
    for r in results:
        for name, outcome in r["outcomes"].items():
            scene = {key: r[key] for key in ("kind", "bevel_gain", "tissue", "margin_mm")}
            out.setdefault(name, {})[r["number"]] = {**outcome, **scene}
    return out


def outcome_rows(results: Sequence[TrialResult]) -> list[TableRow]:
    """Return how the insertions ended, by controller and kind of scene."""
    rows = []
    for name, of in by_controller(results).items():
        for kind, words in SCENE_KINDS.items():
            found = [r for r in of.values() if r["kind"] == kind]
            if found:
                rows.append({"scenes": words, "controller": name, **_ended(found, kind)})
    return sorted(rows, key=lambda row: list(SCENE_KINDS.values()).index(row["scenes"]))


def _ended(found: Sequence[TrialResult], kind: str) -> TableRow:
    n = len(found)
    count = {word: sum(r["came_of_it"] == word for r in found) for word in ("solved", "contact", "stopped", "missed")}
    right = count["stopped" if kind == "closed" else "solved"]
    low, high = wilson(right, n)
    final = np.array([r["final_mm"] for r in found if r["came_of_it"] in ("solved", "missed")] or [math.nan])
    ms = [r["steer_ms"]["mean_ms"] for r in found if r["steer_ms"]]
    return {
        "n": n,
        "right answer": f"{right} ({100 * right / n:.1f} %, {100 * low:.0f} to {100 * high:.0f})",
        "solved": count["solved"],
        "contact": count["contact"],
        "of these warned of": sum(r["came_of_it"] == "contact" and bool(r["warnings"]) for r in found),
        "no safe path": count["stopped"],
        "farther off than 1 mm": count["missed"],
        "otherwise ended": n - sum(count.values()),
        "final mm where reached without contact": f"{final.mean():.2f} ± {final.std():.2f} [{final.max():.2f}]",
        "insertion s": f"{np.mean([r['time_s'] for r in found]):.0f}",
        "ms per decision": f"{np.mean(ms):.1f}" if ms else "",
    }


def paired_rows(results: Sequence[TrialResult]) -> list[TableRow]:
    """Return exact McNemar tests of ours against each other controller, on the scenes that both steered."""
    of = by_controller(results)
    rows: list[TableRow] = []
    for other in (name for name in of if name != OURS and OURS in of):
        for kind, words in SCENE_KINDS.items():
            both = [n for n, r in of[other].items() if n in of[OURS] and r["kind"] == kind]
            right = "stopped" if kind == "closed" else "solved"
            for what, is_it in (("right answer", right), ("contact", "contact")):
                a, b = ([of[name][n]["came_of_it"] == is_it for n in both] for name in (OURS, other))
                if both:
                    rows.append(
                        {
                            "scenes": words,
                            "n": len(both),
                            "other controller": other,
                            "what": what,
                            OURS: sum(a),
                            "other": sum(b),
                            "only ours": sum(x and not y for x, y in zip(a, b, strict=True)),
                            "only the other": sum(y and not x for x, y in zip(a, b, strict=True)),
                            "p, exact McNemar": f"{mcnemar(a, b):.2g}",
                        }
                    )
    return rows


def warning_rows(results: Sequence[TrialResult]) -> list[TableRow]:
    """Return how many insertions warned, by controller and outcome."""
    rows: list[TableRow] = []
    for name, of in by_controller(results).items():
        for word in ("solved", "missed", "contact", "stopped", "lost"):
            found = [r for r in of.values() if r["came_of_it"] == word]
            if found:
                warned = sum(bool(r["warnings"]) for r in found)
                rows.append({"controller": name, "came of it": word, "n": len(found), "with a warning": warned})
    return rows


def scene_rows(results: Sequence[TrialResult]) -> list[TableRow]:
    """Return what is known of the scenes."""
    scenes = {r["number"]: r for r in results}.values()
    rows: list[TableRow] = []
    for kind, words in SCENE_KINDS.items():
        found = [r for r in scenes if r["kind"] == kind]
        if found:
            off, margin, block = (np.array(v) for v in zip(*map(_sizes, found), strict=True))
            rows.append(
                {
                    "scenes": words,
                    "n": len(found),
                    "straight way blocked": int((block > 0).sum()),
                    "target off the axis mm": f"{off.mean():.1f} [{off.max():.1f}]",
                    "overlap on the better straight way mm": f"{block.mean():.2f} [{block.min():.2f}]",
                    "clearance along the known way mm": f"{margin.mean():.2f} [{margin.min():.2f}]",
                }
            )
    return rows


def _sizes(r: TrialResult) -> tuple[float, float, float]:
    return math.hypot(*r["target_mm"]), r["margin_mm"], r["block_mm"]


def part_rows(results: Sequence[TrialResult]) -> list[TableRow]:
    """Return the solved blocked scenes by bevel's force and by tissue."""
    rows: list[TableRow] = []
    for name, of in by_controller(results).items():
        blocked = [r for r in of.values() if r["kind"] == "blocked"]
        for key in ("bevel_gain", "tissue"):
            for value in sorted({r[key] for r in blocked}):
                found = [r for r in blocked if r[key] == value]
                counts = {w: sum(r["came_of_it"] == w for r in found) for w in ("solved", "contact", "stopped")}
                part = f"bevel's force x {value:g}" if key == "bevel_gain" else value
                rows.append({"controller": name, "part": part, "n": len(found), **counts})
    return rows


# -- figure ------------------------------------------------------------------------------------------------------


def _drawn(results: Sequence[TrialResult]) -> list[DrawnScene]:
    """Choose the first blocked scenes that ours solved and the other did not, else the first blocked ones."""
    blocked = [r for r in results if r["kind"] == "blocked" and OURS in r["outcomes"]]
    won = [r for r in blocked if _word(r, OURS) == "solved" and _word(r, IGNORES) == "contact"]
    return [_scene(r) for r in (won or blocked)[:SCENES_DRAWN]]


def _word(r: TrialResult, name: str) -> str:
    return str(r["outcomes"].get(name, {}).get("came_of_it", ""))


def _scene(r: TrialResult) -> DrawnScene:
    parts: list[Sphere | Cuboid] = [
        Sphere(tuple(p["centre_mm"]), p["radius_mm"])
        if "radius_mm" in p
        else Cuboid(tuple(p["low_mm"]), tuple(p["high_mm"]))
        for p in r["parts"]
    ]
    paths = {}
    for name, outcome in r["outcomes"].items():
        path = np.array(outcome["path"])
        paths[name] = (path, np.min([part.distance(path) for part in parts], axis=0) - SHAFT_MM)
    words = ", ".join(_word(r, name) for name in r["outcomes"])
    y, z = r["target_mm"]
    return DrawnScene(
        title=f"scene {r['number']}, {r['tissue']}\n{words}",
        target_mm=(GOAL_DEPTH_MM, y, z),
        spheres=[(p.centre_mm, p.radius_mm) for p in parts if isinstance(p, Sphere)],
        boxes=[(p.low_mm, p.high_mm) for p in parts if isinstance(p, Cuboid)],
        paths=paths,
    )
