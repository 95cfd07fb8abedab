"""The inner loops of image formation: blend, gather, needle echoes, convolution, envelope, log compression.

A frame's arrays are (samples, lines), complex64, with `PAD` lines on each side where convolution needs them. Samples
lie along the range, a range step apart. Amplitudes are relative to the tissue's rms. A slow statement of each kernel
stands in the tests.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sonosteer.core.arrays import C64, F32, U8

BLOCK = 8  # chosen: coordinates are given every 8 samples and lines, bilinear in between


@njit(cache=True, nogil=True, fastmath=True)
def blend(a: C64, b: C64, fraction: float, gain: float, out: C64) -> None:
    """Fill in out = gain ((1 - fraction) a + fraction b): one elevation slice out of two neighbours.

    a, b, out: (rows, columns). fraction: 0 to 1.
    """
    f = np.float32(fraction * gain)
    g = np.float32((1.0 - fraction) * gain)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = g * a[i, j] + f * b[i, j]


@njit(cache=True, nogil=True, fastmath=True)
def drag_slice(
    volume: C64,
    period: int,
    y: float,
    pull: float,
    r: float,
    q: float,
    radius: float,
    reach: float,
    rows_mm: float,
    columns_mm: float,
    out: C64,
) -> None:
    """Around a needle that crosses the plane, show tissue that it has pulled along through the plane.

    volume: (slices, rows, columns) of the field, periodic along the columns with `period`. out: (rows, columns), the
    slice at elevation y, overwritten around the needle at row r, column q. y, pull: number of slices. The pull holds at
    the wall and falls to nothing within two reaches (a parabola). radius, reach: mm. rows_mm, columns_mm: steps, mm.
    """
    ny, most = volume.shape[0], radius + 2 * reach
    half_r, half_q = int(most / rows_mm), int(most / columns_mm)
    for i in range(max(int(r) - half_r, 0), min(int(r) + half_r + 1, out.shape[0])):
        for j in range(int(q) - half_q, int(q) + half_q + 1):
            u, v = (i - r) * rows_mm, (j - q) * columns_mm
            square = u * u + v * v
            if square >= most * most:
                continue
            left = min((most - math.sqrt(square)) / (2 * reach), 1.0)
            at = y - pull * left * left
            k = math.floor(at)
            f = np.float32(at - k)
            column = j % period
            a, b = volume[k % ny, i, column], volume[(k + 1) % ny, i, column]
            value = a + (b - a) * f
            out[i, column] = value
            if column + period < out.shape[1]:
                out[i, column + period] = value


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def gather(
    field: C64,
    period: int,
    r: F32,
    q: F32,
    turns: F32,
    level: F32,
    haze: F32,
    bank: C64,
    row: int,
    column: int,
    pad: int,
    out: C64,
) -> None:
    """Gather a field slice bilinearly at displaced coordinates, turned by the exact carrier phase.

    field: (rows, columns), periodic along the columns with `period`. The columns beyond repeat the first ones.
    Every BLOCK samples and lines: r, q row and column of the field, turns phase in revolutions (2 (r_image - r_tissue)
    / wavelength), level amplitude factor, haze amplitude of the noise to add. bank: noise, read from (row, column) on.
    out: (samples, lines + 2 pad).
    """
    samples, lines = out.shape[0], out.shape[1] - 2 * pad
    blocks = (lines + BLOCK - 1) // BLOCK
    r_max, l_max = np.float32(field.shape[0] - 2), np.float32(field.shape[1] - 2)
    step, half, quarter = np.float32(1.0 / BLOCK), np.float32(0.5), np.float32(0.25)
    flat, stride = field.view(np.float32).reshape(-1), np.int32(2 * field.shape[1])
    n = blocks * BLOCK
    rr, ll, tt, vv = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    re, im, at = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    for i in range(samples):
        bi = i // BLOCK
        f = np.float32(i - bi * BLOCK) * step
        for bl in range(blocks):  # four loops a row, each of a kind that the compiler vectorises
            r0 = r[bi, bl] + f * (r[bi + 1, bl] - r[bi, bl])
            dr = r[bi, bl + 1] + f * (r[bi + 1, bl + 1] - r[bi, bl + 1]) - r0
            q0 = q[bi, bl] + f * (q[bi + 1, bl] - q[bi, bl])
            dq = q[bi, bl + 1] + f * (q[bi + 1, bl + 1] - q[bi, bl + 1]) - q0
            q0 -= np.float32(math.floor(min(q0, q0 + dq) / period) * period)
            t0 = turns[bi, bl] + f * (turns[bi + 1, bl] - turns[bi, bl])
            dt = turns[bi, bl + 1] + f * (turns[bi + 1, bl + 1] - turns[bi, bl + 1]) - t0
            v0 = level[bi, bl] + f * (level[bi + 1, bl] - level[bi, bl])
            dv = level[bi, bl + 1] + f * (level[bi + 1, bl + 1] - level[bi, bl + 1]) - v0
            k = bl * BLOCK
            for j in range(BLOCK):
                g = np.float32(j) * step
                rr[k + j] = r0 + g * dr
                ll[k + j] = q0 + g * dq
                tt[k + j] = t0 + g * dt
                vv[k + j] = v0 + g * dv
        for j in range(n):
            x = min(max(rr[j], np.float32(0)), r_max)
            y = min(max(ll[j], np.float32(0)), l_max)
            ix, iy = np.int32(x), np.int32(y)
            rr[j] = x - np.float32(ix)
            ll[j] = y - np.float32(iy)
            at[j] = ix * stride + 2 * iy
        for j in range(n):
            p = np.int64(at[j])
            s = p + stride
            fl, fr = ll[j], rr[j]
            a = flat[p] + (flat[p + 2] - flat[p]) * fl
            b = flat[s] + (flat[s + 2] - flat[s]) * fl
            c = flat[p + 1] + (flat[p + 3] - flat[p + 1]) * fl
            d = flat[s + 1] + (flat[s + 3] - flat[s + 1]) * fl
            re[j] = a + (b - a) * fr
            im[j] = c + (d - c) * fr
        for j in range(n):  # sine and cosine of 2 pi t by parabolas, off by less than 1e-3
            u = tt[j] - math.floor(tt[j]) - half
            v = np.float32(8) * u - np.float32(16) * u * abs(u)
            sine = -(np.float32(0.225) * (v * abs(v) - v) + v)
            u = tt[j] + quarter
            u = u - math.floor(u) - half
            v = np.float32(8) * u - np.float32(16) * u * abs(u)
            cosine = -(np.float32(0.225) * (v * abs(v) - v) + v)
            a, b = re[j] * vv[j], im[j] * vv[j]
            re[j] = a * cosine + b * sine
            im[j] = b * cosine - a * sine
        for j in range(lines):
            out[i, pad + j] = complex(re[j], im[j])
        for bl in range(blocks):
            h0 = haze[bi, bl] + f * (haze[bi + 1, bl] - haze[bi, bl])
            h1 = haze[bi, bl + 1] + f * (haze[bi + 1, bl + 1] - haze[bi, bl + 1])
            if h0 > 0.0 or h1 > 0.0:
                for j in range(min(BLOCK, lines - bl * BLOCK)):
                    g = np.float32(j) * step
                    out[i, pad + bl * BLOCK + j] += (h0 + g * (h1 - h0)) * bank[row + i, column + bl * BLOCK + j]


@njit(cache=True, nogil=True, fastmath=True)
def convolve_row(data: C64, kernel: C64, first: int, x: F32, y: F32, re: F32, im: F32) -> None:
    """Convolve one row, (lines + 2 pad) -> (lines), with a complex kernel (taps,).

    first: pad - taps // 2. x, y: workspaces as long as data. re, im: (lines,), filled in.
    """
    width, lines, taps = data.shape[0], re.shape[0], kernel.shape[0]
    for q in range(width):  # real and imaginary parts apart, so that the loops below vectorise
        x[q] = data[q].real
        y[q] = data[q].imag
    for q in range(lines):
        re[q] = 0.0
        im[q] = 0.0
    for k in range(taps):
        h = kernel[taps - 1 - k]
        a, b = h.real, h.imag
        u, v = x[first + k :], y[first + k :]
        for q in range(lines):
            re[q] += a * u[q] - b * v[q]
            im[q] += a * v[q] + b * u[q]


@njit(cache=True, nogil=True, fastmath=True)
def form_lines(
    data: C64,
    kernels: C64,
    zone: NDArray[np.int64],
    pad: int,
    echoes: C64,
    has_echo: NDArray[np.bool_],
    noise: C64,
    offsets: NDArray[np.int64],
    level: F32,
    total: F32,
) -> None:
    """Sum the envelope over looks: |lateral convolution + specular echoes + noise|.

    data: (samples, lines + 2 pad). kernels: (looks, zones, taps). zone: (samples,) index of the zone. echoes: (samples,
    lines) specular echoes, read where has_echo (samples,) is set. noise: bank, read from offsets (looks, 2) on, times
    level (samples,). total: (samples, lines), filled in.
    """
    samples, lines = total.shape
    first = pad - kernels.shape[2] // 2
    x, y = np.empty(data.shape[1], np.float32), np.empty(data.shape[1], np.float32)
    re, im = np.empty(lines, np.float32), np.empty(lines, np.float32)
    for i in range(samples):
        row = total[i]
        for look in range(kernels.shape[0]):
            convolve_row(data[i], kernels[look, zone[i]], first, x, y, re, im)
            if has_echo[i]:
                for q in range(lines):
                    re[q] += echoes[i, q].real
                    im[q] += echoes[i, q].imag
            grain = noise[offsets[look, 0] + i, offsets[look, 1] :]
            for q in range(lines):
                a = re[q] + level[i] * grain[q].real
                b = im[q] + level[i] * grain[q].imag
                e = math.sqrt(a * a + b * b)
                row[q] = e if look == 0 else row[q] + e


@njit(cache=True, nogil=True, fastmath=True)
def log_compress(
    envelope: F32,
    gain: F32,
    line_gain: F32,
    per_db: float,
    grey: float,
    keep: float,
    previous: F32,
    out: NDArray[np.uint8],
) -> None:
    """Fill in out (samples, lines): grey + per_db * 20 log10(gain line_gain envelope), clipped to 0..255.

    envelope: (samples, lines). gain: (samples,). line_gain: (lines,). grey: grey level of 0 dB. per_db: grey levels per
    dB. keep: fraction of the previous frame's value that persists, 0: none. previous: (samples, lines), updated.
    The logarithm is a quadratic in the mantissa, off by less than 0.15 of a grey level at 60 dB.
    """
    scale = np.float32(per_db * 20.0 * math.log10(2.0))
    lines = envelope.shape[1]
    new, old = np.float32(1.0 - keep), np.float32(keep)
    v = np.empty(lines, np.float32)
    bits = v.view(np.int32)
    exponent = np.empty(lines, np.float32)
    for i in range(envelope.shape[0]):
        before = previous[i]
        for q in range(lines):
            v[q] = envelope[i, q] * gain[i] * line_gain[q] + np.float32(1e-9)
        for q in range(lines):
            b = bits[q]
            exponent[q] = np.float32((b >> 23) - 127)
            bits[q] = (b & 0x7FFFFF) | 0x3F800000
        for q in range(lines):
            m = v[q]
            log2 = exponent[q] + (np.float32(-0.33582878) * m + np.float32(2.0)) * m - np.float32(1.65871759)
            shown = np.float32(grey) + scale * log2
            shown = min(max(shown, np.float32(0.0)), np.float32(255.0))
            shown = new * shown + old * before[q]
            before[q] = shown
            out[i, q] = np.uint8(shown + np.float32(0.49))


@njit(cache=True, nogil=True, fastmath=True)
def pulse_at(pulse: F32, k: int, fraction: np.float32) -> np.float32:
    """Fraction of an echo at the k-th sample after the one that it lies behind by `fraction`. Linear in between.

    pulse: (odd,) a range step apart.
    """
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
    copies: F32,
    gains: C64,
    turns_per_sample: float,
    pulse: F32,
    pad: int,
    out: C64,
) -> None:
    """Add point echoes with the axial pulse and exact phase, before the lateral convolution.

    r, q: (points,) position in samples and lines. amplitude: (points,) complex. copies, gains: (k,), every point is
    added once for each, so many samples deeper and with this complex gain. turns_per_sample: phase in revolutions.
    out: (samples, lines + 2 pad).
    """
    half = pulse.shape[0] // 2
    for c in range(copies.shape[0]):
        for p in range(r.shape[0]):
            if not (0 <= q[p] + pad < out.shape[1] - 1 and half <= r[p] + copies[c] < out.shape[0] - half - 2):
                continue
            at = r[p] + copies[c]
            ir, il = int(at), math.floor(q[p])
            fr, fl = np.float32(at - ir), np.float32(q[p] - il)
            phase = -2.0 * math.pi * at * turns_per_sample
            a = np.complex64(amplitude[p] * gains[c] * complex(math.cos(phase), math.sin(phase)))
            left, right = a * (np.float32(1.0) - fl), a * fl
            for k in range(-half, half + 2):
                w = pulse_at(pulse, k, fr)
                out[ir + k, pad + il] += left * w
                out[ir + k, pad + il + 1] += right * w


@njit(cache=True, nogil=True, fastmath=True)
def add_line_echoes(
    r: F32, amplitude: C64, turns_per_sample: float, pulse: F32, out: C64, touched: NDArray[np.bool_]
) -> None:
    """Add one specular echo per line, after the lateral convolution.

    r: (lines,) range in samples. amplitude: (lines,) complex, 0: none. turns_per_sample: phase in revolutions. out:
    (samples, lines). touched: (samples,), set where out is no longer zero.
    """
    half = pulse.shape[0] // 2
    for q in range(r.shape[0]):
        if amplitude[q] == 0 or not (half <= r[q] < out.shape[0] - half - 2):
            continue
        ir = math.floor(r[q])
        fr = np.float32(r[q] - ir)
        phase = -2.0 * math.pi * r[q] * turns_per_sample
        a = amplitude[q] * complex(math.cos(phase), math.sin(phase))
        for k in range(-half, half + 2):
            out[ir + k, q] += np.complex64(a * pulse_at(pulse, k, fr))
            touched[ir + k] = True


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
    """Darken what lies below the shaft.

    data: (samples, lines + 2 pad). shaft_r: (lines,) range of the shaft under each line, in samples. blocked: (lines,)
    fraction of the elevation beam that the shaft stops. tip_r, tip_l: sample and line of the tip. side: -1 if the shaft
    lies at smaller lines than the tip, else 1. cone: half width of the receive cone in lines per sample. It softens the
    edge below the tip. refill: how the shadow fills in with depth, per sample.
    """
    lines = data.shape[1] - 2 * pad
    top = data.shape[0]
    for q in range(lines):
        if blocked[q] > 0:
            top = min(top, max(int(shaft_r[q]), 0))
    for i in range(top, data.shape[0]):
        below = np.float32(i) - np.float32(tip_r)
        for q in range(lines):
            d = np.float32(i) - shaft_r[q]
            if d <= 0 or blocked[q] <= 0:
                continue
            lateral = (np.float32(tip_l) - np.float32(q)) * np.float32(-side)
            if below > 1:
                f = (lateral / (below * np.float32(cone)) + np.float32(1.0)) * np.float32(0.5)
                f = min(max(f, np.float32(0.0)), np.float32(1.0))
            else:
                f = np.float32(1.0) if lateral > 0 else np.float32(0.0)
            soft = min(d * np.float32(0.12), np.float32(1.0))  # chosen: the shadow sets in over 8 samples
            m = np.float32(1.0) - blocked[q] * soft * f / (np.float32(1.0) + d * np.float32(refill))
            data[i, pad + q] *= m


@njit(cache=True, nogil=True, fastmath=True)
def shade_below_point(
    data: C64, pad: int, r: float, line: float, width: float, cone: float, blocked: float, refill: float
) -> None:
    """Darken what lies below a needle that crosses the image plane at (r, line), in samples and lines.

    width: of the needle in lines. cone: width of the receive cone in lines per sample of depth below the needle. The
    shadow is as deep as the fraction of that cone that the needle covers. data, blocked, refill: as in `shade`, with
    one `blocked` for all lines.
    """
    lines = data.shape[1] - 2 * pad
    for i in range(max(int(r) + 1, 0), data.shape[0]):
        below = i - r
        w = max(cone * below, 1.0)
        low, high = max(int(line - (width + w) / 2), 0), min(int(line + (width + w) / 2) + 2, lines)
        for q in range(low, high):
            covered = min(q + w / 2, line + width / 2) - max(q - w / 2, line - width / 2)
            fraction = min(max(covered / w, 0.0), 1.0)
            data[i, pad + q] *= np.float32(1.0 - blocked * fraction / (1.0 + below * refill))


@njit(cache=True, nogil=True, fastmath=True)
def add_reflectors(
    volume: C64,
    period: int,
    iz: NDArray[np.int64],
    ix: NDArray[np.int64],
    value: C64,
    y: float,
    y_width: float,
) -> None:
    """Add the points of one thin reflector to every elevation slice near y, a Gaussian in elevation.

    volume: (slices, rows, columns), periodic in elevation, and along the columns with `period`. iz, ix: (points,) row
    and column. value: (points,) complex. y, y_width: number of slices.
    """
    ny = volume.shape[0]
    for k in range(ny):
        d = abs((k - y + ny / 2) % ny - ny / 2)
        if d > 2.4 * y_width:
            continue
        w = np.float32(math.exp(-0.5 * (d / y_width) ** 2))
        for p in range(iz.shape[0]):
            if 0 <= iz[p] < volume.shape[1]:
                volume[k, iz[p], ix[p] % period] += w * value[p]


@njit(cache=True, nogil=True)
def brighter_mean(framed: U8, offsets: NDArray[np.int64], best: U8) -> None:
    """Raise best (rows, columns) to the mean grey level over the pixels at `offsets` (n, 2) from each place.

    framed: the picture with a border, so that every offset (row, column) from 0 on lies in it.
    """
    rows, columns = best.shape
    n = len(offsets)
    total = np.empty(columns, np.uint16)
    for y in range(rows):
        total[:] = n // 2
        for k in range(n):
            line = framed[y + offsets[k, 0]]
            x0 = offsets[k, 1]
            for x in range(columns):
                total[x] += np.uint16(line[x0 + x])
        row = best[y]
        for x in range(columns):
            row[x] = max(row[x], np.uint8(total[x] // n))
