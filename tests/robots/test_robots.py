"""Drivers take what the gate has cleared; and what they do when something is wrong with them."""

import dataclasses
import math
import threading

import numpy as np
import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Action, Command, TipEstimate, Track
from sonosteer.robots.simulated import LINK_FAULTS, SimulatedRobot
from sonosteer.robots.table import make_robot
from sonosteer.safety.gate import Cleared, Gate, GateInput
from sonosteer.sim.rig import RigLimits
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World

SCENE = make_scene("in-plane-convex/train", 2, mode="ips", material="rigid", roll_deg=0.0)


class Deck:
    """A world with a robot and a gate: one order after another, cleared as in a run."""

    def __init__(self, **limits):
        self.world = World(SCENE, RigLimits(encoder_mm=0.0, encoder_rad=0.0, **limits))
        self.robot = SimulatedRobot(self.world)
        self.gate = Gate()
        self.state = self.gate.start(0.0)
        self.frame = 0

    def cleared(self, **wanted):
        now, robot_state = self.world.time_s, self.world.read()
        self.frame += 1
        tip = TipEstimate(self.frame, now, (100.0, 100.0), 0.7, 0.01 * np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0))
        still = {"insertion_angle_rad": robot_state.insertion_angle_rad, "roll_rad": robot_state.roll_rad}
        action = Action(self.frame, now, Command(expires_at_s=now + 0.35, **(still | wanted)))
        gate_input = GateInput(now, robot_state, tip, Spacing(0.25, 0.25))
        self.state, verdict = self.gate.clear(self.state, action, gate_input)
        assert isinstance(verdict, Cleared), verdict
        return verdict

    def push(self, ticks, speed=5.0):
        for _ in range(ticks):
            self.robot.send(self.cleared(insertion_speed_mm_s=speed))
            self.world.advance(0.01)


@pytest.fixture
def deck():
    return Deck()


def test_an_order_moves_the_needle_and_the_encoders_say_so(deck):
    before = deck.robot.read().depth_mm
    deck.push(100)
    assert deck.robot.read().depth_mm - before == pytest.approx(5.0, abs=0.3)
    assert deck.robot.read().insertion_speed_mm_s == pytest.approx(5.0)


def test_every_axis_of_an_order_arrives(deck):
    angle = deck.world.read().insertion_angle_rad + 0.05
    for _ in range(30):
        deck.robot.send(deck.cleared(insertion_angle_rad=angle, roll_rad=1.0, probe_velocity_mm_s=(4.0, -2.0, 0.0)))
        deck.world.advance(0.01)
        assert deck.world.rig.depth_mm == SCENE.start_mm
    robot_state = deck.robot.read()
    assert robot_state.insertion_angle_rad == pytest.approx(angle)
    assert robot_state.roll_rad == pytest.approx(1.0)
    assert robot_state.probe_mm == pytest.approx((1.2, -0.6, 0.0), abs=0.1)


@pytest.mark.parametrize("latency_s", [0.0, 0.05])
def test_a_hold_stops_everything_where_it_is_and_lasts(latency_s):
    deck = Deck(latency_s=latency_s)
    deck.push(50)
    deck.robot.send(deck.cleared(insertion_speed_mm_s=5.0, probe_velocity_mm_s=(4.0, 0.0, 0.0), roll_rad=2.0))
    deck.robot.hold("told so")
    deck.world.advance(latency_s + 0.05)
    where = dataclasses.replace(deck.robot.read(), time_s=0.0)
    deck.world.advance(2.0)
    assert dataclasses.replace(deck.robot.read(), time_s=0.0) == where
    assert where.insertion_speed_mm_s == 0.0
    assert deck.robot.held_because == "told so"


def test_a_hold_that_is_repeated_does_not_wander_with_the_encoders_noise():
    world = World(SCENE, RigLimits(encoder_rad=0.005))
    robot = SimulatedRobot(world)
    for _ in range(300):
        robot.hold("waiting")
        world.advance(0.01)
    assert abs(world.rig.insertion_angle_rad - SCENE.angle_rad) < 0.02


def test_a_cleared_stop_is_a_hold(deck):
    deck.push(30)
    deck.robot.send(deck.cleared(stop=True))
    deck.world.advance(0.1)
    assert deck.robot.read().insertion_speed_mm_s == 0.0
    assert deck.robot.held_because == "stop"


@pytest.mark.parametrize("fault", [None, *LINK_FAULTS])
def test_nothing_moves_after_an_order_has_expired_whatever_is_wrong(deck, fault):
    deck.push(50)
    if fault is not None:
        deck.robot.break_(fault)
    deck.world.advance(0.2)
    at = deck.world.rig.depth_mm
    deck.world.advance(1.0)
    assert deck.world.rig.depth_mm == at
    assert deck.world.rig.insertion_speed_mm_s == 0.0


def test_a_robot_that_refuses_says_so_and_can_be_held(deck):
    deck.push(20)
    order = deck.cleared(insertion_speed_mm_s=5.0)
    deck.robot.break_("refuses")
    with pytest.raises(RobotError, match="refuses"):
        deck.robot.send(order)
    deck.robot.hold("it refuses")
    deck.world.advance(0.05)
    assert deck.robot.read().insertion_speed_mm_s == 0.0
    deck.robot.mend()
    deck.push(10)
    assert deck.robot.read().insertion_speed_mm_s > 0.0


def test_a_robot_that_is_gone_neither_reads_nor_hears(deck):
    order = deck.cleared(insertion_speed_mm_s=5.0)
    deck.robot.break_("disconnects")
    for ask in (deck.robot.read, lambda: deck.robot.send(order), lambda: deck.robot.hold("gone")):
        with pytest.raises(RobotError, match="connection lost"):
            ask()
    deck.world.advance(0.5)
    assert deck.world.rig.depth_mm == SCENE.start_mm
    deck.robot.close()


def test_a_deaf_robot_says_yes_and_does_nothing(deck):
    deck.robot.break_("deaf")
    deck.push(30)
    deck.robot.hold("not heard")
    assert deck.robot.held_because is None
    assert deck.world.rig.depth_mm == SCENE.start_mm
    assert deck.robot.read().depth_mm == SCENE.start_mm


def test_an_order_that_was_changed_after_it_was_cleared_is_refused(deck):
    order = deck.cleared(insertion_speed_mm_s=5.0)
    object.__setattr__(order.command, "insertion_speed_mm_s", math.nan)  # as no gate would
    with pytest.raises(RobotError, match="takes only what the safety gate has cleared"):
        deck.robot.send(order)


def test_an_unknown_fault_is_named(deck):
    with pytest.raises(InputError, match="refuses, disconnects, deaf"):
        deck.robot.break_("melts")


def test_many_threads_may_use_it_while_the_world_moves_on(deck):
    errors, order = [], deck.cleared(insertion_speed_mm_s=5.0)

    def use():
        try:
            for _ in range(100):
                deck.robot.send(order)
                deck.robot.read()
                deck.robot.hold("a thread")
        except RobotError as e:
            errors.append(e)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for t in threads:
        t.start()
    for _ in range(100):
        with deck.robot.lock:
            deck.world.advance(0.001)
    for t in threads:
        t.join()
    assert errors == []


def test_the_null_robot_moves_nothing(deck):
    clock = SimulatedClock()
    robot = make_robot("hold", clock, angle_rad=0.6)
    before = robot.read()
    robot.send(deck.cleared(insertion_speed_mm_s=5.0))
    clock.advance(1.0)
    assert robot.read() == dataclasses.replace(before, time_s=1.0)


def test_an_unknown_robot_is_named():
    with pytest.raises(InputError, match="there is no robot called 'nobody'"):
        make_robot("nobody")
