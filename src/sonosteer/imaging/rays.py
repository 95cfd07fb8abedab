"""Scores bright ridges along rays across the needle.

K. Mathiassen, D. Dall'Alba, R. Muradore, P. Fiorini, O. J. Elle, "Robust Real-Time Needle Tracking in 2-D Ultrasound
Images Using Statistical Filtering", IEEE Trans. Control Systems Technology 25(3), 2017, Section II-A, Algorithm 1,
lines 2 to 13.

| symbol | name here | unit |
| --- | --- | --- |
| v_n, v_p | (cos, sin) of `angle_rad`; v_p is v_n turned so that it points deeper | no unit |
| r_k | `rays_px[k]`, position of ray k along v_n from the anchor | px |
| y | position across the needle, -half..half | px |
| s | `s`, pixels averaged on each side of a ray | px |
| w_max | `w - 1` | px |

| R(r_k, y) | `R`, mean along v_n | grey levels |
| S(r_k, y) | `S`, score of a ridge | grey levels |

Departs from the paper: all trial angles read one region, which is resampled once (bilinear) at the middle of the range.
A trial angle d shifts column u of it by u tan(d) (linear). The paper resamples the image for every angle, which costs
twenty times more for the same axis. A test compares both.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, U8


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def bilinear(image: U8, x: float, y: float) -> float:
    """Image at (x, y), which lies inside it."""
    ix, iy = np.uint32(x), np.uint32(y)
    fx, fy = np.float32(x - ix), np.float32(y - iy)
    p, q = np.float32(image[iy, ix]), np.float32(image[iy, ix + 1])
    r, s = np.float32(image[iy + 1, ix]), np.float32(image[iy + 1, ix + 1])
    p += fx * (q - p)
    r += fx * (s - r)
    return float(p + fy * (r - p))


@njit(cache=True, nogil=True, fastmath=True)
def steps_inside(start: float, step: float, size: int, first: int, last: int) -> tuple[int, int]:
    """Range of i in first..last for which start + i step surely lies between 0 and size - 1."""
    low, high = 0.01, size - 1.02
    if abs(step) < 1e-9:
        return (first, last) if low <= start <= high else (first, first)
    a, b = (low - start) / step, (high - start) / step
    i, j = math.ceil(min(a, b)), math.floor(max(a, b)) + 1
    i = min(max(i, first), last)
    return i, max(min(j, last), i)


@njit(cache=True, nogil=True, fastmath=True)
def bilinear_line(image: U8, x: float, y: float, dx: float, dy: float, out: F32, first: int, last: int) -> None:
    """out[i] = image at (x + i dx, y + i dy) for first <= i < last. Outside the image its border repeats."""
    rows, columns = image.shape
    ax, bx = steps_inside(x, dx, columns, first, last)
    ay, by = steps_inside(y, dy, rows, first, last)
    a, b = max(ax, ay), min(bx, by)
    b = max(a, b)
    x_max, y_max = columns - 1.001, rows - 1.001
    for i in range(first, a):
        out[i] = bilinear(image, min(max(x + i * dx, 0.0), x_max), min(max(y + i * dy, 0.0), y_max))
    for i in range(a, b):
        out[i] = bilinear(image, x + i * dx, y + i * dy)
    for i in range(b, last):
        out[i] = bilinear(image, min(max(x + i * dx, 0.0), x_max), min(max(y + i * dy, 0.0), y_max))


@njit(cache=True, nogil=True, fastmath=True)
def sample_rays(
    image: U8,
    x0: float,
    y0: float,
    angle_rad: float,
    deeper: float,
    rays_px: F32,
    n_rays: int,
    s: int,
    reach: int,
    slope_max: float,
    out: F32,
) -> None:
    """Fill out[k, i, reach + y] with the image at anchor + (r_k + i - s) v_n + y v_p.

    deeper: +1 or -1, the sign of v_p (see `across_sign`). Only |y| <= half-range that the steepest trial
    slope can ask for is filled. out: (rays, 2 s + 1, 2 reach + 1) float32.
    """
    c, n = math.cos(angle_rad), math.sin(angle_rad)
    px, py = -n * deeper, c * deeper
    full = out.shape[2] // 2
    for k in range(n_rays):
        half = min(full, reach + math.ceil((rays_px[k] + s) * slope_max) + 1)
        for i in range(2 * s + 1):
            u = rays_px[k] + i - s
            bilinear_line(
                image,
                x0 + u * c - full * px,
                y0 + u * n - full * py,
                px,
                py,
                out[k, i],
                full - half,
                full + half + 1,
            )


@njit(cache=True, nogil=True, fastmath=True)
def ray_scores(region: F32, rays_px: F32, n_rays: int, s: int, w: int, half: int, slope: float, R: F32, S: F32) -> None:
    """Score the rays of one trial angle: S[k, half + y] for |y| <= half.

    Eqs. (3) to (5) telescope: S = S_lag - S_lead - |S_lag + S_lead| = 2 min(R(y) - R(y - w), R(y) - R(y + w)) with
    w = w_max + 1. R: (2 (half + w) + 1,) scratch. S: (rays, 2 half + 1).
    """
    size = 2 * (half + w) + 1
    twice_mean = np.float32(2.0 / (2 * s + 1))
    full = region.shape[2] // 2
    for k in range(n_rays):
        for y in range(size):
            R[y] = 0.0
        for i in range(2 * s + 1):  # Eq. (1), along the trial direction
            shift = (rays_px[k] + i - s) * slope
            whole = math.floor(shift)
            f = np.float32(shift - whole)
            g = np.float32(1.0) - f
            start = full - half - w + int(whole)
            here, next_ = region[k, i, start:], region[k, i, start + 1 :]
            for y in range(size):  # slices let the compiler see plain indices and vectorise
                R[y] += g * here[y] + f * next_[y]
        middle, behind, score = R[w:], R[2 * w :], S[k]
        for y in range(2 * half + 1):  # Eqs. (2) to (5), telescoped
            m = middle[y]
            score[y] = twice_mean * min(m - R[y], m - behind[y])


def across_sign(angle_rad: float) -> float:
    """Sign that makes v_p = sign (-sin, cos) point deeper, for needles from either side."""
    return 1.0 if math.cos(angle_rad) >= 0 else -1.0
