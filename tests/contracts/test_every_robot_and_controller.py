"""Every registered robot driver and steering controller keeps the laws of `sonosteer.testing`."""

import pytest

from sonosteer.core.clock import SimulatedClock
from sonosteer.robots.table import ROBOTS, make_robot
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.steering.table import CONTROLLERS, make_steerer
from sonosteer.testing import check_controller, check_robot

DRIVES = {"hold": SimulatedClock, "simulated": lambda: World(make_scene("in-plane-convex/train", 2, mode="ips"))}
SETTINGS = {"moves": {"tries": 60}}


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_keeps_the_laws(name):
    check_robot(make_robot(name, DRIVES[name]()))


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_controller_keeps_the_laws(name):
    check_controller(lambda: make_steerer(name, **SETTINGS.get(name, {})))
