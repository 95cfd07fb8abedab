"""Is the simulated ultrasound what physics says? Each law on a scene without fibres, or needle against no needle."""

import itertools
import math

import cv2
import numpy as np
import pytest

from sonosteer.benchmarks.simulator import kernel_tissue, numpy_tissue
from sonosteer.core.errors import InputError
from sonosteer.sim.echo import Appearance, NeedleEcho
from sonosteer.sim.field import Tissue
from sonosteer.sim.kernels import BLOCK, blend, convolve_lines, gather
from sonosteer.sim.probe import LinearArray, elevation_weights, lateral_kernels
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import PAD, World
from sonosteer.sources.simulated import SimulatedSource

PLAIN = Tissue(fibres=0, modulation_db=0.0)


@pytest.fixture(scope="module")
def bare_world():
    """Homogeneous tissue, one look, no needle, no noise: fully developed speckle."""
    scene = make_scene("in-plane-linear", 5, tissue=PLAIN, looks=1, needle=False, noise_db=-90.0, noise_db_per_mm=0.0)
    return World(scene)


def envelope(world, y_mm):
    world._draw(-1.0, y_mm, 0.0, 0.0, np.zeros((1, 2), np.int64))
    return world._envelope.copy()


def test_speckle_is_fully_developed_at_every_depth(bare_world):
    frames = [envelope(bare_world, y)[:, 10:-10] for y in np.arange(0.1, 6, 0.75)]
    stack = np.array(frames)
    for band in np.array_split(np.arange(20, 480), 4):
        e = stack[:, band]
        assert e.mean() / e.std() == pytest.approx(1.91, abs=0.06)  # Rayleigh: sqrt(pi / (4 - pi))


def test_speckle_amplitude_is_rayleigh(bare_world):
    e = np.concatenate([envelope(bare_world, y)[60:440:9, 12:-12:6].ravel() for y in np.arange(0.1, 6, 1.5)])
    e = np.sort(e / np.sqrt((e**2).mean()))
    cdf = np.arange(1, len(e) + 1) / len(e)
    assert np.abs(cdf - (1 - np.exp(-(e**2)))).max() < 0.02


def test_speckle_is_as_wide_as_the_point_spread_function(bare_world):
    """The complex field's lateral autocorrelation at the focus is that of the two-way kernel."""
    a = bare_world.scene.array
    envelope(bare_world, 1.0)
    rows = slice(230, 270)
    data = bare_world._re[rows].astype(np.complex128) + 1j * bare_world._im[rows]
    ours = [abs((data[:, k:] * data[:, : data.shape[1] - k].conj()).mean()) for k in range(6)]
    kernel = lateral_kernels(a)[int(25.0 / a.depth_mm * 64)]
    want = [abs((kernel[k:] * kernel[: len(kernel) - k].conj()).sum()) for k in range(6)]
    np.testing.assert_allclose(np.array(ours) / ours[0], np.array(want) / want[0], atol=0.12)


def test_speckle_decorrelates_in_elevation_within_a_beam_width(bare_world):
    e = [envelope(bare_world, 1.0 + d)[150:250, 20:-20] ** 2 for d in (0.0, 0.25, 1.25)]
    near, far = (np.corrcoef(e[0].ravel(), x.ravel())[0, 1] for x in e[1:])
    assert near > 0.6
    assert abs(far) < 0.15


def test_gather_at_rest_gives_the_field_back():
    rng = np.random.default_rng(0)
    field = (rng.normal(size=(80, 60)) + 1j * rng.normal(size=(80, 60))).astype(np.complex64)
    r, q = np.meshgrid(np.arange(6.0) * BLOCK + 3, np.arange(5.0) * BLOCK + 2, indexing="ij")
    out = np.zeros((40, 32 + 2 * PAD), np.complex64)
    gather(field, r.astype(np.float32), q.astype(np.float32), np.zeros_like(r, np.float32), PAD, out)
    np.testing.assert_allclose(out[:, PAD:-PAD], field[3:43, 2:34], atol=1e-5)


def test_gather_turns_the_phase_by_two_ways_of_the_displacement():
    field = np.ones((80, 60), np.complex64)
    r, q = np.meshgrid(np.arange(6.0) * BLOCK, np.arange(5.0) * BLOCK, indexing="ij")
    out = np.zeros((40, 32 + 2 * PAD), np.complex64)
    gather(field, r.astype(np.float32), q.astype(np.float32), np.full(r.shape, 0.25, np.float32), PAD, out)
    np.testing.assert_allclose(out[:, PAD:-PAD], -1j, atol=1e-5)


def test_convolution_along_the_lines_equals_numpys():
    rng = np.random.default_rng(1)
    data = (rng.normal(size=(3, 40 + 2 * PAD)) + 1j * rng.normal(size=(3, 40 + 2 * PAD))).astype(np.complex64)
    kernels = (rng.normal(size=(2, 9)) + 1j * rng.normal(size=(2, 9))).astype(np.complex64)
    re, im = np.zeros((3, 40), np.float32), np.zeros((3, 40), np.float32)
    convolve_lines(data, kernels, np.array([0, 1, 1]), PAD, re, im)
    for i, zone in enumerate((0, 1, 1)):
        want = np.convolve(data[i, PAD - 4 : PAD + 44], kernels[zone], "valid")
        np.testing.assert_allclose(re[i] + 1j * im[i], want, atol=1e-3)


def test_a_tissue_frame_equals_the_plain_numpy_statement():
    world = World(make_scene("in-plane-linear", 6, needle=False))
    ours, numpy = kernel_tissue(world, 1.37), numpy_tissue(world, 1.37)
    difference = np.abs(ours.astype(int) - numpy)
    assert np.quantile(difference, 0.999) <= 1
    assert ours.std() > 10


def test_blending_is_linear():
    a, b, out = np.ones(8, np.float32), np.full(8, 3, np.float32), np.zeros(8, np.float32)
    blend(a, b, 0.25, out)
    np.testing.assert_allclose(out, 1.5)


def difference(seed, **kw):
    """The last frame with and without the needle, the same tissue and noise."""
    pair = []
    for needle in (True, False):
        world = World(make_scene("in-plane-linear", seed, needle=needle, tissue=PLAIN, pull_mm=0.0, **kw))
        pair.append(list(world.frames())[-1])
    frame, truth = pair[0]
    return frame.grey().astype(float) - pair[1][0].grey(), truth


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_the_true_tip_is_where_the_drawn_apex_is(seed):
    """Along the true line the needle's light ends at the truth or, by the point spread, up to 1 mm beyond."""
    look = Appearance(dropout_db=0.0, rough_db=38.0, tip_db=38.0)
    d, truth = difference(seed, start_mm=20.0, end_mm=20.5, end_rest_frames=0, tip_y_mm=0.0, look=look, needle_db=0.0)
    c, s = math.cos(truth.angle_rad), math.sin(truth.angle_rad)
    side = 1.0 if c > 0 else -1.0
    u, y = np.meshgrid(np.arange(-60, 40.0), np.arange(-1, 10.0), indexing="ij")
    x = (truth.tip_px[0] + u * c - side * y * s).astype(np.float32)
    z = (truth.tip_px[1] + u * s + side * y * c).astype(np.float32)
    along = cv2.remap(d.astype(np.float32), x, z, cv2.INTER_LINEAR).mean(1)
    inside = np.median(along[10:50])
    end = np.flatnonzero(along > inside / 2).max() - 60
    assert inside > 20
    assert end == pytest.approx(5.0, abs=5.0)  # half the lateral point spread lies beyond the apex
    above = cv2.remap(d.astype(np.float32), x[:, :1] + 6 * side * s, z[:, :1] - 6 * c * side, cv2.INTER_LINEAR)
    assert abs(np.median(above[10:50])) < inside / 3  # nothing above the wall that faces the transducer


def test_a_steeper_needle_is_fainter():
    echo = NeedleEcho.make(LinearArray(), Appearance(), np.random.default_rng(0))
    specular, rough = echo.lobes(np.radians([0.0, 10, 20, 30, 45, 60]))
    assert np.all(np.diff(rough) < 0)
    assert np.all(np.diff(specular) <= 0)
    assert specular[-1] == 0


def test_a_needle_fades_as_it_leaves_the_plane():
    y, w = elevation_weights(LinearArray())
    at_focus = w[int(20 / 50 * 64)]
    assert at_focus[0] == 1
    assert at_focus[np.searchsorted(y, 1.0)] < 0.5
    echo = NeedleEcho.make(LinearArray(), Appearance(), np.random.default_rng(0))
    levels = [echo.tip_level_db(0.6, y, 20.0) for y in (0.0, 0.5, 1.0, 2.0)]
    assert levels == sorted(levels, reverse=True)


def test_the_same_seed_gives_the_same_frames_and_another_does_not():
    scene = make_scene("in-plane-linear", 11, start_mm=10.0, end_mm=11.0)
    a, b = (list(World(scene).frames()) for _ in range(2))
    other = list(World(make_scene("in-plane-linear", 12, start_mm=10.0, end_mm=11.0)).frames())
    for (fa, ta), (fb, tb) in zip(a, b, strict=True):
        assert np.abs(fa.grey().astype(int) - fb.grey()).max() <= 1
        assert ta == tb
    assert np.abs(a[0][0].grey().astype(int) - other[0][0].grey()).mean() > 5


def test_frames_may_be_drawn_again_from_one_world(insertion):
    world = World(make_scene("in-plane-linear", 11, start_mm=10.0, end_mm=11.0))
    first, again = ([f.grey() for f, _ in world.frames()] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_splits_draw_from_different_recipes():
    scenes = {
        split: [make_scene(f"in-plane-linear/{split}", s) for s in range(8)]
        for split in ("train", "validation", "test")
    }
    assert len({s.name for group in scenes.values() for s in group}) == 24
    assert len({s.tissue for group in scenes.values() for s in group}) == 24
    assert make_scene("in-plane-linear", 3) == make_scene("in-plane-linear/test", 3)
    angles = {split: np.mean([s.tissue.fibre_angle_deg for s in group]) for split, group in scenes.items()}
    assert angles["validation"] < angles["train"] < angles["test"]


def test_the_truth_moves_as_fast_as_it_says(insertion):
    truths = [t for _, t in insertion]
    moving = [t for t in truths if t.velocity_mm_s > 0]
    pushed = np.polyfit([t.time_s for t in moving], [t.depth_mm for t in moving], 1)[0]
    assert pushed == pytest.approx(moving[0].velocity_mm_s, rel=0.02)
    assert all(t.visible for t in truths)
    assert all(b.depth_mm >= a.depth_mm - 0.2 for a, b in itertools.pairwise(truths))


def test_a_needle_free_scene_has_no_tip(needle_free):
    assert all(t.tip_px is None and not t.visible for _, t in needle_free)


@pytest.mark.parametrize(
    ("setup", "fields", "said"),
    [
        ("nowhere", {}, "no set-up called 'nowhere'"),
        ("in-plane-linear/exam", {}, "no split called 'exam'"),
        ("in-plane-linear", {"angle": 3}, "no setting 'angle'"),
        ("in-plane-linear", {"angle_deg": math.nan}, "angle_deg is nan"),
        ("in-plane-linear", {"angle_deg": -20.0}, "angle_deg is -20"),
        ("in-plane-linear", {"speed_mm_s": 0.0}, "speed_mm_s is 0"),
        ("in-plane-linear", {"width_px": 0}, "width_px is 0"),
        ("in-plane-linear", {"width_px": 100_000}, "are drawn"),
        ("in-plane-linear", {"end_mm": 400.0}, "leaves the image"),
        ("in-plane-linear", {"enters": "below"}, "enters is 'below'"),
        ("in-plane-linear", {"pull_mm": -1.0}, "pull_mm is -1"),
        ("in-plane-linear", {"start_mm": 40.0, "end_mm": 20.0}, "only be pushed in"),
    ],
)
def test_nonsense_scenes_are_refused_with_one_line(setup, fields, said):
    with pytest.raises(InputError, match=said) as e:
        make_scene(setup, 0, **fields)
    assert "\n" not in str(e.value)


def test_a_scene_can_be_asked_for_in_the_sources_name():
    source = SimulatedSource("in-plane-linear/train?angle_deg=40&needle=false&enters=right", seed=2)
    assert source.scene.split == "train"
    assert source.scene.angle_deg == 40.0
    assert source.scene.enters == "right"
    assert not source.scene.needle
    with pytest.raises(InputError, match="field=value"):
        SimulatedSource("in-plane-linear?needle")
