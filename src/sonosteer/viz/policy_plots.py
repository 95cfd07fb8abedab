"""Learning curves of a policy as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from sonosteer.viz.plots import AMBER, BLUE, GREEN, GREY, STYLE, _figure, _svg

PARTS = {"insertion": BLUE, "angle": AMBER, "probe": GREEN, "stop": GREY, "text": BLUE}


def plot_policy(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Left: parts of the loss; right: mean errors on validation moments. log: a mapping a look, with samples."""
    with mpl.rc_context(STYLE):
        figure, axes = _figure(1, 2, 3.0)
        left, right = axes[0, 0], axes[0, 1]
        x = [line["samples"] / 1000 for line in log]
        for part, colour in PARTS.items():
            if log and part in log[0]:
                left.plot(x, [max(line[part], 1e-6) for line in log], color=colour, lw=1.4, label=part)
        left.set(xlabel="thousand samples", ylabel="loss", title="Parts of the loss, mean of 100 steps")
        left.set_yscale("log")
        for key, colour, name in (
            ("insertion_mm_s", BLUE, "insertion speed (mm/s)"),
            ("probe_mm_s", GREEN, "probe speed (mm/s)"),
            ("angle_deg", AMBER, "angle (deg)"),
        ):
            right.plot(x, [line[key] for line in log], color=colour, lw=1.4, label=name)
        right.set(xlabel="thousand samples", ylabel="mean error", title="Validation moments")
        right.set_ylim(bottom=0)
        for axis in (left, right):
            axis.set_xlim(left=0)
            axis.legend(fontsize=8)
        path.write_text(_svg(figure))
