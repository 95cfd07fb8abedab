"""A law that is broken is said in one sentence. A moving dot is clip enough."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest

from sonosteer import Frame, Lost, Spacing, TipEstimate, Track
from sonosteer.core.protocols import SourceInfo
from sonosteer.core.types import Action, Command, RobotState
from sonosteer.policies.constant import Constant
from sonosteer.sources.in_memory import FramesInMemory
from sonosteer.testing import check_controller, check_policy, check_robot, check_source, check_tracker


def dots(n=25):
    frames = []
    for i in range(n):
        pixels = np.zeros((120, 160), np.uint8)
        pixels[20 + i, 30 + 2 * i] = 200
        frames.append(Frame(pixels, i, i / 20, Spacing(0.1, 0.1)))
    return frames


class Dot:
    """Keeps every law."""

    def start(self, hint):
        return ()

    def tip(self, state, frame):
        y, x = np.unravel_index(frame.grey().argmax(), frame.grey().shape)
        return float(x), float(y)

    def after(self, state):
        return state

    def step(self, state, frame):
        if not frame.grey().any():
            return state, Lost(frame.index, frame.time_s, "dark")
        tip = self.tip(state, frame)
        return self.after(state), TipEstimate(
            frame.index, frame.time_s, tip, 0.4, np.eye(2), 0.5, Track.TRACKING, (0.0, 0.0)
        )


class Chance(Dot):
    def tip(self, state, frame):
        return float(np.random.default_rng().uniform()), 3.0


class Remembers(Dot):
    def start(self, hint):
        return []

    def after(self, state):
        state.append(1)
        return state

    def tip(self, state, frame):
        return 5.0 + len(state), 3.0


class Hides(Dot):
    count = 0

    def tip(self, state, frame):
        self.count += 1
        return float(self.count), 4.0


class Open(Dot):
    def start(self, hint):
        return (np.zeros(3),)


class Unstorable(Dot):
    def start(self, hint):
        return (lambda: 0,)


class Nan(Dot):
    def tip(self, state, frame):
        return math.nan, 3.0


class Fixed(Dot):
    def tip(self, state, frame):
        return 50.0, 60.0


class Scribbles(Dot):
    def step(self, state, frame):
        said = super().step(state, frame)
        frame.pixels.flags.writeable = True
        frame.pixels[0, 0] += 1
        return said


class Sees(Dot):
    def step(self, state, frame):
        return state, TipEstimate(
            frame.index, frame.time_s, self.tip(state, frame), 0.4, np.eye(2), 0.5, Track.TRACKING, (0.0, 0.0)
        )


class Sleeps(Dot):
    def step(self, state, frame):
        return state, Lost(frame.index, frame.time_s, "asleep")


class Misdates(Dot):
    def step(self, state, frame):
        return super().step(state, dataclasses.replace(frame, index=frame.index + 1))


def test_a_tracker_of_a_few_lines_keeps_them_all():
    check_tracker(Dot, clip=dots())
    check_tracker(Dot(), clip=dots())
    check_tracker(lambda: Dot(), clip=dots())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Chance, "the same clip gives another track the second time"),
        (Remembers, "a state that was"),
        (Hides, "another track"),
        (Open, "arrays that can be written to"),
        (Unstorable, "the state cannot be stored"),
        (Nan, "NaN or infinite"),
        (Fixed, "an image moved by 30 px"),
        (Scribbles, "changed the pixels"),
        (Sees, "a blank clip must be Lost"),
        (Sleeps, "no frame of the clip was tracked"),
        (Misdates, "the frame's own index and time"),
    ],
)
def test_a_tracker_that_breaks_a_law_is_told_which(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_tracker(broken, clip=dots())


def test_a_short_clip_is_no_proof():
    with pytest.raises(AssertionError, match="the clip has 3 frames; 25 are needed"):
        check_tracker(Dot, clip=dots(3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: dataclasses.replace(f, index=f.index + 1), "numbered from 0"),
        (lambda f: dataclasses.replace(f, time_s=1.0), "at 0 s"),
        (lambda f: dataclasses.replace(f, time_s=-f.time_s), "time must go forward"),
    ],
)
def test_a_source_that_breaks_a_law_is_told_which(change, said):
    check_source(FramesInMemory(dots(60), rate_hz=20.0))
    with pytest.raises(AssertionError, match=said):
        check_source(FramesInMemory([change(f) for f in dots(60)], rate_hz=20.0))


def test_a_source_that_says_another_length_is_told():
    class Short:
        info = SourceInfo("short", "camera", (160, 120), 61, 20.0, None)

        def frames(self, start=0, stop=None):
            yield from dots(60)[start:stop]

    with pytest.raises(AssertionError, match="info says 61 frames, but 60 were read"):
        check_source(Short())


class Pushes:
    """Pushes, whatever it is told."""

    def start(self, task):
        return None

    def step(self, state, observation):
        command = Command(
            expires_at_s=observation.capture_time_s + self.lasts_s,
            insertion_speed_mm_s=self.speed_mm_s,
            insertion_angle_rad=observation.robot_state.insertion_angle_rad,
            roll_rad=0.3,
        )
        return state, Action(observation.frame_index, observation.capture_time_s, command)

    lasts_s, speed_mm_s = 0.3, 5.0


class Fast(Pushes):
    speed_mm_s = 90.0


class Lasting(Pushes):
    lasts_s = 9.0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Fast, "the gate lets 25 mm/s through, not 90"),
        (Lasting, "must expire within 0.5 s"),
        (Pushes, "a lost tip must not be pushed"),
    ],
)
def test_a_policy_that_breaks_a_law_is_told_which(broken, said):
    with pytest.raises(AssertionError, match=said):
        check_policy(broken)


def test_a_policy_is_held_to_what_it_is_meant_to_do():
    check_policy(Constant(), moves_probe=True)
    with pytest.raises(AssertionError, match="mm from the target"):
        check_policy(Constant(), final_error_mm=1e-9)


def test_a_robot_and_a_controller_that_break_a_law_are_told_which():
    @dataclass
    class Arm:
        closed: bool = False

        def read(self):
            return RobotState(0.0, 10.0, 0.0, 0.7, 0.3, (0.0, 0.0, 0.0))

        def send(self, cleared): ...
        def hold(self, reason): ...
        def close(self): ...

    with pytest.raises(AssertionError, match="read after close must raise a RobotError"):
        check_robot(Arm())

    class Whim:
        def start(self, roll_rad):
            return roll_rad

        def step(self, state, measurement, ordered_rad, used_rad):
            from sonosteer.core.types import RollCommand

            return state, RollCommand(float(np.random.default_rng().uniform()))

    with pytest.raises(AssertionError, match="the same measurements must give the same turns"):
        check_controller(Whim)
