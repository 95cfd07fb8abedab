"""`operator`: a simulated operator, a model of somebody who holds needle and probe by hand. No person was measured.

Source: Paper V compares with manual insertion; who inserted, and how, is not said. Ours, see
`policies/simulated_person.py`: a reaction time of 0.25 s, tremor, a speed and an angle that drift, a probe that
wanders 1.5 mm (sd) across the needle, lapses of attention in which the hand pushes on, hesitations. It is told what
the tracker says of the image, so it sees a tip no sooner than the tracker does. Wherever it is reported it is called
a simulated operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.principle import Principle
from sonosteer.policies.simulated_person import OperatorModel, SimulatedPerson, State

#: ours: slower than a robot, stops less exactly, turns the needle less
BY_HAND = OperatorModel(
    principle=Principle(fastest_mm_s=12.0, near_s=1.1, within_mm=1.5, turn_gain=0.7),
    delay_s=0.25,
    sight_mm=1.0,
    uneven=0.3,
    tremor_mm_s=1.0,
    hand_rad=0.015,
    probe_y_mm=1.5,
    lapse_every_s=6.0,
    lapse_s=(0.2, 0.6),
    pause_every_s=4.0,
    pause_s=(0.3, 1.5),
)


@dataclass(frozen=True, slots=True)
class SimulatedOperator:
    """seed: who it is today; same seed, same hand."""

    operator_model: OperatorModel = field(default=BY_HAND)
    seed: int = 0

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first look. InputError for a task with a number that is none, or a seed below 0."""
        return SimulatedPerson(self.operator_model, self.seed).start(task)

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Look and move the hand."""
        return SimulatedPerson(self.operator_model, self.seed).step(state, observation)
