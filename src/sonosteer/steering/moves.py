"""A few quick turns that bring the tip to its target: prediction of a plan, its cost, and the search for a better one.

Not from a paper. A plan is up to n moves (depth, turn of the tip, at most half a turn either way). Between moves the
path of `transient` is followed in steps of 3 mm (1.5 mm among obstacles). Its cost, in mm:

    J = w_f |r(L)| + w_m mean|r| + w_r sum|base turn| + w_n moves
        + w_q mean[ |straight miss| - eta k (d^2/2 + c d + h) ]+
        + w_s k (c d + d^2/2) sqrt(d / 20) exp(-budget left), d the way left after the last move
        + w_o (largest lack of clearance)

r is the distance from a reference path that bends from the axis to the target as its square. The fifth term keeps
the target within reach of one turn more; the sixth lets the last turn come late, for nothing corrects what follows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sonosteer.core.arrays import F32, F64
from sonosteer.steering.transient import STATES

OUT = 7
IMPOSSIBLE = 1e9

# of `weights`
FINAL, MEAN, ROTATION, MOVE, SOFT, REACH, ETA, AFTER, OBSTACLE, RESERVE, RESERVE_MM, LEAST_BEND = range(12)


class Task(NamedTuple):
    """What does not change while a plan is looked for.

    depth: of the target in mm; target: (y, z) there. noise: `Transient.noise()`. friction: (torque / GJ, length of the
    needle, backlash / 2). budget: all rotation allowed, rad. field, origin, step: signed distance from the nearest
    obstacle (a single value where there is none). need: (radius, z^2 times variance of place, slope and curvature,
    cap) in mm. least: smaller turns are none.
    """

    depth: float
    target: F64
    noise: F64
    weights: F64
    friction: F64
    budget: float
    field: F32
    origin: F64
    step: float
    need: F64
    least: float


@njit(cache=True, nogil=True)
def clearance_at(field: F32, origin: F64, step: float, x: float, y: float, z: float) -> float:
    """Signed distance in mm from the nearest obstacle, trilinear in `field`; outside of it its nearest value."""
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
def follow_plan(x: F64, phi: float, at: float, e: F64, a: F64, task: Task, out: F64) -> None:
    """What becomes of a plan (e: depths, rising; a: turns) from depth `at` on: out = final (y, z) off the target,
    integral of |r|, largest |r|, integral of what lies beyond reach, largest lack of clearance, depth of the first.
    """
    depth, noise, target, need = task.depth, task.noise, task.target, task.need
    field, origin, step, eta = task.field, task.origin, task.step, task.weights[ETA]
    c, h, lc = noise[0], noise[1], noise[8]
    Y, sy, Z, sz = x[0], x[1], x[2], x[3]
    way, ph = at, phi
    integral = largest = beyond = lack = 0.0
    first = depth
    crowded = field.shape[0] > 1
    longest = 1.5 if crowded else 3.0
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
                sd2 = need[1] + need[2] * ahead * ahead + need[3] * grown * grown
                room = clearance_at(field, origin, step, way + q, ty + target[0] * w * w, tz + target[1] * w * w)
                short = need[0] + min(math.sqrt(sd2), need[4]) - room
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
    """How far the base must turn to turn the tip by a: play is taken up first where the sense changes.

    offset: base less tip now, within +-play.
    """
    if a > 0.0:
        return a + max(play - offset, 0.0)
    if a < 0.0:
        return a - max(play + offset, 0.0)
    return 0.0


@njit(cache=True, nogil=True)
def play_at(depth: float, friction: F64) -> float:
    """Half width of the play at a depth. friction: (torque / GJ, length of the needle, backlash / 2)."""
    half: float = friction[0] * depth * (0.5 * depth + max(friction[1] - depth, 0.0)) + friction[2]
    return half


@njit(cache=True, nogil=True)
def cost(
    x: F64, phi: float, at: float, e: F64, a: F64, task: Task, used: float, moves_left: int, offset: float, out: F64
) -> float:
    """J in mm; IMPOSSIBLE and more where a move asks for rotation that is not there yet. offset: base less tip now."""
    depth, weights, friction, budget = task.depth, task.weights, task.friction, task.budget
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
        allowed = budget - weights[RESERVE] * max(0.0, 1.0 - e[i] / weights[RESERVE_MM])
        if used + total > allowed + 1e-9:
            return IMPOSSIBLE + used + total
    follow_plan(x, phi, at, e, a, task, out)
    soft = weights[SOFT]
    J: float = weights[FINAL] * (math.sqrt(out[0] ** 2 + out[1] ** 2 + soft * soft) - soft)
    left = depth - last
    after = (
        weights[AFTER]
        * max(abs(x[4]), weights[LEAST_BEND])
        * (task.noise[0] * left + 0.5 * left * left)
        * math.sqrt(max(left, 1e-9) / 20.0)
    )
    spare = budget - used - total
    if spare > 0.0 and done < moves_left:
        after *= math.exp(-spare)
    J += weights[FINAL] * after + weights[MEAN] * out[2] / depth + weights[REACH] * out[4] / depth
    J += weights[ROTATION] * total + weights[MOVE] * done
    if out[5] > 0.0:
        J += weights[OBSTACLE] * out[5]
    return J


@njit(cache=True, nogil=True)
def search(
    x: F64,
    phi: float,
    at: float,
    e0: F64,
    a0: F64,
    task: Task,
    used: float,
    moves_left: int,
    offset: float,
    tries: int,
    rng: np.random.Generator,
) -> tuple[F64, F64, float, float]:
    """(depths, turns, cost, cost of the plan that it began with): the better of that plan and `tries` others.

    A quarter of them fresh, the rest the best so far, changed a little or much.
    """  # fmt: skip
    depth = task.depth
    moves = e0.shape[0]
    out = np.zeros(OUT)
    be, ba = e0.copy(), a0.copy()
    for i in range(moves):
        be[i] = min(max(be[i], at), depth)
    best = cost(x, phi, at, be, ba, task, used, moves_left, offset, out)
    before = best
    e, a = be.copy(), ba.copy()
    for _ in range(tries):
        if rng.random() < 0.25:
            for i in range(moves):
                e[i] = at + (depth - at) * rng.random()
                q = rng.random()
                a[i] = math.pi * (2.0 * rng.random() - 1.0)
                if q < 0.3:
                    a[i] = 0.0
                elif q < 0.6:
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
            if abs(a[i]) < task.least:
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
def sensitivity(phi: float, at: float, e: F64, a: F64, task: Task) -> F64:
    """(2, states): by how much the final tip moves with each state; the prediction is linear in them."""
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
