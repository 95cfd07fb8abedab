"""`vla`: follows the tip from frame to frame with the learned network of Zhang et al. 2026.

Y. Zhang, Q. Ding, L. Tang, C. Fang, S. S. Cheng, "A Vision-Language-Action Model for Adaptive Ultrasound-Guided Needle
Insertion and Needle Tracking", ICRA 2026, arXiv:2604.20347, Sections III-B to III-D: TraCon register and cross-depth
fusion. The network itself is in `learning/nets`. The paper crops a search region around the last box and trusts the
network.

| symbol | name here | unit |
| --- | --- | --- |
| z | template, cut once: `kept` is what the network needs of it | grey levels |
| x | search crop of the previous and the present frame | grey levels |
| box | `VlaTipState.box`, as the network draws it | fractions of the longer side |

Departs from the paper: the crop lies around a prediction with its uncertainty (constant velocity, Kalman). A candidate
must fit the prediction, or return to one place often enough. When the network is not sure, the crop widens. When it was
unsure for long, the tip is lost. Without a click, and when it is lost, the needle detector finds it in the whole
picture, as it does for `auto`. It also looks from time to time whether another needle is more likely. Angle and entry
come from the shaft behind the tip near the detector's direction, since the network gives a tip only.

Where frames bring what the rig's encoders say (`Frame.robot_state`) and have a scale, the prediction is theirs, with
slip, bending, registration and breathing estimated online (`aided.py`). A tip that the encoders cannot explain is not
taken, and another place takes over only with evidence. Without encoders the tracker also looks ahead along the shaft: a
needle that has gone behind a shadow comes out there, while its end at the shadow's edge looks like a tip.

It needs no scale. Every length is a fraction of the picture's longer side (`imaging.crops.LongerSide`), also the
crop's. On pictures of the trained size (128 mm) they are the lengths in mm that were chosen in training. Where the
frame has a scale, the covariance is in mm^2 as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.config import check_finite, check_range
from sonosteer.core.frozen import load_locked, lock, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging.crops import LongerSide, crop, longer_side
from sonosteer.imaging.shaft_direction import ray_contrast
from sonosteer.inference.needle_detector import Detection
from sonosteer.inference.tip_network import TRAINED_SIDE_MM, TipNetwork, TipReply, load_tip_network
from sonosteer.trackers.aided import Aid, AidedTip, side_of, told
from sonosteer.trackers.course import place_update
from sonosteer.trackers.questions import DetectorDesk
from sonosteer.trackers.rivals import Rival, Sameness, allowed_needles, seen_again

#: number of directions in which a shaft is looked for. chosen: steps of 2 degrees
DIRECTIONS = 90
#: how far from the detector's direction a shaft is looked for, rad. chosen: twice the detector's largest usual error
NEAR_SEEN_RAD = math.radians(16)
#: deviation of a fresh tip's speed, longer sides per s. chosen: 10 mm/s in the pictures of training
START_SPEED = 10.0 / TRAINED_SIDE_MM
#: how far beside a ray the tissue is looked at, as a fraction of the picture. chosen: 1.5 mm in those pictures
BESIDE = 1.5 / TRAINED_SIDE_MM


@dataclass(frozen=True, slots=True)
class TipCandidate:
    """A place where the network sees a tip."""

    at: Point
    """Place in the image, fractions of its longer side, no unit."""
    score: float
    """How surely it is the tip, 0 to 1."""
    visible: float
    """How well the tip can be seen, 0 to 1."""
    sd: float
    """Deviation that the network gives, each way, as a fraction of the longer side, no unit."""
    box: Point
    """Width and height of its box, fractions of the longer side, no unit."""


@dataclass(frozen=True, slots=True, eq=False)
class TipBelief:
    """Place and velocity of the tip, as a normal distribution."""

    mean: F64
    """(x, y, v_x, v_y) in the image, longer sides and longer sides per s."""
    covariance: F64
    """Covariance of the mean, (4, 4), longer sides and s."""
    doubt_s: float = 0.0
    """Time since the network was last believed, s."""
    score: float = 1.0
    """Smoothed score of the candidates that were believed, 0 to 1."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)

    @property
    def at(self) -> Point:
        """Mean position, fractions of the longer side."""
        return float(self.mean[0]), float(self.mean[1])

    @property
    def sd(self) -> float:
        """Deviation of the position, the larger way, as a fraction of the longer side."""
        return math.sqrt(max(float(self.covariance[0, 0]), float(self.covariance[1, 1])))


@dataclass(frozen=True, slots=True, eq=False)
class Rumour:
    """A good candidate away from the prediction."""

    candidate: TipCandidate
    """Where it was last."""
    count: int
    """Number of frames in a row in which it was there."""


@dataclass(frozen=True, slots=True, eq=False)
class VlaTipState:
    """Everything vla remembers between frames."""

    hint: Hint
    """What the user said about the needle."""
    time_s: float | None = None
    """Time of the last frame, s. None before the first."""
    kept: F32 | None = None
    """What the network keeps of the template, no unit. None before a tip was found."""
    belief: TipBelief | None = None
    """Where the tip is. None while it is searched."""
    before: U8 | None = None
    """Earlier frame of the pair, grey levels. None before the first."""
    before_s: float = 0.0
    """Time of that frame, s."""
    elsewhere: Rumour | None = None
    """A rejected candidate that may be the tip. None if there is none."""
    contrast: F32 | None = None
    """Contrast of rays behind the tip, averaged over frames, grey levels. None before the first."""
    box: Point = (0.0, 0.0)
    """Width and height of the network's box, fractions of the picture's longer side."""
    rival: Rival | None = None
    """A needle that the detector's last answer showed, which is not followed. None if there is none."""
    asked_s: float | None = None
    """Time of the frame last shown to the detector, s. None before the first."""
    direction_rad: float | None = None
    """Direction of the needle as the detector saw it, rad, at the spacing's ratio. None until it did."""
    ever: bool = False
    """True once a tip was found."""
    aided: AidedTip | None = None
    """The tip as the encoders have it. None without encoders."""
    shaft_rad: float | None = None
    """Direction towards the tip as last reported, rad. None before the first."""
    ahead: Rumour | None = None
    """A tip further along the shaft. None if there is none."""
    followed: int = 0
    """Number of frames in which a tip was followed."""
    note: str | None = None
    """What is to be said of this frame. None if nothing."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A reply of the network, and where its crop lies in the image."""

    reply: TipReply
    width: float  # of the crop, as a fraction of the longer side
    corner: Point  # fractions of the longer side


class _Loaded:
    """The network of a model and its reply to a blank template, made when they are first asked for."""

    def __init__(self, network: TipNetwork | None) -> None:
        self.network = network
        self.blank: F32 | None = None


@dataclass(frozen=True)
class VlaTipTracker:
    """Parameters of vla. Fractions of the picture are of its longer side.

    chosen: all of them on simulated training scenes, whose pictures are 128 mm wide.
    """

    model: str = "edge"
    """"edge", the model that ships, or a folder that `sonosteer train tracking` made."""
    runtime: str = "onnx"
    """What runs the network: onnx or torch."""
    threads: int = 1
    """Number of CPU threads of the network."""
    believed: float = 0.2
    """Lowest score of a candidate that is believed, 0 to 1."""
    sure: float = 0.4
    """Lowest score of a visible tip that is called tracking, 0 to 1."""
    sure_sd: float = 0.02
    """Largest deviation of a tip that is called tracking, as a fraction of the picture, no unit."""
    sure_peak: float = 0.1
    """How much the score must exceed the next best place's for the tip to be called tracking, no unit."""
    apart: float = 0.0390625
    """How far from the tip the next best place is looked for, as a fraction of the picture, no unit."""
    found: float = 0.65
    """Lowest score from which a tip is taken up, or a jump followed, 0 to 1."""
    near: float = 0.0234375
    """How far from its prediction a tip may lie, beside three deviations, as a fraction of the picture, no unit."""
    again: int = 5
    """Number of frames in a row that another place must return to be believed."""
    again_near: float = 0.015625
    """Distance within which two places are the same, as a fraction of the picture, no unit."""
    agility: float = 0.03662109375
    """Spectral density of the tip's acceleration: square of the picture's longer side per s^3."""
    settle_s: float = 0.4
    """Time in which the velocity settles while the network is in doubt, s."""
    wide: float = 1.8
    """Scale of the crop when in doubt, as a multiple of the usual one, no unit."""
    doubt_s: float = 0.2
    """Doubt after which the crop widens in every other frame, s."""
    lost_s: float = 1.2
    """Doubt after which the tip is lost, s."""
    lost_sd: float = 0.0625
    """Deviation of the position after which the tip is lost, as a fraction of the picture, no unit."""
    sd_scale: float = 1.0
    """Factor on the network's deviation in the claimed covariance, no unit."""
    min_sd: float = 0.0015625
    """Smallest claimed deviation, as a fraction of the picture, no unit."""
    click_sd: float = 0.00546875
    """Deviation of a click on the tip, as a fraction of the picture, no unit."""
    margin: float = 0.03125
    """How far outside the image the tip may be, as a fraction of the picture, no unit."""
    max_gap_s: float = 2.0
    """Longest time between two frames of a pair, s."""
    pair_s: float = 0.03
    """Shortest time between two frames of a pair, s. Frames of a faster stream are too alike to show a motion."""
    ray: float = 0.09375
    """Length of the rays that look for the shaft behind the tip, as a fraction of the picture, no unit."""
    detector: str = "detector"
    """Needle detector that finds the tip in a whole picture: "detector", which ships, or a folder."""
    readings: bool = True
    """True: what the rig's encoders say is used where frames bring it."""
    aid: Aid = field(default_factory=Aid)
    """How the encoders are used."""
    aided_visible: float = 0.5
    """With encoders: lowest visibility of a candidate that is believed, 0 to 1."""
    aided_guess: float = 0.024
    """With encoders: deviation above which a candidate is a guess, as a fraction of the picture, no unit."""
    aided_sd: float = 0.004
    """With encoders: largest deviation that a candidate is given, as a fraction of the picture, no unit."""
    aided_claim: float = 0.0036
    """With encoders: deviation that a claim has beside the filter's, as a fraction of the picture, no unit."""
    aided_scale: float = 1.3
    """With encoders: factor on the filter's deviation in the claimed covariance, no unit."""
    aided_lost_sd: float = 0.0625
    """Deviation after which a tip that the encoders carry on is lost, as a fraction of the picture, no unit."""
    ahead_every: int = 3
    """Without encoders: number of frames between two looks ahead along the shaft. 0: never."""
    ahead: float = 0.09375
    """How far ahead is looked, as a fraction of the picture, no unit."""
    ahead_again: int = 3
    """Number of looks ahead in a row that must show a tip there to follow it."""
    starts: float = 0.5
    """Probability from which the detector's needle is begun on at once, 0 to 1."""
    starts_again: float = 0.3
    """Mean probability from which it is when several answers in a row show it, 0 to 1."""
    answers_again: int = 3
    """Number of answers in a row that must show a needle."""
    ask_every_s: tuple[float, float] = (0.1, 0.5)
    """Time between two looks of the detector: while a tip is looked for, while one is followed, s."""
    sameness: Sameness = field(default_factory=Sameness)
    """When needles of two answers are the same."""
    network: Any = field(default=None, repr=False, compare=False)
    """A network to use instead of the model's."""
    _loaded: _Loaded = field(init=False, repr=False, compare=False)
    _desk: DetectorDesk = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_loaded", _Loaded(self.network))
        object.__setattr__(self, "_desk", DetectorDesk(self.detector, self.threads))
        check_finite(self, "vla")
        for name in ("believed", "sure", "found"):
            check_range(self, "vla", 0.0, 1.0, name)
        check_range(self, "vla", 1.0, 4.0, "wide")

    @property
    def uses_readings(self) -> bool:
        """True if frames' robot states are used."""
        return self.readings

    def net(self) -> TipNetwork:
        """Network, loaded when it is first asked for. Raises InputError if there is no such model."""
        if self._loaded.network is None:
            self._loaded.network = load_tip_network(self.model, runtime=self.runtime, threads=self.threads)
        return self._loaded.network

    def prepare(self) -> None:
        """Load the model and compile the kernels."""
        self._blank()
        noise = np.random.default_rng(0).integers(0, 90, (128, 128)).astype(np.uint8)
        state = self.start(Hint(start_px=(64.0, 64.0)))
        for i in range(3):
            state, _ = self.step(state, Frame(noise.copy(), i, i / 30))

    def start(self, hint: Hint) -> VlaTipState:
        """State before the first frame. A click on the tip helps most, but nothing is needed."""
        self.net()
        return VlaTipState(hint)

    def step(self, state: VlaTipState, frame: Frame) -> tuple[VlaTipState, Estimate]:
        """Track the tip through one frame. Without a scale its covariance is in px^2 only."""
        image = frame.grey()
        side = longer_side(image.shape, frame.spacing)
        dt_s = 0.0 if state.time_s is None else frame.time_s - state.time_s
        alike = state.before is not None and state.before.shape == image.shape and 0.0 <= dt_s < self.max_gap_s
        before = state.before if alike else None
        if state.time_s is None and state.hint.start_px is not None:
            state = self._take(state, image, side, side.fractions(state.hint.start_px))
        if state.belief is None:
            after, estimate = self._search(state, frame, image, before, side)
        else:
            after, estimate = self._follow(state, frame, image, before, side, dt_s=max(dt_s, 0.0))
        if before is not None and frame.time_s - state.before_s < self.pair_s:
            return replace(after, time_s=frame.time_s), estimate
        return replace(after, time_s=frame.time_s, before=image, before_s=frame.time_s), estimate

    # -- asking the network ------------------------------------------------------------------------------------

    @property
    def _pixel(self) -> float:
        """Size of a crop's pixel, as a fraction of the longer side: that of the pictures of training."""
        return self.net().scale_mm / TRAINED_SIDE_MM

    def _look(
        self, image: U8, before: U8 | None, side: LongerSide, *, centre: Point, factor: float, kept: F32
    ) -> _Seen:
        """Show the network a crop. factor: its scale, as a multiple of the usual one."""
        net = self.net()
        pixel, centre_px = factor * self._pixel, side.to_px(centre)
        step = side.step(pixel)
        pair = np.stack(
            [crop(each, centre_px, net.search_px, step) for each in (image if before is None else before, image)]
        )
        width = net.search_px * pixel
        reply = net.respond(pair, kept)
        lock(reply.features)  # a policy reads them, too
        return _Seen(reply, width, (centre[0] - width / 2, centre[1] - width / 2))

    def _candidate(self, seen: _Seen, k: int) -> TipCandidate:
        """Candidate number k of a reply, in fractions of the longer side."""
        reply, width, (x0, y0) = seen.reply, seen.width, seen.corner
        x, y = reply.centre[k].tolist()
        w, h = reply.size[k].tolist()
        return TipCandidate(
            at=(x0 + x * width, y0 + y * width),
            score=float(reply.score[k]),
            visible=float(reply.visible[k]),
            sd=math.sqrt(2.0) * float(reply.sd[k]) * width,  # of a Laplace density
            box=(w * width, h * width),
        )

    def _template(self, image: U8, side: LongerSide, at: Point) -> F32:
        """Cut a template at a place. Returns what the network keeps of it."""
        net = self.net()
        return net.embed(crop(image, side.to_px(at), net.template_px, side.step(self._pixel)))

    def _blank(self) -> F32:
        """What the network keeps of no template: any tip will do."""
        if self._loaded.blank is None:
            net = self.net()
            self._loaded.blank = net.embed(np.zeros((net.template_px, net.template_px), np.uint8))
        return self._loaded.blank

    def _take(self, state: VlaTipState, image: U8, side: LongerSide, at: Point) -> VlaTipState:
        """Start to follow a tip at a place."""
        belief = TipBelief(np.array([*at, 0.0, 0.0]), np.diag([self.click_sd**2] * 2 + [START_SPEED**2] * 2))
        kept = self._template(image, side, at) if state.kept is None else state.kept
        return replace(
            state, belief=belief, kept=kept, elsewhere=None, ahead=None, contrast=None, ever=True, aided=None
        )

    # -- searching a tip -------------------------------------------------------------------------------------

    def _search(
        self, state: VlaTipState, frame: Frame, image: U8, before: U8 | None, side: LongerSide
    ) -> tuple[VlaTipState, Estimate]:
        """Let the needle detector look for a tip in the whole picture, if it is time."""
        width, height = side.fractions((float(image.shape[1]), float(image.shape[0])))
        middle, kept = (width / 2, height / 2), self._blank() if state.kept is None else state.kept
        state = self._detect(state, frame, image, before, side)
        if state.belief is not None:
            return self._follow(state, frame, image, before, side, dt_s=0.0)
        # what the network makes of the picture is handed on even while the tip is not known
        seen = self._look(image, before, side, centre=middle, factor=self.wide, kept=kept)
        reason = "the tip was lost and is looked for" if state.ever else "no tip found yet"
        return state, Lost(frame.index, frame.time_s, reason, seen.reply.features)

    def _detect(self, state: VlaTipState, frame: Frame, image: U8, before: U8 | None, side: LongerSide) -> VlaTipState:
        """Ask the detector about the whole picture, if it is time. Take up a needle of its that is sure."""
        every_s = self.ask_every_s[0 if state.belief is None else 1]
        if state.asked_s is not None and frame.time_s - state.asked_s < every_s - 1e-6:
            return state
        answer = self._desk.detector.look(image, before)
        state, longer = replace(state, asked_s=frame.time_s), float(max(image.shape))
        own = None
        if state.belief is not None:
            tip = side.to_px(state.belief.at)
            own = answer.at(tip)
            same = [d for d in answer.needles if math.dist(d.tip_px, tip) < self.sameness.near * longer]
            own = max(same, key=lambda d: d.score, default=own)
            if own is not None and own.score >= self.starts_again:
                state = replace(state, direction_rad=side.direction(own.angle_rad))
        best = next((d for d in allowed_needles(state.hint, answer) if d is not own), None)
        if best is None or (own is not None and best.score < own.score + 0.1):  # chosen: clearly more likely
            return self._hear_whole(replace(state, rival=None), frame, image, side, None)
        rival = seen_again(state.rival, best, self.sameness, longer)
        often = rival.seen >= self.answers_again and rival.score >= self.starts_again
        if state.aided is not None:
            return self._hear_whole(replace(state, rival=rival), frame, image, side, best)
        once = state.belief is None and best.score >= self.starts
        if once or (often and (state.belief is None or rival.score >= self.starts)):
            state = replace(state, rival=None, direction_rad=side.direction(best.angle_rad))
            return self._take(state, image, side, side.fractions(best.tip_px))
        return replace(state, rival=rival)

    # -- following one -----------------------------------------------------------------------------------------

    def _follow(
        self, state: VlaTipState, frame: Frame, image: U8, before: U8 | None, side: LongerSide, *, dt_s: float
    ) -> tuple[VlaTipState, Estimate]:
        """Follow the tip through one frame."""
        state = self._detect(self._carry_on(replace(state, note=None), frame, side, dt_s), frame, image, before, side)
        assert state.belief is not None
        assert state.kept is not None
        belief = state.belief
        factor = self.wide if belief.doubt_s > self.doubt_s and round(belief.doubt_s / max(dt_s, 1e-3)) % 2 else 1.0
        seen = self._look(image, before, side, centre=belief.at, factor=factor, kept=state.kept)
        best, second = self._choose(seen, belief)
        if state.aided is not None:
            state = self._weigh_aided(state, frame, image, side, seen=seen, best=best, dt_s=dt_s)
        else:
            state = self._weigh(state, image, side, best=best, dt_s=dt_s)
            state = self._look_ahead(state, image, before, side, best)
        assert state.belief is not None
        belief = state.belief
        width, height = side.fractions((float(image.shape[1]), float(image.shape[0])))
        x, y = belief.at
        outside = max(-x, -y, x - width, y - height)
        gone = belief.doubt_s > self.lost_s or belief.sd > self.lost_sd
        if state.aided is not None:
            gone = belief.sd > self.aided_lost_sd
        if gone or outside > self.margin:
            why = "the tip has left the image" if outside > self.margin else "the tip is not seen any more"
            lost = Lost(frame.index, frame.time_s, why, seen.reply.features)
            return replace(state, belief=None, elsewhere=None, ahead=None, contrast=None, aided=None), lost
        accepted = belief.doubt_s == 0.0
        if accepted:
            state = replace(state, box=best.box)
        sure = accepted and best.score >= self.sure and best.visible >= 0.5
        sure &= belief.sd <= self.sure_sd and best.score >= second + self.sure_peak
        sure &= state.aided is None or state.aided.on_trial == 0
        state = replace(state, followed=state.followed + 1)
        return self._report(state, frame, image, side, best=best, sure=sure, features=seen.reply.features)

    def _weigh(
        self, state: VlaTipState, image: U8, side: LongerSide, *, best: TipCandidate, dt_s: float
    ) -> VlaTipState:
        """Take a candidate that fits the prediction, or one that came back to another place often enough."""
        belief = state.belief
        assert belief is not None
        if math.dist(best.at, belief.at) < self.near + 3.0 * belief.sd and best.score >= self.believed:
            return replace(state, belief=self._update(belief, best), elsewhere=None)
        belief = replace(belief, doubt_s=belief.doubt_s + dt_s, score=belief.score * 0.9)
        elsewhere = self._rumour(state.elsewhere, best, self.again_near)
        if elsewhere is not None and elsewhere.count >= self.again:
            return self._take(replace(state, belief=None), image, side, best.at)
        return replace(state, belief=belief, elsewhere=elsewhere)

    # -- with what the encoders say ---------------------------------------------------------------------------------

    def _carry_on(self, state: VlaTipState, frame: Frame, side: LongerSide, dt_s: float) -> VlaTipState:
        """Predict the tip: by the encoders where the frame has them, else at constant velocity."""
        belief, longer_mm = state.belief, _longer_mm(frame, side)
        assert belief is not None
        aided = state.aided
        if aided is not None:
            aided = None if longer_mm is None else self.aid.predict(aided, frame.robot_state, dt_s)
            if aided is None:  # on at rest, as far as anybody knows
                return replace(state, aided=None, belief=self._predict(belief, dt_s))
        elif longer_mm is not None and self.readings:
            before, entered = self._predict(belief, dt_s), side_of(state.hint, state.direction_rad)
            x, y = before.at
            at_mm, P = (x * longer_mm, y * longer_mm), before.covariance[:2, :2] * longer_mm**2
            aided = self.aid.begin(at_mm, P, frame, entered)
            belief = before if aided is not None else belief
        if aided is None or longer_mm is None:
            return replace(state, belief=self._predict(belief, dt_s))
        return replace(state, aided=aided, belief=_as_fractions(belief, aided, longer_mm))

    def _weigh_aided(
        self,
        state: VlaTipState,
        frame: Frame,
        image: U8,
        side: LongerSide,
        *,
        seen: _Seen,
        best: TipCandidate,
        dt_s: float,
    ) -> VlaTipState:
        """Take a candidate that the encoders explain. Hear another place out."""
        belief, aided, longer_mm = state.belief, state.aided, _longer_mm(frame, side)
        assert belief is not None
        assert aided is not None
        assert longer_mm is not None
        R = np.eye(2) * (min(max(best.sd, self.min_sd), self.aided_sd) * longer_mm) ** 2
        at_mm = (best.at[0] * longer_mm, best.at[1] * longer_mm)
        seen_well = best.visible >= self.aided_visible and best.sd <= self.aided_guess
        if best.score >= self.believed and seen_well and self.aid.fits(aided, at_mm, R):
            aided = self.aid.met(aided, at_mm, R)
            belief = replace(belief, doubt_s=0.0, score=belief.score + 0.3 * (best.score - belief.score))
            return replace(state, aided=aided, belief=_as_fractions(belief, aided, longer_mm), elsewhere=None)
        belief = replace(belief, doubt_s=belief.doubt_s + dt_s, score=belief.score * 0.9)
        raw = self._candidate(seen, int(seen.reply.score.argmax()))
        good = raw.score >= self.found and raw.visible >= 0.5
        raw_mm = (raw.at[0] * longer_mm, raw.at[1] * longer_mm) if good else None
        near = self.aid.heard(aided.near, aided, raw_mm, frame.time_s)
        state = replace(state, belief=belief, aided=replace(aided, near=near))
        if not good or not self.aid.takes_over(
            near, aided, sightings=self.aid.near_sightings, unseen_s=belief.doubt_s, time_s=frame.time_s
        ):
            return state
        assert near is not None
        return self._follow_other(state, frame, image, side, raw.at, note=told(near))

    def _hear_whole(
        self, state: VlaTipState, frame: Frame, image: U8, side: LongerSide, best: Detection | None
    ) -> VlaTipState:
        """Hear out a needle that the detector saw in the whole picture, away from the one that is followed."""
        aided, belief, longer_mm = state.aided, state.belief, _longer_mm(frame, side)
        if aided is None or belief is None or longer_mm is None:
            return state
        at = None if best is None or best.score < self.starts_again else side.fractions(best.tip_px)
        at_mm = None if at is None else (at[0] * longer_mm, at[1] * longer_mm)
        whole = self.aid.heard(aided.whole, aided, at_mm, frame.time_s)
        state = replace(state, aided=replace(aided, whole=whole))
        if at is None or not self.aid.takes_over(
            whole, aided, sightings=self.aid.whole_sightings, unseen_s=belief.doubt_s, time_s=frame.time_s
        ):
            return state
        assert whole is not None
        return self._follow_other(state, frame, image, side, at, note=told(whole))

    def _follow_other(
        self, state: VlaTipState, frame: Frame, image: U8, side: LongerSide, at: Point, *, note: str
    ) -> VlaTipState:
        """Follow another place, on trial."""
        state, longer_mm = self._take(replace(state, belief=None), image, side, at), _longer_mm(frame, side)
        assert state.belief is not None
        assert longer_mm is not None
        at_mm, P = (at[0] * longer_mm, at[1] * longer_mm), state.belief.covariance[:2, :2] * longer_mm**2
        entered = side_of(state.hint, state.direction_rad)
        aided = self.aid.begin(at_mm, P, frame, entered, on_trial=self.aid.trial)
        return replace(state, aided=aided, note=note)

    # -- without: a look ahead ------------------------------------------------------------------------------------

    def _look_ahead(
        self, state: VlaTipState, image: U8, before: U8 | None, side: LongerSide, best: TipCandidate
    ) -> VlaTipState:
        """Look further along the shaft now and then. Follow a tip that several looks in a row show there."""
        belief, towards = state.belief, state.shaft_rad
        if not self.ahead_every or state.followed % self.ahead_every or belief is None or towards is None:
            return state
        assert state.kept is not None
        c, s = math.cos(towards), math.sin(towards)
        centre = (belief.at[0] + self.ahead * c, belief.at[1] + self.ahead * s)
        seen = self._look(image, before, side, centre=centre, factor=1.0, kept=state.kept)
        there = self._candidate(seen, int(seen.reply.score.argmax()))
        along = (there.at[0] - belief.at[0]) * c + (there.at[1] - belief.at[1]) * s
        across = (there.at[1] - belief.at[1]) * c - (there.at[0] - belief.at[0]) * s
        beyond = along > self.near and abs(across) < 0.5 * along  # chosen: what is nearer is the tip that is followed
        rumour = self._rumour(state.ahead, there, 2.0 * self.again_near) if beyond else None
        if rumour is None or rumour.count < self.ahead_again:
            return replace(state, ahead=rumour)
        state = self._take(replace(state, belief=None), image, side, there.at)
        return replace(state, note=f"a tip further on took over after {rumour.count} looks ahead")

    # -- choosing and predicting ------------------------------------------------------------------------------------

    def _choose(self, seen: _Seen, belief: TipBelief) -> tuple[TipCandidate, float]:
        """Choose the candidate with the largest score, which is lowered far from the prediction.

        Returns also the largest score of a place apart from it.
        """
        reply, width, (x0, y0) = seen.reply, seen.width, seen.corner
        x, y = belief.at
        away = ((reply.centre[:, 0] * width + x0 - x) ** 2 + (reply.centre[:, 1] * width + y0 - y) ** 2) ** 0.5
        reach = self.near + belief.sd
        # chosen: far away a quarter of the score is left
        best = self._candidate(seen, int((reply.score * (0.25 + 0.75 * np.exp(-0.5 * (away / reach) ** 2))).argmax()))
        apart = np.hypot(reply.centre[:, 0] * width + x0 - best.at[0], reply.centre[:, 1] * width + y0 - best.at[1])
        return best, float(reply.score[apart > self.apart].max(initial=0.0))

    def _rumour(self, last: Rumour | None, best: TipCandidate, near: float) -> Rumour | None:
        """Count in how many frames in a row a good candidate was where it is now."""
        if best.score < self.found or best.visible < 0.5:
            return None
        same = last is not None and math.dist(last.candidate.at, best.at) < near
        return Rumour(best, 1 + (last.count if last is not None and same else 0))

    def _predict(self, belief: TipBelief, dt_s: float) -> TipBelief:
        """Predict at constant velocity, which settles while the network is in doubt."""
        damp = math.exp(-dt_s / self.settle_s) if belief.doubt_s > 0 else 1.0
        T = np.eye(4)
        T[0, 2] = T[1, 3] = dt_s
        T[2, 2] = T[3, 3] = damp
        q = self.agility * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
        Q = np.kron(q, np.eye(2))
        return replace(belief, mean=T @ belief.mean, covariance=T @ belief.covariance @ T.T + Q)

    def _update(self, belief: TipBelief, found: TipCandidate) -> TipBelief:
        """Update with a candidate."""
        R = np.eye(2) * max(found.sd, self.min_sd) ** 2
        mean, covariance = place_update(belief.mean, belief.covariance, found.at, R)
        return TipBelief(mean, covariance, 0.0, belief.score + 0.3 * (found.score - belief.score))

    # -- what is reported ------------------------------------------------------------------------------------------

    def _report(
        self,
        state: VlaTipState,
        frame: Frame,
        image: U8,
        side: LongerSide,
        *,
        best: TipCandidate,
        sure: bool,
        features: F32 | None,
    ) -> tuple[VlaTipState, Estimate]:
        """Report the belief as an estimate."""
        belief = state.belief
        assert belief is not None
        contrast = self._rays(image, side, belief.at, state.contrast)
        angle = _direction(contrast, state.hint, state.direction_rad)
        if state.direction_rad is not None and math.cos(angle - state.direction_rad) < 0.0:
            angle -= math.pi
        tip = side.to_px(belief.at)
        c, s = math.cos(angle), math.sin(angle)
        drawn = (c / side.x_fraction, s / side.y_fraction)
        believed = belief.doubt_s == 0.0
        half = (0.5 * state.box[0] / side.x_fraction, 0.5 * state.box[1] / side.y_fraction)
        own = (self.sd_scale * best.sd) ** 2 if believed else 0.0  # errors of neighbouring frames are alike
        P = belief.covariance[:2, :2] + np.eye(2) * max(own, self.min_sd**2)
        if state.aided is not None:
            P = belief.covariance[:2, :2] * self.aided_scale**2 + np.eye(2) * self.aided_claim**2
        to_px = np.diag([1.0 / side.x_fraction, 1.0 / side.y_fraction])
        longer_mm = None if frame.spacing is None else frame.spacing.x_mm / side.x_fraction
        return replace(state, contrast=contrast, shaft_rad=angle), TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=tip,
            angle_rad=angle,
            covariance_mm2=None if longer_mm is None else _along((c, s), P) * longer_mm**2,
            covariance_px2=_along(drawn, to_px @ P @ to_px),
            confidence=min(max(belief.score, 0.0), 1.0),
            state=Track.TRACKING if sure else Track.COASTING,
            entry_px=_entry(tip, drawn, image.shape[1]),
            visibility=min(max(best.visible, 0.0), 1.0) if believed else 0.0,
            box_px=(tip[0] - half[0], tip[1] - half[1], tip[0] + half[0], tip[1] + half[1]),
            features=features,
            note=state.note,
        )

    def _rays(self, image: U8, side: LongerSide, at: Point, old: F32 | None) -> F32:
        """Contrast of rays behind the tip, averaged over frames."""
        fresh = np.empty(DIRECTIONS, np.float32)
        pixel, (x, y) = self._pixel, side.to_px(at)
        ray_contrast(image, x, y, *side.step(pixel), round(self.ray / pixel), BESIDE / pixel, fresh)
        # chosen: a mean over about seven frames
        return fresh if old is None else (old + np.float32(0.15) * (fresh - old)).astype(np.float32)


def _longer_mm(frame: Frame, side: LongerSide) -> float | None:
    """Longer side of the picture, mm. None without a scale."""
    return None if frame.spacing is None else frame.spacing.x_mm / side.x_fraction


def _as_fractions(belief: TipBelief, aided: AidedTip, longer_mm: float) -> TipBelief:
    """The belief that the encoders' filter has, in fractions of the longer side. Nothing is known of its velocity."""
    x, y = aided.belief.place_mm
    P = 1e-6 * np.eye(4)
    P[:2, :2] = aided.belief.place_covariance_mm2 / longer_mm**2
    return replace(belief, mean=np.array([x / longer_mm, y / longer_mm, 0.0, 0.0]), covariance=P)


def _direction(contrast: F32, hint: Hint, seen_rad: float | None) -> float:
    """Direction of the brightest shaft, rad, 0 to pi. seen_rad: as the detector saw it. Without it the hint decides."""
    n = len(contrast)
    angles = math.pi * np.arange(n) / n
    allowed = np.ones(n, np.bool_)
    if seen_rad is not None:
        allowed = np.abs(np.remainder(angles - seen_rad + math.pi / 2, math.pi) - math.pi / 2) < NEAR_SEEN_RAD
    elif hint.angle_rad is not None:
        allowed = (angles >= hint.angle_rad[0]) & (angles <= hint.angle_rad[1])
    elif hint.enters == "left":
        allowed = angles < math.pi / 2
    elif hint.enters == "right":
        allowed = angles > math.pi / 2
    if not allowed.any():
        allowed[:] = True
    k = int(np.where(allowed, contrast, -np.inf).argmax())
    if not 0 < k < n - 1:
        return float(angles[k])
    a, b, c = contrast[k - 1 : k + 2].tolist()
    bend = a - 2 * b + c
    return float(angles[k] + (0.5 * (a - c) / bend * math.pi / n if bend < -1e-6 else 0.0))


def _along(direction: Point, covariance: F64) -> F64:
    """Covariance along and across a direction, (2, 2), of one along x and y."""
    c, s = direction[0] / math.hypot(*direction), direction[1] / math.hypot(*direction)
    turn = np.array([[c, s], [-s, c]])
    P: F64 = turn @ covariance @ turn.T
    return 0.5 * (P + P.T)


def _entry(tip_px: Point, direction: Point, width_px: int) -> Point:
    """Where the axis enters the image, from the tip back."""
    (x, y), (dx, dy) = tip_px, direction
    reach = [
        t
        for t in (
            (y / dy if dy > 1e-9 else math.inf),
            (x / dx if dx > 0 else (x - width_px + 1) / dx if dx < 0 else math.inf),
        )
        if t > 0
    ]
    back = min(reach, default=0.0)
    return (x - back * dx, y - back * dy) if math.isfinite(back) else tip_px
