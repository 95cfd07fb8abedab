"""`sonosteer calibrate`: screen, pivot, image, robot, clock, guide, each with its own claimed error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, Frames, Seed, SpacingText
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sonosteer.calibration.tables import Poses
    from sonosteer.calibration.verdict import Bounds
    from sonosteer.core.arrays import F64
    from sonosteer.episodes.calibrating import Outcome
    from sonosteer.episodes.screen_calibration import ScreenCalibration

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

POSES_HELP = (
    "CSV with frame and qw,qx,qy,qz,x_mm,y_mm,z_mm (or m00 to m23) of each pose, or a sequence of PLUS or 3D Slicer."
)
Out = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIR", help="Folder for calibration.toml, report.html, residuals.csv, residuals.svg."
    ),
]
MaxRms = Annotated[
    float | None,
    typer.Option("--max-rms-mm", metavar="V", help="Refuse a larger residual, mm rms. The default is told."),
]
MaxSd = Annotated[
    float | None,
    typer.Option("--max-sd-mm", metavar="V", help="Refuse a larger claimed error, mm. The default is told."),
]
MaxCondition = Annotated[
    float | None,
    typer.Option(
        "--max-condition", metavar="V", help="Refuse a larger condition number of the motion. The default is told."
    ),
]

WiresTable = Annotated[
    Path | None,
    typer.Option(
        "--wires",
        metavar="CSV",
        help="Instead of points: a phantom's wires, wire,x1_mm,y1_mm,z1_mm,x2_mm,y2_mm,z2_mm.",
    ),
]
PhantomPose = Annotated[
    Path | None,
    typer.Option("--phantom", metavar="CSV", help="Pose of the phantom in the world, one row. Solved if not given."),
]
SizeText = Annotated[
    str | None,
    typer.Option(
        "--size-px", metavar="W,H", help="Size of the pictures. Read from a sequence. The error is told for it."
    ),
]


@app.callback()
def calibrate() -> None:
    """Calibrations, each with its own claimed error."""


@app.command("screen", cls=PageCommand, epilog="Example: sonosteer calibrate screen clip.mp4 --tick-mm 10")
def screen_command(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Video, picture, folder of PNG/JPEG, .mha/.nrrd, DICOM, or sim:SETUP."),
    ],
    tick_mm: Annotated[
        float | None,
        typer.Option(
            "--tick-mm",
            metavar="V",
            help="Distance of two ticks of the ruler in mm. Without it the usual ones are told.",
        ),
    ] = None,
    frames: Frames = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.png", help="Picture of what was found. An existing one is replaced.")
    ] = Path("screen.png"),
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find the ultrasound picture and its ruler on a scanner's screen.

    Prints the options --crop and --spacing-mm to give to other commands, and writes a picture of what was found.
    Nothing is used by itself: look at the picture first. The ruler does not say how far apart its ticks are in mm.
    Compare the depth that is printed here with the one on the screen.
    """
    from sonosteer.episodes.screen_calibration import calibrate_screen
    from sonosteer.sources.opening import open_source
    from sonosteer.viz.screen_overlay import write_screen

    start, stop = parsing.parse_frames(frames)
    clip = open_source(source, seed=seed)
    terminal.tell_notes(clip.info)
    try:
        found = calibrate_screen(clip, start=start, stop=stop, tick_mm=tick_mm)
    finally:
        clip.close()
    write_screen(out, found.picture())
    if as_json:
        terminal.print_json({**found.to_dict(), "picture": out})
        return
    _tell(found)
    print(f"Look at it before you use it:\n  {out}")


def _tell(found: ScreenCalibration) -> None:
    width, height = found.size_px
    print(f"{found.name}: {width} x {height} px, {len(found.frames)} frame(s) looked at")
    _tell_area(found)
    _tell_ruler(found)
    if found.spacing is not None:
        x_mm, y_mm = found.spacing.x_mm, found.spacing.y_mm
        print(f"The source itself says {x_mm:.4g},{y_mm:.4g} mm per pixel: --spacing-mm is needed only to override it.")


def _tell_area(found: ScreenCalibration) -> None:
    area = found.area
    sure = f"{100 * area.confidence:.0f} % of its boundary seen"
    if found.crop is not None:
        left, top, width, height = area.crop_px
        print(f"picture: {width} x {height} px from column {left}, row {top}: a {area.shape}, {sure}")
    elif area.confidence >= 0.5:  # chosen: tissue reaches more than half of the screen's rim
        print(f"picture: fills the screen, {sure}. Nothing to crop.")
    else:
        print(
            f"picture: its edges are not clear ({sure}), so nothing is cut. "
            "Give --crop X,Y,W,H by eye if there are menus round it."
        )


def _tell_ruler(found: ScreenCalibration) -> None:
    ruler = found.ruler
    if ruler is None:
        print(
            "ruler: none found. Divide the depth on the scanner's screen in mm by the picture's height in pixels: "
            f"--spacing-mm DEPTH/{found.area.height_px}. Tracking works without a scale, in pixels."
        )
        if found.crop is not None:
            print(f"  {found.options(None)}")
        return
    larger = "" if ruler.large_every is None else f", one in {ruler.large_every} is larger"
    print(
        f"ruler: {ruler.axis}, {len(ruler.places_px)} ticks, {ruler.tick_px:.2f} px apart "
        f"(sd {ruler.tick_sd_px:.2f}){larger}, score {ruler.score:.2f}"
    )
    for scale in found.scales:
        print(
            f"  tick of {scale.tick_mm:g} mm: {scale.spacing_mm:.4g} mm per pixel, "
            f"picture {scale.width_mm:.1f} mm wide, {scale.depth_mm:.1f} mm deep\n    {found.options(scale)}"
        )
    if len(found.scales) > 1:
        print("Which one holds is not on the ruler: choose the one whose depth the scanner shows, or give --tick-mm.")


# -- calibrations of places and times ------------------------------------------------------------------------


@app.command("pivot", cls=PageCommand, epilog="Example: sonosteer calibrate pivot poses.csv --out stylus")
def pivot_command(
    poses: Annotated[Path, typer.Argument(metavar="POSES", help=f"Poses of the tool in the world. {POSES_HELP}")],
    transform: Annotated[
        str | None, typer.Option("--transform", metavar="NAME", help="Of a sequence: such as StylusToTracker.")
    ] = None,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="The matrices are world to tool: turn them round.")
    ] = False,
    nominal_tip_mm: Annotated[
        str | None,
        typer.Option("--nominal-tip-mm", metavar="X,Y,Z", help="The tip as its maker drew it, mm. Tells a bent tool."),
    ] = None,
    nominal_within_mm: Annotated[
        float, typer.Option("--nominal-within-mm", metavar="V", help="Refuse a tip farther from it, mm.")
    ] = 2.0,
    longest_mm: Annotated[
        float, typer.Option("--longest-mm", metavar="V", help="Refuse a tip farther from the tool's marker, mm.")
    ] = 400.0,
    out: Out = Path("calibration-pivot"),
    max_rms_mm: MaxRms = None,
    max_sd_mm: MaxSd = None,
    max_condition: MaxCondition = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find the tip of a stylus or needle that pivots in a small hole.

    Tilt it by 30 degrees and more in two directions while its tip stays in place. 20 to 40 poses are good, 8 are
    needed.
    """
    from sonosteer.core.frames import inverse_rigid
    from sonosteer.episodes.calibrating import PIVOT_BOUNDS, calibrate_pivot
    from sonosteer.sources.sequence_poses import read_poses

    nominal = None if nominal_tip_mm is None else _three("--nominal-tip-mm", nominal_tip_mm)
    bounds = _bounds(PIVOT_BOUNDS, max_rms_mm, max_sd_mm, max_condition)
    found = read_poses(poses, transform)

    def work() -> Outcome:
        return calibrate_pivot(
            inverse_rigid(found.T) if inverse else found.T,
            labels=found.frames,
            inputs=(str(poses),),
            nominal_mm=nominal,
            nominal_within_mm=nominal_within_mm,
            longest_mm=longest_mm,
            bounds=bounds,
            seed=seed,
        )

    _finish(work, out, as_json=as_json)


@app.command(
    "image",
    cls=PageCommand,
    epilog="Example: sonosteer calibrate image marks.csv --poses probe.csv --points tips.csv --size-px 640,480",
)
def image_command(
    marks: Annotated[
        Path,
        typer.Argument(
            metavar="MARKS",
            help="CSV frame,tip_x_px,tip_y_px of the tip as seen in each picture, or tips.csv of `track`. "
            "With --wires a column wire, too.",
        ),
    ],
    poses: Annotated[
        Path, typer.Option("--poses", metavar="FILE", help=f"Poses of the probe in the world. {POSES_HELP}")
    ],
    probe: Annotated[
        str | None, typer.Option("--probe", metavar="NAME", help="Transform of a sequence: such as ProbeToTracker.")
    ] = None,
    inverse_probe: Annotated[
        bool, typer.Option("--inverse-probe", help="The probe's matrices are world to probe: turn them round.")
    ] = False,
    points: Annotated[
        Path | None, typer.Option("--points", metavar="CSV", help="frame,x_mm,y_mm,z_mm of the tip in the world.")
    ] = None,
    stylus: Annotated[
        Path | None,
        typer.Option(
            "--stylus", metavar="FILE", help=f"Instead of --points: poses of the stylus, with --pivot. {POSES_HELP}"
        ),
    ] = None,
    stylus_transform: Annotated[
        str | None, typer.Option("--stylus-transform", metavar="NAME", help="Of a sequence: such as StylusToTracker.")
    ] = None,
    pivot: Annotated[
        Path | None,
        typer.Option("--pivot", metavar="TOML", help="calibration.toml of the stylus, from calibrate pivot."),
    ] = None,
    wires: WiresTable = None,
    phantom: PhantomPose = None,
    size_px: SizeText = None,
    spacing_mm: SpacingText = None,
    out: Out = Path("calibration-image"),
    max_rms_mm: MaxRms = None,
    max_sd_mm: MaxSd = None,
    max_condition: MaxCondition = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find scale and place of the picture on a tracked probe, by a stylus or by the wires of a phantom.

    By a stylus, no phantom is needed: show its tip in 20 or more places of the picture. By wires, mark where they cross
    the picture in 10 or more pictures, the probe tilted. --spacing-mm is only compared with what is found.
    """
    from sonosteer.calibration.tables import read_image_marks
    from sonosteer.core.frames import inverse_rigid
    from sonosteer.sources.sequence_poses import read_poses

    if (points is not None) + (stylus is not None) + (wires is not None) != 1:
        raise InputError("give one of --points, --stylus and --wires")
    if phantom is not None and wires is None:
        raise InputError("--phantom says where wires stand: give --wires, too")
    seen = read_image_marks(marks)
    found = read_poses(poses, probe)
    tool = None if stylus is None else read_poses(stylus, stylus_transform)
    invalid = found.invalid | (frozenset() if tool is None else tool.invalid)
    if invalid & set(seen.frames):
        print(
            f"sonosteer: {len(invalid & set(seen.frames))} marked frame(s) have no valid pose, left out",
            file=sys.stderr,
        )
        seen = seen.without(invalid)
    T = found.of(seen.frames, str(marks))
    common: dict[str, Any] = {
        "size_px": _size(size_px, poses),
        "spacing": parsing.parse_spacing(spacing_mm),
        "seed": seed,
    }
    turned = inverse_rigid(T) if inverse_probe else T
    if wires is None:
        work = _by_points(seen.frames, seen.px, turned, _tips(seen.frames, points, tool, pivot))
        inputs = (marks, poses, *(p for p in (points, stylus, pivot) if p is not None))
    else:
        work = _by_wires(seen, turned, wires, phantom)
        inputs = (marks, poses, wires, *(() if phantom is None else (phantom,)))
    _finish(
        lambda: work(_limits(max_rms_mm, max_sd_mm, max_condition), inputs=tuple(map(str, inputs)), **common),
        out,
        as_json=as_json,
    )


@app.command("robot", cls=PageCommand, epilog="Example: sonosteer calibrate robot hand.csv marker.csv --out robot")
def robot_command(
    hand: Annotated[
        Path, typer.Argument(metavar="HAND", help=f"Poses of the hand from the robot's base. {POSES_HELP}")
    ],
    marker: Annotated[
        Path,
        typer.Argument(metavar="MARKER", help="Poses of the marker on the hand from the tracker, the same frames."),
    ],
    transform: Annotated[
        str | None,
        typer.Option("--transform", metavar="NAME", help="Of a sequence for MARKER: such as ProbeToTracker."),
    ] = None,
    inverse_robot: Annotated[
        bool, typer.Option("--inverse-robot", help="The robot's matrices are hand from base: turn them round.")
    ] = False,
    inverse_tracker: Annotated[
        bool, typer.Option("--inverse-tracker", help="The tracker's matrices are marker from tracker: turn them round.")
    ] = False,
    out: Out = Path("calibration-robot"),
    max_rms_mm: MaxRms = None,
    max_sd_mm: MaxSd = None,
    max_condition: MaxCondition = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find where a tracker stands from a robot's base, and where its marker sits on the hand.

    Move the hand to 20 places and more, turned by 30 degrees and more about two axes, and note both poses at rest.
    """
    from sonosteer.core.frames import inverse_rigid
    from sonosteer.episodes.calibrating import ROBOT_BOUNDS, calibrate_robot
    from sonosteer.sources.sequence_poses import read_poses

    bounds = _bounds(ROBOT_BOUNDS, max_rms_mm, max_sd_mm, max_condition)
    A, B = read_poses(hand), read_poses(marker, transform)
    frames, left, right = _paired(A, B)
    _finish(
        lambda: calibrate_robot(
            inverse_rigid(left) if inverse_robot else left,
            inverse_rigid(right) if inverse_tracker else right,
            labels=frames,
            inputs=(str(hand), str(marker)),
            bounds=bounds,
            seed=seed,
        ),
        out,
        as_json=as_json,
    )


@app.command("clock", cls=PageCommand, epilog="Example: sonosteer calibrate clock tips.csv readings.csv --out clock")
def clock_command(
    tips: Annotated[Path, typer.Argument(metavar="TIPS", help="tips.csv of `track`, or time_s,tip_x_px,tip_y_px.")],
    readings: Annotated[
        Path, typer.Argument(metavar="READINGS", help="CSV of the robot: time_s and the columns of --columns.")
    ],
    columns: Annotated[
        str, typer.Option("--columns", metavar="A,B", help="Columns of the robot's position, such as x_mm,y_mm,z_mm.")
    ] = "depth_mm",
    max_lag_s: Annotated[
        float, typer.Option("--max-lag-s", metavar="V", help="Look for lags up to this, s, both ways.")
    ] = 0.5,
    out: Out = Path("calibration-clock"),
    max_rms_fraction: Annotated[
        float | None,
        typer.Option("--max-rms-fraction", metavar="V", help="Refuse a larger residual, as a fraction of the motion."),
    ] = None,
    max_sd_s: Annotated[
        float | None,
        typer.Option("--max-sd-s", metavar="V", help="Refuse a larger claimed error, s. The default is told."),
    ] = None,
    max_condition: MaxCondition = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find how much later the picture shows a motion than the robot reports it.

    Move the needle or the probe to and fro for 20 s, in no constant rhythm, and track its tip.
    """
    from sonosteer.calibration.tables import read_signal
    from sonosteer.episodes.calibrating import CLOCK_BOUNDS, calibrate_clock

    if not 0.0 < max_lag_s < 60.0:
        raise InputError(f"--max-lag-s {max_lag_s:g}: give seconds above 0 and below 60")
    bounds = _bounds(CLOCK_BOUNDS, max_rms_fraction, max_sd_s, max_condition)
    times_s, seen = read_signal(tips, ("tip_x_px", "tip_y_px"))
    robot_times_s, robot = read_signal(readings, tuple(c.strip() for c in columns.split(",")))
    _finish(
        lambda: calibrate_clock(
            times_s,
            seen,
            robot_times_s,
            robot,
            inputs=(str(tips), str(readings)),
            max_lag_s=max_lag_s,
            bounds=bounds,
            seed=seed,
        ),
        out,
        as_json=as_json,
    )


@app.command(
    "guide",
    cls=PageCommand,
    epilog="Example: sonosteer calibrate guide tips.csv readings.csv --spacing-mm 0.1 --out guide",
)
def guide_command(
    tips: Annotated[Path, typer.Argument(metavar="TIPS", help="tips.csv of `track`, or time_s,tip_x_px,tip_y_px.")],
    readings: Annotated[Path, typer.Argument(metavar="READINGS", help="CSV of the robot: time_s,depth_mm,angle_deg.")],
    image: Annotated[
        Path | None, typer.Option("--image", metavar="TOML", help="calibration.toml of the image, for its scale.")
    ] = None,
    clock: Annotated[
        Path | None, typer.Option("--clock", metavar="TOML", help="calibration.toml of the clock, for the lag.")
    ] = None,
    spacing_mm: SpacingText = None,
    out: Out = Path("calibration-guide"),
    max_rms_mm: MaxRms = None,
    max_sd_mm: MaxSd = None,
    max_condition: MaxCondition = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find where a needle that the robot pushes through its guide appears in the picture.

    Insert a stiff needle in water, at several angles if the guide turns, and track its tip.
    """
    import numpy as np

    from sonosteer.calibration.record import read_calibration
    from sonosteer.calibration.tables import read_signal
    from sonosteer.episodes.calibrating import GUIDE_BOUNDS, calibrate_guide

    bounds = _bounds(GUIDE_BOUNDS, max_rms_mm, max_sd_mm, max_condition)
    spacing = parsing.parse_spacing(spacing_mm) if image is None else read_calibration(image).spacing
    if spacing is None:
        raise InputError("the scale is unknown: give --spacing-mm, or --image with a calibration")
    lag_s = 0.0
    if clock is not None:
        lag_s = read_calibration(clock).lag_s or 0.0
    times_s, px = read_signal(tips, ("tip_x_px", "tip_y_px"))
    robot_times_s, robot = read_signal(readings, ("depth_mm", "angle_deg"))
    late = times_s - lag_s
    both = (late >= robot_times_s[0]) & (late <= robot_times_s[-1])
    depth, angle = (np.interp(late[both], robot_times_s, robot[:, i]) for i in (0, 1))
    _finish(
        lambda: calibrate_guide(
            px[both] * (spacing.x_mm, spacing.y_mm),
            depth,
            np.radians(angle),
            labels=np.flatnonzero(both).tolist(),
            inputs=tuple(str(p) for p in (tips, readings, image, clock) if p is not None),
            bounds=bounds,
            seed=seed,
        ),
        out,
        as_json=as_json,
    )


def _finish(work: Callable[[], Outcome], out: Path, *, as_json: bool) -> None:
    """Calibrate, write the folder, tell the result. Raises InputError if it may not be used."""
    from sonosteer.calibration.verdict import amount
    from sonosteer.episodes.calibration_files import CALIBRATION_FILE, RESIDUALS, write_outcome
    from sonosteer.recording.output_folder import claimed_folder

    with terminal.interruptible("nothing was written"):
        outcome = work()
    with claimed_folder(out):
        summary = write_outcome(out, outcome)
    if outcome.refused:
        more = f" (and {len(outcome.refused) - 1} more)" if len(outcome.refused) > 1 else ""
        raise InputError(f"refused: {outcome.refused[0]}{more}; {out / 'report.html'} shows it")
    if as_json:
        terminal.print_json(summary)
        return
    check = outcome.calibration.check
    print(f"{outcome.title}: {check.used} of {check.observations} observations used")
    for name, value in outcome.found:
        print(f"  {name}: {value}")
    print(
        f"residual {amount(check.rms, check.unit)} rms, {amount(check.held_out_rms, check.unit)} without its own "
        f"observation (allowed {amount(outcome.bounds.max_rms, check.unit)})"
    )
    print(
        f"claimed error {amount(check.sd, check.sd_unit)}, {amount(check.jackknife_sd, check.sd_unit)} by leaving out "
        f"(allowed {amount(outcome.bounds.max_sd, check.sd_unit)}), condition number {check.condition:.3g} "
        f"(allowed {outcome.bounds.max_condition:g})"
    )
    for note in outcome.notes:
        print(note)
    terminal.print_files(out, (CALIBRATION_FILE, "report.html", RESIDUALS, "residuals.svg"))
    terminal.print_notice()


def _bounds(usual: Bounds, max_rms: float | None, max_sd: float | None, max_condition: float | None) -> Bounds:
    from dataclasses import replace

    options = {f"max_rms_{usual.unit}": max_rms, f"max_sd_{usual.sd_unit}": max_sd, "max_condition": max_condition}
    for name, value in options.items():
        if value is not None and not value > 0.0:
            raise InputError(f"`{name}` is {value:g}: give a number above 0")
    return replace(
        usual,
        max_rms=usual.max_rms if max_rms is None else max_rms,
        max_sd=usual.max_sd if max_sd is None else max_sd,
        max_condition=usual.max_condition if max_condition is None else max_condition,
    )


def _limits(max_rms: float | None, max_sd: float | None, max_condition: float | None) -> Callable[[Bounds], Bounds]:
    return lambda usual: _bounds(usual, max_rms, max_sd, max_condition)


def _three(option: str, text: str) -> F64:
    import numpy as np

    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError:
        values = np.empty(0)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise InputError(f"{option} {text!r}: give X,Y,Z in mm, e.g. 0,0,150")
    return values


def _size(text: str | None, poses: Path) -> tuple[int, int] | None:
    """Size of the pictures: as typed, or of the sequence. None if nothing tells it."""
    from sonosteer.sources.metaimage import MetaImageSequence
    from sonosteer.sources.sequence_poses import SEQUENCES

    if text is not None:
        try:
            width, height = (int(v) for v in text.split(","))
        except ValueError:
            width = height = 0
        if not (width > 1 and height > 1):
            raise InputError(f"--size-px {text!r}: give W,H in whole pixels, e.g. 640,480")
        return width, height
    if poses.suffix.lower() in SEQUENCES:
        return MetaImageSequence(poses).info.size_px
    return None


def _paired(A: Poses, B: Poses) -> tuple[tuple[int, ...], F64, F64]:
    """The poses of both that have the same frame."""
    frames = tuple(sorted(set(A.frames) & set(B.frames)))
    if not frames:
        raise InputError(f"{A.name} and {B.name} have no frame in common: number both alike")
    return frames, A.of(frames, A.name), B.of(frames, B.name)


def _tips(
    frames: tuple[int, ...], points: Path | None, stylus: Poses | None, pivot: Path | None
) -> tuple[F64, F64 | None]:
    """(n, 3) the tips in the world of some frames, mm, and the covariance of the stylus' tip, mm^2."""
    import numpy as np

    from sonosteer.calibration.record import read_calibration
    from sonosteer.calibration.tables import read_points

    if points is not None:
        numbers, world = read_points(points)
        at = {frame: i for i, frame in enumerate(numbers)}
        lacking = [frame for frame in frames if frame not in at]
        if lacking:
            raise InputError(
                f"frame {lacking[0]} has no point in {points} ({len(lacking)} such marks); number both alike"
            )
        return world[[at[frame] for frame in frames]], None
    if pivot is None or stylus is None:
        raise InputError("--stylus needs --pivot with the calibration of its tip: sonosteer calibrate pivot makes it")
    tip = read_calibration(pivot)
    if tip.tip_mm is None:
        raise InputError(f"{pivot} is a {tip.kind} calibration: --pivot takes one of calibrate pivot")
    T = stylus.of(frames, "the marks")
    world = np.einsum("nij,j->ni", T[:, :3, :3], np.array(tip.tip_mm)) + T[:, :3, 3]
    return world, np.array(tip.covariance)


def _by_points(frames: tuple[int, ...], px: F64, T: F64, tips: tuple[F64, F64 | None]) -> Callable[..., Outcome]:
    from sonosteer.episodes.calibrating import IMAGE_BOUNDS, calibrate_points

    def work(limits: Callable[[Bounds], Bounds], **words: Any) -> Outcome:
        return calibrate_points(
            px, T, tips[0], labels=frames, tip_covariance=tips[1], bounds=limits(IMAGE_BOUNDS), **words
        )

    return work


def _by_wires(seen: Any, T: F64, wires: Path, phantom: Path | None) -> Callable[..., Outcome]:
    import numpy as np

    from sonosteer.calibration.tables import read_pose_table, read_wires
    from sonosteer.episodes.calibrating import WIRE_BOUNDS, calibrate_wires

    if seen.wires is None:
        raise InputError("the marks have no column wire: say for each which wire it is")
    drawn = read_wires(wires)
    place = None if phantom is None else read_pose_table(phantom).T[0]
    first = np.unique(np.array(seen.frames), return_index=True)[1]

    def work(limits: Callable[[Bounds], Bounds], **words: Any) -> Outcome:
        return calibrate_wires(
            seen.px,
            seen.wires,
            seen.frames,
            T[first],
            drawn,
            T_world_phantom=place,
            bounds=limits(WIRE_BOUNDS),
            **words,
        )

    return work
