"""The hard splits are frozen: what was tuned and measured on them belongs to this hash."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.types import Command
from sonosteer.sim.hard import HARD_SCENES, HARD_SETUPS, hard_scenes, hard_world_hash
from sonosteer.sim.plant import Plant
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

FROZEN = "f956f7f1e3975b8d84c5d4140d9ea9920b524138147b3f7b1a3503e7c28edc8d"
EXACT = RigLimits(encoder_mm=0.0, encoder_rad=0.0)


def test_the_hard_splits_are_frozen():
    assert hard_world_hash() == FROZEN


def test_a_hard_view_has_bones_always_and_by_half_bright_tissue_and_flat_needles():
    scenes = list(hard_scenes("in-plane-hard-view", "validation"))
    assert len(scenes) == HARD_SCENES
    assert all(s.artefacts.occluders >= 2 for s in scenes)
    assert 30 <= sum(s.grey >= 100 for s in scenes) <= 70
    assert 30 <= sum(s.angle_deg < 29 for s in scenes) <= 70
    assert [s.mode for s in scenes[:4]] == ["ips", "ipm", "ips", "ipm"]
    assert all(s.slip == 0.0 and s.registration_deg == 0.0 for s in scenes)


def test_a_hard_plant_slips_bends_breathes_and_is_badly_registered():
    scenes = list(hard_scenes("in-plane-hard-plant", "test"))
    assert all(0.0 <= s.slip <= 0.15 for s in scenes)
    assert 2.0 < np.std([s.registration_deg for s in scenes]) < 4.0
    assert 1.5 < np.sqrt(np.mean([x * x + z * z for s in scenes for x, z in [s.registration_mm]])) < 2.5
    assert all(1.0 <= s.breathing_mm <= 4.0 and 1.0 <= s.pull_mm <= 3.0 for s in scenes)
    assert all(s.look.diameter_mm <= 1.1 and s.geometry.bending_stiffness <= 12000 for s in scenes)


@pytest.mark.parametrize("setup", HARD_SETUPS)
def test_no_split_of_a_hard_set_up_shares_a_scene_with_another(setup):
    ours, theirs = (list(hard_scenes(setup, split, 20)) for split in ("validation", "test"))
    assert not {s.tissue for s in ours} & {s.tissue for s in theirs}
    assert not {s.slip for s in ours} & {s.slip for s in theirs} - {0.0}


def test_a_hard_split_says_what_there_is():
    with pytest.raises(InputError, match="in-plane-hard-view, in-plane-hard-plant"):
        next(hard_scenes("in-plane-convex", "test"))
    with pytest.raises(InputError, match="has 100 scenes, not 101"):
        next(hard_scenes("in-plane-hard-view", "test", 101))


def test_a_needle_that_slips_lags_behind_its_encoder_by_the_mean_slip():
    scene = make_scene("in-plane-convex/train", 1, material="rigid", slip=0.1)
    plant = Plant(scene, np.random.default_rng(0))
    for pushed in (30.0, 60.0):  # whole periods
        plant.step(scene.start_mm + pushed, scene.angle_rad, 0.0, 0.0)
        assert plant.state.inserted_mm == pytest.approx(scene.start_mm + 0.9 * pushed)
    plant.step(scene.start_mm - 3.0, scene.angle_rad, 0.0, 0.0)
    assert plant.state.inserted_mm == pytest.approx(scene.start_mm - 3.0)


@pytest.mark.parametrize("enters", ["left", "right"])
def test_a_wrong_registration_turns_needle_and_probe_alike(enters):
    scene = make_scene("in-plane-convex/train", 2, enters=enters, mode="ips")
    right, wrong = (World(dataclasses.replace(scene, registration_deg=d), EXACT) for d in (0.0, 4.0))
    for world in (right, wrong):
        slide = Command(expires_at_s=None, insertion_angle_rad=scene.angle_rad, probe_velocity_mm_s=(10.0, 0.0, 0.0))
        world.order(slide)
        world.advance(0.5)
    side, turn = (1.0 if enters == "left" else -1.0), math.radians(4.0)
    assert wrong.read().insertion_angle_rad == pytest.approx(scene.angle_rad + side * turn)
    x, _, z = right.read().probe_mm
    assert wrong.read().probe_mm == pytest.approx((x * math.cos(turn), 0.0, x * math.sin(turn)), abs=1e-9)
    assert z == 0.0
    assert wrong.plant.place()[0] == pytest.approx(right.plant.place()[0])  # the needle is where it is


@pytest.mark.parametrize(("text", "said"), [
    ("extends = 'nowhere'", "no built-in set-up"),
    ("extends = 'in-plane-convex'\n[test]\ngrey = 3.0", "leave out 'test'"),
])  # fmt: skip
def test_a_file_that_extends_what_it_cannot_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        make_scene(str(path), 0)


def test_a_file_of_ones_own_may_extend_a_built_in_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("extends = 'in-plane-convex'\n[scene]\nslip = 0.25\n")
    scene, base = make_scene(str(path), 4), make_scene("in-plane-convex", 4)
    assert scene.slip == 0.25
    assert (scene.tissue, scene.material) == (base.tissue, base.material)
