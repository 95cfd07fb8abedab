"""`expert`: the demonstrator of d-insert. Follows Paper V's principle with noise, delay and hesitations.

Source: Paper V, IV: expert demonstrations, 18 videos; who the experts were is not said. Ours, see
`policies/simulated_person.py`. An expert sees what an operator sees, the tracker's estimate and its visibility, never
the truth; holds the needle's robot by its controls, so that nothing trembles and the probe stands in the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.principle import Principle
from sonosteer.policies.simulated_person import OperatorModel, SimulatedPerson, State

#: ours: three operators; what is learnt from two can be tried on the third
OPERATOR_MODELS = {
    "careful": OperatorModel(
        Principle(fastest_mm_s=12.0, high=0.9, near_s=1.1), 0.2, 0.3, 0.08, pause_every_s=5.0, again=2
    ),
    "steady": OperatorModel(Principle(fastest_mm_s=16.0, near_s=0.9), 0.15, 0.3, 0.06, pause_every_s=8.0, again=2),
    "quick": OperatorModel(
        Principle(fastest_mm_s=20.0, high=0.7, near_s=0.8), 0.15, 0.5, 0.12, pause_every_s=12.0, again=2
    ),
}


@dataclass(frozen=True, slots=True)
class Expert:
    """operator_model: one of `OPERATOR_MODELS`, or one's own. seed: of the noise, the hesitations."""

    operator_model: str | OperatorModel = "steady"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.operator_model, OperatorModel) and self.operator_model not in OPERATOR_MODELS:
            raise InputError(
                f"there is no expert called {self.operator_model!r}; there are: {', '.join(OPERATOR_MODELS)}"
            )

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first look. InputError for a task with a number that is none, or a seed below 0."""
        return self._person().start(task)

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Look and work the controls."""
        return self._person().step(state, observation)

    def _person(self) -> SimulatedPerson:
        operator_model = (
            OPERATOR_MODELS[self.operator_model] if isinstance(self.operator_model, str) else self.operator_model
        )
        return SimulatedPerson(operator_model, self.seed)
