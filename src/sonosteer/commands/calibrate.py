"""`sonosteer calibrate screen`: calibrations, each with its own claimed error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson, Frames, Seed

if TYPE_CHECKING:
    from sonosteer.episodes.screen_calibration import ScreenCalibration

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


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
