"""Finds a needle in one image: a bright ridge that starts at the border and ends inside.

Every direction of a half plane is tried at once by sums over strips. Mathiassen et al. 2017 leave this step open
("needle detection in the image", their phase 1). None of it is published:

1. local contrast normalisation inside the field of view, so that a bright reflector does not set the scale;
2. P[k, j, y]: mean over the columns of strip j along slope k through row y;
3. the telescoped ridge score of Mathiassen et al. 2017 (see `rays.py`) at two lags, divided by the rms of the strip
   differences of that slope in this frame: whitening per direction, without which muscle fibres win;
4. a line's score is the largest prefix sum, from the border on, of clipped log likelihood ratios;
5. lines that would pierce the skin far outside the image are weighed down.

Lengths are pixels of the image that is given, about 0.2 mm each. Slopes are those of an image turned so that
the needle enters at the left and goes down to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import F32, U8
from sonosteer.imaging.scratch import Scratch

STRIP = 12  # chosen: columns per strip, px; three strips are the shortest line
LAGS = (3, 6)  # chosen: half widths of the ridges looked for, px, about 0.6 and 1.2 mm
MAX_LINES = 6  # chosen: number of lines kept of a family


@njit(cache=True, nogil=True, fastmath=True)
def strip_means(T: F32, x0: int, strip: int, slopes: NDArray[np.float64], pad: int, P: F32) -> None:
    """P[k, j, y] = mean of T[x0 + j strip + i, y + slope_k (i - middle)] over i. T: (x, y padded by pad)."""
    inverse = np.float32(1.0 / strip)
    rows = P.shape[2]
    for k in range(P.shape[0]):
        for j in range(P.shape[1]):
            out = P[k, j]
            for y in range(rows):
                out[y] = 0.0
            for i in range(strip):
                shift = pad + math.floor(slopes[k] * (i - (strip - 1) * 0.5) + 0.5)
                row = T[x0 + j * strip + i]
                for y in range(rows):
                    out[y] += row[y + shift]
            for y in range(rows):
                out[y] *= inverse


@njit(cache=True, nogil=True, fastmath=True)
def whitened_ridges(P: F32, w1: int, w2: int, Z: F32) -> None:
    """Z[k, j, y] = telescoped ridge score at lags w1, w2 (the larger of both) over the rms of slope k."""
    rows = P.shape[2]
    for k in range(P.shape[0]):
        power = 0.0
        for j in range(P.shape[1]):
            p, z = P[k, j], Z[k, j]
            part = np.float32(0.0)
            for y in range(w2):
                z[y] = -10.0
                z[rows - 1 - y] = -10.0
            for y in range(w2, rows - w2):
                a = min(p[y] - p[y - w1], p[y] - p[y + w1])
                b = min(p[y] - p[y - w2], p[y] - p[y + w2])
                z[y] = max(a, b)
                d = p[y] - p[y - w2]
                part += d * d
            power += float(part)
        inverse = np.float32(1.0 / math.sqrt(power / (P.shape[1] * (rows - 2 * w2)) + 1e-3))
        for j in range(P.shape[1]):
            z = Z[k, j]
            for y in range(rows):
                z[y] *= inverse


@njit(cache=True, nogil=True, fastmath=True)
def best_lines(
    Z: F32,
    inside: U8,
    strip: int,
    slopes: NDArray[np.float64],
    fine: NDArray[np.float64],
    first_row: float,
    last_row: float,
    lines: NDArray[np.float64],
) -> int:
    """Fill lines (n, 5) with (score, row at the entry, slope, first strip, tip strip). Returns how many.

    A line through entry row y with slope m collects l = clip(0.8 (z - 0.9), -1.2, 2.2) per strip. It ends at the
    largest prefix sum, at least 3 strips in. Reaching the far side costs 3, since a needle ends inside. Before the
    first positive sum a strip costs at most 0.35, for a quarter of the width: contact may be poor there.
    """
    strips, rows = Z.shape[1], Z.shape[2]
    found = 0
    for f in range(fine.shape[0]):
        m = fine[f]
        k = 0
        for q in range(slopes.shape[0]):
            if abs(slopes[q] - m) < abs(slopes[k] - m):
                k = q
        y = first_row
        while y < last_row:
            total, best, first, tip, last = 0.0, -1e9, -1, -1, -1
            for j in range(strips):
                row = math.floor(y + m * (j + 0.5) * strip + 0.5)
                if row < 0 or row >= rows or inside[j, row] == 0:
                    if first >= 0:
                        break
                    continue
                if first < 0:
                    first = j
                last = j
                z = max(Z[k, j, row], Z[k, j, max(row - 1, 0)], Z[k, j, min(row + 1, rows - 1)])
                gain = min(max(0.8 * (z - 0.9), -1.2), 2.2)
                if total <= 0 and gain < -0.35 and j - first < strips // 4:
                    gain = -0.35
                total += gain
                if total > best and j - first + 1 >= 3:
                    best, tip = total, j
            if tip >= 0:
                score = best - (3.0 if last <= tip else 0.0)
                found = _keep(lines, found, score, y, m, first, tip, strip)
            y += 1.5
    return found


@njit(cache=True, nogil=True)
def _keep(
    lines: NDArray[np.float64], found: int, score: float, y: float, m: float, first: int, tip: int, strip: int
) -> int:
    """Suppress non-maxima: keep the best line of each neighbourhood of 8 px and 0.12 in slope."""
    half = tip * strip * 0.5
    slot = -1
    for i in range(found):
        if abs(lines[i, 1] + lines[i, 2] * half - y - m * half) < 8 and abs(lines[i, 2] - m) < 0.12:
            slot = i
    if slot < 0 and found < lines.shape[0]:
        slot = found
        lines[slot, 0] = -1e9
        found += 1
    if slot < 0:
        slot = 0
        for i in range(found):
            if lines[i, 0] < lines[slot, 0]:
                slot = i
    if score > lines[slot, 0]:
        lines[slot, 0], lines[slot, 1], lines[slot, 2] = score, y, m
        lines[slot, 3], lines[slot, 4] = first, tip
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate needle in an image."""

    entry_px: tuple[float, float]
    """Where it comes in at the border, px."""
    tip_px: tuple[float, float]
    """Where it ends, px."""
    angle_rad: float
    """Direction from entry to tip, rad."""
    score: float
    """Sum of clipped log likelihood ratios, no unit."""


def field_of_view(image: U8) -> U8:
    """Mask of the field of view: 1 where the image shows tissue, 0 in the black around it. (rows, columns) uint8.

    Enclosed black (a vessel, the inside of an eye) belongs to the view. Lit specks apart from it do not.
    """
    # chosen: above grey 6 is lit, gaps up to 15 px are closed, parts below 2 % of the image are specks
    lit = (cv2.blur(image, (7, 7)) > 6).astype(np.uint8)
    closed: U8 = cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    view = np.zeros_like(closed)
    large = [outline for outline in outlines if cv2.contourArea(outline) > 0.02 * closed.size]
    cv2.drawContours(view, large, -1, 1, cv2.FILLED)
    return view


def normalised(image: U8, mask: U8, scratch: Scratch, size: int = 41, floor: float = 8.0, cap: float = 2.5) -> F32:
    """Normalise local contrast: (image - mean) / (sd + floor) inside the mask, clipped to +-cap, 0 outside."""
    moments, blurred = (scratch.exactly(name, (*image.shape, 3)) for name in ("moments", "blurred"))
    local_moments(image, mask, moments)
    cv2.blur(moments, (size, size), dst=blurred)
    out = scratch.exactly("flat", image.shape)
    standardise(image, mask, blurred, floor, cap, out)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def local_moments(image: U8, mask: U8, moments: F32) -> None:
    """moments[..., 0:3] = mask, mask * image, mask * image^2."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            m, v = np.float32(mask[y, x]), np.float32(image[y, x])
            moments[y, x, 0] = m
            moments[y, x, 1] = m * v
            moments[y, x, 2] = m * v * v


@njit(cache=True, nogil=True, fastmath=True)
def standardise(image: U8, mask: U8, moments: F32, floor: float, cap: float, out: F32) -> None:
    """out = 30 mask clip((image - mean) / (sd + floor), -cap, cap) from blurred moments."""
    low, top = np.float32(floor), np.float32(cap)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            inverse = np.float32(1.0) / (moments[y, x, 0] + np.float32(1e-3))
            mean = moments[y, x, 1] * inverse
            variance = max(moments[y, x, 2] * inverse - mean * mean, np.float32(0.0))
            z = (np.float32(image[y, x]) - mean) / (np.sqrt(variance) + low)
            out[y, x] = np.float32(30.0) * np.float32(mask[y, x]) * min(max(z, -top), top)


@dataclass(frozen=True, slots=True)
class View:
    """An image made ready for the search. It lives in its scratch, until that is used for another image."""

    flat: F32
    """Image with local contrast normalised, no unit."""
    mask: U8
    """Field of view: 1 inside, 0 outside, no unit."""
    scratch: Scratch
    """Work arrays of the search."""


def view_of(image: U8, scratch: Scratch | None = None) -> View:
    """Make an image (rows, columns) uint8 ready for the search of every family of lines."""
    scratch = scratch or Scratch()
    mask = field_of_view(image)
    return View(normalised(image, mask, scratch), mask, scratch)


def find_lines(
    view: View, *, from_right: bool, steep: bool, angle_rad: tuple[float, float], from_top: bool = False
) -> list[Line]:
    """Find candidates of one family, best first, in px of the image.

    from_right: the needle enters at the right or comes down from the right, and the image is mirrored. steep: strips
    are rows (for more than 45 degrees) instead of columns. angle_rad: (low, high) of the angle below the horizontal,
    0 to pi/2, after mirroring. from_top: lines by columns begin at the top of the image instead of its side.
    """
    flat, mask, scratch = view.flat, view.mask, view.scratch
    if from_right:
        flat = cv2.flip(flat, 1, dst=scratch.exactly("mirrored", flat.shape))
        mask = cv2.flip(mask, 1)
    columns = np.flatnonzero(mask.mean(0) > 0.25)
    rows = np.flatnonzero(mask.mean(1) > 0.1)
    low, high = angle_rad
    if steep:
        low, high = max(math.pi / 2 - high, 0.0), min(math.pi / 2 - low, math.radians(46))
    else:
        low, high = max(low, math.radians(5)), min(high, math.radians(46))
    if len(columns) < 40 or len(rows) < 40 or low >= high:
        return []
    c0, c1, r0, r1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    if steep:
        T, inside, x0, x1 = flat, mask, r0, r1
        first_row, last_row = c0 - 0.5 * (c1 - c0), c0 + 0.75 * (c1 - c0)
    else:
        T, inside, x0, x1 = flat.T, mask.T, c0, c1
        first_row, last_row = r0 - 6.0, r0 + 0.62 * (r1 - r0)
        if from_top:  # where they would have crossed the side: above the image
            first_row, last_row = r0 - 0.8 * (c1 - c0) * math.tan(high), float(r0)
    strips = (x1 - x0) // STRIP
    pad = STRIP + 2
    padded = scratch.exactly(f"padded {steep}", (T.shape[0], T.shape[1] + 2 * pad))
    padded[:, pad:-pad] = T
    padded[:, :pad], padded[:, -pad:] = T[:, :1], T[:, -1:]
    slopes = np.tan(np.arange(low, high + math.radians(2), math.radians(2)))
    fine = np.tan(np.arange(low, high + 1e-9, math.radians(0.75)))
    P = scratch.exactly(f"P {steep}", (len(slopes), strips, T.shape[1]))
    strip_means(padded, x0, STRIP, slopes, pad, P)
    Z = scratch.exactly(f"Z {steep}", P.shape)
    whitened_ridges(P, *LAGS, Z)
    middle = slice(x0 + STRIP // 2, x0 + strips * STRIP, STRIP)
    lines = np.zeros((MAX_LINES, 5))
    n = best_lines(Z, np.ascontiguousarray(inside[middle]), STRIP, slopes, fine, first_row, last_row, lines)
    width = mask.shape[1]
    found = (_to_line(row, x0, width, from_right=from_right, steep=steep) for row in lines[:n])
    weighed = (_weigh_entry(line, float(r0), float(c1 - c0)) for line in found)
    return sorted((line for line in weighed if line is not None), key=lambda line: -line.score)


def _weigh_entry(line: Line, top: float, width: float) -> Line | None:
    """Lower the score of a line that would pierce the skin far outside the image. None if it is too far.

    A needle pierces the skin near the probe. A line that does so far away is bone or fascia.
    """
    # chosen: beyond 0.7 image widths it is no needle, beyond 0.35 it costs 3 per width
    outside = (line.entry_px[1] - top) / max(abs(math.tan(line.angle_rad)), 0.05) / width
    if outside > 0.7:
        return None
    return replace(line, score=line.score - 3.0 * max(0.0, outside - 0.35))


def _to_line(row: NDArray[np.float64], x0: int, width: int, *, from_right: bool, steep: bool) -> Line:
    score, y, m, first, tip = row.tolist()
    a, b = first * STRIP, (tip + 1) * STRIP
    entry, end = (x0 + a, y + m * a), (x0 + b, y + m * b)
    if steep:
        entry, end = (entry[1], entry[0]), (end[1], end[0])
    if from_right:
        entry, end = (width - 1 - entry[0], entry[1]), (width - 1 - end[0], end[1])
    return Line(entry, end, math.atan2(end[1] - entry[1], end[0] - entry[0]), score)
