"""Paper T: the tip of a rigid needle from rays, five features and a Kalman or particle filter. Methods 2 to 11.

K. Mathiassen, D. Dall'Alba, R. Muradore, P. Fiorini, O. J. Elle, "Robust Real-Time Needle Tracking in 2-D
Ultrasound Images Using Statistical Filtering", IEEE Trans. Control Systems Technology 25(3), 2017. Algorithms 4
and 5 are one loop here; what differs between the ten methods stands in the classes at the end of the page.

| symbol | name here | unit |
| --- | --- | --- |
| theta, v_n | `angle`, direction of the axis | rad |
| p_p | offset of the axis across the needle | px |
| x_k, v_k | `tip`: what a filter of `filters/` believes of the position along the axis | px, px per 1/20 s |
| +F | `feedback`: rays up to the tip believed in, instead of over the whole axis in the image | - |
| subscript v | `measured_velocity`: Eqs. (19), (23), from `Frame.velocity_mm_s` | mm/s |
| Q_theta, R_theta, P(0) | `angle_q_deg2`, `angle_r_deg2`, `angle_p0_deg2` | deg^2 |
| delta | `difference_s`, age of the image in Eq. (8) | s |

Lengths are px at 0.10 mm/px, the paper's scale: frames are resampled to it.

Departs from the paper: the start is automatic (`start.py`) instead of by hand; the angles tried are 5 degrees
about the start unless the user names a range; the region follows the axis sideways (`follow`); the axis with
the filtered angle turns about the middle of the rays; the shaft's contrast says whether there is a needle at
all (`lost`); process noise is per 1/20 s, so that other frame rates behave alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.filters.kalman import STEP_S, KalmanTip, Scalar
from sonosteer.filters.maximum import Maximum
from sonosteer.filters.particle import ParticleTip
from sonosteer.filters.tip import Belief, Filter
from sonosteer.imaging.axis_search import Axis, AxisSearch
from sonosteer.imaging.line_search import Line
from sonosteer.imaging.tip_features import TipFeatures, TipProfile
from sonosteer.trackers.start import Family, StartSearch, Suspect
from sonosteer.trackers.working_image import SCALE_MM, Grid, length_inside, working_image

#: not published: w_1..w_5 of Eq. (6); ours by `sonosteer train tip-weights`, see docs/results/tip-weights.json
TIP_WEIGHTS = (0.002, 0.145, 0.79, 0.415, 0.427)


@dataclass(frozen=True, slots=True)
class Following:
    """What is believed of a needle that is being followed."""

    anchor_px: Point
    range_rad: tuple[float, float]
    angle_deg: Scalar
    tip: Belief
    shaft: float
    wobble_deg: float
    bad_s: float
    since_s: float

    def line(self) -> Line:
        """The axis as a line from its anchor to the tip."""
        angle, x = math.radians(self.angle_deg.mean), self.tip.x
        end = (self.anchor_px[0] + x * math.cos(angle), self.anchor_px[1] + x * math.sin(angle))
        return Line(self.anchor_px, end, angle, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything a method remembers between frames."""

    hint: Hint
    families: tuple[Family, ...]
    time_s: float | None = None
    suspects: tuple[Suspect, ...] = ()
    needle: Following | None = None
    past: tuple[tuple[float, U8], ...] = ()

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True)
class PaperT:
    """Algorithms 4 and 5, with the published parameters (Section III-B) as defaults."""

    tip: Filter[Any]
    feedback: bool = True
    filter_angle: bool = True
    measured_velocity: bool = False
    difference_s: float = 0.5
    angle_q_deg2: float = 1.0
    angle_r_deg2: float = 4.0**2
    angle_p0_deg2: float = 10.0**2
    weights: tuple[float, float, float, float, float] = TIP_WEIGHTS
    ridge_px: int = 4  # ours: w = w_max + 1; keeps to the straight part of a slightly bent needle
    half_range_deg: float = 5.0
    follow: float = 0.3  # ours: share of the measured offset by which the region moves sideways
    first_tip_px: float = 20.0  # ours: nearer to the border there is no room for TR
    end_px: int = 10  # ours: nor for a peak nearer than M to the end of the view
    shaft_min: float = 0.5  # ours: mean whitened ridge score below which the needle is doubted
    wobble_s: float = 0.25  # ours: time over which the jumps of the raw angle are averaged
    wobble_max_deg: float = 1.5  # ours: a rigid needle does not shake; noise jumps about
    near_tip_px: int = 80  # ours: the stretch before the tip that must look like a shaft
    near_tip_min: float = 0.4  # ours: below it the tip is coasting
    lost_after_s: float = 0.6  # ours: 12 frames at the paper's rate
    along_scale: float = 1.5  # ours: calibrated on validation scenes
    across_mm: float = 0.2  # ours: calibrated on validation scenes
    across_lever: float = 0.2  # ours: calibrated on validation scenes
    margin_px: float = 20.0  # ours: how far beyond the image the tip may coast
    start_search: StartSearch = field(default_factory=StartSearch)
    _axis: AxisSearch = field(init=False, repr=False)
    _features: TipFeatures = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_axis", AxisSearch(w_px=self.ridge_px))
        object.__setattr__(self, "_features", TipFeatures(self.weights))

    def prepare(self) -> None:
        """Compile the kernels and allocate the workspaces, so that no frame of a clip pays for it."""
        noise = np.random.default_rng(0).integers(10, 200, (256, 256)).astype(np.uint8)
        families = self.start_search.families(Hint(enters="left"))
        self.start_search.look(noise, SCALE_MM, families, (), 0.0)
        self._axis.search(noise, (0.0, 10.0), (0.6, 0.7), 100.0)
        seen = self._features.along(noise, noise, (0.0, 10.0), 0.65, 200)
        self.tip.update(self.tip.begin(50.0, 0.0), seen.h, 20, 150, 0.0)

    def start(self, hint: Hint) -> State:
        """State before the first frame. InputError if the hint is not enough to find a needle by."""
        return State(hint, self.start_search.families(hint))

    def step(self, state: State, frame: Frame) -> tuple[State, Estimate]:
        """Algorithm 4 on one frame. InputError if the frame has no scale."""
        image, grid = working_image(frame)
        velocity = self._velocity(frame)
        elapsed_s = 0.0 if state.time_s is None else frame.time_s - state.time_s
        past = state.past if elapsed_s >= 0 and _same_size(state.past, image) else ()
        needle = state.needle if past or state.time_s is None else None
        suspects = state.suspects
        if self._should_look(state, needle, frame.time_s, elapsed_s):
            current = None if needle is None else needle.line()
            first_click = state.hint.start_px if state.time_s is None else None
            click = None if first_click is None else grid.to_work(first_click)
            line, suspects = self.start_search.look(
                image, SCALE_MM, state.families, suspects, frame.time_s, current, click
            )
            if line is not None:
                needle = self._take_up(line, state.hint, frame.time_s, velocity)
        earlier = next((old for time_s, old in past if frame.time_s - time_s >= self.difference_s - 1e-6), None)
        estimate: Estimate = Lost(frame.index, frame.time_s, "no needle found yet")
        if needle is not None:
            needle, estimate = self._follow(needle, image, earlier, elapsed_s, frame, grid, velocity)
        past = self._remember(past, frame.time_s, image)
        return State(state.hint, state.families, frame.time_s, suspects, needle, past), estimate

    def _velocity(self, frame: Frame) -> float | None:
        """Measured velocity in px per step, None for the methods that do without. InputError if it is missing."""
        if not self.measured_velocity:
            return None
        if frame.velocity_mm_s is None:
            raise InputError(
                f"this method needs the insertion speed, and frame {frame.index} has none: give --velocity-mm-s V, or "
                "a CSV file time_s,velocity_mm_s that covers the clip"
            )
        return frame.velocity_mm_s / SCALE_MM * STEP_S

    # -- one needle ----------------------------------------------------------------------------------------

    def _should_look(self, state: State, needle: Following | None, time_s: float, elapsed_s: float) -> bool:
        """Look for a needle while there is none, and now and then while the one found is on probation.

        There is no probation where the user named a narrow range of angles: little else can pass for a needle.
        """
        if needle is None:
            return True
        if self.start_search.narrow(state.families):
            return False
        age_s, every_s = time_s - needle.since_s, self.start_search.every_s
        return age_s < self.start_search.probation_s and age_s % every_s < elapsed_s

    def _take_up(self, line: Line, hint: Hint, time_s: float, velocity: float | None) -> Following:
        half = math.radians(self.half_range_deg)
        low, high = line.angle_rad - half, line.angle_rad + half
        if hint.angle_rad is not None:
            a, b = hint.angle_rad
            low, high = (a, b) if b - a <= 2.4 * half else (max(a, low), min(b, high))
        length = math.dist(line.entry_px, line.tip_px)
        return Following(
            anchor_px=line.entry_px,
            range_rad=(low, high),
            angle_deg=Scalar(math.degrees(line.angle_rad), self.angle_p0_deg2),
            tip=self.tip.begin(length, velocity),
            shaft=1.0,
            wobble_deg=0.0,
            bad_s=0.0,
            since_s=time_s,
        )

    def _follow(
        self,
        needle: Following,
        image: U8,
        earlier: U8 | None,
        elapsed_s: float,
        frame: Frame,
        grid: Grid,
        velocity: float | None,
    ) -> tuple[Following | None, Estimate]:
        steps = elapsed_s / STEP_S
        tip = self.tip.predict(needle.tip, steps)
        middle = 0.5 * (needle.range_rad[0] + needle.range_rad[1])
        whole = length_inside(image, needle.anchor_px, math.cos(middle), math.sin(middle))
        axis = self._axis.search(image, needle.anchor_px, needle.range_rad, tip.x if self.feedback else whole)
        angle_deg = Scalar(math.degrees(axis.angle_rad), self.angle_r_deg2)
        if self.filter_angle:  # Section II-A3
            angle_deg = needle.angle_deg.predict(self.angle_q_deg2 * steps)
            angle_deg = angle_deg.update(math.degrees(axis.angle_rad), self.angle_r_deg2)
        angle = math.radians(angle_deg.mean)
        c, s = math.cos(angle), math.sin(angle)
        foot = (axis.point_px[0] - axis.along_px * c, axis.point_px[1] - axis.along_px * s)

        seen = self._features.along(image, earlier, foot, angle, length_inside(image, foot, c, s))  # Alg. 3
        first, last, measured = int(self.first_tip_px), seen.end - self.end_px, False
        if last - first > self.end_px:
            tip, measured = self.tip.update(tip, seen.h, first, last, velocity)  # Alg. 4 or 5, lines 4 on
        shaft, wobble_deg, bad_s = self._believe(needle, axis, seen, tip.x, elapsed_s)
        if bad_s > self.lost_after_s:
            return None, Lost(frame.index, frame.time_s, "no shaft on the axis any more")
        if not self.first_tip_px / 2 < tip.x < seen.end + self.margin_px:
            return None, Lost(frame.index, frame.time_s, "the tip has left the image")

        shift = self.follow * ((foot[1] - needle.anchor_px[1]) * c - (foot[0] - needle.anchor_px[0]) * s)
        following = Following(
            anchor_px=(needle.anchor_px[0] - shift * s, needle.anchor_px[1] + shift * c),
            range_rad=needle.range_rad,
            angle_deg=angle_deg,
            tip=tip,
            shaft=shaft,
            wobble_deg=wobble_deg,
            bad_s=bad_s,
            since_s=needle.since_s,
        )
        near_tip = _mean_score(seen, tip.x - self.near_tip_px, tip.x)
        sure = measured and bad_s == 0.0 and near_tip > self.near_tip_min
        return following, TipEstimate(
            frame.index,
            frame.time_s,
            grid.to_frame((foot[0] + tip.x * c, foot[1] + tip.x * s)),
            angle,
            self._covariance(following, tip.x - axis.along_px),
            _confidence(shaft),
            Track.TRACKING if sure else Track.COASTING,
            grid.to_frame(foot),
        )

    def _believe(
        self, needle: Following, axis: Axis, seen: TipProfile, tip_px: float, elapsed_s: float
    ) -> tuple[float, float, float]:
        """(shaft score, wobble of the raw angle in deg, seconds without a believable shaft)."""
        shaft = _mean_score(seen, 0.0, tip_px)
        jump_deg = min(abs(math.degrees(axis.angle_rad) - needle.angle_deg.mean), self.half_range_deg)
        wobble_deg = needle.wobble_deg + (jump_deg - needle.wobble_deg) * min(1.0, elapsed_s / self.wobble_s)
        believable = shaft > self.shaft_min and wobble_deg < self.wobble_max_deg
        return shaft, wobble_deg, 0.0 if believable else needle.bad_s + elapsed_s

    def _covariance(self, needle: Following, beyond_rays_px: float) -> NDArray[np.float64]:
        """(2, 2) in mm^2 along and across; across, the angle's deviation counts from the middle of the rays."""
        along = self.along_scale * SCALE_MM**2 * needle.tip.variance
        lever_mm = SCALE_MM * beyond_rays_px * math.radians(math.sqrt(needle.angle_deg.variance))
        return np.diag([along, self.across_mm**2 + (self.across_lever * lever_mm) ** 2])

    def _remember(self, past: tuple[tuple[float, U8], ...], time_s: float, image: U8) -> tuple[tuple[float, U8], ...]:
        """Keep the newest image that is at least delta old and all after it, at most 32."""
        if past and time_s - past[-1][0] < self.difference_s / 32:
            return past
        keep = (*past, (time_s, image))
        while len(keep) > 1 and time_s - keep[1][0] >= self.difference_s - 1e-6:
            keep = keep[1:]
        return keep


def _same_size(past: tuple[tuple[float, U8], ...], image: U8) -> bool:
    return not past or past[0][1].shape == image.shape


def _mean_score(seen: TipProfile, first_px: float, last_px: float) -> float:
    """Mean of the clipped shaft score over a stretch of the axis, at least 12 px of it."""
    last = max(int(min(last_px, seen.end)), 12)
    z = seen.z[max(0, int(first_px)) : last]
    return float(np.clip(z, -0.5, 2.5).mean()) if len(z) else 0.0


def _confidence(shaft: float) -> float:
    return 1.0 / (1.0 + math.exp(-4.0 * (shaft - 0.9)))


@dataclass(frozen=True)
class OM(PaperT):
    """Method 2: the largest h, the angle as measured."""

    tip: Maximum = Maximum()
    feedback: bool = False
    filter_angle: bool = False


@dataclass(frozen=True)
class OMFeedback(OM):
    """Method 3, OM+F."""

    feedback: bool = True


@dataclass(frozen=True)
class KF(PaperT):
    """Method 4."""

    tip: KalmanTip = KalmanTip()
    feedback: bool = False


@dataclass(frozen=True)
class KFFeedback(KF):
    """Method 5, KF+F."""

    feedback: bool = True


@dataclass(frozen=True)
class PF(PaperT):
    """Method 6."""

    tip: ParticleTip = ParticleTip()
    feedback: bool = False


@dataclass(frozen=True)
class PFFeedback(PF):
    """Method 7, PF+F."""

    feedback: bool = True


@dataclass(frozen=True)
class KFv(KF):
    """Method 8: with the measured velocity, Eq. (19)."""

    measured_velocity: bool = True


@dataclass(frozen=True)
class KFvFeedback(KFv):
    """Method 9, KFv+F."""

    feedback: bool = True


@dataclass(frozen=True)
class PFv(PF):
    """Method 10: with the measured velocity, Eq. (23), and the narrower noise that goes with it."""

    tip: ParticleTip = ParticleTip(p0_v_px_s=5.0, q_v_px_s=5.0, sigma_s=75.0)
    measured_velocity: bool = True


@dataclass(frozen=True)
class PFvFeedback(PFv):
    """Method 11, PFv+F."""

    feedback: bool = True
