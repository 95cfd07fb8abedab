"""Paper V's Table I from our own runs: tables, plots, a film strip of hard cases, and the page around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.learning.data.videos import Entry
from sonosteer.metrics.success import bootstrap, paired, precision, success_area, success_curve
from sonosteer.studies.pages import html_page, html_table, markdown_table, write_csv
from sonosteer.studies.paper_v_numbers import ABLATIONS, TABLE_1
from sonosteer.viz.study_plots import tracking_curves

F64 = NDArray[np.float64]
Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
OURS = "vla"
NOTE = "Research software, not a medical device. All data are simulated."


def frames_of(results: Results, method: str, entries: Mapping[str, Entry], mode: str, *, seen: bool) -> list[F64]:
    """For each video of a mode ("" for all) that has such frames: (n, 4) error mm, error px, IoU, state."""
    out = []
    for name, entry in entries.items():
        r = results[method][name]
        if mode and entry.mode != mode:
            continue
        error = np.array(r["error_mm"], float)
        rows = np.stack([error, error / entry.spacing_mm[0], np.array(r["iou"]), np.array(r["state"])], 1)
        rows = rows[np.array(r["visible"], bool)] if seen else rows
        if len(rows):
            out.append(rows)
    return out


def figures(videos: list[F64]) -> dict[str, float]:
    """AUC, P, Err, SD, median and share of frames without an estimate."""
    rows = np.concatenate(videos)
    return {
        "AUC": success_area(rows[:, 2]),
        "P": precision(np.where(rows[:, 3] > 0, rows[:, 1], np.inf)),
        "Err": float(rows[:, 0].mean()),
        "SD": float(rows[:, 0].std()),
        "median": float(np.median(rows[:, 0])),
        "lost": float(100 * (rows[:, 3] == 0).mean()),
    }


def table_1(results: Results, entries: Mapping[str, Entry], methods: list[str], *, seen: bool) -> list[dict[str, Any]]:
    """IPS, IPM and all: ours with intervals over videos; the paper's numbers in the row below."""
    out = []
    for method in methods:
        row: dict[str, Any] = {"method": method}
        for mode, title in (("ips", "IPS"), ("ipm", "IPM"), ("", "mean")):
            videos = frames_of(results, method, entries, mode, seen=seen)
            if not videos:
                continue
            f = figures(videos)
            row |= {f"{title} AUC": f"{f['AUC']:.1f}", f"{title} P": f"{f['P']:.1f}"}
            row[f"{title} Err mm"] = f"{f['Err']:.2f} +- {f['SD']:.2f}"
        videos = frames_of(results, method, entries, "", seen=seen)
        rng = np.random.default_rng(0)
        low, high = bootstrap(videos, lambda rows: float(rows[:, 0].mean()), rng)
        f = figures(videos)
        row |= {"Err 95 %": f"{low:.2f} to {high:.2f}", "median": f"{f['median']:.2f}", "lost %": f"{f['lost']:.1f}"}
        if method != OURS:
            mine = [float(v[:, 0].mean()) for v in frames_of(results, OURS, entries, "", seen=seen)]
            theirs = [float(v[:, 0].mean()) for v in videos]
            row["p against vla"] = f"{paired(theirs, mine):.3g}"
        else:
            row["p against vla"] = ""
        out.append(row)
        if method in TABLE_1:
            said: dict[str, Any] = {"method": "paper"}
            for part, title in zip(TABLE_1[method], ("IPS", "IPM", "mean"), strict=True):
                said |= {f"{title} AUC": part[0], f"{title} P": part[1], f"{title} Err mm": f"{part[2]} +- {part[3]}"}
            out.append({k: said.get(k, "") for k in row})
    return out


def ablations(results: Results, entries: Mapping[str, Entry], names: list[str]) -> list[dict[str, Any]]:
    """Variants of ours, each with its difference to the default, paired by video, and the paper's mean row."""
    default = {k: v for k, v in zip(entries, _errors(results, OURS, entries), strict=True) if v is not None}
    out = []
    for name in [OURS, *names]:
        videos = frames_of(results, name, entries, "", seen=True)
        f = figures(videos)
        mine = {k: v for k, v in zip(entries, _errors(results, name, entries), strict=True) if v is not None}
        gaps = np.array([mine[k] - default[k] for k in default])
        low, high = bootstrap([np.array([g]) for g in gaps], lambda v: float(v.mean()), np.random.default_rng(0))
        said = ABLATIONS.get("default" if name == OURS else name)
        out.append(
            {
                "variant": "default" if name == OURS else name,
                "AUC": f"{f['AUC']:.1f}",
                "P": f"{f['P']:.1f}",
                "Err mm": f"{f['Err']:.2f} +- {f['SD']:.2f}",
                "by video, against default": "" if name == OURS else f"{gaps.mean():+.2f} ({low:+.2f} to {high:+.2f})",
                "p": "" if name == OURS else f"{paired(list(mine.values()), list(default.values())):.3g}",
                "paper": "" if said is None else f"{said[0]}, {said[1]}, {said[2]} +- {said[3]}",
            }
        )
    return out


def _errors(results: Results, method: str, entries: Mapping[str, Entry]) -> list[float | None]:
    """Mean error of each video's frames with a visible tip."""
    out: list[float | None] = []
    for name in entries:
        r = results[method][name]
        e = np.array(r["error_mm"], float)[np.array(r["visible"], bool)]
        out.append(float(e.mean()) if len(e) else None)
    return out


def training_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each network cost."""
    return [
        {
            "network": name,
            "parameters": f"{t['parameters'] / 1e6:.2f} M",
            "trained": f"{t['trained_parameters'] / 1e6:.2f} M",
            "samples": t["samples"],
            "minutes": f"{t['seconds'] / 60:.1f}",
            "validation crops, mean mm": f"{t['validation_mean_mm']:.2f}" if t["validation_mean_mm"] else "",
        }
        for name, t in summary["networks"].items()
    ]


def write(
    out: Path, results: Results, entries: Mapping[str, Entry], summary: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """README.md, report.html, CSVs and figures; returns Table I."""
    known = [m for m in results if m in TABLE_1]
    others = [m for m in results if m.startswith("vla,") or m in ("auto", "kf+f")]
    varied = [m for m in results if m not in known and m not in others]
    seen = table_1(results, entries, [*known, *others], seen=True)
    every = table_1(results, entries, [*known, *others], seen=False)
    changed = ablations(results, entries, varied) if varied else []
    cost = training_table(summary)
    for name, rows in (("table-1", seen), ("all-frames", every), ("ablations", changed), ("training", cost)):
        if rows:
            write_csv(out / f"{name}.csv", rows)
    curves = {}
    for method in [*known, *others]:
        every_frame = np.concatenate(frames_of(results, method, entries, "", seen=True))
        at_mm = np.linspace(0.0, 10.0, 41)
        error = np.where(every_frame[:, 3] > 0, every_frame[:, 0], np.inf)
        within = np.array([(error <= d).mean() for d in at_mm])
        curves[method] = (success_curve(every_frame[:, 2]), at_mm, within)
    svg = tracking_curves(curves)
    (out / "curves.svg").write_text(svg)
    unseen = sum(not any(results[known[0]][n]["visible"]) for n in entries)
    facts = (
        f"{len(entries)} test videos (unseen tissue), {_count(results, known[0], seen=False)} frames "
        f"after the first, {_count(results, known[0], seen=True)} with a visible tip; {unseen} videos have none. "
        f"{summary['samples']} samples for each compared network, seed {summary['seed']}. P: within 20 px, 5 mm here."
    )
    command = f"sonosteer study vla-tracking{' --quick' if summary['quick'] else ''} --seed {summary['seed']}"
    quick = "**A quick run, to see that it works: the figures mean nothing.**" if summary["quick"] else ""
    (out / "README.md").write_text(
        "\n".join(
            [
                "# Tracking by Paper V's network: ours beside the paper",
                "",
                NOTE,
                "",
                quick,
                "",
                f"Made by `{command}`. {facts}",
                "",
                "## Table I, frames with a visible tip",
                "",
                *markdown_table(seen),
                "",
                "![Success and precision](curves.svg)",
                "",
                *(["## Ablations", "", *markdown_table(changed), ""] if changed else []),
                "## Training",
                "",
                *markdown_table(cost),
                "",
                "All frames, also those whose tip cannot be seen: `all-frames.csv`.",
            ]
        )
        + "\n"
    )
    body = [f"<h1>Tracking by Paper V's network</h1><p>{NOTE}</p><p>{facts}</p><h2>Table I</h2>", html_table(seen), svg]
    if changed:
        body += ["<h2>Ablations</h2>", html_table(changed)]
    body += ["<h2>Training</h2>", html_table(cost), "<h2>All frames</h2>", html_table(every)]
    (out / "report.html").write_text(html_page("Tracking by Paper V's network", body))
    return seen


def _count(results: Results, method: str, *, seen: bool) -> int:
    return sum(sum(r["visible"]) if seen else len(r["visible"]) for r in results[method].values())
