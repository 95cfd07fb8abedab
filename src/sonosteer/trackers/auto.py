"""auto: the default tracker. It starts by itself on any picture, follows bends, and knows when it is lost.

None of this is published as a whole. `docs/explanation/auto.md` tells where each part comes from and what was measured.

* The needle detector proposes: at the first picture, and again while a needle is followed (`questions.py`,
  `inference/needle_detector.py`).
* Geometry follows between its answers: a curved axis and an exact grid filter of the tip, at the width that the shaft
  has (`follow.py`).
* The detector verifies: an answer corrects the tip, gives up a needle that it does not see, or puts another in its
  place.
* A scene cut, a jump in time or another size of image begins anew.

Pictures are resampled so that their longer side has 512 px, or fewer where the shaft is thick. Without a scale the
longer side counts as 60 mm: what is in mm in the parameters is relative to the picture then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging import drift
from sonosteer.imaging.scratch import Scratch
from sonosteer.inference.needle_detector import Detection, DetectorAnswer
from sonosteer.trackers.follow import Arc, Earlier, Follow, Needle
from sonosteer.trackers.questions import DetectorDesk, Question, heard
from sonosteer.trackers.working_image import Grid, working_image

#: longer side of a picture whose scale is unknown, mm. chosen: most pictures show between 40 and 150 mm
NOMINAL_MM = 60.0
#: number of straight pieces by which the curved shaft is drawn
SHAFT_PIECES = 8
#: shortest axis inside the image, mm. chosen: below it the tip has left the image
MIN_IN_VIEW_MM = 4.0
#: score of the last stretch below which the needle is doubted, no unit. chosen: tissue scores 0.2
MIN_SHAFT = 0.25
#: shortest axis to begin with, working px. chosen: what the follower needs to fit a line
MIN_AXIS_PX = 40.0
#: width of a shaft from which the working image is made coarser, working px. chosen: the follower's ridge is as wide
COARSE_PX = 6.0
#: how far outside a stated range of directions a needle may lie, rad. chosen: people read angles to some degrees
HINT_SLACK_RAD = math.radians(5)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An earlier picture."""

    time_s: float
    """Time of its frame, s."""
    image: U8
    """Working image, grey levels."""
    small: F32
    """The same at half its size, to measure the drift with, grey levels."""
    seen: U8
    """The frame in grey, for the detector, grey levels."""
    moved_px: Point
    """How far the whole picture had moved by then since the start, frame px."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True)
class Rival:
    """A needle that the detector sees beside the one that is followed, or before there is one."""

    tip_px: Point
    """Its tip when it was last seen, frame px."""
    angle_rad: float
    """Its direction then, rad."""
    score: float
    """Probability that it was right, the mean of the answers that showed it, 0 to 1."""
    seen: int
    """Number of answers in a row that showed it."""


@dataclass(frozen=True, slots=True, eq=False)
class AutoState:
    """Everything auto remembers between frames."""

    hint: Hint
    """What the user said about the needle."""
    time_s: float | None = None
    """Time of the last frame, s. None before the first and after a cut."""
    frames: int = 0
    """Number of frames so far."""
    coarse: int = 1
    """Factor by which the working image is coarser than its finest, no unit."""
    needle: Needle | None = None
    """The needle being followed. None while there is none."""
    needle_id: int = 0
    """How many needles were begun so far."""
    since_s: float = 0.0
    """Time when a needle was last begun, s. 0 before the first."""
    support: float = 0.0
    """Probability that the followed needle is right, by the detector's answers, 0 to 1."""
    unseen: int = 0
    """Number of answers in a row that did not show the followed needle."""
    rival: Rival | None = None
    """Another needle that the last answer showed. None if there is none."""
    questions: tuple[Question, ...] = ()
    """Questions to the detector under way, oldest first."""
    asked_s: float | None = None
    """Time of the frame last asked about, s. None before the first."""
    past: tuple[Past, ...] = ()
    """Pictures of the last moments, to measure movement with."""


@dataclass(frozen=True, slots=True)
class View:
    """One frame as auto sees it."""

    frame: Frame
    """The frame itself."""
    grid: Grid
    """Where the working image's pixels lie in the frame."""
    mm: float
    """Scale of the working image, mm per px, nominal where the frame has none."""
    here: Past
    """Its pictures."""


@dataclass(frozen=True)
class Auto:
    """Parameters of auto.

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
    longer_px: int = 512
    """Longer side of the finest working image, px."""
    follow: Follow = Follow()
    """How one needle is followed."""
    starts: float = 0.5
    """Probability from which a needle is begun on at once, 0 to 1."""
    starts_again: float = 0.3
    """Mean probability from which a needle is begun on when several answers in a row show it, 0 to 1."""
    answers_again: int = 3
    """Number of answers in a row that must show a needle to take over, or one less likely to begin on."""
    near: float = 0.04
    """Distance within which two tips are the same, as a fraction of the picture's longer side, no unit."""
    near_rad: float = math.radians(12)
    """Angle within which two needles lie on one line, rad."""
    tip_sd: float = 0.012
    """Deviation of the detector's tip along the needle, as a fraction of the picture's longer side, no unit."""
    delay_s: tuple[float, float] = (0.12, 0.55)
    """How long after a frame its answer is applied: while there is no needle, while one is followed, s."""
    ask_every_s: tuple[float, float] = (0.1, 0.55)
    """Time between two questions: while there is no needle, while one is followed, s."""
    earlier_s: float = 0.15
    """Age of the earlier picture that the detector is shown, s."""
    unseen_max: int = 3
    """Number of answers in a row that may fail to show the needle until it is lost."""
    cut: float = 0.5
    """Correlation with the last image below which there was a scene cut, no unit."""
    max_gap_s: float = 2.0
    """Longest time between two frames of one scene, s."""
    min_whole: float = 0.45
    """Mean score of the axis below which the needle is doubted, no unit."""
    lost_after_s: float = 0.6
    """How long a needle may be in doubt until it is lost, s."""
    coast_faded: float = 0.5
    """Probability of a faded tip from which the state is coasting, 0 to 1."""
    coast_support: float = 0.5
    """Probability that the needle is right below which the state is coasting, 0 to 1."""
    coast_sd: float = 0.05
    """Claimed deviation along from which the state is coasting, as a fraction of the longer side, no unit."""
    lost_sd: float = 0.16
    """Claimed deviation along from which the needle is lost, as a fraction of the longer side, no unit."""
    along: tuple[float, float, float] = (1.15, 0.2, 3.0)
    """Claimed deviation along: factor on the filter's (no unit), floor (mm), growth while hidden (mm/s)."""
    across: tuple[float, float] = (1.5, 0.2)
    """Claimed deviation across: factor on the fit's (no unit) and floor (mm)."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)
    _desk: DetectorDesk = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_desk", DetectorDesk(self.model, self.threads))

    def prepare(self) -> None:
        """Load the detector, compile the kernels and allocate the workspaces."""
        rng = np.random.default_rng(0)
        state = self.start(Hint(start_px=(150.0, 190.0)))
        for i in range(9):
            image = rng.integers(10, 90, (256, 256)).astype(np.uint8)
            cv2.line(image, (0, 40), (150 + i, 190 + i), 250, 5)
            state, _ = self.step(state, Frame(image, i, 0.05 * i, Spacing(0.15, 0.15)))

    def start(self, hint: Hint) -> AutoState:
        """State before the first frame. Any hint, or none, will do."""
        return AutoState(hint)

    def step(self, state: AutoState, frame: Frame) -> tuple[AutoState, Estimate]:
        """Track the tip through one frame. Without a scale its covariance is in px^2 only."""
        state, view = self._look(state, frame)
        needle, reason = self._follow(state, view)
        state = replace(state, needle=needle)
        state = self._ask(state, view)
        state, view, answered = self._hear(state, view)
        if state.needle is None and needle is not None:
            reason = "the detector does not see the needle any more"
        estimate = self._say(state, view, reason, answered)
        state = replace(
            state,
            time_s=frame.time_s,
            frames=state.frames + 1,
            past=self._keep(state.past, view.here),
        )
        return state, estimate

    # -- look: the image and how far it has moved ----------------------------------------------------------------

    def _look(self, state: AutoState, frame: Frame) -> tuple[AutoState, View]:
        """The frame as it is worked on. What a cut or a jump has made worthless is dropped from the state."""
        state, image, grid, mm = self._image(state, frame)
        small, seen = drift.reduced(image), frame.grey()
        past = state.past
        moved = past[-1].moved_px if past else (0.0, 0.0)
        if past:
            gap_s = frame.time_s - past[-1].time_s
            same = past[-1].image.shape == image.shape and 0.0 <= gap_s < self.max_gap_s
            if not same or not _alike(small, past[-1].small) > self.cut:
                state, image, grid, mm = self._image(AutoState(state.hint), frame)
                return state, View(frame, grid, mm, Past(frame.time_s, image, drift.reduced(image), seen, (0.0, 0.0)))
            earlier = [p for p in past if frame.time_s - p.time_s >= self.follow.change_s - 1e-3]
            if earlier:
                dx, dy = drift.translation(small, earlier[-1].small, self._scratch)
                moved = (earlier[-1].moved_px[0] + dx * grid.k_x, earlier[-1].moved_px[1] + dy * grid.k_y)
        return state, View(frame, grid, mm, Past(frame.time_s, image, small, seen, moved))

    def _image(self, state: AutoState, frame: Frame) -> tuple[AutoState, U8, Grid, float]:
        """(state, working image, where its pixels lie in the frame, its scale in mm per px)."""
        width, height = (float(n) for n in frame.size_px)
        nominal = NOMINAL_MM / max(width, height)
        spacing = frame.spacing or Spacing(nominal, nominal)
        longer_mm = max(spacing.to_mm((width, height)))
        mm = state.coarse * max(longer_mm / self.longer_px, min(spacing.x_mm, spacing.y_mm))
        image, grid = working_image(frame if frame.spacing else replace(frame, spacing=spacing), mm)
        return state, image, grid, mm

    def _keep(self, past: tuple[Past, ...], here: Past) -> tuple[Past, ...]:
        """Add `here` at the end. Of the old pictures all stay that movement is measured with, and one more."""
        age_s = max(2 * self.follow.change_s, self.earlier_s)
        keep = (*past, here)
        while len(keep) > 1 and here.time_s - keep[1].time_s >= age_s - 1e-3:
            keep = keep[1:]
        return keep

    def _before(self, state: AutoState, view: View, age_s: float) -> Past | None:
        """Newest earlier picture that is at least age_s old."""
        time_s = view.frame.time_s
        return next((p for p in reversed(state.past) if time_s - p.time_s >= age_s - 1e-3), None)

    # -- follow: one needle, one frame on ------------------------------------------------------------------------

    def _follow(self, state: AutoState, view: View) -> tuple[Needle | None, str]:
        """The needle, moved with the picture and followed through this frame. None and the reason if it is lost."""
        if state.needle is None:
            return None, "no needle found yet" if state.needle_id == 0 else "the needle was lost and is looked for"
        dt_s = 0.0 if state.time_s is None else view.frame.time_s - state.time_s
        moved = self._moved(view, state.past[-1].moved_px if state.past else view.here.moved_px)
        needle = replace(state.needle, arc=state.needle.arc.moved(*moved))
        earlier = []
        for k in (1, 2):
            old = self._before(state, view, k * self.follow.change_s)
            if old is not None:
                earlier.append(Earlier(old.image, view.frame.time_s - old.time_s, self._moved(view, old.moved_px)))
        return self._believe(self.follow.step(needle, view.here.image, tuple(earlier), dt_s, view.mm), state, dt_s, view)

    def _moved(self, view: View, then_px: Point) -> Point:
        """How far the picture has moved since, working px. then_px: how far it had moved then, frame px."""
        x, y = view.here.moved_px
        return (x - then_px[0]) / view.grid.k_x, (y - then_px[1]) / view.grid.k_y

    def _believe(self, needle: Needle, state: AutoState, dt_s: float, view: View) -> tuple[Needle | None, str]:
        """Judge the needle by its own shaft. Returns it with its time in doubt, or None and the reason."""
        mm = view.mm
        if needle.inside * mm < MIN_IN_VIEW_MM or needle.tip > needle.inside + 1.0 / mm:
            return None, "the tip has left the image"
        doubtful = needle.whole < self.min_whole or (needle.shaft < MIN_SHAFT and needle.faded < self.coast_faded)
        doubtful = doubtful and state.support < self.starts
        needle = replace(needle, bad_s=needle.bad_s + dt_s if doubtful else 0.0)
        if needle.bad_s > self.lost_after_s:
            return None, "no shaft on the axis any more"
        if self._along_mm(needle, mm) > self.lost_sd * self._longer_mm(view):
            return None, "the tip has not been seen for too long"
        return needle, ""

    def _along_mm(self, needle: Needle, mm: float) -> float:
        """Claimed deviation along, mm: the filter's, a floor, and a part that grows while the tip is hidden."""
        scale, floor, rate = self.along
        return math.hypot(scale * needle.sd * mm, floor, rate * needle.hidden_s)

    def _longer_mm(self, view: View) -> float:
        """Longer side of the picture, mm, nominal where the frame has no scale."""
        rows, columns = view.here.image.shape
        return float(max(rows, columns)) * view.mm

    # -- ask and hear: the detector ------------------------------------------------------------------------------

    def _ask(self, state: AutoState, view: View) -> AutoState:
        """Ask the detector about this frame if it is time. The first frame's answer is due at once."""
        frame, first = view.frame, state.frames == 0
        k = 0 if state.needle is None else 1
        pause = state.asked_s is not None and frame.time_s - state.asked_s < self.ask_every_s[k] - 1e-6
        if pause or len(state.questions) > 2:  # chosen: a live detector that is slower than that is not asked more
            return state
        earlier = self._before(state, view, self.earlier_s) or (state.past[0] if state.past else None)
        question = Question(
            frame_index=frame.index,
            time_s=frame.time_s,
            due_s=frame.time_s + (0.0 if first else self.delay_s[k]),
            moved_px=view.here.moved_px,
            tip=None if state.needle is None else state.needle.tip,
            needle_id=state.needle_id,
            future=self._desk.ask(view.here.seen, None if earlier is None else earlier.seen),
        )
        if first:
            question.future.result()
        return replace(state, questions=(*state.questions, question), asked_s=frame.time_s)

    def _hear(self, state: AutoState, view: View) -> tuple[AutoState, View, int | None]:
        """Apply the answer that is due, if any. Returns state and view, and the index of the frame asked about."""
        question, left = heard(
            state.questions, view.frame.time_s, waits=self.waits, applied=self.applied, index=view.frame.index
        )
        if question is None:
            return state, view, None
        state = replace(state, questions=left)
        answer = question.future.result()
        if question.needle_id != state.needle_id or (state.needle is None) != (question.tip is None):
            return state, view, question.frame_index  # another needle was begun meanwhile, or this one lost
        click = state.hint.start_px if state.frames == 0 else None
        if state.needle is None:
            state, view = self._begin_if_sure(state, view, question, answer, click)
        else:
            state, view = self._verify(state, view, question, answer)
        return state, view, question.frame_index

    def _begin_if_sure(
        self, state: AutoState, view: View, question: Question, answer: DetectorAnswer, click: Point | None
    ) -> tuple[AutoState, View]:
        """Begin on the most probable needle, if it is probable enough or was seen often enough."""
        if click is not None:
            there = self._clicked(answer, click)
            return (state, view) if there is None else self._begin(state, view, question, there)
        best = next(iter(self._allowed(state.hint, answer)), None)
        rival = None if best is None else self._rival(state.rival, view, best)
        if best is None or rival is None:
            return replace(state, rival=None), view
        often = rival.seen >= self.answers_again and rival.score >= self.starts_again
        if best.score >= self.starts or often:
            return self._begin(state, view, question, best)
        return replace(state, rival=rival), view

    def _allowed(self, hint: Hint, answer: DetectorAnswer) -> tuple[Detection, ...]:
        """Needles of an answer that the hint allows, most probable first."""
        return tuple(d for d in answer.needles if _fits(hint, d.angle_rad))

    def _clicked(self, answer: DetectorAnswer, click: Point) -> Detection | None:
        """A needle whose tip is where the user clicked: its direction and width are the detector's."""
        d = answer.at(click)
        if d is None:
            return None
        x, y = click[0] - d.tip_px[0], click[1] - d.tip_px[1]
        return replace(d, tip_px=click, tail_px=(d.tail_px[0] + x, d.tail_px[1] + y), score=1.0)

    def _rival(self, known: Rival | None, view: View, d: Detection) -> Rival:
        """A needle seen now, joined with the one that the last answer showed if they are the same."""
        if known is not None and self._same(view, (known.tip_px, known.angle_rad), (d.tip_px, d.angle_rad)):
            n = known.seen + 1
            return Rival(d.tip_px, d.angle_rad, known.score + (d.score - known.score) / n, n)
        return Rival(d.tip_px, d.angle_rad, d.score, 1)

    def _same(self, view: View, a: tuple[Point, float], b: tuple[Point, float]) -> bool:
        """Are two (tip, direction) the same needle, some tenths of a second apart? A moving tip slides along."""
        longer = max(view.frame.size_px)
        x, y = b[0][0] - a[0][0], b[0][1] - a[0][1]
        c, s = math.cos(a[1]), math.sin(a[1])
        turned = abs(math.remainder(a[1] - b[1], math.tau))
        return (
            turned < self.near_rad
            and abs(-x * s + y * c) < self.near * longer
            and abs(x * c + y * s) < 3 * self.near * longer
        )

    def _begin(self, state: AutoState, view: View, question: Question, d: Detection) -> tuple[AutoState, View]:
        """Begin on a needle that the detector saw in the question's frame."""
        since = (view.here.moved_px[0] - question.moved_px[0], view.here.moved_px[1] - question.moved_px[1])
        d = replace(d, tip_px=_plus(d.tip_px, since), tail_px=_plus(d.tail_px, since))
        state, view = self._at_width(state, view, d.width_px)
        tip, tail = view.grid.to_work(d.tip_px), view.grid.to_work(d.tail_px)
        angle = math.atan2(tip[1] - tail[1], tip[0] - tail[0])
        length = max(math.dist(tip, tail), MIN_AXIS_PX)
        anchor = _inside((tip[0] - length * math.cos(angle), tip[1] - length * math.sin(angle)), tip, view.here.image)
        length = max(math.dist(tip, anchor), 1.0)
        sd = self.tip_sd * max(view.frame.size_px) / view.grid.k_x
        sd += (view.frame.time_s - question.time_s) * 4.0 / view.mm  # chosen: needles move by some mm/s
        needle = self.follow.begin(Arc(anchor, angle), length + self.follow.bias_mm / view.mm, sd)
        needle = self.follow.step(needle, view.here.image, (), 0.0, view.mm)
        state = replace(state, needle=needle, needle_id=state.needle_id + 1, since_s=view.frame.time_s)
        return replace(state, support=d.score, unseen=0, rival=None), view

    def _at_width(self, state: AutoState, view: View, width_px: float) -> tuple[AutoState, View]:
        """State and view with the working image as coarse as a shaft of this width, in frame px, needs."""
        finest = width_px / view.grid.k_x * state.coarse
        coarse = max(1, round(finest / COARSE_PX))
        if coarse == state.coarse:
            return state, view
        state = replace(state, coarse=coarse)
        state, image, grid, mm = self._image(state, view.frame)
        here = replace(view.here, image=image, small=drift.reduced(image))
        return replace(state, past=()), View(view.frame, grid, mm, here)

    # -- verify: the needle that is followed against an answer ------------------------------------------------------

    def _verify(
        self, state: AutoState, view: View, question: Question, answer: DetectorAnswer
    ) -> tuple[AutoState, View]:
        """Weigh the followed needle against what the detector saw in the question's frame.

        The needle is corrected if the detector sees it, given up if it was not seen often enough, and replaced if the
        detector sees another one often enough.
        """
        assert state.needle is not None and question.tip is not None
        back = self._moved(view, question.moved_px)
        arc = state.needle.arc.moved(-back[0], -back[1])
        tip, angle = arc.at(question.tip - self.follow.bias_mm / view.mm)
        then = (view.grid.to_frame(tip), math.atan2(view.grid.k_y * math.sin(angle), view.grid.k_x * math.cos(angle)))
        needles = self._allowed(state.hint, answer)
        own = next((d for d in needles if self._same(view, then, (d.tip_px, d.angle_rad))), None)
        here = answer.at(then[0])
        support = max(0.0 if own is None else own.score, 0.0 if here is None else here.score)
        other = next((d for d in needles if d is not own and d.score > support), None)
        rival = None if other is None else self._rival(state.rival, view, other)
        seen = support >= 0.5 * self.starts_again
        state = replace(
            state,
            support=0.5 * (state.support + support),
            unseen=0 if seen else state.unseen + 1,
            rival=rival,
        )
        turned = rival is not None and math.cos(rival.angle_rad - then[1]) < 0.0
        if other is not None and rival is not None and rival.score > self.starts:
            enough = self.answers_again + (2 if turned else 0) - (1 if not seen else 0)
            if rival.seen >= enough:
                return self._begin(state, view, question, other)
        if state.unseen >= self.unseen_max:
            return replace(state, needle=None, support=0.0, unseen=0), view
        if own is None or state.needle is None:
            return state, view
        return replace(state, needle=self._corrected(state.needle, view, arc, question.tip, own)), view

    def _corrected(self, needle: Needle, view: View, arc: Arc, then: float, d: Detection) -> Needle:
        """The needle whose belief has taken in where the detector saw the tip, carried on by how far it moved since."""
        tip = view.grid.to_work(d.tip_px)
        c, s = math.cos(arc.angle_rad), math.sin(arc.angle_rad)
        seen_at = (tip[0] - arc.anchor_px[0]) * c + (tip[1] - arc.anchor_px[1]) * s + self.follow.bias_mm / view.mm
        now = seen_at + (needle.tip - then)
        sd = self.tip_sd * max(view.frame.size_px) / view.grid.k_x
        u = np.arange(needle.belief.shape[2])
        # a wrong answer must not kill the belief: it is mixed with no answer at all
        weight = (1.0 - d.score) * 0.1 + d.score * np.exp(-0.5 * ((u - now) / sd) ** 2)
        belief: F32 = needle.belief * weight.astype(np.float32)
        total = float(belief.sum())
        return replace(needle, belief=belief / np.float32(total)) if total > 1e-9 else needle

    # -- say: the estimate -------------------------------------------------------------------------------------------

    def _say(self, state: AutoState, view: View, reason: str, answered: int | None) -> Estimate:
        """What is told of this frame."""
        frame, needle = view.frame, state.needle
        if needle is None:
            return Lost(frame.index, frame.time_s, reason, answer_frame=answered)
        mm, grid = view.mm, view.grid
        end = needle.tip - self.follow.bias_mm / mm
        tip, angle = needle.arc.at(end)
        along = self._along_mm(needle, mm)
        across = math.hypot(self.across[0] * needle.sd_across * mm, self.across[1])
        sure = needle.bad_s == 0.0 and needle.faded < self.coast_faded and state.unseen == 0
        sure = sure and along < self.coast_sd * self._longer_mm(view) and state.support >= self.coast_support
        covariance = np.diag([along**2, across**2])
        px_per_mm = math.sqrt(grid.k_x * grid.k_y) / mm
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=grid.to_frame(tip),
            angle_rad=angle,
            covariance_mm2=covariance if frame.spacing else None,
            covariance_px2=covariance * px_per_mm**2,
            answer_frame=answered,
            confidence=state.support,
            state=Track.TRACKING if sure else Track.COASTING,
            entry_px=grid.to_frame(needle.arc.anchor_px),
            shaft_px=tuple(grid.to_frame(needle.arc.at(end * k / SHAFT_PIECES)[0]) for k in range(SHAFT_PIECES + 1)),
        )


def _fits(hint: Hint, angle_rad: float) -> bool:
    """Does the hint allow a needle of this direction?"""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    if hint.angle_rad is not None:
        low, high = hint.angle_rad
        middle, reach = 0.5 * (low + high), 0.5 * (high - low) + HINT_SLACK_RAD
        if abs(math.remainder(angle_rad - middle, math.tau)) > reach:
            return False
    sides = {None: True, "left": c > -0.1, "right": c < 0.1, "top": s > 0.3}  # chosen: some degrees of slack
    return sides[hint.enters]


def _plus(a: Point, b: Point) -> Point:
    return a[0] + b[0], a[1] + b[1]


def _inside(point: Point, tip: Point, image: U8) -> Point:
    """The point, or where the line from the tip to it leaves the image."""
    rows, columns = image.shape
    k = 1.0
    for p, t, size in ((point[0], tip[0], columns), (point[1], tip[1], rows)):
        if p < 1.0 and t > 1.0:
            k = min(k, (t - 1.0) / (t - p))
        if p > size - 3.0 and t < size - 3.0:
            k = min(k, (size - 3.0 - t) / (p - t))
    return tip[0] + k * (point[0] - tip[0]), tip[1] + k * (point[1] - tip[1])


def _alike(a: F32, b: F32) -> float:
    """Correlation of the fine detail (some millimetres) of two reduced images. It is 1 if there is none."""
    x, y = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in (a, b))
    x, y = x - cv2.blur(x, (15, 15)), y - cv2.blur(y, (15, 15))
    power = float((x * x).sum() * (y * y).sum())
    return float((x * y).sum()) / math.sqrt(power) if power > 1.0 else 1.0
