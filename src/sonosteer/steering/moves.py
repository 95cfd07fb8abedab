"""Predicts a plan of a few quick turns to a target, gives it a cost, and searches for a better one.

Not from a paper. A plan is up to n moves (depth, turn of the tip). A turn is at most half a turn either way. Between
moves the path of `transient` is followed in steps of 3 mm, or of 1.5 mm among obstacles. The cost of a plan, in mm:

    J = w_f |r(L)| + w_m mean|r| + w_r sum|base turn| + w_n moves
        + w_q mean[ |straight miss| - eta k (d^2/2 + c d + h) ]+
        + w_s k (c d + d^2/2) sqrt(d / 20) exp(-budget left), d the way left after the last move
        + w_o (largest lack of clearance)

The fifth term keeps the target within reach of one more turn. The sixth lets the last turn come late, because nothing
corrects what follows it.

| symbol | name here | unit |
| --- | --- | --- |
| r | distance from a reference path that bends from the axis to the target as its square | mm |
| L | `task.depth_mm`, inserted length at the target | mm |
| c, h | `model.slope_mm`, `model.jump_mm2`, see `transient` | mm, mm^2 |
| w_f, w_m, w_r, w_n | `final`, `mean`, `rotation`, `move` of `CostWeights` | no unit, mm/rad, mm |
| w_q, eta, w_s, w_o | `reach`, `eta`, `after`, `obstacle` of `CostWeights` | no unit |
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64
from sonosteer.steering.transient import STATES, TransientParameters

OUT = 7  # number of results of `follow_plan`
IMPOSSIBLE = 1e9  # cost of a plan that asks for more rotation than there is
STEP_MM_FREE, STEP_MM_CROWDED = 3.0, 1.5  # chosen: longest steps of the prediction without and among obstacles
AFTER_SCALE_MM = 20.0  # chosen: way after the last move at which the sixth term has its plain weight
#: chosen: how random plans are drawn. See `search`
FRESH, NO_TURN, HALF_TURN = 0.25, 0.3, 0.6


class CostWeights(NamedTuple):
    """Weights of the cost and the rotation kept in reserve, as the kernels take them. See `planner.Weights`."""

    final: float
    """w_f, no unit."""
    mean: float
    """w_m, no unit."""
    rotation: float
    """w_r, mm/rad."""
    move: float
    """w_n, mm."""
    soft_mm: float
    """Distance below which the final miss counts as its square, mm."""
    reach: float
    """w_q, no unit."""
    eta: float
    """Fraction of what one more turn can do that the fifth term counts on, no unit."""
    after: float
    """w_s, no unit."""
    obstacle: float
    """w_o, no unit."""
    reserve_rad: float
    """Rotation kept in reserve at the entry, rad."""
    reserve_mm: float
    """Inserted length at which all of the reserve is free, mm."""
    min_curvature_per_mm: float
    """Smallest curvature that the sixth term reckons with, 1/mm."""


class Friction(NamedTuple):
    """What makes the torsional play of the tip behind its base."""

    wind_up_per_mm2: float
    """Coulomb friction per length over the torsional stiffness, rad per mm^2."""
    length_mm: float
    """Length of the needle, mm."""
    half_backlash_rad: float
    """Half of the device's backlash, rad."""


class ClearanceNeed(NamedTuple):
    """By how much obstacles are grown: the shaft, and a multiple of the predicted deviation of the tip up to a cap."""

    radius_mm: float
    """Radius of the shaft, mm."""
    place_mm2: float
    """Weighted variance of the position, mm^2."""
    slope: float
    """Weighted variance of the slope, rad^2, no unit."""
    curvature_per_mm2: float
    """Weighted variance of the curvature, 1/mm^2, per mm^2."""
    cap_mm: float
    """Largest growth beyond the shaft, mm."""


NO_NEED = ClearanceNeed(radius_mm=0.0, place_mm2=0.0, slope=0.0, curvature_per_mm2=0.0, cap_mm=0.0)


class PlanTask(NamedTuple):
    """What does not change while a plan is looked for."""

    depth_mm: float
    """L, inserted length at the target, mm."""
    target_mm: F64
    """(2,) y, z of the target across the axis, mm."""
    model: TransientParameters
    """How the tip answers."""
    weights: CostWeights
    """Weights of the cost."""
    friction: Friction
    """What makes the torsional play."""
    budget_rad: float
    """Total rotation of the base that is allowed, rad."""
    field: F32
    """(depth, y, z) signed distance from the nearest obstacle, mm. A single value if there is none."""
    origin_mm: F64
    """(3,) position of the field's first grid point, mm."""
    step_mm: float
    """Distance between the field's grid points, mm."""
    need: ClearanceNeed
    """By how much obstacles are grown."""
    min_turn_rad: float
    """Smallest turn, rad. Smaller ones become none."""


@njit(cache=True, nogil=True)
def clearance_at(field: F32, origin: F64, step: float, x: float, y: float, z: float) -> float:
    """Return the signed distance from the nearest obstacle, mm: trilinear in `field`, its nearest value outside."""
    nx, ny, nz = field.shape
    fx = min(max((x - origin[0]) / step, 0.0), nx - 1.000001)
    fy = min(max((y - origin[1]) / step, 0.0), ny - 1.000001)
    fz = min(max((z - origin[2]) / step, 0.0), nz - 1.000001)
    i, j, k = int(fx), int(fy), int(fz)
    a, b, c = fx - i, fy - j, fz - k
    low = (field[i, j, k] * (1 - c) + field[i, j, k + 1] * c) * (1 - b)
    low += (field[i, j + 1, k] * (1 - c) + field[i, j + 1, k + 1] * c) * b
    high = (field[i + 1, j, k] * (1 - c) + field[i + 1, j, k + 1] * c) * (1 - b)
    high += (field[i + 1, j + 1, k] * (1 - c) + field[i + 1, j + 1, k + 1] * c) * b
    between: float = low * (1 - a) + high * a
    return between


@njit(cache=True, nogil=True)
def follow_plan(x: F64, phi: float, at: float, e: F64, a: F64, task: PlanTask, out: F64) -> None:
    """Predict a plan from depth `at` on. e: depths, rising, mm. a: turns of the tip, rad. phi: roll of the tip, rad.

    out: 0, 1 final y, z off the target, mm. 2 integral of |r|, mm^2. 3 largest |r|, mm. 4 integral of what lies beyond
    reach, mm^2. 5 largest lack of clearance, mm. 6 depth of the first lack, or of the target if there is none, mm.
    """
    depth, model, target, need = task.depth_mm, task.model, task.target_mm, task.need
    field, origin, step, eta = task.field, task.origin_mm, task.step_mm, task.weights.eta
    c, h, lc = model.slope_mm, model.jump_mm2, model.wander_mm
    Y, sy, Z, sz = x[0], x[1], x[2], x[3]
    way, ph = at, phi
    integral = largest = beyond = lack = 0.0
    first = depth
    crowded = field.shape[0] > 1
    longest = STEP_MM_CROWDED if crowded else STEP_MM_FREE
    moves = e.shape[0]
    for i in range(moves + 1):
        to = min(e[i], depth) if i < moves else depth
        C, S = math.cos(ph), math.sin(ph)
        rest = to - way
        n = int(rest / longest) + 1 if rest > 0 else 0
        d = rest / n if n > 0 else 0.0
        forget = math.exp(-d / lc)
        dk = x[7] * math.exp(-(way + 0.5 * d - at) / lc)
        q = 0.5 * d
        for _ in range(n):
            k = x[4] + dk
            ky, kz = k * C - x[5] * S, k * S + x[5] * C
            gy, gz = c * ky + x[6] * C, c * kz + x[6] * S
            w = (way + q) / depth
            ty = Y + (sy + gy) * q + 0.5 * ky * q * q + h * ky - target[0] * w * w
            tz = Z + (sz + gz) * q + 0.5 * kz * q * q + h * kz - target[1] * w * w
            r = math.sqrt(ty * ty + tz * tz)
            integral += r * d
            largest = max(largest, r)
            if crowded:
                ahead = way + q - at
                grown = ahead * ahead * 0.5 + c * ahead + h
                sd2 = need.place_mm2 + need.slope * ahead * ahead + need.curvature_per_mm2 * grown * grown
                room = clearance_at(field, origin, step, way + q, ty + target[0] * w * w, tz + target[1] * w * w)
                short = need.radius_mm + min(math.sqrt(sd2), need.cap_mm) - room
                if short > 0.0 and lack == 0.0:
                    first = way + q
                lack = max(lack, short)
            Y += (sy + gy) * d + 0.5 * ky * d * d
            Z += (sz + gz) * d + 0.5 * kz * d * d
            sy += ky * d
            sz += kz * d
            way += d
            u = depth - way
            py, pz = Y + sy * u - target[0], Z + sz * u - target[1]
            v = math.sqrt(py * py + pz * pz) - eta * x[4] * (0.5 * u * u + c * u + h)
            beyond += max(v, 0.0) * d
            dk *= forget
        if i < moves:
            if to >= depth:
                break
            ph += a[i]
    k = x[4] + x[7] * math.exp(-(depth - at) / lc)
    C, S = math.cos(ph), math.sin(ph)
    out[0] = Y + h * (k * C - x[5] * S) - target[0]
    out[1] = Z + h * (k * S + x[5] * C) - target[1]
    out[2], out[3], out[4], out[5], out[6] = integral, largest, beyond, lack, first


@njit(cache=True, nogil=True)
def base_turn(a: float, offset: float, play: float) -> float:
    """Return how far the base must turn to turn the tip by `a`, rad. Play comes first where the sense changes.

    offset: roll of the base less that of the tip, rad, within +-play.
    """
    if a > 0.0:
        return a + max(play - offset, 0.0)
    if a < 0.0:
        return a - max(play + offset, 0.0)
    return 0.0


@njit(cache=True, nogil=True)
def play_at(depth: float, friction: Friction) -> float:
    """Return half the width of the play at a depth in mm, rad."""
    wound = friction.wind_up_per_mm2 * depth * (0.5 * depth + max(friction.length_mm - depth, 0.0))
    half: float = wound + friction.half_backlash_rad
    return half


@njit(cache=True, nogil=True)
def cost(
    x: F64, phi: float, at: float, e: F64, a: F64, task: PlanTask, used: float, moves_left: int, offset: float, out: F64
) -> float:
    """Return J in mm. It is IMPOSSIBLE or more if a move asks for rotation that is not free yet.

    used: rotation used up, rad. moves_left: number of moves. offset: roll of the base less that of the tip, rad.
    """
    depth, weights, friction, budget = task.depth_mm, task.weights, task.friction, task.budget_rad
    total: float = 0.0
    done = 0
    last = at
    behind = offset
    for i in range(e.shape[0]):
        if a[i] == 0.0 or e[i] >= depth:
            continue
        play = play_at(e[i], friction)
        total += abs(base_turn(a[i], behind, play))
        behind = play if a[i] > 0.0 else -play
        done += 1
        last = e[i]
        allowed = budget - weights.reserve_rad * max(0.0, 1.0 - e[i] / weights.reserve_mm)
        if used + total > allowed + 1e-9:
            return IMPOSSIBLE + used + total
    follow_plan(x, phi, at, e, a, task, out)
    soft = weights.soft_mm
    J: float = weights.final * (math.sqrt(out[0] ** 2 + out[1] ** 2 + soft * soft) - soft)
    left = depth - last
    after = (
        weights.after
        * max(abs(x[4]), weights.min_curvature_per_mm)
        * (task.model.slope_mm * left + 0.5 * left * left)
        * math.sqrt(max(left, 1e-9) / AFTER_SCALE_MM)
    )
    spare = budget - used - total
    if spare > 0.0 and done < moves_left:
        after *= math.exp(-spare)
    J += weights.final * after + weights.mean * out[2] / depth + weights.reach * out[4] / depth
    J += weights.rotation * total + weights.move * done
    if out[5] > 0.0:
        J += weights.obstacle * out[5]
    return J


@njit(cache=True, nogil=True)
def search(
    x: F64,
    phi: float,
    at: float,
    e0: F64,
    a0: F64,
    task: PlanTask,
    used: float,
    moves_left: int,
    offset: float,
    tries: int,
    rng: np.random.Generator,
) -> tuple[F64, F64, float, float]:
    """Search for a better plan than (e0, a0) among `tries` others.

    Returns its depths, turns and cost, and the cost of the plan that it began with. A quarter of the others is fresh.
    The rest is the best plan so far, changed a little or much.
    """  # fmt: skip
    depth = task.depth_mm
    moves = e0.shape[0]
    out = np.zeros(OUT)
    be, ba = e0.copy(), a0.copy()
    for i in range(moves):
        be[i] = min(max(be[i], at), depth)
    best = cost(x, phi, at, be, ba, task, used, moves_left, offset, out)
    before = best
    e, a = be.copy(), ba.copy()
    for _ in range(tries):
        if rng.random() < FRESH:
            for i in range(moves):
                e[i] = at + (depth - at) * rng.random()
                q = rng.random()
                a[i] = math.pi * (2.0 * rng.random() - 1.0)
                if q < NO_TURN:
                    a[i] = 0.0
                elif q < HALF_TURN:
                    a[i] = math.pi if q < 0.5 else -math.pi
        else:
            scale = 10.0 ** (-2.5 * rng.random())
            for i in range(moves):
                e[i], a[i] = be[i], ba[i]
                if rng.random() < 0.7:
                    e[i] = min(max(e[i] + 25.0 * scale * rng.standard_normal(), at), depth)
                if rng.random() < 0.7:
                    a[i] += 1.5 * scale * rng.standard_normal()
                q = rng.random()
                if q < 0.06:
                    a[i] = 0.0
                elif q < 0.1:
                    a[i] = math.pi if rng.random() < 0.5 else -math.pi
                elif q < 0.13:
                    e[i] = at + (depth - at) * rng.random()
        for i in range(moves):
            a[i] = min(max(a[i], -math.pi), math.pi)
            if abs(a[i]) < task.min_turn_rad:
                a[i] = 0.0
            for j in range(i, 0, -1):
                if e[j] < e[j - 1]:
                    e[j], e[j - 1] = e[j - 1], e[j]
                    a[j], a[j - 1] = a[j - 1], a[j]
        J = cost(x, phi, at, e, a, task, used, moves_left, offset, out)
        if not best <= J:
            best = J
            be[:], ba[:] = e, a
    return be, ba, best, before


@njit(cache=True, nogil=True)
def sensitivity(phi: float, at: float, e: F64, a: F64, task: PlanTask) -> F64:
    """Return (2, states): by how much the final tip moves with each state. The prediction is linear in them."""
    J = np.zeros((2, STATES))
    out = np.zeros(OUT)
    offset = np.zeros(2)
    x = np.zeros(STATES)
    follow_plan(x, phi, at, e, a, task, out)
    offset[:] = out[:2]
    for i in range(8):
        x[i] = 1.0
        follow_plan(x, phi, at, e, a, task, out)
        J[0, i], J[1, i] = out[0] - offset[0], out[1] - offset[1]
        x[i] = 0.0
    return J
