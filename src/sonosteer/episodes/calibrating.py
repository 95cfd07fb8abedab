"""Calibrations from their tables to a verdict: what was found, how sure it is, and whether it may be used.

Nothing is read here but values that were read already, and nothing is written. `Outcome.calibration` is what the file
will hold. It may be used only if `Outcome.refused` is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sonosteer.calibration.guide import MIN_GUIDE_POINTS, GuideFit, fit_guide
from sonosteer.calibration.hand_eye import MIN_HAND_EYE_POSES, HandEyeFit, fit_hand_eye
from sonosteer.calibration.image import (
    MIN_IMAGE_POINTS,
    MIN_TURN_DEG,
    MIN_WIRE_FRAMES,
    ImageFit,
    Wires,
    fit_points,
    fit_wires,
    image_jacobian,
    wires_problem,
    worst_corner,
)
from sonosteer.calibration.lag import LagFit, fit_lag
from sonosteer.calibration.pivot import MIN_PIVOT_POSES, fit_pivot
from sonosteer.calibration.poses import axes_condition, turn_deg
from sonosteer.calibration.record import Calibration, rows_of, stored
from sonosteer.calibration.robust import RobustFit
from sonosteer.calibration.verdict import Bounds, check_fit, refusals
from sonosteer.core.arrays import F64
from sonosteer.core.errors import InputError
from sonosteer.core.frames import inverse_rigid
from sonosteer.core.geometry import Spacing

# chosen: a tracker's 0.25 mm and 2 mrad at 200 mm give 0.5 mm. Twice that is a stylus that bends or slips
PIVOT_BOUNDS = Bounds(max_rms=1.0, max_sd=0.5)
# chosen: half of a slice of 3 mm, and half of the 2 mm that needles are aimed with
IMAGE_BOUNDS = Bounds(max_rms=1.5, max_sd=1.0)
WIRE_BOUNDS = Bounds(max_rms=1.0, max_sd=1.0)  # chosen: dots are marked in the plane, where a slice is not thick
ROBOT_BOUNDS = Bounds(max_rms=1.0, max_sd=0.5)  # chosen: as a pivot, a robot adds little
GUIDE_BOUNDS = Bounds(max_rms=1.0, max_sd=0.5)  # chosen: a rigid needle is seen within its own width of 1 mm
# chosen: 5 ms at 25 mm/s are 0.13 mm. The residual is told as a fraction of the motion, which must be explained
CLOCK_BOUNDS = Bounds(max_rms=0.3, max_sd=0.005, unit="fraction", sd_unit="s", max_condition=1000.0)
LONGEST_MM = 400.0  # chosen: the longest stylus and needle holders. Trackers stand farther away
BETTER = 3.0  # chosen: inverse matrices fit three times as well only if they are the right ones
SHIFT_FRACTION = 0.02  # chosen: a scanner's own scale is right within 2 %


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A calibration, and whether it may be used."""

    title: str
    """What was calibrated, in words."""
    calibration: Calibration
    """What the file holds if it may be used."""
    refused: tuple[str, ...]
    """Why it may not be used, a line each. Empty if it may."""
    found: tuple[tuple[str, str], ...]
    """Results in words: (name, value with unit)."""
    notes: tuple[str, ...]
    """What to know of it, a line each."""
    fit: RobustFit
    """The fit behind it."""
    labels: tuple[int, ...]
    """Frame or row number of each observation."""
    residual: F64
    """(n,) length of each residual, in the unit of the check (mm, or a fraction of the motion)."""
    held_out: F64
    """(n,) the same, each predicted without its own observation, in the same unit (mm)."""
    bounds: Bounds
    """What it was held to."""
    picture: Any = None
    """What the report draws beside the residuals: a LagFit, or None."""


def calibrate_pivot(
    T_world_tool: F64,
    *,
    labels: Sequence[int],
    inputs: tuple[str, ...] = (),
    nominal_mm: F64 | None = None,
    nominal_within_mm: float = 2.0,
    longest_mm: float = LONGEST_MM,
    bounds: Bounds = PIVOT_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Find the tip of a tool that pivoted. T_world_tool: (n, 4, 4) poses.

    nominal_mm: (3,) the tip as its maker drew it. A tip farther than `nominal_within_mm` from it is refused.
    Raises InputError if there are too few poses.
    """
    _enough(len(T_world_tool), MIN_PIVOT_POSES, "poses")
    pivot = fit_pivot(T_world_tool, seed=seed)
    J = np.eye(6)[:3]
    check = check_fit(pivot.fit, J, bounds)
    turned = turn_deg(T_world_tool[:, :3, :3])
    refused = list(
        refusals(check, bounds, move="Tilt the tool by 30 degrees and more, in two directions, with its tip in place")
    )
    length, away = float(np.linalg.norm(pivot.tip_mm)), float(np.linalg.norm(pivot.pivot_mm))
    if length > longest_mm:
        swapped = (
            f" The matrices seem to be swapped (world to tool): turned round the tip is {away:.0f} mm away. "
            "Give `inverse`"
            if away < length
            else ""
        )
        refused.insert(
            0,
            f"the tip would lie {length:.0f} mm from the tool's marker, {longest_mm:g} are allowed "
            f"(`longest_mm`).{swapped}",
        )
    if nominal_mm is not None:
        off = float(np.linalg.norm(pivot.tip_mm - nominal_mm))
        if not off <= nominal_within_mm:
            refused.append(
                f"the tip lies {off:.2f} mm from where its maker drew it, {nominal_within_mm:g} are allowed "
                "(`nominal_within_mm`): the tool is bent, or it is another one"
            )
    sd = np.sqrt(np.diag(pivot.fit.covariance)[:3])
    calibration = Calibration(
        kind="pivot",
        method="pivot",
        inputs=inputs,
        parameters=("tip_x_mm", "tip_y_mm", "tip_z_mm"),
        covariance=rows_of(pivot.fit.covariance[:3, :3]),
        check=check,
        tip_mm=_numbers(pivot.tip_mm),
    )
    return _outcome(
        "Pivot: the tip of a tool",
        calibration,
        refused,
        fit=pivot.fit,
        labels=labels,
        bounds=bounds,
        found=(
            ("tip in the tool's frame", _vector(pivot.tip_mm, "mm")),
            ("its claimed standard deviations", _vector(sd, "mm", 3)),
            ("distance from the marker", f"{length:.2f} mm"),
            ("pivot point in the world", _vector(pivot.pivot_mm, "mm")),
            ("tilted by up to", f"{turned:.0f} degrees from the middle"),
        ),
    )


def calibrate_points(
    px: F64,
    T_world_probe: F64,
    world_mm: F64,
    *,
    size_px: tuple[int, int] | None,
    labels: Sequence[int],
    inputs: tuple[str, ...] = (),
    tip_covariance: F64 | None = None,
    spacing: Spacing | None = None,
    bounds: Bounds = IMAGE_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Image to probe from points seen at px (n, 2), probe poses (n, 4, 4) and the points in the world (n, 3), mm.

    size_px: of the pictures, None if it is not known. tip_covariance: (3, 3) of the stylus' tip, mm^2. It shifts all
    points alike, so it adds to what is claimed.
    spacing: what the scanner says, to compare with. Raises InputError if there are too few points.
    """
    _enough(len(px), MIN_IMAGE_POINTS, "points")
    fit = fit_points(px, T_world_probe, world_mm, seed=seed)

    def of_swapped() -> float:
        return _spread(fit_points(px, inverse_rigid(T_world_probe), world_mm, seed=seed).fit)

    return _image_outcome(
        "Image to probe, from points",
        fit,
        method="points",
        px=px,
        size_px=size_px,
        labels=labels,
        inputs=inputs,
        spacing=spacing,
        bounds=bounds,
        extra=0.0 if tip_covariance is None else float(np.linalg.eigvalsh(tip_covariance).max()),
        move="Show the tip in all four corners of the picture",
        of_swapped=of_swapped,
    )


def calibrate_wires(
    px: F64,
    wire: Sequence[str],
    frame: Sequence[int],
    T_world_probe: F64,
    wires: Wires,
    *,
    T_world_phantom: F64 | None = None,
    size_px: tuple[int, int] | None,
    inputs: tuple[str, ...] = (),
    spacing: Spacing | None = None,
    bounds: Bounds = WIRE_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Image to probe from marks of wires at px (n, 2), each with its wire and its picture.

    T_world_probe: (pictures, 4, 4) in the order of the pictures' numbers. T_world_phantom: (4, 4) if it is known. Else
    it is solved, too, which needs a probe that turns. Raises InputError for too few pictures or an unknown wire.
    """
    unknown = sorted(set(wire) - set(wires.names))
    if unknown:
        raise InputError(f"the marks name a wire {unknown[0]!r} that the phantom does not have")
    numbers = np.array([wires.names.index(name) for name in wire])
    frames, index = np.unique(np.array(frame), return_inverse=True)
    _enough(len(frames), MIN_WIRE_FRAMES, "pictures")

    def fitted(T: F64) -> ImageFit:
        problem = wires_problem(px, numbers, index, T, wires, T_world_phantom)
        return fit_wires(problem, seed=seed)

    fit = fitted(T_world_probe)
    turned = turn_deg(T_world_probe[:, :3, :3])
    move = "Give the phantom's place, or tilt the probe by 15 degrees and more in two directions"
    outcome = _image_outcome(
        "Image to probe, from the wires of a phantom",
        fit,
        method="wires",
        px=px,
        size_px=size_px,
        labels=frame,
        inputs=inputs,
        spacing=spacing,
        bounds=bounds,
        extra=0.0,
        move=move,
        of_swapped=lambda: _spread(fitted(inverse_rigid(T_world_probe)).fit),
    )
    found = (*outcome.found, ("pictures", str(len(frames))), ("probe turned by up to", f"{turned:.1f} degrees"))
    refused = outcome.refused
    if T_world_phantom is None and turned < MIN_TURN_DEG and not any("does not determine" in r for r in refused):
        refused = (
            f"the motion does not determine the answer: the probe turned by {turned:.1f} degrees only "
            f"(condition number {fit.fit.condition:.3g}). {move}",
            *refused,
        )
    return replace(outcome, found=found, refused=refused)


def _image_outcome(
    title: str,
    fit: ImageFit,
    *,
    method: str,
    px: F64,
    size_px: tuple[int, int] | None,
    labels: Sequence[int],
    inputs: tuple[str, ...],
    spacing: Spacing | None,
    bounds: Bounds,
    extra: float,
    move: str,
    of_swapped: Callable[[], float],
) -> Outcome:
    """What both ways of calibrating an image have in common. extra: variance that shifts all points alike, mm^2."""
    covered = size_px if size_px is not None else _covering(px)
    size = np.array(covered, float)
    corner, P = worst_corner(fit, covered)
    P = P + extra * np.eye(3)
    p = len(fit.fit.covariance)
    J = np.zeros((3, p))
    J[:, :8] = image_jacobian(fit.state, corner)
    check = check_fit(fit.fit, J, bounds)
    if extra:
        more = 3.0 * extra
        check = replace(
            check, sd=float(np.hypot(check.sd, more**0.5)), jackknife_sd=float(np.hypot(check.jackknife_sd, more**0.5))
        )
    refused = list(refusals(check, bounds, move=move))
    notes = () if size_px is not None else ("The size of the pictures is not told: the errors hold among the marks.",)
    if refused:
        turned = _or_none(of_swapped)
        if turned is not None and turned * BETTER < _spread(fit.fit):
            refused.insert(
                0,
                f"the probe's matrices seem to be swapped: their inverses fit with {turned:.3g} mm instead of "
                f"{_spread(fit.fit):.3g}. World from probe is wanted. Give `inverse_probe`",
            )
    got = fit.spacing
    if spacing is not None:
        off = max(abs(got.x_mm / spacing.x_mm - 1), abs(got.y_mm / spacing.y_mm - 1))
        if not off <= SHIFT_FRACTION:
            refused.append(
                f"the scale is {got.x_mm:.4g},{got.y_mm:.4g} mm per pixel, and the scanner says {spacing.x_mm:.4g},"
                f"{spacing.y_mm:.4g} (`spacing_mm`): {100 * off:.1f} % apart, {100 * SHIFT_FRACTION:g} % are allowed"
            )
    middle = fit.state.T_probe_image[:3, :3] @ np.append((size - 1) / 2 * fit.state.spacing_mm, 0.0)
    calibration = Calibration(
        kind="image",
        method=method,
        inputs=inputs,
        parameters=(
            *("scale_x_ratio", "scale_y_ratio", "turn_x_rad", "turn_y_rad", "turn_z_rad"),
            *("x_mm", "y_mm", "z_mm"),
        ),
        covariance=rows_of(fit.fit.covariance[:8, :8] + np.diag([0.0] * 5 + [extra] * 3)),
        check=check,
        transforms=(stored("probe", "image", fit.state.T_probe_image),),
        spacing_mm=_numbers(fit.state.spacing_mm),
        size_px=size_px,
        gate_mm2=(float(P[0, 0]), float(P[0, 1]), float(P[1, 1])),
    )
    ratio = np.sqrt(np.diag(fit.fit.covariance)[:2])
    return _outcome(
        title,
        calibration,
        refused,
        fit=fit.fit,
        labels=labels,
        bounds=bounds,
        notes=notes,
        found=(
            ("scale along x", f"{got.x_mm:.5g} mm per pixel, claimed within {100 * ratio[0]:.2g} %"),
            ("scale along y", f"{got.y_mm:.5g} mm per pixel, claimed within {100 * ratio[1]:.2g} %"),
            ("middle of the picture in the probe's frame", _vector(middle + fit.state.T_probe_image[:3, 3], "mm")),
            ("claimed error at the worst corner", f"{check.sd:.3g} mm at {corner[0]:.0f},{corner[1]:.0f} px"),
            ("noise in the picture's plane", f"{fit.fit.noise[0]:.3g} mm"),
            *((("noise across it", f"{fit.fit.noise[1]:.3g} mm"),) if len(fit.fit.noise) > 1 else ()),
        ),
    )


def calibrate_robot(
    T_base_hand: F64,
    T_tracker_marker: F64,
    *,
    labels: Sequence[int],
    inputs: tuple[str, ...] = (),
    bounds: Bounds = ROBOT_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Robot to tracker from pairs of poses, (n, 4, 4) each. Raises InputError if there are too few."""
    _enough(len(T_base_hand), MIN_HAND_EYE_POSES, "pairs of poses")
    move = "Turn the hand by 30 degrees and more about two axes that are not parallel"
    condition = axes_condition(T_base_hand[:, :3, :3])
    if not condition <= bounds.max_condition:
        raise InputError(
            f"the motion does not determine the answer: the hand turned about one axis only, condition number "
            f"{condition:.3g}, {bounds.max_condition:g} is allowed (`max_condition`). {move}"
        )
    found = fit_hand_eye(T_base_hand, T_tracker_marker, seed=seed)
    J = np.zeros((3, 12))
    J[:, 3:6] = np.eye(3)
    check = check_fit(found.fit, J, bounds, slice(3, 6))
    turned = turn_deg(T_base_hand[:, :3, :3])
    refused = list(refusals(check, bounds, move=move))
    if refused:
        refused = _swapped_pairs(found, T_base_hand, T_tracker_marker, seed) + refused
    C = found.fit.covariance
    worst = float(np.linalg.eigvalsh(C[3:6, 3:6]).max())
    sd = np.sqrt(np.diag(C))
    calibration = Calibration(
        kind="robot",
        method="hand-eye",
        inputs=inputs,
        parameters=tuple(
            f"{pair}_{a}"
            for pair in ("hand_marker", "base_tracker")
            for a in ("turn_x_rad", "turn_y_rad", "turn_z_rad", "x_mm", "y_mm", "z_mm")
        ),
        covariance=rows_of(C),
        check=check,
        transforms=(stored("hand", "marker", found.T_hand_marker), stored("base", "tracker", found.T_base_tracker)),
        gate_mm2=(worst, 0.0, worst),
    )
    return _outcome(
        "Robot to tracker",
        calibration,
        refused,
        fit=found.fit,
        labels=labels,
        bounds=bounds,
        columns=slice(3, 6),
        found=(
            ("marker on the hand", _vector(found.T_hand_marker[:3, 3], "mm")),
            (
                "its claimed standard deviations",
                f"{_vector(sd[3:6], 'mm', 3)}, {1e3 * np.linalg.norm(sd[:3]):.2g} mrad",
            ),
            ("tracker from the base", _vector(found.T_base_tracker[:3, 3], "mm")),
            (
                "its claimed standard deviations",
                f"{_vector(sd[9:], 'mm', 3)}, {1e3 * np.linalg.norm(sd[6:9]):.2g} mrad",
            ),
            ("residual turn", f"{1e3 * found.fit.noise[0]:.2g} mrad"),
            ("hand turned by up to", f"{turned:.0f} degrees from the middle"),
        ),
    )


def _swapped_pairs(found: HandEyeFit, A: F64, B: F64, seed: int) -> list[str]:
    """A line if the inverses of one of the two, or of both, fit much better."""
    inverse_A, inverse_B = inverse_rigid(A), inverse_rigid(B)
    tried = {
        ("the robot's", "Base from hand is", "Give `inverse_robot`"): (inverse_A, B),
        ("the tracker's", "Tracker from marker is", "Give `inverse_tracker`"): (A, inverse_B),
        (
            "the robot's and the tracker's",
            "Base from hand and tracker from marker are",
            "Give `inverse_robot` and `inverse_tracker`",
        ): (inverse_A, inverse_B),
    }
    as_given = _spread(found.fit, slice(3, 6))
    best, best_spread = None, as_given / BETTER
    for words, (left, right) in tried.items():
        try:
            spread = _spread(fit_hand_eye(left, right, seed=seed).fit, slice(3, 6))
        except InputError:  # the inverses give no solution at all
            continue
        if spread < best_spread:
            best, best_spread = words, spread
    if best is None:
        return []
    return [
        f"{best[0]} matrices seem to be swapped: their inverses fit with {best_spread:.3g} mm instead of "
        f"{as_given:.3g}. {best[1]} wanted. {best[2]}"
    ]


def calibrate_clock(
    times_s: F64,
    seen: F64,
    robot_times_s: F64,
    robot_mm: F64,
    *,
    inputs: tuple[str, ...] = (),
    max_lag_s: float = 0.5,
    bounds: Bounds = CLOCK_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Lag between picture and robot: tips (n, k) at times (n,), positions (m, j) at times (m,), mm."""
    found = fit_lag(times_s, seen, robot_times_s, robot_mm, max_lag_s=max_lag_s, seed=seed)
    J = np.zeros((1, len(found.fit.covariance)))
    J[0, 0] = 1.0
    size = float(np.sqrt(np.mean(np.sum((found.seen - np.median(found.seen, axis=0))[found.fit.used] ** 2, axis=1))))
    check = check_fit(found.fit, J, bounds)
    check = replace(
        check,
        rms=check.rms / size,
        held_out_rms=check.held_out_rms / size,
        max_held_out=check.max_held_out / size,
    )
    refused = list(refusals(check, bounds, move="Move to and fro without a constant rhythm"))
    if found.rival_s is not None:
        refused.insert(
            0,
            f"the motion repeats itself: a lag of {1e3 * found.rival_s:.0f} ms explains it as well as "
            f"{1e3 * found.lag_s:.0f} ms. Move without a constant rhythm, or give a smaller `max_lag_s`",
        )
    if abs(found.lag_s) > max_lag_s * 0.98:
        refused.insert(0, f"the lag lies at the end of the search, {max_lag_s:g} s: give a larger `max_lag_s`")
    sd = check.sd
    calibration = Calibration(
        kind="clock",
        method="motion",
        inputs=inputs,
        parameters=("lag_s",),
        covariance=rows_of(found.fit.covariance[:1, :1]),
        check=check,
        lag_s=found.lag_s,
    )
    order = "later" if found.lag_s >= 0.0 else "earlier"
    return _outcome(
        "Clock: lag between picture and robot",
        calibration,
        refused,
        fit=found.fit,
        labels=tuple(range(len(found.times_s))),
        bounds=bounds,
        scale=1.0 / size,
        picture=found,
        found=(
            ("lag", f"{1e3 * found.lag_s:.2f} ms: the picture is {order} than the robot"),
            ("claimed standard deviation", f"{1e3 * sd:.2g} ms"),
            ("correlation at its peak", f"{found.correlation.max():.4f}"),
            ("pictures compared", f"{len(found.times_s)} over {np.ptp(found.times_s):.1f} s"),
        ),
    )


def calibrate_guide(
    tips_mm: F64,
    depth_mm: F64,
    angle_rad: F64,
    *,
    labels: Sequence[int],
    inputs: tuple[str, ...] = (),
    bounds: Bounds = GUIDE_BOUNDS,
    seed: int = 0,
) -> Outcome:
    """Needle guide to image from tips (n, 2), image mm, and encoders' lengths (n,), mm, and angles (n,), rad."""
    _enough(len(tips_mm), MIN_GUIDE_POINTS, "tips")
    found = fit_guide(tips_mm, depth_mm, angle_rad, seed=seed)
    at = int(np.argmax(depth_mm))
    J = _tip_jacobian(found, float(depth_mm[at]), float(angle_rad[at]))
    P = J @ found.fit.covariance @ J.T
    check = check_fit(found.fit, J, bounds)
    refused = list(refusals(check, bounds, move="Insert deeper, and turn the guide if it turns"))
    C = found.fit.covariance
    calibration = Calibration(
        kind="guide",
        method="encoders",
        inputs=inputs,
        parameters=("origin_x_mm", "origin_y_mm", "turn_rad", "length_mm")[: len(C)],
        covariance=rows_of(C),
        check=check,
        origin_mm=_numbers(found.origin_mm),
        angle_rad=found.angle_rad,
        sense=found.sense,
        length_mm=found.length_mm,
        gate_mm2=(float(P[0, 0]), float(P[0, 1]), float(P[1, 1])),
    )
    one = len(C) == 3
    return _outcome(
        "Needle guide to image",
        calibration,
        refused,
        fit=found.fit,
        labels=labels,
        bounds=bounds,
        notes=("The guide stood at one angle, so the point that it turns about is not known.",) if one else (),
        found=(
            ("tip at 0 mm" if one else "point that it turns about", _vector(found.origin_mm, "mm")),
            (
                "direction where the encoder says 0",
                f"{np.degrees(found.angle_rad):.3f} degrees from image +x downwards",
            ),
            ("length beside the encoder's", f"{found.length_mm:.3f} mm"),
            ("claimed error at the deepest tip", f"{check.sd:.3g} mm"),
        ),
    )


def _tip_jacobian(found: GuideFit, depth_mm: float, angle_rad: float) -> F64:
    a, length = found.angle_rad + found.sense * angle_rad, depth_mm + found.length_mm
    along = np.array([np.cos(a), np.sin(a)])
    J = np.column_stack([np.eye(2), length * np.array([-along[1], along[0]]), along])
    return J[:, : len(found.fit.covariance)]


def _outcome(
    title: str,
    calibration: Calibration,
    refused: Sequence[str],
    *,
    fit: RobustFit,
    labels: Sequence[int],
    bounds: Bounds,
    found: tuple[tuple[str, str], ...],
    notes: tuple[str, ...] = (),
    columns: slice = slice(None),
    scale: float = 1.0,
    picture: LagFit | None = None,
) -> Outcome:
    return Outcome(
        title=title,
        calibration=calibration,
        refused=tuple(refused),
        found=found,
        notes=notes,
        fit=fit,
        labels=tuple(int(label) for label in labels),
        residual=scale * np.linalg.norm(fit.residuals[:, columns], axis=1),
        held_out=scale * np.linalg.norm(fit.held_out[:, columns], axis=1),
        bounds=bounds,
        picture=picture,
    )


def _covering(px: F64) -> tuple[int, int]:
    """The least size of a picture that holds all marks (n, 2), px."""
    width, height = (px.max(axis=0) + 2).astype(int).tolist()
    return int(width), int(height)


def _enough(count: int, least: int, what: str) -> None:
    if count < least:
        raise InputError(f"{count} {what} are too few: at least {least} are needed, and 20 to 40 are good")


def _spread(fit: RobustFit, columns: slice = slice(None)) -> float:
    """Median length of the residuals, mm: what wrong observations do not move."""
    return float(np.median(np.linalg.norm(fit.residuals[:, columns], axis=1)))


def _or_none(look: Callable[[], float]) -> float | None:
    try:
        return look()
    except InputError:  # the inverses give no solution at all
        return None


def _numbers(values: F64) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _vector(values: F64, unit: str, digits: int = 2) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values) + f" {unit}"


def summary_of(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints, without the name of the file."""
    from sonosteer.core.config import to_dict

    return {
        "accepted": not outcome.refused,
        "refused": list(outcome.refused),
        **{k: v for k, v in to_dict(outcome.calibration).items() if v is not None},
        "left_out": [label for label, used in zip(outcome.labels, outcome.fit.used, strict=True) if not used],
        "notes": list(outcome.notes),
    }
