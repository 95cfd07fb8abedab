"""auto: the default tracker. It starts by itself, follows bends, and knows when it is lost.

None of this is published as a whole. `docs/explanation/auto.md` tells where each part comes from and what was measured.

* Start: with nothing given, from a line that moves along its own axis (`moving_start.py`). With a hint, from a single
  image (`start.py`), so that stills and resting needles work.
* Follow: a curved axis and an exact grid filter of the tip (`follow.py`).
* A scene cut, a jump in time or another size of image begins anew.

Frames are resampled so that their longer side has 512 px, unless they are smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sonosteer.core.arrays import F32, U8
from sonosteer.core.frozen import load_locked, lock_fields
from sonosteer.core.geometry import Point, Spacing
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.imaging import drift
from sonosteer.imaging.line_search import Line, view_of
from sonosteer.imaging.scratch import Scratch
from sonosteer.trackers.follow import Arc, Earlier, Follow, Needle
from sonosteer.trackers.moving_start import FAMILIES, MovingStart, NeedleCandidate
from sonosteer.trackers.start import Family, StartSearch, Suspect, lines_of
from sonosteer.trackers.working_image import Grid, scale_of, working_image

#: number of straight pieces by which the curved shaft is drawn
SHAFT_PIECES = 8
#: shortest axis inside the image, mm. chosen: below it the tip has left the image
MIN_IN_VIEW_MM = 4.0
#: score of the last stretch below which the needle is doubted, no unit. chosen: tissue scores 0.2
MIN_SHAFT = 0.25
#: score with which a lost needle goes back among the candidates, no unit. chosen: any positive score keeps it
KNOWN_SCORE = 9.0
#: scale of the image that is searched for moving lines, mm per px, and its longest and shortest side, px
SEARCH_MM, SEARCH_MAX_PX, SEARCH_MIN_PX = 0.2, 320, 64


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """An earlier working image."""

    time_s: float
    """Time of its frame, s."""
    image: U8
    """Working image, grey levels."""
    small: F32
    """The same at half its size, to measure the drift with, grey levels."""
    moved_px: Point
    """How far the whole picture had moved by then since the start, px."""

    __setstate__ = load_locked

    def __post_init__(self) -> None:
        lock_fields(self)


@dataclass(frozen=True, slots=True, eq=False)
class AutoState:
    """Everything auto remembers between frames."""

    hint: Hint
    """What the user said about the needle."""
    families: tuple[Family, ...]
    """Kinds of lines that the hint allows. Empty without a hint."""
    time_s: float | None = None
    """Time of the last frame, s. None before the first and after a cut."""
    frames: int = 0
    """Number of frames so far."""
    needle: Needle | None = None
    """The needle being followed. None while there is none."""
    since_s: float = 0.0
    """Time when a needle was last found, s. 0 before the first."""
    suspects: tuple[Suspect, ...] = ()
    """Lines that may be a needle, from the search by a hint."""
    candidates: tuple[NeedleCandidate, ...] = ()
    """Lines that may be a needle, from the search by movement."""
    past: tuple[Past, ...] = ()
    """Images of the last moments, to measure movement with."""
    references: tuple[Past, ...] = ()
    """Older images, to measure growth against."""


@dataclass(frozen=True)
class Auto:
    """Parameters of auto.

    chosen: all of them on training and validation scenes.
    """

    longer_px: int = 512
    """Longer side of the working image, px."""
    follow: Follow = Follow()
    """How one needle is followed."""
    moving: MovingStart = MovingStart()
    """Start with nothing given."""
    start_search: StartSearch = field(default_factory=lambda: StartSearch(patience=4, max_side_px=340))
    """Start with a hint."""
    reference_every_s: float = 0.2
    """Time between two images that growth is measured against, s."""
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
    coast_sd_mm: float = 2.0
    """Claimed deviation along the needle from which the state is coasting, mm."""
    unproven_s: float = 0.12
    """How long after a start the state is coasting, s."""
    lost_sd_mm: float = 8.0
    """Claimed deviation along the needle from which it is lost, mm."""
    line_sd_mm: float = 2.0
    """Deviation of the tip of a line that a needle starts on, mm."""
    click_sd_mm: float = 0.7
    """Deviation of a click on the tip, mm."""
    along: tuple[float, float, float] = (1.15, 0.2, 3.0)
    """Claimed deviation along: factor on the filter's (no unit), floor (mm), growth while hidden (mm/s)."""
    across: tuple[float, float] = (1.5, 0.2)
    """Claimed deviation across: factor on the fit's (no unit) and floor (mm)."""
    _scratch: Scratch = field(default_factory=Scratch, repr=False, compare=False)

    def prepare(self) -> None:
        """Compile the kernels and allocate the workspaces."""
        rng = np.random.default_rng(0)
        for hint in (Hint(), Hint(enters="left")):
            state = self.start(hint)
            for i in range(9):
                image = rng.integers(10, 90, (256, 256)).astype(np.uint8)
                cv2.line(image, (0, 40), (60 + 10 * i, 100 + 10 * i), 250, 5)
                state, _ = self.step(state, Frame(image, i, 0.05 * i, Spacing(0.15, 0.15)))
            if state.needle is None:
                needle = self.follow.begin(Arc((0.0, 40.0), math.radians(45)), 90.0, 6.0)
                state = replace(state, needle=needle)
                self.step(state, Frame(image, 9, 0.5, Spacing(0.15, 0.15)))

    def start(self, hint: Hint) -> AutoState:
        """State before the first frame. Any hint, or none, will do."""
        nothing = hint.enters is None and hint.angle_rad is None and hint.start_px is None
        return AutoState(hint, () if nothing else self.start_search.families(hint))

    def step(self, state: AutoState, frame: Frame) -> tuple[AutoState, Estimate]:
        """Track the tip through one frame. Raises InputError if the frame has no scale."""
        image, grid, mm = self._working(frame)
        small = drift.reduced(image)
        state, moved = self._clean(state, image, small, frame.time_s)
        dt_s = 0.0 if state.time_s is None else frame.time_s - state.time_s
        here = Past(frame.time_s, image, small, moved)
        needle, since_s = self._drifted(state, moved), state.since_s
        start, suspects, candidates = self._search(state, needle, here, mm, grid)
        if start is not None:
            arc, length, sd_mm = start
            needle, since_s = self.follow.begin(arc, length, sd_mm / mm), frame.time_s
        estimate: Estimate | None = None
        reason = "no needle found yet" if since_s == 0.0 else "the needle was lost and is looked for"
        if needle is not None:
            followed = self.follow.step(needle, image, self._recent(state.past, here), dt_s, mm)
            needle, reason = self._believe(followed, dt_s, mm)
            if needle is None and not state.families:
                candidates = (_lost_candidate(followed, frame.time_s), *candidates)
        if needle is not None:
            estimate = self._estimate(needle, frame, grid, mm)
        after = AutoState(
            hint=state.hint,
            families=state.families,
            time_s=frame.time_s,
            frames=state.frames + 1,
            needle=needle,
            since_s=since_s,
            suspects=suspects,
            candidates=candidates if needle is None else (),
            past=self._keep(state.past, here, 2 * self.follow.change_s),
            references=self._references(state.references, here),
        )
        return after, estimate or Lost(frame.index, frame.time_s, reason)

    # -- the image ---------------------------------------------------------------------------------------------

    def _working(self, frame: Frame) -> tuple[U8, Grid, float]:
        """Working image, where its pixels lie in the frame, and its scale in mm per px."""
        spacing = scale_of(frame)
        width, height = spacing.to_mm((float(frame.size_px[0]), float(frame.size_px[1])))
        mm = max(max(width, height) / self.longer_px, min(spacing.x_mm, spacing.y_mm))
        image, grid = working_image(frame, mm)
        return image, grid, mm

    def _clean(self, state: AutoState, image: U8, small: F32, time_s: float) -> tuple[AutoState, Point]:
        """Drop what a cut or a jump has made worthless. Returns the state, and how far the picture has moved, px."""
        past = state.past
        if past:
            gap_s = time_s - past[-1].time_s
            same = past[-1].image.shape == image.shape and 0.0 <= gap_s < self.max_gap_s
            if not same or not _alike(small, past[-1].small) > self.cut:
                return AutoState(state.hint, state.families, None, state.frames), (0.0, 0.0)
        earlier = [p for p in past if time_s - p.time_s >= self.follow.change_s - 1e-3]
        if not earlier:
            return state, past[-1].moved_px if past else (0.0, 0.0)
        dx, dy = drift.translation(small, earlier[-1].small, self._scratch)
        x, y = earlier[-1].moved_px
        return state, (x + dx, y + dy)

    def _drifted(self, state: AutoState, moved: Point) -> Needle | None:
        """Needle of the last frame, moved along with the picture."""
        if state.needle is None:
            return None
        x, y = state.past[-1].moved_px if state.past else moved
        return replace(state.needle, arc=state.needle.arc.moved(moved[0] - x, moved[1] - y))

    def _recent(self, past: tuple[Past, ...], here: Past) -> tuple[Earlier, ...]:
        """Images one and two `change_s` ago."""
        return tuple(e for k in (1, 2) if (e := self._before(past, here, k * self.follow.change_s)) is not None)

    def _before(self, past: tuple[Past, ...], here: Past, age_s: float) -> Earlier | None:
        """Newest image that is at least age_s old."""
        old = next((p for p in reversed(past) if here.time_s - p.time_s >= age_s - 1e-3), None)
        if old is None:
            return None
        moved = (here.moved_px[0] - old.moved_px[0], here.moved_px[1] - old.moved_px[1])
        return Earlier(old.image, here.time_s - old.time_s, moved)

    def _keep(self, past: tuple[Past, ...], here: Past, age_s: float) -> tuple[Past, ...]:
        """Add `here` at the end. Of the old images all younger than age_s stay, and one more."""
        keep = (*past, here)
        while len(keep) > 1 and here.time_s - keep[1].time_s >= age_s - 1e-3:
            keep = keep[1:]
        return keep

    def _references(self, references: tuple[Past, ...], here: Past) -> tuple[Past, ...]:
        """Add `here` to the images that growth is measured against, if it is time."""
        if references and here.time_s - references[-1].time_s < self.reference_every_s - 1e-6:
            return references
        return self._keep(references, here, self.moving.references_s[-1])

    # -- the start ---------------------------------------------------------------------------------------------

    def _search(
        self, state: AutoState, needle: Needle | None, here: Past, mm: float, grid: Grid
    ) -> tuple[tuple[Arc, float, float] | None, tuple[Suspect, ...], tuple[NeedleCandidate, ...]]:
        """Search. Returns (axis, length in px and its deviation in mm, or None) and the lines to remember."""
        suspects, candidates = state.suspects, state.candidates
        if state.families:
            if needle is None or self._on_probation(state, here.time_s):
                line, suspects = self._by_hint(state, needle, here, mm, grid)
                if line is not None:
                    sd_mm = self.click_sd_mm if state.frames == 0 and state.hint.start_px else self.line_sd_mm
                    length = math.dist(line.entry_px, line.tip_px)
                    return (Arc(line.entry_px, line.angle_rad), length, sd_mm), suspects, ()
            return None, suspects, candidates
        if needle is not None:
            return None, suspects, ()
        candidates, tests = state.candidates, 2
        if state.frames % 2 == 0:  # a search or a second test, so that no frame takes much longer than another
            candidates, tests = self._look_for_lines(state, here, mm), 1
        if state.time_s is None:
            return None, suspects, candidates
        recent = self._recent(state.past, here)
        old = [self._before(state.references, here, age_s) for age_s in self.moving.references_s]
        references = tuple(e for e in old if e is not None)
        for _ in range(tests):
            chosen = self.moving.next(candidates)
            if chosen is None:
                break
            tested, found = self.moving.test(
                candidates[chosen],
                here.image,
                recent=recent,
                references=references,
                follow=self.follow,
                mm=mm,
                time_s=here.time_s,
            )
            if found:
                return (tested.arc, tested.tip, self.line_sd_mm), suspects, ()
            kept = (*candidates[:chosen], tested, *candidates[chosen + 1 :])
            candidates = tuple(c for c in kept if c.score > 0)
        return None, suspects, candidates

    def _on_probation(self, state: AutoState, time_s: float) -> bool:
        """True if it is time to look whether another line fits the hint better, while the one found is young."""
        if self.start_search.narrow(state.families) or state.time_s is None:
            return False
        age_s, every_s = time_s - state.since_s, self.start_search.every_s
        return age_s < self.start_search.probation_s and age_s % every_s < time_s - state.time_s

    def _by_hint(
        self, state: AutoState, needle: Needle | None, here: Past, mm: float, grid: Grid
    ) -> tuple[Line | None, tuple[Suspect, ...]]:
        """Search one image for lines that the hint allows."""
        click = state.hint.start_px if state.frames == 0 else None
        current = None
        if needle is not None:
            tip, angle = needle.arc.at(needle.tip)
            current = Line(needle.arc.anchor_px, tip, angle, 0.0)
        work = None if click is None else grid.to_work(click)
        families = self.start_search.turn(state.families, state.frames)
        return self.start_search.look(
            here.image,
            mm,
            families,
            suspects=state.suspects,
            time_s=here.time_s,
            current=current,
            start_px=work,
            among=state.families,
        )

    def _look_for_lines(self, state: AutoState, here: Past, mm: float) -> tuple[NeedleCandidate, ...]:
        """Search for one kind of lines: in the image itself, or every other time in its change."""
        old = self._before(state.past, here, self.follow.change_s)
        turn = state.frames // 4 % len(FAMILIES)
        picture = here.image
        if state.frames // 2 % 2 and old is not None:
            picture = _change(here.image, old)
        k = min(1.0, mm / SEARCH_MM, SEARCH_MAX_PX / max(picture.shape))
        size = (max(SEARCH_MIN_PX, round(picture.shape[1] * k)), max(SEARCH_MIN_PX, round(picture.shape[0] * k)))
        view = view_of(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), self._scratch)
        ratio = (picture.shape[1] / size[0], picture.shape[0] / size[1])
        lines = lines_of(view, FAMILIES[turn], ratio)
        return self.moving.remember(state.candidates, lines, mm, here.time_s)

    # -- what to believe ---------------------------------------------------------------------------------------

    def _believe(self, needle: Needle, dt_s: float, mm: float) -> tuple[Needle | None, str]:
        """Judge the needle. Returns it with its time in doubt, or None and the reason."""
        if needle.inside * mm < MIN_IN_VIEW_MM or needle.tip > needle.inside + 1.0 / mm:
            return None, "the tip has left the image"
        doubtful = needle.whole < self.min_whole or (needle.shaft < MIN_SHAFT and needle.faded < self.coast_faded)
        needle = replace(needle, bad_s=needle.bad_s + dt_s if doubtful else 0.0)
        if needle.bad_s > self.lost_after_s:
            return None, "no shaft on the axis any more"
        if self._along_mm(needle, mm) > self.lost_sd_mm:
            return None, "the tip has not been seen for too long"
        if not math.sin(needle.arc.angle_rad) > 0.05:
            return None, "the axis has turned out of the image"
        return needle, ""

    def _along_mm(self, needle: Needle, mm: float) -> float:
        """Claimed deviation along, mm: the filter's, a floor, and a part that grows while the tip is hidden."""
        scale, floor, rate = self.along
        return math.hypot(scale * needle.sd * mm, floor, rate * needle.hidden_s)

    def _estimate(self, needle: Needle, frame: Frame, grid: Grid, mm: float) -> TipEstimate:
        """Estimate of the tip in the frame's pixels."""
        end = needle.tip - self.follow.bias_mm / mm
        tip, angle = needle.arc.at(end)
        along = self._along_mm(needle, mm)
        across = math.hypot(self.across[0] * needle.sd_across * mm, self.across[1])
        sure = needle.bad_s == 0.0 and needle.faded < self.coast_faded and along < self.coast_sd_mm
        sure = sure and needle.age_s > self.unproven_s
        return TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=grid.to_frame(tip),
            angle_rad=angle,
            covariance_mm2=np.diag([along**2, across**2]),
            confidence=_confidence(needle, along),
            state=Track.TRACKING if sure and needle.shaft > 0.0 else Track.COASTING,
            entry_px=grid.to_frame(needle.arc.anchor_px),
            shaft_px=tuple(grid.to_frame(needle.arc.at(end * k / SHAFT_PIECES)[0]) for k in range(SHAFT_PIECES + 1)),
        )


def _lost_candidate(needle: Needle, time_s: float) -> NeedleCandidate:
    """A needle that was just lost, as a candidate to find again."""
    return NeedleCandidate(arc=needle.arc, tip=needle.tip, score=KNOWN_SCORE, born_s=time_s, seen_s=time_s, known=True)


def _alike(a: F32, b: F32) -> float:
    """Correlation of the fine detail (some millimetres) of two reduced images. It is 1 if there is none."""
    x, y = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in (a, b))
    x, y = x - cv2.blur(x, (15, 15)), y - cv2.blur(y, (15, 15))
    power = float((x * x).sum() * (y * y).sum())
    return float((x * y).sum()) / math.sqrt(power) if power > 1.0 else 1.0


def _change(image: U8, old: Earlier) -> U8:
    """Absolute difference to the earlier image moved with the picture, made brighter. Black stays black."""
    dx, dy = old.moved_px
    before = old.image
    if dx or dy:
        M = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]], np.float32)
        before = cv2.warpAffine(before, M, before.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    out: U8 = cv2.convertScaleAbs(cv2.absdiff(image, before), alpha=3.0, beta=0.0)
    out[image < 6] = 0
    return out


def _confidence(needle: Needle, along_mm: float) -> float:
    """Probability that the tip is within 2 mm along the axis, times how much its shaft looks like one."""
    near = math.erf(2.0 / (along_mm * math.sqrt(2.0)))
    return near * (1.0 - needle.faded) / (1.0 + math.exp(-4.0 * (needle.shaft - 0.4)))
