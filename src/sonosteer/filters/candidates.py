"""Chooses the peak of h(x) that is most likely the tip.

Source: Mathiassen et al. 2017 (full reference in `kalman.py`), Sections II-C1 and II-C2, Eqs. (12) to (18).

| symbol | name here | unit |
| --- | --- | --- |
| J, j_i | indices of the local maxima of h within M | px |
| x-bar_k | `predicted_px`, the filter's prediction | px |
| sigma | `sigma_px`, how far from the prediction a tip may be | px |
| R_k, R_MIN | variance of the chosen measurement, its smallest value `r_min` | px^2 |
| P(z_k given x-bar_k) | `probability` | no unit, 0 to 1 |

Departs from the paper: h is shifted by its minimum over the range, so that Eq. (16) is a probability.

Eq. (15) as printed is no probability of the prediction: it falls with the distance of x-bar from x = 0, so that P may
exceed 1 and R_k fall below R_MIN, which Section II-C2 calls the smallest possible. `Evidence` names the other readings.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: how P(x-bar_k) of Eq. (13) is read. published: Eq. (15) as printed. capped: the same, with P at most 1, so that R_k
#: is never below R_MIN. total: the sum over all candidates, so that their probabilities add up to 1.
Evidence: TypeAlias = Literal["published", "capped", "total"]


@njit(cache=True, nogil=True)
def select_candidate(
    h: NDArray[np.float32], first: int, last: int, M: int, predicted_px: float, sigma_px: float, of_total: bool = False
) -> tuple[int, float]:
    """Return (z_k, P(z_k | x-bar_k)) over the candidates in first <= x < last, or (-1, 0) if there is none.

    of_total: P(x-bar_k) is the sum over the candidates instead of Eq. (15).
    """
    low = h[first]
    for x in range(first, last):
        low = min(low, h[x])
    total, best, chosen, together = 0.0, -1.0, -1, 0.0
    for x in range(first, last):
        peak = True
        for i in range(max(first, x - M), min(last, x + M + 1)):  # Eq. (12)
            if h[i] > h[x]:
                peak = False
                break
        if not peak:
            continue
        prior = h[x] - low  # Eq. (16), numerator
        total += prior  # Eq. (16), denominator
        d = (x - predicted_px) / sigma_px
        likelihood = prior * math.exp(-0.5 * d * d)  # Eq. (14), times (16): numerator of Eq. (13)
        together += likelihood
        if likelihood > best:  # Eq. (17)
            best, chosen = likelihood, x
    if chosen < 0 or total <= 0.0:
        return -1, 0.0
    if of_total:
        return (chosen, best / together) if together > 0.0 else (-1, 0.0)
    evidence = math.exp(-0.5 * (predicted_px / sigma_px) ** 2)  # Eq. (15); 1/(sigma sqrt(2 pi)) cancels
    return chosen, best / total / evidence  # Eq. (13)


def measurement_variance(r_min: float, probability: float) -> float:
    """Variance of the chosen measurement: an unlikely one is trusted less."""
    return r_min / probability  # Eq. (18)
