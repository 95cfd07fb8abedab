"""Laws that every tracker keeps, checked on one short simulated clip."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sonosteer.core.errors import BrokenError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import Tracker
from sonosteer.core.types import Estimate, Frame, Hint, Lost, TipEstimate, Track
from sonosteer.sim.scenes import Scene, make_scene
from sonosteer.sim.world import World
from sonosteer.testing.laws import arrays_in, maker, require, stored
from sonosteer.trackers.table import (
    has_open_state,
    make_tracker,
    plug_in_tracker,
    repeats_itself,
    says_confidence,
)

MIN_FRAMES = 25  # chosen: every built-in tracker has found the needle by then
FORKED_AT, FORKED_UNTIL = 12, 20
MOVED_PX = 30
HINT = Hint(angle_rad=(math.radians(35), math.radians(45)), enters="left")


@lru_cache(maxsize=2)
def simulated_clip(view: Literal["in-plane", "axial"] = "in-plane") -> tuple[Frame, ...]:
    """The clip that trackers are checked on: a short, fast insertion from the left, or one across the image."""
    axial = {"material": "plastisol", "start_mm": 10.0, "end_mm": 18.0}
    scene = make_scene("axial", 4, **axial) if view == "axial" else _in_plane()
    frames = (frame for frame, _ in World(scene).frames())
    return tuple(frame for frame, _ in zip(frames, range(MIN_FRAMES), strict=False))


def _in_plane() -> Scene:
    return make_scene("in-plane-linear/validation", 3, enters="left", angle_deg=40.0, speed_mm_s=15.0)


@lru_cache(maxsize=1)
def first_tip_px() -> tuple[float, float]:
    """True tip in the first frame of the in-plane clip, px: what a user would click on."""
    tip = next(iter(World(_in_plane()).frames()))[1].tip_px
    assert tip is not None
    return tip


def check_tracker(tracker: Any, *, clip: Sequence[Frame] | None = None, hint: Hint = HINT) -> None:
    """Check that a tracker keeps the laws, on a clip of 25 frames or more. Raises AssertionError for the first broken.

    tracker: a name as `make_tracker` takes it, a class, a function that makes one, or an object. clip: a clip that it
    can track, and hint: what it is told before; default: `simulated_clip()`, with the angle and the side.
    """
    make = maker(tracker, make_tracker, "tracker", plug_in_tracker)
    frames = simulated_clip() if clip is None else clip
    require(len(frames) >= MIN_FRAMES, f"the clip has {len(frames)} frames; {MIN_FRAMES} are needed")
    pixels = [f.pixels.copy() for f in frames]
    first = make()
    states, said = _track(first, frames, hint)
    _check_estimates(said, frames, sure=says_confidence(first))
    repeats = repeats_itself(first)  # otherwise two of its tracks cannot be compared
    if repeats:
        _check_repeats(first, make, frames, hint, said)
    if has_open_state(first):
        _check_states(first, frames, states, said)
    else:
        _check_closed_states(first, frames, states)
    if repeats:
        _check_moved(first, frames, hint, said)
        _check_depths(first, frames, hint, said)
    _check_blank(first, hint)
    untouched = all(np.array_equal(a, f.pixels) for a, f in zip(pixels, frames, strict=True))
    require(untouched, "step changed the pixels of a frame")


def _track(tracker: Tracker[Any], frames: Sequence[Frame], hint: Hint) -> tuple[list[Any], list[Estimate]]:
    """(the state before each frame and after the last, estimates)."""
    states, said = [tracker.start(hint)], []
    for frame in frames:
        state, estimate = tracker.step(states[-1], frame)
        states.append(state)
        said.append(estimate)
    return states, said


def _check_estimates(said: Sequence[Estimate], frames: Sequence[Frame], *, sure: bool) -> None:
    """sure: whether the tracker says a confidence and a covariance. One that says none must say none at all."""
    for e, frame in zip(said, frames, strict=True):
        dated = (e.frame_index, e.time_s) == (frame.index, frame.time_s)
        require(dated, f"the estimate of frame {frame.index} must carry the frame's own index and time")
    tips = [e for e in said if isinstance(e, TipEstimate)]
    require(tips, "no frame of the clip was tracked: every estimate is Lost")
    scaled = {frame.index: frame.spacing is not None for frame in frames}
    for e in tips:
        if not sure:
            none = e.confidence is None and e.covariance_mm2 is None and e.covariance_px2 is None
            require(none, f"frame {e.frame_index}: says_confidence is False, but a confidence or covariance is said")
            require(np.isfinite((*e.tip_px, e.angle_rad)).all(), f"frame {e.frame_index}: a number is not finite")
            continue
        sds = (e.sd_along_mm, e.sd_across_mm) if scaled[e.frame_index] else (e.sd_along_px, e.sd_across_px)
        unit = "mm" if scaled[e.frame_index] else "px"
        claims = [sd for sd in sds if sd is not None]
        require(len(claims) == 2, f"frame {e.frame_index}: the estimate must have a covariance in {unit}")
        finite = np.isfinite((*e.tip_px, e.angle_rad, *claims)).all()
        require(finite, f"frame {e.frame_index}: a number of the estimate is NaN or infinite")
        require(
            e.confidence is not None and 0 <= e.confidence <= 1,
            f"frame {e.frame_index}: confidence is {e.confidence}, not from 0 to 1",
        )
        claimed = all(sd > 0 for sd in claims)
        require(claimed, f"frame {e.frame_index}: the standard deviations must be more than 0")


def _check_repeats(
    first: Tracker[Any],
    make: Callable[[], Tracker[Any]],
    frames: Sequence[Frame],
    hint: Hint,
    said: Sequence[Estimate],
) -> None:
    again = _track(first, frames, hint)[1]
    require(_keys(again) == _keys(said), "the same clip gives another track the second time")
    fresh = make()
    fresh.prepare()
    other = _track(fresh, frames, hint)[1]
    require(_keys(other) == _keys(said), "a fresh tracker gives another track of the same clip")


def _check_states(
    tracker: Tracker[Any], frames: Sequence[Frame], states: Sequence[Any], said: Sequence[Estimate]
) -> None:
    """A state can be forked and stored, `step` leaves it alone, and its arrays are read-only."""
    kept = stored(states[FORKED_AT])
    for frame in frames[FORKED_AT : FORKED_AT + 3]:
        tracker.step(states[FORKED_AT], frame)
    forked, loaded = states[FORKED_AT], kept
    for frame, e in zip(frames[FORKED_AT:FORKED_UNTIL], said[FORKED_AT:FORKED_UNTIL], strict=True):
        forked, a = tracker.step(forked, frame)
        loaded, b = tracker.step(loaded, frame)
        require(_key(a) == _key(e), f"frame {frame.index}: a state that was used before gives another estimate")
        require(_key(b) == _key(e), f"frame {frame.index}: a state that was stored and loaded gives another estimate")
    for which, state in (("the state", states[FORKED_UNTIL]), ("a stored state", stored(states[FORKED_UNTIL]))):
        writeable = [a.shape for a in arrays_in(state) if a.flags.writeable]
        advice = "set array.flags.writeable = False, or use sonosteer.core.frozen"
        require(not writeable, f"{which} holds arrays that can be written to {writeable}: {advice}")


def _check_closed_states(tracker: Tracker[Any], frames: Sequence[Frame], states: Sequence[Any]) -> None:
    """A state that serves once says so when it is used again. It never answers for another one."""
    try:
        tracker.step(states[FORKED_AT], frames[FORKED_AT])
    except BrokenError:
        return
    raise AssertionError("open_state is False, but a state that was used before gives an answer again")


def _check_moved(tracker: Tracker[Any], frames: Sequence[Frame], hint: Hint, said: Sequence[Estimate]) -> None:
    moved = []
    if hint.start_px is not None:
        hint = dataclasses.replace(hint, start_px=(hint.start_px[0], hint.start_px[1] + MOVED_PX))
    for frame in frames:
        pixels = np.zeros_like(frame.pixels)
        pixels[MOVED_PX:] = frame.pixels[:-MOVED_PX]
        moved.append(dataclasses.replace(frame, pixels=pixels))
    pairs = [
        (a.tip_px, b.tip_px)
        for a, b in zip(said, _track(tracker, moved, hint)[1], strict=True)
        if isinstance(a, TipEstimate) and isinstance(b, TipEstimate)
    ]
    require(len(pairs) > 10, f"only {len(pairs)} frames are tracked both in the clip and {MOVED_PX} px further down")
    off = float(np.median([math.dist(a, (b[0], b[1] - MOVED_PX)) for a, b in pairs]))
    require(off < 10, f"an image moved by {MOVED_PX} px must move the track as far; it is {off:.0f} px off")


def _check_depths(tracker: Tracker[Any], frames: Sequence[Frame], hint: Hint, said: Sequence[Estimate]) -> None:
    grey = [f.grey() for f in frames]
    colour = [
        dataclasses.replace(f, pixels=np.repeat(g[..., None], 3, 2), full_scale=255.0)
        for f, g in zip(frames, grey, strict=True)
    ]
    deep = [
        dataclasses.replace(f, pixels=g.astype(np.uint16) * 257, full_scale=65535.0)
        for f, g in zip(frames, grey, strict=True)
    ]
    for which, other in (("colour", colour), ("16 bit", deep)):
        for a, b in zip(said, _track(tracker, other, hint)[1], strict=True):
            require(a.state == b.state, f"frame {a.frame_index}: {b.state.value} in {which}, {a.state.value} in grey")
            if isinstance(a, TipEstimate) and isinstance(b, TipEstimate):
                off = math.dist(a.tip_px, b.tip_px)
                require(off < 3, f"frame {a.frame_index}: the tip in {which} is {off:.1f} px from the one in grey")


def _check_blank(tracker: Tracker[Any], hint: Hint) -> None:
    blank = [Frame(np.zeros((120, 160), np.uint8), i, i / 20, Spacing(0.1, 0.1), velocity_mm_s=5.0) for i in range(8)]
    lost = all(e.state is Track.LOST for e in _track(tracker, blank, hint)[1])
    require(lost, "a blank clip must be Lost in every frame")


def _key(e: Estimate) -> tuple[Any, ...]:
    return (e.frame_index, e.state) if isinstance(e, Lost) else (e.frame_index, e.state, e.tip_px, e.angle_rad)


def _keys(said: Sequence[Estimate]) -> list[tuple[Any, ...]]:
    return [_key(e) for e in said]
