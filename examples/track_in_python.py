"""Track a clip from Python, without files: simulate, track, compare with the truth.

Run: .venv/bin/python examples/track_in_python.py
Put `open_source("your clip.mp4", spacing=Spacing(0.1, 0.1))` in place of the simulation for your own.
"""

from __future__ import annotations

import math

from sonosteer import Hint, Lost, make_tracker
from sonosteer.sources.simulated import SimulatedSource


def main() -> float:
    """Print every tenth frame; return the mean tip error in mm."""
    source = SimulatedSource("in-plane-linear", seed=7)
    assert source.info.spacing is not None
    tracker = make_tracker("auto")
    tracker.prepare()  # compile beforehand, so that no frame waits
    state = tracker.start(Hint())  # nothing given; Hint(enters="left") starts from a single image
    errors = []
    for frame in source.frames():
        state, estimate = tracker.step(state, frame)
        truth = source.truth(frame.index)
        if isinstance(estimate, Lost) or truth.tip_px is None:
            said = getattr(estimate, "reason", "no needle")
        else:
            errors.append(source.info.spacing.x_mm * math.dist(estimate.tip_px, truth.tip_px))
            said = f"tip off by {errors[-1]:.2f} mm, claimed sd {estimate.sd_along_mm:.2f} mm along"
        if frame.index % 10 == 0:
            print(f"{frame.time_s:5.2f} s  {estimate.state.value:9} {said}")
    mean = sum(errors) / len(errors)
    print(f"mean tip error {mean:.2f} mm over {len(errors)} frames")
    return mean


if __name__ == "__main__":
    main()
