"""Figures that Zhang et al. 2026 published in Table II."""

from __future__ import annotations

#: Table II: success in percent and mean time in s: IPS, IPM, mean (ablations: mean only)
PAPER: dict[str, tuple[tuple[float, float] | None, tuple[float, float] | None, tuple[float, float]]] = {
    "ours": ((70.0, 12.1), (90.0, 23.9), (80.0, 17.3)),
    "manual": ((65.0, 17.1), (55.0, 31.0), (60.0, 23.2)),
    "weaker": (None, None, (75.0, 16.1)),
    "no register": (None, None, (72.5, 24.5)),
    "no async": (None, None, (67.5, 15.0)),
    "constant": (None, None, (70.0, 8.7)),
}
