"""Steering on both plants: how far insertions end from the target, with intervals and tests by insertion.

A row is one insertion: plant, tissue, recipe, controller, seed, final_mm, mean_mm, rotation_deg, warned. All tables
take an insertion as one. Frames are never counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.paired import mean_interval, paired_test
from sonosteer.metrics.significance import holm
from sonosteer.sim.steering_scenes import TISSUES
from sonosteer.studies.pages import TableRow

Insertion = Mapping[str, Any]
FAR_MM = 1.5  # chosen: an insertion that ends farther off shall have warned
PAIRS = (
    ("moves", "paper-s"),
    ("moves", "open-loop"),
    ("moves", "none"),
    ("paper-s", "open-loop"),
    ("paper-s", "none"),
)


def final_mm(rows: Iterable[Insertion]) -> F64:
    """Return the final deflections, (n,), mm."""
    return np.array([float(r["final_mm"]) for r in rows])


def plant_table(rows: Sequence[Insertion]) -> list[TableRow]:
    """By plant, recipe, controller and tissue: final deflection, mean along the path, rotation."""
    out: list[TableRow] = []
    for plant, recipe, controller in _kinds(rows, "plant", "recipe", "controller"):
        for tissue in (*TISSUES, "all"):
            of = [
                r
                for r in rows
                if (r["plant"], r["recipe"], r["controller"]) == (plant, recipe, controller)
                and tissue in ("all", r["tissue"])
            ]
            if of:
                names = {"plant": plant, "recipe": recipe, "controller": controller, "tissue": tissue}
                out.append(names | _one_row(of))
    return out


def _one_row(of: Sequence[Insertion]) -> TableRow:
    final = final_mm(of)
    path = np.array([float(r["mean_mm"]) for r in of])
    turned = np.array([float(r["rotation_deg"]) for r in of])
    far = [r for r in of if float(r["final_mm"]) > FAR_MM]
    return {
        "insertions": len(of),
        "final mm, mean [95 %]": _with_interval(final),
        "SD": f"{final.std(ddof=1):.2f}" if len(of) > 1 else "",
        "median": f"{np.median(final):.2f}",
        "95 %": f"{np.quantile(final, 0.95):.2f}",
        "largest": f"{final.max():.2f}",
        "path mm, mean [95 %]": _with_interval(path),
        "rotation deg, mean [95 %]": _with_interval(turned, 0),
        "largest deg": f"{turned.max():.0f}",
        f"over {FAR_MM:g} mm": len(far),
        "of these, warned": sum(_warned(r) for r in far),
    }


def _warned(row: Insertion) -> bool:
    """Whether the run warned or stopped. A row from a CSV holds words."""
    return str(row["warned"]) == "True" or bool(row.get("warnings"))


def _with_interval(values: F64, digits: int = 2) -> str:
    low, high = mean_interval(values)
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _kinds(rows: Sequence[Insertion], *names: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(r[n] for n in names) for r in rows))


def paired_table(rows: Sequence[Insertion]) -> list[TableRow]:
    """Controllers on the same insertions: difference of the final deflection, and what is left of p after Holm.

    Holm's correction is over all rows of the table, for each of the two tests.
    """
    tests = []
    for plant, recipe in _kinds(rows, "plant", "recipe"):
        of: dict[str, dict[tuple[str, int], float]] = {}
        for r in rows:
            if (r["plant"], r["recipe"]) == (plant, recipe):
                of.setdefault(r["controller"], {})[r["tissue"], int(r["seed"])] = float(r["final_mm"])
        for a, b in PAIRS:
            both = sorted(of.get(a, {}).keys() & of.get(b, {}).keys())
            if len(both) > 1:
                found = paired_test(np.array([of[a][k] for k in both]), np.array([of[b][k] for k in both]))
                tests.append(((plant, recipe, a, b), found))
    wilcoxon = holm([t.wilcoxon_p for _, t in tests])
    permutation = holm([t.permutation_p for _, t in tests])
    return [
        {
            "plant": plant,
            "recipe": recipe,
            "controllers": f"{a} - {b}",
            "insertions": t.pairs,
            "difference mm [95 %]": f"{t.mean:.2f} [{t.low:.2f}, {t.high:.2f}]",
            "p, Wilcoxon": _p(t.wilcoxon_p),
            "after Holm": _p(p1),
            "p, permutation": _p(t.permutation_p),
            "after Holm ": _p(p2),
        }
        for ((plant, recipe, a, b), t), p1, p2 in zip(tests, wilcoxon, permutation, strict=True)
    ]


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


# -- why the published controller misses -----------------------------------------------------------------------


def ladder_table(rows: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> list[TableRow]:
    """rows: (rung, what it adds, climber, outcome of one insertion). A row of the table is a rung."""
    out: list[TableRow] = []
    for rung, what in dict.fromkeys((r, w) for r, w, _, _ in rows):
        row: TableRow = {"rung": rung, "added": what}
        for climber in dict.fromkeys(c for _, _, c, _ in rows):
            final = final_mm(o for r, _, c, o in rows if (r, c) == (rung, climber))
            if len(final):
                row["insertions"] = len(final)
                row[f"{climber} mm"] = f"{_with_interval(final)}, largest {final.max():.2f}"
        out.append(row)
    return out


def weak_table(rows: Sequence[tuple[str, float, str, Mapping[str, Any]]]) -> list[TableRow]:
    """rows: (plant, factor on the bevel's force, controller, outcome). How little must a needle bend to be steered?"""
    out: list[TableRow] = []
    for plant, gain in dict.fromkeys((p, g) for p, g, _, _ in rows):
        ends = {c: final_mm(o for p, g, who, o in rows if (p, g, who) == (plant, gain, c)) for c in ("none", "paper-s")}
        if all(map(len, ends.values())):
            out.append(
                {
                    "plant": plant,
                    "factor on the bevel's force": f"{gain:g}",
                    "insertions": len(ends["none"]),
                    "no control mm": _with_interval(ends["none"]),
                    "paper-s mm": _with_interval(ends["paper-s"]),
                    "what is left": f"{100 * ends['paper-s'].mean() / ends['none'].mean():.0f} %",
                }
            )
    return out


def knob_table(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[TableRow]:
    """rows: (plant, setting, outcome of one insertion of Paper S's controller with its own searches)."""
    out: list[TableRow] = []
    for setting in dict.fromkeys(s for _, s, _ in rows):
        for plant in dict.fromkeys(p for p, _, _ in rows):
            of = [o for p, s, o in rows if (p, s) == (plant, setting)]
            if of:
                final = final_mm(of)
                path, turned = (np.array([float(o[n]) for o in of]) for n in ("mean_mm", "rotation_deg"))
                out.append(
                    {
                        "setting": setting,
                        "plant": plant,
                        "insertions": len(of),
                        "final mm [95 %]": _with_interval(final),
                        "path mm [95 %]": _with_interval(path),
                        "largest on the way mm": f"{np.mean([float(o['max_mm']) for o in of]):.2f}",
                        "rotation deg [95 %]": _with_interval(turned, 0),
                    }
                )
    return out
