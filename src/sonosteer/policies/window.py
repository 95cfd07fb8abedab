"""`window`: chooses the acoustic window before it lets another policy push, and keeps the needle's way in view.

Zhang et al. 2026 name control of the probe for visibility as future work. How it is done here is not theirs.

Before the needle is pushed the probe slides a little along the image, both ways, while the tip stays in view. Each
picture tells where shadows begin and which lines have no contact (`imaging.scan_lines`). Together they are a map of
what hides the planned line from any place of the probe (`view_map`). The probe then goes to the places that keep the
tip in view and the beam across the needle (`view_plan`). Where the technique lets the probe stand, it stands, and moves
only while the needle waits. The map grows with every picture, and the places are chosen anew when the view closes.

The policy sees pictures, the tracker's estimate and the encoders. Everything that it wants passes the gate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sonosteer.core.config import check_finite, check_range
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Point
from sonosteer.core.protocols import Policy
from sonosteer.core.types import Action, Frame, Observation, Task, TipEstimate
from sonosteer.imaging.scan_lines import ScanGeometry, in_view, scan_lines, shadow_starts_mm, usual_levels
from sonosteer.policies.geometry import check_task, known, side, target_offset
from sonosteer.policies.orders import Axes, order, stay
from sonosteer.policies.table import make_policy
from sonosteer.policies.view_map import ViewMap
from sonosteer.policies.view_plan import PictureSize, PlannedLine, ProbeMoves, ViewPlan, plan_view

PLACE_REACHED_MM = 0.8  # chosen: the probe has arrived within this distance
STAYS_MM = 2.0  # chosen: a standing probe is not moved for less
LAGS_MM = 4.0  # chosen: the needle waits for a sliding probe that is further behind
PROBE_GAP_S = 0.4  # chosen: time in which the probe closes its gap
LEAD_S = 0.2  # chosen: from a picture to when the robot obeys
SEEN = 0.5  # chosen: visibility from which the tip's place is believed
BETTER_MM = 3.0  # chosen: by how much a new plan must be better than the old one
SLIDE_MARGIN_LINES = 2.0  # chosen: the tip stays so far within the field of view during the first look


@dataclass(frozen=True, slots=True, eq=False)
class WindowState:
    """What `window` remembers."""

    task: Task
    """What is to be done."""
    inner: Any
    """State of the wrapped policy."""
    axes: Axes | None = None
    """Angle and roll as last ordered. None before the first step."""
    view: ViewMap | None = None
    """What pictures have said of shadows and contact. None before the first."""
    goals_mm: tuple[float, ...] | None = None
    """Places that the first look still goes to, mm. None before it, empty once it is over."""
    began_s: float | None = None
    """When the first look began, s. None before."""
    line: PlannedLine | None = None
    """The way from the tip to the target. None before the tip was seen well."""
    plan: ViewPlan | None = None
    """Where the probe shall be. None before the first look is over."""
    planned_s: float = 0.0
    """When the places were chosen or looked over last, s."""
    goal_mm: float | None = None
    """Where a probe that stands otherwise is on its way to, mm. None while it stands."""
    deepest_mm: float = 0.0
    """Largest inserted length so far, mm. The encoder's noise takes no plan back."""
    along_mm_s: float = 0.0
    """Speed of the probe along the image as wanted last, mm/s."""


@dataclass(frozen=True, slots=True)
class Window:
    """The policy `window`. All numbers are chosen, not published."""

    policy: Policy[Any] | str = "visibility"
    """The wrapped policy, or its name."""
    sweep_mm: float = 5.0
    """How far the probe slides either way in the first look, mm. 0: it looks from where it is."""
    probe_mm_s: float = 20.0
    """Largest speed of the probe along the image, mm/s."""
    reach_mm: float = 40.0
    """Furthest place of the probe from where the run began, either way, mm."""
    look_s: float = 4.0
    """Longest time of the first look, s."""
    replan_s: float = 0.4
    """Time between two looks over the plan, s."""

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            object.__setattr__(self, "policy", make_policy(self.policy))
        check_finite(self, "window")
        check_range(self, "window", 0.0, 30.0, "sweep_mm")
        check_range(self, "window", 1.0, 25.0, "probe_mm_s")
        check_range(self, "window", 1.0, 60.0, "reach_mm")
        check_range(self, "window", 0.0, 60.0, "look_s", "replan_s")

    @property
    def recent_s(self) -> float:
        """How far back pictures are needed, s: only the newest, and what the wrapped policy needs."""
        return float(getattr(self._wrapped(), "recent_s", 0.0))

    def prepare(self) -> None:
        """Prepare the wrapped policy."""
        self._wrapped().prepare()

    def start(self, task: Task) -> WindowState:
        """Return the state before the first observation. Raises InputError if a number of the task is not finite."""
        return WindowState(check_task(task), self._wrapped().start(task))

    def step(self, state: WindowState, observation: Observation) -> tuple[WindowState, Action]:
        """Look first, then let the wrapped policy push while the probe is where the plan has it.

        Raises InputError if there is no picture with the geometry of its transducer.
        """
        geometry = _geometry(_picture(observation))
        axes = stay(state.axes, observation.robot_state, state.task)
        state = replace(state, axes=axes)
        if not known(observation):
            inner, action = self._wrapped().step(state.inner, observation)
            return replace(state, inner=inner), action
        state = self._see(state, observation, geometry)
        if state.goals_mm is None:
            state = self._begin(state, observation, geometry)
        if state.goals_mm:
            state = self._look(state, observation)
        if state.goals_mm or state.line is None:
            goals = state.goals_mm or (observation.robot_state.probe_mm[0],)
            state = replace(state, along_mm_s=self._towards_mm_s(goals[0], state, observation))
            return state, order(observation, axes, 0.0, (state.along_mm_s, 0.0, 0.0))
        state = self._plan(state, observation)
        inner, action = self._wrapped().step(state.inner, observation)
        state = replace(state, inner=inner, axes=replace(axes, angle_rad=action.command.insertion_angle_rad))
        return (state, action) if action.command.stop else self._follow(state, observation, action)

    def _wrapped(self) -> Policy[Any]:
        assert not isinstance(self.policy, str)
        return self.policy

    def _see(self, state: WindowState, o: Observation, geometry: ScanGeometry) -> WindowState:
        """Take in the picture, and the tip where it is seen well. Elsewhere the encoder says how far it went."""
        frame, x, z = _picture(o), o.robot_state.probe_mm[0], o.robot_state.probe_mm[2]
        assert frame is not None
        view = state.view or ViewMap.empty(geometry)
        read = scan_lines(frame.grey(), geometry, state.task.spacing)
        view = view.with_picture(shadow_starts_mm(read, usual_levels(read)), (x, z))
        target = _in_tissue(o.target_px, o, state.task, geometry)
        estimate, line, depth_mm = o.estimate, state.line, o.robot_state.depth_mm
        seen = target_offset(o, state.task)
        if isinstance(estimate, TipEstimate) and seen is not None and seen.tracked and seen.visibility >= SEEN:
            line = PlannedLine(_in_tissue(estimate.tip_px, o, state.task, geometry), target, depth_mm)
        elif line is not None:
            line = line.advanced(depth_mm)
        return replace(state, view=view, line=line)

    def _begin(self, state: WindowState, o: Observation, geometry: ScanGeometry) -> WindowState:
        """Choose the places of the first look: so far that the tip stays in view, towards its side first."""
        if state.line is None:
            return state
        x = o.robot_state.probe_mm[0]
        goals = []
        for way in (-side(state.task), side(state.task)):
            far = self.sweep_mm
            while far > 0 and not self._keeps_tip(state.line, x + way * far, o, state.task, geometry):
                far -= 1.0
            if far >= 1.0 and abs(x + way * far) <= self.reach_mm:
                goals.append(x + way * far)
        return replace(state, goals_mm=tuple(goals), began_s=o.capture_time_s)

    @staticmethod
    def _keeps_tip(line: PlannedLine, x_mm: float, o: Observation, task: Task, geometry: ScanGeometry) -> bool:
        frame = _picture(o)
        assert frame is not None
        at = line.tip_mm[0] - x_mm, line.tip_mm[1] - o.robot_state.probe_mm[2]
        return in_view(geometry, at, task.spacing, frame.size_px, SLIDE_MARGIN_LINES)

    def _look(self, state: WindowState, o: Observation) -> WindowState:
        """Go on to the next place, and end the look once all were reached or the time is over."""
        assert state.goals_mm
        assert state.began_s is not None
        late = not o.capture_time_s - state.began_s <= self.look_s
        left = state.goals_mm[0] - self._probe_mm(state, o)
        there = abs(left) <= PLACE_REACHED_MM or left * state.along_mm_s < 0  # it is there, or beyond
        return replace(state, goals_mm=() if late else state.goals_mm[int(there) :])

    def _plan(self, state: WindowState, o: Observation) -> WindowState:
        """Choose the places, or choose them anew where that is better by more than a little."""
        assert state.line is not None
        assert state.view is not None
        frame, now = _picture(o), o.capture_time_s
        assert frame is not None
        if state.plan is not None and now - state.planned_s < self.replan_s:
            return state
        moves = ProbeMoves(
            reach_mm=self.reach_mm, probe_mm_s=self.probe_mm_s, moving=state.task.technique == "in-plane-moving"
        )
        at_mm, z_mm = self._probe_mm(state, o), o.robot_state.probe_mm[2]
        asked = (state.view, state.line, at_mm, moves, PictureSize(state.task.spacing, frame.size_px))
        best = plan_view(*asked, probe_z_mm=z_mm)
        if state.plan is not None and state.goal_mm is None:
            kept = plan_view(*asked, probe_z_mm=z_mm, kept=state.plan)
            if kept.cost_mm - best.cost_mm < BETTER_MM:
                return replace(state, planned_s=now)
        elif state.plan is not None:
            return replace(state, planned_s=now)
        return replace(state, plan=best, planned_s=now)

    def _follow(self, state: WindowState, o: Observation, action: Action) -> tuple[WindowState, Action]:
        """Let the needle go while the probe is where the plan has it, and move the probe there."""
        plan = state.plan
        assert plan is not None
        wanted, robot_state = action.command, o.robot_state
        ahead = robot_state.depth_mm + LEAD_S * max(robot_state.insertion_speed_mm_s, 0.0)
        state = replace(state, deepest_mm=max(state.deepest_mm, ahead))
        place = plan.place_mm(state.deepest_mm)
        at = self._probe_mm(state, o)
        goal: float | None
        if state.task.technique == "in-plane-moving":
            goal, waits = place, abs(place - at) > LAGS_MM
        else:
            goal = self._standing_goal(state, place, at)
            waits = goal is not None
            state = replace(state, goal_mm=goal)
        along = 0.0 if goal is None else self._towards_mm_s(goal, state, o)
        _, across, down = wanted.probe_velocity_mm_s
        speed = min(wanted.insertion_speed_mm_s, 0.0) if waits else wanted.insertion_speed_mm_s
        command = replace(wanted, insertion_speed_mm_s=speed, probe_velocity_mm_s=(along, across, down))
        return replace(state, along_mm_s=along), replace(action, command=command)

    @staticmethod
    def _standing_goal(state: WindowState, place_mm: float, at_mm: float) -> float | None:
        """Where a probe that stands shall go, None if it stays. It goes on to where it was sent."""
        if state.goal_mm is not None:
            return None if abs(state.goal_mm - at_mm) <= PLACE_REACHED_MM else state.goal_mm
        return place_mm if abs(place_mm - at_mm) > STAYS_MM else None

    @staticmethod
    def _probe_mm(state: WindowState, o: Observation) -> float:
        """Where the probe will be along the image once the robot obeys, mm."""
        return o.robot_state.probe_mm[0] + LEAD_S * state.along_mm_s

    def _towards_mm_s(self, goal_mm: float, state: WindowState, o: Observation) -> float:
        """Return the speed of the probe along the image towards a place, mm/s."""
        gap = goal_mm - self._probe_mm(state, o)
        if abs(gap) <= 0.5 * PLACE_REACHED_MM:
            return 0.0
        return float(min(max(gap / PROBE_GAP_S, -self.probe_mm_s), self.probe_mm_s))


def _picture(o: Observation) -> Frame | None:
    """The picture that an observation is about, None where nobody hands it on."""
    return o.recent[-1] if o.recent else None


def _geometry(frame: Frame | None) -> ScanGeometry:
    """The scan lines of a picture. Raises InputError where they are unknown."""
    if frame is None:
        raise InputError("policy window reads the pictures, but nobody hands them on: use it with sonosteer insert")
    if frame.probe is None:
        raise InputError(
            "policy window needs the geometry of the transducer, which these pictures do not say: choose the policy "
            "that it wraps, such as visibility or vla"
        )
    return ScanGeometry(frame.probe)


def _in_tissue(at_px: Point, o: Observation, task: Task, geometry: ScanGeometry) -> Point:
    """(x, z) of a place in the picture, mm of the tissue from the middle of the probe's face as the run began."""
    x, z = geometry.probe.to_probe_mm(at_px, task.spacing)
    return x + o.robot_state.probe_mm[0], z + o.robot_state.probe_mm[2]
