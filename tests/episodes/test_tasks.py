"""Targets on the needle's way, and who has reached them."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.episodes.tasks import Judge, insertion_task
from sonosteer.metrics.success import HIT_MM
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.truth import NeedleTruth
from sonosteer.sim.world import World

TARGET = (50.0, 0.0, 0.0)
JUDGE = Judge(TARGET)


def world(seed=0, mode="ips", **more):
    fields = {"width_px": 64, "height_px": 64, "spacing_mm": 2.0, **more}
    return World(make_scene("in-plane-convex/train", seed, mode=mode, **fields))


def truth(x, y=0.0, z=0.0, time_s=0.0, visible=True, speed=10.0):
    """A needle along x whose tip is here."""
    return NeedleTruth(
        0, time_s, (x, z), 0.0, visible, x, speed, bright_px=None, tip_mm=(x, y, z), direction=(1.0, 0.0, 0.0),
        shaft_px=(), out_of_plane_mm=0.0, visibility_db=0.0, roll_rad=0.0, axial_n=0.0, bevel_n=0.0, guide_n=0.0,
        occluded=(), probe_mm=(0.0, 0.0, 0.0), tissue_mm=(0.0, 0.0), repeated=False,
    )  # fmt: skip


def judged(judge, path):
    """The first outcome along a path of truths, stopped at its end."""
    watched = judge.start()
    for each in path[:-1]:
        watched, outcome = judge.step(watched, each)
        if outcome is not None:
            return outcome
    return judge.step(watched, path[-1], stopped=True)[1]


def pushed(to, y=0.0, z=0.0, visible=lambda x: True, speed=10.0):
    steps = np.arange(0.0, to + 0.25, 0.5)
    return [truth(x, y * x / 50, z * x / 50, x / speed, visible(x), speed) for x in steps.tolist()]


@pytest.mark.parametrize("mode", ["ips", "ipm"])
@pytest.mark.parametrize("seed", range(6))
def test_a_target_lies_on_the_way_and_in_the_picture(mode, seed):
    w = world(seed, mode)
    task, target = insertion_task(w, np.random.default_rng(seed))
    scene, way = w.scene, target - np.array(w.scene.entry_mm)
    share = (way @ np.array(scene.direction) - scene.start_mm) / (scene.end_mm + scene.probe_slide_mm - scene.start_mm)
    assert 0.5 < share < 1.0
    assert abs(way[1]) < 1.5
    assert task.technique == {"ips": "in-plane-static", "ipm": "in-plane-moving"}[mode]
    assert (task.angle_rad, task.enters, task.spacing) == (scene.angle_rad, scene.enters, w.spacing)
    assert task.target_px == w.to_px(tuple(target.tolist()), (0.0, 0.0, 0.0))
    moved = task.target_at((math.copysign(scene.probe_slide_mm, scene.direction[0]), 0.0, 0.0))
    assert 0 < moved[0] < 64
    assert 0 < moved[1] < 64


def test_the_same_chance_draws_the_same_task_and_a_moving_probe_gets_farther():
    standing, again, moving = (insertion_task(world(3, m), np.random.default_rng(1)) for m in ("ips", "ips", "ipm"))
    assert np.array_equal(standing[1], again[1])
    assert standing[0] == again[0]
    assert moving[1][2] > standing[1][2]


def test_an_axial_scene_has_no_insertion_task():
    with pytest.raises(InputError, match="axial"):
        insertion_task(World(make_scene("axial", 0)), np.random.default_rng(0))


@pytest.mark.parametrize(("to", "hit"), [(46.0, True), (50.0, True), (54.5, True), (44.0, False)])
def test_success_is_the_tip_within_five_millimetres_where_it_stops(to, hit):
    outcome = judged(JUDGE, pushed(to))
    assert outcome.success == hit
    assert outcome.reason == ("hit" if hit else "stopped elsewhere")
    assert outcome.final_error_mm == pytest.approx(abs(to - 50.0), abs=0.5)
    assert outcome.time_s == pytest.approx(to / 10, abs=0.1)


def test_what_counts_is_the_distance_in_space():
    assert judged(JUDGE, pushed(50.0, y=3.0, z=3.0)).success
    assert not judged(JUDGE, pushed(50.0, y=4.0, z=4.0)).success


def test_a_target_that_was_passed_is_a_failure_at_once():
    outcome = judged(JUDGE, pushed(80.0))
    assert outcome.reason == "passed the target"
    assert outcome.final_error_mm == pytest.approx(HIT_MM + 0.5, abs=0.01)


def test_a_tip_that_strays_from_the_line_is_a_failure():
    assert judged(JUDGE, pushed(49.0, z=12.0)).reason == "off the line"
    assert judged(Judge(TARGET, max_stray_mm=15.0), pushed(49.0, z=12.0)).reason == "stopped elsewhere"


def test_complete_loss_is_a_long_way_without_a_sight():
    assert judged(JUDGE, pushed(50.0, visible=lambda x: x < 15.0)).reason == "lost from sight"
    assert judged(JUDGE, pushed(50.0, visible=lambda x: x < 30.0)).success
    assert judged(JUDGE, pushed(50.0, visible=lambda x: x % 20 < 0.5)).success


def test_complete_loss_is_a_long_time_of_moving_without_a_sight():
    slow = pushed(50.0, visible=lambda x: not 10.0 < x < 30.0, speed=2.0)
    assert judged(JUDGE, slow).reason == "lost from sight"


def test_a_needle_that_waits_unseen_is_not_lost():
    waiting = [truth(20.0, time_s=t, visible=False, speed=0.0) for t in np.arange(0.0, 60.0).tolist()]
    watched = JUDGE.start()
    for each in waiting:
        watched, outcome = JUDGE.step(watched, each)
        assert outcome is None


def test_time_runs_out():
    judge = Judge(TARGET, max_time_s=5.0)
    assert judged(judge, pushed(45.0, speed=2.0)).reason == "time out"


def test_who_gives_up_has_failed_even_near_the_target():
    watched = JUDGE.start()
    for each in pushed(50.0):
        watched, _ = JUDGE.step(watched, each)
    outcome = JUDGE.give_up(watched)
    assert (outcome.success, outcome.reason) == (False, "gave up")
    assert outcome.final_error_mm < 0.5


def test_without_a_needle_nothing_is_reached():
    bare = dataclasses.replace(truth(0.0), tip_mm=None)
    _, outcome = JUDGE.step(JUDGE.start(), bare, stopped=True)
    assert outcome.reason == "stopped elsewhere"
    assert outcome.final_error_mm is None


@pytest.mark.parametrize("field", ["within_mm", "max_stray_mm", "max_unseen_mm", "max_unseen_s", "max_time_s"])
def test_a_judge_without_a_rule_is_refused(field):
    with pytest.raises(InputError, match=field):
        Judge(TARGET, **{field: 0.0})
    with pytest.raises(InputError, match=field):
        Judge(TARGET, **{field: math.nan})


def test_a_target_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="target_mm"):
        Judge((math.nan, 0.0, 0.0))
