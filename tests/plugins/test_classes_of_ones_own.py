"""A class in a file of one's own works wherever a name does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sonosteer
from sonosteer.core.errors import InputError, RobotError
from sonosteer.core.types import Action, Command, RobotState
from sonosteer.policies.table import make_policy
from sonosteer.recording.tips import read_tips
from sonosteer.robots.table import make_robot
from sonosteer.safety.gate import Gate, GateInput
from sonosteer.sim.scenes import make_scene
from sonosteer.sources.opening import open_source
from sonosteer.steering.obstacles import Sphere, combine_obstacles
from sonosteer.steering.table import make_steerer
from sonosteer.trackers.table import make_tracker

SMALL = "sim:in-plane-linear?speed_mm_s=15&end_mm=18&angle_deg=40&enters=left&width_px=128&height_px=128&looks=1"


def test_a_class_in_the_current_folder_tracks_from_the_shell(folder):
    command = [str(Path(sys.executable).parent / "sonosteer"), "track", SMALL, "--method", "mine:Brightest"]
    done = subprocess.run(
        [*command, "--set", "least=3", "--out", "out", "--json"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["method"] == "mine:Brightest"
    assert summary["configuration"] == {"least": 3, "name": ""}
    assert summary["counts"]["tracking"] == summary["counts"]["frames"] == len(read_tips(folder / "out" / "tips.csv"))


def test_a_folder_is_looked_in_only_for_such_a_name(folder):
    (folder / "json.py").write_text("raise RuntimeError('not the json that was meant')")
    make_tracker("kf+f")
    assert str(folder) not in sys.path
    make_tracker("mine:Brightest")
    assert sys.path[-1] == str(folder)
    assert sys.path[0] != str(folder)  # later imports find what they always found first


def test_its_settings_are_its_constructors_or_its_fields(folder, write):
    assert make_tracker("mine:Brightest", least=4.0).thing.least == 4.0
    with pytest.raises(InputError, match=r"method mine:Brightest: there is no setting 'most'; there are: least, name"):
        make_tracker("mine:Brightest", most=4.0)
    write(
        "fields",
        """
        from __future__ import annotations
        from dataclasses import dataclass, field
        import mine

        @dataclass(frozen=True)
        class Part:
            width: float = 2.0

        @dataclass(frozen=True)
        class Brightest(mine.Brightest):
            least: float = 1.0
            part: Part = Part()
        """,
    )
    made = make_tracker("fields:Brightest", **{"part.width": 3, "least": 2})
    assert (made.thing.part.width, made.thing.least) == (3.0, 2.0)
    assert made.to_dict() == {"least": 2.0, "part": {"width": 3.0}}
    with pytest.raises(InputError, match="least is 'much', but must be of type float"):
        make_tracker("fields:Brightest", least="much")


def test_a_policy_of_ones_own_inserts(folder, write):
    write(
        "pushes",
        """
        from sonosteer.policies.hold import HoldPolicy

        class Mine(HoldPolicy):
            pass

        class Odd:
            def start(self, task): return None
            def step(self, state, observation): return state, "push"
        """,
    )
    policy = make_policy("pushes:Mine")
    policy.prepare()
    from sonosteer.testing.kinematic_needle import KinematicNeedle

    needle = KinematicNeedle()
    _, action = policy.step(policy.start(needle.task), needle.observe())
    assert action.command.insertion_speed_mm_s == 0.0
    odd = make_policy("pushes:Odd")
    with pytest.raises(sonosteer.core.errors.BrokenError, match=r"step must return \(state, Action\)"):
        odd.step(None, needle.observe())


def test_a_source_of_ones_own_is_opened_by_its_name(folder, write):
    write(
        "camera",
        """
        import numpy as np
        from sonosteer import Frame, SourceInfo, Spacing

        class Camera:
            def __init__(self, what="0"):
                self.what = what
                self.info = SourceInfo(f"camera {what}", "camera", (40, 30), 60, 20.0, None)

            def frames(self, start=0, stop=None):
                rng = np.random.default_rng(3)
                images = rng.integers(0, 255, (60, 30, 40), dtype=np.uint8)
                for i in range(start, 60 if stop is None else min(stop, 60)):
                    yield Frame(images[i].copy(), i, i / 20)

        class Breaks(Camera):
            def frames(self, start=0, stop=None):
                yield from super().frames(0, 4)
                raise OSError("the cable was pulled")
        """,
    )
    source = open_source("camera:Camera:2", spacing=sonosteer.Spacing(0.5, 0.5))
    assert source.info.name == "camera 2"
    assert next(source.frames()).spacing == source.info.spacing == sonosteer.Spacing(0.5, 0.5)
    sonosteer.testing.check_source("camera:Camera")
    result = sonosteer.track("camera:Camera:2", "mine:Brightest", spacing_mm=0.5)
    assert len(result) == 60
    with pytest.raises(sonosteer.core.errors.BrokenError, match=r"after 4 of them: OSError: the cable.*camera\.py:19"):
        sonosteer.track("camera:Breaks", "mine:Brightest", spacing_mm=0.5)


def test_a_controller_of_ones_own_stays_within_the_limits_and_is_given_what_it_names(folder, write):
    write(
        "turns",
        """
        from sonosteer.core.types import RollCommand

        class Turns:
            def __init__(self, depth_mm, seed=0, by_rad=1.0):
                self.depth_mm, self.seed, self.by_rad = depth_mm, seed, by_rad
            def start(self, roll_rad): return roll_rad
            def step(self, state, measurement, ordered_rad, used_rad):
                return state, RollCommand(ordered_rad + self.by_rad)
        """,
    )
    steerer = make_steerer("turns:Turns", depth_mm=80.0, seed=4, by_rad=9.0)
    assert (steerer.controller.thing.depth_mm, steerer.controller.thing.seed) == (80.0, 4)
    sonosteer.testing.check_controller(lambda: make_steerer("turns:Turns", by_rad=9.0))
    with pytest.raises(InputError, match="takes no obstacles"):
        make_steerer("turns:Turns", obstacles=combine_obstacles([Sphere((70.0, 0.0, 0.0), 1.0)]))


def test_a_robot_that_breaks_is_a_robot_that_does_not_answer(folder, write):
    write(
        "arm",
        """
        class Arm:
            def read(self): return 7
            def send(self, cleared): raise ConnectionResetError("gone")
            def hold(self, reason): pass
            def close(self): pass
        """,
    )
    robot = make_robot("arm:Arm")
    with pytest.raises(RobotError, match="robot arm:Arm: read must return a RobotState, but returned int"):
        robot.read()
    robot_state = RobotState(0.0, 0.0, 0.0, 0.5, 0.0, (0.0, 0.0, 0.0))
    stop = Action(0, 0.0, Command(expires_at_s=None, stop=True))
    gate_input = GateInput(0.0, robot_state, None, spacing=None)
    _, cleared = Gate().clear(Gate().start(0.0), stop, gate_input)
    with pytest.raises(RobotError, match=r"robot arm:Arm broke in send: ConnectionResetError: gone \(arm\.py:4\)"):
        robot.send(cleared)


def test_a_set_up_of_ones_own_is_a_path_a_recipe_or_a_function(folder, write):
    (folder / "wide.toml").write_text("[scene]\nspeed_mm_s = 7.0\nend_mm = 20.0\n")
    write(
        "setups",
        """
        PATH = "wide.toml"
        RECIPE = {"scene": {"speed_mm_s": 7.0, "end_mm": 20.0}}
        def function(): return RECIPE
        NUMBER = 3
        """,
    )
    for name in ("PATH", "RECIPE", "function"):
        assert make_scene(f"setups:{name}/train", 1).speed_mm_s == 7.0
        assert sonosteer.simulate(f"setups:{name}", 1, frames=slice(0, 1), looks=1).scene.speed_mm_s == 7.0
    with pytest.raises(InputError, match="must be a path, a recipe, or a function"):
        make_scene("setups:NUMBER", 1)


def test_a_class_of_ten_lines_is_compared_with_the_built_in_ones():
    class Brightest:
        def start(self, hint):
            return None

        def step(self, state, frame):
            y, x = np.unravel_index(frame.grey().argmax(), frame.pixels.shape)
            return state, sonosteer.TipEstimate(
                frame.index,
                frame.time_s,
                (float(x), float(y)),
                0.7,
                np.eye(2),
                0.5,
                sonosteer.Track.TRACKING,
                (0.0, 0.0),
            )

    clip = sonosteer.simulate("in-plane-linear/validation", 3, enters="left", angle_deg=40.0, frames=slice(0, 20))
    table = sonosteer.compare(clip, ["kf+f", Brightest], enters="left")
    assert [row["method"] for row in table.rows] == ["kf+f", "Brightest"]
    assert table.rows[1]["tracked"] == 20
    assert table.rows[1]["mean_mm"] > table.rows[0]["mean_mm"]
