"""The needle on paper of `sonosteer.testing`, under the short names that the tests here use."""

from sonosteer.testing.kinematic_needle import NUMBERS, PLANNED_RAD
from sonosteer.testing.kinematic_needle import KinematicNeedle as Lane
from sonosteer.testing.kinematic_needle import insert_on_paper as run
from sonosteer.testing.kinematic_needle import kinematic_task as task
from sonosteer.testing.kinematic_needle import spoiled as spoil

__all__ = ["NUMBERS", "PLANNED_RAD", "Lane", "run", "spoil", "task"]
