"""`expert`: the demonstrator of d-insert, who follows the principle with noise, delay and hesitations.

Reference: Zhang et al. 2026, IV: expert demonstrations, 18 videos.

Departs from the paper: it does not say who the experts were. The model is `simulated_person`. An expert sees what an
operator sees: the tracker's estimate and its visibility, never the truth. The expert moves the robot by its controls.
So nothing trembles, and the probe stands in the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.principle import Principle
from sonosteer.policies.simulated_person import OperatorModel, PersonState, SimulatedPerson

#: chosen: three operators, so that what is learnt from two can be tried on the third
OPERATOR_MODELS = {
    "careful": OperatorModel(
        principle=Principle(max_speed_mm_s=12.0, high_visibility=0.9, approach_s=1.1),
        delay_s=0.2,
        offset_sd_mm=0.3,
        speed_sd_fraction=0.08,
        pause_every_s=5.0,
        confirmations=2,
    ),
    "steady": OperatorModel(
        principle=Principle(max_speed_mm_s=16.0, approach_s=0.9),
        delay_s=0.15,
        offset_sd_mm=0.3,
        speed_sd_fraction=0.06,
        pause_every_s=8.0,
        confirmations=2,
    ),
    "quick": OperatorModel(
        principle=Principle(max_speed_mm_s=20.0, high_visibility=0.7, approach_s=0.8),
        delay_s=0.15,
        offset_sd_mm=0.5,
        speed_sd_fraction=0.12,
        pause_every_s=12.0,
        confirmations=2,
    ),
}


@dataclass(frozen=True, slots=True)
class Expert:
    """The policy `expert`."""

    operator_model: str | OperatorModel = "steady"
    """How the expert works: a name from `OPERATOR_MODELS`, or a model of your own."""
    seed: int = 0
    """Seed of noise and hesitations."""

    def __post_init__(self) -> None:
        if not isinstance(self.operator_model, OperatorModel) and self.operator_model not in OPERATOR_MODELS:
            raise InputError(
                f"there is no expert called {self.operator_model!r}; there are: {', '.join(OPERATOR_MODELS)}"
            )

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> PersonState:
        """Return the state before the first look.

        Raises InputError if a number of the task is not finite or seed < 0.
        """
        return self._person().start(task)

    def step(self, state: PersonState, observation: Observation) -> tuple[PersonState, Action]:
        """Look and move the controls."""
        return self._person().step(state, observation)

    def _person(self) -> SimulatedPerson:
        operator_model = (
            OPERATOR_MODELS[self.operator_model] if isinstance(self.operator_model, str) else self.operator_model
        )
        return SimulatedPerson(operator_model, self.seed)
