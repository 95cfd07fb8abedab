"""Where the ultrasound picture lies on a scanner's screen, among margins, menus, captions and grey wedges.

The search begins with the whole screen. It cuts only where a side is seen: a long straight line, or an arc round the
point where two such lines meet, at which grey falls at once to a flat background. A dark bath, a shadow and a fading
have no such side, so nothing is cut there.

1. Flat areas that reach the screen's rim are background. What differs from them is drawn or ultrasound.
2. Letters have steps from one column to the next, on an even ground. Ultrasound has none: beams are wider than a pixel.
3. What is left is opened, so that thin things vanish. Its holes (cysts, shadows, baths) are filled.
4. The outline of that votes for its tangents (a Hough transform). Each line, then each arc, is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, F64, U8
from sonosteer.core.errors import InputError

Mask: TypeAlias = NDArray[np.bool_]
#: what the boundary of a picture looks like
PictureShape: TypeAlias = Literal["whole", "rectangle", "sector"]

WORK_PX = 448  # chosen: longer side of the picture that is worked on. Letters are still sharp there
MIN_SIDE_PX = 48  # chosen: nothing is looked for in a smaller picture
MIN_SURE = 0.35  # chosen: below, the whole screen is returned. Two sides of a rectangle are enough
MIN_SCREEN = 0.2  # chosen: fraction of the screen that an area takes. A block of gel in a bath may be smaller
MAX_LEVELS = 3  # chosen: greys of background. A screen has a ground and one or two toolbars
MIN_LEVEL = 0.06  # chosen: fraction of the screen's rim that a background takes at least
MIN_AREA = 0.06  # chosen: fraction of the screen that a picture covers at least. Menus are smaller
TEXT_SHARPNESS = 0.9  # chosen: second difference over variance. Letters have 2 and more, speckle 0.05 to 0.5
TEXT_GROUND = 0.3  # chosen: fraction of even ground between letters. Speckle has a tenth
TEXT_RIM_PX = 7  # chosen: boxes reach so far beyond their letters
MAX_TEXT = 0.35  # chosen: fraction of letters. A menu is half letters
OPENING = 0.03  # chosen: fraction of the longer side. Grey wedges and single lines of text are thinner
LUMP = 0.08  # chosen: captions and wedges at a picture are thinner. Of a picture only corners are
LUMP_EXTENT = 0.4  # chosen: of the picture's longer side. A band of tissue under a bath is longer
HARD = 0.03  # chosen: fraction of hard steps. Boxes have 0.04 and more, islands of tissue less
HARD_LUMP = 0.05  # chosen: at a piece of a picture there is the picture's own side, too
MAX_CRUMBS = 0.006  # chosen: tissue that a side may cut off, of the picture's area. The rest is compression
MAX_LOST = 0.03  # chosen: captions that a side cuts off, of the picture's area
STRAIGHT = 0.25  # chosen: least length of a straight side, of the picture's diagonal. Round islands have shorter ones
ARC = 0.15  # chosen: least length of a round side, of the picture's diagonal
MIN_SUPPORT = 0.4  # chosen: fraction of a side at which there must be a step. The rest may lie in the dark
AT_ONCE = 0.6  # chosen: grey just inside of a side, of that farther in. Apertures end there, and it is darker
SHALLOW_PX, DEEP_PX = (1, 4), (6, 10)  # chosen: what lies just inside, and farther in
STEEP_PX = 2  # chosen: a step is over so far to either side
MIN_STEP = 3.0  # chosen: grey levels. Compression makes smaller ones at the edges of its blocks
OUTSIDE_PX = (3, 10)  # chosen: background lies so far beyond a step. Rulers stand close
REACH_PX = 8  # chosen: how far from the outline a step is looked for. Letters may have been taken from the rim
TANGENT_PX = 6  # chosen: pixels to either side that tell the direction of an outline
TURN_DEG = 10  # chosen: error of that direction
#: normals of the sides of a sector, which widens downwards. chosen: layers of tissue lie flatter, shadows steeper
LEANING_DEG = (*range(192, 256), *range(285, 349))
SINES, COSINES = np.sin(np.radians(np.arange(360))), np.cos(np.radians(np.arange(360)))  # of whole degrees
USABLE = np.isin(np.arange(360), (0, 90, 180, 270, *LEANING_DEG))  # directions that sides may have
MIRROR_DEG = 5  # chosen: the sides of a sector lean alike. Pixels may be a little oblong
ALONE_DEG = 55  # chosen: from upright. A flatter side counts only with its mirror image
MAX_TRIALS = 24  # chosen: lines that are tested. The sides of a picture are among the longest
CLEAR_PX = 8  # chosen: what lies so close to a side is compression, which works in blocks of 8
RIM_PX = 4  # chosen: tissue so close to the screen's rim reaches it
STATIC_GREY = 3.0  # chosen: change between frames, beyond the noise, that compression makes of what stands still
LETTERS, STEPS = 1, 2  # bits of what is drawn


@dataclass(frozen=True, slots=True, eq=False)
class PictureArea:
    """Where the ultrasound picture lies on a screen."""

    left_px: int
    """First column of the picture, px."""
    top_px: int
    """First row of the picture, px."""
    width_px: int
    """Number of columns of the picture, px."""
    height_px: int
    """Number of rows of the picture, px."""
    mask: U8
    """(rows, columns) of the screen: 255 in the field of view, 0 outside, no unit. Read-only."""
    shape: PictureShape
    """Shape of the field of view. "whole" if nothing was cut."""
    confidence: float
    """Fraction of the boundary that was seen, 0 to 1. Where that is too little the area is the whole screen."""

    def __post_init__(self) -> None:
        self.mask.flags.writeable = False

    @property
    def crop_px(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) in pixels, as `--crop` takes them."""
        return self.left_px, self.top_px, self.width_px, self.height_px


@dataclass(frozen=True, slots=True, eq=False)
class _Screen:
    """A screen made smaller, and what was measured on it."""

    grey: F32
    """(rows, columns) mean of the frames, grey levels."""
    smooth: F32
    """The same, blurred by a pixel, grey levels."""
    mean: F32
    """(rows, columns) mean of 5 x 5 pixels, grey levels."""
    spread: F32
    """(rows, columns) standard deviation of 5 x 5 pixels, grey levels."""
    change: F32 | None
    """(rows, columns) largest change between the frames, grey levels. None of a single frame."""
    levels: tuple[float, ...]
    """Greys of the background, grey levels. Empty if no flat area reaches the rim."""
    noise: float
    """Standard deviation of the background, grey levels."""
    scale: float
    """Px here per px of the screen, no unit."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tissue:
    """What is ultrasound on a screen, and what is not."""

    mask: U8
    """(rows, columns) 1 where there is ultrasound."""
    alike: U8
    """(rows, columns) 1 there, and at small or thin things that look like it."""
    drawn: U8
    """(rows, columns) bit LETTERS at letters, bit STEPS at hard steps."""
    points: F64
    """(n, 2) outline of the ultrasound without the screen's rim: column and row, px."""
    normals: F64
    """(n, 2) unit vectors that point outside there, no unit."""
    size: float
    """Diagonal of the box round the ultrasound, px."""


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    """Connected regions, by number. Number 0 is what is in none."""

    labels: NDArray[np.int32]
    """(rows, columns) number of the region."""
    area: F64
    """(n,) area, px."""
    letters: F64
    """(n,) fraction of letters, 0 to 1."""
    steps: F64
    """(n,) fraction of hard steps, 0 to 1."""
    size_px: F64
    """(n, 2) width and height, px."""

    def looks_drawn(self, hard: float) -> Mask:
        """(n,) True for those with letters or more than a fraction of hard steps."""
        return (self.letters > 0.1) | (self.steps > hard)  # chosen: a caption on tissue is less than a tenth of it


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A straight side of a field of view. Inside is where normal . p <= offset."""

    normal: F64
    """Unit vector that points outside, no unit."""
    offset: float
    """Distance from the origin along the normal, px."""


@dataclass(frozen=True, slots=True, eq=False)
class _Arc:
    """A round side of a field of view: its bottom, or the face of a convex probe."""

    centre: F64
    """Middle of the circle, px."""
    radius: float
    """Radius, px."""
    hollow: bool
    """True for the face: the picture is outside of the circle."""


def find_picture(frames: Sequence[U8]) -> PictureArea:
    """Find the ultrasound picture on a scanner's screen.

    frames: (rows, columns) screens of one size, one or more, best spread over a clip. Menus stand still and speckle
    does not. The area is rather too large than too small. It is the whole screen where little of a boundary is seen.
    Raises InputError without a frame, or if the frames are not grey pictures of one size.
    """
    size = checked_size(frames)
    if min(size) < MIN_SIDE_PX:
        return _whole(size, 0.0)
    screen = _measured(frames)
    if not screen.levels:  # no margins
        return _whole(size, 1.0)
    tissue = _tissue(screen)
    if tissue is None:
        return _whole(size, 0.0)
    lines = _lines(screen, tissue)
    arcs = _arcs(screen, tissue, lines)
    confidence = _seen(tissue.mask, _region(tissue.mask.shape, lines, arcs, scale=1.0))
    if confidence < MIN_SURE:
        return _whole(size, confidence)
    area = _area(_region(size, lines, arcs, scale=screen.scale), confidence)
    too_small = area.width_px * area.height_px < MIN_SCREEN * size[0] * size[1]
    return _whole(size, MIN_SURE) if too_small else area


def checked_size(frames: Sequence[U8]) -> tuple[int, int]:
    """(rows, columns) of frames. Raises InputError without a frame, or if they are not grey pictures of one size."""
    if not len(frames):
        raise InputError("a screen is looked for in one frame or more: there is none")
    shape = frames[0].shape
    if any(f.ndim != 2 or f.dtype != np.uint8 or f.shape != shape for f in frames):
        raise InputError("a screen is looked for in (rows, columns) pictures of 8 bit and of one size: these are not")
    return int(shape[0]), int(shape[1])


def _whole(size: tuple[int, int], confidence: float) -> PictureArea:
    """The whole screen."""
    return _area_of(np.full(size, 255, np.uint8), (0, 0, size[1], size[0]), shape="whole", confidence=confidence)


def _area_of(mask: U8, box: tuple[int, int, int, int], *, shape: PictureShape, confidence: float) -> PictureArea:
    """The area with a box (left, top, width, height), px."""
    left, top, width, height = box
    return PictureArea(
        left_px=left,
        top_px=top,
        width_px=width,
        height_px=height,
        mask=mask,
        shape=shape,
        confidence=confidence,
    )


def _area(mask: U8, confidence: float) -> PictureArea:
    """The area round a field of view, (rows, columns) 255 inside."""
    left, top, width, height = cv2.boundingRect(mask)
    filled = np.count_nonzero(mask) / (width * height)
    if filled > 0.97 and mask.shape == (height, width):
        return _whole((height, width), confidence)
    shape: PictureShape = "sector"
    if filled > 0.95:  # chosen: a sector that is cut so much is a rectangle
        shape = "rectangle"
        mask[top : top + height, left : left + width] = 255
    return _area_of(mask, (left, top, width, height), shape=shape, confidence=confidence)


# -- background --------------------------------------------------------------------------------------------------


def _measured(frames: Sequence[U8]) -> _Screen:
    """The screen, smaller."""
    height, width = frames[0].shape
    scale = min(1.0, WORK_PX / max(height, width))
    size = (round(width * scale), round(height * scale))
    small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) if scale < 1 else f for f in frames]
    grey = small[0].astype(np.float32)
    change: F32 | None = None
    if len(small) > 1:
        low, high = small[0], small[0]
        for each in small[1:]:
            grey += each
            low, high = cv2.min(low, each), cv2.max(high, each)
        grey /= len(small)
        change = cv2.blur(cv2.subtract(high, low), (5, 5)).astype(np.float32)
    mean, spread = _local(grey, 5)
    rim = max(3, round(0.015 * max(grey.shape)))
    at_rim = np.ones(grey.shape, np.bool_)
    at_rim[rim:-rim, rim:-rim] = False
    levels, noise = _background(mean[at_rim], spread[at_rim])
    return _Screen(
        grey=grey,
        smooth=cv2.GaussianBlur(grey, (5, 5), 1.0).astype(np.float32, copy=False),
        mean=mean,
        spread=spread,
        change=change,
        levels=levels,
        noise=noise,
        scale=scale,
    )


def _background(means: F32, spreads: F32) -> tuple[tuple[float, ...], float]:
    """(greys of flat areas that reach the rim, their standard deviation), from means and deviations at the rim."""
    least = float(np.percentile(spreads, 10))
    flat = spreads <= 1.5 * least + 1.0
    counts = np.bincount(means[flat].astype(np.int64), minlength=256).astype(np.float64)
    levels: list[float] = []
    noise = 0.0
    for _ in range(MAX_LEVELS):
        near = np.convolve(counts, np.ones(3), "same")
        level = int(near.argmax())
        if near[level] < MIN_LEVEL * len(means):
            break
        here = flat & (np.abs(means - level - 0.5) <= 1.5 + least)
        levels.append(float(np.median(means[here])))
        close = flat & (np.abs(means - levels[-1]) <= 8)  # chosen: compression shifts blocks by less
        noise = max(noise, float(np.median(spreads[here])), float(np.mean(np.abs(means[close] - levels[-1]))))
        apart = math.ceil(3 + least)
        counts[max(level - apart, 0) : level + apart + 1] = 0
    return tuple(levels), noise


def _local(grey: F32, side: int) -> tuple[F32, F32]:
    """(mean, standard deviation) in a square round each pixel."""
    mean = cv2.blur(grey, (side, side))
    square = cv2.blur(grey * grey, (side, side))
    return mean, np.sqrt(np.maximum(square - mean * mean, 0))


# -- tissue ------------------------------------------------------------------------------------------------------


def _tissue(screen: _Screen) -> _Tissue | None:
    """What is ultrasound. None if there is too little."""
    longer = max(screen.grey.shape)
    differs, flat = _differs(screen)
    letters = _letters(screen)
    if screen.change is not None:
        letters &= 1 - _moves(screen)
    rest = differs & (1 - (cv2.dilate(letters, _square(TEXT_RIM_PX)) | flat))
    thin = rest = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, _square(3))
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, _square(0.01 * longer))
    rest = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, _square(0.02 * longer))
    outlines, _ = cv2.findContours(rest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(rest)
    cv2.drawContours(filled, outlines, -1, 1, -1)
    drawn = letters * LETTERS | _steps(screen) * STEPS
    thick = _parts(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _square(OPENING * longer)), drawn)
    if thick is None:
        return None
    near = cv2.dilate(thick, _square(0.02 * longer))  # what the opening took from its rim
    mask = _without_lumps(near & (differs & (1 - letters) | thick), drawn)
    alike = mask | _alike(screen, thin & (1 - near), drawn)
    points, normals = _outline(mask)
    size = math.hypot(*cv2.boundingRect(mask)[2:])
    return _Tissue(mask=mask, alike=alike, drawn=drawn, points=points, normals=normals, size=size)


def _square(side_px: float) -> U8:
    """(n, n) ones, n the odd number near a side."""
    n = max(int(side_px) // 2 * 2 + 1, 3)
    return np.ones((n, n), np.uint8)


def _differs(screen: _Screen) -> tuple[U8, U8]:
    """Two (rows, columns): 1 where a pixel differs from background, surroundings or in time; 1 in flat boxes."""
    background = np.zeros(screen.mean.shape, np.bool_)
    for level in screen.levels:
        background |= np.abs(screen.mean - level) <= 0.8 + screen.noise
    rough = screen.spread > 1.8 * screen.noise + 1.2
    if screen.change is not None:
        rough |= _moves(screen) > 0
    flat = (~rough & ~background).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    filled = area / (stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT])
    box = (area > 0.0005 * flat.size) & (area < MIN_AREA * flat.size) & (filled > 0.8)  # chosen: as menus are
    box[0] = False
    return (rough | ~background).astype(np.uint8), box[labels].astype(np.uint8)


def _moves(screen: _Screen) -> U8:
    """(rows, columns) 1 where the frames differ."""
    assert screen.change is not None
    return (screen.change > STATIC_GREY + 3 * screen.noise).astype(np.uint8)


def _letters(screen: _Screen) -> U8:
    """(rows, columns) 1 at letters and thin lines: sharp from column to column, on an even ground."""
    grey = screen.grey
    step = cv2.filter2D(grey, -1, np.array([[-1, 2, -1]], np.float32))
    noise = screen.noise if min(screen.levels) > 2 * screen.noise else screen.noise / 0.58  # cut at 0: half a normal
    sharp = np.maximum(cv2.blur(step * step, (9, 9)) - 8 * noise * noise, 0)
    _, spread = _local(grey, 9)
    above = grey - cv2.erode(grey, _square(9))
    ground = cv2.blur((above < 8 + 3 * noise).astype(np.float32), (9, 9))
    out = (sharp > TEXT_SHARPNESS * spread * spread) & (spread > 8) & (ground > TEXT_GROUND)  # chosen: they stand out
    return np.asarray(out, np.uint8)


def _steps(screen: _Screen) -> U8:
    """(rows, columns) 1 where grey steps from one pixel to the next, as in what is drawn."""
    grey = screen.grey
    spread = cv2.dilate(grey, _square(7)) - cv2.erode(grey, _square(7))
    across = np.abs(cv2.filter2D(grey, -1, np.array([[-1, 0, 1]], np.float32)))
    down = np.abs(cv2.filter2D(grey, -1, np.array([[-1], [1]], np.float32)))
    hard = (across > 0.7 * spread) | (down > 0.6 * spread)  # chosen: speckle has 0.1 to 0.4
    return np.asarray(hard & (spread > 8 + 4 * screen.noise), np.uint8)


def _parts(core: U8, drawn: U8) -> U8 | None:
    """(rows, columns) 1 in the largest region, and in the others that look like ultrasound. None if it is too small."""
    regions = _regions(core, drawn)
    own = np.where(regions.letters < MAX_TEXT, regions.area * (1 - regions.letters), 0.0)
    best = int(own.argmax())
    if own[best] < MIN_AREA * core.size:
        return None
    taken = (regions.area > 0.0015 * core.size) & ~regions.looks_drawn(HARD)  # chosen: smaller ones are crumbs
    taken[best] = True
    return taken[regions.labels].astype(np.uint8)


def _alike(screen: _Screen, rest: U8, drawn: U8) -> U8:
    """(rows, columns) 1 in small or thin regions that look like ultrasound. Compression makes fainter ones."""
    regions = _regions(rest, drawn)
    inside = rest > 0
    above = np.min([np.abs(screen.grey[inside] - level) for level in screen.levels], axis=0)
    total = np.bincount(regions.labels[inside], weights=above, minlength=len(regions.area))
    contrast = total / np.maximum(regions.area, 1)
    taken = (regions.area > 0.0006 * rest.size) & (contrast > 5 + 2 * screen.noise)  # chosen: crumbs are smaller
    taken &= ~regions.looks_drawn(HARD)
    return taken[regions.labels].astype(np.uint8)


def _regions(mask: U8, drawn: U8) -> _Regions:
    """The connected regions of a mask, measured."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1).astype(np.float64)
    marked = (drawn > 0) & (mask > 0)  # few: quicker than to go through all
    number, bits = labels[marked], drawn[marked]
    letters, steps = (np.bincount(number[bits & b > 0], minlength=count) / area for b in (LETTERS, STEPS))
    area[0] = 0.0  # what is in none
    width, height = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    size_px = np.column_stack([width, height]).astype(np.float64)
    return _Regions(labels=labels, area=area, letters=letters, steps=steps, size_px=size_px)


def _without_lumps(tissue: U8, drawn: U8) -> U8:
    """Tissue without the captions and grey wedges that hang on to it. Corners may go, too."""
    radius = 0.5 * LUMP * max(tissue.shape)
    framed = cv2.copyMakeBorder(tissue, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    deep = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] > radius  # an opening by a disc, quickly
    thick = (cv2.distanceTransform((~deep).astype(np.uint8), cv2.DIST_L2, 3) <= radius).astype(np.uint8) & tissue
    return np.asarray(tissue & (1 - _lumps(tissue & (1 - thick), tissue, drawn)), np.uint8)


def _lumps(mask: U8, tissue: U8, drawn: U8) -> U8:
    """(rows, columns) 1 in those regions of a mask that are small beside the tissue, and look drawn."""
    regions = _regions(mask, drawn)
    width, height = regions.size_px.T
    bar = (regions.area > 0.8 * width * height) & (height > 2.5 * width)  # chosen: a grey wedge stands upright
    small = regions.size_px.max(1) < LUMP_EXTENT * max(cv2.boundingRect(tissue)[2:])
    small &= (regions.area > 0) & (regions.looks_drawn(HARD_LUMP) | bar)
    return np.asarray(small[regions.labels], np.uint8)


def _outline(mask: U8) -> tuple[F64, F64]:
    """((n, 2) outline of a region without the screen's rim, px; (n, 2) unit vectors that point outside)."""
    height, width = mask.shape
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points, normals = [np.empty((0, 2))], [np.empty((0, 2))]
    for contour in found:
        p = contour[:, 0].astype(np.float64)
        if len(p) < 4 * TANGENT_PX:
            continue
        along = np.roll(p, -TANGENT_PX, 0) - np.roll(p, TANGENT_PX, 0)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        turn = math.copysign(1.0, float(p[:, 0] @ np.roll(p[:, 1], -1) - p[:, 1] @ np.roll(p[:, 0], -1)))
        inner = (p >= RIM_PX).all(1) & (p < (width - RIM_PX, height - RIM_PX)).all(1)
        points.append(p[inner])
        normals.append(turn * np.column_stack([along[:, 1], -along[:, 0]])[inner])
    return np.concatenate(points), np.concatenate(normals)


# -- straight sides ----------------------------------------------------------------------------------------------


def _lines(screen: _Screen, tissue: _Tissue) -> list[_Line]:
    """The straight sides, from the most voted for on."""
    if not len(tissue.points):
        return []
    votes, low = _votes(tissue)
    lines: list[_Line] = []
    for _ in range(MAX_TRIALS):
        angle_deg, place = (int(v) for v in np.unravel_index(int(votes.argmax()), votes.shape))
        if votes[angle_deg, place] < MIN_SUPPORT * STRAIGHT * tissue.size:
            break
        line = _fitted(screen, tissue, angle_deg=angle_deg, offset=place + low)
        if line is not None:
            x, y = _grid(tissue.mask)
            if _cuts_nothing(tissue, x * line.normal[0] + y * line.normal[1] > line.offset + CLEAR_PX):
                lines.append(line)
        turned = np.arange(angle_deg - TURN_DEG // 2, angle_deg + TURN_DEG // 2 + 1) % 360
        votes[turned, max(place - REACH_PX, 0) : place + REACH_PX + 1] = 0
    return _mirrored(lines)


def _mirrored(lines: list[_Line]) -> list[_Line]:
    """The lines without leaning ones that are layers of tissue: flat ones alone, and two that are no mirror images."""
    lean_deg = [math.degrees(math.asin(-e.normal[1])) if e.normal[0] else 90.0 for e in lines]
    out = []
    for line, lean in zip(lines, lean_deg, strict=True):
        upright_or_level = min(abs(line.normal[0]), abs(line.normal[1])) < 0.01
        others = [
            other
            for e, other in zip(lines, lean_deg, strict=True)
            if e.normal[0] * line.normal[0] < 0 and min(abs(e.normal[0]), abs(e.normal[1])) > 0.01
        ]
        like = any(abs(other - lean) <= MIRROR_DEG for other in others)
        if upright_or_level or like or (not others and lean < ALONE_DEG):
            out.append(line)
    return out


def _votes(tissue: _Tissue) -> tuple[NDArray[np.int32], int]:
    """((360, n) pixels of the outline on the line of each direction in degrees and offset in px, least offset)."""
    x, y = tissue.points.T
    own = np.round(np.degrees(np.arctan2(tissue.normals[:, 1], tissue.normals[:, 0]))).astype(int)
    low = -math.ceil(float(np.hypot(x, y).max())) - 2
    width = -2 * low + 1
    angle = (own + np.arange(-TURN_DEG, TURN_DEG + 1)[:, None]) % 360
    place = np.round(x * COSINES[angle] + y * SINES[angle]).astype(int) - low
    votes = np.bincount((angle * width + place)[USABLE[angle]], minlength=360 * width).reshape(360, width)
    three = votes.astype(np.int32)
    three[:, 1:-1] += (votes[:, :-2] + votes[:, 2:]).astype(np.int32)
    return three, low


def _fitted(screen: _Screen, tissue: _Tissue, *, angle_deg: int, offset: float) -> _Line | None:
    """The line at some direction and offset, moved to where the step is. None if it is short or has no step."""
    way = math.radians(angle_deg)
    normal = np.array([math.cos(way), math.sin(way)]).round(12)
    facing = tissue.normals @ normal > math.cos(math.radians(TURN_DEG + 1))
    on = tissue.points[facing & (np.abs(tissue.points @ normal - offset) <= 2.5)]
    if angle_deg % 90 and len(on) >= 2:
        x, y, x0, y0 = cv2.fitLine(on.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel().tolist()
        fitted = np.array([y, -x])
        normal = fitted if fitted @ normal > 0 else -fitted
        offset = float(normal @ (x0, y0))
    if len(on) < 2:
        return None
    along = np.array([-normal[1], normal[0]])
    first, last = np.percentile(on @ along, (1, 99)).tolist()
    if last - first < STRAIGHT * tissue.size:
        return None
    at = offset * normal + np.arange(first, last)[:, None] * along
    support, shift = _support(screen, at, np.broadcast_to(normal, at.shape))
    return _Line(normal, offset + shift) if support >= MIN_SUPPORT else None


def _support(screen: _Screen, at: F64, normals: F64) -> tuple[float, float]:
    """(fraction of a line's points with a step down to the background, where the step is in px along the normals)."""
    depth = np.arange(-DEEP_PX[1] - REACH_PX, OUTSIDE_PX[1] + REACH_PX + 1)
    where = (at[:, None] + depth[None, :, None] * normals[:, None]).astype(np.float32)
    x, y = np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])
    profile = cv2.remap(screen.smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    profile = cv2.blur(profile, (1, 9), borderType=cv2.BORDER_REPLICATE)
    profile = np.min([np.abs(profile - level) for level in screen.levels], axis=0)  # a bath is darker than some screens
    height, width = screen.grey.shape
    outmost = at + OUTSIDE_PX[0] * normals
    seen = (outmost >= 0).all(1) & (outmost <= (width - 1, height - 1)).all(1)
    if np.count_nonzero(seen) < 0.5 * len(at):
        return 0.0, 0.0
    mean = profile[seen].mean(0)
    first = DEEP_PX[1]  # where depth is -REACH_PX
    falls = mean[first - 1 : first + 2 * REACH_PX] - mean[first + 1 : first + 2 * REACH_PX + 2]
    step = first + int(falls.argmax())
    inside = profile[:, step - SHALLOW_PX[1] : step - SHALLOW_PX[0] + 1].mean(1)
    deep = profile[:, step - DEEP_PX[1] : step - DEEP_PX[0] + 1].mean(1)
    outside = profile[:, step + OUTSIDE_PX[0] : step + OUTSIDE_PX[1] + 1].min(1)
    counted = seen & (outside <= 2 + screen.noise)
    if np.count_nonzero(counted) < 0.3 * len(at):  # chosen: where menus stand beside, nothing is known
        return 0.0, 0.0
    drop = profile[:, step - STEEP_PX] - profile[:, step + STEEP_PX]
    at_once = inside - outside >= np.maximum(MIN_STEP + screen.noise, AT_ONCE * (deep - outside))
    at_once &= drop >= AT_ONCE * (inside - outside)
    return float(np.count_nonzero(at_once & counted) / np.count_nonzero(counted)), float(depth[step])


def _grid(mask: U8) -> tuple[F64, F64]:
    """((1, columns) x, (rows, 1) y of the pixels of a mask)."""
    return np.arange(mask.shape[1], dtype=np.float64)[None], np.arange(mask.shape[0], dtype=np.float64)[:, None]


def _cuts_nothing(tissue: _Tissue, beyond: Mask) -> bool:
    """True if what a side would cut off is next to nothing, or small captions and the like."""
    lost = tissue.alike & beyond
    count, area = int(np.count_nonzero(lost)), int(np.count_nonzero(tissue.mask))
    if not MAX_CRUMBS * area < count < MAX_LOST * area:
        return count < MAX_LOST * area
    return count - int(np.count_nonzero(_lumps(lost, tissue.mask, tissue.drawn))) < MAX_CRUMBS * area


# -- round sides -------------------------------------------------------------------------------------------------


def _arcs(screen: _Screen, tissue: _Tissue, lines: list[_Line]) -> list[_Arc]:
    """The bottom and the face of a sector. Both are round about the point in which its straight sides meet."""
    centres = _centres(tissue, lines)
    sides_meet = len(centres) == 1
    arcs: list[_Arc] = []
    for hollow in (False, True) if sides_meet else (False,):
        arc = _most_voted(tissue, centres, hollow=hollow)
        arc = None if arc is None else _tested(screen, tissue, arc)
        if arc is not None:
            arcs.append(arc)
    return arcs


def _centres(tissue: _Tissue, lines: list[_Line]) -> list[F64]:
    """Where the middle of the arcs may be: where the sides meet, or along the only one that was found, px."""
    leaning = [e for e in lines if e.normal[1] < -0.1 and abs(e.normal[0]) > 0.1]
    left = [e for e in leaning if e.normal[0] < 0]
    right = [e for e in leaning if e.normal[0] > 0]
    if left and right:
        sides = np.array([left[0].normal, right[0].normal])
        return [np.linalg.solve(sides, np.array([left[0].offset, right[0].offset]))]
    if not leaning:
        return []
    side = leaning[0]
    along = np.array([-side.normal[1], side.normal[0]])
    along *= math.copysign(1.0, along[1])  # down
    top = float((tissue.points @ along).min())
    return [side.offset * side.normal + t * along for t in np.arange(top - tissue.size, top + REACH_PX, 3.0)]


def _most_voted(tissue: _Tissue, centres: list[F64], *, hollow: bool) -> _Arc | None:
    """The arc on which most of the outline lies. None if that is short."""
    best, most = None, MIN_SUPPORT * ARC * tissue.size
    for centre in centres:
        away = tissue.points - centre
        distance = np.linalg.norm(away, axis=1)
        facing = (tissue.normals * away).sum(1) * (-1 if hollow else 1)
        near = np.round(distance[facing > distance * math.cos(math.radians(TURN_DEG + 4))]).astype(int)
        votes = np.convolve(np.bincount(near, minlength=3), np.ones(3), "same")
        if votes.max() > most:
            best, most = _Arc(centre, float(votes.argmax()), hollow), float(votes.max())
    return best


def _tested(screen: _Screen, tissue: _Tissue, arc: _Arc) -> _Arc | None:
    """An arc moved to where the step is. None if it is short, has no step, or cuts tissue."""
    away = tissue.points - arc.centre
    on = away[np.abs(np.linalg.norm(away, axis=1) - arc.radius) <= 2.5]
    first, last = np.percentile(np.arctan2(on[:, 0], on[:, 1]), (1, 99)).tolist()
    if (last - first) * arc.radius < ARC * tissue.size * (0.5 if arc.hollow else 1.0):
        return None
    turn = np.arange(first, last, 1 / arc.radius)
    rays = np.column_stack([np.sin(turn), np.cos(turn)])
    outward = -1.0 if arc.hollow else 1.0
    at, last_px = arc.centre + arc.radius * rays, np.array(tissue.mask.shape[::-1]) - RIM_PX
    rays = rays[(at >= RIM_PX).all(1) & (at < last_px).all(1)]  # the screen may cut it
    if not len(rays):
        return None
    support, shift = _support(screen, arc.centre + arc.radius * rays, outward * rays)
    radius = arc.radius + outward * shift
    x, y = _grid(tissue.mask)
    away_2 = (x - arc.centre[0]) ** 2 + (y - arc.centre[1]) ** 2
    beyond = outward * (away_2 - max(radius + outward * CLEAR_PX, 0.0) ** 2) > 0
    good = support >= MIN_SUPPORT and _cuts_nothing(tissue, beyond)
    return _Arc(arc.centre, radius, arc.hollow) if good else None


# -- region ------------------------------------------------------------------------------------------------------


def _region(shape: tuple[int, ...], lines: list[_Line], arcs: list[_Arc], *, scale: float) -> U8:
    """(rows, columns) 255 inside of all sides. scale: px in which the sides are told, per px of the region."""
    height, width = shape[:2]
    polygon = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    for side in lines:
        half = 0.5 * float(side.normal.sum())
        polygon = _clipped(polygon, side.normal, (side.offset + 1.0 + half) / scale - half)  # rather too large
    out = np.zeros((height, width), np.uint8)
    if len(polygon) < 3:
        return out
    cv2.fillConvexPoly(out, np.round(polygon * 16).astype(np.int32), 255, shift=4)
    for arc in arcs:
        x, y = (np.round(((arc.centre + 0.5) / scale - 0.5) * 16).astype(int)).tolist()
        radius = max((arc.radius + (-1.0 if arc.hollow else 1.0)) / scale, 0.0)
        disc = np.zeros((height, width), np.uint8)
        cv2.circle(disc, (x, y), round(radius * 16), 255, -1, shift=4)
        out &= ~disc if arc.hollow else disc
    return out


def _clipped(polygon: F64, normal: F64, offset: float) -> F64:
    """The part of a convex polygon where normal . p <= offset."""
    away = polygon @ normal - offset
    out = []
    for i in range(len(polygon)):
        a, b = polygon[i - 1], polygon[i]
        da, db = away[i - 1], away[i]
        if (da <= 0) != (db <= 0):
            out.append(a + (b - a) * (da / (da - db)))
        if db <= 0:
            out.append(b)
    return np.array(out).reshape(-1, 2)


def _seen(tissue: U8, region: U8) -> float:
    """Fraction of a region's boundary that lies at a side that was found, or at the screen's rim beside tissue."""
    height, width = tissue.shape
    found, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return 0.0
    x, y = np.concatenate(found)[:, 0].T
    at_rim = (x == 0) | (y == 0) | (x == width - 1) | (y == height - 1)
    near = cv2.dilate(tissue, _square(2 * RIM_PX + 1))[y, x] > 0
    return float((~at_rim | near).mean())
