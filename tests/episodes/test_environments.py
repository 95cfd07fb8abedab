"""The rig as a Gymnasium environment."""

import math
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sonosteer.episodes.environments
from sonosteer.core.errors import InputError

pytestmark = pytest.mark.slow

NAMES = ("sonosteer/Insertion-v0", "sonosteer/Steering-v0")


@pytest.fixture(scope="module", params=NAMES)
def env(request):
    made = gymnasium.make(request.param, image_px=128, render_mode="rgb_array")
    yield made
    made.close()


def test_gymnasiums_own_check_passes(env):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env.unwrapped, skip_render_check=False)


def test_the_same_seed_gives_the_same_episode(env):
    runs = []
    for _ in range(2):
        observation, info = env.reset(seed=7)
        seen = [observation["image"]]
        rng = np.random.default_rng(1)
        for _ in range(5):
            observation, reward, *_ = env.step(rng.uniform(-0.3, 0.3, env.action_space.shape).astype(np.float32))
            seen.append(observation["image"])
        runs.append((info["scene"], reward, np.array(seen)))
    assert runs[0][:2] == runs[1][:2]
    assert np.abs(runs[0][2].astype(int) - runs[1][2]).max() <= 1
    assert env.reset(seed=8)[1]["scene"] != runs[0][0]


def test_an_action_that_is_no_number_is_refused(env):
    env.reset(seed=0)
    with pytest.raises(InputError, match="finite numbers"):
        env.unwrapped.step(np.full(env.action_space.shape, math.nan, np.float32))


def test_the_observation_does_not_hold_the_truth(env):
    observation, info = env.reset(seed=3)
    assert set(observation) == {"image", "state"}
    assert observation["image"].shape == env.observation_space["image"].shape == (128, 128, 1)
    assert observation["image"].dtype == np.uint8
    assert info["tip_px"] is not None
    assert env.render().shape == (128, 128, 3)


def test_going_straight_for_the_target_succeeds():
    env = gymnasium.make(NAMES[0], image_px=64, split="validation", scene={"material": "agar", "mode": "ips"})
    hits = 0
    for seed in range(4):
        _, info = env.reset(seed=seed)
        nearest = info["cost_mm"]
        for _ in range(200):
            go = np.array([0.5, 0, 0, 0, 0, 0], np.float32)
            _, _, ended, late, info = env.step(go)
            assert info["refused"] is None
            if info["cost_mm"] > nearest + 0.2:  # it starts from rest, and the tip trembles
                break
            nearest = min(nearest, info["cost_mm"])
        _, reward, ended, late, info = env.step(np.array([0, 0, 0, 0, 0, 1], np.float32))
        assert ended
        assert not late
        assert (reward > 5) == info["success"]
        hits += info["success"]
    assert hits >= 3


def test_a_needle_that_is_never_turned_ends_off_its_axis():
    env = gymnasium.make(NAMES[1], image_px=64, scene={"end_mm": 60.0, "turns": 0})
    env.reset(seed=1)
    rewards, ended = [], False
    while not ended:
        _, reward, ended, late, info = env.step(np.array([0.0, 1.0], np.float32))
        rewards.append(reward)
        assert not late
    assert 0.2 < info["cost_mm"] < 10
    assert rewards[-1] < 0


def test_the_second_plant_is_a_scene_field():
    ends = []
    for plant in ("beam", "nonholonomic"):
        env = gymnasium.make(NAMES[1], image_px=64, scene={"end_mm": 40.0, "turns": 0, "plant": plant})
        env.reset(seed=1)
        ended = False
        while not ended:
            *_, ended, _, info = env.step(np.array([0.0, 1.0], np.float32))
        ends.append(info["cost_mm"])
    assert abs(ends[0] - ends[1]) > 0.01
    assert max(ends) < 5.0


def test_spinning_the_needle_keeps_it_straighter():
    ends = {}
    for spin in (0.0, 1.0):
        env = gymnasium.make(NAMES[1], image_px=64, scene={"end_mm": 80.0, "material": "bovine"})
        env.reset(seed=2)
        ended = False
        while not ended:
            *_, ended, _, info = env.step(np.array([spin, 1.0], np.float32))
        ends[spin] = info["cost_mm"]
    assert ends[1.0] < 0.5 * ends[0.0]


def test_what_is_ordered_goes_through_the_gate():
    """It grows from rest, is slowed down before the end of the travel, and a fault of the rig holds everything."""
    env = gymnasium.make(NAMES[1], image_px=64, scene={"end_mm": 80.0, "turns": 0})
    env.reset(seed=1)
    orders, world = [], env.unwrapped.world
    take = world.order
    world.order = lambda command: (orders.append(command), take(command))
    for _ in range(3):
        *_, info = env.step(np.array([0.0, 1.0], np.float32))
    assert info["refused"] is None
    assert [order.insertion_speed_mm_s for order in orders] == [10.0, 10.0, 10.0]
    assert orders[-1].expires_at_s <= world.time_s + 0.125
    world.rig.fault = "stalled"
    *_, info = env.step(np.array([0.0, 1.0], np.float32))
    assert info["refused"] == "robot fault"
    assert orders[-1].stop


def test_an_axis_at_the_end_of_its_travel_holds_nothing_up():
    env = gymnasium.make(NAMES[0], image_px=64, max_s=20.0)
    env.reset(seed=4)
    for _ in range(150):
        *_, info = env.step(np.array([0.0, 0.0, 0.0, 0.0, 1.0, 0.0], np.float32))  # 25 mm of the 10 that it has
        assert info["refused"] is None
    assert 9.0 < env.unwrapped.world.rig.probe_mm[2] <= 10.0


def test_environments_run_side_by_side():
    both = gymnasium.make_vec(NAMES[1], num_envs=2, vectorization_mode="async", image_px=64)
    observation, _ = both.reset(seed=[1, 2])
    assert observation["image"].shape == (2, 64, 64, 1)
    observation, reward, *_ = both.step(np.zeros((2, 2), np.float32))
    assert np.isfinite(reward).all()
    assert not np.array_equal(*observation["image"])
    both.close()


def test_tissue_may_be_kept_for_some_episodes():
    env = gymnasium.make(NAMES[0], image_px=64, episodes_per_tissue=2)
    names = [env.reset(seed=0)[1]["scene"], *(env.reset()[1]["scene"] for _ in range(2))]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    "options", [{"image_px": 0}, {"split": "exam"}, {"scene": {"angle_deg": -3.0}}, {"max_s": 0.0}]
)
def test_nonsense_is_refused_when_it_is_made(options):
    with pytest.raises(InputError):
        sonosteer.episodes.environments.InsertionEnv(**options)
