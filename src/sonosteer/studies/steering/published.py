"""Figures that Carriere et al. 2019 published in their tables."""

from __future__ import annotations

#: Carriere et al. 2019, Table 1 (mean and SD over 10 trials), Table 2 (maxima), Table 3 (ms)
TABLE_1 = {
    "porcine": ("0.40 ± 0.24", "0.25 ± 0.06", "174 ± 86"),
    "bovine": ("0.51 ± 0.14", "0.31 ± 0.08", "177 ± 84"),
    "plastisol": ("0.48 ± 0.25", "0.30 ± 0.12", "137 ± 68"),
}
TABLE_2 = {"porcine": ("0.86", "306"), "bovine": ("0.69", "306"), "plastisol": ("0.90", "242")}
#: stage -> (name, mean ± SD, largest). "steer" is both of them and the limits around them. The paper has no such row
TABLE_3 = {
    "track": ("image processing", "36.0 ± 0.4", 40.0),
    "fit": ("parameter estimation", "1.6 ± 0.7", 6.3),
    "plan": ("control optimisation", "4.6 ± 1.9", 8.16),
    "steer": ("the whole controller", "", ""),
}
#: final and mean deflection over all 30 trials, mm: Section 6.2
OVERALL_FINAL_MM, OVERALL_MEAN_MM = 0.47, 0.27
#: what Fig. 7's text says: mean-squared error, mm, of the needle's shape from this inserted length on, mm
FIG_7_ERROR_MM, FIG_7_DEPTH_MM = 0.1, 40
