"""Looks for the plan that comes nearest to each bound: scripted plans, plans drawn at random, and changes of the best.

The same seed gives the same search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .laws import Measure, inside_mm, judge, path_of
from .plan import Plan, draw_insertion, draw_plan, draw_script, fewer, mutate
from .stage import play


@dataclass
class Hole:
    """A broken law: what broke it first, made as small as it goes."""

    law: str
    plan: Plan
    measure: Measure
    periods: int
    seed: int
    why: tuple[str, ...]


@dataclass
class Report:
    """What a search came to."""

    seed: int
    periods: int = 0
    runs: int = 0
    violations: int = 0
    nearest: dict[str, tuple[Measure, Plan]] = field(default_factory=dict)
    by_trick: dict[str, Counter[str]] = field(default_factory=dict)
    nearest_by_trick: dict[str, tuple[Measure, Plan]] = field(default_factory=dict)
    holes: dict[tuple[str, tuple[str, ...]], Hole] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    drawn: int = 0
    entered: int = 0
    near: int = 0
    _script: int = -1

    def scripts(self) -> int:
        """The number of the next script."""
        self._script += 1
        return self._script


def _region(law: str) -> bool:
    return law.startswith(("tip in a region", "shaft in a region"))


def _travel(law: str) -> bool:
    return law.startswith(("too deep", "too far out", "probe travel", "tip in a region"))


#: the holes that an earlier adversary found by hand, and how to tell that the search found one of them
KNOWN: dict[str, Callable[[str, str], bool]] = {
    "1 the picture's own scale is not looked at": lambda law, why: (
        ("zooms" in why or "no scale" in why) and (_region(law) or law == "moves on old pictures")
    ),
    "2 creeping into a region": lambda law, why: _region(law) and why == "creep",
    "3 the shaft is swept through a region": lambda law, why: (
        law == "shaft in a region" and why in ("sweep", "aim", "swing")
    ),
    "4 no rate of turning": lambda law, why: law.startswith("speed sideways") and "encoder" not in why,
    "5 a reading's age is not reckoned with": lambda law, why: (
        _travel(law) and ("encoders age" in why or "clock steps" in why)
    ),
    "6 encoders that lie": lambda law, why: _travel(law) and "encoder " in why,
    "7 the stop channel dies silently": lambda law, why: "stop channel" in why,
    "8 a first command after a gap is fast": lambda law, why: law.startswith("start of"),
    "9 pictures that come again": lambda law, why: "pictures repeat" in why,
    "10a roll runs away from a stuck axis": lambda law, why: law.startswith("rate of roll"),
    "10b a full queue drops a stop": lambda law, why: "full queue" in why,
    "10c a covariance that is none": lambda law, why: "covariance" in why,
    "10d the robot takes what no gate has cleared": lambda law, why: law == "forged",
    "10e junk raises": lambda law, why: law == "raised",
}


def found(report: Report) -> dict[str, Hole]:
    """The first hole for each of KNOWN that was found."""
    out: dict[str, Hole] = {}
    for name, is_it in KNOWN.items():
        holes = [h for h in report.holes.values() if is_it(h.law, ", ".join(h.why))]
        if holes:
            out[name] = min(holes, key=lambda h: h.periods)
    return out


def measures_of(plan: Plan) -> list[Measure]:
    """Play a plan and judge it."""
    return judge(plan, play(plan))


def search(
    periods: int, seed: int, progress: Callable[[Report], None] = lambda report: None, shrink: bool = True
) -> Report:
    """Attack for that many control periods."""
    rng = np.random.default_rng(seed)
    report = Report(seed)
    while report.periods < periods:
        plan = _next(report, rng)
        trace = play(plan)
        measures = judge(plan, trace)
        report.runs += 1
        report.periods += trace.periods
        report.rules.update(trace.rules)
        if not plan.exact:
            report.drawn += 1
            tip, shaft = inside_mm(path_of(trace), trace)
            report.entered += max(tip, shaft) > 0.0
            report.near += max(tip, shaft) > -3.0
        _note(report, plan, measures, shrink)
        progress(report)
    return report


def _next(report: Report, rng: np.random.Generator) -> Plan:
    """A script in turn, a plan of anything, or a change of one of the best."""
    how = rng.random()
    if how < 0.1:
        return draw_insertion(rng)
    if how < 0.5:
        return draw_script(rng, report.scripts())
    best = [plan for measure, plan in report.nearest.values() if not measure.broken and measure.value != 0]
    if how < 0.7 and best:
        return mutate(best[int(rng.integers(len(best)))], rng)
    return draw_plan(rng)


def _note(report: Report, plan: Plan, measures: list[Measure], shrink: bool) -> None:
    broken = [m for m in measures if m.broken]
    report.violations += bool(broken)
    for name in plan.names():
        count = report.by_trick.setdefault(name, Counter())
        count["runs"] += 1
        count["broken"] += bool(broken)
        for m in measures:
            key = f"{name}|{m.name}"
            if key not in report.nearest_by_trick or m.past > report.nearest_by_trick[key][0].past:
                report.nearest_by_trick[key] = m, plan
    for m in measures:
        if m.name not in report.nearest or m.past > report.nearest[m.name][0].past:
            report.nearest[m.name] = m, plan
    for m in broken:
        small = smaller(plan, m.name) if shrink else plan
        why = tuple(filter(None, (small.wish.turn, *sorted({t.name for t in small.tricks}))))
        if (m.name, why) not in report.holes:
            now = next(x for x in measures_of(small) if x.name == m.name)
            report.holes[m.name, why] = Hole(m.name, small, now, report.periods, report.seed, why)


def smaller(plan: Plan, law: str) -> Plan:
    """The plan without all that it does not need to break this law."""
    again = True
    while again:
        again = False
        for less in fewer(plan):
            if any(m.name == law and m.broken for m in measures_of(less)):
                plan, again = less, True
                break
    return plan
