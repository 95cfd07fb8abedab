"""Worlds play their scenes and answer a rig."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

import sonosteer
from sonosteer.core.errors import InputError
from sonosteer.core.types import Command, RobotState
from sonosteer.sim.scenes import SETUPS, make_scene
from sonosteer.sim.script import SCRIPT_STEP_S, write_script
from sonosteer.sim.world import World
from sonosteer.sources.simulated import SimulatedSource

RECIPES = [name for name in SETUPS if SETUPS[name].endswith(".toml")]  # test_wild.py asks as much of the other one


def short(setup, seed=11, **more):
    """A clip of a dozen frames."""
    scene = make_scene(setup, seed, rest_frames=0, end_rest_frames=2, pauses=0, retractions=0, **more)
    return dataclasses.replace(scene, end_mm=scene.start_mm + 0.5 * scene.speed_mm_s, probe_slide_mm=0.0)


def act(**k):
    return Command(**{"expires_at_s": None, "insertion_angle_rad": math.radians(45), **k})


@pytest.mark.slow
@pytest.mark.parametrize("setup", RECIPES)
def test_the_same_seed_gives_the_same_frames_and_another_does_not(setup):
    a, b = (list(World(short(setup)).frames()) for _ in range(2))
    other = list(World(short(setup, 14)).frames())
    for (fa, ta), (fb, tb) in zip(a, b, strict=True):
        assert np.abs(fa.grey().astype(int) - fb.grey()).max() <= 1  # fast maths may differ in the last bit
        assert ta == tb
    assert len(a) > 5
    assert np.abs(a[0][0].grey().astype(int) - other[0][0].grey()[: a[0][0].size_px[1]]).mean() > 4


@pytest.mark.parametrize("setup", RECIPES)
def test_frames_may_be_drawn_again_from_one_world(setup):
    world = World(short(setup))
    first, again = ([(f.grey(), t) for f, t in world.frames()] for _ in range(2))
    assert all(np.array_equal(a, b) and t == u for (a, t), (b, u) in zip(first, again, strict=True))


@pytest.mark.parametrize("mode", ["ips", "ipm"])
def test_the_probe_slides_along_only_when_moving(mode):
    scene = make_scene("in-plane-convex", 1, mode=mode)
    script = write_script(scene, np.random.default_rng(0))
    way = script.probe_velocity_mm_s[:, 0].sum() * SCRIPT_STEP_S
    side = 1 if scene.enters == "left" else -1
    assert way * side == pytest.approx(scene.probe_slide_mm, abs=0.5)
    assert (mode == "ips") == (way == 0)


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


def test_a_scene_can_be_asked_for_in_the_sources_name():
    source = SimulatedSource("in-plane-linear/train?angle_deg=40&needle=false&enters=right&tissue.fibres=7", seed=2)
    assert source.scene.split == "train"
    assert source.scene.angle_deg == 40.0
    assert source.scene.enters == "right"
    assert source.scene.tissue.fibres == 7
    assert not source.scene.needle
    with pytest.raises(InputError, match="field=value"):
        SimulatedSource("in-plane-linear?needle")


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


def test_a_world_that_follows_encoders_is_where_they_say_and_stays_there():
    """Its own motors do nothing: the encoders of an outside robot alone say where needle and probe are."""
    world = World(make_scene("in-plane-convex/train", 3))
    rig = world.rig
    to = RobotState(0.0, rig.depth_mm + 2.0, 20.0, rig.insertion_angle_rad + 0.01, rig.roll_rad, (0.5, 0.0, 0.1))
    for dt_s in (0.1, 0.05, 0.03):
        world.follow(to, dt_s)
        at = world.rig
        assert (at.depth_mm, at.insertion_angle_rad, at.roll_rad) == pytest.approx(
            (to.depth_mm, to.insertion_angle_rad, to.roll_rad)
        )
        assert at.probe_mm == pytest.approx(to.probe_mm)
        assert at.insertion_speed_mm_s == 20.0
        assert world.plant.state.inserted_mm == pytest.approx(to.depth_mm, abs=1.0)
    assert world.time_s == pytest.approx(0.18)
