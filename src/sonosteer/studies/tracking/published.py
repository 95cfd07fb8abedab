"""Figures that Mathiassen et al. 2017 published: Tables I and III to VI, and what the text says of them.

Source: Mathiassen et al. 2017 (full reference in `trackers/mathiassen2017.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, deviation and percentiles of an error that has a sign. deg for an angle, mm for a place."""

    mean: float
    """Mean error over all frames, deg or mm."""
    sd: float
    """Standard deviation, deg or mm."""
    low: float
    """2.5th percentile, deg or mm."""
    high: float
    """97.5th percentile, deg or mm."""
    not_zero: float = 0.0
    """Fraction of the runs, 0 to 1, in which the mean differs from 0 at 0.001. Without runs 0 or 1."""


@dataclass(frozen=True, slots=True)
class Size:
    """Mean, deviation and percentile of an error that is never negative."""

    mean: float
    """Mean error over all frames, deg or mm."""
    sd: float
    """Standard deviation, deg or mm."""
    p95: float
    """95th percentile, deg or mm."""


@dataclass(frozen=True, slots=True)
class PublishedErrors:
    """A row of Table III."""

    etheta: Spread
    """e_theta, deg."""
    etheta_abs: Size
    """|e_theta|, deg."""
    e: Size
    """||e||, mm."""
    en: Spread
    """e_n, mm."""
    ep: Spread
    """e_p, mm."""


_RAW_ANGLE = Spread(-0.06, 1.95, -4.71, 2.79), Size(1.48, 1.26, 3.92)
_NO_FEEDBACK = Spread(-0.04, 0.63, -0.88, 1.23)
TABLE_III: dict[str, PublishedErrors] = {
    "df": PublishedErrors(
        Spread(-2.66, 3.58, -8.99, 2.41, 1),
        Size(3.33, 2.96, 8.67),
        Size(13.75, 10.09, 33.68),
        Spread(9.32, 13.43, -17.59, 37.44, 1),
        Spread(-0.98, 4.77, -15.76, 6.95, 1),
    ),
    "om": PublishedErrors(
        Spread(0.06, 2.20, -5.11, 3.49),
        Size(1.67, 1.44, 4.44),
        Size(3.55, 6.23, 17.21),
        Spread(-0.13, 7.14, -21.32, 10.33),
        _NO_FEEDBACK,
    ),
    "om+f": PublishedErrors(
        Spread(-0.02, 2.16, -6.07, 3.36),
        Size(1.51, 1.54, 4.48),
        Size(3.13, 5.99, 19.33),
        Spread(-0.42, 6.70, -22.74, 8.07),
        Spread(-0.03, 0.79, -0.76, 1.29),
    ),
    "kf": PublishedErrors(*_RAW_ANGLE, Size(1.81, 1.61, 5.42), Spread(1.16, 2.03, -1.99, 6.20, 1), _NO_FEEDBACK),
    "kf+f": PublishedErrors(
        Spread(-0.02, 1.73, -5.04, 2.38),
        Size(1.21, 1.23, 3.75),
        Size(1.68, 1.72, 5.54),
        Spread(1.16, 2.01, -1.53, 6.22, 1),
        Spread(0.00, 0.63, -0.63, 1.14),
    ),
    "pf": PublishedErrors(*_RAW_ANGLE, Size(2.68, 2.92, 8.81), Spread(2.33, 3.15, -1.34, 10.32, 1), _NO_FEEDBACK),
    "pf+f": PublishedErrors(
        Spread(0.10, 1.74, -4.96, 2.66, 4 / 50),
        Size(1.23, 1.23, 3.89),
        Size(2.64, 3.03, 8.66),
        Spread(2.43, 3.14, -0.92, 10.55, 1),
        Spread(-0.03, 0.65, -0.69, 1.19, 3 / 50),
    ),
    "kfv": PublishedErrors(*_RAW_ANGLE, Size(0.94, 0.74, 2.12), Spread(0.04, 1.01, -1.62, 2.11), _NO_FEEDBACK),
    "kfv+f": PublishedErrors(
        Spread(-0.23, 1.63, -4.48, 2.16),
        Size(1.17, 1.16, 3.57),
        Size(0.82, 0.76, 2.17),
        Spread(0.02, 0.92, -1.39, 2.22),
        Spread(0.05, 0.63, -0.56, 1.01),
    ),
    "pfv": PublishedErrors(*_RAW_ANGLE, Size(1.69, 2.26, 7.66), Spread(0.94, 2.58, -3.17, 8.80, 1), _NO_FEEDBACK),
    "pfv+f": PublishedErrors(
        Spread(-0.12, 1.70, -5.09, 2.35, 12 / 50),
        Size(1.20, 1.22, 3.51),
        Size(1.81, 2.32, 7.21),
        Spread(0.75, 2.76, -4.84, 8.32, 47 / 50),
        Spread(0.01, 0.66, -0.69, 1.14),
    ),
    "optical": PublishedErrors(
        Spread(-2.89, 7.14, -18.21, 14.94, 1),
        Size(6.26, 4.49, 15.20),
        Size(3.89, 2.89, 9.33),
        Spread(-1.24, 1.61, -4.61, 1.12, 1),
        Spread(1.46, 4.15, -8.80, 8.63, 1),
    ),
}
#: Tables IV and V above their diagonals: row -> arrows against the methods after it, in the order of TABLE_III. In
#: Table V our copy of the paper has an arrow up for PF (3.15) against PF+F (3.14), which no F-test of 1,390 frames can
#: give. Its lower triangle is damaged there. It stands here as no difference.
TABLE_IV_ARROWS: dict[str, str] = {
    "df": "↑↑↑↑↑↑↑↑↑↑↓",
    "om": "-↑↑↑↑↑↑↑↑↓",
    "om+f": "↑↑↑↑↑↑↑↑↓",
    "kf": "↑-↑-↑-↑↓",
    "kf+f": "↓-↓-↓-↓",
    "pf": "↑-↑-↑↓",
    "pf+f": "↓-↓-↓",
    "kfv": "↑-↑↓",
    "kfv+f": "↓-↓",
    "pfv": "↑↓",
    "pfv+f": "↓",
}
TABLE_V_ARROWS: dict[str, str] = {
    "df": "↑↑↑↑↑↑↑↑↑↑↑",
    "om": "-↑↑↑↑↑↑↑↑↑",
    "om+f": "↑↑↑↑↑↑↑↑↑",
    "kf": "-↓↓↑↑↓↓↑",
    "kf+f": "↓↓↑↑↓↓↑",
    "pf": "-↑↑↑↑↑",
    "pf+f": "↑↑↑↑↑",
    "kfv": "↑↓↓↓",
    "kfv+f": "↓↓↓",
    "pfv": "-↑",
    "pfv+f": "↑",
}
#: mean and largest time per frame in ms, on an Intel Core i7 M620
TABLE_VI: dict[str, tuple[float, float]] = {
    "df": (3.55, 4.61),
    "om": (26.13, 27.35),
    "om+f": (25.73, 26.20),
    "kf": (26.13, 27.19),
    "kf+f": (25.71, 27.69),
    "pf": (26.09, 27.16),
    "pf+f": (25.68, 26.19),
    "kfv": (26.33, 27.25),
    "kfv+f": (25.91, 28.23),
    "pfv": (26.31, 27.42),
    "pfv+f": (25.89, 26.30),
}
#: Table I, validation: insertions, frames, mean length of needle in the first and in the last image, mm
TABLE_I = {"insertions": 18, "frames": 1390, "start_mm": 11.0, "stop_mm": 42.3}
#: Section V-A: fall against OM in %, of the 95th percentile of ||e||, of its SD, of the SD of e_n
REDUCTIONS: dict[str, tuple[float, float, float]] = {
    "kf": (68.5, 74.2, 71.9),
    "kf+f": (67.8, 72.6, 71.6),
    "kfv": (87.7, 88.1, 85.6),
    "kfv+f": (87.4, 87.8, 87.1),
}
#: Section V-A1: fraction of the frames with |e_p| below 1 mm. DF exactly, all other methods more than
WITHIN_1_MM = {"df": 0.622, "others": 0.95}
#: Fig. 5: fraction of the frames with |e_n| up to 5 mm
WITHIN_5_MM = {"om": 0.752, "kf+f": 0.95, "kfv+f": 0.999}
#: orders in the SD of e_n that the paper found significant at 0.001: (smaller, larger)
ORDER = (("kfv+f", "kf+f"), ("kf+f", "pf+f"), ("pf+f", "om"), ("om", "df"))
PAPER_FRAMES = 1390
PEARSON_R = -0.94
