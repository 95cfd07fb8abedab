"""The inner loops of image formation: blend, gather, convolve, envelope, log compression.

Arrays of one frame: (range samples, lines), complex64, with `PAD` lines on each side where convolution needs
them. A slow statement of each stands in the tests.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

C64 = NDArray[np.complex64]
F32 = NDArray[np.float32]

BLOCK = 8  # coordinates are given every 8 samples and lines, bilinear in between


@njit(cache=True, nogil=True, fastmath=True)
def blend(a: F32, b: F32, share: float, out: F32) -> None:
    """out = (1 - share) a + share b, flat float32 views of two elevation slices."""
    f = np.float32(share)
    g = np.float32(1.0) - f
    for i in range(a.shape[0]):
        out[i] = g * a[i] + f * b[i]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def gather(field: C64, r: F32, q: F32, turns: F32, pad: int, out: C64) -> None:
    """Bilinear gather of a field slice at displaced coordinates, turned by the exact carrier phase.

    r, q: coordinates in samples and lines of the field, on a grid every BLOCK samples and lines. turns: phase in
    revolutions on the same grid, 2 (r_image - r_tissue) / wavelength. out: (samples, lines + 2 pad).
    """
    samples, lines = out.shape[0], out.shape[1] - 2 * pad
    r_max, l_max = np.float32(field.shape[0] - 2), np.float32(field.shape[1] - 2)
    step = np.float32(1.0 / BLOCK)
    for i in range(samples):
        bi = i // BLOCK
        f = np.float32(i - bi * BLOCK) * step
        for bl in range((lines + BLOCK - 1) // BLOCK):
            r0 = r[bi, bl] + f * (r[bi + 1, bl] - r[bi, bl])
            r1 = r[bi, bl + 1] + f * (r[bi + 1, bl + 1] - r[bi, bl + 1])
            q0 = q[bi, bl] + f * (q[bi + 1, bl] - q[bi, bl])
            q1 = q[bi, bl + 1] + f * (q[bi + 1, bl + 1] - q[bi, bl + 1])
            t0 = turns[bi, bl] + f * (turns[bi + 1, bl] - turns[bi, bl])
            t1 = turns[bi, bl + 1] + f * (turns[bi + 1, bl + 1] - turns[bi, bl + 1])
            # the phase is linear over a block: one sine and cosine to start with, then a rotation per line
            a0, a1 = np.float32(-2.0 * math.pi) * t0, np.float32(-2.0 * math.pi) * (t1 - t0) * step
            turn = complex(math.cos(a0), math.sin(a0))
            rotate = complex(math.cos(a1), math.sin(a1))
            for j in range(min(BLOCK, lines - bl * BLOCK)):
                g = np.float32(j) * step
                rr = min(max(r0 + g * (r1 - r0), np.float32(0.0)), r_max)
                ll = min(max(q0 + g * (q1 - q0), np.float32(0.0)), l_max)
                ir, il = np.uint32(rr), np.uint32(ll)
                fr, fl = rr - np.float32(ir), ll - np.float32(il)
                a = field[ir, il] + (field[ir, il + 1] - field[ir, il]) * fl
                b = field[ir + 1, il] + (field[ir + 1, il + 1] - field[ir + 1, il]) * fl
                out[i, pad + bl * BLOCK + j] = np.complex64((a + (b - a) * fr) * turn)
                turn *= rotate


@njit(cache=True, nogil=True, fastmath=True)
def convolve_lines(data: C64, kernels: C64, zone: NDArray[np.int64], pad: int, re: F32, im: F32) -> None:
    """Complex depth-dependent convolution along the lines: (samples, lines + 2 pad) -> (samples, lines)."""
    samples, lines = re.shape
    taps = kernels.shape[1]
    first = pad - taps // 2
    width = data.shape[1]
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(samples):
        for q in range(width):  # real and imaginary parts apart, so that the loops below vectorise
            x[q] = data[i, q].real
            y[q] = data[i, q].imag
        row_re, row_im = re[i], im[i]
        for q in range(lines):
            row_re[q] = 0.0
            row_im[q] = 0.0
        for k in range(taps):
            h = kernels[zone[i], taps - 1 - k]
            a, b = h.real, h.imag
            u, v = x[first + k :], y[first + k :]
            for q in range(lines):
                row_re[q] += a * u[q] - b * v[q]
                row_im[q] += a * v[q] + b * u[q]


@njit(cache=True, nogil=True, fastmath=True)
def add_envelope(re: F32, im: F32, noise: C64, row: int, column: int, level: F32, total: F32, first: bool) -> None:
    """total (+)= |signal + level[range] noise|, noise read from a bank at (row, column)."""
    for i in range(re.shape[0]):
        for q in range(re.shape[1]):
            n = noise[row + i, column + q]
            a = re[i, q] + level[i] * n.real
            b = im[i, q] + level[i] * n.imag
            e = math.sqrt(a * a + b * b)
            total[i, q] = e if first else total[i, q] + e


@njit(cache=True, nogil=True, fastmath=True)
def log_compress(envelope: F32, gain: F32, per_db: float, grey: float, out: NDArray[np.uint8]) -> None:
    """8 bit: grey + per_db * 20 log10(gain[range] envelope), clipped to 0..255."""
    scale = np.float32(per_db * 20.0 / math.log(10.0))
    for i in range(envelope.shape[0]):
        for q in range(envelope.shape[1]):
            v = np.float32(grey) + scale * math.log(envelope[i, q] * gain[i] + np.float32(1e-9))
            out[i, q] = np.uint8(min(max(v + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))


@njit(cache=True, nogil=True, fastmath=True)
def pulse_at(pulse: F32, k: int, fraction: np.float32) -> np.float32:
    """Share of an echo at sample k after the one it lies behind by `fraction`; linear between samples."""
    half = pulse.shape[0] // 2
    w = np.float32(0.0)
    if k <= half:
        w += pulse[k + half] * (np.float32(1.0) - fraction)
    if k > -half:
        w += pulse[k + half - 1] * fraction
    return w


@njit(cache=True, nogil=True, fastmath=True)
def add_points(
    r: F32,
    q: F32,
    amplitude: C64,
    turns_per_sample: float,
    pulse: F32,
    pad: int,
    out: C64,
) -> None:
    """Add point echoes with the axial pulse and exact phase, before the lateral convolution.

    r, q: position in samples and lines. amplitude: complex, relative to tissue rms.
    """
    half = pulse.shape[0] // 2
    for p in range(r.shape[0]):
        ir, il = math.floor(r[p]), math.floor(q[p])
        if ir - half < 0 or ir + half + 1 >= out.shape[0] or il + pad < 0 or il + pad + 1 >= out.shape[1]:
            continue
        fr, fl = np.float32(r[p] - ir), np.float32(q[p] - il)
        phase = -2.0 * math.pi * r[p] * turns_per_sample
        a = np.complex64(amplitude[p] * complex(math.cos(phase), math.sin(phase)))
        for k in range(-half, half + 2):
            w = pulse_at(pulse, k, fr)
            out[ir + k, pad + il] += a * (w * (np.float32(1.0) - fl))
            out[ir + k, pad + il + 1] += a * (w * fl)


@njit(cache=True, nogil=True, fastmath=True)
def add_line_echoes(r: F32, amplitude: C64, turns_per_sample: float, pulse: F32, re: F32, im: F32) -> None:
    """Add one specular echo per line after the lateral convolution. r: range in samples; 0 amplitude: none."""
    half = pulse.shape[0] // 2
    for q in range(r.shape[0]):
        ir = math.floor(r[q])
        if amplitude[q] == 0 or ir - half < 0 or ir + half + 1 >= re.shape[0]:
            continue
        fr = np.float32(r[q] - ir)
        phase = -2.0 * math.pi * r[q] * turns_per_sample
        a = amplitude[q] * complex(math.cos(phase), math.sin(phase))
        for k in range(-half, half + 2):
            w = pulse_at(pulse, k, fr)
            re[ir + k, q] += np.float32(a.real) * w
            im[ir + k, q] += np.float32(a.imag) * w


@njit(cache=True, nogil=True, fastmath=True)
def shade(
    data: C64,
    pad: int,
    shaft_r: F32,
    blocked: F32,
    tip_r: float,
    tip_l: float,
    side: float,
    cone: float,
    refill: float,
) -> None:
    """Darken what lies below the shaft. shaft_r[l]: range of the shaft under line l, in samples.

    blocked[l]: share of the elevation beam that the shaft stops. side: -1 if the shaft lies at smaller l than
    the tip. cone: half width of the receive cone in lines per sample: softens the edge below the tip.
    refill: per sample, how the shadow fills in with depth.
    """
    lines = data.shape[1] - 2 * pad
    for i in range(data.shape[0]):
        below = np.float32(i) - np.float32(tip_r)
        for q in range(-pad, lines + pad):
            p = min(max(q, 0), lines - 1)
            d = np.float32(i) - shaft_r[p]
            if d <= 0 or blocked[p] <= 0:
                continue
            lateral = (np.float32(tip_l) - np.float32(q)) * np.float32(-side)
            if below > 1:
                f = (lateral / (below * np.float32(cone)) + np.float32(1.0)) * np.float32(0.5)
                f = min(max(f, np.float32(0.0)), np.float32(1.0))
            else:
                f = np.float32(1.0) if lateral > 0 else np.float32(0.0)
            soft = min(d * np.float32(0.12), np.float32(1.0))
            m = np.float32(1.0) - blocked[p] * soft * f / (np.float32(1.0) + d * np.float32(refill))
            data[i, pad + q] *= m
