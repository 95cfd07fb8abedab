"""The closed loop: a hand, a probe, images, a controller, a needle on a beam."""

import dataclasses
import math

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.types import RollCommand, TipEstimate, Track
from sonosteer.episodes.steering import (
    DEVICE,
    PACE,
    SteeringConfig,
    SteeringRow,
    build_steering_episode,
    path_errors,
    run_steering_episode,
)
from sonosteer.safety.cleared import genuine

pytestmark = pytest.mark.slow

SPLIT = "validation"


def go(seed=3, tissue="porcine", controller="moves", images=False, depth=120.0, settings=None, **fields):
    config = SteeringConfig(
        controller=controller,
        tissue=tissue,
        seed=seed,
        split=SPLIT,
        depth_mm=depth,
        controller_settings=settings or {},
        tracker="axial" if images else None,
        breath_known=fields.get("breathing_mm", 0.0) > 0,
        scene_fields=fields,
    )
    return run_steering_episode(build_steering_episode(config), SimulatedClock())


def short_episode(**parts):
    """60 mm of porcine tissue, with a steerer or a tracker of one's own."""
    config = SteeringConfig(controller="moves", split=SPLIT, depth_mm=60.0, tracker=None)
    return dataclasses.replace(build_steering_episode(config), **parts)


def test_from_images_alone_the_needle_arrives():
    done = go(images=True, pauses=2, retractions=1)
    e = path_errors(done.path(), 120.0)
    assert done.ended == "target depth reached"
    assert e.final_mm < 0.9
    assert e.mean_mm < 0.5
    assert done.rotation_rad <= 3 * math.pi + 1e-9
    assert done.ledger.frames == done.ledger.outcomes["used"] == len(done.rows)
    assert done.refused.keys() <= {"insertion speed while the tip is lost"}
    assert 119.9 < done.path()[-1, 0] < 120.03  # no further than its encoder can tell
    depth = done.column("depth_mm")
    assert (np.diff(depth) < -0.01).any()  # it was drawn back
    assert (np.diff(done.path()[:, 0]) > 0).all()


def test_control_beats_none():
    final = {name: path_errors(go(controller=name).path(), 120.0).final_mm for name in ("moves", "none")}
    assert final["moves"] < 0.9
    assert final["none"] > 2.0


def test_the_same_seed_gives_the_same_insertion():
    a, b = (go(images=True, depth=30.0) for _ in range(2))
    assert a.rows == b.rows


def test_breathing_with_its_signal_is_taken_out():
    breathing = {"breathing_mm": 1.5}
    known = go(settings={"breathing": True}, **breathing)
    assert path_errors(known.path(), 120.0).final_mm < 1.0


def test_what_a_controller_wants_reaches_the_rig_through_the_gate_alone():
    """Every order is cleared, lasts a tenth of a second, and turns no faster than the gate allows."""
    episode = short_episode()
    world, robot, sent = episode.world, episode.robot, []
    cleared_by = robot.send
    robot.send = lambda cleared: (sent.append(cleared), cleared_by(cleared))
    heard = []
    take = world.order
    world.order = lambda command: (heard.append(command), take(command))
    done = run_steering_episode(episode, SimulatedClock())
    assert done.ended == "target depth reached"
    moving = [command for command in heard if not command.stop]
    assert moving == [cleared.command for cleared in sent if not cleared.command.stop]
    assert all(genuine(cleared) for cleared in sent)
    order_s = episode.gate.limits.order_s
    assert (
        order_s > PACE.period_s + DEVICE.latency_s + 0.01
    )  # else the needle stands for a moment before each next order
    ordered_mm = PACE.period_s * sum(command.insertion_speed_mm_s for command in moving)
    assert done.path()[-1, 0] - done.path()[0, 0] == pytest.approx(ordered_mm, rel=0.01)
    rolls = np.array([command.roll_rad for command in moving])
    assert np.abs(np.diff(rolls)).max() <= 6.0 * PACE.period_s + 1e-9


def test_the_gate_lets_a_steered_needle_go_no_further_than_its_target():
    """A hand that does not stop is stopped."""
    episode = short_episode()
    deeper = dataclasses.replace(episode.hand, depth_mm=80.0)
    assert episode.gate.limits.depth_mm == (0.0, 60.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(episode), "hand", property(lambda self: deeper))
        done = run_steering_episode(episode, SimulatedClock())
    assert done.refused["depth"] > 0
    assert 58.0 < done.path()[-1, 0] <= 60.5


def test_a_robot_that_is_gone_ends_the_run_and_says_so():
    episode = short_episode()
    episode.robot.break_("disconnects")
    done = run_steering_episode(episode, SimulatedClock())
    assert done.run.broke is not None
    assert "connection lost" in done.run.broke
    assert done.held_because["robot"] > 0
    assert done.path()[-1, 0] < 2.1


class Still:
    def prepare(self):
        pass

    def start(self, roll_rad):
        return roll_rad

    def step(self, state, measurement):
        return state, RollCommand(state, "stop: enough", stop=measurement.depth_mm > 20)


def test_a_stop_stops_the_hand():
    done = run_steering_episode(short_episode(steerer=Still()), SimulatedClock())
    assert done.warned
    assert done.ended == "stop: enough"
    assert 20 < done.path()[-1, 0] < 21.5


class Blind:
    """A tracker that sees for a while and then no more."""

    def prepare(self):
        pass

    def start(self, hint):
        return 0

    def step(self, state, frame):
        from sonosteer.core.types import Lost

        return state + 1, Lost(frame.index, frame.time_s, "blind")


class Unscaled(Blind):
    """A tracker that speaks of pixels only."""

    def step(self, state, frame):
        tip = TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(100.0, 100.0),
            angle_rad=0.0,
            covariance_mm2=None,
            confidence=1.0,
            state=Track.TRACKING,
            entry_px=(0.0, 0.0),
            covariance_px2=np.eye(2),
        )
        return state, tip


def test_a_tip_without_a_scale_is_no_tip_for_a_controller():
    done = run_steering_episode(short_episode(tracker=Unscaled()), SimulatedClock())
    assert done.ended == "stop: the tip is lost"
    assert done.rotation_rad == 0.0


def test_without_a_tip_the_hand_waits_and_gives_up():
    done = run_steering_episode(short_episode(tracker=Blind()), SimulatedClock())
    assert done.ended == "stop: the tip is lost"
    assert done.rotation_rad == 0.0
    assert done.path()[-1, 0] < 2.1  # where it began: nothing is pushed unseen


def test_the_base_lags_by_the_backlash():
    done = go()
    behind = np.abs(done.column("ordered_rad") - done.column("base_rad"))
    assert behind[-1] <= DEVICE.roll_backlash_rad / 2 + 1e-6
    assert len(done.rows[0]) == len(SteeringRow._fields)


def test_errors_of_a_bent_reference():
    depth = np.linspace(0, 100, 101)
    path = np.stack([depth, 3 * (depth / 100) ** 2, np.zeros(101)], 1)
    on = path_errors(path, 100.0, (3.0, 0.0))
    assert (on.final_mm, on.max_mm) == pytest.approx((0.0, 0.0), abs=1e-12)
    assert path_errors(path, 100.0).mean_mm == pytest.approx(1.0, abs=0.01)


class Worried(Still):
    def step(self, state, measurement):
        deep = f"warning: it is {measurement.depth_mm:.1f} mm deep" if measurement.depth_mm > 5 else "steer"
        why = "warning: enough" if measurement.depth_mm > 20 else deep
        return state, RollCommand(state, why, stop=measurement.depth_mm > 22)


def test_what_a_controller_warns_of_is_kept_once_of_each_kind():
    done = run_steering_episode(short_episode(steerer=Worried()), SimulatedClock())
    first, second = done.warnings
    assert first.startswith("at 5 mm: it is 5.")
    assert second == "at 20 mm: enough"
