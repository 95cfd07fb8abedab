"""What the adversary does in one run: what it wants of the needle, and which tricks it plays on whom and when.

A plan is plain data. The same plan gives the same run.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LONGEST_S = 2.0

#: goal -> (least and largest start depth in mm, how the needle is to move)
GOALS = {
    "deep": (150.0, 178.0),
    "out": (3.0, 30.0),
    "ahead": (15.0, 110.0),
    "beside": (30.0, 150.0),
    "turn": (30.0, 170.0),
    "probe": (20.0, 100.0),
    "start": (20.0, 120.0),
    "roll": (20.0, 120.0),
    "on": (20.0, 90.0),
}

ENCODERS = ("depth", "angle", "roll", "speed", "probe x", "probe z")
WHERE = ("camera", "read", "send", "recorder", "between")
JUNK = ("nan", "inf", "huge", "text", "none", "old", "ahead of time", "long lived", "wrong type")
COVARIANCES = ("antisymmetric", "negative", "nan", "none", "shape", "infinite")


@dataclass(frozen=True)
class Trick:
    """One lie or fault, for a while."""

    kind: str
    at_s: float
    lasts_s: float
    size: float = 0.0
    what: str = ""

    def on(self, time_s: float) -> bool:
        """True while it is played."""
        return self.at_s <= time_s < self.at_s + self.lasts_s

    @property
    def name(self) -> str:
        """Kind, and what it is done to."""
        return f"{self.kind} {self.what}".strip()


@dataclass(frozen=True)
class Wish:
    """What the policy wants of the needle and the probe."""

    speed_mm_s: float = 0.0
    turn: str = ""
    side: int = 1
    probe_mm_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    roll: int = 0
    burst_s: float = 0.0
    bold: bool = False

    @property
    def name(self) -> str:
        """In one word or two."""
        words = ["push" if self.speed_mm_s > 0 else "draw" if self.speed_mm_s < 0 else "", self.turn]
        words += ["probe"] * any(self.probe_mm_s) + ["roll"] * bool(self.roll) + ["burst"] * (self.burst_s > 0)
        return "+".join(filter(None, words)) or "rest"


@dataclass(frozen=True)
class Plan:
    """One run. region: (mm from the tip, fraction of the way from entry to tip, side, radius in mm), None for none."""

    seed: int
    goal: str
    depth_mm: float
    angle_rad: float
    wish: Wish
    tricks: tuple[Trick, ...] = ()
    region: tuple[float, float, int, float] | None = None
    exact: bool = True
    clearance: float = 0.99
    sd_mm: tuple[float, float] = (0.2, 0.1)
    rate_hz: float = 30.0
    decide_s: float = 0.02
    track_s: float = 0.01
    angle_rad_s: float = 0.5
    roll_rad_s: float = 6.0
    latency_s: float = 0.0
    longest_s: float = LONGEST_S

    @property
    def periods(self) -> int:
        """About how many control periods it takes."""
        return round(self.longest_s / 0.01)

    def names(self) -> tuple[str, ...]:
        """What it consists of."""
        return (self.wish.name, *sorted({t.name for t in self.tricks}))


def written(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    return dataclasses.asdict(plan)


def read(what: dict[str, Any]) -> Plan:
    """A plan from plain data."""
    wish = {**what["wish"], "probe_mm_s": tuple(what["wish"]["probe_mm_s"])}
    region = None if what["region"] is None else tuple(what["region"])
    tricks = tuple(Trick(**t) for t in what["tricks"])
    return Plan(**{**what, "wish": Wish(**wish), "tricks": tricks, "region": region, "sd_mm": tuple(what["sd_mm"])})


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _one(rng: np.random.Generator, things: Any) -> Any:
    return things[int(rng.integers(len(things)))]


def _encoder(rng: np.random.Generator, kind: str, what: str | None = None) -> Trick:
    what = what or _one(rng, ENCODERS)
    jump, drift = {"angle": (0.005, 0.01), "roll": (0.05, 0.2)}.get(what, (1.0, 1.0))
    small = _one(rng, (1.0, 1.0, 0.05))
    size = {
        "encoder sticks": 0.0,
        "encoder jumps": _between(rng, -60, 60) * jump * small,
        "encoder drifts": _between(rng, -25, 25) * drift * small,
        "encoder scales": _between(rng, 0.0, 1.6),
    }[kind]
    return Trick(kind, _between(rng, 0.2, 1.2), _between(rng, 0.05, 2.0), size, what)


def _plain(rng: np.random.Generator, kind: str) -> Trick:
    low, high, longest = SIZES[kind]
    what = _one(rng, WHATS[kind]) if kind in WHATS else ""
    at_s = _one(rng, (0.1, _between(rng, 0.0, 1.6), _between(rng, 0.0, 1.6)))
    return Trick(kind, at_s, _one(rng, (longest, _between(rng, 0.01, longest))), _between(rng, low, high), what)


#: kind -> (least size, largest size, longest duration in s). What a size means says `stage`.
SIZES = {
    "encoders age": (0.0, 0.0, 0.35),
    "loop pauses": (0.01, 0.6, 0.01),
    "loop dies": (0.0, 0.0, 5.0),
    "clock steps": (-0.3, 0.3, 0.01),
    "picture zooms": (-0.03, 0.03, 2.0),
    "picture has no scale": (0.0, 0.0, 2.0),
    "picture lags": (0.02, 0.35, 2.0),
    "picture is late and dated now": (0.1, 1.0, 2.0),
    "pictures repeat": (1, 24, 2.0),
    "camera is silent": (0.0, 0.0, 1.0),
    "stamps shift": (-0.3, 0.3, 1.0),
    "numbers shift": (-20, 20, 1.0),
    "tip is lost": (0.0, 0.0, 0.5),
    "tip is coasting": (0.0, 0.0, 1.5),
    "tip jumps": (-30.0, 30.0, 0.5),
    "tip slides": (-8.0, 8.0, 2.0),
    "covariance": (0.0, 0.0, 2.0),
    "tracker raises": (0.0, 0.0, 0.1),
    "tracker talks nonsense": (0.0, 0.0, 0.1),
    "tracker is dead": (0.0, 0.0, 2.0),
    "policy is dead": (0.0, 0.0, 1.0),
    "policy is slow": (0.05, 0.6, 2.0),
    "orders": (0.0, 0.0, 0.5),
    "axis sticks": (0.0, 0.0, 1.0),
    "link": (0.0, 0.0, 0.4),
    "stop": (0.0, 0.0, 0.01),
    "stop in a full queue": (64, 200, 0.01),
    "stop and false release": (0.0, 0.0, 0.01),
    "stop and release": (0.05, 0.5, 0.01),
    "pause and resume": (0.05, 0.5, 0.01),
    "stop channel": (0.0, 0.0, 0.01),
    "recorder fails": (0.0, 0.0, 0.5),
    "forged": (0.0, 0.0, 0.01),
    "junk": (0.0, 0.0, 1.0),
    "ends": (0.0, 0.0, 0.2),
}
WHATS: dict[str, tuple[str, ...]] = {
    "loop pauses": WHERE,
    "covariance": COVARIANCES,
    "orders": JUNK,
    "axis sticks": ("angle", "roll", "depth"),
    "link": ("deaf", "refuses", "disconnects"),
    "stop channel": ("ends", "breaks"),
    "forged": ("look-alike", "unmade", "subclass", "copied", "pickled", "replaced"),
}
_ENCODER_KINDS = ("encoder sticks", "encoder jumps", "encoder drifts", "encoder scales")
KINDS = (*_ENCODER_KINDS, *SIZES)


def draw_trick(rng: np.random.Generator, kind: str | None = None) -> Trick:
    """Draw a trick of this kind, or of any."""
    kind = kind or _one(rng, KINDS)
    return _encoder(rng, kind) if kind in _ENCODER_KINDS else _plain(rng, kind)


def _together(tricks: list[Trick], rng: np.random.Generator) -> list[Trick]:
    """Half of the time each trick begins while the one before it is played."""
    out: list[Trick] = []
    for trick in tricks:
        if out and rng.random() < 0.5:
            trick = replace(trick, at_s=round(out[-1].at_s + float(rng.uniform(0, out[-1].lasts_s)), 4))
        out.append(trick)
    return out


def _wish(rng: np.random.Generator, goal: str) -> Wish:
    side = _one(rng, (-1, 1))
    fast = _one(rng, (25.0, 25.0, _between(rng, 3, 25)))
    if goal in ("deep", "ahead", "on"):
        return Wish(fast, turn=_one(rng, ("", "", "aim")) if goal == "ahead" else "", side=side)
    if goal == "out":
        return Wish(-fast)
    if goal == "beside":
        return Wish(_one(rng, (0.0, 0.0, 0.0, fast)), turn=_one(rng, ("creep", "sweep", "aim")), side=side)
    if goal == "turn":
        return Wish(_one(rng, (0.0, fast)), turn=_one(rng, ("creep", "sweep", "swing")), side=side)
    if goal == "probe":
        axis, speed = _one(rng, ((0, 25.0), (1, 25.0), (2, 5.0))), side
        return Wish(_one(rng, (0.0, fast)), probe_mm_s=tuple(speed * axis[1] * (k == axis[0]) for k in range(3)))
    if goal == "start":
        probe = (25.0 * side, 0.0, 0.0) if rng.random() < 0.3 else (0.0, 0.0, 0.0)
        return Wish(fast * _one(rng, (1, 1, -1)), probe_mm_s=probe, burst_s=_between(rng, 0.02, 0.4))
    return Wish(_one(rng, (0.0, fast)), roll=side)


_LIES = ("encoder sticks", "encoder jumps", "encoder drifts", "encoder scales")
_DYING = ("encoders age",), ("encoders age", "loop dies"), ("clock steps", "loop dies"), ("loop pauses",)
_ON = ("stop", "stop in a full queue", "stop and false release", "stop and release", "stop channel", "recorder fails")
_ON += ("pause and resume",)
_ON += ("pictures repeat", "covariance", "picture has no scale", "forged", "junk", "ends", "link", "orders")
_AHEAD = ("picture zooms", "picture lags", "pictures repeat", "picture has no scale", "loop pauses", "tip is coasting")

#: (goal, turn, tricks): ways in that somebody thought of
SCRIPTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    *[(goal, turn, ()) for goal in ("beside", "turn") for turn in ("creep", "sweep")],
    *[("ahead", turn, ()) for turn in ("", "aim")],
    *[(goal, "", kinds) for goal in ("deep", "out", "ahead", "probe") for kinds in _DYING],
    *[(goal, "", (kind,)) for goal in ("deep", "out", "ahead", "probe") for kind in _LIES],
    *[(goal, "sweep", (kind,)) for goal in ("beside", "turn") for kind in _LIES],
    *[("ahead", "", (kind,)) for kind in _AHEAD],
    *[("on", "", (kind,)) for kind in _ON],
    *[("start", "", (kind,)) for kind in ("loop pauses", "link", "policy is dead")],
    *[("roll", "", (kind,)) for kind in ("axis sticks", "loop dies", *_LIES)],
    *[("turn", "swing", (kind,)) for kind in _LIES],
    *[("start", "", (kind, "link")) for kind in _LIES],
    *[("turn", "sweep", (kind,)) for kind in ("axis sticks", "loop dies", "tip is lost")],
    ("beside", "aim", ()),
    ("turn", "swing", ()),
)
_TOUCHES = {
    "deep": ("depth", "speed"),
    "out": ("depth", "speed"),
    "ahead": ("depth", "depth", "angle", "probe x", "probe z"),
    "probe": ("probe x", "probe z"),
    "beside": ("angle", "depth"),
    "turn": ("angle", "depth"),
    "roll": ("roll",),
    "start": ("speed", "depth", "probe x"),
}


def draw_script(rng: np.random.Generator, k: int) -> Plan:
    """Draw a plan after the k-th script."""
    goal, turn, kinds = SCRIPTS[k % len(SCRIPTS)]
    plan = draw_plan(rng, goal, kinds)
    tricks = tuple(_touching(t, plan.goal, rng) for t in plan.tricks)
    if kinds in _DYING and goal in ("deep", "out", "ahead", "probe"):
        tricks = _arriving(plan, tricks, rng)
    return replace(plan, tricks=tricks, wish=replace(plan.wish, turn=turn))


def _arriving(plan: Plan, tricks: tuple[Trick, ...], rng: np.random.Generator) -> tuple[Trick, ...]:
    """The same tricks, played one after another when the needle comes to where it must not go."""
    ways = {"deep": 180.0 - plan.depth_mm, "out": plan.depth_mm, "ahead": plan.region[0] if plan.region else 0.0}
    speed = max(abs(plan.wish.speed_mm_s), 1.0)
    if plan.goal == "probe":
        axis = max(range(3), key=lambda k: abs(plan.wish.probe_mm_s[k]))
        ways["probe"], speed = (60.0, 20.0, 5.0)[axis], abs(plan.wish.probe_mm_s[axis])
    at_s = max(0.2 + ways[plan.goal] / speed - _between(rng, 0.1, 0.6), 0.05)
    out = []
    for trick in tricks:
        lasts_s = min(trick.lasts_s, 0.2) if trick.kind == "encoders age" else trick.lasts_s
        out.append(replace(trick, at_s=round(at_s, 4), lasts_s=lasts_s))
        at_s += max(lasts_s - 0.01, 0.0)
    return tuple(out)


def _touching(trick: Trick, goal: str, rng: np.random.Generator) -> Trick:
    """The same trick, played where it matters to the goal."""
    if trick.kind in _LIES and goal in _TOUCHES:
        return replace(_encoder(rng, trick.kind, _one(rng, _TOUCHES[goal])), at_s=trick.at_s, lasts_s=trick.lasts_s)
    if trick.kind == "axis sticks":
        return replace(trick, what={"roll": "roll", "turn": "angle"}.get(goal, trick.what))
    return trick


def draw_plan(rng: np.random.Generator, goal: str | None = None, kinds: tuple[str, ...] | None = None) -> Plan:
    """Draw a plan: a goal, a way to it, and none to three tricks."""
    if kinds is None:
        kinds = tuple(_one(rng, KINDS) for _ in range(_one(rng, (0, 0, 1, 1, 2, 2, 3))))
    if goal is None:
        goal = _one(rng, tuple(GOALS))
    tricks = _together([draw_trick(rng, kind) for kind in kinds], rng)
    if kinds and kinds[-1] == "loop dies" and len(kinds) > 1:
        first = tricks[0]
        tricks[-1] = replace(tricks[-1], at_s=round(max(first.at_s + first.lasts_s - _between(rng, 0, 0.05), 0.0), 4))
    elif rng.random() < 0.2:
        at_s = tricks[-1].at_s + tricks[-1].lasts_s if tricks and rng.random() < 0.7 else _between(rng, 0.2, 1.8)
        tricks.append(Trick("loop dies", round(max(at_s - _between(rng, 0.0, 0.1), 0.0), 4), 5.0))
    depth = _between(rng, *GOALS[goal])
    region = None
    if goal == "ahead":
        region = (_between(rng, 4.0, 20.0), 1.0, 0, _between(rng, 1.5, 4.0))
    elif goal == "beside":
        region = (_between(rng, 5.0, 20.0), _between(rng, 0.3, 1.05), _one(rng, (-1, 1)), _between(rng, 1.5, 4.0))
    wish = _wish(rng, goal)
    if region is not None and region[2]:
        wish = replace(wish, side=region[2])
    wish = replace(wish, bold=bool(rng.random() < 0.5))
    return Plan(
        seed=int(rng.integers(2**31)),
        goal=goal,
        depth_mm=depth,
        angle_rad=_between(rng, 0.3, 1.2),
        wish=wish,
        tricks=tuple(tricks),
        region=region,
        exact=True,
        sd_mm=(_between(rng, 0.05, 0.6), _between(rng, 0.05, 0.3)),
        rate_hz=_one(rng, (20.0, 30.0, 50.0)),
        decide_s=_one(rng, (0.01, 0.02, 0.1)),
        track_s=_one(rng, (0.01, 0.04)),
        angle_rad_s=_one(rng, (0.5, 0.5, 5.0)),
        roll_rad_s=_one(rng, (6.0, 30.0)),
        latency_s=_one(rng, (0.0, 0.0, 0.02)),
    )


def draw_insertion(rng: np.random.Generator) -> Plan:
    """Draw an insertion at a region without tricks, whose estimates are off as their covariance says."""
    plan = draw_plan(rng, _one(rng, ("ahead", "ahead", "beside")), ())
    return replace(plan, exact=False, clearance=0.9, tricks=())


def mutate(plan: Plan, rng: np.random.Generator) -> Plan:
    """A plan like this one: other numbers, a trick more or less, or at another time."""
    tricks = list(plan.tricks)
    how = rng.random()
    if how < 0.2:
        tricks.append(draw_trick(rng))
    elif how < 0.35 and tricks:
        tricks.pop(int(rng.integers(len(tricks))))
    tricks = [_nudged(t, rng) if rng.random() < 0.5 else t for t in tricks][:5]
    region = plan.region
    if region is not None and rng.random() < 0.5:
        region = (max(region[0] + _between(rng, -2, 2), 3.0), *region[1:])
    low, high = GOALS[plan.goal]
    depth = min(max(plan.depth_mm + float(rng.normal(0, 3)) * (rng.random() < 0.5), low), high)
    angle = min(max(plan.angle_rad + float(rng.normal(0, 0.1)) * (rng.random() < 0.5), 0.25), 1.25)
    seed = int(rng.integers(2**31))
    return replace(plan, seed=seed, tricks=tuple(tricks), region=region, depth_mm=depth, angle_rad=angle)


def _nudged(trick: Trick, rng: np.random.Generator) -> Trick:
    at = max(trick.at_s + float(rng.normal(0, 0.1)), 0.0)
    lasts = max(trick.lasts_s * float(rng.uniform(0.7, 1.4)), 0.01)
    return replace(trick, at_s=round(at, 4), lasts_s=round(lasts, 4), size=trick.size * float(rng.uniform(0.8, 1.25)))


def fewer(plan: Plan) -> list[Plan]:
    """The plans that lack one trick, or one part of the wish."""
    out = [replace(plan, tricks=plan.tricks[:i] + plan.tricks[i + 1 :]) for i in range(len(plan.tricks))]
    wish = plan.wish
    if wish.burst_s:
        out.append(replace(plan, wish=replace(wish, burst_s=0.0)))
    if wish.roll:
        out.append(replace(plan, wish=replace(wish, roll=0)))
    if any(wish.probe_mm_s):
        out.append(replace(plan, wish=replace(wish, probe_mm_s=(0.0, 0.0, 0.0))))
    if wish.turn:
        out.append(replace(plan, wish=replace(wish, turn="")))
    if wish.speed_mm_s:
        out.append(replace(plan, wish=replace(wish, speed_mm_s=0.0)))
    return out
