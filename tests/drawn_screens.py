"""Scanners' screens drawn by hand: speckle, sectors, menus, grey wedges, rulers."""

from __future__ import annotations

import cv2
import numpy as np

MENU = ("B 62", "Frq 10.0 MHz", "Gain 58", "Depth 3.5 cm", "FR 23 Hz", "DR 66", "MI 1.1", "TIs 0.2")


def speckle(height, width, seed=0, mean=85.0):
    """(height, width) ultrasound without structure. Lateral grain is wider than axial."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), sigmaX=3.0, sigmaY=1.4)
    return np.clip(mean + 30 * grain / grain.std(), 8, 250).astype(np.uint8)


def screen_of(size, picture, left, top, ground=0):
    """A screen of (height, width) with a picture on it."""
    out = np.full(size, ground, np.uint8)
    out[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return out


def sector_of(size, apex, radii, half_deg):
    """(height, width) 255 in a sector round an apex (x, y)."""
    y, x = np.mgrid[: size[0], : size[1]]
    r = np.hypot(x - apex[0], y - apex[1])
    angle = np.degrees(np.arctan2(x - apex[0], y - apex[1]))
    return np.where((r >= radii[0]) & (r <= radii[1]) & (np.abs(angle) <= half_deg), 255, 0).astype(np.uint8)


def write_menu(screen, x, y, grey=200, lines=MENU, step=22, size=0.5):
    """Write a column of short texts."""
    for k, text in enumerate(lines):
        cv2.putText(screen, text, (x, y + k * step), cv2.FONT_HERSHEY_SIMPLEX, size, grey, 1, cv2.LINE_AA)


def draw_wedge(screen, x, y, width=14, height=120):
    """Draw a grey wedge."""
    screen[y : y + height, x : x + width] = np.linspace(250, 10, height).astype(np.uint8)[:, None]


def draw_ruler(screen, x, first, spacing, count, *, every=0, dots=False, missing=(), grey=220, radius=2):
    """Draw ticks or dots in a column, at whole pixels as scanners do. Each `every`-th is larger."""
    for k in range(count):
        if k in missing:
            continue
        y, large = round(first + k * spacing), every > 0 and k % every == 0
        if dots:
            cv2.circle(screen, (x, y), radius + 2 * large, grey, -1, cv2.LINE_AA)
        else:
            cv2.line(screen, (x, y), (x + (14 if large else 7), y), grey, 1)
