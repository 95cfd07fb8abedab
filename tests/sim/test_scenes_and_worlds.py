"""Scenes are drawn by seed and split; worlds play them and answer a rig."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

import sonosteer
from sonosteer.core.errors import InputError
from sonosteer.core.types import Command
from sonosteer.sim.rig import RigLimits, RigModel
from sonosteer.sim.scenes import SETUPS, make_scene
from sonosteer.sim.script import SCRIPT_STEP_S, write_script
from sonosteer.sim.world import World
from sonosteer.sources.simulated import SimulatedSource

SPLITS = ("train", "validation", "test")


def short(setup, seed=11, **more):
    """A clip of a dozen frames."""
    scene = make_scene(setup, seed, rest_frames=0, end_rest_frames=2, pauses=0, retractions=0, **more)
    return dataclasses.replace(scene, end_mm=scene.start_mm + 0.5 * scene.speed_mm_s, probe_slide_mm=0.0)


@pytest.mark.parametrize("setup", SETUPS)
def test_the_same_seed_gives_the_same_frames_and_another_does_not(setup):
    a, b = (list(World(short(setup)).frames()) for _ in range(2))
    other = list(World(short(setup, 14)).frames())
    for (fa, ta), (fb, tb) in zip(a, b, strict=True):
        assert np.abs(fa.grey().astype(int) - fb.grey()).max() <= 1  # fast maths may differ in the last bit
        assert ta == tb
    assert len(a) > 5
    assert np.abs(a[0][0].grey().astype(int) - other[0][0].grey()[: a[0][0].size_px[1]]).mean() > 4


@pytest.mark.parametrize("setup", SETUPS)
def test_frames_may_be_drawn_again_from_one_world(setup):
    world = World(short(setup))
    first, again = ([(f.grey(), t) for f, t in world.frames()] for _ in range(2))
    assert all(np.array_equal(a, b) and t == u for (a, t), (b, u) in zip(first, again, strict=True))


@pytest.mark.parametrize("setup", SETUPS)
def test_splits_draw_from_different_recipes(setup):
    scenes = {split: [make_scene(f"{setup}/{split}", s) for s in range(8)] for split in SPLITS}
    for a, b in itertools.combinations(SPLITS, 2):
        assert not {s.tissue for s in scenes[a]} & {s.tissue for s in scenes[b]}
        assert not {s.grey for s in scenes[a]} & {s.grey for s in scenes[b]}
    assert make_scene(setup, 3) == make_scene(f"{setup}/test", 3)
    assert len({s.name for group in scenes.values() for s in group}) == 24


@pytest.mark.parametrize(("setup", "materials"), [
    ("axial", {"porcine", "bovine", "plastisol"}), ("in-plane-convex", {"pork", "agar", "silicone"}),
])  # fmt: skip
def test_every_material_comes_up_in_every_split(setup, materials):
    for split in SPLITS:
        assert {make_scene(f"{setup}/{split}", s).material for s in range(30)} == materials


def test_the_set_ups_are_the_papers():
    linear = [make_scene("in-plane-linear", s) for s in range(30)]
    assert {round(s.angle_deg, -1) for s in linear} <= {30.0, 40.0, 50.0}
    assert {s.speed_mm_s for s in linear} == {5.0, 10.0, 15.0}
    assert all(s.spacing_mm == 0.10 and s.rate_hz == 20 and s.look.diameter_mm == 2.108 for s in linear)
    axial = [make_scene("axial", s) for s in range(30)]
    assert {s.spacing_mm for s in axial} == {0.10, 0.12}
    assert all(s.spacing_mm == (0.12 if s.material == "plastisol" else 0.10) for s in axial)
    assert all(s.rate_hz == 20 and s.end_mm == 120 and s.look.diameter_mm == 1.27 for s in axial)
    convex = [make_scene("in-plane-convex", s) for s in range(40)]
    assert {s.mode for s in convex} == {"ips", "ipm"}
    assert {round(s.angle_deg / 15) * 15 for s in convex} == {30, 45, 60}
    assert all(s.speed_mm_s == 20 and s.array.convex for s in convex)
    assert all((s.probe_slide_mm > 0) == (s.mode == "ipm") for s in convex)


def test_a_seed_has_the_same_tissue_in_both_modes():
    ips, ipm = (make_scene("in-plane-convex", 5, mode=m) for m in ("ips", "ipm"))
    assert (ips.tissue, ips.look, ips.angle_deg) == (ipm.tissue, ipm.look, ipm.angle_deg)
    assert make_scene("in-plane-convex", 5) in (ips, ipm)


@pytest.mark.parametrize("mode", ["ips", "ipm"])
def test_the_probe_slides_along_only_when_moving(mode):
    scene = make_scene("in-plane-convex", 1, mode=mode)
    script = write_script(scene, np.random.default_rng(0))
    way = script.probe_velocity_mm_s[:, 0].sum() * SCRIPT_STEP_S
    side = 1 if scene.enters == "left" else -1
    assert way * side == pytest.approx(scene.probe_slide_mm, abs=0.5)
    assert (mode == "ips") == (way == 0)


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_scene_keeps_its_tip_in_the_image(setup, split):
    for seed in range(12):
        scene = make_scene(f"{setup}/{split}", seed)
        assert 0 < scene.start_mm < scene.end_mm
        assert scene.end_mm - scene.start_mm > 15


def test_the_truth_moves_as_fast_as_it_says(insertion):
    truths = [t for _, t in insertion]
    moving = [t for t in truths if t.velocity_mm_s > 0]
    pushed = np.polyfit([t.time_s for t in moving], [t.depth_mm for t in moving], 1)[0]
    assert pushed == pytest.approx(np.median([t.velocity_mm_s for t in moving]), rel=0.02)
    assert np.mean([t.visible for t in truths]) > 0.9
    assert all(b.depth_mm >= a.depth_mm for a, b in itertools.pairwise(truths))


def test_an_axial_clip_knows_its_forces_and_its_shaft():
    world = World(make_scene("axial", 4))
    clip = list(itertools.islice(world.frames(), 60))
    for _, t in clip:
        assert t.bevel_n > 0 or t.velocity_mm_s <= 0
        assert len(t.shaft_px) > 5
        assert math.hypot(*t.direction) == pytest.approx(1.0)
        assert abs(t.probe_mm[1] - t.tip_mm[1]) < 5  # the probe follows
    assert max(t.axial_n for _, t in clip) > 0.5
    sweep = clip[-1][1].probe_mm[1] - clip[0][1].probe_mm[1]
    assert sweep > 5


def test_a_needle_free_scene_has_no_tip(needle_free):
    assert all(t.tip_px is None and not t.visible and not t.shaft_px for _, t in needle_free)


def test_frames_get_lost_and_arrive_twice():
    stutter = {"artefacts.dropped": 0.2, "artefacts.repeated": 0.2, "end_mm": 18.0}
    scene = make_scene("in-plane-linear", 0, **stutter)
    world = World(scene)
    clip = list(world.frames())
    assert len(clip) == world.clip_frames == SimulatedSource("in-plane-linear", 0, **stutter).info.frames
    assert [f.index for f, _ in clip] == list(range(len(clip)))
    gaps = np.diff([f.time_s for f, _ in clip])
    assert gaps.max() > 1.5 / scene.rate_hz
    again = [i for i, (_, t) in enumerate(clip) if t.repeated]
    assert again
    for i in again:
        assert np.array_equal(clip[i][0].grey(), clip[i - 1][0].grey())
        assert clip[i][1].tip_px == clip[i - 1][1].tip_px


def test_breathing_moves_the_tip_and_the_tissue():
    scene = dataclasses.replace(short("in-plane-linear"), breathing_mm=3.0, end_rest_frames=60)
    truths = [t for _, t in World(scene).frames()][-50:]
    depth = [t.tip_px[1] for t in truths]
    assert np.ptp(depth) * scene.spacing_mm == pytest.approx(3.0, abs=0.4)
    assert np.ptp([t.tissue_mm[1] for t in truths]) > 2.5


def test_a_person_may_act_instead_of_the_script():
    world = World(make_scene("in-plane-linear", 0))
    _, before = world.look()
    for _ in range(10):
        world.order(
            act(
                expires_at_s=world.time_s + 1.0,
                insertion_speed_mm_s=10.0,
                insertion_angle_rad=world.scene.angle_rad,
            )
        )
        world.advance(0.05)
    _, after = world.look()
    assert after.depth_mm - before.depth_mm == pytest.approx(5.0, abs=0.1)
    world.restart()
    assert world.look()[1].depth_mm == pytest.approx(before.depth_mm)


def test_a_rigid_needle_pivots_when_the_angle_is_changed():
    world = World(make_scene("in-plane-linear", 0, angle_deg=40.0, tip_y_mm=0.0))
    for _ in range(20):
        world.order(act(expires_at_s=world.time_s + 1.0, insertion_angle_rad=math.radians(50)))
        world.advance(0.05)
    angle = math.degrees(world.look()[1].angle_rad)
    assert min(abs(angle - 50), abs(angle - 130)) < 0.5


# -- the rig -------------------------------------------------------------------------------------------------


def act(**k):
    return Command(**{"expires_at_s": None, "insertion_angle_rad": math.radians(45), **k})


def rig(**limits):
    return RigModel(RigLimits(**limits), np.random.default_rng(0))


def run(r, seconds, dt=0.01):
    for _ in range(round(seconds / dt)):
        r.advance(dt)


def test_the_rig_does_what_it_is_told_within_its_limits():
    r = rig()
    r.order(act(insertion_speed_mm_s=20.0, probe_velocity_mm_s=(5.0, 0.0, 0.0), roll_rad=1.0))
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(20.0, abs=0.5)
    assert r.probe_mm[0] == pytest.approx(5.0, abs=0.1)
    assert r.roll_rad == pytest.approx(1.0)
    r.order(act(insertion_speed_mm_s=1e6, probe_velocity_mm_s=(1e6, 0.0, 0.0), insertion_angle_rad=3.0))
    run(r, 10.0)
    assert r.depth_mm == r.limits.depth_mm[1]
    assert r.probe_mm[0] == r.limits.probe_mm[0]
    assert r.insertion_angle_rad == pytest.approx(r.limits.angle_rad[1])
    assert r.insertion_speed_mm_s == 0.0


def test_an_order_arrives_late_and_expires():
    r = rig(latency_s=0.1)
    r.order(act(insertion_speed_mm_s=10.0, expires_at_s=0.3))
    run(r, 0.09)
    assert r.depth_mm == 0.0
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(2.0, abs=0.2)
    r.order(act(insertion_speed_mm_s=10.0, expires_at_s=0.0))
    run(r, 1.0)
    assert r.depth_mm == pytest.approx(2.0, abs=0.2)


def test_stop_stops_and_nan_is_refused():
    r = rig()
    r.order(act(insertion_speed_mm_s=10.0))
    run(r, 0.5)
    r.order(act(insertion_speed_mm_s=10.0, stop=True))
    run(r, 0.1)
    at = r.depth_mm
    run(r, 1.0)
    assert r.depth_mm == at
    for name in ("insertion_speed_mm_s", "insertion_angle_rad", "roll_rad"):
        with pytest.raises(InputError, match="not a number"):
            r.order(act(**{name: math.nan}))


def test_encoders_are_noisy_and_unbiased():
    r = rig(encoder_mm=0.1)
    depths = [r.read().depth_mm for _ in range(400)]
    assert np.std(depths) == pytest.approx(0.1, rel=0.2)
    assert abs(np.mean(depths)) < 0.03


def test_a_rig_that_fails_stops_that_axis_until_it_is_put_right():
    kinds = set()
    for seed in range(30):
        r = RigModel(RigLimits(failure_per_s=5.0), np.random.default_rng(seed))
        r.order(act(insertion_speed_mm_s=5.0, probe_velocity_mm_s=(5.0, 0.0, 0.0)))
        run(r, 2.0)
        kinds.add(r.read().fault)
        depth, probe = r.depth_mm, r.probe_mm
        run(r, 0.5)
        if r.fault == "stalled":
            assert r.depth_mm == depth
        if r.fault == "probe stuck":
            assert r.probe_mm == probe
        r.clear_fault()
        assert r.fault is None
    assert {"stalled", "probe stuck"} <= kinds
    assert all(k is None or k in ("stalled", "probe stuck", "deaf") for k in kinds)


@pytest.mark.parametrize(
    "limits", [{"insertion_mm_s": 0.0}, {"latency_s": -1.0}, {"encoder_mm": math.nan}, {"failure_per_s": -0.1}]
)
def test_a_nonsense_rig_is_refused(limits):
    with pytest.raises(InputError, match="rig: "):
        RigLimits(**limits)


# -- nonsense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setup", "more", "said"),
    [
        ("nowhere", {}, "no set-up called 'nowhere'"),
        ("in-plane-linear/exam", {}, "no split called 'exam'"),
        ("missing.toml", {}, "missing.toml does not exist"),
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
        ("in-plane-linear", {"mode": "ips"}, "no mode 'ips'"),
        ("in-plane-convex", {"mode": "ipx"}, "no mode 'ipx'; there are: ipm, ips"),
        ("in-plane-convex", {"material": "jelly"}, "no material called 'jelly'"),
        ("in-plane-convex", {"artefacts.dropped": 2.0}, "dropped is 2"),
        ("in-plane-convex", {"look.diameter_mm": -1.0}, "diameter_mm is -1"),
        ("in-plane-convex", {"array.lines": 0}, "lines is 0"),
        ("in-plane-convex", {"tissue.fibres": -1}, "fibres is -1"),
        ("in-plane-convex", {"tissue.fibers": 1}, "no setting 'fibers'"),
        ("in-plane-convex", {"anatomy.patch_mm": math.nan}, "patch_mm is nan"),
        ("axial", {"entry_z_mm": 80.0}, "outside the image"),
        ("axial", {"end_mm": 250.0}, "cannot be inserted 250"),
        ("axial", {"geometry.bending_stiffness": -1.0}, "bending_stiffness is -1"),
        ("axial", {"looks": 0}, "looks is 0"),
    ],
)
def test_nonsense_scenes_are_refused_with_one_line(setup, more, said):
    with pytest.raises(InputError, match=said) as e:
        make_scene(setup, 0, **more)
    assert "\n" not in str(e.value)


def test_a_scene_can_be_asked_for_in_the_sources_name():
    source = SimulatedSource("in-plane-linear/train?angle_deg=40&needle=false&enters=right&tissue.fibres=7", seed=2)
    assert source.scene.split == "train"
    assert source.scene.angle_deg == 40.0
    assert source.scene.enters == "right"
    assert source.scene.tissue.fibres == 7
    assert not source.scene.needle
    with pytest.raises(InputError, match="field=value"):
        SimulatedSource("in-plane-linear?needle")


def test_a_scene_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[scene]\nspeed_mm_s = { choice = [8.0] }\nend_mm = 30.0\nmaterial = "agar"\n'
        "[scene.tissue]\nfibres = { integers = [3, 3] }\n[train]\ngrey = 70.0\n"
    )
    scene, train = make_scene(str(path), 1), make_scene(f"{path}/train", 1)
    assert (scene.name, scene.speed_mm_s, scene.tissue.fibres) == ("mine/test#1", 8.0, 3)
    assert train.grey == 70.0
    path.write_text("[scene]\nspeed_mm_s = { uniform = 3 }\nend_mm = 30.0\n")
    with pytest.raises(InputError, match="cannot be drawn from"):
        make_scene(str(path), 1)
    path.write_text("[scene]\nend_mm = 30.0\n")
    with pytest.raises(InputError, match="speed_mm_s must be given"):
        make_scene(str(path), 1)


def test_the_plant_knows_nothing_of_the_controllers_model():
    """No page of the simulator or of its mechanics imports the bicycle that steering plans with."""
    root = Path(sonosteer.__file__).parent
    pages = [*(root / "sim").glob("*.py"), *(p for p in (root / "needle").glob("*.py") if p.stem != "bicycle")]
    assert len(pages) > 15
    for page in pages:
        imports = [line for line in page.read_text().splitlines() if re.match(r"\s*(from|import) ", line)]
        assert not [line for line in imports if "bicycle" in line], page


def test_a_hand_draws_the_needle_back_slowly_at_the_end():
    plain = {"retractions": 0, "pauses": 0, "back_mm": 0.0}
    there, back = (make_scene("in-plane-thin/train", 4, **{**plain, "back_mm": mm}) for mm in (0.0, 8.0))
    into, out = (World(s).script.insertion_speed_mm_s for s in (there, back))
    assert (into >= 0).all()
    assert -out[out < 0].sum() * 0.01 == pytest.approx(8.0, abs=0.2)
    assert -out.min() <= 0.5 * back.speed_mm_s
    assert np.flatnonzero(out < 0)[0] > np.flatnonzero(out > 0)[-1]


def test_wedges_are_bright_and_few_and_none_by_default():
    def grey(wedges):
        scene = make_scene("in-plane-thin/train", 7, needle=False, **{"tissue.wedges": wedges, "tissue.fascias": 0})
        return next(World(scene).frames())[0].grey().astype(float)

    none, some = grey(0), grey(30)
    assert make_scene("in-plane-linear/train", 7).tissue.wedges == 0
    assert np.quantile(some, 0.995) > np.quantile(none, 0.995) + 10
    assert 0.005 < (some - none > 40).mean() < 0.2
