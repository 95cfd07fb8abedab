"""auto: the default tracker. It starts by itself on any picture and knows when it is lost.

None of this is published as a whole. `docs/explanation/auto.md` tells where each part comes from and what was measured.

* The needle detector proposes, from the whole picture: at the first one, and again while a needle is followed
  (`questions.py`, `inference/needle_detector.py`).
* Near the tip it looks again several times a second. A Kalman filter carries the tip on (`course.py`).
* The whole picture verifies: a needle that it does not show is given up, another that is more likely takes over.
* A scene cut, a jump in time or another size of image begins anew.
* Where frames bring what a rig's encoders say (`Frame.robot_state`) and have a scale, these carry the tip on, with
  slip, bending, registration and breathing estimated online (`aided.py`). A needle that was told once is then kept
  while it is hidden, and another takes over only with evidence.

It needs no scale. Where the frame has one, the covariance is in mm^2 as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging import drift
from sonosteer.imaging.detector_planes import reduce_picture
from sonosteer.imaging.scratch import Scratch
from sonosteer.inference.needle_detector import Detection, DetectorAnswer
from sonosteer.trackers.aided import Aid, AidedTip, side_of, told
from sonosteer.trackers.course import Course, new_course
from sonosteer.trackers.questions import DetectorDesk, Question, heard
from sonosteer.trackers.rivals import Rival, Sameness, allowed_needles, seen_again

#: longer side of the picture that the drift is measured in, px. chosen: the median error is a tenth of a pixel there
DRIFT_PX = 512


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An earlier picture."""

    time_s: float
    """Time of its frame, s."""
    small: F32
    """The picture made small, to measure the drift with, grey levels."""
    seen: U8
    """The frame in grey, for the detector, grey levels."""
    moved_px: Point
    """How far the whole picture had moved by then since the start, frame px."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The needle that is followed. Places are frame px."""

    course: Course
    """Where its tip is and how it moves."""
    angle_rad: float
    """Direction towards the tip, rad."""
    entry_px: Point
    """Where the shaft that can be seen began when it was found, px, moved with the picture."""
    support: float
    """Probability that it is right, smoothed over the detector's looks, 0 to 1."""
    looked_s: float
    """Time of the last look near its tip, s."""
    whole: float = 0.5
    """Probability that it is right, smoothed over answers about the whole picture, 0 to 1."""
    doubt_s: float = 0.0
    """How long no look near its tip was believed, s."""
    aided: AidedTip | None = None
    """Its tip as the encoders have it. None without encoders."""
    proven: bool = False
    """True once it was told. With encoders it is then not given up while it is hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class AutoState:
    """Everything auto remembers between frames."""

    hint: Hint
    """What the user said about the needle."""
    time_s: float | None = None
    """Time of the last frame, s. None before the first and after a cut."""
    frames: int = 0
    """Number of frames so far."""
    target: Target | None = None
    """The needle that is followed. None while there is none."""
    targets: int = 0
    """How many needles were begun so far."""
    rival: Rival | None = None
    """Another needle that the last answer showed. None if there is none."""
    questions: tuple[Question, ...] = ()
    """Questions to the detector under way, oldest first."""
    asked_s: float | None = None
    """Time of the frame last asked about, s. None before the first."""
    past: tuple[Past, ...] = ()
    """Pictures of the last moments, to measure movement with."""
    note: str | None = None
    """What is to be said of this frame. None if nothing."""


@dataclass(frozen=True, slots=True)
class View:
    """One frame as auto sees it."""

    frame: Frame
    """The frame itself."""
    here: Past
    """Its pictures."""

    @property
    def longer_px(self) -> float:
        """Longer side of the frame, px."""
        return float(max(self.frame.size_px))


@dataclass(frozen=True)
class Auto:
    """Parameters of auto. Fractions of the picture are of its longer side.

    chosen: all of them on training and validation scenes.
    """

    model: str = "detector"
    """"detector", the model that ships, or a folder that `sonosteer train detector` made."""
    threads: int = 1
    """Number of CPU threads of the detector."""
    waits: bool = True
    """True: answers are applied at a fixed time, waited for if need be. False (live): when they are there."""
    applied: Mapping[int, int] | None = None
    """Which answers a recorded run applied: frame index -> index of the frame asked about. None: none recorded."""
    starts: float = 0.75
    """Probability from which a needle is begun on at once, 0 to 1."""
    starts_again: float = 0.6
    """Mean probability from which a needle is begun on when several answers in a row show it, 0 to 1."""
    answers_again: int = 4
    """Number of answers in a row that must show a needle to take over, or a less likely one to begin on."""
    sameness: Sameness = field(default_factory=Sameness)
    """When needles of two answers are the same."""
    tip_sd: float = 0.008
    """Deviation of the detector's tip, as a fraction of the picture, no unit."""
    near_every_s: float = 0.1
    """Time between two looks near the tip, s."""
    near_believed: float = 0.25
    """Probability from which a look near the tip is believed, 0 to 1."""
    near_reach: float = 0.05
    """How far from its expected place a tip may be, beside its deviation, as a fraction of the picture, no unit."""
    gain: float = 0.35
    """Weight of a new look in the smoothed probability and direction, 0 to 1."""
    agility: float = 0.6
    """Spectral density of the tip's acceleration: square of the picture's longer side per s^3."""
    settle_s: float = 0.5
    """Time in which the tip's velocity settles to rest, s."""
    delay_s: tuple[float, float] = (0.12, 0.5)
    """How long after a frame its answer is applied: while a needle is looked for or doubted, while one is sure, s."""
    ask_every_s: tuple[float, float] = (0.1, 0.5)
    """Time between two questions about the whole picture: while one is looked for or doubted, while one is sure, s."""
    earlier_s: float = 0.15
    """Age of the earlier picture that the detector is shown, s."""
    drift_s: float = 0.1
    """Age of the picture that the drift is measured from, s."""
    cut: float = 0.5
    """Correlation with the last image below which there was a scene cut, no unit."""
    max_gap_s: float = 2.0
    """Longest time between two frames of one scene, s."""
    lost_after_s: float = 0.9
    """How long no look may be believed until the needle is lost, s."""
    lost_whole: float = 0.15
    """Probability, by the whole picture, below which the needle is lost, 0 to 1."""
    told: float = 0.65
    """Probability below which a followed needle is kept in mind, but called lost, 0 to 1."""
    coast_support: float = 0.4
    """Probability that the needle is right below which the state is coasting, 0 to 1."""
    coast_sd: float = 0.04
    """Claimed deviation along from which the state is coasting, as a fraction of the picture, no unit."""
    lost_sd: float = 0.1
    """Claimed deviation along from which the needle is lost, as a fraction of the picture, no unit."""
    sd_scale: tuple[float, float] = (1.3, 1.3)
    """Factors on the claimed deviations along and across, no unit."""
    min_sd: float = 0.006
    """Smallest claimed deviation, as a fraction of the picture, no unit."""
    readings: bool = True
    """True: what the rig's encoders say is used where frames bring it."""
    aid: Aid = field(default_factory=lambda: Aid(near_sightings=8))
    """How the encoders are used."""
    aided_sd: float = 0.005
    """With encoders: deviation of the detector's tip, as a fraction of the picture, no unit."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)
    _desk: DetectorDesk = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_desk", DetectorDesk(self.model, self.threads))

    @property
    def uses_readings(self) -> bool:
        """True if frames' robot states are used."""
        return self.readings

    def prepare(self) -> None:
        """Load the detector and run it, so that the first frame is as quick as the others."""
        rng = np.random.default_rng(0)
        state = self.start(Hint(start_px=(150.0, 190.0)))
        for i in range(3):
            image = rng.integers(10, 90, (256, 256)).astype(np.uint8)
            cv2.line(image, (0, 40), (150 + i, 190 + i), 250, 5)
            state, _ = self.step(state, Frame(image, i, self.near_every_s * i))

    def start(self, hint: Hint) -> AutoState:
        """State before the first frame. Any hint, or none, will do."""
        return AutoState(hint)

    def step(self, state: AutoState, frame: Frame) -> tuple[AutoState, Estimate]:
        """Track the tip through one frame. Without a scale its covariance is in px^2 only."""
        state, view = self._look(state, frame)
        state = self._advance(replace(state, note=None), view)
        state = self._look_near(state, view)
        state = self._ask(state, view)
        state, answered = self._hear(state, view)
        state, reason = self._judge(state, view)
        estimate = self._say(state, view, reason, answered)
        past = self._keep(state.past, view.here)
        return replace(state, time_s=frame.time_s, frames=state.frames + 1, past=past), estimate

    # -- look: the image and how far it has moved ----------------------------------------------------------------

    def _look(self, state: AutoState, frame: Frame) -> tuple[AutoState, View]:
        """The frame as it is worked on. What a cut or a jump has made worthless is dropped from the state."""
        grey, past = frame.grey(), state.past
        small, k = drift.reduced(reduce_picture(grey, DRIFT_PX)), max(frame.size_px) / DRIFT_PX
        moved = (0.0, 0.0)
        if past:
            gap_s = frame.time_s - past[-1].time_s
            same = past[-1].seen.shape == grey.shape and 0.0 <= gap_s < self.max_gap_s
            if not same or not _alike(small, past[-1].small) > self.cut:
                return AutoState(state.hint), View(frame, Past(frame.time_s, small, grey, moved))
            moved = past[-1].moved_px
            old = _newest(past, frame.time_s - self.drift_s)
            if old is not None:
                dx, dy = drift.translation(small, old.small, self._scratch)
                moved = _plus(old.moved_px, (k * dx, k * dy))
        return state, View(frame, Past(frame.time_s, small, grey, moved))

    def _keep(self, past: tuple[Past, ...], here: Past) -> tuple[Past, ...]:
        """Add `here` at the end. Of the old pictures all stay that movement is measured with, and one more."""
        age_s = max(self.drift_s, self.earlier_s)
        keep = (*past, here)
        while len(keep) > 1 and here.time_s - keep[1].time_s >= age_s - 1e-3:
            keep = keep[1:]
        return keep

    # -- advance and look near: the needle that is followed -------------------------------------------------

    def _advance(self, state: AutoState, view: View) -> AutoState:
        """The target as it is expected in this frame: moved with the picture, its tip carried on."""
        target = state.target
        if target is None:
            return state
        dt_s = 0.0 if state.time_s is None else max(view.frame.time_s - state.time_s, 0.0)
        then = state.past[-1].moved_px if state.past else view.here.moved_px
        dx, dy = view.here.moved_px[0] - then[0], view.here.moved_px[1] - then[1]
        target = replace(target, entry_px=_plus(target.entry_px, (dx, dy)))
        aided = self._aided(state.hint, target, view, dt_s)
        if aided is not None:
            return replace(state, target=_carried(target, aided, view))
        course = target.course.moved(dx, dy)
        course = course.predicted(dt_s, target.angle_rad, self.agility * view.longer_px**2, self.settle_s)
        return replace(state, target=replace(target, course=course, aided=None))

    def _aided(self, hint: Hint, target: Target, view: View, dt_s: float) -> AidedTip | None:
        """The target's tip as the encoders carry it on. None without them or a scale, and once they are silent."""
        spacing = view.frame.spacing
        if not self.readings or spacing is None:
            return None
        if target.aided is not None:
            return self.aid.predict(target.aided, view.frame.robot_state, dt_s)
        to_mm = np.diag([spacing.x_mm, spacing.y_mm])
        P = to_mm @ target.course.covariance[:2, :2] @ to_mm
        return self.aid.begin(spacing.to_mm(target.course.tip_px), P, view.frame, side_of(hint, target.angle_rad))

    def _look_near(self, state: AutoState, view: View) -> AutoState:
        """Let the detector look near the tip, if it is time, and take in what it sees."""
        target, time_s = state.target, view.frame.time_s
        if target is None or time_s - target.looked_s < self.near_every_s - 1e-6:
            return state
        since_s = time_s - target.looked_s
        tip, earlier = target.course.tip_px, self._earlier(state, view)
        answer = self._desk.detector.look_near(view.here.seen, earlier, tip, target.angle_rad)
        target = replace(target, looked_s=time_s)
        best = self._nearest(target, view, answer)
        if target.aided is not None and best is not None and not self._explained(target, view, best):
            targets, state, best = state.targets, self._hear_near(state, view, best), None
            if state.target is None or state.targets != targets:
                return state  # another needle was begun
            target = replace(state.target, looked_s=time_s)
        score = 0.0 if best is None else best.score
        support = target.support + self.gain * (score - target.support)
        if best is None or score < self.near_believed:
            target = replace(target, support=support, doubt_s=target.doubt_s + since_s)
            return replace(state, target=target)
        turn = math.remainder(best.angle_rad - target.angle_rad, math.tau)
        angle = target.angle_rad + self.gain * turn
        target = replace(target, angle_rad=angle, support=support, doubt_s=0.0)
        target = replace(target, proven=target.proven or support >= self.told)
        if target.aided is not None and view.frame.spacing is not None:
            at_mm = view.frame.spacing.to_mm(best.tip_px)
            aided = self.aid.met(target.aided, at_mm, self._sighting_mm2(view, best))
            return replace(state, target=_carried(target, aided, view))
        sd = self.tip_sd * view.longer_px * (2.0 - score)
        course = target.course.met(best.tip_px, angle, (sd, 0.7 * sd))
        return replace(state, target=replace(target, course=course))

    def _sighting_mm2(self, view: View, d: Detection) -> F64:
        """(2, 2) covariance of a needle's tip that the detector saw, mm^2."""
        assert view.frame.spacing is not None
        out: F64 = np.eye(2) * (self.aided_sd * view.longer_px * (2.0 - d.score) * view.frame.spacing.x_mm) ** 2
        return out

    def _explained(self, target: Target, view: View, d: Detection) -> bool:
        """True if the encoders explain a needle's tip that the detector saw."""
        assert target.aided is not None
        assert view.frame.spacing is not None
        return self.aid.fits(target.aided, view.frame.spacing.to_mm(d.tip_px), self._sighting_mm2(view, d))

    def _hear_near(self, state: AutoState, view: View, d: Detection) -> AutoState:
        """Hear out a tip near the target that the encoders do not explain."""
        target, spacing, time_s = state.target, view.frame.spacing, view.frame.time_s
        assert target is not None
        assert target.aided is not None
        assert spacing is not None
        aided = target.aided
        seen_mm = spacing.to_mm(d.tip_px) if d.score >= self.starts_again else None
        near = self.aid.heard(aided.near, aided, seen_mm, time_s)
        take = self.aid.takes_over(
            near, aided, sightings=self.aid.near_sightings, unseen_s=target.doubt_s, time_s=time_s
        )
        if near is None or seen_mm is None or not take:
            return replace(state, target=replace(target, aided=replace(aided, near=near)))
        return self._follow_other(state, view, d, d.tip_px, note=told(near))

    def _follow_other(self, state: AutoState, view: View, d: Detection, tip_px: Point, *, note: str) -> AutoState:
        """Follow another needle, on trial. tip_px: its tip in this frame."""
        x, y = tip_px[0] - d.tip_px[0], tip_px[1] - d.tip_px[1]
        target = Target(
            course=new_course(tip_px, d.angle_rad, view.longer_px * 2 * self.tip_sd, view.longer_px),
            angle_rad=d.angle_rad,
            entry_px=(d.tail_px[0] + x, d.tail_px[1] + y),
            support=d.score,
            whole=d.score,
            looked_s=view.frame.time_s,
            proven=True,
        )
        aided = self._aided(state.hint, target, view, 0.0)
        if aided is not None:
            target = replace(target, aided=replace(aided, on_trial=self.aid.trial))
        return replace(state, target=target, targets=state.targets + 1, rival=None, note=note)

    def _nearest(self, target: Target, view: View, answer: DetectorAnswer) -> Detection | None:
        """The needle of a look near the tip that fits best what is expected. None if there is none."""
        along = math.sqrt(float(target.course.spread(target.angle_rad)[0, 0]))
        reach = self.near_reach * view.longer_px + along
        fitting: list[tuple[float, Detection]] = []
        for d in answer.needles:
            turn = abs(math.remainder(d.angle_rad - target.angle_rad, math.tau))
            away = math.dist(d.tip_px, target.course.tip_px) / reach
            if turn < 3 * self.sameness.turn_rad and away < 2.0:
                fitting.append((d.tip_logit - 0.5 * away**2 - 0.5 * (turn / self.sameness.turn_rad) ** 2, d))
        return max(fitting, key=lambda one: one[0], default=(0.0, None))[1]

    def _earlier(self, state: AutoState, view: View) -> U8 | None:
        """The earlier picture that the detector is shown. None if there is none."""
        old = _newest(state.past, view.frame.time_s - self.earlier_s) or next(iter(state.past), None)
        return None if old is None else old.seen

    # -- ask and hear: the whole picture --------------------------------------------------------------------------

    def _ask(self, state: AutoState, view: View) -> AutoState:
        """Ask the detector about the whole picture if it is time. The first frame's answer is due at once."""
        frame, first = view.frame, state.frames == 0
        k = 1 if state.target is not None and state.target.whole >= self.starts else 0
        pause = state.asked_s is not None and frame.time_s - state.asked_s < self.ask_every_s[k] - 1e-6
        if pause or len(state.questions) > 2:  # chosen: a live detector that is slower than that is not asked more
            return state
        question = Question(
            frame_index=frame.index,
            time_s=frame.time_s,
            due_s=frame.time_s + (0.0 if first else self.delay_s[k]),
            moved_px=view.here.moved_px,
            tip_px=None if state.target is None else state.target.course.tip_px,
            targets=state.targets,
            future=self._desk.ask(view.here.seen, self._earlier(state, view)),
        )
        if first:
            question.future.result()
        return replace(state, questions=(*state.questions, question), asked_s=frame.time_s)

    def _hear(self, state: AutoState, view: View) -> tuple[AutoState, int | None]:
        """Apply the answer that is due, if any. Returns the state, and the index of the frame asked about."""
        index = view.frame.index
        question, left = heard(state.questions, view.frame.time_s, waits=self.waits, applied=self.applied, index=index)
        if question is None:
            return state, None
        state = replace(state, questions=left)
        answer = question.future.result()
        if question.targets != state.targets:
            return state, question.frame_index  # another needle was begun meanwhile
        if state.target is None:
            state = self._begin_if_sure(state, view, question, answer)
        elif question.tip_px is not None:
            state = self._verify(state, view, question, answer)
        return state, question.frame_index

    def _begin_if_sure(self, state: AutoState, view: View, question: Question, answer: DetectorAnswer) -> AutoState:
        """Begin on the most probable needle, if it is probable enough or was seen often enough."""
        click = state.hint.start_px if state.frames == 0 else None
        if click is not None:
            there = self._clicked(answer, click)
            return state if there is None else self._begin(state, view, question, there)
        best = next(iter(allowed_needles(state.hint, answer)), None)
        if best is None:
            return replace(state, rival=None)
        rival = seen_again(state.rival, best, self.sameness, view.longer_px)
        often = rival.seen >= self.answers_again and rival.score >= self.starts_again
        if best.score >= self.starts or often:
            return self._begin(state, view, question, best)
        return replace(state, rival=rival)

    def _clicked(self, answer: DetectorAnswer, click: Point) -> Detection | None:
        """A needle whose tip is where the user clicked: its direction and width are the detector's."""
        d = answer.at(click)
        if d is None:
            return None
        x, y = click[0] - d.tip_px[0], click[1] - d.tip_px[1]
        return replace(d, tip_px=click, tail_px=(d.tail_px[0] + x, d.tail_px[1] + y), score=1.0)

    def _begin(self, state: AutoState, view: View, question: Question, d: Detection) -> AutoState:
        """Begin on a needle that the detector saw in the question's frame."""
        since = (view.here.moved_px[0] - question.moved_px[0], view.here.moved_px[1] - question.moved_px[1])
        tip, age_s = _plus(d.tip_px, since), view.frame.time_s - question.time_s
        sd = view.longer_px * (2 * self.tip_sd + 0.1 * age_s)  # chosen: a tenth of it per s
        target = Target(
            course=new_course(tip, d.angle_rad, sd, view.longer_px),
            angle_rad=d.angle_rad,
            entry_px=_plus(d.tail_px, since),
            support=d.score,
            whole=d.score,
            looked_s=question.time_s,
        )
        state = replace(state, target=target, targets=state.targets + 1, rival=None)
        return self._look_near(state, view)

    def _verify(self, state: AutoState, view: View, question: Question, answer: DetectorAnswer) -> AutoState:
        """Weigh the target against what the detector saw in the whole picture of the question's frame.

        Another needle that is more likely in several answers takes over. One that points back needs more of them.
        """
        target = state.target
        assert target is not None
        assert question.tip_px is not None
        limit = self.sameness.near * view.longer_px
        here = answer.at(question.tip_px)
        needles = allowed_needles(state.hint, answer)
        own = [d.score for d in needles if math.dist(d.tip_px, question.tip_px) < limit]
        support = max([0.0 if here is None else here.score, *own])
        target = replace(target, whole=target.whole + self.gain * (support - target.whole))
        state = replace(state, target=target)
        other = next((d for d in needles if math.dist(d.tip_px, question.tip_px) >= limit), None)
        if other is None or other.score < max(support + 0.1, self.starts_again):  # chosen: clearly more likely
            return self._hear_whole(replace(state, rival=None), view, question, None)
        if target.aided is not None:
            return self._hear_whole(state, view, question, other)
        rival = seen_again(state.rival, other, self.sameness, view.longer_px)
        turned = math.cos(other.angle_rad - target.angle_rad) < 0.0
        enough = self.answers_again + (2 if turned else 0) - (1 if target.doubt_s > 0.0 else 0)
        sure = rival.score >= self.starts or target.support < self.near_believed
        if sure and rival.seen >= enough:
            return self._begin(state, view, question, other)
        return replace(state, rival=rival)

    def _hear_whole(self, state: AutoState, view: View, question: Question, d: Detection | None) -> AutoState:
        """Hear out another needle that the whole picture of the question's frame shows."""
        target, spacing = state.target, view.frame.spacing
        if target is None or target.aided is None or spacing is None or question.tip_px is None:
            return state
        aided, time_s, seen_mm, tip_px = target.aided, view.frame.time_s, None, target.course.tip_px
        if d is not None:  # as far from the target as it was in its own frame
            tip_px = _plus(tip_px, (d.tip_px[0] - question.tip_px[0], d.tip_px[1] - question.tip_px[1]))
            seen_mm = spacing.to_mm(tip_px)
        whole = self.aid.heard(aided.whole, aided, seen_mm, time_s)
        take = self.aid.takes_over(
            whole, aided, sightings=self.aid.whole_sightings, unseen_s=target.doubt_s, time_s=time_s
        )
        if whole is None or d is None or not take:
            return replace(state, target=replace(target, aided=replace(aided, whole=whole)))
        return self._follow_other(state, view, d, tip_px, note=told(whole))

    # -- judge and say ---------------------------------------------------------------------------------------------

    def _judge(self, state: AutoState, view: View) -> tuple[AutoState, str]:
        """Give up a needle that is not believed any more. Returns the state and why there is none."""
        target = state.target
        if target is None:
            return state, "the needle was lost and is looked for" if state.targets else "no needle found yet"
        (x, y), (width, height) = target.course.tip_px, view.frame.size_px
        along = math.sqrt(float(target.course.spread(target.angle_rad)[0, 0]))
        carried, reason = target.aided is not None and target.proven, ""  # then the encoders know where it is
        if not (0 <= x < width and 0 <= y < height):
            reason = "the tip has left the image"
        elif target.doubt_s > self.lost_after_s and not carried:
            reason = "the tip is not seen any more"
        elif target.whole < self.lost_whole and not carried:
            reason = "the whole picture does not show it as a needle"
        elif along > self.lost_sd * view.longer_px:
            reason = "the tip has not been seen for too long"
        return (state, "") if not reason else (replace(state, target=None, rival=None), reason)

    def _say(self, state: AutoState, view: View, reason: str, answered: int | None) -> Estimate:
        """What is told of this frame."""
        frame, target = view.frame, state.target
        if target is None:
            return Lost(frame.index, frame.time_s, reason, answer_frame=answered)
        carried = target.aided is not None and target.proven
        if target.support < self.told and not carried:
            return Lost(
                frame.index, frame.time_s, "a needle is followed, but it is not likely enough", answer_frame=answered
            )
        tip, angle = target.course.tip_px, target.angle_rad
        c, s = math.cos(angle), math.sin(angle)
        back = max((tip[0] - target.entry_px[0]) * c + (tip[1] - target.entry_px[1]) * s, 1.0)
        spread = np.diag(target.course.spread(angle)) * np.square(self.sd_scale) + (self.min_sd * view.longer_px) ** 2
        along = math.sqrt(float(spread[0])) / view.longer_px
        likely = min(target.support, target.whole) >= self.coast_support
        sure = likely and target.doubt_s == 0.0 and along < self.coast_sd
        sure &= target.aided is None or (target.aided.on_trial == 0 and target.support >= self.told)
        mm_px = None if frame.spacing is None else math.sqrt(frame.spacing.x_mm * frame.spacing.y_mm)
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=tip,
            angle_rad=_in_mm(angle, frame),
            covariance_mm2=None if mm_px is None else np.diag(spread) * mm_px**2,
            covariance_px2=np.diag(spread),
            confidence=target.support,
            state=Track.TRACKING if sure else Track.COASTING,
            entry_px=(tip[0] - back * c, tip[1] - back * s),
            answer_frame=answered,
            note=state.note,
        )


def _carried(target: Target, aided: AidedTip, view: View) -> Target:
    """A target whose tip is where the encoders' filter has it. Nothing is known of its velocity."""
    spacing = view.frame.spacing
    assert spacing is not None
    to_px, P = np.diag([1.0 / spacing.x_mm, 1.0 / spacing.y_mm]), np.zeros((4, 4))
    P[:2, :2] = to_px @ aided.belief.place_covariance_mm2 @ to_px
    (x, y) = aided.belief.place_mm
    course = Course(np.array([x / spacing.x_mm, y / spacing.y_mm, 0.0, 0.0]), P)
    return replace(target, course=course, aided=aided)


def _in_mm(angle_rad: float, frame: Frame) -> float:
    """A direction in px as one in millimetres, rad."""
    if frame.spacing is None:
        return angle_rad
    return math.atan2(frame.spacing.y_mm * math.sin(angle_rad), frame.spacing.x_mm * math.cos(angle_rad))


def _newest(past: tuple[Past, ...], time_s: float) -> Past | None:
    """Newest picture that is not younger than time_s, to a millisecond. None if there is none."""
    return next((p for p in reversed(past) if time_s - p.time_s >= -1e-3), None)


def _plus(a: Point, b: Point) -> Point:
    return a[0] + b[0], a[1] + b[1]


def _alike(a: F32, b: F32) -> float:
    """Correlation of the fine detail (some millimetres) of two reduced images. It is 1 if there is none."""
    x, y = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in (a, b))
    x, y = x - cv2.blur(x, (15, 15)), y - cv2.blur(y, (15, 15))
    power = float((x * x).sum() * (y * y).sum())
    return float((x * y).sum()) / math.sqrt(power) if power > 1.0 else 1.0
