"""Tables, figures and pages of the tracking study from its trials."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.significance import compare_spread, ellipse_coverage, mean_nees, parzen, pearson
from sonosteer.studies.pages import TableRow, quick_facts, write_csv
from sonosteer.studies.tracking.comparison import (
    agreement_counts,
    by_speed_rows,
    mean_tests,
    pair_rows,
    reading_rows,
    reduction_rows,
    within_rows,
)
from sonosteer.studies.tracking.numbers import (
    TrackingResult,
    all_runs,
    columns,
    error_row,
    pooled_spread,
)
from sonosteer.studies.tracking.pages import study_html, study_markdown
from sonosteer.studies.tracking.published import (
    ORDER,
    PAPER_FRAMES,
    PEARSON_R,
    TABLE_I,
    TABLE_III,
    TABLE_VI,
)
from sonosteer.viz import study_plots
from sonosteer.viz.plots import standalone

ELLIPSE_FRACTIONS = (0.5, 0.9, 0.95)
#: kinds of trials that have tables of their own, all others are harder scenes
SPECIAL = ("paper", "grabbed", "readings", "needle-free")


def write_tracking_study(
    results: Sequence[TrackingResult], out: Path, *, quick: bool, seed: int, told: str = ""
) -> dict[str, Any]:
    """Write tables, figures, report.html and README.md into `out`. Returns the summary.

    results: of all trials, those of kind paper among them. told: what differs from the study in full, in words.
    """
    paper = [r for r in results if r["kind"] == "paper"]
    tables = _tables(results, paper)
    figures = _figures(paper, list(paper[0]["methods"]))
    for name, svg in figures.items():
        (out / f"{name}.svg").write_text(standalone(svg))
    for name, rows in tables.items():
        if rows:
            write_csv(out / f"{name}.csv", rows)
    free = [r for r in results if r["kind"] == "needle-free"]
    summary = {
        "study": "tracking",
        "quick": quick,
        "seed": seed,
        "told": told,
        "insertions": len(paper),
        "frames": sum(r["frames"] for r in paper),
        "paper_frames": PAPER_FRAMES,
        "order_of_sd_en": tables["order-of-spread"],
        "pearson": _pearson_said(paper)[1],
        "needle_free_frames": sum(r["frames"] for r in free),
        "needle_free_claims": {
            m: sum(r["methods"][m]["runs"][0]["claimed"] for r in free) for m in ("auto", "auto, side given")
        },
        "reacquired": _reacquired(results),
        "table_3": tables["table-3"],
        "agreement": {"table 4": tables["table-4-agreement"], "table 5": tables["table-5-agreement"]},
        "harder": tables["harder"],
        "calibration": tables["calibration"],
        **quick_facts(len(results), quick=quick),
    }
    (out / "report.html").write_text(study_html(summary, figures, tables), encoding="utf-8")
    (out / "README.md").write_text(study_markdown(summary, tables), encoding="utf-8")
    return summary


def _tables(results: Sequence[TrackingResult], paper: Sequence[TrackingResult]) -> dict[str, list[TableRow]]:
    """All tables by the name of their file, without its ending."""
    methods = list(paper[0]["methods"])
    theirs = [m for m in methods if m in TABLE_III]
    rows = [error_row(m, paper) for m in methods]
    spread = {m: pooled_spread(m, paper) for m in theirs}
    readings = [r for r in results if r["kind"] == "readings"]
    pairs = {key: pair_rows(key, theirs, paper) for key in ("etheta", "en")}
    return {
        "table-1": _table_1(paper),
        "table-3": rows,
        "table-3-tests": mean_tests(theirs, paper),
        "table-4": _matrix(spread, "etheta"),
        "table-4-pairs": pairs["etheta"],
        "table-4-agreement": agreement_counts(pairs["etheta"]),
        "table-5": _matrix(spread, "en"),
        "table-5-pairs": pairs["en"],
        "table-5-agreement": agreement_counts(pairs["en"]),
        "table-6": [_time_row(m, paper) for m in methods if any(len(r["methods"][m]["ms"]) for r in paper)],
        "order-of-spread": [_order(a, b, spread) for a, b in ORDER],
        "reductions": reduction_rows(rows),
        "within": within_rows(rows),
        "readings": reading_rows(paper, readings, cause=False) if readings else [],
        "causes": reading_rows(paper, readings, cause=True) if readings else [],
        "causes-by-speed": by_speed_rows(paper),
        "grabbed": _grabbed(results, paper),
        "auto": [_auto_row(r) for r in rows if r["method"].startswith("auto")],
        "harder": _hard(results),
        "calibration": _honesty(results),
    }


# -- numbers ---------------------------------------------------------------------------------------------------


def _table_1(paper: Sequence[TrackingResult]) -> list[TableRow]:
    first, last = ([r["length_mm"][k] for r in paper] for k in (0, -1))
    ours = {
        "insertions": len(paper),
        "frames": sum(r["frames"] for r in paper),
        "start_mm": round(float(np.mean(first)), 1),
        "stop_mm": round(float(np.mean(last)), 1),
    }
    words = {
        "insertions": "needle insertions",
        "frames": "ultrasound frames",
        "start_mm": "mean starting needle length in the image, mm",
        "stop_mm": "mean stop needle length in the image, mm",
    }
    return [{"what": words[k], "ours": ours[k], "paper": TABLE_I[k]} for k in words]


def _matrix(spread: dict[str, dict[str, float]], key: str) -> list[TableRow]:
    """A table of arrows, ours."""
    out = []
    for a, s in spread.items():
        row: TableRow = {"method": a, "sd": round(s[key], 3)}
        for b, t in spread.items():
            row[b] = "" if a == b else compare_spread(s[key], int(s["n"]), t[key], int(t["n"]))
        out.append(row)
    return out


def _order(smaller: str, larger: str, spread: dict[str, dict[str, float]]) -> TableRow:
    a, b = spread[smaller], spread[larger]
    arrow = compare_spread(a["en"], int(a["n"]), b["en"], int(b["n"]))
    return {
        "the paper": f"{smaller} below {larger}",
        "ours": f"{a['en']:.2f} and {b['en']:.2f} mm",
        "holds": {"↓": "yes", "-": "no difference", "↑": "no, the other way round"}[arrow],
    }


def _auto_row(r: TableRow) -> TableRow:
    names = ("frames", "lost", "e_mean", "e_sd", "e_median", "e_p95", "e_max")
    sure = ("tracking", "tracking_mean", "tracking_sd", "tracking_p95", "tracking_max")
    return {"method": r["method"], **{k: r[k] for k in (*names, *sure)}}


def _grabbed(results: Sequence[TrackingResult], paper: Sequence[TrackingResult]) -> list[TableRow]:
    """The same insertions imaged at 15.9 Hz and grabbed at 20, beside an image for every frame."""
    some = [r for r in results if r["kind"] == "grabbed"]
    out = []
    for m in some[0]["methods"] if some else ():
        row: TableRow = {"method": m}
        for name, rows in (("20 Hz", paper), ("15.9 Hz grabbed at 20", some)):
            r = error_row(m, rows)
            row[f"{name}: ‖e‖ mean"], row[f"{name}: ‖e‖ 95 %"] = r["e_mean"], r["e_p95"]
            row[f"{name}: e_n SD"], row[f"{name}: frames"] = r["en_sd"], r["frames"]
        out.append(row)
    return out


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
    kinds = [k for k in dict.fromkeys(r["kind"] for r in results) if k not in SPECIAL]
    for kind in kinds:
        some = [r for r in results if r["kind"] == kind]
        for method in some[0]["methods"]:
            c = columns(method, some)
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
            if kind in ("needle-free", "grabbed") or method not in some[0]["methods"]:
                continue
            c = columns(method, some)
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
    every = {m: np.concatenate([c["en"] for c in all_runs(m, paper)]) for m in shown}
    theirs = {m: (v.en.mean, v.en.sd) for m, v in TABLE_III.items()}
    x = np.linspace(-5, 5, 501)
    curves: dict[str, tuple[F64, F64]] = {}
    inside: dict[str, float] = {}
    for m in [m for m in ("om", "kf+f", "kfv+f", "auto, angle given") if m in every]:
        curves[m] = (x, parzen(every[m], x, 0.1))
        inside[m] = float((np.abs(every[m]) <= 5).mean())
    length, e_theta, centres, mean, sd = _by_length(paper)
    said, _ = _pearson_said(paper)
    shares = {
        m: [ellipse_coverage(c["en"], c["ep"], c["sd_along"], c["sd_across"], s) for s in ELLIPSE_FRACTIONS]
        for m in ("kf+f", "kfv+f", "auto", "auto, angle given")
        if m in methods and (c := columns(m, paper))
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
    e = columns("kf+f", paper)["etheta"]
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
