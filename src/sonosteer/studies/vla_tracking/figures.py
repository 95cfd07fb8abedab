"""Table I and its ablations from our own runs: figures, intervals over videos, tests by video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.datasets.videos import Entry
from sonosteer.metrics.success import PRECISION_PX, THRESHOLDS, bootstrap, paired, precision, success_area
from sonosteer.studies.vla_tracking.published import ABLATIONS, ZHANG2026_TABLE_1, ScoreRow
from sonosteer.studies.vla_tracking.trials import OUR_NETWORK, VlaTrackingResults

Table = list[dict[str, Any]]
MODE_COLUMNS = (("ips", "IPS"), ("ipm", "IPM"), ("", "mean"))
#: name, unit of a difference, digits, +1 where more is better
SCORES = (("AUC", "", 1, 1), ("P", "", 1, 1), ("Err", " mm", 2, -1))


def frames_of(
    results: VlaTrackingResults, method: str, entries: Mapping[str, Entry], mode: str, *, seen: bool
) -> list[F64]:
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


def figures(videos: Sequence[F64]) -> dict[str, float]:
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


def scores(rows: F64) -> F64:
    """(n, 3): what each frame adds to AUC, P and Err, which are its means."""
    hit = (rows[:, 1] <= PRECISION_PX) & (rows[:, 3] > 0)
    return np.stack([100 * (rows[:, 2:3] > THRESHOLDS).mean(1), 100.0 * hit, rows[:, 0]], 1)


def said_by_paper(method: str) -> tuple[ScoreRow | None, ScoreRow | None, ScoreRow] | None:
    """(IPS, IPM, mean) as printed. Of ablations only the mean is. None for a method that the paper has not."""
    return ZHANG2026_TABLE_1.get(method) or ((None, None, ABLATIONS[method]) if method in ABLATIONS else None)


def table_1(results: VlaTrackingResults, entries: Mapping[str, Entry], methods: Sequence[str], *, seen: bool) -> Table:
    """AUC, P, Err and SD for IPS, IPM and all frames. The paper's numbers in the row below."""
    out = []
    for method in methods:
        row: dict[str, Any] = {"method": method}
        for mode, title in MODE_COLUMNS:
            videos = frames_of(results, method, entries, mode, seen=seen)
            f = figures(videos) if videos else None
            row |= _part(title, None if f is None else (f["AUC"], f["P"], f["Err"], f["SD"]))
        out.append(row)
        theirs = said_by_paper(method)
        if theirs is not None:
            said: dict[str, Any] = {"method": "paper"}
            for (_, title), part in zip(MODE_COLUMNS, theirs, strict=True):
                said |= _part(title, part)
            out.append(said)
    return out


def _part(title: str, row: ScoreRow | None) -> dict[str, str]:
    if row is None:
        return dict.fromkeys((f"{title} AUC", f"{title} P", f"{title} Err mm"), "")
    auc, p, err, sd = row
    return {f"{title} AUC": f"{auc:.1f}", f"{title} P": f"{p:.1f}", f"{title} Err mm": f"{err:.2f} +- {sd:.2f}"}


def intervals(results: VlaTrackingResults, entries: Mapping[str, Entry], methods: Sequence[str]) -> Table:
    """AUC, P and Err over all frames with a visible tip, with 95 % intervals that draw whole videos."""
    out = []
    for method in methods:
        videos = frames_of(results, method, entries, "", seen=True)
        f, parts = figures(videos), [scores(v) for v in videos]
        row: dict[str, Any] = {"method": method}
        for k, (name, unit, digits, _) in enumerate(SCORES):
            low, high = bootstrap([p[:, k] for p in parts], _mean, np.random.default_rng(0))
            row[f"{name}{unit} (95 %)"] = f"{f[name]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        out.append(row | {"median mm": f"{f['median']:.2f}", "lost %": f"{f['lost']:.1f}"})
    return out


def differences(results: VlaTrackingResults, entries: Mapping[str, Entry], methods: Sequence[str]) -> Table:
    """Each method less ours, a figure a video: mean, 95 % interval, p, and the videos in which ours is ahead in Err."""
    ours = _by_video(results, OUR_NETWORK, entries)
    out = []
    for method in methods:
        if method == OUR_NETWORK:
            continue
        theirs = _by_video(results, method, entries)
        row: dict[str, Any] = {"method": method}
        for k, (name, unit, digits, _) in enumerate(SCORES):
            gaps = theirs[:, k] - ours[:, k]
            low, high = bootstrap([gaps[i : i + 1] for i in range(len(gaps))], _mean, np.random.default_rng(0))
            row[f"{name}{unit}"] = f"{gaps.mean():+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
            row[f"p, {name}"] = _p(paired(theirs[:, k].tolist(), ours[:, k].tolist()))
        out.append(row | {"vla ahead in Err": f"{int((theirs[:, 2] > ours[:, 2]).sum())} of {len(ours)}"})
    return out


def _mean(values: F64) -> float:
    return float(values.mean())


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _by_video(results: VlaTrackingResults, method: str, entries: Mapping[str, Entry]) -> F64:
    """(videos, 3): AUC, P, Err of each video's frames with a visible tip."""
    return np.array([scores(v).mean(0) for v in frames_of(results, method, entries, "", seen=True)])


def ahead(results: VlaTrackingResults, entries: Mapping[str, Entry], compared: Sequence[str]) -> str:
    """A sentence: is ours ahead of all compared networks in AUC, P and Err, and if not, of which it is not."""
    figure = {m: figures(frames_of(results, m, entries, "", seen=True)) for m in (OUR_NETWORK, *compared)}
    said = []
    for name, _, _, sign in SCORES:
        behind = [m for m in compared if sign * figure[m][name] >= sign * figure[OUR_NETWORK][name]]
        said.append(f"in {name} {'of all' if not behind else 'not of ' + ', '.join(behind)}")
    return f"Ahead of the compared networks, vla is: {'; '.join(said)}."


def networks_table(summary: Mapping[str, Any]) -> Table:
    """Size of each network, what its training cost, and what a frame costs."""
    trained, speed = summary["networks"], summary["speed"]
    out = []
    for name in [*trained, *(n for n in speed if n not in trained)]:
        t, s = trained.get(name), speed.get(name)
        looked = t and t["validation_mean_mm"]
        out.append(
            {
                "network": name,
                "parameters": f"{(t or s)['parameters'] / 1e6:.2f} M",
                "ms a frame": f"{s['ms']:.2f}" if s else "",
                "times vla's": f"{s['ratio']:.2f}" if s else "",
                "trained parameters": f"{t['trained_parameters'] / 1e6:.2f} M" if t else "",
                "samples": t["samples"] if t else "",
                "minutes": f"{t['seconds'] / 60:.1f}" if t else "",
                "validation crops, mean mm": f"{looked:.2f}" if looked else "",
            }
        )
    return out
