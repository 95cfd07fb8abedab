"""Measures which way a shaft runs into its tip: brightness along rays from the tip back, less that beside them.

None of this is published. A tracker that knows only the tip has no axis. The shaft behind the tip gives the angle.
"""

from __future__ import annotations

import math

from numba import njit

from sonosteer.core.arrays import F32, U8


@njit(cache=True, nogil=True, fastmath=True)
def ray_contrast(image: U8, x: float, y: float, step_x: float, step_y: float, n: int, beside: float, out: F32) -> None:
    """out[k]: mean grey along the ray from (x, y) back against direction pi k / len(out), less that on both sides.

    Directions go from the image's +x over down to -x. step_x, step_y: px per step along x and y, so that rays are
    straight in millimetres. n: number of steps. beside: distance of the side rays in steps. out[k] is -1 where a ray
    leaves the image.
    """
    rows, columns = image.shape
    for k in range(len(out)):
        a = math.pi * k / len(out)
        c, s = math.cos(a), math.sin(a)
        total, seen = 0.0, 0
        for i in range(2, n):
            low = 1e9
            middle = 0.0
            for side in (-1, 0, 1):
                u = int(x + step_x * (-i * c - side * beside * s) + 0.5)
                v = int(y + step_y * (-i * s + side * beside * c) + 0.5)
                if u < 0 or v < 0 or u >= columns or v >= rows:
                    low = -1.0
                    break
                if side == 0:
                    middle = float(image[v, u])
                else:
                    low = min(low, -float(image[v, u])) if low < 1e9 else -float(image[v, u])
            if low == -1.0:
                break
            total += middle + low  # less the brighter side: an edge is no shaft
            seen += 1
        out[k] = total / seen if seen > n // 3 else -1.0
