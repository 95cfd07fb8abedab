"""The wires of a real phantom, found in a sequence of PLUS: nine dots in three rows, a probe that slides along it.

The drawing of that phantom is not in the folder. So the wires are drawn from every other picture, on the assumption
that the outer rows are 40 mm wide, and the remaining pictures are calibrated with it. The scale follows from that
assumption alone. The residual does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sonosteer.calibration.image import Wires

ROWS, BELOW_FACE_PX, WIDTH_MM = 3, 130, 40.0


@dataclass(frozen=True)
class Dots:
    px: np.ndarray
    wire: np.ndarray
    frame: np.ndarray


def dots_of(frames) -> Dots:
    """Bright blobs of the pictures that show just nine, three in each row."""
    px, frame = [], []
    for each in frames:
        smooth = cv2.GaussianBlur(each.grey(), (0, 0), 3.0)
        smooth[:BELOW_FACE_PX] = 0
        count, labels, stats, _ = cv2.connectedComponentsWithStats((smooth > 60).astype(np.uint8))
        found = []
        for j in range(1, count):
            if stats[j][cv2.CC_STAT_AREA] > 40:
                y, x = np.nonzero(labels == j)
                w = smooth[y, x].astype(float) ** 2
                found.append((np.sum(x * w) / w.sum(), np.sum(y * w) / w.sum()))
        at = np.array(sorted(found, key=lambda p: p[1])).reshape(-1, 2)
        rows = np.split(at, np.flatnonzero(np.diff(at[:, 1]) > 60) + 1)
        if [len(row) for row in rows] == [ROWS] * ROWS:
            px += [row[np.argsort(row[:, 0])] for row in rows]
            frame += [each.index] * 9
    return Dots(np.concatenate(px), np.tile(np.arange(9), len(frame) // 9), np.array(frame))


def drawn_from(dots: Dots, along_mm: np.ndarray) -> Wires:
    """Wires along y from the dots of some pictures. along_mm: (marks,) how far the probe had slid."""
    lines = []
    for k in range(9):
        own = dots.wire == k
        A = np.column_stack([np.ones(own.sum()), along_mm[own]])
        lines.append(np.linalg.lstsq(A, dots.px[own], rcond=None)[0])
    lines = np.array(lines)  # (9, 2, 2): place at 0, and its change per mm
    side = [0, 2, 3, 5, 6, 8]
    lines[:, 1] -= lines[side, 1].mean(axis=0)  # the outer wires are parallel to y
    mm = WIDTH_MM / np.mean([lines[2, 0, 0] - lines[0, 0, 0], lines[5, 0, 0] - lines[3, 0, 0]])
    ends = [mm * (lines[:, 0] + y * lines[:, 1]) for y in (-100.0, 0.0)]
    a, b = (np.column_stack([e[:, 0], np.full(9, y), -e[:, 1]]) for e, y in zip(ends, (-100.0, 0.0), strict=True))
    return Wires(tuple(f"{k // 3 + 1}-{('left', 'middle', 'right')[k % 3]}" for k in range(9)), a, b)
