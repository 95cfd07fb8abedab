"""A scene of one's own, from a recipe and from Python, and what its truth knows.

Run: .venv/bin/python examples/own_tissue_and_needle.py
The recipe also works on the command line: sonosteer simulate examples/own_tissue_and_needle.toml --out clip.mp4
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from sonosteer.needle.flexible import FlexibleNeedle, NeedleGeometry
from sonosteer.needle.tissue import Mechanics
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

RECIPE = Path(__file__).with_suffix(".toml")


def main() -> float:
    """Print what is known of some frames; return the deflection of a softer needle in mm."""
    scene = make_scene(str(RECIPE), seed=1)
    brighter = dataclasses.replace(scene, look=dataclasses.replace(scene.look, rough_db=30.0))
    for frame, truth in World(brighter).frames():
        if frame.index % 40 == 0 and truth.tip_px is not None:
            print(
                f"{frame.time_s:5.2f} s  tip {truth.tip_px[0]:.1f}, {truth.tip_px[1]:.1f} px, "
                f"{truth.visibility_db:.0f} dB over the tissue, {truth.axial_n:.1f} N at the base"
            )

    # mechanics alone: a softer needle in a tissue of two layers with a membrane between them
    tissue = Mechanics(layers=((0.0, 0.02, 0.3), (30.0, 0.08, 0.8)), membranes=((30.0, 1.5),))
    needle = FlexibleNeedle(NeedleGeometry(bending_stiffness=8e3), tissue, np.random.default_rng(0))
    for depth in np.arange(0.5, 100.5, 0.5):
        state = needle.step(float(depth), roll_rad=0.0, time_s=depth / 5)
    deflection = float(np.hypot(*state.tip_mm[1:]))
    print(f"a softer needle is {deflection:.1f} mm off its axis at {state.inserted_mm:.0f} mm")
    return deflection


if __name__ == "__main__":
    main()
