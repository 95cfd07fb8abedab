"""Table I of Zhang et al. 2026 as printed: AUC and P in percent, Err and SD in mm, for IPS, IPM and their mean."""

from __future__ import annotations

ScoreRow = tuple[float, float, float, float]

#: method -> (IPS, IPM, mean), each (AUC, P, Err, SD)
ZHANG2026_TABLE_1: dict[str, tuple[ScoreRow, ScoreRow, ScoreRow]] = {
    "siamrpn++": ((45.0, 60.1, 5.55, 3.19), (60.2, 76.3, 4.10, 3.64), (51.4, 66.9, 4.90, 3.41)),
    "siamcar": ((53.1, 71.0, 4.87, 3.28), (60.4, 83.3, 3.38, 3.09), (56.2, 76.2, 4.27, 3.21)),
    "siamban": ((53.0, 72.7, 4.75, 3.30), (65.4, 92.0, 4.13, 2.99), (58.2, 80.8, 4.50, 3.19)),
    "swintrack": ((49.6, 70.6, 4.99, 3.37), (65.8, 94.0, 3.41, 2.93), (56.4, 80.4, 4.37, 3.09)),
    "stmtrack": ((52.1, 74.1, 4.96, 3.20), (64.3, 92.5, 3.17, 3.03), (57.2, 81.9, 4.16, 2.98)),
    "mixformer": ((57.9, 77.0, 4.32, 2.77), (68.0, 93.9, 3.01, 2.73), (62.1, 84.1, 3.79, 2.77)),
    "lorat": ((59.7, 79.0, 3.82, 2.55), (65.1, 93.7, 2.73, 2.68), (62.0, 85.2, 3.37, 2.62)),
    "vla": ((60.3, 84.0, 3.45, 1.92), (67.9, 95.5, 2.29, 1.98), (63.5, 88.9, 3.01, 2.20)),
}

#: ablation -> mean (AUC, P, Err, SD). The other register's length is lost from the text
ABLATIONS: dict[str, ScoreRow] = {
    "default": (63.5, 88.9, 3.01, 2.20),
    "another register length": (63.7, 88.5, 3.10, 2.19),
    "no register": (62.8, 86.1, 3.18, 2.10),
    "only shallow": (62.1, 86.4, 3.49, 2.62),
    "only deep": (61.7, 87.0, 3.32, 2.95),
}
