"""Ten methods that find the tip of a rigid needle from rays, five features and a Kalman or particle filter.

K. Mathiassen, D. Dall'Alba, R. Muradore, P. Fiorini, O. J. Elle, "Robust Real-Time Needle Tracking in 2-D Ultrasound
Images Using Statistical Filtering", IEEE Trans. Control Systems Technology 25(3), 2017. Algorithms 4 and 5 are one loop
here. What differs between methods 2 to 11 stands in the classes at the end of the page.

| symbol | name here | unit |
| --- | --- | --- |
| theta, v_n | `angle`, direction of the axis | rad |
| p_p | offset of the axis across the needle | px |
| x_k, v_k | `tip`: what a filter of `filters/` believes of the position along the axis | px, px per 1/20 s |
| +F | `feedback`: rays up to the estimated tip, instead of over the whole axis in the image | no unit |
| subscript v | `measured_velocity`: Eqs. (19), (23), from `Frame.velocity_mm_s` | mm/s |
| Q_theta, R_theta, P(0) | `angle_q_deg2`, `angle_r_deg2`, `angle_p0_deg2` | deg^2 |
| delta | `difference_s`, age of the image in Eq. (8) | s |

Lengths are px at 0.10 mm/px, the paper's scale: frames are resampled to it.

Departs from the paper: the start is automatic (`start.py`) instead of by hand. The angles tried are 5 degrees about the
start, unless the user names a range. The region follows the axis sideways (`follow`). The axis with the filtered angle
turns about the middle of the rays. The shaft's contrast tells whether there is a needle at all (`lost`). Process noise
is per 1/20 s, so that other frame rates behave alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import U8
from sonosteer.core.errors import InputError
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.filters.kalman import Gaussian, KalmanTip
from sonosteer.filters.maximum import Maximum
from sonosteer.filters.particle import ParticleTip
from sonosteer.filters.tip import STEP_S, Belief, Filter
from sonosteer.imaging.axis_search import Axis, AxisSearch
from sonosteer.imaging.line_search import Line
from sonosteer.imaging.tip_features import TipFeatures, TipProfile
from sonosteer.trackers.start import Family, StartSearch, Suspect
from sonosteer.trackers.working_image import SCALE_MM, Grid, length_inside, working_image

#: w_1..w_5 of Eq. (6), not published. chosen: by `sonosteer train tip-weights`, see docs/results/tip-weights.json
TIP_WEIGHTS = (0.002, 0.145, 0.79, 0.415, 0.427)


@dataclass(frozen=True, slots=True)
class Following:
    """What is believed of a needle that is being followed."""

    anchor_px: Point
    """Where the axis begins, near the image's border, px."""
    range_rad: tuple[float, float]
    """First and last angle to try, rad."""
    angle_deg: Gaussian
    """theta and its variance, deg and deg^2."""
    tip: Belief
    """x_k and its variance, px and px^2 from the anchor."""
    shaft: float
    """Mean whitened ridge score of the shaft, no unit, about 1.6 where it is clear."""
    wobble_deg: float
    """Mean jump of the raw angle against the filtered one, deg."""
    bad_s: float
    """How long there has been no believable shaft, s."""
    since_s: float
    """Time when it was found, s."""

    def line(self) -> Line:
        """Axis as a line from its anchor to the tip."""
        angle, x = math.radians(self.angle_deg.mean), self.tip.x
        end = (self.anchor_px[0] + x * math.cos(angle), self.anchor_px[1] + x * math.sin(angle))
        return Line(self.anchor_px, end, angle, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Mathiassen2017State:
    """Everything a method remembers between frames."""

    hint: Hint
    """What the user said about the needle."""
    families: tuple[Family, ...]
    """Kinds of lines that the search looks for."""
    time_s: float | None = None
    """Time of the last frame, s. None before the first."""
    suspects: tuple[Suspect, ...] = ()
    """Lines that may be a needle."""
    needle: Following | None = None
    """The needle being followed. None while there is none."""
    past: tuple[tuple[float, U8], ...] = ()
    """Earlier working images for Eq. (8), with their times in s."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One frame as the steps see it: velocity in px per step, `earlier` the image delta before."""

    frame: Frame
    image: U8
    grid: Grid
    earlier: U8 | None
    elapsed_s: float
    velocity: float | None

    @property
    def steps(self) -> float:
        return self.elapsed_s / STEP_S


@dataclass(frozen=True)
class Mathiassen2017:
    """Algorithms 4 and 5, with the published parameters (Section III-B) as defaults."""

    needs_scale: ClassVar[bool] = True
    """It works in millimetres."""
    tip: Filter[Any]
    """Filter of the tip along the axis."""
    feedback: bool = True
    """True if rays reach to the estimated tip only (+F)."""
    filter_angle: bool = True
    """True if a Kalman filter smooths the angle."""
    measured_velocity: bool = False
    """True if the filter takes in the measured insertion speed."""
    difference_s: float = 0.5
    """delta of Eq. (8): age of the image to compare with, s."""
    angle_q_deg2: float = 1.0
    """Q_theta: process variance of the angle, deg^2 per step."""
    angle_r_deg2: float = 4.0**2
    """R_theta: variance of a measured angle, deg^2."""
    angle_p0_deg2: float = 10.0**2
    """P(0): variance of the first angle, deg^2."""
    weights: tuple[float, float, float, float, float] = TIP_WEIGHTS
    """w_1..w_5 of Eq. (6), 1 / grey level."""
    ridge_px: int = 4  # chosen: keeps to the straight part of a slightly bent needle
    """w = w_max + 1: half width of the ridges that the rays look for, px."""
    half_range_deg: float = 5.0
    """Half range of the angles tried about the start, deg."""
    coarse_deg: float = 1.0
    """Step of Algorithm 2's first pass, deg. The original method is said to have used 1.5 and no second pass."""
    fine_deg: float = 0.1
    """Step of Algorithm 2's second pass, deg. 0 leaves it out."""
    follow: float = 0.3  # chosen: not published, the paper's region stays in place
    """Fraction of the measured offset by which the region moves sideways, 0 to 1."""
    first_tip_px: float = 20.0  # chosen: nearer to the border there is no room for TR
    """Nearest place of a tip from the anchor, px."""
    end_px: int = 10  # chosen: M, so that a peak has room before the end of the view
    """Farthest place of a tip before the end of the view, px."""
    shaft_min: float = 0.5  # chosen: below it the needle is doubted
    """Lowest mean ridge score of a believable shaft, no unit."""
    wobble_s: float = 0.25  # chosen: five frames at the paper's rate
    """Time over which the jumps of the raw angle are averaged, s."""
    wobble_max_deg: float = 1.5  # chosen: a rigid needle does not shake, noise jumps about
    """Largest mean jump of a believable shaft, deg."""
    near_tip_px: int = 80  # chosen: 8 mm
    """Length of the stretch before the tip that must look like a shaft, px."""
    near_tip_min: float = 0.4  # chosen: below it the tip is coasting
    """Lowest mean ridge score of that stretch, no unit."""
    lost_after_s: float = 0.6  # chosen: 12 frames at the paper's rate
    """How long without a believable shaft until the needle is lost, s."""
    along_scale: float = 1.5  # chosen: calibrated on validation scenes
    """Factor on the filter's variance in the claimed covariance, no unit."""
    across_mm: float = 0.2  # chosen: calibrated on validation scenes
    """Claimed deviation across the needle at the middle of the rays, mm."""
    across_lever: float = 0.2  # chosen: calibrated on validation scenes
    """Fraction of the angle's deviation that counts across the needle, no unit."""
    margin_px: float = 20.0  # chosen: 2 mm
    """How far beyond the image the tip may coast, px."""
    start_search: StartSearch = field(default_factory=StartSearch)
    """Search for a needle to start on."""
    _axis: AxisSearch = field(init=False, repr=False)
    _features: TipFeatures = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (self.coarse_deg > 0 and self.fine_deg >= 0):
            raise InputError("coarse_deg must be more than 0, and fine_deg 0 or more")
        coarse_rad, fine_rad = math.radians(self.coarse_deg), math.radians(self.fine_deg)
        object.__setattr__(self, "_axis", AxisSearch(w_px=self.ridge_px, coarse_rad=coarse_rad, fine_rad=fine_rad))
        object.__setattr__(self, "_features", TipFeatures(self.weights))

    def prepare(self) -> None:
        """Compile the kernels and allocate the workspaces, so that no frame of a clip waits for it."""
        noise = np.random.default_rng(0).integers(10, 200, (256, 256)).astype(np.uint8)
        families = self.start_search.families(Hint(enters="left"))
        self.start_search.look(noise, SCALE_MM, families, suspects=(), time_s=0.0)
        self._axis.search(noise, (0.0, 10.0), (0.6, 0.7), 100.0)
        seen = self._features.along(noise, noise, (0.0, 10.0), 0.65, 200)
        self.tip.update(self.tip.begin(50.0, 0.0), seen.h, first=20, last=150, velocity_px=0.0)

    def start(self, hint: Hint) -> Mathiassen2017State:
        """State before the first frame. Raises InputError if the hint is not enough to find a needle."""
        return Mathiassen2017State(hint, self.start_search.families(hint))

    def step(self, state: Mathiassen2017State, frame: Frame) -> tuple[Mathiassen2017State, Estimate]:
        """Run Algorithm 4 or 5 on one frame. Raises InputError if the frame has no scale."""
        image, grid = working_image(frame)
        velocity = self._velocity(frame)
        elapsed_s = 0.0 if state.time_s is None else frame.time_s - state.time_s
        past = state.past if elapsed_s >= 0 and _same_size(state.past, image) else ()
        now = _View(frame, image, grid, self._image_before(past, frame.time_s), elapsed_s, velocity)
        needle = state.needle if past or state.time_s is None else None
        suspects = state.suspects
        if self._should_look(state, needle, now):
            line, suspects = self._look(state, needle, now)
            if line is not None:
                needle = self._take_up(line, state.hint, now)
        estimate: Estimate = Lost(frame.index, frame.time_s, "no needle found yet")
        if needle is not None:
            needle, estimate = self._follow(needle, now)
        past = self._remember(past, frame.time_s, image)
        return Mathiassen2017State(state.hint, state.families, frame.time_s, suspects, needle, past), estimate

    def _velocity(self, frame: Frame) -> float | None:
        """Measured velocity in px per step, None for methods without. Raises InputError if it is missing."""
        if not self.measured_velocity:
            return None
        if frame.velocity_mm_s is None:
            raise InputError(
                f"this method needs the insertion speed, and frame {frame.index} has none: give `velocity_mm_s`, or "
                "a CSV file time_s,velocity_mm_s that covers the clip"
            )
        return frame.velocity_mm_s / SCALE_MM * STEP_S

    def _image_before(self, past: tuple[tuple[float, U8], ...], time_s: float) -> U8 | None:
        """Image delta before, for Eq. (8)."""
        return next((old for old_s, old in past if time_s - old_s >= self.difference_s - 1e-6), None)

    # -- the start ----------------------------------------------------------------------------------------

    def _should_look(self, state: Mathiassen2017State, needle: Following | None, now: _View) -> bool:
        """Look for a needle while there is none, and now and then while the one found is on probation.

        There is no probation if the user named a narrow range of angles: little else can pass for a needle.
        """
        if needle is None:
            return True
        if self.start_search.narrow(state.families):
            return False
        age_s, every_s = now.frame.time_s - needle.since_s, self.start_search.every_s
        return age_s < self.start_search.probation_s and age_s % every_s < now.elapsed_s

    def _look(
        self, state: Mathiassen2017State, needle: Following | None, now: _View
    ) -> tuple[Line | None, tuple[Suspect, ...]]:
        """Search the image. Returns (the line to start on, or None, and the lines to remember)."""
        click = state.hint.start_px if state.time_s is None else None
        return self.start_search.look(
            now.image,
            SCALE_MM,
            state.families,
            suspects=state.suspects,
            time_s=now.frame.time_s,
            current=None if needle is None else needle.line(),
            start_px=None if click is None else now.grid.to_work(click),
        )

    def _take_up(self, line: Line, hint: Hint, now: _View) -> Following:
        """Begin to follow a line."""
        half = math.radians(self.half_range_deg)
        low, high = line.angle_rad - half, line.angle_rad + half
        if hint.angle_rad is not None:
            a, b = hint.angle_rad
            # chosen: a range hardly wider than our own is searched whole, a wider one only about the line
            low, high = (a, b) if b - a <= 2.4 * half else (max(a, low), min(b, high))
        length = math.dist(line.entry_px, line.tip_px)
        return Following(
            anchor_px=line.entry_px,
            range_rad=(low, high),
            angle_deg=Gaussian(math.degrees(line.angle_rad), self.angle_p0_deg2),
            tip=self.tip.begin(length, now.velocity),
            shaft=1.0,
            wobble_deg=0.0,
            bad_s=0.0,
            since_s=now.frame.time_s,
        )

    # -- one needle ----------------------------------------------------------------------------------------

    def _follow(self, needle: Following, now: _View) -> tuple[Following | None, Estimate]:
        """Follow the needle through one frame."""
        frame = now.frame
        predicted = self.tip.predict(needle.tip, now.steps)
        axis = self._find_axis(needle, now, predicted.x)  # Alg. 4 or 5, line 2
        angle_deg = self._filtered_angle(needle, axis, now.steps)
        angle = math.radians(angle_deg.mean)
        c, s = math.cos(angle), math.sin(angle)
        foot = (axis.point_px[0] - axis.along_px * c, axis.point_px[1] - axis.along_px * s)
        seen = self._features.along(now.image, now.earlier, foot, angle, length_inside(now.image, foot, c, s))  # Alg. 3
        tip, measured = self._find_tip(predicted, seen, now.velocity)  # Alg. 4 or 5, lines 4 on
        shaft, wobble_deg, bad_s = self._believe(needle, axis, seen, tip.x, now.elapsed_s)
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
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=now.grid.to_frame((foot[0] + tip.x * c, foot[1] + tip.x * s)),
            angle_rad=angle,
            covariance_mm2=self._covariance(following, tip.x - axis.along_px),
            confidence=_confidence(shaft),
            state=Track.TRACKING if sure else Track.COASTING,
            entry_px=now.grid.to_frame(foot),
        )

    def _find_axis(self, needle: Following, now: _View, tip_px: float) -> Axis:
        """Search for the axis (Alg. 2): with feedback up to the tip, else over all of it in the image."""
        middle = 0.5 * (needle.range_rad[0] + needle.range_rad[1])
        whole = length_inside(now.image, needle.anchor_px, math.cos(middle), math.sin(middle))
        return self._axis.search(now.image, needle.anchor_px, needle.range_rad, tip_px if self.feedback else whole)

    def _filtered_angle(self, needle: Following, axis: Axis, steps: float) -> Gaussian:
        """Angle after its Kalman filter (Section II-A3), or as measured."""
        measured_deg = math.degrees(axis.angle_rad)
        if not self.filter_angle:
            return Gaussian(measured_deg, self.angle_r_deg2)
        return needle.angle_deg.predict(self.angle_q_deg2 * steps).update(measured_deg, self.angle_r_deg2)

    def _find_tip(self, predicted: Belief, seen: TipProfile, velocity: float | None) -> tuple[Belief, bool]:
        """Update the tip by h(x). The flag is False if there was nothing to measure."""
        first, last = int(self.first_tip_px), seen.end - self.end_px
        if last - first <= self.end_px:
            return predicted, False
        return self.tip.update(predicted, seen.h, first=first, last=last, velocity_px=velocity)

    def _believe(
        self, needle: Following, axis: Axis, seen: TipProfile, tip_px: float, elapsed_s: float
    ) -> tuple[float, float, float]:
        """Judge the shaft. Returns (its score, wobble of the raw angle in deg, seconds without a believable shaft)."""
        shaft = _mean_score(seen, 0.0, tip_px)
        jump_deg = min(abs(math.degrees(axis.angle_rad) - needle.angle_deg.mean), self.half_range_deg)
        wobble_deg = needle.wobble_deg + (jump_deg - needle.wobble_deg) * min(1.0, elapsed_s / self.wobble_s)
        believable = shaft > self.shaft_min and wobble_deg < self.wobble_max_deg
        return shaft, wobble_deg, 0.0 if believable else needle.bad_s + elapsed_s

    def _covariance(self, needle: Following, beyond_rays_px: float) -> NDArray[np.float64]:
        """Covariance (2, 2) along and across, mm^2. The angle counts from the middle of the rays on."""
        along = self.along_scale * SCALE_MM**2 * needle.tip.variance
        lever_mm = SCALE_MM * beyond_rays_px * math.radians(math.sqrt(needle.angle_deg.variance))
        return np.diag([along, self.across_mm**2 + (self.across_lever * lever_mm) ** 2])

    def _remember(self, past: tuple[tuple[float, U8], ...], time_s: float, image: U8) -> tuple[tuple[float, U8], ...]:
        """Keep the newest image that is at least delta old, and all after it, at most 32."""
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
    """Confidence, 0 to 1, from the shaft's score."""
    return 1.0 / (1.0 + math.exp(-4.0 * (shaft - 0.9)))  # chosen: half at a score of 0.9


@dataclass(frozen=True)
class OM(Mathiassen2017):
    """Method 2: the largest h, the angle as measured."""

    tip: Maximum = Maximum()
    """No filter: the place of the largest h."""
    feedback: bool = False
    """False: rays span the whole axis."""
    filter_angle: bool = False
    """False: the angle stays as measured."""


@dataclass(frozen=True)
class OMFeedback(OM):
    """Method 3, OM+F: with feedback."""

    feedback: bool = True
    """True: rays reach to the estimated tip only."""


@dataclass(frozen=True)
class KF(Mathiassen2017):
    """Method 4: a Kalman filter of the tip."""

    tip: KalmanTip = KalmanTip()
    """Kalman filter with the numbers of Table II."""
    feedback: bool = False
    """False: rays span the whole axis."""


@dataclass(frozen=True)
class KFFeedback(KF):
    """Method 5, KF+F: with feedback."""

    feedback: bool = True
    """True: rays reach to the estimated tip only."""


@dataclass(frozen=True)
class PF(Mathiassen2017):
    """Method 6: a particle filter of the tip."""

    tip: ParticleTip = ParticleTip()
    """Particle filter with the numbers of Section III-B."""
    feedback: bool = False
    """False: rays span the whole axis."""


@dataclass(frozen=True)
class PFFeedback(PF):
    """Method 7, PF+F: with feedback."""

    feedback: bool = True
    """True: rays reach to the estimated tip only."""


@dataclass(frozen=True)
class KFv(KF):
    """Method 8: a Kalman filter with the measured velocity, Eq. (19)."""

    measured_velocity: bool = True
    """True: the measured insertion speed is used."""


@dataclass(frozen=True)
class KFvFeedback(KFv):
    """Method 9, KFv+F: with feedback."""

    feedback: bool = True
    """True: rays reach to the estimated tip only."""


@dataclass(frozen=True)
class PFv(PF):
    """Method 10: a particle filter with the measured velocity, Eq. (23), and the narrower noise that goes with it."""

    tip: ParticleTip = ParticleTip(p0_v_px_s=5.0, q_v_px_s=5.0, sigma_s=75.0)
    """Particle filter with the narrower numbers of Section III-B."""
    measured_velocity: bool = True
    """True: the measured insertion speed is used."""


@dataclass(frozen=True)
class PFvFeedback(PFv):
    """Method 11, PFv+F: with feedback."""

    feedback: bool = True
    """True: rays reach to the estimated tip only."""
