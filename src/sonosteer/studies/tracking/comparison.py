"""Ours beside the paper's: all pairs of Tables IV and V, reductions, tests by insertion, readings, causes.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`), Sections IV and V.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sonosteer.metrics.significance import (
    LEVEL,
    ClusterSums,
    compare_spread,
    holm,
    mean_p_value,
    spread_p_by_cluster,
    spread_p_value,
)
from sonosteer.studies.tracking.numbers import (
    DAGGER,
    SIGNED,
    TrackingResult,
    error_row,
    has_angle,
    insertion_sums,
    phases,
    pooled_spread,
)
from sonosteer.studies.tracking.published import (
    REDUCTIONS,
    TABLE_III,
    TABLE_IV_ARROWS,
    TABLE_V_ARROWS,
    WITHIN_1_MM,
    WITHIN_5_MM,
)
from sonosteer.studies.tracking.readings import READINGS

TableKey = Literal["etheta", "en"]
#: level of the tests by insertion. chosen: 18 insertions cannot give what 1,390 frames give
INSERTION_LEVEL = 0.05
#: where the start of an insertion ends for the table of causes. chosen: half of the shortest one
START_S = 1.0
OPPOSITE = {"↑": "↓", "↓": "↑"}


def paper_arrow(key: TableKey, a: str, b: str) -> str:
    """What Table IV (etheta) or V (en) has for row a and column b."""
    order, table = list(TABLE_III), TABLE_IV_ARROWS if key == "etheta" else TABLE_V_ARROWS
    i, j = order.index(a), order.index(b)
    if i > j:
        arrow = paper_arrow(key, b, a)
        return OPPOSITE.get(arrow, arrow)
    return table[a][j - i - 1]


def pair_rows(key: TableKey, methods: Sequence[str], results: Sequence[TrackingResult]) -> list[dict[str, Any]]:
    """All pairs of the paper's methods, the paper's arrow, ours by frame and by insertion, and whether they agree.

    Holm's correction counts the pairs of this table.
    """
    spread = {m: pooled_spread(m, results) for m in methods}
    sums = {m: insertion_sums(m, key, results) for m in methods}
    pairs = list(itertools.combinations(methods, 2))
    by_frame = [
        spread_p_value(spread[a][key], int(spread[a]["n"]), spread[b][key], int(spread[b]["n"])) for a, b in pairs
    ]
    rng = np.random.default_rng(0)
    by_insertion = [spread_p_by_cluster(sums[a], sums[b], rng) for a, b in pairs]
    rows = []
    for (a, b), f, f_holm, c, c_holm in zip(
        pairs, by_frame, holm(by_frame), by_insertion, holm(by_insertion), strict=True
    ):
        s, t = spread[a], spread[b]
        ours = compare_spread(s[key], int(s["n"]), t[key], int(t["n"]))
        theirs = paper_arrow(key, a, b)
        way = "↑" if s[key] > t[key] else "↓"
        rows.append(
            {
                "row": a,
                "column": b,
                "sd_row": round(s[key], 3),
                "sd_column": round(t[key], 3),
                "paper": theirs,
                "ours": ours,
                "agreement": agreement(theirs, ours),
                "p_frames": _p(f),
                "p_frames_holm": _p(f_holm),
                "ours_frames_holm": way if f_holm < LEVEL else "-",
                "p_insertions": _p(c),
                "p_insertions_holm": _p(c_holm),
                "ours_insertions_holm": way if c_holm < INSERTION_LEVEL else "-",
            }
        )
    return rows


def agreement(theirs: str, ours: str) -> str:
    """agrees, opposite, only the paper, or only ours (significant)."""
    if theirs == ours:
        return "agrees"
    if theirs == "-":
        return "only ours"
    return "only the paper" if ours == "-" else "opposite"


def agreement_counts(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many pairs agree: among the paper's eleven methods, and with the optical tracking system."""
    out = []
    for name, some in (
        ("the eleven methods", [r for r in rows if "optical" not in (r["row"], r["column"])]),
        ("with the optical tracker", [r for r in rows if "optical" in (r["row"], r["column"])]),
    ):
        count = Counter(r["agreement"] for r in some)
        out.append(
            {
                "pairs": name,
                "all": len(some),
                **{word: count[word] for word in ("agrees", "only the paper", "only ours", "opposite")},
                "significant by frame, Holm": sum(r["ours_frames_holm"] != "-" for r in some),
                "significant by insertion, Holm": sum(r["ours_insertions_holm"] != "-" for r in some),
            }
        )
    return out


def mean_tests(methods: Sequence[str], results: Sequence[TrackingResult]) -> list[dict[str, Any]]:
    """Is a mean error 0? By frame as the paper does it, and by insertion. Holm's correction counts all rows."""
    rows, by_frame, by_insertion = [], [], []
    for m in methods:
        for key in SIGNED:
            if key == "etheta" and not has_angle(m):
                continue
            sums: ClusterSums = insertion_sums(m, key, results)
            means = sums.means()
            pooled = _pooled(sums)
            by_frame.append(pooled)
            by_insertion.append(mean_p_value(means))
            published = getattr(TABLE_III[m], key) if m in TABLE_III else None
            rows.append(
                {
                    "method": m,
                    "error": key,
                    "mean_of_insertions": round(float(means.mean()), 3) if len(means) else None,
                    "insertions": len(means),
                    "paper_mean": published.mean if published else None,
                    "paper_not_0": "yes" if published and published.not_zero > 0.5 else "no" if published else "",
                }
            )
    for row, f, fh, c, ch in zip(rows, by_frame, holm(by_frame), by_insertion, holm(by_insertion), strict=True):
        row |= {
            "p_frames": _p(f),
            "p_frames_holm": _p(fh),
            "p_insertions": _p(c),
            "p_insertions_holm": _p(ch),
            "not_0_by_frame": "yes" if f < LEVEL else "no",
            "not_0_by_insertion_holm": "yes" if ch < INSERTION_LEVEL else "no",
        }
    return rows


def _pooled(sums: ClusterSums) -> float:
    """p-value of the t-test over all frames, from their sums."""
    from scipy import stats

    n, mean = float(sums.count.sum()), float(sums.total.sum() / max(sums.count.sum(), 1.0))
    if n < 2:
        return 1.0
    sd = np.sqrt(max((float(sums.square.sum()) - n * mean * mean) / (n - 1), 0.0))
    return float(2 * stats.t.sf(abs(mean) / (sd / np.sqrt(n)), n - 1)) if sd > 0 else 1.0


def reduction_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How much smaller than OM's an error is, in %, ours and the paper's. rows: those of Table III."""
    by = {r["method"].rstrip(DAGGER): r for r in rows}
    out = []
    for m in ("kf", "kf+f", "pf", "pf+f", "kfv", "kfv+f", "pfv", "pfv+f"):
        if m not in by or "om" not in by:
            continue
        theirs = REDUCTIONS.get(m)
        row: dict[str, Any] = {"method": m}
        for i, (key, name) in enumerate((("e_p95", "95 % of ‖e‖"), ("e_sd", "SD of ‖e‖"), ("en_sd", "SD of e_n"))):
            row[f"{name}, ours"] = _fall(by[m][key], by["om"][key])
            row[f"{name}, paper"] = -theirs[i] if theirs else _published_fall(m, key)
        row["99 % of ‖e‖, ours"] = _fall(by[m]["e_p99"], by["om"]["e_p99"])
        out.append(row)
    return out


def _fall(value: float, reference: float) -> float | None:
    return round(100.0 * (value / reference - 1.0), 1) if reference > 0 else None


def _published_fall(method: str, key: str) -> float | None:
    def value(m: str) -> float:
        row = TABLE_III[m]
        return {"e_p95": row.e.p95, "e_sd": row.e.sd, "en_sd": row.en.sd}[key]

    return _fall(value(method), value("om"))


def within_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Shares of frames that the paper's text gives: |e_p| below 1 mm, |e_n| up to 5 mm."""
    out = []
    for r in rows:
        m = r["method"].rstrip(DAGGER)
        if m not in TABLE_III:
            continue
        theirs = f"{100 * WITHIN_1_MM['df']:.1f}" if m == "df" else f"over {100 * WITHIN_1_MM['others']:.0f}"
        out.append(
            {
                "method": r["method"],
                "|e_p| < 1 mm, %": round(100 * r["ep_within_1mm"], 1),
                "paper: |e_p| < 1 mm, %": "" if m == "optical" else theirs,
                "|e_n| <= 5 mm, %": round(100 * r["en_within_5mm"], 1),
                "paper: |e_n| <= 5 mm, %": f"{100 * WITHIN_5_MM[m]:.1f}" if m in WITHIN_5_MM else "",
            }
        )
    return out


def reading_rows(
    paper: Sequence[TrackingResult], readings: Sequence[TrackingResult], *, cause: bool
) -> list[dict[str, Any]]:
    """Variants beside their methods on the same insertions. cause: the experiments on PF+F against KF+F."""
    out: list[dict[str, Any]] = []
    wanted = [(name, r) for name, r in READINGS.items() if r.cause == cause]
    bases = dict.fromkeys(["kf+f", "pf+f"] if cause else [r.method for _, r in wanted])
    for base in bases:
        of_base = [name for name, r in wanted if r.method == base]
        for name, results in [(base, paper), *((n, readings) for n in of_base)]:
            if not results or name not in results[0]["methods"]:
                continue
            r = error_row(name, results)
            row = {
                "variant": name,
                "what": READINGS[name].about if name in READINGS else "as shipped",
                "runs": r["runs"],
                "‖e‖ mean": r["e_mean"],
                "‖e‖ 95 %": r["e_p95"],
                "e_n mean": r["en_mean"],
                "e_n SD": r["en_sd"],
            }
            if cause:
                row |= {f"e_n {k.replace('_', ' ')}": v for k, v in phases(name, results, START_S).items()}
            else:
                row["e_theta SD"] = r["etheta_sd"]
            out.append(row)
    return out


def by_speed_rows(paper: Sequence[TrackingResult]) -> list[dict[str, Any]]:
    """Mean and SD of e_n of KF+F and PF+F at each insertion speed, in the first second and after it."""
    out = []
    for speed in sorted({r["speed_mm_s"] for r in paper}):
        some = [r for r in paper if r["speed_mm_s"] == speed]
        for m in ("kf+f", "pf+f"):
            if m in some[0]["methods"]:
                out.append({"speed (mm/s)": speed, "method": m, **phases(m, some, START_S)})
    return out


def _p(value: float) -> float:
    return float(f"{value:.2g}")
