"""SAFETY.md's first sentence, read off the source: a command reaches a robot, simulated or not, only through the gate.

A rig is told by `World.order` or `RigModel.order`, a robot by `Robot.send`, which takes `Cleared`. So each of these
names is followed: who may say it, and where what passes for cleared is made. A name that is passed on as a value counts
as much as a call of it.
"""

from __future__ import annotations

import ast

import counting
import pytest

#: attribute -> the only files that may name it, and why
MAY_NAME = {
    "order": {
        "sim/world.py": "the world tells its own rig, and plays a clip's script where nobody decides",
        "sim/wild.py": "a scene's own past, before anybody looks",
        "robots/simulated.py": "the driver, behind `genuine`",
        "studies/steering/ladder.py": "a model of a device that turns a model of a needle: no rig is there",
        "sources/tiff.py": "the order of a file's bytes",
        "learning/nets/lorat.py": "the order of blocks",
        "learning/nets/qwen_vision.py": "the order of windows",
    },
    "send": {
        "runtime/branches.py": "the control branch, with what the gate has cleared",
        "robots/table.py": "a plug-in's driver, behind `genuine`",
        "testing/robots.py": "the laws of a driver: what the gate has not cleared is refused",
    },
    "carry_out": {
        "robots/rig.py": "the rig that composes parts, behind `genuine`",
    },
}
#: function -> the only files that may import it
MAY_IMPORT = {
    "make_cleared": {"safety/gate.py"},
    "_KEY": set(),
    "_MADE": set(),
    "RigModel": {"sim/world.py", "studies/steering/ladder.py"},
}
#: what a rig is moved by: nothing outside `sim` sets it
STATE_OF_A_RIG = {"depth_mm", "roll_rad", "base_rad", "insertion_angle_rad", "insertion_speed_mm_s", "probe_mm"}
ASKS_GENUINE = "genuine"


def breaches():
    """(where, what) of every way round the gate."""
    out = []
    for where, tree in counting.modules():
        for node in ast.walk(tree):
            line = f"{where}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Attribute) and where not in MAY_NAME.get(node.attr, {where}):
                out.append((line, f"names .{node.attr}"))
            if isinstance(node, ast.Constant) and node.value in MAY_NAME and where not in MAY_NAME[node.value]:
                out.append((line, f"has the text {node.value!r}, by which getattr finds it"))
            if isinstance(node, ast.ImportFrom):
                out += [(line, f"imports {a.name}") for a in node.names if where not in MAY_IMPORT.get(a.name, {where})]
            if isinstance(node, ast.Attribute) and not where.startswith("sim/") and _sets_a_rig(node):
                out.append((line, f"sets {ast.unparse(node)}"))
            if isinstance(node, ast.FunctionDef) and _is_driver(node) and not _asks(node):
                out.append((line, "is a driver that does not ask `genuine`"))
    return out


def _sets_a_rig(node):
    return isinstance(node.ctx, ast.Store) and node.attr in STATE_OF_A_RIG and "rig" in ast.unparse(node.value)


def _is_driver(node):
    """A method `send` or `carry_out` that takes `Cleared`, and is more than the words of a protocol."""
    return (
        node.name in ("send", "carry_out")
        and any(a.annotation is not None and "Cleared" in ast.unparse(a.annotation) for a in node.args.args)
        and any(not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)) for each in node.body)
    )


def _asks(node):
    return any(isinstance(n, ast.Name) and n.id == ASKS_GENUINE for n in ast.walk(node))


def test_no_way_leads_from_a_decider_to_a_rig_but_through_the_gate():
    assert not breaches(), "\n".join(f"{where} {what}" for where, what in breaches())


def test_every_exception_is_still_needed():
    """A file that no longer says the name must not stay on the list."""
    said = {
        where: {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} for where, tree in counting.modules()
    }
    for name, files in MAY_NAME.items():
        for file in files:
            assert name in said[file], f"{file} no longer names .{name}"


def test_the_control_branch_sends_only_what_the_gate_answered():
    tree = next(tree for where, tree in counting.modules() if where == "runtime/branches.py")
    branch = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == "ControlBranch")
    sends = [n for n in ast.walk(branch) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith(".send")]
    assert [ast.unparse(n) for n in sends] == ["self.robot.send(verdict)"]
    tick = next(n for n in branch.body if isinstance(n, ast.FunctionDef) and n.name == "tick")
    assigned = [ast.unparse(n) for n in ast.walk(tick) if isinstance(n, ast.Assign) and "verdict" in ast.unparse(n)]
    assert assigned == ["self.state, verdict = self.gate.clear(self.state, action, gate_input)"]


@pytest.mark.parametrize(
    "way_round",
    [
        "def f(world, command):\n    world.order(command)\n",
        "def f(world, command):\n    tell = world.order\n    tell(command)\n",
        "def f(world, command):\n    getattr(world, 'order')(command)\n",
        "def f(robot, it):\n    robot.send(it)\n",
        "from sonosteer.safety.cleared import make_cleared\n",
        "from sonosteer.sim.rig import RigModel\n",
        "def f(world):\n    world.rig.depth_mm = 3.0\n",
        "class R:\n    def send(self, cleared: Cleared) -> None:\n        self.device.go(cleared.command)\n",
        "def f(part, it):\n    part.carry_out(it)\n",
        "class P:\n    def carry_out(self, cleared: Cleared) -> None:\n        self.device.go(cleared.command)\n",
    ],
)
def test_each_way_round_is_found(tmp_path, monkeypatch, way_round):
    (tmp_path / "page.py").write_text(way_round)
    monkeypatch.setattr(counting, "ROOT", tmp_path)
    assert breaches()
