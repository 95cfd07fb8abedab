"""Is the needle drawn where the truth says it is, and as bright as it should be?"""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from plain import PLAIN, QUIET

from sonosteer.sim.echo import Appearance, NeedleEcho, lobes
from sonosteer.sim.probe import Transducer, elevation_weights
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

#: the apex alone: no shaft, no copies, no ghosts
APEX = {
    "look.specular_db": -120.0,
    "look.rough_db": -120.0,
    "look.tip_db": 60.0,
    "look.reverberations": 0,
    "look.second_wall_db": -120.0,
    "look.ghost_db": -90.0,
    "look.shadow": 0.0,
    "look.gaps": 0.0,
}
STEADY = {"tip_y_mm": 0.0, "probe_wander_mm": 0.0, "breathing_mm": 0.0, "rest_frames": 0, "needle_db": 0.0}


def one_frame(setup, seed, **more):
    world = World(make_scene(setup, seed, **{**QUIET, **STEADY, "pull_mm": 0.0, **more}))
    frame, truth = world.look()
    return world, frame, truth


def centroid_px(world):
    """Of the brightest echo, in image pixels, from the envelope before the logarithm."""
    e = world.scanner.envelope.astype(float) ** 2
    i, j = np.unravel_index(e.argmax(), e.shape)
    rows, columns = np.arange(i - 5, i + 6), np.arange(max(j - 5, 0), min(j + 6, e.shape[1]))
    part = e[np.ix_(rows, columns)]
    r, q = (part.sum(1) @ rows) / part.sum(), (part.sum(0) @ columns) / part.sum()
    a = world.scene.array
    x, z = a.from_beam(np.array([r * a.range_step_mm]), np.array([q]))
    return world.probe.to_image_px((float(x[0]), float(z[0])), world.spacing)


@pytest.mark.parametrize("roll_deg", [0.0, 180.0])
@pytest.mark.parametrize("setup", ["in-plane-linear", "in-plane-convex"])
@pytest.mark.parametrize("seed", range(6))
def test_the_true_tip_is_the_drawn_apex_to_half_a_pixel(setup, seed, roll_deg):
    start = 28.0 if setup == "in-plane-linear" else 55.0
    angle = (35.0, 45.0)[seed % 2]
    deep = {"start_mm": start, "end_mm": start, "angle_deg": angle, "roll_deg": roll_deg}
    world, _, truth = one_frame(setup, seed, **deep, **APEX)
    assert math.dist(centroid_px(world), truth.tip_px) < 0.5
    assert math.dist(truth.bright_px, truth.tip_px) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_an_axial_needle_is_drawn_above_its_axis(seed):
    """The brightest spot is the upper wall, one radius above the end of the axis, at the tip's lateral place."""
    shine = {"look.reverberations": 0, "look.second_wall_db": -120.0, "look.specular_db": 60.0, "start_mm": 40.0}
    world, _, truth = one_frame("axial", seed, **shine)
    x, z = centroid_px(world)
    assert x == pytest.approx(truth.bright_px[0], abs=0.6)
    assert z == pytest.approx(truth.bright_px[1], abs=1.0)
    radius_px = world.scene.look.diameter_mm / 2 / world.scene.spacing_mm
    assert truth.tip_px[1] - truth.bright_px[1] == pytest.approx(radius_px, abs=1.0)


def test_an_axial_needle_is_seen_only_when_it_has_arrived():
    world, _, _ = one_frame("axial", 1, start_mm=40.0)
    seen = []
    for ahead in (-3.0, -1.0, 0.0, 2.0, 10.0):  # of the tip over the plane
        world.rig.probe_mm = (0.0, 40.0 - ahead, 0.0)
        seen.append(world.look()[1].visibility_db)
    assert seen[0] < -10.0
    assert seen[0] < seen[1] < seen[2] - 3
    assert seen[2] < seen[3] + 1
    assert seen[4] > 6


def contrast_db(frame, truth, scene):
    """Shaft over tissue, read along the shaft and 25 px to its sides, in the grey levels' decibels."""
    c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
    u, v = np.meshgrid(-np.arange(20.0, 140.0), np.arange(-40.0, 41.0), indexing="ij")
    x = (truth.tip_px[0] + u * c - v * s).astype(np.float32)
    y = (truth.tip_px[1] + u * s + v * c).astype(np.float32)
    grey = cv2.remap(frame.grey().astype(np.float32), x, y, cv2.INTER_LINEAR)
    shaft = grey[:, 36:56].max(1).mean()
    tissue = grey[:, :15].mean()
    return (shaft - tissue) * scene.dynamic_range_db / 255


@pytest.mark.slow
def test_a_steeper_needle_is_fainter():
    """In the image, and each lobe by itself."""
    levels = []
    for angle in (20.0, 35.0, 50.0, 65.0):
        found = []
        for seed in range(3):
            more = {"looks": 3, "angle_deg": angle, "start_mm": 28.0, "end_mm": 28.0, "enters": "left"}
            world, frame, truth = one_frame("in-plane-linear", seed, **more, **{"look.dropout_db": 0.0})
            found.append(contrast_db(frame, truth, world.scene))
        levels.append(np.mean(found))
    assert levels == sorted(levels, reverse=True)
    assert levels[0] - levels[-1] > 5
    echo = NeedleEcho.make(Transducer(), Appearance(), np.random.default_rng(0))
    specular, rough = zip(*[lobes(math.radians(a), *echo.widths) for a in (0.0, 10, 20, 30, 45, 60)], strict=True)
    assert list(rough) == sorted(rough, reverse=True)
    assert list(specular) == sorted(specular, reverse=True)
    assert specular[-1] == 0


@pytest.mark.parametrize("setup", ["in-plane-linear", "in-plane-convex"])
def test_a_needle_fades_as_it_leaves_the_plane(setup):
    deep = 28.0 if setup == "in-plane-linear" else 70.0
    world, _, _ = one_frame(setup, 2, start_mm=deep, end_mm=deep, angle_deg=45.0)
    levels = []
    for aside in (0.0, 0.7, 1.5, 3.0, 5.0):
        world.rig.probe_mm = (0.0, aside, 0.0)
        _, truth = world.look()
        assert truth.out_of_plane_mm == pytest.approx(-aside, abs=0.15)
        levels.append(truth.visibility_db)
    assert levels[0] > levels[2] > levels[4]
    assert levels[0] - levels[-1] > 12
    assert "plane" in truth.occluded


def test_the_elevation_beam_is_narrowest_near_its_focus():
    y, w, energy = elevation_weights(Transducer())
    half = [np.abs(y[zone > 0.5]).max() for zone in w]
    assert 8 < np.argmin(half) / 64 * 50 < 20  # diffraction draws a weak focus at 20 mm towards the face
    assert np.all(np.diff(energy, axis=1) >= 0)


def test_the_bevels_face_makes_the_tip_bright_or_faint():
    """With the face up, the facet of a needle that goes down looks away from the probe: the tip is fainter."""
    levels = {}
    for roll in (0.0, 180.0):
        same = {"roll_deg": roll, "start_mm": 28.0, "end_mm": 28.0, "angle_deg": 30.0}
        world, _, _ = one_frame("in-plane-linear", 1, **same, **{**APEX, "look.tip_db": 45.0})
        levels[roll] = world.scanner.envelope.max()
    assert levels[180.0] < 0.85 * levels[0.0]


def test_needle_copies_lie_below_and_ghosts_beside():
    plainest = {**APEX, "looks": 1, "start_mm": 28.0, "end_mm": 28.0}
    world, _, _ = one_frame("in-plane-linear", 0, **plainest)
    base = world.scanner.envelope.copy()
    world, _, _ = one_frame(
        "in-plane-linear", 0, **{**plainest, "look.reverberations": 2, "look.reverberation_mm": 1.0}
    )
    more = world.scanner.envelope
    i, j = np.unravel_index(base.argmax(), base.shape)
    gained = (more - base)[i + 8 : i + 13, j]
    assert gained.max() > 0.3 * base.max()
    world, _, _ = one_frame("in-plane-linear", 0, **{**plainest, "look.ghost_db": -20.0, "look.ghost_mm": 5.0})
    aside = round(5.0 / world.scene.array.line_step)
    side = (world.scanner.envelope - base)[i - 2 : i + 3]
    assert max(side[:, j - aside].max(), side[:, j + aside].max()) > 0.05 * base.max()


def test_the_needle_casts_a_soft_shadow():
    pictures = []
    for shadow in (0.0, 0.8):
        world, _, _ = one_frame("in-plane-linear", 0, **{"look.shadow": shadow, "start_mm": 28.0, "end_mm": 28.0})
        pictures.append(world.scanner.envelope.copy())
    lines = slice(40, 110) if world.scene.enters == "left" else slice(146, 216)
    below = [p[350:450, lines].mean() for p in pictures]
    assert 0.3 < below[1] / below[0] < 0.9


def test_visibility_falls_in_the_occluders_shadow():
    world, _, free = one_frame("in-plane-convex", 4, start_mm=60.0, end_mm=60.0)
    x = free.tip_mm[0]
    occluder = np.array([[x * 0.5, 8.0, 25.0]])
    world.scanner.masks = dataclasses.replace(world.scanner.masks, occluders=occluder)
    _, hidden = world.look()
    assert hidden.occluded == ("occluder",)
    assert hidden.visibility_db < free.visibility_db - 3


def test_a_lost_contact_darkens_the_lines_and_says_so():
    _, frame, _ = one_frame("in-plane-linear", 0, **{"artefacts.contact_loss": 0.3})
    columns = frame.grey()[100:400].mean(0)
    left, right = columns[70:130].mean(), columns[380:440].mean()
    assert min(left, right) < max(left, right) - 40
    lifted = World(make_scene("in-plane-linear", 0, **QUIET))
    lifted.rig.probe_mm = (0.0, 0.0, -3.0)
    assert lifted.look()[0].grey().mean() < frame.grey().mean() - 20


def test_a_container_repeats_itself_down_the_image():
    world, _, _ = one_frame("in-plane-linear", 0, **{"artefacts.ladder_mm": 14.0, "needle": False})
    profile = world.scanner.envelope[:, 100:156].mean(1)
    for rung in (140, 280, 420):
        near = profile[rung - 3 : rung + 12].max()
        assert near > 1.8 * np.median(profile)


def test_tumours_and_layers_change_the_level_where_they_lie():
    plainest = {"needle": False, "looks": 3, "tissue": PLAIN, "anatomy.layers": ((25.0, 10.0),)}
    world, _, _ = one_frame("in-plane-linear", 0, **plainest)
    e = world.scanner.envelope
    assert 20 * math.log10(e[300:].mean() / e[:200].mean()) == pytest.approx(10.0, abs=1.0)
    world, _, _ = one_frame(
        "in-plane-convex", 0, **{"needle": False, "anatomy.tumours": 1, "anatomy.tumour_db": (-20.0, -20.0)}
    )
    x, z, y, *_ = world.scanner.structures.tumours[0]
    world.rig.probe_mm = (0.0, y, 0.0)
    world.look()
    a = world.scene.array
    (r,), (q,) = a.to_beam(np.array([x]), np.array([z]))
    i, j = int(r / a.range_step_mm), int(q)
    inside = world.scanner.envelope[i - 6 : i + 6, max(j - 3, 0) : j + 4].mean()
    assert inside < 0.4 * np.median(world.scanner.envelope)


def test_tissue_is_dragged_along_with_the_needle():
    """Beside the shaft the speckle moves with it; far away it does not."""
    more = {"start_mm": 25.0, "end_mm": 25.0, "enters": "left", "angle_deg": 35.0}
    world, _, truth = one_frame("in-plane-linear", 3, **more)
    still = world.scanner.envelope.copy()
    world.drag.pull_mm = 0.4
    world.look()
    moved = world.scanner.envelope
    i, j = (
        int(truth.tip_mm[2] / 0.1),
        int(world.scene.array.to_beam(np.array([truth.tip_mm[0]]), np.array([0.0]))[1][0]),
    )
    ahead = np.corrcoef(still[i - 10 : i + 10, j + 5 : j + 15].ravel(), moved[i - 10 : i + 10, j + 5 : j + 15].ravel())
    far = np.corrcoef(still[400:480, 180:240].ravel(), moved[400:480, 180:240].ravel())
    assert ahead[0, 1] < 0.8
    assert far[0, 1] > 0.98


def test_an_axial_needle_pulls_tissue_through_the_plane():
    """Pulled by two slices at the wall, the speckle there is that of tissue 0.5 mm further back."""
    no_echo = {"look.specular_db": -120.0, "look.rough_db": -120.0, "look.tip_db": -120.0, "look.shadow": 0.0}
    world, _, truth = one_frame("axial", 1, start_mm=40.0, pull_mm=0.5, **no_echo)
    world.rig.probe_mm = (0.0, 35.0, 0.0)
    pictures = {}
    for pull, plane in ((0.0, 35.0), (0.5, 35.0), (0.0, 34.5)):
        world.rig.probe_mm = (0.0, plane, 0.0)
        world.drag.pull_mm = pull
        world.look()
        pictures[pull, plane] = world.scanner.envelope.copy()
    a = world.scene.array
    i, j = int(truth.tip_mm[2] / a.range_step_mm), int(a.to_beam(np.array([truth.tip_mm[0]]), np.zeros(1))[1][0])
    beside, far = np.s_[i - 5 : i + 6, j - 3 : j + 4], np.s_[i + 170 :, :40]

    def alike(u, v, where):
        return np.corrcoef(pictures[u][where].ravel(), pictures[v][where].ravel())[0, 1]

    pulled, still, behind = (0.5, 35.0), (0.0, 35.0), (0.0, 34.5)
    assert alike(pulled, behind, beside) > alike(pulled, still, beside)
    assert alike(pulled, still, far) > 0.99


def test_persistence_keeps_a_share_of_the_last_picture():
    """A needle taken away stays as an afterimage that fades by its share from frame to frame."""
    shine = {"artefacts.persistence": 0.5, "start_mm": 28.0, "end_mm": 28.0, "enters": "left"}
    world, with_needle, truth = one_frame("in-plane-linear", 1, **shine)
    i, j = round(truth.tip_px[1]) - 30, round(truth.tip_px[0]) - 30
    around = np.s_[i - 15 : i + 16, j - 15 : j + 16]
    world.rig.probe_mm = (0.0, 40.0, 0.0)  # far out of the needle's plane
    levels = [with_needle.grey()[around].max()] + [world.look()[0].grey()[around].max() for _ in range(5)]
    assert levels[0] > levels[1] > levels[-1]
    sharp, _, _ = one_frame("in-plane-linear", 1, **{**shine, "artefacts.persistence": 0.0})
    sharp.rig.probe_mm = (0.0, 40.0, 0.0)
    assert levels[1] > sharp.look()[0].grey()[around].max()


@pytest.mark.slow
def test_the_gains_error_is_smooth_and_as_large_as_said():
    errors = []
    for seed in range(12):
        world, _, _ = one_frame("in-plane-linear", seed, **{"artefacts.tgc_db": 3.0, "needle": False})
        gain_db = 20 * np.log10(world.scanner.masks.range_gain)
        assert np.abs(np.diff(gain_db)).max() < 0.3
        errors.append(gain_db.std())
    assert np.mean(errors) == pytest.approx(3.0, rel=0.5)


def test_a_needle_drawn_back_leaves_a_track_where_it_was():
    still = {**STEADY, "pull_mm": 0.0, "angle_deg": 30.0, "start_mm": 20.0, "end_mm": 30.0, "look.trail_db": 40.0}
    faint = {"look.rough_db": 0.0, "look.specular_db": -60.0, "look.tip_db": -60.0, "look.gaps": 0.0}
    more = {**QUIET, **still, **faint, "retractions": 0, "pauses": 0, "back_mm": 9.0, "rest_frames": 0}

    def at_depth(trail_db):
        """Mean grey on the needle's last 8 mm, before and after it is drawn back by 9."""
        world = World(make_scene("in-plane-thin", 5, **{**more, "look.trail_db": trail_db}))
        seen = list(world.frames())
        deepest = max(range(len(seen)), key=lambda k: seen[k][1].depth_mm)
        (frame, truth), (last, drawn_back) = seen[deepest], seen[-1]
        assert truth.depth_mm - drawn_back.depth_mm == pytest.approx(9.0, abs=0.5)
        back = np.arange(1.0, 8.0, 0.25) / world.scene.spacing_mm
        x = (truth.tip_px[0] - back * math.cos(truth.angle_rad)).round().astype(int)
        y = (truth.tip_px[1] - back * math.sin(truth.angle_rad)).round().astype(int)
        near = y + np.arange(-9, 10)[:, None]  # the track lies on the axis, the truth on the wall
        return (float(f.grey().astype(float)[near, x].max(0).mean()) for f in (frame, last))

    before, after = at_depth(40.0)
    nothing_before, nothing_after = at_depth(-90.0)
    assert before == pytest.approx(nothing_before, abs=1.0)
    assert after > nothing_after + 40
