"""The acoustic window: what hides the line is mapped from pictures, and the probe goes where it is seen."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from lane import Lane, run, task

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import ConvexProbe, Spacing
from sonosteer.core.types import Frame
from sonosteer.imaging.scan_lines import ScanGeometry
from sonosteer.policies.hold import HoldPolicy
from sonosteer.policies.view_map import CONTACT_MM, ViewMap
from sonosteer.policies.view_plan import (
    DEPTH_STEP_MM,
    PictureSize,
    PlannedLine,
    ProbeMoves,
    costs_mm,
    plan_view,
)
from sonosteer.policies.window import Window

SPACING = Spacing(0.5, 0.5)
PROBE = ConvexProbe((128.0, 10.0), radius_mm=60.0, fov_rad=1.08, depth_mm=110.0)
GEOMETRY = ScanGeometry(PROBE)
SIZE = PictureSize(SPACING, (257, 240))
MOVES = ProbeMoves(reach_mm=30.0, probe_mm_s=20.0, moving=False)
LINE = PlannedLine((-25.0, 15.0), (20.0, 60.0), depth_mm=20.0)
BONE = (0.0, 12.0, 10.0)  # x, z, width


def starts(probe_x, bones=(BONE,), contact=()):
    """Where each line's shadow begins, seen from a place of the probe."""
    out = np.full(GEOMETRY.lines, np.inf, np.float32)
    for x, z, width in bones:
        edges, ranges = GEOMETRY.to_lines(np.array([x - width / 2, x + width / 2]) - probe_x, np.array([z, z]))
        for k in range(max(math.ceil(edges[0]), 0), min(math.floor(edges[1]), GEOMETRY.lines - 1) + 1):
            out[k] = min(out[k], ranges.mean())
    out[list(contact)] = 0.0
    return out


def mapped(places=(-5.0, 0.0, 5.0), **drawn):
    view = ViewMap.empty(GEOMETRY)
    for place, _ in itertools.product(places, range(2)):
        view = view.with_picture(starts(place, **drawn), (place, 0.0))
    return view


def truly_hidden(place, point, bone=BONE):
    """Whether the beam to a point crosses the bone. It comes from the probe's centre of curvature."""
    x, z, width = bone
    part = (z + 60.0) / (point[1] + 60.0)
    return point[1] > z + 3.0 and abs(place + (point[0] - place) * part - x) < width / 2


# -- map ---------------------------------------------------------------------------------------------------------


def test_an_empty_map_hides_nothing():
    view = ViewMap.empty(GEOMETRY)
    assert not len(view.blockers_mm())
    assert (view.hidden(np.array([0.0, 9.0]), np.array([[0.0, 50.0]])) == 0).all()


def test_a_bone_hides_the_same_points_from_places_where_the_probe_never_was():
    view = mapped()
    places, points = np.arange(-24.0, 25.0, 4.0), np.array([[x, 55.0] for x in np.arange(-30.0, 31.0, 3.0)])
    said = view.hidden(places, points) > 0.5
    true = np.array([[truly_hidden(place, point) for point in points] for place in places])
    assert true.any()
    assert (said == true).mean() > 0.95
    above = view.hidden(places, np.array([[0.0, 6.0]]))
    assert (above == 0).all()


def test_the_bone_lies_where_its_shadows_begin():
    cells = mapped().blockers_mm()
    assert len(cells) >= 3
    assert np.abs(cells[:, 0]).max() < BONE[2] / 2 + 1.5
    assert np.abs(cells[:, 1] - BONE[1]).max() < 3.5


def test_one_picture_alone_is_not_believed():
    view = ViewMap.empty(GEOMETRY).with_picture(starts(0.0), (0.0, 0.0))
    many = mapped(places=(0.0,))
    assert len(view.blockers_mm()) <= len(many.blockers_mm())


def test_what_lines_go_through_is_no_bone():
    view = mapped()
    for _ in range(20):
        view = view.with_picture(starts(0.0, bones=()), (0.0, 0.0))
    assert not len(view.blockers_mm())


def test_lost_contact_is_kept_by_line_and_place_and_not_taken_for_bone():
    view = mapped(places=(0.0,), bones=(), contact=range(8))
    assert CONTACT_MM > 0
    assert not len(view.blockers_mm())
    for line, hidden in ((3, 1.0), (20, 0.0)):
        x, z = GEOMETRY.from_lines(np.array([float(line)]), np.array([40.0]))
        assert view.hidden(np.array([0.0]), np.stack([x, z], axis=1))[0, 0] == hidden
    there = view
    for _ in range(3):
        there = there.with_picture(starts(25.0, bones=()), (25.0, 0.0))
    x, z = GEOMETRY.from_lines(np.array([3.0]), np.array([40.0]))
    assert there.hidden(np.array([25.0]), np.stack([x + 25.0, z], axis=1))[0, 0] == 0.0


def test_a_map_is_never_changed():
    view = mapped()
    before = view.hits.copy()
    view.with_picture(starts(0.0), (0.0, 0.0))
    assert (view.hits == before).all()
    with pytest.raises(ValueError, match="read-only"):
        view.hits[0, 0] = 1.0


# -- plan --------------------------------------------------------------------------------------------------------


def plan(view=None, at=0.0, line=LINE, moves=MOVES, **more):
    return plan_view(view or mapped(), line, at, moves, SIZE, **more)


def test_the_line_is_seen_from_the_places_that_are_chosen():
    stays = np.array([truly_hidden(0.0, p) for p in LINE.points_mm()[1]])
    assert DEPTH_STEP_MM * stays.sum() > 8.0
    for moving in (False, True):
        chosen = plan(moves=replace(MOVES, moving=moving))
        _, points = LINE.points_mm()
        hidden = [truly_hidden(x, p) for x, p in zip(chosen.places_mm, points, strict=True)]
        assert DEPTH_STEP_MM * sum(hidden) < 0.5 * DEPTH_STEP_MM * stays.sum()


def test_without_anything_in_the_way_a_standing_probe_stays():
    chosen = plan(ViewMap.empty(GEOMETRY), line=PlannedLine((-10.0, 20.0), (10.0, 40.0), 20.0))
    assert (chosen.places_mm == 0.0).all()
    assert chosen.seconds == 0.0


def test_the_cost_in_time_is_that_of_the_moves():
    chosen = plan()
    moves = np.abs(np.diff(chosen.places_mm, prepend=0.0))
    assert chosen.seconds == pytest.approx((moves / MOVES.probe_mm_s + 0.5 * (moves > 0)).sum())
    assert chosen.seconds < 5.0


def test_no_other_places_are_cheaper():
    """Brute force over every path of a coarse grid."""
    view, line = mapped(), PlannedLine((-12.0, 40.0), (-8.0, 44.0), 20.0)
    moves = ProbeMoves(reach_mm=4.0, probe_mm_s=20.0, moving=True)
    chosen = plan(view, line=line, moves=moves)
    places = np.arange(-4.0, 5.0)
    cost, _ = costs_mm(view, line, places, SIZE, 0.0)
    way, _ = line.points_mm()
    steps = np.diff(way, prepend=-DEPTH_STEP_MM)
    steps[0] = 4 * DEPTH_STEP_MM
    steps[-1] += 4 * DEPTH_STEP_MM

    def total(path):
        first = abs(places[path[0]])
        out = 4.0 * (first / 20.0 + 0.5 * (first > 0))
        far = np.abs(np.diff(places[list(path)]))
        return out + moves.costs_mm(far).sum() + sum(cost[p, k] * steps[k] for k, p in enumerate(path))

    best = min(total(path) for path in itertools.product(range(len(places)), repeat=len(way)))
    assert chosen.cost_mm == pytest.approx(best)


def test_a_kept_plan_costs_what_its_places_cost():
    fresh = plan()
    again = plan(kept=fresh)
    assert again.places_mm == pytest.approx(fresh.places_mm, abs=0.5)
    assert again.cost_mm == pytest.approx(fresh.cost_mm, rel=0.05)
    empty = plan(ViewMap.empty(GEOMETRY))
    assert plan(kept=empty).cost_mm >= fresh.cost_mm - 1e-9


def test_the_place_for_a_depth_is_the_next_one():
    chosen = plan()
    assert chosen.place_mm(0.0) == chosen.places_mm[0]
    assert chosen.place_mm(20.0) == chosen.places_mm[0]
    assert chosen.place_mm(20.0 + DEPTH_STEP_MM) == chosen.places_mm[1]
    assert chosen.place_mm(999.0) == chosen.places_mm[-1]


def test_a_line_goes_on_by_the_encoder():
    on = LINE.advanced(30.0)
    assert math.dist(on.tip_mm, LINE.tip_mm) == pytest.approx(10.0)
    assert on.length_mm == pytest.approx(LINE.length_mm - 10.0)
    assert LINE.advanced(999.0).length_mm == pytest.approx(1e-3)
    assert LINE.advanced(20.0) == LINE


# -- policy ------------------------------------------------------------------------------------------------------


def told(lane, bones=(), **changes):
    """What a policy is told of a needle on paper, with a picture that shows bones at places of the tissue."""
    seen = lane.observe()
    probe = ConvexProbe((0.0, 0.0), radius_mm=60.0, fov_rad=1.6, depth_mm=56.0)
    grey = np.full((224, 224), 80, np.uint8)
    rows, columns = np.mgrid[:224, :224]
    geometry = ScanGeometry(probe)
    line, range_mm = geometry.to_lines(columns * 0.25, rows * 0.25)
    for x, z, width in bones:
        edges, _ = geometry.to_lines(np.array([x - width / 2, x + width / 2]) - lane.probe_mm[0], np.array([z, z]))
        grey[(line > edges[0]) & (line < edges[1]) & (range_mm > z)] = 8
    picture = Frame(grey, lane.frame, lane.time_s, seen.recent[-1].spacing, probe, robot_state=seen.robot_state)
    return replace(seen, **{"recent": (picture,), **changes})


def inserted(policy, lane, bones=(), steps=400):
    """Actions and states until it stops."""
    state, out = policy.start(lane.task), []
    for _ in range(steps):
        state, action = policy.step(state, told(lane, bones))
        out.append((lane.probe_mm[0], lane.depth_mm, action, state))
        lane.move(action)
        if action.command.stop:
            break
    return out


def test_the_needle_waits_until_the_first_look_is_over():
    lane = Lane(task(along_mm=30.0))
    rows = inserted(Window(), lane)
    first = next(k for k, row in enumerate(rows) if row[2].command.insertion_speed_mm_s > 0)
    assert first > 3
    assert np.ptp([row[0] for row in rows[: first + 1]]) > 2.0
    assert all(row[3].plan is None for row in rows[: first - 1] if row[3].goals_mm)
    assert rows[-1][2].command.stop
    assert lane.miss_mm < 3.0


def test_the_first_look_keeps_the_tip_in_view_and_ends_in_time():
    rows = inserted(Window(sweep_mm=30.0), Lane(task(along_mm=30.0)))
    looking = [row for row in rows if row[3].goals_mm]
    assert looking
    for x, depth, _, _ in looking:
        tip = 10.0 * math.cos(0.698) - x, 10.0 * math.sin(0.698)
        assert abs(math.atan2(tip[0], tip[1] + 60.0)) < 0.8
        assert depth == 10.0
    slow = inserted(Window(sweep_mm=30.0, probe_mm_s=1.0, look_s=1.0), Lane(task(along_mm=30.0)))
    assert sum(bool(row[3].goals_mm) for row in slow) <= 12


def test_a_probe_that_stands_moves_only_while_the_needle_waits():
    lane = Lane(task(along_mm=45.0))
    rows = inserted(Window(), lane, bones=((22.0, 8.0, 8.0),))
    for _, _, action, _ in rows:
        command = action.command
        assert command.insertion_speed_mm_s <= 0.0 or command.probe_velocity_mm_s[0] == 0.0
    assert rows[-1][2].command.stop


def test_a_probe_that_slides_follows_the_plan_with_the_needle():
    lane = Lane(task("in-plane-moving", along_mm=45.0))
    rows = inserted(Window(), lane, bones=((22.0, 8.0, 8.0),))
    both = [r for r in rows if r[2].command.insertion_speed_mm_s > 0 and r[2].command.probe_velocity_mm_s[0] != 0.0]
    assert len(both) > 3
    assert rows[-1][2].command.stop
    fastest = max(abs(r[2].command.probe_velocity_mm_s[0]) for r in rows)
    assert fastest <= Window().probe_mm_s


def test_a_bone_in_the_pictures_moves_the_probe_elsewhere():
    plain = inserted(Window(), Lane(task(along_mm=45.0)))[-1][3].plan
    hidden = inserted(Window(), Lane(task(along_mm=45.0)), bones=((22.0, 8.0, 8.0),))[-1][3].plan
    assert plain is not None
    assert hidden is not None
    assert not np.array_equal(plain.places_mm[:3], hidden.places_mm[:3]) or hidden.cost_mm > plain.cost_mm


def test_it_wraps_any_policy_by_name_or_as_it_is():
    assert Window("hold").policy == Window(HoldPolicy()).policy
    lane = Lane(task(along_mm=30.0))
    inserted(Window("hold"), lane, steps=40)
    assert lane.depth_mm == 10.0
    assert Window("wiggle").recent_s > 1.0
    assert Window().recent_s == 0.0


def test_what_it_cannot_read_is_said():
    lane = Lane()
    policy = Window()
    with pytest.raises(InputError, match="nobody hands them on"):
        policy.step(policy.start(lane.task), replace(lane.observe(), recent=()))
    seen = told(lane)
    bare = replace(seen, recent=(replace(seen.recent[0], probe=None),))
    with pytest.raises(InputError, match="geometry of the transducer"):
        policy.step(policy.start(lane.task), bare)
    with pytest.raises(InputError, match="there is no policy"):
        Window("nobody")
    for name, bad in (("sweep_mm", -1.0), ("probe_mm_s", 26.0), ("reach_mm", 0.0), ("look_s", math.nan)):
        with pytest.raises(InputError, match=name):
            Window(**{name: bad})


def test_a_lost_tip_is_waited_for_and_the_plan_goes_on_by_the_encoder():
    from sonosteer.core.types import Track

    lane = Lane(task(along_mm=40.0))

    def loses(lane):
        lane.state = Track.LOST if 3.0 < lane.time_s < 4.0 else Track.TRACKING

    actions, _ = run(Window(), lane, change=loses)
    assert actions[-1].command.stop
    assert lane.miss_mm < 3.0
