"""What Carriere et al. 2019 say of the model, the fit and the searches, as numbers: Figs. 2 and 7, and Eq. (14).

Full reference in `steering/event_triggered.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.needle.bicycle import Bicycle, Plan, largest_deflection, published_largest_deflection
from sonosteer.steering.genetic import evolve_plan, plan_cost
from sonosteer.steering.optimise import STARTS, optimise
from sonosteer.steering.simulated_fits import DEPTHS
from sonosteer.studies.pages import TableRow

DEPTH_MM = 120.0
GENERATIONS = 480  # one a frame: 120 mm at 5 mm/s and 20 Hz
INDIVIDUALS = 60  # Section 4.2
FIG_2_CURVATURE, FIG_2_THETA0 = 1 / 1500, math.radians(2.0)  # chosen: the paper does not say
FIG_2_WEIGHTS = {
    "weak regulation (alpha 1, beta 0)": (1.0, 0.0),
    "alpha 10, beta 1": (10.0, 1.0),
    "regulation (alpha 0, beta 1)": (0.0, 1.0),
}
MAXIMA_PLANS, MAXIMA_SEARCHES = 10_000, 60  # chosen: a second or two


def planned(k: float, theta0: float, weights: tuple[float, float], search: str, seed: int = 0) -> tuple[F64, F64]:
    """Return event points and rates of a plan before the insertion: (4,), mm and rad/mm.

    search: "genetic" as published, "genetic, right" with the right maximum, or "gradient".
    """
    starts, rates = np.array([0.0, 30.0, 60.0, 90.0]), np.zeros(4)
    if search == "gradient":
        optimise(starts, rates, 0.0, DEPTH_MM, k, theta0, 0.0, *weights, math.pi, STARTS)
        return starts, rates
    rng, right = np.random.default_rng([seed, 14]), search == "genetic, right"
    for _ in range(GENERATIONS):
        evolve_plan(starts, rates, 0.0, DEPTH_MM, k, theta0, 0.0, *weights, math.pi, INDIVIDUALS, right, rng)
    return starts, rates


def regulation_curves(search: str) -> dict[str, F64]:
    """Deflection over the inserted length by weights: name -> (n, 2), mm. The lines of Fig. 2."""
    at = np.linspace(0.0, DEPTH_MM, 241)
    curves: dict[str, F64] = {}
    for name, weights in FIG_2_WEIGHTS.items():
        starts, rates = planned(FIG_2_CURVATURE, FIG_2_THETA0, weights, search)
        path = Bicycle(FIG_2_CURVATURE, FIG_2_THETA0).path(Plan(tuple(starts.tolist()), tuple(rates.tolist())), at)
        curves[name] = np.stack([at, np.hypot(path[:, 1], path[:, 2])], 1)
    straight = Bicycle(FIG_2_CURVATURE, FIG_2_THETA0).path(Plan((0.0,), (0.0,)), at)
    curves["no rotation"] = np.stack([at, np.hypot(straight[:, 1], straight[:, 2])], 1)
    return curves


def figure_2_table() -> list[TableRow]:
    """Fig. 2 as numbers, with the paper's search and with ours."""
    return [
        {
            "search": search,
            "weights": name,
            "final mm": f"{curve[-1, 1]:.3f}",
            "largest mm": f"{curve[:, 1].max():.3f}",
            "mean mm": f"{np.trapezoid(curve[:, 1], curve[:, 0]) / DEPTH_MM:.3f}",
        }
        for search in ("genetic", "gradient")
        for name, curve in regulation_curves(search).items()
        if search == "genetic" or name != "no rotation"
    ]


def figure_7_numbers(found: Sequence[Mapping[str, Any]]) -> tuple[tuple[F64, F64], tuple[F64, F64]]:
    """Return (mean, SD) of the score of Eq. (18) and of the distance to the truth at 1, 2 ... mm, (100,) each, mm."""
    n = sum(r["insertions"] for r in found)
    s = np.sum([r["sums"] for r in found], axis=0) / n
    score_sd, off_sd = (np.sqrt(np.maximum(s[i + 1] - s[i] ** 2, 0.0)) for i in (0, 2))
    return (s[0], score_sd), (s[2], off_sd)


def figure_7_table(by_noise: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[TableRow]:
    """Fig. 7 as numbers. by_noise: what N(0, 0.5) is taken for -> parts of the simulated fits."""
    rows: list[TableRow] = []
    for noise, found in by_noise.items():
        if not found:
            continue
        score, off = figure_7_numbers(found)
        for depth in range(10, DEPTHS + 1, 10):
            i = depth - 1
            rows.append(
                {
                    "noise N(0, 0.5) is": noise,
                    "insertions": sum(r["insertions"] for r in found),
                    "inserted mm": depth,
                    "score of Eq. (18), mm": f"{score[0][i]:.3f} ± {score[1][i]:.3f}",
                    "distance to the true path, mm": f"{off[0][i]:.3f} ± {off[1][i]:.3f}",
                    "paper": "about 0.1 from here on" if depth == 40 else "",
                }
            )
    return rows


def maxima_table(plans: int = MAXIMA_PLANS, searches: int = MAXIMA_SEARCHES) -> list[TableRow]:
    """The paper's test of the maximum in Eq. (14) and the right one: on random plans, and on plans found with each."""
    rows: list[TableRow] = []
    for points in (1, 2, 3, 4, 6):
        less = np.array([_maxima(np.random.default_rng([points, i]), points) for i in range(plans // 5)])
        rows.append(
            {
                "what": f"random plans, {points} event points: right maximum less the published one, mm",
                "plans": len(less),
                "too small by more than 0.01 mm": f"{100 * np.mean(less > 0.01):.1f} %",
                "mean": f"{less.mean():.3f}",
                "95 %": f"{np.quantile(less, 0.95):.3f}",
                "largest": f"{less.max():.2f}",
            }
        )
    for weights in ((10.0, 1.0), (0.0, 1.0)):
        worse = np.array([_found_worse(i, weights) for i in range(searches)])
        rows.append(
            {
                "what": f"plan found with the published test, less that found with the right one: its true cost, mm, "
                f"alpha {weights[0]:g}, beta {weights[1]:g}",
                "plans": len(worse),
                "too small by more than 0.01 mm": f"{100 * np.mean(worse > 0.01):.1f} %",
                "mean": f"{worse.mean():.3f}",
                "95 %": f"{np.quantile(worse, 0.95):.3f}",
                "largest": f"{worse.max():.2f}",
            }
        )
    return rows


def _needle(rng: np.random.Generator) -> tuple[float, float]:
    """kappa and theta_0 within the bounds of the fit."""
    return float(rng.uniform(1 / 10000, 1 / 500)), float(rng.uniform(0.0, 0.174))


def _maxima(rng: np.random.Generator, points: int) -> float:
    k, theta0 = _needle(rng)
    starts = np.array([0.0, *np.sort(rng.uniform(1.0, DEPTH_MM - 1.0, points)).tolist()])
    ways = np.diff([*starts, DEPTH_MM])
    rates = np.array([0.0, *(rng.uniform(-math.pi, math.pi, points) / np.maximum(ways[1:], 1e-3)).tolist()])
    right = largest_deflection(k, theta0, 0.0, starts, rates, DEPTH_MM)[0]
    return float(right - published_largest_deflection(k, theta0, 0.0, starts, rates, DEPTH_MM)[0])


def _found_worse(seed: int, weights: tuple[float, float]) -> float:
    k, theta0 = _needle(np.random.default_rng([seed, 15]))
    costs: list[float] = []
    for search in ("genetic", "genetic, right"):
        starts, rates = planned(k, theta0, weights, search, seed)
        costs.append(plan_cost(k, theta0, 0.0, starts, rates, DEPTH_MM, *weights, True))
    return costs[0] - costs[1]
