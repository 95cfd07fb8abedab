"""The laws that the true needle keeps, whatever is ordered, seen, read, delayed or lost.

Each law gives one number of a run and the bound that it must not exceed. A run that lies about pictures and encoders at
once is held only to what does not rest on either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .plan import Plan
from .stage import LIMITS, PERIOD_S, Trace

F64 = NDArray[np.float64]

SIDEWAYS_MM_S = 25.0  # the stated limit of any inserted point
LIES_MM = 3.0  # how far past a limit a needle may get whose encoders lie while pictures are good
READ_MM = 0.15  # chosen: what the encoders' own noise and one period's rounding may add
LYING = ", encoders lie"  # what the names of laws end with that allow for that
BEHIND = ", axis behind"  # the same where an axis may have fallen behind what it was told, or its encoder lies
WINDOW = 10  # chosen: speeds sideways and rolls are taken over this many periods

#: pictures that show a wrong place, or the right one with a wrong time: nothing tells but the encoders
PICTURE_LIES = ("tip slides", "tip jumps", "picture is late and dated now")


@dataclass(frozen=True)
class Measure:
    """How near a run came to a bound. Above it, the law is broken."""

    name: str
    value: float
    bound: float
    unit: str

    @property
    def broken(self) -> bool:
        """True past the bound, and for what is no number."""
        return not self.value <= self.bound

    @property
    def past(self) -> float:
        """By how much it is past the bound. Negative: how far away it stayed."""
        return self.value - self.bound


@dataclass(frozen=True)
class Path:
    """The true motion, a row for each step."""

    time_s: F64
    dt_s: F64
    depth_mm: F64
    angle_rad: F64
    roll_rad: F64
    probe_mm: F64

    @property
    def along_mm_s(self) -> F64:
        """Speed along the needle from each row to the next."""
        return np.diff(self.depth_mm) / self.dt_s

    @property
    def sideways_mm(self) -> F64:
        """Way of the tip sideways from each row to the next, with its sign."""
        inserted = np.maximum(np.maximum(self.depth_mm[1:], self.depth_mm[:-1]), 0.0)
        return np.diff(self.angle_rad) * inserted

    @property
    def moved_mm(self) -> F64:
        """Way of tip and probe from each row to the next."""
        probe = np.linalg.norm(np.diff(self.probe_mm, axis=0), axis=1)
        return np.hypot(np.diff(self.depth_mm), self.sideways_mm) + probe


def _path(trace: Trace) -> Path:
    rows = np.array(trace.moves)
    keep = np.concatenate([[True], np.diff(rows[:, 0]) > 1e-9])
    rows = rows[keep]
    return Path(rows[:, 0], np.diff(rows[:, 0]), rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4:7])


def judge(plan: Plan, trace: Trace) -> list[Measure]:
    """All measures of a run."""
    path = _path(trace)
    lies = {t.name for t in plan.tricks if t.kind.startswith("encoder ")}
    blind = any(t.kind in PICTURE_LIES for t in plan.tricks)
    dated_s = max((t.size for t in plan.tricks if t.kind == "picture is late and dated now"), default=0.0)
    behind = any(t.kind in ("axis sticks", "link") or t.name.endswith((" angle", " roll")) for t in plan.tricks)
    out = [*_limits(path, lies, blind), *_rates(path, behind), *_stands(path, trace), *_knows(path, trace, dated_s)]
    if trace.region is not None and plan.exact and not blind:
        lied = any(not n.endswith("roll") for n in lies)
        tip, shaft = inside_mm(path, trace)
        out.append(_held("tip in a region", tip, 1e-3, lied))
        if not out[-1].broken:
            out.append(_held("shaft in a region", shaft, 1e-3, lied))
    out.append(Measure("forged", float(len(trace.forged)), 0.0, ""))
    out.append(Measure("raised", float(len(trace.raised)), 0.0, ""))
    return out


def _limits(path: Path, lies: set[str], blind: bool) -> list[Measure]:
    low, high = LIMITS.depth_mm
    out = []
    needle = any(n.endswith(("depth", "speed")) for n in lies)
    if not (needle and blind):
        out.append(_held("too deep", float(path.depth_mm.max()) - high, READ_MM, needle))
        out.append(_held("too far out", low - float(path.depth_mm.min()), READ_MM, needle))
    turned = any(n.endswith("angle") for n in lies)
    low, high = LIMITS.angle_rad
    past = max(float(path.angle_rad.max()) - high, low - float(path.angle_rad.min()))
    out.append(Measure("angle" + LYING * turned, past, 0.005 + LIMITS.encoder_rad * turned, "rad"))
    probe = any("probe" in n for n in lies)
    if not (probe and blind):
        past = float(np.max(np.abs(path.probe_mm).max(0) - LIMITS.probe_mm))
        out.append(_held("probe travel", past, READ_MM, probe))
    return out


def _held(name: str, past_mm: float, bound_mm: float, lied: bool) -> Measure:
    """How far past a limit of place. Encoders that lie may add LIES_MM."""
    return Measure(name + LYING * lied, past_mm, bound_mm + LIES_MM * lied, "mm")


def _rates(path: Path, behind: bool) -> list[Measure]:
    """Speeds, and how they grow. behind: an axis may have fallen behind what it was told.

    It may then catch up by as much as an order lasts, and start as fast as speeds grow within `standstill_s`. Nobody
    measures the probe's speed. It is at rest once it has stood for that long.
    """
    catch_up = 1.0 + behind * LIMITS.order_s / (WINDOW * PERIOD_S)
    ahead_mm_s = 2.5 + behind * LIMITS.acceleration_mm_s2 * LIMITS.standstill_s
    stood_s = behind * LIMITS.standstill_s
    along = path.along_mm_s
    sideways, rolls = _windowed(path.sideways_mm, path.dt_s), _windowed(np.diff(path.roll_rad), path.dt_s)
    probe = np.abs(np.diff(path.probe_mm, axis=0)) / path.dt_s[:, None]
    speed = max(float(along.max()) - LIMITS.forward_mm_s, -float(along.min()) - LIMITS.backward_mm_s)
    return [
        Measure("speed along", speed, 0.1, "mm/s"),
        Measure("speed sideways" + BEHIND * behind, sideways, SIDEWAYS_MM_S * catch_up + 0.5, "mm/s"),
        Measure("speed of the probe", float((probe - LIMITS.probe_mm_s).max()), 0.1, "mm/s"),
        Measure("rate of roll" + BEHIND * behind, rolls, LIMITS.roll_rad_s * catch_up + 0.1, "rad/s"),
        Measure(
            "start of the needle" + BEHIND * behind,
            _jerk(path.time_s, along, LIMITS.acceleration_mm_s2),
            ahead_mm_s,
            "mm/s",
        ),
        Measure(
            "start of the probe" + BEHIND * behind,
            max(
                _jerk(path.time_s, np.diff(path.probe_mm[:, k]) / path.dt_s, LIMITS.probe_mm_s2, stood_s)
                for k in range(3)
            ),
            ahead_mm_s,
            "mm/s",
        ),
    ]


def _windowed(ways: F64, dt_s: F64) -> float:
    """Largest mean rate over WINDOW periods. One period's step may be made at once."""
    sums = np.concatenate([[0.0], np.cumsum(ways)])
    times = np.concatenate([[0.0], np.cumsum(dt_s)])
    if len(sums) <= WINDOW:
        return 0.0
    way, span = np.abs(sums[WINDOW:] - sums[:-WINDOW]), times[WINDOW:] - times[:-WINDOW]
    return float(np.max(way / (span + PERIOD_S)))


def _jerk(time_s: F64, speed: F64, most_mm_s2: float, stood_s: float = 0.0) -> float:
    """By how much a speed exceeds what it can have grown to since it was last at rest for so long, either way."""
    worst = 0.0
    for way in (1.0, -1.0):
        v = way * speed
        moved_s = np.maximum.accumulate(np.where(v <= 0.3, -math.inf, time_s[1:]))
        stands = (v <= 0.3) & (time_s[1:] - moved_s >= stood_s - 1e-9)
        rest_s = np.maximum.accumulate(np.where(stands, time_s[1:], time_s[0]))
        worst = max(worst, float(np.max(v - most_mm_s2 * (time_s[1:] - rest_s + PERIOD_S))))
    return worst


def _stands(path: Path, trace: Trace) -> list[Measure]:
    """What moves although it was told to hold, its command has run out, or something is known to be wrong."""
    ends = path.time_s[1:]
    told_s = np.array([t for t, *_ in trace.told])
    until_s = np.array([LIMITS.standstill_s + (max(e, t) if what == "cleared" else t) for t, what, e in trace.told])
    if len(told_s):
        k = np.searchsorted(told_s, ends - 1e-9) - 1
        may_s = np.where(k >= 0, until_s[np.maximum(k, 0)], LIMITS.standstill_s)
        for back in (1, 2, 3, 4, 5):  # a hold takes a moment; so does the command that came just before
            earlier = np.maximum(k - back, 0)
            recent = ends - told_s[np.maximum(k, 0)] <= 0.0
            may_s = np.where(recent & (k - back >= 0), np.maximum(may_s, until_s[earlier]), may_s)
    else:
        may_s = np.full(len(ends), LIMITS.standstill_s)
    late = ends > may_s + PERIOD_S + 1e-6
    spells = [
        Measure("moves on after its command", _longest(path.moved_mm, late), 0.3, "mm"),
        Measure("rolls on after its command", _longest(np.abs(np.diff(path.roll_rad)), late), 0.02, "rad"),
    ]
    held = [0.0]
    for _, since_s, until in trace.must_stand:
        stands_s = _next_tick(trace, since_s) + LIMITS.standstill_s + PERIOD_S
        wrong = (ends > stands_s + 1e-6) & (ends <= until)
        held.append(_longest(path.moved_mm + np.abs(np.diff(path.roll_rad)), wrong))
    unheard = [0.0]
    for pressed_s in trace.presses:
        first = next(((t, cleared) for t, cleared in trace.ticks if t > pressed_s + 1e-9), None)
        unheard.append(float(first is not None and first[1]))
    return [
        *spells,
        Measure("moves on though it must stand", max(held), 0.3, "mm"),
        Measure("stop unheard", max(unheard), 0.0, ""),
    ]


def _next_tick(trace: Trace, since_s: float) -> float:
    """When a loop that learns something at this time has told the robot to hold, or its last command has run out."""
    acted = next((t for t, _ in trace.ticks if t > since_s + 1e-9), math.inf)
    heard = any(t >= acted - 1e-9 and t <= acted + 0.5 * PERIOD_S for t, what, _ in trace.told if what == "held")
    acted = acted if heard or acted == math.inf else _expiry(trace, acted)
    return min(acted + PERIOD_S, _expiry(trace, since_s))


def _expiry(trace: Trace, at_s: float) -> float:
    """When the last command that the robot has heard by then runs out."""
    told = [e for t, what, e in trace.told if t <= at_s + 1e-9 and what == "cleared"]
    return max(told[-1] if told else at_s, at_s)


def _longest(moved: F64, wrong: NDArray[np.bool_]) -> float:
    """Longest way in one spell of motion that should not be."""
    if not wrong.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wrong, [False]]).astype(int)))
    sums = np.concatenate([[0.0], np.cumsum(moved)])
    return float(max(sums[b] - sums[a] for a, b in zip(edges[::2], edges[1::2], strict=True)))


def _knows(path: Path, trace: Trace, dated_s: float) -> list[Measure]:
    """How old the newest good estimate and the newest reading are while the needle moves.

    dated_s: by how much pictures were dated too late. Nothing can tell that from outside while encoders agree.
    """
    turned = np.abs(np.convolve(path.sideways_mm, np.ones(WINDOW))[: len(path.dt_s)]) > 0.25
    moving = np.flatnonzero((np.abs(path.along_mm_s) > 1.0) | turned)
    ends = path.time_s[1:]
    rests_s = LIMITS.order_s + LIMITS.standstill_s + PERIOD_S
    seen_s = LIMITS.estimate_age_s + LIMITS.time_step_s + LIMITS.repeats / 20.0 + rests_s
    good = [(t, true_s) for t, true_s, kind in trace.handed if kind in ("tracking", "coasting")]
    read_s = LIMITS.robot_state_age_s + LIMITS.order_s + LIMITS.standstill_s + PERIOD_S
    out = [
        Measure(
            "moves on old pictures",
            _oldest(ends[moving], good),
            max(seen_s + 0.15, dated_s + LIMITS.estimate_age_s + rests_s),
            "s",
        ),
        Measure("moves on old readings", _oldest(ends[moving], trace.reads), read_s + WINDOW * PERIOD_S + 0.02, "s"),
    ]
    lost = np.zeros(len(ends), dtype=bool)
    kinds = [(t, kind) for t, _, kind in trace.handed]
    for k, (since_s, kind) in enumerate(kinds):
        if kind in ("lost", "junk"):
            until_s = kinds[k + 1][0] if k + 1 < len(kinds) else math.inf
            stands_s = _next_tick(trace, since_s - 2e-9) + LIMITS.standstill_s + 2 * PERIOD_S
            lost |= (ends > stands_s) & (ends <= until_s)
    moved = _longest(np.where(lost, path.moved_mm - _probe(path), 0.0), lost)
    out.append(Measure("moves though the tip is lost", moved, 0.5, "mm"))
    return out


def _probe(path: Path) -> F64:
    out: F64 = np.linalg.norm(np.diff(path.probe_mm, axis=0), axis=1)
    return out


def _oldest(at_s: F64, known: list[tuple[float, float]]) -> float:
    """Greatest age of the newest thing known, at these times."""
    if not len(at_s) or not known:
        return float(at_s[-1]) if len(at_s) else 0.0
    when = np.array([k[0] for k in known])
    of = np.maximum.accumulate(np.array([k[1] for k in known]))
    k = np.searchsorted(when, at_s + 1e-9) - 1
    return float(np.max(at_s - np.where(k >= 0, of[np.maximum(k, 0)], 0.0)))


def inside_mm(path: Path, trace: Trace) -> tuple[float, float]:
    """How deep the tip, and any point of the inserted shaft, was inside the region. Negative: how far away."""
    assert trace.region is not None
    (ex, ey), (cx, cy), depth = trace.entry_mm, trace.region.center_mm, np.maximum(path.depth_mm, 0.0)
    ux, uy = trace.towards * np.cos(path.angle_rad), np.sin(path.angle_rad)
    along = np.clip((cx - ex) * ux + (cy - ey) * uy, 0.0, depth)
    away = (np.hypot(ex + a * ux - cx, ey + a * uy - cy) for a in (depth, along))
    tip, shaft = (trace.region.radius_mm - float(a.min()) for a in away)
    return tip, shaft


def path_of(trace: Trace) -> Path:
    """The true motion of a run."""
    return _path(trace)
