"""`expert`: the demonstrator of d-insert. Follows Paper V's principle with noise, delay and hesitations.

Source: Paper V, IV: expert demonstrations, 18 videos; who the experts were is not said. Ours, see `policies/person.py`.
An expert sees what an operator sees, the tracker's estimate and its visibility, never the truth; holds the needle's
robot by its controls, so that nothing trembles and the probe stands in the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

from sonosteer.core.errors import InputError
from sonosteer.core.types import Action, Observation, Task
from sonosteer.policies.person import Manner, Person, State
from sonosteer.policies.principle import Principle

#: ours: three operators; what is learnt from two can be tried on the third
MANNERS = {
    "careful": Manner(Principle(fastest_mm_s=12.0, high=0.9, near_s=1.1), 0.2, 0.3, 0.08, pause_every_s=5.0, again=2),
    "steady": Manner(Principle(fastest_mm_s=16.0, near_s=0.9), 0.15, 0.3, 0.06, pause_every_s=8.0, again=2),
    "quick": Manner(Principle(fastest_mm_s=20.0, high=0.7, near_s=0.8), 0.15, 0.5, 0.12, pause_every_s=12.0, again=2),
}


@dataclass(frozen=True, slots=True)
class Expert:
    """manner: one of `MANNERS`, or one's own. seed: of the noise, the hesitations."""

    manner: str | Manner = "steady"
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.manner, Manner) and self.manner not in MANNERS:
            raise InputError(f"there is no expert called {self.manner!r}; there are: {', '.join(MANNERS)}")

    def prepare(self) -> None:
        """Nothing to compile."""

    def start(self, task: Task) -> State:
        """Before the first look. InputError for a task with a number that is none, or a seed below 0."""
        return self._person().start(task)

    def step(self, state: State, observation: Observation) -> tuple[State, Action]:
        """Look and work the controls."""
        return self._person().step(state, observation)

    def _person(self) -> Person:
        manner = MANNERS[self.manner] if isinstance(self.manner, str) else self.manner
        return Person(manner, self.seed)
