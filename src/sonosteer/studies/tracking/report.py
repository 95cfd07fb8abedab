"""Tables, figures and pages of the tracking study from its trials."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.significance import (
    compare_spread,
    ellipse_coverage,
    mean_differs_from_zero,
    mean_nees,
    parzen,
    pearson,
)
from sonosteer.studies.pages import (
    caption,
    html_table,
    markdown_head,
    markdown_table,
    quick_facts,
    study_page,
    write_csv,
)
from sonosteer.studies.tracking.published import ORDER, PAPER_FRAMES, PEARSON_R, TABLE_III, TABLE_VI
from sonosteer.viz import study_plots
from sonosteer.viz.page import figure
from sonosteer.viz.plots import standalone

TrackingResult = dict[str, Any]
ELLIPSE_FRACTIONS = (0.5, 0.9, 0.95)
DAGGER = "†"


def write_tracking_study(results: Sequence[TrackingResult], out: Path, *, quick: bool, seed: int) -> dict[str, Any]:
    """Write tables, figures, report.html and README.md into `out`. Returns the summary."""
    paper = [r for r in results if r["kind"] == "paper"]
    methods = list(paper[0]["methods"])
    frames = sum(r["frames"] for r in paper)
    rows = [_row(m, paper) for m in methods]
    spread = {m: _spread(m, paper) for m in methods if m in TABLE_III}
    figures = _figures(paper, methods)
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg))
    write_csv(out / "table-3.csv", rows)
    for number, key in ((4, "sd_etheta"), (5, "sd_en")):
        write_csv(out / f"table-{number}.csv", _pairs(spread, key))
    times = [_time_row(m, paper) for m in methods]
    write_csv(out / "table-6.csv", times)
    hard = _hard(results)
    write_csv(out / "harder.csv", hard)
    honesty = _honesty(results)
    write_csv(out / "calibration.csv", honesty)
    order = [_order(a, b, spread) for a, b in ORDER]
    free = [r for r in results if r["kind"] == "needle-free"]
    false = {m: sum(r["methods"][m]["runs"][0]["claimed"] for r in free) for m in ("auto", "auto, side given")}
    summary = {
        "study": "tracking",
        "quick": quick,
        "seed": seed,
        "insertions": len(paper),
        "frames": frames,
        "paper_frames": PAPER_FRAMES,
        "order_of_sd_en": order,
        "pearson": _pearson_said(paper)[1],
        "needle_free_frames": sum(r["frames"] for r in free),
        "needle_free_claims": false,
        "reacquired": _reacquired(results),
        "table_3": rows,
        "harder": hard,
        "calibration": honesty,
        **quick_facts(len(results), quick=quick),
    }
    tables = {
        "Table III: errors, ours and the paper's": _merged(rows),
        "Table IV: SD of e_theta, row against column (0.001)": _pairs(spread, "sd_etheta"),
        "Table V: SD of e_n, row against column (0.001)": _pairs(spread, "sd_en"),
        "Table VI: time per frame": times,
        "Order of the methods by SD of e_n": order,
        "Harder scenes": hard,
        "Calibration": honesty,
        "Re-acquisition": [summary["reacquired"]],
    }
    page = _page(summary, figures, tables)
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "README.md").write_text(_markdown(summary, rows, order, hard, honesty), encoding="utf-8")
    return summary


# -- numbers ---------------------------------------------------------------------------------------------------


def _columns(method: str, results: Sequence[TrackingResult], run: int = 0) -> dict[str, F64]:
    """All frames of one run with an estimate, over the insertions."""
    runs = [r["methods"][method]["runs"] for r in results if method in r["methods"]]
    chosen = [some[min(run, len(some) - 1)] for some in runs]
    names = [k for k in chosen[0] if k not in ("claimed", "frame")] if chosen else []
    return {k: np.concatenate([np.asarray(c[k], float) for c in chosen]) for k in names}


def _runs(method: str, results: Sequence[TrackingResult]) -> list[dict[str, F64]]:
    n = max(len(r["methods"][method]["runs"]) for r in results if method in r["methods"])
    return [_columns(method, results, k) for k in range(n)]


def _row(method: str, paper: Sequence[TrackingResult]) -> dict[str, Any]:
    """A row of Table III. A particle filter has the mean over its runs."""
    runs = _runs(method, paper)
    several = len(runs) > 1
    distance = [np.hypot(c["en"], c["ep"]) for c in runs]

    def mean(values: list[float]) -> float:
        return round(float(np.mean(values)), 3)

    out: dict[str, Any] = {"method": method + (DAGGER if several else "")}
    has_angle = method in TABLE_III or method.startswith("auto")
    out["etheta_mean"] = mean([c["etheta"].mean() for c in runs]) if has_angle else None
    out["etheta_sd"] = mean([c["etheta"].std() for c in runs]) if has_angle else None
    out["etheta_abs_mean"] = mean([np.abs(c["etheta"]).mean() for c in runs]) if has_angle else None
    out["e_mean"] = mean([d.mean() for d in distance])
    out["e_sd"] = mean([d.std() for d in distance])
    out["e_p95"] = mean([float(np.percentile(d, 95)) for d in distance])
    out["e_max"] = mean([d.max() for d in distance])
    for key in ("en", "ep"):
        out[f"{key}_mean"] = mean([c[key].mean() for c in runs])
        out[f"{key}_sd"] = mean([c[key].std() for c in runs])
        low, high = (mean([float(np.percentile(c[key], q)) for c in runs]) for q in (2.5, 97.5))
        out[f"{key}_p2.5"], out[f"{key}_p97.5"] = low, high
        out[f"{key}_mean_not_0_runs"] = sum(mean_differs_from_zero(c[key]) for c in runs)
    out["runs"] = len(runs)
    out["frames"] = len(distance[0])
    out["lost"] = sum(r["frames"] for r in paper) - len(distance[0])
    tracking = runs[0]["tracking"] > 0
    out["over_5mm_while_tracking"] = int((distance[0][tracking] > 5).sum())
    each = [np.hypot(c["en"], c["ep"]).mean() for r in paper if len((c := _columns(method, [r]))["en"])]
    out["sd_over_insertions"] = round(float(np.std(each)), 3)
    return out


def _spread(method: str, paper: Sequence[TrackingResult]) -> dict[str, float]:
    runs = _runs(method, paper)
    return {
        "n": len(runs[0]["en"]),
        "sd_en": float(np.mean([c["en"].std(ddof=1) for c in runs])),
        "sd_etheta": float(np.mean([c["etheta"].std(ddof=1) for c in runs])),
    }


def _pairs(spread: dict[str, dict[str, float]], key: str) -> list[dict[str, Any]]:
    """A table of arrows."""
    out = []
    for a, s in spread.items():
        row: dict[str, Any] = {"method": a, "sd": round(s[key], 3)}
        for b, t in spread.items():
            row[b] = "" if a == b else compare_spread(s[key], int(s["n"]), t[key], int(t["n"]))
        out.append(row)
    return out


def _order(smaller: str, larger: str, spread: dict[str, dict[str, float]]) -> dict[str, Any]:
    a, b = spread[smaller], spread[larger]
    arrow = compare_spread(a["sd_en"], int(a["n"]), b["sd_en"], int(b["n"]))
    return {
        "the paper": f"{smaller} below {larger}",
        "ours": f"{a['sd_en']:.2f} and {b['sd_en']:.2f} mm",
        "holds": {"↓": "yes", "-": "no difference", "↑": "no, the other way round"}[arrow],
    }


def _time_row(method: str, paper: Sequence[TrackingResult]) -> dict[str, Any]:
    ms = np.concatenate([r["methods"][method]["ms"] for r in paper])
    theirs = TABLE_VI.get(method)
    return {
        "method": method,
        "mean_ms": round(float(ms.mean()), 3),
        "sd_ms": round(float(ms.std()), 3),
        "median_ms": round(float(np.median(ms)), 3),
        "max_ms": round(float(ms.max()), 2),
        "paper_mean_ms": theirs[0] if theirs else None,
        "paper_max_ms": theirs[1] if theirs else None,
    }


def _hard(results: Sequence[TrackingResult]) -> list[dict[str, Any]]:
    out = []
    kinds = [k for k in dict.fromkeys(r["kind"] for r in results) if k not in ("paper", "needle-free")]
    for kind in kinds:
        some = [r for r in results if r["kind"] == kind]
        for method in some[0]["methods"]:
            c = _columns(method, some)
            d = np.hypot(c["en"], c["ep"])
            sure = c["tracking"] > 0
            frames = sum(r["frames"] for r in some)
            seen = np.concatenate(
                [np.asarray(r["visible"])[np.asarray(r["methods"][method]["runs"][0]["frame"], int)] for r in some]
            ).astype(bool)
            out.append(
                {
                    "scenes": kind,
                    "method": method,
                    "insertions": len(some),
                    "frames": frames,
                    "with_estimate": len(d),
                    "tracking": int(sure.sum()),
                    "tracking_mean_mm": _stat(d[sure], np.mean),
                    "tracking_p95_mm": _stat(d[sure], lambda v: np.percentile(v, 95)),
                    "tracking_max_mm": _stat(d[sure], np.max),
                    "all_mean_mm": _stat(d, np.mean),
                    "visible_tip_mean_mm": _stat(d[seen], np.mean),
                    "over_5mm_while_tracking": int((d[sure] > 5).sum()),
                }
            )
    return out


def _stat(values: F64, what: Any) -> float | None:
    return round(float(what(values)), 3) if len(values) else None


def _honesty(results: Sequence[TrackingResult]) -> list[dict[str, Any]]:
    out = []
    for kind in dict.fromkeys(r["kind"] for r in results):
        some = [r for r in results if r["kind"] == kind]
        for method in ("kf+f", "kfv+f", "auto", "auto, angle given"):
            if kind == "needle-free" or method not in some[0]["methods"]:
                continue
            c = _columns(method, some)
            args = (c["en"], c["ep"], c["sd_along"], c["sd_across"])
            row: dict[str, Any] = {"scenes": kind, "method": method, "frames": len(c["en"])}
            for fraction in ELLIPSE_FRACTIONS:
                row[f"inside_{round(100 * fraction)}"] = round(ellipse_coverage(*args, fraction), 3)
            row["mean_nees"] = round(mean_nees(*args), 2)
            d = np.hypot(c["en"], c["ep"])
            high = c["confidence"] >= 0.8
            row["mean_mm_confident"] = _stat(d[high], np.mean)
            row["mean_mm_doubtful"] = _stat(d[~high], np.mean)
            out.append(row)
    return out


def _reacquired(results: Sequence[TrackingResult]) -> dict[str, Any]:
    """After at least 5 hidden frames the tip is visible for 10: does auto have it within 10 frames, to 2 mm?"""
    returns = again = 0
    for r in results:
        if "auto, angle given" not in r["methods"] or r["kind"] not in ("faded", "occluded", "moving probe"):
            continue
        run = r["methods"]["auto, angle given"]["runs"][0]
        error = {f: float(np.hypot(a, b)) for f, a, b in zip(run["frame"], run["en"], run["ep"], strict=True)}
        visible = r["visible"]
        for i in range(5, len(visible) - 10):
            if not any(visible[i - 5 : i]) and all(visible[i : i + 10]):
                returns += 1
                again += any(error.get(k, 99.0) < 2.0 for k in range(i, i + 10))
    return {"returns of the tip": returns, "found again within 10 frames": again}


def _figures(paper: Sequence[TrackingResult], methods: Sequence[str]) -> dict[str, str]:
    shown = [m for m in methods if m in TABLE_III or m.startswith("auto")]
    every = {m: np.concatenate([c["en"] for c in _runs(m, paper)]) for m in shown}
    theirs = {m: (v[6], v[7]) for m, v in TABLE_III.items()}
    x = np.linspace(-5, 5, 501)
    curves, inside = {}, {}
    for m in ("om", "kf+f", "kfv+f", "auto, angle given"):
        curves[m] = (x, parzen(every[m], x, 0.1))
        inside[m] = float((np.abs(every[m]) <= 5).mean())
    length, e_theta, centres, mean, sd = _by_length(paper)
    said, _ = _pearson_said(paper)
    shares = {
        m: [ellipse_coverage(c["en"], c["ep"], c["sd_along"], c["sd_across"], s) for s in ELLIPSE_FRACTIONS]
        for m in ("kf+f", "kfv+f", "auto", "auto, angle given")
        if (c := _columns(m, paper))
    }
    return {
        "fig-4": study_plots.box_plot(every, theirs),
        "fig-5": study_plots.density(curves, inside),
        "fig-6": study_plots.angle_by_length(length, e_theta, centres, mean, sd, said),
        "calibration": study_plots.calibration(ELLIPSE_FRACTIONS, shares),
    }


def _by_length(paper: Sequence[TrackingResult]) -> tuple[F64, F64, list[float], F64, F64]:
    """e_theta of kf+f by visible length, in bins of 5 mm: up to 15, 15 to 20, ... over 45 mm."""
    length = np.concatenate(
        [np.asarray(r["length_mm"])[np.asarray(r["methods"]["kf+f"]["runs"][0]["frame"], int)] for r in paper]
    )
    e = _columns("kf+f", paper)["etheta"]
    edges = [-np.inf, 15, 20, 25, 30, 35, 40, 45, np.inf]
    centres, mean, sd = [], [], []
    for k, (low, high) in enumerate(itertools.pairwise(edges)):
        some = e[(length >= low) & (length < high)]
        if len(some) >= 10:
            centres.append(12.5 + 5.0 * k)
            mean.append(some.mean())
            sd.append(some.std())
    return length, e, centres, np.array(mean), np.array(sd)


def _pearson_said(paper: Sequence[TrackingResult]) -> tuple[str, dict[str, Any]]:
    _, _, centres, _, sd = _by_length(paper)
    if len(centres) < 3:
        return "", {"r": None, "p": None, "paper_r": PEARSON_R}
    r, p = pearson(np.array(centres), sd)
    said = f"SD against length: Pearson r = {r:.2f}, p = {p:.1g} (paper: {PEARSON_R})"
    return said, {"r": round(r, 3), "p": round(p, 5), "paper_r": PEARSON_R}


# -- pages -----------------------------------------------------------------------------------------------------


def _merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table III to read: ours, and the paper's below it in grey."""
    out = []
    for r in rows:
        name = r["method"].rstrip(DAGGER)
        star = {k: "*" if r[f"{k}_mean_not_0_runs"] * 2 > r["runs"] else "" for k in ("en", "ep")}
        angle = "-" if r["etheta_mean"] is None else f"{r['etheta_mean']:.2f} ± {r['etheta_sd']:.2f}"
        out.append(
            {
                "method": r["method"],
                "e_θ (deg)": angle,
                "‖e‖ (mm)": f"{r['e_mean']:.2f} ± {r['e_sd']:.2f} [{r['e_p95']:.2f}]",
                "e_n (mm)": f"{r['en_mean']:.2f}{star['en']} ± {r['en_sd']:.2f} "
                f"[{r['en_p2.5']:.2f} to {r['en_p97.5']:.2f}]",
                "e_p (mm)": f"{r['ep_mean']:.2f}{star['ep']} ± {r['ep_sd']:.2f}",
                "frames": r["frames"],
                "lost": r["lost"],
            }
        )
        if name in TABLE_III:
            p = TABLE_III[name]
            out.append(
                {
                    "method": "paper",
                    "e_θ (deg)": f"{p[0]:.2f} ± {p[1]:.2f}",
                    "‖e‖ (mm)": f"{p[3]:.2f} ± {p[4]:.2f} [{p[5]:.2f}]",
                    "e_n (mm)": f"{p[6]:.2f} ± {p[7]:.2f} [{p[8]:.2f} to {p[9]:.2f}]",
                    "e_p (mm)": f"{p[10]:.2f} ± {p[11]:.2f}",
                    "frames": PAPER_FRAMES,
                    "lost": "",
                }
            )
    return out


TRACKING_TITLE = "Tracking study after Mathiassen et al. 2017"
TRACKING_CAPTIONS = {
    "fig-4": "Fig. 4. Boxes: quartiles; whiskers: smallest and largest; all runs of the particle filters.",
    "fig-5": "Fig. 5. Parzen window of 0.1 mm. The paper's three methods, and auto.",
    "fig-6": "Fig. 6. One dot a frame; bins of 5 mm, the first up to 15 mm.",
    "calibration": "Honest covariances lie on the dotted line; above it they are too wide, below too narrow.",
}


def _page(summary: dict[str, Any], figures: dict[str, str], tables: dict[str, list[dict[str, Any]]]) -> str:
    quick = summary.get("quick_run", "")
    body = [
        f"<h1>{TRACKING_TITLE}</h1>",
        f"<p>{summary['insertions']} simulated insertions of the test split, {summary['frames']} frames "
        f"(the paper: 18 and {PAPER_FRAMES}), seed {summary['seed']}. * mean significantly different from 0 at 0.001. "
        "† mean over the runs. Positive e_n: inserted farther than estimated. Brackets: 95th percentile, or 2.5th to "
        "97.5th. Simulation, not beef: orders can be compared, single figures only with care. Tests take frames as "
        "independent, as the paper does.</p>",
        '<p class="soft">Research software, not a medical device: not for clinical decisions.</p>',
    ]
    for title, rows in tables.items():
        body.append(f"<h2>{html.escape(title)}</h2>{html_table(rows)}")
        if title.startswith("Table III"):
            for name, svg in figures.items():
                drawn = figure(svg, caption(TRACKING_CAPTIONS[name], quick))
                body.append(f'<div class="narrow">{drawn}</div>' if name == "calibration" else drawn)
    free = summary["needle_free_claims"]
    body.append(
        f"<h2>Without a needle</h2><p>{summary['needle_free_frames']} simulated frames without a needle: auto claimed "
        f"one in {free['auto']} with nothing given, in {free['auto, side given']} with the side given.</p>"
    )
    return study_page("Tracking study", body, quick)


def _markdown(
    summary: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    order: Sequence[dict[str, Any]],
    hard: Sequence[dict[str, Any]],
    honesty: Sequence[dict[str, Any]],
) -> str:
    """The same as a page for the repository."""
    quick = summary.get("quick_run", "")
    free = summary["needle_free_claims"]
    parts = [
        *markdown_head(TRACKING_TITLE, quick),
        f"`sonosteer study tracking --seed {summary['seed']}`: {summary['insertions']} simulated insertions of the "
        f"test split, {summary['frames']} frames (the paper: 18 and {PAPER_FRAMES}). Everything else: `table-*.csv`, "
        "`harder.csv`, `calibration.csv`, figures.",
        "",
        "Mean ± SD in mm; in brackets the 95th percentile. † mean over the runs of the particle filter.",
        "",
        "| method | ‖e‖ ours | ‖e‖ paper | e_n ours | e_n paper | SD of insertions | lost | over 5 mm while tracking |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        p = TABLE_III.get(r["method"].rstrip(DAGGER))
        theirs = (f"{p[3]:.2f} ± {p[4]:.2f} [{p[5]:.2f}]", f"{p[6]:.2f} ± {p[7]:.2f}") if p else ("", "")
        parts.append(
            f"| {r['method']} | {r['e_mean']:.2f} ± {r['e_sd']:.2f} [{r['e_p95']:.2f}] | {theirs[0]} "
            f"| {r['en_mean']:.2f} ± {r['en_sd']:.2f} | {theirs[1]} | {r['sd_over_insertions']:.2f} | {r['lost']} "
            f"| {r['over_5mm_while_tracking']} |"
        )
    parts += [
        "",
        f"![{caption('Fig. 4', quick)}](fig-4.svg)",
        "",
        "## Order of the methods by the SD of e_n (F-test, 0.001)",
        "",
    ]
    for title, table in (("", order), ("## Harder scenes", hard), ("## Calibration", honesty)):
        parts += [*([title, ""] if title else []), *markdown_table(table), ""]
    again = summary["reacquired"]
    parts += [
        f"Re-acquired within 10 frames of the tip's return: {again['found again within 10 frames']} of "
        f"{again['returns of the tip']}. Without a needle, {summary['needle_free_frames']} simulated frames: auto "
        f"claimed one in {free['auto']} with nothing given, in {free['auto, side given']} with the side given.",
        "",
    ]
    return "\n".join(parts)
