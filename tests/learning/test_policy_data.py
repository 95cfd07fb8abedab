"""Demonstrations on disk, and as a policy learns from them."""

import dataclasses
import json

import numpy as np
import pytest
from toy_demonstrations import SPACING, make_set, scene

from sonosteer.core.errors import InputError
from sonosteer.core.types import Lost, TipEstimate
from sonosteer.datasets.demonstrations import Demonstrations, Doubt, pair_at, samples_with_tip
from sonosteer.datasets.insertion_card import describe_insertions
from sonosteer.datasets.insertions import EpisodeInfo, EpisodeWriter, InsertionSet, write_insertions
from sonosteer.inference.action_encoding import ACTION_RANGES, INPUT_RANGES, SPEED_INPUT, encode_action, encode_inputs

INFO = EpisodeInfo("000", "train", "in-plane-static", "agar", "toy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("d-insert"), episodes=4, samples=9)


def drawn(seed=0, **changes):
    task, frame, observation, action = scene(np.random.default_rng(seed), "in-plane-moving", "right")
    return task, frame, dataclasses.replace(observation, **changes), action


def same(a, b):
    """Two estimates (or other flat dataclasses), field by field."""
    for f in dataclasses.fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        assert np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y, f.name


def test_an_episode_comes_back_bit_by_bit(tmp_path):
    rng = np.random.default_rng(1)
    features = rng.standard_normal((5, 3)).astype(np.float32)
    task, frame, observation, action = drawn(features=features)
    lost = dataclasses.replace(observation, estimate=Lost(1, 1 / 3, 'gone, "they" say'), frame_index=1)
    plain = dataclasses.replace(observation.estimate, visibility=None, box_px=None, frame_index=2, covariance_mm2=None)
    odd = dataclasses.replace(observation, estimate=plain, frame_index=2)
    with EpisodeWriter(tmp_path, INFO, task) as writer:
        for each in (observation, lost, odd):
            writer.add(each, frame, dataclasses.replace(action, frame_index=each.frame_index))
        info = writer.finish()
    assert (info.moments, info.stopped) == (3, action.command.stop)
    write_insertions(tmp_path, {"name": "d-insert", "seed": 3}, [info])
    (episode,) = InsertionSet(tmp_path).episodes("train")
    assert episode.task == task
    assert np.array_equal(episode.frames[0], frame.pixels)
    assert np.array_equal(episode.features[2], features.astype(np.float16))
    back = [m.observation for m in episode.samples]
    same(back[0].estimate, observation.estimate)
    same(back[2].estimate, plain)
    assert back[1].estimate == Lost(1, observation.capture_time_s, "gone; 'they' say")
    assert all(o.robot_state == observation.robot_state and o.target_px == observation.target_px for o in back)
    assert episode.samples[0].action == action


def test_an_episode_that_was_not_finished_leaves_nothing(tmp_path):
    task, frame, observation, action = drawn()
    with pytest.raises(RuntimeError), EpisodeWriter(tmp_path, INFO, task) as writer:
        writer.add(observation, frame, action)
        raise RuntimeError
    assert list((tmp_path / "episodes").iterdir()) == []


def test_an_episode_is_all_of_one_kind(tmp_path):
    task, frame, observation, action = drawn()
    with EpisodeWriter(tmp_path, INFO, task) as writer:
        writer.add(observation, frame, action)
        with pytest.raises(InputError, match=r"some moments have frames\.npy and others do not"):
            writer.add(observation, None, action)
        smaller = dataclasses.replace(frame, pixels=frame.pixels[:50].copy())
        with pytest.raises(InputError, match="must stay alike"):
            writer.add(observation, smaller, action)
    with pytest.raises(InputError, match="split 'tests'"):
        dataclasses.replace(INFO, split="tests")


def test_what_is_wrong_with_a_set_is_one_line(folder, tmp_path):
    with pytest.raises(InputError, match="sonosteer dataset make d-insert"):
        InsertionSet(tmp_path)
    (tmp_path / "dataset.json").write_text('{"videos": []}')
    with pytest.raises(InputError, match="another kind"):
        InsertionSet(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="cannot be used"):
        InsertionSet(tmp_path)
    make_set(tmp_path, episodes=2, samples=3)
    one = tmp_path / "episodes" / "000"
    whole = (one / "frames.npy").read_bytes()
    (one / "frames.npy").write_bytes(whole[:-5])
    with pytest.raises(InputError, match=r"frames\.npy cannot be read"):
        _ = InsertionSet(tmp_path).episodes()[0].frames
    (one / "moments.csv").write_text((one / "moments.csv").read_text().replace("tracking", "asleep", 1))
    with pytest.raises(InputError, match="line 2"):
        _ = InsertionSet(tmp_path).episodes()[0].samples
    (one / "task.json").write_text("[]")
    with pytest.raises(InputError, match=r"task\.json cannot be used"):
        _ = InsertionSet(tmp_path).episodes()[0].task


def test_the_card_counts_what_is_there(folder):
    said = describe_insertions(folder)
    assert said["episodes"] == 4
    assert said["moments"] == 36
    assert {k: v["episodes"] for k, v in said["by_split"].items()} == {"train": 3, "validation": 1}
    assert set(said["by_technique"]) == {"in-plane-static", "in-plane-moving"}
    card = (folder / "README.md").read_text()
    assert "| split | train | 3 | 27 |" in card
    assert "no patient" in card
    json.dumps(said)


# -- as numbers ------------------------------------------------------------------------------------------------


def test_a_tip_without_a_scale_has_no_numbers():
    task, _, observation, _ = drawn()
    unscaled = dataclasses.replace(observation.estimate, covariance_mm2=None)
    with pytest.raises(InputError, match="the scale is unknown"):
        encode_inputs(task, observation, unscaled)


def test_left_and_right_are_one_task():
    """A mirrored moment has the same numbers, but for the box, which lies where the image has it."""
    task, _, observation, action = drawn()
    estimate, width = observation.estimate, 120
    box = estimate.box_px
    mirrored = dataclasses.replace(
        observation,
        estimate=dataclasses.replace(
            estimate,
            tip_px=(width - estimate.tip_px[0], estimate.tip_px[1]),
            box_px=(width - box[2], box[1], width - box[0], box[3]),
        ),
        target_px=(width - observation.target_px[0], observation.target_px[1]),
        robot_state=dataclasses.replace(observation.robot_state, probe_mm=(-3.0, 0.0, 0.0)),
    )
    observation = dataclasses.replace(
        observation, robot_state=dataclasses.replace(observation.robot_state, probe_mm=(3.0, 0.0, 0.0))
    )
    other = dataclasses.replace(task, enters="left")
    a, b = encode_inputs(task, observation, observation.estimate), encode_inputs(other, mirrored, mirrored.estimate)
    alike = [k for k, r in enumerate(INPUT_RANGES) if r.name not in ("left_mm", "right_mm")]
    assert a[alike] == pytest.approx(b[alike], abs=1e-6)
    turned = dataclasses.replace(action.command, probe_velocity_mm_s=(-action.command.probe_velocity_mm_s[0], 0.0, 0.0))
    back = dataclasses.replace(action, command=turned)
    now = observation.robot_state
    assert encode_action(task, action, now) == pytest.approx(encode_action(other, back, mirrored.robot_state))


def test_along_is_what_is_left_and_numbers_stay_in_their_ranges():
    task, _, observation, _ = drawn(3)
    n = encode_inputs(task, observation, observation.estimate)
    value = {r.name: r.value(p) for r, p in zip(INPUT_RANGES, n.tolist(), strict=True)}
    distance = np.hypot(value["ahead_mm"], value["below_mm"])
    assert abs(value["across_mm"]) < 0.5
    assert value["along_mm"] == pytest.approx(min(distance, 20.0), abs=0.5)
    far = dataclasses.replace(observation, target_px=(1e9, -1e9))
    assert ((encode_inputs(task, far, far.estimate) >= 0) & (encode_inputs(task, far, far.estimate) <= 1)).all()


def test_a_pair_of_crops_lies_around_the_tip(folder):
    place = samples_with_tip(InsertionSet(folder).episodes("train"))[4]
    pair = pair_at(place, 32, 0.4)
    assert pair.shape == (2, 32, 32)
    tip = place.sample.observation.estimate.tip_px
    inside = all(20 < v < 100 for v in tip)
    assert not inside or pair[1, 13:19, 13:19].max() > 55
    assert SPACING.x_mm == 0.4


def test_a_frame_that_does_not_follow_stands_for_the_one_before_itself(tmp_path):
    task, frame, observation, action = drawn()
    darker = dataclasses.replace(frame, pixels=frame.pixels // 2)
    with EpisodeWriter(tmp_path, INFO, task) as writer:
        for index, image in ((5, frame), (6, darker), (9, frame)):
            writer.add(dataclasses.replace(observation, frame_index=index), image, action)
        write_insertions(tmp_path, {}, [writer.finish()])
    first, follows, later = (pair_at(p, 32, 0.4) for p in samples_with_tip(InsertionSet(tmp_path).episodes()))
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(follows[0], follows[1])
    assert np.array_equal(follows[0], first[1])
    assert np.array_equal(later[0], later[1])


def encode(text):
    return [len(text), ord(text[40])]


def test_an_epoch_holds_every_moment_once_and_is_the_same_again(folder):
    places = samples_with_tip(InsertionSet(folder).episodes())
    features = np.arange(len(places), dtype=np.float16)[:, None, None].repeat(2, 1)
    first, second = (Demonstrations(places, features, encode, 5) for _ in range(2))
    n = len(first)
    order = [int(v) for k in range(0, n, 6) for v in first.batch(k, 6).features[:, 0, 0]]
    assert sorted(order) == list(range(n))
    assert order == [int(v) for v in second.batch(0, n).features[:, 0, 0]]
    assert order != [int(v) for v in first.batch(n, n).features[:, 0, 0]]
    assert sorted(int(v) for v in first.batch(n // 2, n).features[:, 0, 0]) != order
    lot = first.rows(np.array([3]))
    assert lot.places[0] == pytest.approx(
        encode_action(places[3].episode.task, places[3].sample.action, places[3].sample.observation.robot_state)
    )


def test_doubt_is_the_same_again_and_touches_nothing_that_is_kept(folder):
    places = samples_with_tip(InsertionSet(folder).episodes())
    features = np.ones((len(places), 2, 3), np.float16)
    learnt = Demonstrations(places, features, encode, 5, Doubt(0.5, 0.5, 0.02))
    before = learnt.numbers.copy()
    a, b = learnt.batch(0, 24), learnt.batch(0, 24)
    assert np.array_equal(a.numbers, b.numbers)
    assert np.array_equal(a.features, b.features)
    assert 2 < (a.features[:, 0, 0] == 0).sum() < 22
    assert ((a.numbers >= 0) & (a.numbers <= 1)).all()
    plain = Demonstrations(places, features, encode, 5).batch(0, 24)
    others = [k for k in range(len(INPUT_RANGES)) if k != SPEED_INPUT]
    assert np.abs(a.numbers - plain.numbers)[:, others].max() < 0.1
    assert np.abs(a.numbers - plain.numbers)[:, SPEED_INPUT].max() > 0.1
    assert np.array_equal(before, learnt.numbers)
    assert (features == 1).all()
    with pytest.raises(InputError, match="forget 2"):
        Doubt(forget=2.0)


def test_nothing_to_learn_from_is_said(folder):
    with pytest.raises(InputError, match="no moment with a tip"):
        samples_with_tip([])
    assert all(
        isinstance(p.sample.observation.estimate, TipEstimate)
        for p in samples_with_tip(InsertionSet(folder).episodes())
    )
    assert [r.name for r in ACTION_RANGES] == ["turn_deg", "insertion_mm_s", "probe_mm_s"]
