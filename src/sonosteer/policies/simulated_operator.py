"""`operator`: a simulated operator, a model of somebody who holds needle and probe by hand. No person was measured.

Reference: Zhang et al. 2026 compare with manual insertion.

Departs from the paper: it does not say who inserted, and how. The model is `simulated_person`: a reaction time of 0.25
s, tremor, a speed and an angle that drift, and a probe that wanders 1.5 mm (sd) across the needle. Attention lapses
while the hand pushes on, and the hand hesitates. The operator gets the tracker's estimate. So it sees a tip no sooner
than the tracker does. Every report calls it a simulated operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.principle import Principle
from sonosteer.policies.simulated_person import OperatorModel, PersonState, SimulatedPerson

#: chosen: slower than a robot, stops less exactly, turns the needle less
BY_HAND = OperatorModel(
    principle=Principle(max_speed_mm_s=12.0, approach_s=1.1, within_mm=1.5, turn_gain=0.7),
    delay_s=0.25,
    offset_sd_mm=1.0,
    speed_sd_fraction=0.3,
    tremor_mm_s=1.0,
    angle_sd_rad=0.015,
    probe_y_sd_mm=1.5,
    lapse_every_s=6.0,
    lapse_s=(0.2, 0.6),
    pause_every_s=4.0,
    pause_s=(0.3, 1.5),
)


@dataclass(frozen=True, slots=True)
class SimulatedOperator:
    """The policy `operator`."""

    operator_model: OperatorModel = field(default=BY_HAND)
    """How the operator works."""
    seed: int = 0
    """Seed of the noise. Same seed, same hand."""

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> PersonState:
        """Return the state before the first look.

        Raises InputError if a number of the task is not finite or seed < 0.
        """
        return SimulatedPerson(self.operator_model, self.seed).start(task)

    def step(self, state: PersonState, observation: Observation) -> tuple[PersonState, Action]:
        """Look and move the hand."""
        return SimulatedPerson(self.operator_model, self.seed).step(state, observation)
