"""A rig of several parts: one state of one moment, and whatever goes wrong with one part holds all of them."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from orders import cleared

from sonosteer.core.clock import SimulatedClock
from sonosteer.core.errors import InputError, RobotError
from sonosteer.robots.dry_run import DryRun
from sonosteer.robots.parts import PartFault, PartState
from sonosteer.robots.rig import RigRobot, open_rig
from sonosteer.robots.rig_file import PartTable, RigFile, tightened
from sonosteer.testing.robots import check_robot, cleared_for


@dataclass(frozen=True)
class Nothing:
    """No settings."""


@dataclass
class FakePart:
    """A part that says what the test lets it say, and notes what it is told."""

    axes: frozenset = frozenset({"insertion"})
    said: dict = field(default_factory=lambda: {"depth_mm": 10.0, "insertion_speed_mm_s": 0.0})
    clock: SimulatedClock = None
    late_s: float = 0.0
    fault: PartFault | None = None
    stops_within_s: float = 0.1
    raises: dict = field(default_factory=dict)
    told: list = field(default_factory=list)
    Settings: ClassVar = Nothing

    def _maybe(self, method):
        if method in self.raises:
            raise self.raises[method]

    def state(self):
        self._maybe("state")
        return PartState(self.clock.now_s() - self.late_s, **self.said, fault=self.fault)

    def describe(self):
        return "a fake"

    def enable(self):
        self._maybe("enable")
        self.told.append("enable")

    def carry_out(self, cleared):
        self._maybe("carry_out")
        self.told.append(cleared.command.insertion_speed_mm_s)

    def hold(self, reason):
        self._maybe("hold")
        self.told.append(f"hold: {reason}")

    def close(self):
        self._maybe("close")
        self.told.append("close")


class Bench:
    """A rig of a fake needle, a fake guide and a fake arm, on a clock that the test moves."""

    def __init__(self, *, enabled=True, limits=None, **parts):
        self.clock = SimulatedClock(10.0)
        usual = {
            "needle": FakePart(),
            "guide": FakePart(frozenset({"angle", "roll"}), {"insertion_angle_rad": 0.6, "roll_rad": 0.0}),
            "arm": FakePart(frozenset({"probe"}), {"probe_mm": (0.0, 0.0, 0.0)}),
        }
        self.parts = {name: part for name, part in (usual | parts).items() if part is not None}
        for part in self.parts.values():
            part.clock = self.clock
        tables = tuple(PartTable(n, "fake", lambda o, s, part=p: part, Nothing()) for n, p in self.parts.items())
        self.file = RigFile(Path("rig.toml"), tables, limits=tightened(limits or {}))
        self.rig = RigRobot(self.file, self.clock)
        if enabled:
            self.rig.enable()

    def order(self, speed=5.0, **wanted):
        return cleared(self.clock.now_s(), speed, **wanted)

    def held(self):
        """Why each part was held last, None where the last that it was told was no hold."""
        last = {name: (part.told or [None])[-1] for name, part in self.parts.items()}
        return {n: told.removeprefix("hold: ") if isinstance(told, str) else None for n, told in last.items()}


@pytest.fixture
def bench():
    return Bench()


def test_a_state_is_made_of_what_each_part_measures(bench):
    state = bench.rig.read()
    assert (state.depth_mm, state.insertion_angle_rad, state.roll_rad) == (10.0, 0.6, 0.0)
    assert state.probe_mm == (0.0, 0.0, 0.0)
    assert state.fault is None
    assert state.time_s == 10.0


def test_every_part_is_told_and_each_takes_its_own(bench):
    bench.rig.read()
    bench.rig.send(bench.order(5.0))
    assert [part.told[-1] for part in bench.parts.values()] == [5.0, 5.0, 5.0]


def test_a_state_is_of_the_oldest_moment_and_the_others_are_interpolated_to_it():
    bench = Bench()
    needle, arm = bench.parts["needle"], bench.parts["arm"]
    arm.late_s = 0.04
    for k in range(10):
        needle.said = {"depth_mm": 10.0 + k, "insertion_speed_mm_s": 100.0}
        state = bench.rig.read()
        bench.clock.advance(0.01)
    assert state.time_s == pytest.approx(10.09 - 0.04)
    assert state.depth_mm == pytest.approx(19.0 - 4.0)


def wrong_parts():
    at_s = 10.0
    yield "a fault", {"fault": PartFault("following error", "it is jammed", at_s)}, "following error: it is jammed"
    yield "late", {"late_s": 0.15}, "stale: its state is 0.15 s old; 0.1 s are allowed"
    yield "ahead", {"late_s": -0.1}, "contradiction: its state is dated 0.1 s ahead of the clock"
    yield "breaks", {"raises": {"state": KeyError("x")}}, "broke: KeyError"


@pytest.mark.parametrize("name", ["needle", "guide", "arm"])
@pytest.mark.parametrize(("how", "said"), [w[1:] for w in wrong_parts()], ids=[w[0] for w in wrong_parts()])
def test_whatever_is_wrong_with_one_part_holds_all_by_name(name, how, said):
    bench = Bench()
    bench.rig.read()
    bench.rig.send(bench.order())
    for field_name, value in how.items():
        setattr(bench.parts[name], field_name, value)
    state = bench.rig.read()
    assert state.fault.startswith(f"{name}: {said}")
    assert all(why is not None and why.startswith(f"{name}: {said}") for why in bench.held().values())


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_part_that_says_no_number_contradicts_itself(bench, value):
    bench.rig.read()
    bench.parts["needle"].said = {"depth_mm": value, "insertion_speed_mm_s": 0.0}
    bench.clock.advance(0.01)
    if value is None:
        with pytest.raises(RobotError, match="needle: contradiction"):
            bench.rig.read()
    else:
        assert bench.rig.read().fault.startswith("needle: contradiction")
    assert all(why is not None for why in bench.held().values())


def test_two_parts_that_measure_the_same_and_differ_hold_all():
    both = FakePart(frozenset({"probe"}), {"probe_mm": (0.0, 0.0, 0.0), "insertion_angle_rad": 0.6})
    bench = Bench(arm=both)
    assert bench.rig.read().fault is None
    both.said |= {"insertion_angle_rad": 0.62}
    bench.clock.advance(0.01)
    fault = bench.rig.read().fault
    assert fault == "arm: contradiction: it and guide differ by 0.02 in angle; 0.01 are allowed"
    assert all(why == fault for why in bench.held().values())


def test_a_fault_stays_although_the_part_takes_it_back(bench):
    bench.parts["arm"].fault = PartFault("stopped", "a protective stop", 10.0)
    bench.rig.read()
    bench.parts["arm"].fault = None
    bench.clock.advance(0.01)
    assert bench.rig.read().fault == "arm: stopped: a protective stop"
    with pytest.raises(RobotError, match="arm: stopped"):
        bench.rig.send(bench.order())
    assert [str(each) for each in bench.rig.faults()] == ["arm: stopped: a protective stop"]


def test_a_state_that_was_late_for_a_moment_is_no_fault_for_good(bench):
    bench.parts["arm"].late_s = 0.15
    assert "stale" in bench.rig.read().fault
    bench.parts["arm"].late_s = 0.0
    assert bench.rig.read().fault is None
    bench.rig.send(bench.order())


def test_a_part_that_refuses_an_order_holds_all(bench):
    bench.rig.read()
    bench.parts["guide"].raises["carry_out"] = RobotError("no link: gone")
    with pytest.raises(RobotError, match="guide: no link: gone"):
        bench.rig.send(bench.order())
    assert set(bench.held().values()) == {"guide: no link: gone"}


def test_a_part_whose_hold_breaks_does_not_keep_the_others_from_being_held(bench):
    bench.rig.read()
    bench.parts["needle"].raises["hold"] = ValueError("mine")
    bench.rig.hold("a test")
    assert bench.held()["arm"] == bench.held()["guide"] == "a test"
    assert "needle: broke: its hold failed: ValueError" in bench.rig.read().fault


@pytest.mark.parametrize(
    ("limits", "wanted", "said"),
    [
        ({"forward_mm_s": 4.0}, {"speed": 5.0}, "5 mm/s is beyond the limits of rig.toml"),
        ({"backward_mm_s": 4.0}, {"speed": -5.0}, "-5 mm/s is beyond the limits"),
        ({"probe_mm_s": [1.0, 1.0, 1.0]}, {"probe_velocity_mm_s": (0.0, 2.0, 0.0)}, "2 mm/s for the probe's y"),
        ({"angle_rad": [0.2, 0.55]}, {}, "angle 0.6 rad is beyond the limits"),
    ],
)
def test_limits_of_the_rig_file_hold_whatever_the_gate_has_cleared(limits, wanted, said):
    bench = Bench(limits=limits)
    bench.rig.read()
    with pytest.raises(RobotError, match=said):
        bench.rig.send(bench.order(**wanted))
    assert all(said in why for why in bench.held().values())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"insertion_angle_rad": 0.65}, "no part of the rig turns its angle: "),
        ({"roll_rad": 1.0}, "no part of the rig turns its roll: "),
        ({"probe_velocity_mm_s": (1.0, 0.0, 0.0)}, "no part of the rig moves the probe"),
    ],
)
def test_an_order_for_what_is_clamped_is_refused_by_name(wanted, said):
    fixed = {"insertion_angle_rad": 0.6, "roll_rad": 0.0, "probe_mm": (0.0, 0.0, 0.0)}
    bench = Bench(guide=FakePart(frozenset(), fixed), arm=None)
    bench.rig.read()
    bench.rig.send(bench.order())
    with pytest.raises(RobotError, match=said):
        bench.rig.send(bench.order(**wanted))
    assert all(why.startswith(said) for why in bench.held().values())


def test_only_what_the_gate_has_cleared_moves_anything(bench):
    bench.rig.read()
    with pytest.raises(RobotError, match=r"ask Gate\.clear"):
        bench.rig.send(bench.order().command)
    assert 5.0 not in bench.parts["needle"].told


def test_a_stop_is_a_hold(bench):
    bench.rig.read()
    bench.rig.send(bench.order(stop=True))
    assert set(bench.held().values()) == {"stop"}


def test_a_rig_that_was_not_made_ready_moves_nothing():
    bench = Bench(enabled=False)
    bench.rig.read()
    with pytest.raises(RobotError, match="read only"):
        bench.rig.send(bench.order())


def test_a_part_that_cannot_be_made_ready_holds_all_and_is_named():
    bench = Bench(enabled=False)
    bench.parts["arm"].raises["enable"] = RobotError("a protective stop")
    with pytest.raises(RobotError, match=r"rig.toml: arm cannot be made ready: a protective stop"):
        bench.rig.enable()
    assert set(bench.held().values()) == {"a protective stop"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"arm": None}, "rig.toml: no part moves or knows probe"),
        ({"guide": None}, "rig.toml: no part moves or knows angle"),
        ({"arm": FakePart()}, "rig.toml: needle and arm both move insertion"),
        ({"needle": FakePart(stops_within_s=0.2)}, r"rig.toml: needle \(fake\) stands 0.2 s after its last order"),
    ],
)
def test_a_rig_that_is_not_whole_is_refused(parts, said):
    with pytest.raises(InputError, match=said):
        Bench(**parts)


def test_closing_holds_and_closes_every_part_whatever_they_raise(bench):
    bench.parts["needle"].raises["close"] = ValueError("mine")
    bench.rig.close()
    bench.rig.close()
    assert bench.parts["arm"].told[-2:] == ["hold: closed", "close"]
    with pytest.raises(RobotError, match="closed"):
        bench.rig.read()


def test_a_rig_keeps_the_laws_of_a_robot(bench):
    check_robot(bench.rig)


def test_a_dry_run_reads_all_sends_nothing_and_records_what_would_have_been_sent():
    bench = Bench(enabled=False)
    noted = []
    dry = DryRun(bench.rig, bench.clock, noted.append)
    assert dry.read().depth_mm == 10.0
    order = cleared_for(dry.read(), insertion_speed_mm_s=5.0)
    dry.send(order)
    dry.hold("a test")
    assert [(each.command, each.held_because) for each in dry.unsent] == [(order.command, None), (None, "a test")]
    assert noted == list(dry.unsent)
    assert dry.counted == 2
    assert all(part.told == [] for part in bench.parts.values())
    with pytest.raises(RobotError, match=r"ask Gate\.clear"):
        dry.send(order.command)
    dry.close()


def test_a_dry_run_keeps_the_laws_of_a_robot():
    bench = Bench(enabled=False)
    check_robot(DryRun(bench.rig, bench.clock))


def test_a_rig_is_opened_from_its_file_and_a_dry_run_makes_nothing_ready(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_part.py").write_text(MY_PART)
    path = tmp_path / "rig.toml"
    path.write_text(
        'format = "sonosteer rig"\nversion = 1\n[needle]\nkind = "my_part:Mine"\ndepth_mm = 3.0\n'
        '[guide]\nkind = "fixed"\nangle_rad = 0.6\nroll_rad = 0.0\nprobe = true\n'
    )
    clock = SimulatedClock()
    dry = open_rig(path, clock, dry_run=True)
    assert isinstance(dry, DryRun)
    assert dry.read().depth_mm == 3.0
    assert not dry.robot.parts["needle"].ready
    rig = open_rig(path, clock)
    assert rig.parts["needle"].ready
    path.write_text(path.read_text().replace("depth_mm = 3.0", "depth_mm = -1.0"))
    with pytest.raises(RobotError, match=r"rig.toml: needle \(my_part:Mine\) broke while it was opened: ValueError"):
        open_rig(path, clock)


MY_PART = """
from dataclasses import dataclass
from sonosteer.robots.parts import PartState

@dataclass(frozen=True)
class MySettings:
    depth_mm: float

class Mine:
    Settings = MySettings
    axes = frozenset({"insertion"})
    stops_within_s = 0.1
    ready = False
    def __init__(self, opening, settings):
        if settings.depth_mm < 0.0:
            raise ValueError("below the skin")
        self.clock, self.depth_mm = opening.clock, settings.depth_mm
    def state(self):
        return PartState(self.clock.now_s(), depth_mm=self.depth_mm, insertion_speed_mm_s=0.0)
    def describe(self): return "mine"
    def enable(self): self.ready = True
    def carry_out(self, cleared): pass
    def hold(self, reason): pass
    def close(self): pass
"""
