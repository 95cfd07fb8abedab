"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from sonosteer.viz.plots import AMBER, BLUE, GREEN, GREY, STYLE, _figure, _svg

PARTS = {"score": BLUE, "giou": AMBER, "l1": GREEN, "visible": GREY}


def plot_training(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Left: parts of the loss; right: tip error on validation crops. log: a mapping a look, with samples."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1, 2, 3.0)
        left, right = axes[0, 0], axes[0, 1]
        x = [line["samples"] / 1000 for line in log]
        for part, colour in PARTS.items():
            if log and part in log[0]:
                left.plot(x, [line[part] for line in log], color=colour, lw=1.4, label=part)
        left.set(xlabel="thousand samples", ylabel="loss", title="Parts of the loss, mean of 100 steps")
        left.set_yscale("log")
        for key, colour, name in (
            ("mean_mm", BLUE, "mean"),
            ("median_mm", GREEN, "median"),
            ("seen_mean_mm", AMBER, "mean where the tip is seen"),
        ):
            right.plot(x, [line[key] for line in log], color=colour, lw=1.4, label=name)
        right.set(xlabel="thousand samples", ylabel="tip error (mm)", title="Validation crops")
        right.set_ylim(bottom=0)
        for axis in (left, right):
            axis.set_xlim(left=0)
            axis.legend(fontsize=8)
        path.write_text(_svg(figure))
