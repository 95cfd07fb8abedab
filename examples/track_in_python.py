"""Track a clip from Python, without files: simulate, track, compare with the truth.

Run: .venv/bin/python examples/track_in_python.py
For a clip of your own: track("clip.mp4", spacing_mm=0.1).
"""

from __future__ import annotations

from sonosteer import Lost, evaluate, simulate, track


def main() -> float:
    """Print every tenth frame; return the mean tip error in mm."""
    clip = simulate("in-plane-linear", seed=7)
    result = track(clip)  # nothing is told of the needle; enters="left" starts from a single image
    for estimate in result.estimates[::10]:
        said = f"{estimate.time_s:5.2f} s  {estimate.state.value:9}"
        if isinstance(estimate, Lost):
            print(f"{said} {estimate.reason}")
        else:
            x, y = result.tip_mm[estimate.frame_index]
            print(f"{said} tip at {x:.1f}, {y:.1f} mm, claimed sd {estimate.sd_along_mm:.2f} mm along")
    errors = evaluate(result)
    print(f"mean tip error {errors.mean_mm:.2f} mm over {errors['tracked']} frames")
    return errors.mean_mm


if __name__ == "__main__":
    main()
