"""Scenes are drawn by seed and split."""

import itertools
import math

import pytest

from sonosteer.core.errors import InputError
from sonosteer.sim.scenes import SETUPS, make_scene

SPLITS = ("train", "validation", "test")
RECIPES = [name for name in SETUPS if SETUPS[name].endswith(".toml")]  # test_wild.py asks as much of the other one


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


@pytest.mark.parametrize("setup", RECIPES)
@pytest.mark.parametrize("split", SPLITS)
def test_every_scene_keeps_its_tip_in_the_image(setup, split):
    for seed in range(12):
        scene = make_scene(f"{setup}/{split}", seed)
        assert 0 < scene.start_mm < scene.end_mm
        assert scene.end_mm - scene.start_mm > 15


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
        ("axial", {"plant": "spring"}, "no plant 'spring'; there are: beam, nonholonomic"),
        ("axial", {"nonholonomic.tip_ahead_mm": -1.0}, "tip_ahead_mm is -1"),
        ("in-plane-convex", {"plant": "nonholonomic", "material": "agar"}, "no parameters for 'agar'"),
        ("in-plane-linear", {"plant": "nonholonomic", "material": "rigid"}, "no parameters for 'rigid'"),
    ],
)
def test_nonsense_scenes_are_refused_with_one_line(setup, more, said):
    with pytest.raises(InputError, match=said) as e:
        make_scene(setup, 0, **more)
    assert "\n" not in str(e.value)


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
