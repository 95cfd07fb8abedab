"""The set-up `in-the-wild`: every seed another scanner, display, body, needle and motion, wider than the real world.

Whoever learns from it shall find the real pictures inside of its range. All numbers are chosen by eye beside real
pictures of several scanners. A few seeds in a row share scanner and speckle, since building those takes longest.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import numpy as np

from sonosteer.core.arrays import F64
from sonosteer.core.types import Command, Frame
from sonosteer.sim.anatomy import Anatomy
from sonosteer.sim.artefacts import Artefacts
from sonosteer.sim.display import Display
from sonosteer.sim.echo import Appearance
from sonosteer.sim.field import TissueTexture
from sonosteer.sim.probe import Transducer
from sonosteer.sim.setups import Split
from sonosteer.sim.shapes import Body, Shapes, Streak, Surface
from sonosteer.sim.truth import NeedleTruth

TISSUE_SEEDS = 6  # chosen: this many seeds in a row share scanner and speckle
NO_NEEDLE = 0.15  # chosen: fraction of scenes without a needle
#: outer diameter of the shaft by gauge, mm
GAUGES_MM = {14: 2.11, 16: 1.65, 17: 1.47, 18: 1.27, 19: 1.07, 20: 0.91, 21: 0.82, 22: 0.72, 23: 0.64, 25: 0.51}
#: flat, usual and steep needles, degrees
NEEDLE_ANGLES_DEG = ((3.0, 14.0), (10.0, 55.0), (45.0, 80.0))
#: direction of the fibres by split, degrees: no two splits share any
FIBRES_DEG: dict[Split, tuple[tuple[float, float], ...]] = {
    "train": ((-25.0, -9.0), (-2.0, 7.0), (14.0, 25.0)),
    "validation": ((-8.5, -2.5),),
    "test": ((7.5, 13.5),),
}

Rng = np.random.Generator


def draw_wild_scene(seed: int, split: Split) -> dict[str, Any]:
    """Draw the fields of the scene of a seed."""
    number = get_args(Split).index(split)
    shared = np.random.default_rng([seed // TISSUE_SEEDS, number, 101])
    rng = np.random.default_rng([seed, number, 102])
    array, side_mm = _draw_array(shared)
    tissue = _draw_tissue(shared, split, array.depth_mm)
    period_mm = float(shared.uniform(5.0, 9.0)) * array.depth_mm / 50
    image = _draw_image(rng, array, side_mm)
    needle = _draw_needle(rng, array, image)
    fields: dict[str, Any] = {
        "array": array,
        "tissue": tissue,
        "tissue_seed": seed // TISSUE_SEEDS,
        "slices": 4,
        "period_mm": period_mm,
        **image,
        **needle,
        **_draw_motion(rng, array, needle["end_mm"]),
        **_draw_receiver(rng, array),
        "anatomy": _draw_anatomy(rng, array),
        "shapes": _draw_shapes(rng, array),
        "look": _draw_look(rng, array, needle["end_mm"]),
        "artefacts": _draw_artefacts(rng, array),
        "display": _draw_display(rng, image),
    }
    return fields


def wild_still(seed: int, split: Split = "train") -> tuple[Frame, Frame, NeedleTruth]:
    """(a frame, an earlier one of the same scene, the truth of the first): what a detector is shown.

    Between the two the needle has moved by up to 5 mm or stood still, and the probe may have been jerked.
    """
    from sonosteer.sim.scenes import make_scene
    from sonosteer.sim.world import World

    rng = np.random.default_rng([seed, get_args(Split).index(split), 103])
    scene = make_scene(f"in-the-wild/{split}", seed)
    moved = float(rng.choice([0.0, 1.0], p=[0.25, 0.75]) * rng.uniform(0.2, 5.0))
    back = rng.random() < 0.2
    start = max(scene.end_mm - (0.0 if back else moved), 0.0)
    world = World(dataclasses.replace(scene, start_mm=start, end_mm=max(scene.end_mm, start)))
    earlier, _ = world.look()
    seconds = float(rng.uniform(0.05, 0.4))
    speed = min((scene.end_mm - start if not back else -min(moved, 0.3 * start)) / seconds, 45.0)
    jerk = rng.normal(0, 1.0, 2) * (rng.random() < 0.3)
    velocity = (float(jerk[0] / seconds), float(jerk[1] / seconds), 0.0)
    world.order(
        Command(
            expires_at_s=None,
            insertion_speed_mm_s=float(speed),
            insertion_angle_rad=scene.angle_rad,
            roll_rad=math.radians(scene.roll_deg),
            probe_velocity_mm_s=velocity,
        )
    )
    world.advance(seconds)
    frame, truth = world.look()
    return frame, earlier, truth


# -- scanner and display -------------------------------------------------------------------------------------


def _draw_array(rng: Rng) -> tuple[Transducer, float]:
    """(transducer, width of what it sees in mm): high frequencies look less deep."""
    family = str(rng.choice(["linear", "convex", "micro-convex", "phased"], p=[0.52, 0.26, 0.1, 0.12]))
    low, high = {"linear": (4.5, 15.0), "convex": (2.0, 6.0), "micro-convex": (4.0, 9.0), "phased": (1.8, 4.5)}[family]
    mhz = float(np.exp(rng.uniform(math.log(low), math.log(high))))
    usual = 300 / mhz if family == "linear" else 330 / mhz
    depth = float(np.clip(usual * rng.uniform(0.6, 1.5), 16.0, 210.0))
    radius, fov, width = 0.0, 0.0, float(rng.uniform(24.0, 52.0))
    if family == "convex":
        radius, fov = float(rng.uniform(38.0, 68.0)), float(rng.uniform(45.0, 78.0))
    elif family == "micro-convex":
        radius, fov = float(rng.uniform(9.0, 18.0)), float(rng.uniform(60.0, 110.0))
    elif family == "phased":
        radius, fov = float(rng.uniform(2.5, 7.0)), float(rng.uniform(60.0, 90.0))
    side = 2 * (radius + depth) * math.sin(math.radians(fov / 2)) if radius else width
    samples = int(rng.integers(300, 460))
    aperture = float(rng.uniform(6.0, 24.0)) * (1.4 if family == "convex" else 1.0)
    array = Transducer(
        centre_mhz=mhz,
        bandwidth=float(rng.uniform(0.25, 0.75)),
        width_mm=width,
        radius_mm=radius,
        fov_deg=fov,
        depth_mm=depth,
        lines=int(rng.integers(80, 209)),
        range_step_mm=depth / samples,
        f_number_tx=float(rng.uniform(2.0, 5.0)) * float(rng.random() > 0.12),
        f_number_rx=float(rng.uniform(1.4, 4.5)),
        focus_mm=float(rng.uniform(0.25, 0.8)) * depth,
        rx_aperture_max_mm=min(aperture, 0.5 * depth),
        lens_mm=float(rng.uniform(3.0, 6.0)) * (2.0 if radius > 20 else 1.0),
        lens_focus_mm=float(rng.uniform(0.3, 0.7)) * depth,
        zones=10,
    )
    return array, side


def _draw_image(rng: Rng, array: Transducer, side_mm: float) -> dict[str, Any]:
    """Size and scale of the scan-converted image. It may show less than the whole field of view."""
    top_mm = float(rng.uniform(0.0, 0.06)) * array.depth_mm * float(rng.random() < 0.5)
    zoom_x = float(rng.uniform(0.7, 1.0)) if rng.random() < 0.25 else 1.0
    zoom_z = float(rng.uniform(0.75, 1.0)) if rng.random() < 0.2 else 1.0
    width_mm, height_mm = side_mm * zoom_x, top_mm + array.depth_mm * zoom_z
    if array.convex:
        width_mm = min(width_mm, 2.2 * height_mm)
    longer_px = float(rng.uniform(280.0, 500.0))
    spacing = max(width_mm, height_mm) / longer_px
    return {
        "spacing_mm": spacing,
        "width_px": max(round(width_mm / spacing), 64),
        "height_px": max(round(height_mm / spacing), 64),
        "top_mm": top_mm,
    }


def _draw_receiver(rng: Rng, array: Transducer) -> dict[str, Any]:
    """Compounding, gain, dynamic range and noise."""
    top_db, bottom_db = float(rng.uniform(-50.0, -34.0)), float(rng.uniform(-34.0, -8.0))
    return {
        "looks": int(rng.choice([1, 1, 2, 3, 4])),
        "look_deg": float(rng.uniform(3.0, 10.0)),
        "dynamic_range_db": float(rng.uniform(36.0, 72.0)),
        "grey": float(rng.uniform(62.0, 125.0)),
        "noise_db": top_db,
        "noise_db_per_mm": max(bottom_db - top_db, 0.0) / array.depth_mm,
    }


def _draw_display(rng: Rng, image: dict[str, Any]) -> Display:
    """Filters, grey map, scale, margins and what stands in them."""
    framed = rng.random() < 0.5
    margins = (rng.integers(0, 110, 4) * (rng.random(4) < 0.7) * framed).tolist()
    busy = framed or rng.random() < 0.25
    return Display(
        speckle_reduction=_some(rng, 0.5, 0.3, 1.0),
        reduction_px=float(rng.uniform(2.0, 6.0)),
        line_filter=_some(rng, 0.6, 0.3, 1.0),
        line_px=int(rng.integers(3, 13)) * 2 + 1,
        smoothing_px=_some(rng, 0.5, 0.4, 1.9),
        sharpening=_some(rng, 0.4, 0.2, 1.6),
        sharpening_px=float(rng.uniform(0.8, 4.0)),
        gain_grey=float(rng.normal(0.0, 14.0)),
        contrast=float(rng.uniform(0.8, 1.45)),
        gamma=float(rng.uniform(0.7, 1.5)),
        floor_grey=int(rng.integers(1, 18)) if rng.random() < 0.2 else 0,
        noise_grey=_some(rng, 0.3, 0.5, 5.0),
        scale=1.0 if rng.random() < 0.3 else float(rng.uniform(0.8, 1.5)),
        margins_px=(margins[0], margins[1], margins[2], margins[3]),
        background_grey=int(rng.integers(1, 45)) if rng.random() < 0.2 else 0,
        menus=int(rng.integers(0, 3)) if framed else 0,
        captions=int(rng.integers(0, 5)) if busy else 0,
        ticks=int(rng.integers(3, 32)) if rng.random() < 0.4 else 0,
        bars=int(rng.integers(0, 3)) if busy else 0,
        jpeg_quality=int(rng.integers(30, 96)) if rng.random() < 0.5 else 0,
        seed=int(rng.integers(1 << 30)),
        h264_crf=int(rng.integers(16, 36)) if rng.random() < 0.4 else 0,
    )


def _draw_artefacts(rng: Rng, array: Transducer) -> Artefacts:
    depth = array.depth_mm
    return Artefacts(
        occluders=int(rng.integers(1, 3)) if rng.random() < 0.15 else 0,
        occluder_mm=(0.08 * depth, 0.25 * depth),
        occluder_depth_mm=(0.1 * depth, 0.6 * depth),
        occluder_spread_mm=0.4 * depth,
        occlusion_db=float(rng.uniform(-40.0, -15.0)),
        haze_db=float(rng.uniform(-40.0, -14.0)),
        contact_loss=_some(rng, 0.25, 0.03, 0.3),
        contact_db=float(rng.uniform(-50.0, -15.0)),
        ladder_mm=_some(rng, 0.08, 0.3, 0.95) * depth,
        tgc_db=float(rng.uniform(0.0, 3.5)),
        persistence=_some(rng, 0.5, 0.1, 0.75),
        dropped=_some(rng, 0.25, 0.01, 0.2),
        repeated=_some(rng, 0.25, 0.01, 0.25),
    )


# -- tissue --------------------------------------------------------------------------------------------------


def _draw_tissue(rng: Rng, split: Split, depth_mm: float) -> TissueTexture:
    """Muscle, fat, organ or gel. Lengths grow with the depth of the image."""
    bands = FIBRES_DEG[split]
    angle = float(rng.uniform(*bands[int(rng.integers(len(bands)))]))
    kind = str(rng.choice(["muscle", "fat", "organ", "gel"], p=[0.42, 0.2, 0.18, 0.2]))
    k = depth_mm / 45  # lengths of a usual linear image
    common: dict[str, Any] = {
        "fibre_angle_deg": angle,
        "decoys": int(rng.integers(1, 5)) if rng.random() < 0.5 else 0,
        "decoy_angle_deg": (3.0, 60.0),
        "decoy_db": (6.0, 24.0),
        "fascia_db": (6.0, 26.0),
        "wedge_mm": (2.0 * k, 12.0 * k),
        "wedge_thick_mm": (0.2 * k, 1.4 * k),
        "wedge_db": (8.0, 26.0),
        "wedge_angle_deg": (-30.0, 30.0),
    }
    if kind == "muscle":
        return TissueTexture(
            fibres=int(rng.integers(30, 220)),
            fibre_spread_deg=float(rng.uniform(3.0, 14.0)),
            fibre_db=(3.0, float(rng.uniform(14.0, 26.0))),
            fibre_mm=(2.0 * k, float(rng.uniform(8.0, 28.0)) * k),
            modulation_db=float(rng.uniform(3.0, 7.5)),
            modulation_mm=(float(rng.uniform(2.5, 12.0)) * k, float(rng.uniform(0.3, 1.0)) * k),
            fascias=int(rng.integers(0, 14)),
            wedges=int(rng.integers(0, 12)),
            **common,
        )
    if kind == "fat":
        return TissueTexture(
            fibres=int(rng.integers(10, 120)),
            fibre_spread_deg=float(rng.uniform(10.0, 30.0)),
            fibre_db=(4.0, float(rng.uniform(14.0, 24.0))),
            fibre_mm=(0.8 * k, float(rng.uniform(4.0, 12.0)) * k),
            modulation_db=float(rng.uniform(4.0, 8.0)),
            modulation_mm=(float(rng.uniform(1.2, 4.0)) * k, float(rng.uniform(0.6, 2.0)) * k),
            fascias=int(rng.integers(0, 6)),
            wedges=int(rng.integers(4, 30)),
            **common,
        )
    if kind == "organ":
        return TissueTexture(
            fibres=int(rng.integers(0, 40)),
            fibre_spread_deg=float(rng.uniform(10.0, 40.0)),
            fibre_mm=(0.6 * k, 5.0 * k),
            modulation_db=float(rng.uniform(1.0, 4.0)),
            modulation_mm=(float(rng.uniform(1.0, 3.0)) * k, float(rng.uniform(0.8, 3.0)) * k),
            fascias=int(rng.integers(0, 4)),
            wedges=int(rng.integers(0, 5)),
            **common,
        )
    return TissueTexture(
        fibres=0,
        modulation_db=float(rng.uniform(0.3, 2.0)),
        modulation_mm=(float(rng.uniform(1.5, 5.0)) * k, float(rng.uniform(1.0, 4.0)) * k),
        sparsity=_some(rng, 0.6, 0.4, 1.6),
        **common,
    )


def _draw_anatomy(rng: Rng, array: Transducer) -> Anatomy:
    """Layers and patches: dark and bright regions."""
    depth = array.depth_mm
    edges = np.sort(rng.uniform(0.04, 0.95, int(rng.integers(0, 6)))) * depth
    layers = tuple((float(z), float(rng.normal(0.0, 6.0))) for z in edges)
    if layers and rng.random() < 0.6:  # skin and what lies under it are bright
        layers = ((layers[0][0], float(rng.uniform(-12.0, 2.0))), *layers[1:])
        layers = ((0.0, float(rng.uniform(2.0, 10.0))), *layers)
    return Anatomy(
        layers=layers,
        patches_db=float(rng.uniform(1.0, 8.0)),
        patch_mm=float(np.clip(rng.uniform(0.06, 0.35) * depth, 1.0, 60.0)),
        tumours=int(rng.integers(0, 4)),
        tumour_mm=(0.03 * depth, 0.16 * depth),
        tumour_db=(-24.0, 8.0),
        tumour_depth_mm=(0.1 * depth, 0.95 * depth),
        tumour_spread_mm=0.5 * depth,
        edge_mm=float(np.clip(rng.uniform(0.005, 0.04) * depth, 0.1, 10.0)),
    )


def _draw_shapes(rng: Rng, array: Transducer) -> Shapes:
    """Cysts, vessels, an island in a bath, bones, floors and streaks."""
    depth = array.depth_mm
    half = _half_width_mm(array)
    bodies = [_draw_body(rng, depth, half) for _ in range(int(rng.choice([0, 0, 1, 2, 4])))]
    if rng.random() < 0.14:
        bodies.append(_draw_island(rng, depth, half))
    surfaces = [_draw_bone(rng, depth, half) for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.2, 0.08])))]
    if rng.random() < 0.2:
        surfaces.append(_draw_floor(rng, depth))
    streaks = []
    for _ in range(int(rng.integers(1, 5)) if rng.random() < 0.35 else 0):
        at = float(rng.uniform(-half, half)), float(rng.uniform(0.0, 0.7) * depth)
        level = float(rng.choice([rng.uniform(4.0, 16.0), rng.uniform(-30.0, -5.0)]))
        streaks.append(Streak(*at, width_mm=float(rng.uniform(0.01, 0.12)) * depth, level_db=level))
    return Shapes(bodies=tuple(bodies), surfaces=tuple(surfaces), streaks=tuple(streaks))


def _half_width_mm(array: Transducer) -> float:
    """Half the width of the field of view at half its depth, mm."""
    if not array.convex:
        return array.width_mm / 2
    return (array.radius_mm + array.depth_mm / 2) * math.sin(math.radians(array.fov_deg / 2))


def _draw_body(rng: Rng, depth: float, half: float) -> Body:
    """A cyst, a vessel along or across, or a lump."""
    long = rng.random() < 0.35
    height = float(rng.uniform(0.02, 0.1 if long else 0.2)) * depth
    fluid = rng.random() < 0.6
    return Body(
        x_mm=float(rng.uniform(-half, half)),
        z_mm=float(rng.uniform(0.08, 0.95)) * depth,
        half_width_mm=max(height * float(rng.uniform(4.0, 12.0) if long else rng.uniform(0.8, 2.2)), 0.4),
        half_height_mm=max(height, 0.4),
        tilt_deg=float(np.clip(rng.normal(0.0, 15.0 if long else 30.0), -85, 85)),
        level_db=float(rng.uniform(-45.0, -14.0) if fluid else rng.uniform(-12.0, 9.0)),
        wall_db=float(rng.uniform(4.0, 24.0)) if rng.random() < 0.7 else -90.0,
        below_db=float(rng.uniform(1.0, 8.0) if fluid else rng.uniform(-12.0, 0.0)) if rng.random() < 0.5 else 0.0,
    )


def _draw_island(rng: Rng, depth: float, half: float) -> Body:
    """A piece of gel or an organ in a bath."""
    return Body(
        x_mm=float(rng.normal(0.0, 0.2 * half)),
        z_mm=float(rng.uniform(0.35, 0.75)) * depth,
        half_width_mm=float(rng.uniform(0.4, 1.4)) * half,
        half_height_mm=float(rng.uniform(0.15, 0.45)) * depth,
        tilt_deg=float(rng.normal(0.0, 6.0)),
        level_db=float(rng.uniform(-60.0, -20.0)),
        wall_db=float(rng.uniform(8.0, 30.0)),
        inverted=True,
    )


def _draw_bone(rng: Rng, depth: float, half: float) -> Surface:
    reach = float(rng.uniform(0.06, 0.5)) * depth
    return Surface(
        x_mm=float(rng.uniform(-half, half)),
        z_mm=float(rng.uniform(0.3, 0.95)) * depth,
        half_width_mm=max(reach, 1.0),
        tilt_deg=float(np.clip(rng.normal(0.0, 14.0), -50, 50)),
        bow_per_mm=float(np.clip(rng.uniform(-0.2, 1.0) / reach, -1.0, 1.0)),
        wave_mm=float(rng.uniform(0.0, 0.02)) * depth,
        echo_db=float(rng.uniform(16.0, 36.0)),
        below_db=float(rng.uniform(-45.0, -8.0)),
        repeats=int(rng.choice([0, 0, 1, 3])),
        repeat_mm=float(rng.uniform(0.04, 0.2)) * depth,
        repeat_db=float(rng.uniform(-16.0, -5.0)),
    )


def _draw_floor(rng: Rng, depth: float) -> Surface:
    """The bottom of a container or a table below a phantom."""
    return Surface(
        x_mm=0.0,
        z_mm=float(rng.uniform(0.5, 1.0)) * depth,
        tilt_deg=float(rng.normal(0.0, 4.0)),
        bow_per_mm=float(rng.normal(0.0, 0.001)),
        echo_db=float(rng.uniform(18.0, 42.0)),
        below_db=float(rng.uniform(-40.0, -4.0)),
        repeats=int(rng.choice([0, 0, 1, 2, 5])),
        repeat_mm=float(rng.uniform(0.02, 0.3)) * depth,
        repeat_db=float(rng.uniform(-14.0, -4.0)),
    )


# -- needle --------------------------------------------------------------------------------------------------


def _draw_needle(rng: Rng, array: Transducer, image: dict[str, Any]) -> dict[str, Any]:
    """Where the needle lies: its tip anywhere in the picture, at any angle, from either side."""
    through_face = rng.random() < 0.1
    min_length = float(rng.choice([0.14, rng.uniform(0.2, 0.8)])) * array.depth_mm
    for attempt in range(200):
        low, high = NEEDLE_ANGLES_DEG[int(rng.choice(len(NEEDLE_ANGLES_DEG), p=[0.2, 0.55, 0.25]))]
        angle = float(rng.uniform(low, high))
        line, range_mm = float(rng.uniform(4.0, array.lines - 5.0)), float(rng.uniform(0.06, 0.97)) * array.depth_mm
        (x,), (z,) = array.from_beam(np.array([range_mm]), np.array([line]))
        length, at_face = _back_to_edge(array, image, (float(x), float(z)), math.radians(angle))
        wanted = min_length if attempt < 100 else 0.05 * array.depth_mm
        if length > wanted and (not at_face or through_face):
            break
    length = min(length + 0.02 * array.depth_mm, 185.0)
    a = math.radians(angle)
    yaw = float(rng.normal(0.0, 2.5)) if rng.random() < 0.6 else 0.0
    if rng.random() < 0.12:
        yaw = float(rng.choice([-1.0, 1.0]) * rng.uniform(5.0, 18.0))
    tip_y = float(rng.normal(0.0, 0.008)) * array.depth_mm
    bend = float(rng.normal(0.0, 0.06)) / max(length, 20.0) if rng.random() < 0.3 else 0.0
    bend = min(max(bend, -0.01), 0.01)  # as a scene allows. One in twenty thousand would bend more
    return {
        "needle": bool(rng.random() >= NO_NEEDLE),
        "angle_deg": angle,
        "enters": str(rng.choice(["left", "right"])),
        "entry_x_mm": float(x) - length * math.cos(a),
        "entry_z_mm": float(z) - length * math.sin(a),
        "entry_y_mm": tip_y - math.tan(math.radians(yaw)) * length,
        "yaw_deg": yaw,
        "bend_per_mm": bend,
        "end_mm": length,
        "roll_deg": float(rng.choice([0.0, 180.0, rng.uniform(0.0, 360.0)])),
    }


def _back_to_edge(
    array: Transducer, image: dict[str, Any], tip_mm: tuple[float, float], angle_rad: float
) -> tuple[float, bool]:
    """(length in mm from the tip back to where the needle enters the picture, does it come through the face).

    The length is 0 if the tip is not in the picture. The needle comes from the left.
    """
    back: F64 = np.arange(0.0, 3 * array.depth_mm, array.depth_mm / 200)
    x, z = tip_mm[0] - back * math.cos(angle_rad), tip_mm[1] - back * math.sin(angle_rad)
    range_mm, line = array.to_beam(x, z)
    seen = (line >= 0) & (line <= array.lines - 1) & (range_mm >= 0) & (range_mm <= array.depth_mm)
    mm = image["spacing_mm"]
    seen &= np.abs(x) < (image["width_px"] / 2 - 3) * mm
    seen &= (z + image["top_mm"] < (image["height_px"] - 3) * mm) & (z + image["top_mm"] >= 0)
    if not seen[0]:
        return 0.0, False
    k = int(np.argmin(seen)) if not seen.all() else len(seen) - 1
    inner = 0.06 * array.lines
    at_face = bool(range_mm[k] < 0.01 * array.depth_mm and inner < line[k] < array.lines - 1 - inner)
    return float(back[k]), at_face


def _draw_look(rng: Rng, array: Transducer, length_mm: float) -> Appearance:
    """How the needle echoes: fine or soft and thick, beaded, fading, with tails and second lines."""
    gauge = int(rng.choice(list(GAUGES_MM)))
    diameter, fwhm = GAUGES_MM[gauge], array.pulse_fwhm_mm
    specular = float(rng.uniform(20.0, 48.0))
    thick = rng.random() < 0.35  # a chain of close copies: the shaft is a soft band
    tail = rng.random() < 0.13
    copies = int(rng.integers(8, 20) if tail else rng.integers(3, 9) if thick else rng.integers(0, 5))
    gap = float(rng.uniform(0.5, 1.2)) * fwhm if thick else float(rng.uniform(0.25, 1.5)) * diameter + 0.3 * fwhm
    second = rng.random() < 0.25  # a second bright line
    return Appearance(
        diameter_mm=diameter,
        bevel_deg=float(rng.uniform(12.0, 45.0)),
        specular_db=specular,
        rough_db=specular - float(rng.uniform(0.0, 11.0)),
        floor_db=float(rng.uniform(-16.0, -3.0)),
        tip_db=float(rng.uniform(8.0, 38.0)),
        specular_lobe_deg=float(rng.uniform(4.0, 18.0)),
        rough_lobe_deg=float(rng.uniform(28.0, 75.0)),
        dropout_db=float(rng.uniform(0.5, 6.0)),
        gaps=_some(rng, 0.4, 0.03, 0.35),
        gap_mm=float(rng.uniform(0.02, 0.12)) * array.depth_mm,
        second_wall_db=float(rng.uniform(-11.0, -1.0)) if second else float(rng.uniform(-24.0, -5.0)),
        second_wall_mm=min(float(rng.uniform(0.03, 0.14)) * array.depth_mm, 19.0) if second else 0.8 * diameter,
        reverberations=copies,
        reverberation_mm=min(gap, 19.0),
        reverberation_db=float(rng.uniform(-3.0, -1.2)) if tail or thick else float(rng.uniform(-10.0, -4.0)),
        ghost_db=float(rng.uniform(-44.0, -24.0)) if rng.random() < 0.3 else -90.0,
        ghost_mm=float(rng.uniform(0.04, 0.15)) * array.depth_mm,
        shadow=float(rng.uniform(0.0, 0.8)),
        trail_db=float(rng.uniform(2.0, 18.0)) if rng.random() < 0.3 else -90.0,
        bead_db=_some(rng, 0.3, 2.0, 9.0),
        bead_mm=float(np.clip(rng.uniform(0.02, 0.12) * array.depth_mm, 0.3, 40.0)),
        dip_db=-_some(rng, 0.3, 4.0, 22.0),
        dip_mm=min(float(rng.uniform(0.02, 0.12)) * array.depth_mm, 40.0),
        fade_mm=_some(rng, 0.35, 0.2, 0.9) * length_mm,
    )


def _draw_motion(rng: Rng, array: Transducer, length_mm: float) -> dict[str, Any]:
    """What happens during the clip."""
    rate = float(np.exp(rng.uniform(math.log(5.0), math.log(60.0))))
    start = float(rng.choice([0.0, rng.uniform(0.0, 0.5), rng.uniform(0.5, 1.0)], p=[0.2, 0.5, 0.3])) * length_mm
    way = length_mm - start
    speed = max(float(rng.uniform(2.0, 25.0)), way / 8.0)
    return {
        "rate_hz": rate,
        "speed_mm_s": speed,
        "start_mm": start,
        "pace": "hand" if rng.random() < 0.85 else "constant",
        "speed_sd": float(rng.uniform(0.1, 0.8)),
        "pauses": int(rng.integers(0, 3)),
        "retractions": int(rng.integers(0, 3)) if rng.random() < 0.5 else 0,
        "back_mm": _some(rng, 0.3, 0.05, 0.5) * length_mm,
        "leaves": bool(rng.random() < 0.25),
        "rest_frames": int(rng.uniform(0.0, 1.5) * rate),
        "end_rest_frames": int(rng.uniform(0.1, 1.0) * rate) + 1,
        "tip_y_mm": _some(rng, 0.5, 0.1, 1.0) * array.depth_mm / 50,
        "breathing_mm": _some(rng, 0.3, 0.1, 2.0),
        "breathing_hz": float(rng.uniform(0.15, 0.5)),
        "pull_mm": float(rng.uniform(0.0, 1.2)),
        "probe_slide_mm": 0.0,
        "probe_wander_mm": _some(rng, 0.6, 0.05, 0.9),
        "jerks": int(rng.integers(1, 4)) if rng.random() < 0.3 else 0,
        "jerk_mm": float(rng.uniform(0.5, 4.0)),
    }


def _some(rng: Rng, chance: float, low: float, high: float) -> float:
    """A number between low and high with this chance, else 0."""
    value = float(rng.uniform(low, high))
    return value if rng.random() < chance else 0.0
