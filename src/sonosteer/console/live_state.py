"""A control period, a picture and a run in the words of the live room's page. Numbers that are none become null."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sonosteer.console.tracks import pair_of, rows_of
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, TipEstimate, Vector
from sonosteer.recording.frame_ledger import OUTCOMES, FrameLedger
from sonosteer.runtime.viewing import ControlMoment
from sonosteer.safety.cleared import Cleared
from sonosteer.safety.gate_input import Refused
from sonosteer.safety.regions import Circle, Region
from sonosteer.safety.stop import Stop

#: where a run is: it waits for its start, it goes on, or it is over
Phase: TypeAlias = Literal["before", "running", "over"]
ToldState: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LiveAbout:
    """What a page is told once of a run."""

    name: str
    """What is looked at, in one line."""
    moves: bool
    """True where a robot moves, so that there is a STOP."""
    size_px: tuple[int, int]
    """Width and height of the pictures, px."""
    spacing: Spacing | None
    """Millimetres per pixel. None: not known."""
    target_px: Point | None = None
    """Place of the target in the first picture, px. None: there is none."""
    regions: tuple[Region, ...] = ()
    """Where the tip must not go, mm of the first picture."""
    tip_sd_mm: float | None = None
    """Largest deviation of the tip that the gate allows, mm. None where there is no gate."""
    clearance: float | None = None
    """Probability with which the needle stays out of regions, no unit. None where there is no gate."""
    longest_s: float | None = None
    """When the run is given up, s. None: never."""
    dry_run: bool = False
    """True where nothing is sent to the robot."""
    recording: str | None = None
    """Where the run is recorded. None: it is not."""
    drawn_before: bool = False
    """True where target and regions may be drawn before the start."""
    live: bool = True
    """True where pictures come in real time, so that an old one is a fault."""
    counts: tuple[str, ...] = ("captured", *OUTCOMES, "waiting")
    """Names of what is counted of pictures. The first is the sum of the others."""

    def told(self) -> ToldState:
        """As the page reads it."""
        return {
            "name": self.name,
            "moves": self.moves,
            "size_px": list(self.size_px),
            "spacing_mm": pair_of(self.spacing),
            "tip_sd_mm": self.tip_sd_mm,
            "clearance": self.clearance,
            "longest_s": self.longest_s,
            "dry_run": self.dry_run,
            "recording": self.recording,
            "drawn_before": self.drawn_before,
            "live": self.live,
            "counts": list(self.counts),
        }


@dataclass
class DrawnAim:
    """Target and regions as they are drawn on the picture."""

    target_px: Point | None = None
    """Place of the target in the first picture, px. None: there is none."""
    regions: tuple[Region, ...] = ()
    """Where the tip must not go, mm of the first picture."""

    def told(self) -> ToldState:
        """As the page reads it."""
        target = None if self.target_px is None else [round(v, 2) for v in self.target_px]
        return {"target": target, "regions": told_regions(self.regions)}


def told_regions(regions: Iterable[Region]) -> list[ToldState]:
    """Regions as the page draws them, mm of the first picture."""
    return [
        {"name": r.name, "center": list(r.center_mm), "radius": r.radius_mm}
        if isinstance(r, Circle)
        else {"name": r.name, "corners": [list(c) for c in r.corners_mm]}
        for r in regions
    ]


def told_picture(frame: Frame, spacing: Spacing | None, probe_mm: Vector | None) -> ToldState:
    """What goes along with the pixels of a picture. shift: how far the probe has carried it from the first one, px."""
    shift = None
    if spacing is not None and probe_mm is not None:
        shift = [round(v, 2) for v in spacing.to_px((probe_mm[0], probe_mm[2]))]
    return {
        "index": frame.index,
        "time_s": _number(frame.time_s),
        "shape": list(frame.pixels.shape),
        "dtype": str(frame.pixels.dtype),
        "full_scale": frame.full_scale,
        "shift": shift,
    }


def told_stop(stop: Stop | None) -> ToldState | None:
    """A latched stop."""
    return None if stop is None else {"kind": stop.kind, "reason": stop.reason, "at": _number(stop.at_s)}


def told_verdict(verdict: Cleared | Refused) -> ToldState:
    """What the gate said: its word, and the rule with value and bound or what was cleared."""
    if isinstance(verdict, Refused):
        return {
            "cleared": False,
            "rule": verdict.rule,
            "value": _number(verdict.value),
            "bound": _number(verdict.bound),
            "unit": verdict.unit,
            "reason": verdict.reason,
        }
    command = verdict.command
    return {
        "cleared": True,
        "frame": verdict.frame_index,
        "stop": command.stop,
        "speed": _number(command.insertion_speed_mm_s),
        "angle": _number(command.insertion_angle_rad),
        "expires": _number(command.expires_at_s),
        "bounded": list(verdict.bounded),
    }


def told_counts(ledger: FrameLedger) -> ToldState:
    """Frames by outcome. captured = used + late + dropped + refused + waiting, of one moment.

    Another thread may book meanwhile. So the numbers are read again until they agree.
    """
    for _ in range(8):
        captured = ledger.frames
        outcomes: dict[str, int] = {name: ledger.outcomes[name] for name in OUTCOMES}
        waiting = len(ledger.waiting)
        if captured == ledger.frames == sum(outcomes.values()) + waiting:
            break
    return {"captured": captured, **outcomes, "waiting": waiting}


@dataclass
class MomentTeller:
    """Tells control periods. What has not changed since the last one is not written down again."""

    spacing: Spacing | None
    """Millimetres per pixel. None: not known."""
    last_refused: ToldState | None = field(default=None, init=False)
    """The newest refusal, with how often its rule refused. None before the first."""
    _estimate: Estimate | None = field(default=None, init=False)
    _told: ToldState | None = field(default=None, init=False)
    _refused: dict[str, int] = field(default_factory=dict, init=False)

    def told(self, moment: ControlMoment) -> ToldState:
        """One control period."""
        verdict, robot, action, seen = moment.verdict, moment.robot_state, moment.action, moment.observation
        if isinstance(verdict, Refused):
            times = self._refused[verdict.rule] = self._refused.get(verdict.rule, 0) + 1
            self.last_refused = {"at": _number(moment.now_s), "rule": verdict.rule, "times": times}
        return {
            "at": _number(moment.now_s),
            "tick": moment.tick,
            "verdict": told_verdict(verdict),
            "refused": self.last_refused,
            "stop": told_stop(moment.stop),
            "held": moment.held,
            "robot": None
            if robot is None
            else {
                "depth": _number(robot.depth_mm),
                "speed": _number(robot.insertion_speed_mm_s),
                "angle": _number(robot.insertion_angle_rad),
            },
            "action": None
            if action is None
            else {
                "frame": action.frame_index,
                "captured": _number(action.capture_time_s),
                "expires": _number(action.command.expires_at_s),
            },
            "estimate": None if seen is None else self.told_estimate(seen.estimate, seen.target_px),
            "counts": told_counts(moment.ledger),
            "decisions": moment.decisions,
        }

    def told_estimate(self, estimate: Estimate, target_px: Point | None = None) -> ToldState:
        """What the tracker said: a row as of the other rooms, its time, how far it is from the target."""
        if estimate is not self._estimate or self._told is None:
            away = None
            if isinstance(estimate, TipEstimate) and target_px is not None and self.spacing is not None:
                away = _number(math.dist(self.spacing.to_mm(estimate.tip_px), self.spacing.to_mm(target_px)))
            visible = estimate.visibility if isinstance(estimate, TipEstimate) else None
            row = [_number(v) if isinstance(v, float) else v for v in rows_of([estimate])[0]]
            self._estimate = estimate
            self._told = {"time": _number(estimate.time_s), "row": row, "away": away, "visible": _number(visible)}
        return self._told


def _number(value: float | None) -> float | None:
    """A number with six digits behind the point. None for what is none."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def rates_of(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> ToldState | None:
    """Pictures, estimates, decisions and control periods a second between two states. None over no time."""
    passed = (later["at"] or 0.0) - (earlier["at"] or 0.0)
    if not passed > 0.0:
        return None

    def a_second(count: Callable[[Mapping[str, Any]], int]) -> float:
        return round((count(later) - count(earlier)) / passed, 1)

    if "captured" not in later["counts"]:
        return {"tracker": a_second(lambda s: s["counts"]["frames"])}
    return {
        "camera": a_second(lambda s: s["counts"]["captured"]),
        "tracker": a_second(lambda s: s["counts"]["used"]),
        "policy": a_second(lambda s: s["decisions"]),
        "control": a_second(lambda s: s["tick"]),
    }
