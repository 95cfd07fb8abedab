"""Numbers of the study `in-the-wild`: rates with intervals, where it fails, reliability.

Stills that share a scanner are alike, and so are frames of a clip. Therefore the intervals draw whole scanners and
whole clips.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.metrics.proportions import wilson
from sonosteer.metrics.success import bootstrap
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.setups import Split
from sonosteer.sim.wild import GAUGES_MM, TISSUE_SEEDS
from sonosteer.studies.pages import TableRow
from sonosteer.studies.wild.trials import WildClip, WildFrame, WildStill

FIRST_S = 1.0  # frames of a clip count from here on, s: from the second second on, as the aim says
CONFIDENCE_BINS = 10
DRAWS = 2000  # of the bootstrap
#: aims of the study, percent: what -> (smallest, largest)
AIMS = {
    "stills, right": (85.0, 100.0),
    "stills, wrong": (0.0, 3.0),
    "stills without a needle, claimed": (0.0, 2.0),
    "clips, right": (90.0, 100.0),
    "clips, wrong": (0.0, 2.0),
    "stills, tip in the 95 % ellipse of `tracking`": (92.0, 97.0),
    "clips, tip in the 95 % ellipse of `tracking`": (92.0, 97.0),
}


@dataclass(frozen=True)
class WildSample:
    """The pictures that the figures are of."""

    split: Split
    """Split that all of them come from."""
    stills: tuple[WildStill, ...]
    """Stills whose tip a person could see."""
    free: tuple[WildStill, ...]
    """Stills without a needle."""
    drawn: tuple[WildStill, ...]
    """All stills as they come, up to the last of `stills`: seen, hidden and without a needle."""
    clips: tuple[WildClip, ...]
    """Clips as they come."""

    def counted(self, clip: WildClip) -> list[WildFrame]:
        """Frames of a clip that count."""
        return [f for f in clip.frames if f.time_s >= FIRST_S]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something was so."""

    hits: int
    """Number of frames in which it was."""
    trials: int
    """Number of frames that were asked."""
    low: float
    """Lower end of the 95 % interval, percent."""
    high: float
    """Upper end of the 95 % interval, percent."""

    @property
    def percent(self) -> float | None:
        """Hits of 100 trials, percent. None without trials."""
        return 100 * self.hits / self.trials if self.trials else None

    def said(self) -> str:
        """The rate with its interval, to read."""
        return "" if self.percent is None else f"{self.percent:.1f} ({self.low:.1f} to {self.high:.1f})"


def rate_of(units: Iterable[Sequence[bool]]) -> Rate:
    """Rate over all entries. The interval draws whole units: clips, or the stills of one scanner.

    Where all units agree a bootstrap says nothing. Then it is Wilson's interval with the number of units.
    """
    pairs = [np.array([[sum(unit), len(unit)]], float) for unit in units if len(unit)]
    if not pairs:
        return Rate(0, 0, 0.0, 100.0)
    hits, trials = (int(n) for n in np.concatenate(pairs).sum(0))
    low, high = bootstrap(
        pairs, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), np.random.default_rng(0), DRAWS
    )
    if low == high:
        low, high = wilson(round(len(pairs) * hits / trials), len(pairs))
    return Rate(hits, trials, 100 * low, 100 * high)


def _pooled(rows: F64) -> float:
    """Hits over trials of (units, 2) hits and trials."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def by_scanner(stills: Iterable[WildStill]) -> list[list[WildFrame]]:
    """What was said of the stills, those of one scanner together."""
    units: dict[int, list[WildFrame]] = defaultdict(list)
    for still in stills:
        units[still.seed // TISSUE_SEEDS].append(still.judged)
    return list(units.values())


def outcome_rates(units: Iterable[Sequence[WildFrame]], *, sure: bool = False) -> dict[str, Rate]:
    """Rates of right, near, wrong and lost over all frames whose tip a person could see."""
    seen = [[f.outcome(sure=sure) for f in unit if f.visible] for unit in units]
    return {name: rate_of([[o == name for o in unit] for unit in seen]) for name in ("right", "near", "wrong", "lost")}


def false_claims(units: Iterable[Sequence[WildFrame]], *, sure: bool = False) -> Rate:
    """How often a needle was claimed in frames without one."""
    return rate_of([[f.outcome(sure=sure) != "lost" for f in unit if not f.present] for unit in units])


def ellipse_rate(units: Iterable[Sequence[WildFrame]]) -> Rate:
    """How often a tip that could be seen lay in the 95 % ellipse of an estimate with the state `tracking`."""
    return rate_of(
        [[bool(f.inside) for f in u if f.visible and f.state == "tracking" and f.inside is not None] for u in units]
    )


def aims_table(sample: WildSample) -> list[TableRow]:
    """What the study is to show: figure, interval, aim. Once with coasting as a claim, once without."""
    stills, clips = by_scanner(sample.stills), [sample.counted(c) for c in sample.clips]
    free = by_scanner(sample.free)
    found: dict[str, tuple[Rate, Rate]] = {}
    for name, units in (("stills", stills), ("clips", clips)):
        both = [outcome_rates(units, sure=sure) for sure in (False, True)]
        for outcome in ("right", "wrong"):
            found[f"{name}, {outcome}"] = (both[0][outcome], both[1][outcome])
        ellipse = ellipse_rate(units)
        found[f"{name}, tip in the 95 % ellipse of `tracking`"] = (ellipse, ellipse)
    found["stills without a needle, claimed"] = (false_claims(free), false_claims(free, sure=True))
    rows: list[TableRow] = []
    for what, (smallest, largest) in AIMS.items():
        claimed, sure_only = found[what]
        percent = claimed.percent
        aim = f"at most {largest:g}" if smallest == 0 else f"at least {smallest:g}" if largest == 100 else ""
        rows.append(
            {
                "what": what,
                "% (95 % interval)": claimed.said(),
                "aim %": aim or f"{smallest:g} to {largest:g}",
                "met": "" if percent is None else "yes" if smallest <= percent <= largest else "no",
                "`tracking` alone %": sure_only.said(),
                "of": claimed.trials,
            }
        )
    return rows


def outcome_table(sample: WildSample) -> list[TableRow]:
    """Right, near, wrong and lost of stills and clips, with coasting as a claim and without."""
    units = {"stills": by_scanner(sample.stills), "clips": [sample.counted(c) for c in sample.clips]}
    rows: list[TableRow] = []
    for name, some in units.items():
        for sure in (False, True):
            rates = outcome_rates(some, sure=sure)
            claims = "`tracking`" if sure else "`tracking` and `coasting`"
            figures = {f"{outcome} %": rate.said() for outcome, rate in rates.items()}
            rows.append({"pictures": name, "claims": claims, **figures, "frames": rates["right"].trials})
    return rows


def unseen_table(sample: WildSample) -> list[TableRow]:
    """What was claimed where no tip could be seen: without a needle, out of the picture, hidden."""
    clips = [(c.needle, sample.counted(c)) for c in sample.clips]
    with_needle = [frames for needle, frames in clips if needle]
    cases = {
        "stills without a needle": by_scanner(sample.free),
        "stills with a hidden tip": _hidden(by_scanner(sample.drawn)),
        "clips without a needle": [frames for needle, frames in clips if not needle],
        "clips, needle not in the picture": [[f for f in frames if not f.present] for frames in with_needle],
        "clips, tip hidden": _hidden(with_needle),
    }
    rows: list[TableRow] = []
    for name, units in cases.items():
        outcomes = [[f.outcome() for f in unit] for unit in units]
        rows.append(
            {
                "frames": name,
                "number": sum(map(len, outcomes)),
                "claimed %": rate_of([[o != "lost" for o in unit] for unit in outcomes]).said(),
                "far from the tip %": rate_of([[o == "wrong" for o in unit] for unit in outcomes]).said(),
                "`tracking` far from the tip %": rate_of(
                    [[f.outcome(sure=True) == "wrong" for f in unit] for unit in units]
                ).said(),
            }
        )
    return rows


def _hidden(units: Iterable[Sequence[WildFrame]]) -> list[list[WildFrame]]:
    return [[f for f in unit if f.present and not f.visible] for unit in units]


def reliability_table(sample: WildSample) -> list[TableRow]:
    """Stated confidence against the fraction that was right, in ten bins, over all claims of pictures as they come."""
    kinds = {
        "stills": [s.judged for s in sample.drawn],
        "clips": [f for c in sample.clips for f in sample.counted(c)],
    }
    rows: list[TableRow] = []
    for k in range(CONFIDENCE_BINS):
        row: TableRow = {"confidence": f"{k / CONFIDENCE_BINS:.1f} to {(k + 1) / CONFIDENCE_BINS:.1f}"}
        for kind, frames in kinds.items():
            some = [f for f in frames if f.confidence is not None and _bin(f.confidence) == k]
            right = [f.outcome() == "right" for f in some]
            row[f"{kind}, claims"] = len(some)
            row[f"{kind}, stated"] = round(float(np.mean([f.confidence for f in some])), 3) if some else None
            row[f"{kind}, right"] = round(float(np.mean(right)), 3) if some else None
        rows.append(row)
    return rows


def _bin(confidence: float) -> int:
    return min(max(int(confidence * CONFIDENCE_BINS), 0), CONFIDENCE_BINS - 1)


# -- where it fails ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grouping:
    """One way to sort scenes or frames."""

    title: str
    """What it sorts by."""
    values: tuple[str, ...]
    """Names of the groups."""
    place: Callable[[Scene, WildFrame], int | None]
    """Which group a frame of a scene belongs to, as an index. None: none of them."""


def scanner_family(scene: Scene) -> str:
    """linear, convex, micro-convex or phased, by the radius of the array's face."""
    array = scene.array
    if not array.convex:
        return "linear"
    return "convex" if array.radius_mm > 25 else "micro-convex" if array.radius_mm > 8 else "phased"


def _band(value: float | None, *edges: float) -> int | None:
    """Index of the band between these edges."""
    return None if value is None else int(np.searchsorted(edges, value, side="right"))


def _either(first: float, second: float) -> int:
    """0: neither, 1: the first, 2: the second, 3: both."""
    return int(first > 0) + 2 * int(second > 0)


def _surroundings(scene: Scene) -> int:
    display = scene.display
    return 2 if display.menus else int(display.captions > 0 or sum(display.margins_px) > 0)


def _scanner(scene: Scene, frame: WildFrame) -> int:
    return SCANNERS.index(scanner_family(scene))


NO_YES = ("no", "yes")
SCANNERS = ("linear", "convex", "micro-convex", "phased")
IMAGE_DEPTHS = ("to 40 mm", "40 to 80 mm", "over 80 mm")
GAUGES = ("25 to 21 G", "20 to 18 G", "17 to 14 G")
SHAFT_WIDTHS = ("to 3 px", "3 to 6 px", "6 to 12 px", "over 12 px")
ANGLES = ("3 to 10 deg", "10 to 30 deg", "30 to 55 deg", "55 to 80 deg")
CONTRASTS = ("3 to 6 dB", "6 to 12 dB", "12 to 20 dB", "over 20 dB")
REDUCTIONS = ("none", "edge-preserving", "along lines", "both")
SURROUNDINGS = ("nothing", "margins or texts", "menus")
COMPRESSIONS = ("none", "JPEG", "H.264", "both")
THIN_MM, THICK_MM = GAUGES_MM[20] - 0.01, GAUGES_MM[17] - 0.01
GROUPINGS = (
    Grouping("scanner", SCANNERS, _scanner),
    Grouping("depth of the image", IMAGE_DEPTHS, lambda s, f: _band(s.array.depth_mm, 40, 80)),
    Grouping("gauge", GAUGES, lambda s, f: _band(s.look.diameter_mm, THIN_MM, THICK_MM)),
    Grouping("width of the shaft", SHAFT_WIDTHS, lambda s, f: _band(f.width_px, 3, 6, 12)),
    Grouping("angle", ANGLES, lambda s, f: _band(s.angle_deg, 10, 30, 55)),
    Grouping("contrast of the tip", CONTRASTS, lambda s, f: _band(f.contrast_db, 6, 12, 20)),
    Grouping("dip before the tip", NO_YES, lambda s, f: int(s.look.dip_db < 0)),
    Grouping("beads", NO_YES, lambda s, f: int(s.look.bead_db > 0)),
    Grouping("gaps", NO_YES, lambda s, f: int(s.look.gaps > 0)),
    Grouping("fading shaft", NO_YES, lambda s, f: int(s.look.fade_mm > 0)),
    Grouping("begins inside", NO_YES, lambda s, f: None if f.begins_inside is None else int(f.begins_inside)),
    Grouping("soft band or tail", NO_YES, lambda s, f: int(s.look.reverberation_db >= -3)),
    Grouping("second line", NO_YES, lambda s, f: int(s.look.second_wall_mm > 0.81 * s.look.diameter_mm)),
    Grouping("crosses the plane", NO_YES, lambda s, f: int(abs(s.yaw_deg) >= 5)),
    Grouping("bone or floor", NO_YES, lambda s, f: int(len(s.shapes.surfaces) > 0)),
    Grouping("bath", NO_YES, lambda s, f: int(any(body.inverted for body in s.shapes.bodies))),
    Grouping("speckle reduction", REDUCTIONS, lambda s, f: _either(s.display.speckle_reduction, s.display.line_filter)),
    Grouping("gamma", ("to 0.9", "0.9 to 1.1", "over 1.1"), lambda s, f: _band(s.display.gamma, 0.9, 1.1)),
    Grouping("contrast", ("to 1", "1 to 1.2", "over 1.2"), lambda s, f: _band(s.display.contrast, 1.0, 1.2)),
    Grouping("round the image", SURROUNDINGS, lambda s, f: _surroundings(s)),
    Grouping("compression", COMPRESSIONS, lambda s, f: _either(s.display.jpeg_quality, s.display.h264_crf)),
    Grouping("frames per second", ("to 12", "12 to 25", "over 25"), lambda s, f: _band(s.rate_hz, 12, 25)),
    Grouping("sudden moves of the probe", NO_YES, lambda s, f: int(s.jerks > 0)),
)
ONLY_CLIPS = ("frames per second", "sudden moves of the probe")


def where_it_fails(sample: WildSample) -> list[TableRow]:
    """Rates over the frames whose tip could be seen, by scanner, needle, display and motion."""
    stills: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    frames: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    clips: dict[tuple[str, int], set[int]] = defaultdict(set)
    for still in sample.stills:
        for key in _keys(make_scene(f"in-the-wild/{sample.split}", still.seed), still.judged):
            stills[key][still.judged.outcome()] += 1
    for clip in sample.clips:
        scene = make_scene(f"in-the-wild/{sample.split}", clip.seed)
        for frame in sample.counted(clip):
            for key in _keys(scene, frame) if frame.visible else ():
                frames[key][frame.outcome()] += 1
                clips[key].add(clip.seed)
    rows: list[TableRow] = []
    for grouping in GROUPINGS:
        for k, value in enumerate(grouping.values):
            key = (grouping.title, k)
            row: TableRow = {"by": grouping.title, "group": value}
            row |= _counted("stills", Counter() if grouping.title in ONLY_CLIPS else stills[key])
            row |= {"clips": len(clips[key]), **_counted("frames", frames[key])}
            rows.append(row)
    return rows


def _keys(scene: Scene, frame: WildFrame) -> list[tuple[str, int]]:
    return [(g.title, k) for g in GROUPINGS if (k := g.place(scene, frame)) is not None]


def _counted(what: str, outcomes: Counter[str]) -> TableRow:
    n = outcomes.total()
    return {
        what: n or None,
        **{f"{what}: {o} %": round(100 * outcomes[o] / n, 1) if n else None for o in ("right", "wrong", "lost")},
    }
