"""Every registered policy keeps the laws of `sonosteer.testing`. `vla` is asked with a network that always pushes."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.types import RobotState
from sonosteer.inference.policy_network import PolicyReply
from sonosteer.policies.table import POLICIES, make_policy
from sonosteer.testing import KinematicNeedle, check_policy
from sonosteer.testing.policies import PolicyTraits, action_numbers


class Pushes:
    """Instead of vla's network: says "push on" to everything."""

    features_shape = (1, 2, 4)

    def begin(self, words):
        return np.zeros(1, np.float32)

    def act(self, prefix, features, numbers):
        return PolicyReply((0.5, 0.8, 0.5), 0.0)


FEATURES = np.zeros(Pushes.features_shape, np.float32)
FEATURES.flags.writeable = False

#: what each is meant to do; one that is not named here is held to the laws as they stand
TRAITS = {
    "hold": PolicyTraits(stops=False),
    "vla": PolicyTraits(stops=False, features=FEATURES),  # its network here never says stop
    "constant": PolicyTraits(moves_probe=True),
    "visibility": PolicyTraits(moves_probe=True),
    "steer": PolicyTraits(moves_probe=True),
    "expert": PolicyTraits(moves_probe=True, blind_s=0.3),
    # a person has to notice that the tip is gone, turns the needle a little, and has lapses of attention
    "operator": PolicyTraits(moves_probe=True, blind_s=0.9, final_error_mm=8.0, holds_angle=False),
}


def build(name):
    return make_policy(name, network=Pushes()) if name == "vla" else make_policy(name)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_keeps_the_laws(name):
    check_policy(lambda: build(name), TRAITS.get(name))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_number_whatsoever_comes_back_as_none(data):
    policy, needle = build(data.draw(st.sampled_from(list(POLICIES)))), KinematicNeedle()
    state = policy.start(needle.task)
    anything = st.floats(allow_nan=True, allow_infinity=True)
    for _ in range(3):
        o = dataclasses.replace(needle.observe(), features=FEATURES)
        robot_state = RobotState(*(data.draw(anything) for _ in range(5)), tuple(data.draw(anything) for _ in range(3)))
        estimate = dataclasses.replace(
            o.estimate, tip_px=(data.draw(anything), data.draw(anything)), visibility=data.draw(anything)
        )
        spoiled = dataclasses.replace(
            o, robot_state=robot_state, estimate=estimate, target_px=(data.draw(anything), 3.0)
        )
        state, action = policy.step(state, spoiled)
        assert all(map(math.isfinite, action_numbers(action)))
        needle.time_s += 0.1


def test_an_unknown_policy_or_setting_is_named():
    with pytest.raises(InputError, match="did you mean 'steer'"):
        make_policy("ster")
    with pytest.raises(InputError, match=r"there are: .*speed_mm_s"):
        make_policy("constant", speed=3)
    with pytest.raises(InputError, match="no parts"):
        make_policy("constant", **{"speed_mm_s.x": 3})
    assert (
        make_policy("operator", seed=3, **{"operator_model.principle.within_mm": 2}).operator_model.principle.within_mm
        == 2.0
    )
