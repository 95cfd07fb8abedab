"""Learning curves of a network: parts of its loss, and its errors on what was held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from sonosteer.viz.plots import AMBER, BLUE, GREEN, MID_GREY, PLOT_STYLE, _figure, _svg, standalone

Curves = Mapping[str, tuple[str, str]]
MIN_LOSS = 1e-6  # of a loss on a logarithmic axis
TRACKING_PARTS = {"score": BLUE, "giou": AMBER, "l1": GREEN, "visible": MID_GREY}
TIP_CURVES: Curves = {
    "mean_mm": (BLUE, "mean"),
    "median_mm": (GREEN, "median"),
    "seen_mean_mm": (AMBER, "mean where the tip is seen"),
}
POLICY_PARTS = {"insertion": BLUE, "probe": GREEN, "turn": AMBER, "stop": MID_GREY, "text": BLUE}
ACTION_CURVES: Curves = {
    "insertion_mm_s": (BLUE, "insertion speed (mm/s)"),
    "probe_mm_s": (GREEN, "probe speed (mm/s)"),
    "turn_deg": (AMBER, "turn (deg)"),
}


DETECTOR_PARTS = {"shaft": BLUE, "tip": AMBER, "direction": GREEN, "visible": MID_GREY}
DETECTOR_CURVES: Curves = {
    "right": (GREEN, "tip within 2 % of the picture"),
    "near": (AMBER, "within 5 %"),
    "told_apart": (BLUE, "needle told from none"),
}


def plot_detector(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Of a detector. log: a mapping a look, with samples."""
    _plot(log, path, DETECTOR_PARTS, DETECTOR_CURVES, "fraction", "Validation stills")


def plot_reliability(reliability: Mapping[str, Any], path: Path) -> None:
    """Stated probability against the share that was right, for each kind of look (`detector_calibration`)."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 1, 3.2)
        axis = axes[0, 0]
        axis.plot([0, 1], [0, 1], color=MID_GREY, lw=1.0, ls="--", label="calibrated")
        for (look, said), colour in zip(reliability.items(), (BLUE, AMBER, GREEN), strict=False):
            stated, right = [b[0] for b in said["bins"]], [b[1] for b in said["bins"]]
            axis.plot(stated, right, "o-", color=colour, lw=1.2, ms=3.5, label=f"{look}: {said['number']} needles")
        axis.set(xlabel="stated probability", ylabel="share that was right", xlim=(0, 1), ylim=(0, 1))
        axis.set_title("Reliability on scanners it was not fitted on")
        axis.legend(fontsize=8)
        path.write_text(standalone(_svg(figure)))


def plot_training(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Of a tracking network. log: a mapping a look, with samples."""
    _plot(log, path, TRACKING_PARTS, TIP_CURVES, "tip error (mm)", "Validation crops")


def plot_policy(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Of a policy. log: a mapping a look, with samples."""
    _plot(log, path, POLICY_PARTS, ACTION_CURVES, "mean error", "Validation moments")


def _plot(
    log: Sequence[Mapping[str, Any]], path: Path, parts: Mapping[str, str], errors: Curves, said: str, title: str
) -> None:
    """Left: parts of the loss. Right: errors on what was held back."""
    with mpl.rc_context(PLOT_STYLE):
        figure, axes = _figure(1, 2, 3.0)
        left, right = axes[0, 0], axes[0, 1]
        x = [line["samples"] / 1000 for line in log]
        for part, colour in parts.items():
            if log and part in log[0]:
                left.plot(x, [max(line[part], MIN_LOSS) for line in log], color=colour, lw=1.4, label=part)
        left.set(xlabel="thousand samples", ylabel="loss", title="Parts of the loss, mean of 100 steps")
        left.set_yscale("log")
        for key, (colour, name) in errors.items():
            right.plot(x, [line[key] for line in log], color=colour, lw=1.4, label=name)
        right.set(xlabel="thousand samples", ylabel=said, title=title)
        right.set_ylim(bottom=0)
        for axis in (left, right):
            axis.set_xlim(left=0)
            axis.legend(fontsize=8)
        path.write_text(standalone(_svg(figure)))
