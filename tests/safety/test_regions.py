"""Distances against brute force, margins against chance, and a gate that keeps the tip out."""

import math
from dataclasses import replace

import numpy as np
import pytest
from gate_inputs import (
    FAST,
    GATE,
    LIMITS,
    LOST,
    NOW,
    SPACING,
    STATE,
    TINY,
    act,
    ask,
    cleared,
    gate_input,
    read,
    refused,
    tip,
)

from sonosteer.core.errors import InputError
from sonosteer.safety.gate import Gate
from sonosteer.safety.gate_input import turned
from sonosteer.safety.memory import Memory, Pose, SeenTip
from sonosteer.safety.regions import Circle, Polygon, margin_mm

SQUARE = Polygon("nerve", ((4.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0)))
TRIANGLE = Polygon("bone", ((0.0, 0.0), (0.0, 6.0), (8.0, 0.0)))
DISC = Circle("artery", (4.0, 3.0), 2.0)
FAR = 0.125 * 8.0 + 0.0625 * 8.0  # 8 mm/s for as long as an order lasts and until the needle stands


def test_the_distance_from_a_circle_is_that_of_the_nearest_point_of_the_path():
    assert DISC.nearest(((-2.0, 3.0), (1.0, 3.0))) == (1.0, (1.0, 0.0))
    assert DISC.nearest(((4.0, 9.0), (4.0, 8.0))) == (3.0, (0.0, -1.0))
    assert DISC.nearest(((0.0, 0.0), (8.0, 0.0))) == (1.0, (0.0, 1.0))
    assert DISC.nearest(((9.0, 3.0), (9.0, 3.0))) == (3.0, (-1.0, 0.0))
    assert DISC.nearest(((7.0, 7.0), (10.0, 11.0))) == (3.0, (-0.6, -0.8))
    assert DISC.nearest(((4.0, 3.0), (4.0, 3.0))) == (-2.0, (0.0, 0.0))
    assert DISC.nearest(((0.0, 2.0), (8.0, 2.0)))[0] == -1.0


def test_the_distance_from_a_polygon_is_that_of_the_nearest_points():
    assert SQUARE.nearest(((0.0, 2.0), (3.0, 2.0))) == (1.0, (1.0, 0.0))
    assert SQUARE.nearest(((6.0, 9.0), (6.0, 9.0))) == (5.0, (0.0, -1.0))
    assert SQUARE.nearest(((1.0, -4.0), (0.0, -8.0))) == (5.0, (0.6, 0.8))
    assert SQUARE.nearest(((0.0, 7.0), (12.0, 7.0)))[0] == 3.0
    assert SQUARE.nearest(((9.0, 8.0), (13.0, 4.0)))[0] == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize(
    "path",
    [
        ((5.0, 1.0), (6.0, 2.0)),
        ((5.0, 1.0), (20.0, 1.0)),
        ((0.0, 1.0), (20.0, 2.0)),
        ((0.0, 1.0), (5.0, 1.0)),
        ((0.0, 2.0), (4.0, 2.0)),
        ((4.0, 2.0), (0.0, 2.0)),
        ((0.0, -4.0), (12.0, 8.0)),
    ],
)
def test_a_path_that_enters_or_touches_a_polygon_is_at_no_distance(path):
    assert SQUARE.nearest(path) == (0.0, (0.0, 0.0))
    assert SQUARE.nearest(path[::-1]) == (0.0, (0.0, 0.0))
    turned_round = Polygon("nerve", SQUARE.corners_mm[::-1])
    assert turned_round.nearest(path)[0] == 0.0


def test_small_polygons_and_short_paths_are_told_apart_as_well():
    small = Polygon("vein", ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5)))
    assert small.nearest(((0.25, 0.25), (0.25, 0.3))) == (0.0, (0.0, 0.0))
    assert small.nearest(((-0.25, 0.25), (-0.125, 0.25))) == (0.125, (1.0, 0.0))
    back = Polygon("vein", small.corners_mm[::-1])
    assert back.nearest(((0.25, 0.25), (0.25, 0.3))) == (0.0, (0.0, 0.0))
    assert back.nearest(((-0.25, 0.25), (-0.125, 0.25))) == (0.125, (1.0, 0.0))
    assert SQUARE.nearest(((3.75, 2.0), (3.875, 2.0))) == (0.125, (1.0, 0.0))
    assert SQUARE.nearest(((3.875, -0.0625), (3.875, 0.0625))) == (0.125, (1.0, 0.0))


def test_a_path_past_a_corner_does_not_enter():
    assert SQUARE.nearest(((0.0, 3.0), (2.0, 7.0)))[0] > 0
    assert SQUARE.nearest(((3.0, 20.0), (3.0, -20.0))) == (1.0, (1.0, 0.0))
    assert SQUARE.nearest(((9.0, 20.0), (9.0, 5.0)))[0] == pytest.approx(math.sqrt(2.0))


def outline(region):
    """Points round a region, in order."""
    if region is DISC:
        t = np.linspace(0, 2 * math.pi, 300)
        return np.stack([4 + 2 * np.cos(t), 3 + 2 * np.sin(t)], 1)
    corners = np.array(region.corners_mm)
    steps = np.linspace(0, 1, 80)[:, None]
    return np.concatenate([a + steps * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (SQUARE, lambda x, y: (x > 4) & (x < 8) & (y > 0) & (y < 4)),
        (TRIANGLE, lambda x, y: (x > 0) & (y > 0) & (3 * x + 4 * y < 24)),
        (DISC, lambda x, y: (x - 4) ** 2 + (y - 3) ** 2 < 4),
    ],
)
def test_distances_agree_with_brute_force(region, inside):
    rng = np.random.default_rng(7)
    for start, end in rng.uniform(-4, 12, (60, 2, 2)):
        path = start + np.linspace(0, 1, 200)[:, None] * (end - start)
        gaps = (outline(region)[None] - path[:, None]).reshape(-1, 2)
        distances = np.hypot(*gaps.T)
        distance, towards = region.nearest((tuple(start), tuple(end)))
        if inside(*path.T).any():
            assert distance <= 0.0
        else:
            assert distance == pytest.approx(distances.min(), abs=0.08)
            assert math.hypot(*towards) == pytest.approx(1.0)
            assert np.dot(towards, gaps[distances.argmin()]) == pytest.approx(distances.min(), abs=0.08)


STAR = tuple((math.cos(0.8 * math.pi * k), math.sin(0.8 * math.pi * k)) for k in range(5))


@pytest.mark.parametrize(
    "corners",
    [
        (),
        ((0.0, 0.0),),
        ((0.0, 0.0), (1.0, 0.0)),
        ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)),
        ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (1.0, 1.0)),
        ((0.0, 0.0), (4.0, 0.0), (1.0, 1.0), (0.0, 4.0)),
        ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)),
        ((0.0, 0.0), (1.0, 0.0), (0.0, math.nan)),
        ((0.0, 0.0), (1.0, 0.0), (0.0, math.inf)),
        STAR,
    ],
)
def test_only_convex_polygons_are_regions(corners):
    with pytest.raises(InputError, match="forbidden region nerve: its corners must go round a convex polygon"):
        Polygon("nerve", corners)


@pytest.mark.parametrize(
    ("center", "radius"),
    [
        ((math.nan, 0.0), 1.0),
        ((0.0, math.inf), 1.0),
        ((0.0, 0.0), 0.0),
        ((0.0, 0.0), -1.0),
        ((0.0, 0.0), math.nan),
        ((0.0, 0.0), math.inf),
    ],
)
def test_only_circles_with_a_radius_are_regions(center, radius):
    with pytest.raises(InputError, match="forbidden region artery"):
        Circle("artery", center, radius)


def test_either_way_round_is_the_same_polygon():
    other = Polygon("nerve", SQUARE.corners_mm[::-1])
    for path in (((0.0, 2.0), (3.0, 2.0)), ((5.0, 1.0), (6.0, 2.0))):
        assert other.nearest(path) == SQUARE.nearest(path)


def test_a_margin_is_the_quantile_times_the_deviation_that_way():
    P = (4.0, 1.5, 9.0)
    assert margin_mm((1.0, 0.0), P, 0.99) == pytest.approx(2.3263479 * 2.0)
    assert margin_mm((0.0, -1.0), P, 0.99) == pytest.approx(2.3263479 * 3.0)
    assert margin_mm((0.6, 0.8), P, 0.975) == pytest.approx(1.9599640 * math.sqrt(0.36 * 4 + 0.64 * 9 + 0.96 * 1.5))
    assert margin_mm((0.6, -0.8), P, 0.5) == 0.0
    assert margin_mm((0.0, 0.0), P, 0.99) == 0.0
    r = math.sqrt(0.5)
    assert margin_mm((r, -r), (1.0, 1.0, 1.0), 0.99) == pytest.approx(0.0, abs=1e-7)


def test_a_covariance_turns_with_the_needle():
    for angle in (0.0, 0.3, -1.2, 2.0):
        c, s = math.cos(angle), math.sin(angle)
        R = np.array([[c, -s], [s, c]])
        P = R @ np.array([[4.0, 0.7], [0.7, 1.0]]) @ R.T
        assert turned((4.0, 0.7, 1.0), angle) == pytest.approx((P[0, 0], P[0, 1], P[1, 1]))


LEVEL = tip(angle_rad=0.0, covariance_mm2=np.zeros((2, 2)))  # at (20, 20) mm, pushed to +x


def known(depth_mm, angle_rad, x_mm=20.0, frame_index=10, variance_mm2=0.0):
    """A tip at (x, 20) mm that was seen to go to +x while encoders said this."""
    pose = Pose(depth_mm, angle_rad, (0.0, 0.0))
    return SeenTip(
        frame_index, NOW - 0.125, (x_mm, 20.0), 0.0, (variance_mm2, 0.0, variance_mm2), tracked=True, pose=pose
    )


def wall(x_mm):
    """Forbidden from x_mm on."""
    return Polygon("wall", ((x_mm, 0.0), (x_mm + 50.0, 0.0), (x_mm + 50.0, 50.0), (x_mm, 50.0)))


def at_wall(x_mm, action=None, estimate=LEVEL, limits=LIMITS, **more):
    return ask(action or act(), gate=Gate(limits, (wall(x_mm),)), estimate=estimate, **more)


def test_a_tip_is_pushed_up_to_a_forbidden_region_but_not_into_it():
    cleared(at_wall(20.0 + FAR + TINY))
    no = refused(at_wall(20.0 + FAR), "forbidden region")
    assert (no.value, no.bound, no.unit) == (0.0, 0.0, "mm")
    assert no.reason == "the needle would come within 0 mm of wall, and must keep 0 mm"
    refused(at_wall(20.0 + FAR - TINY), "forbidden region")
    refused(at_wall(0.0), "forbidden region")


def test_every_region_counts():
    gate = Gate(LIMITS, (wall(40.0), Circle("artery", (20.0, 24.0), 4.0)))
    assert "artery" in refused(ask(gate=gate, estimate=LEVEL), "forbidden region").reason
    gate = Gate(LIMITS, (wall(40.0), Circle("artery", (20.0, 24.0), 4.0 - TINY)))
    cleared(ask(gate=gate, estimate=LEVEL))


def test_the_margin_grows_with_the_tip_s_deviation_towards_the_region():
    sure = replace(LEVEL, covariance_mm2=np.diag([1.0, 0.0]))
    keep = 2.3263478740408408
    cleared(at_wall(20.0 + FAR + keep + 1e-6, estimate=sure))
    no = refused(at_wall(20.0 + FAR + keep - 1e-6, estimate=sure), "forbidden region")
    assert no.bound == pytest.approx(keep)
    cleared(at_wall(20.0 + FAR + TINY, estimate=replace(LEVEL, covariance_mm2=np.diag([0.0, 1.0]))))
    half = replace(LIMITS, clearance=0.5)
    cleared(at_wall(20.0 + FAR + TINY, estimate=sure, limits=half))


def test_deviations_along_and_across_the_needle_turn_with_it():
    down = replace(LEVEL, angle_rad=math.pi / 2, covariance_mm2=np.diag([0.0, 1.0]))
    no = refused(at_wall(22.0, estimate=down), "forbidden region")
    assert no.value == pytest.approx(2.0)
    assert no.bound == pytest.approx(2.3263479)
    cleared(at_wall(22.5, estimate=down))


def test_a_needle_that_goes_down_goes_towards_what_is_deeper():
    down = replace(LEVEL, angle_rad=math.pi / 2)
    gate = Gate(LIMITS, (Circle("artery", (20.0, 24.0), 2.0),))
    assert refused(ask(gate=gate, estimate=replace(down, tip_px=(160.0, 82.0))), "forbidden region").value == (
        pytest.approx(0.0)
    )
    assert cleared(ask(gate=gate, estimate=down))


def test_a_region_stays_in_the_tissue_while_the_probe_moves():
    moved = read(probe_mm=(4.0, 0.0, 0.0))
    cleared(at_wall(24.0 + FAR + TINY, robot_state=moved))
    refused(at_wall(24.0 + FAR, robot_state=moved), "forbidden region")


def test_what_the_needle_was_pushed_since_its_picture_counts():
    seen = known(37.0, 0.5)
    state = replace(STATE, memory=Memory(seen=(seen,), newest=10))
    cleared(at_wall(23.0 + FAR + TINY, state=state))
    refused(at_wall(23.0 + FAR, state=state), "forbidden region")


def test_how_far_a_turn_swings_the_tip_counts():
    turn = act(insertion_angle_rad=0.5625)
    swing = 0.0625 * (40.0 + FAR)
    cleared(at_wall(20.0 + FAR + swing + TINY, turn))
    refused(at_wall(20.0 + FAR + swing, turn), "forbidden region")
    other = act(insertion_angle_rad=0.4375)
    refused(at_wall(20.0 + FAR + swing, other), "forbidden region")
    cleared(at_wall(20.0 + FAR + TINY, turn, robot_state=read(depth_mm=-4.0)))
    assert refused(at_wall(20.0 + FAR, turn, robot_state=read(depth_mm=-4.0)), "forbidden region").value == 0.0


def test_how_far_it_was_swung_since_its_picture_counts():
    seen = known(40.0, 0.4375)
    state = replace(STATE, memory=Memory(seen=(seen,), newest=10))
    swing = 0.0625 * (40.0 + FAR)
    cleared(at_wall(20.0 + FAR + swing + TINY, state=state))
    refused(at_wall(20.0 + FAR + swing, state=state), "forbidden region")
    turn = act(insertion_angle_rad=0.5625)
    refused(at_wall(20.0 + FAR + 2 * swing, turn, state=state), "forbidden region")
    back = act(insertion_angle_rad=0.4375)
    cleared(at_wall(20.0 + FAR + swing + TINY, back, state=state))
    refused(at_wall(20.0 + FAR + swing, back, state=state), "forbidden region")  # by its encoder, not by the order


def test_the_length_that_a_turn_swings_is_the_one_that_is_inserted_then_not_that_of_the_picture():
    state = replace(STATE, memory=Memory(seen=(known(24.0, 0.4375),), newest=10))
    swing = 0.0625 * (40.0 + FAR)
    cleared(at_wall(36.0 + FAR + swing + TINY, state=state))
    refused(at_wall(36.0 + FAR + swing, state=state), "forbidden region")


def test_a_turn_alone_counts_unless_it_is_the_encoder_s_noise():
    state = replace(STATE, command=replace(FAST, insertion_speed_mm_s=0.0))
    still = LIMITS.still_rad
    for way in (1.0, -1.0):
        cleared(at_wall(20.0, act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5 + way * still), state=state))
        turn = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5 + way * (still + TINY))
        refused(at_wall(20.0, turn, state=state), "forbidden region")
        cleared(at_wall(21.0, turn, state=state))


def test_a_needle_that_still_moves_counts_while_it_is_turned():
    turn = act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.5625)
    swing = 0.0625 * 40.5
    refused(at_wall(20.0 + swing + 0.5, turn, robot_state=read(insertion_speed_mm_s=8.0)), "forbidden region")
    cleared(at_wall(20.0 + swing + 0.5 + TINY, turn, robot_state=read(insertion_speed_mm_s=8.0)))
    cleared(at_wall(20.0 + 2.5 + TINY, turn, robot_state=read(insertion_speed_mm_s=-8.0)))


def test_a_tip_in_a_region_may_be_drawn_out_and_the_probe_may_move():
    back = replace(STATE, command=replace(FAST, insertion_speed_mm_s=-24.0))
    cleared(at_wall(10.0, act(insertion_speed_mm_s=-8.0), state=back))
    cleared(at_wall(10.0, act(insertion_speed_mm_s=0.0, probe_velocity_mm_s=(1.0, 0.0, 0.0))))


def test_every_estimate_of_late_must_be_clear_of_a_region():
    def state(*seen):
        return replace(STATE, memory=Memory(seen=seen, newest=10))

    now = known(40.0, 0.5)
    cleared(at_wall(23.0, state=state(now)))
    cleared(at_wall(23.0, state=state(known(38.0, 0.5, 18.0, 9), now)))
    refused(at_wall(23.0, state=state(known(40.0, 0.5, 23.0 - FAR, 9), now)), "forbidden region")
    cleared(at_wall(23.0, state=state(known(40.0, 0.5, 23.0 - FAR - TINY, 9), now)))
    refused(at_wall(23.0, state=state(known(38.0, 0.5, 21.0 - FAR, 9), now)), "forbidden region")
    unsure = refused(at_wall(23.0, state=state(known(38.0, 0.5, 18.0, 9, 4.0), now)), "forbidden region")
    assert unsure.bound == pytest.approx(2 * 2.3263479)


def test_among_regions_a_tip_that_is_not_known_in_the_tissue_is_not_pushed():
    gate = Gate(LIMITS, (wall(90.0),))
    cleared(ask(gate=gate, estimate=LEVEL))
    lost, _ = gate.clear(STATE, act(), gate_input(estimate=replace(LOST, frame_index=10)))
    assert lost.memory.seen == ()
    pushing = replace(lost, time_s=NOW - 0.125)
    refused(ask(gate=gate, estimate=LEVEL, state=pushing), "tip unknown")
    old = known(40.0, 0.5, frame_index=9)
    state = replace(STATE, memory=Memory(seen=(old,), newest=10))
    refused(ask(gate=gate, estimate=LEVEL, state=state), "tip unknown")
    refused(ask(gate=gate, estimate=LOST), "insertion speed while the tip is lost")
    cleared(ask(state=state))


def test_without_regions_the_tip_may_be_anywhere():
    cleared(ask(gate=GATE, estimate=replace(LEVEL, tip_px=SPACING.to_px((500.0, 500.0)))))


def test_a_lost_needle_among_regions_whose_encoders_say_it_turns_holds_where_it_is():
    gate = Gate(LIMITS, (wall(90.0),))
    order = cleared(ask(act(insertion_speed_mm_s=0.0, insertion_angle_rad=0.6), gate=gate, estimate=LOST))
    assert order.command.insertion_angle_rad == 0.5
    assert order.command.expires_at_s == NOW + 0.125
