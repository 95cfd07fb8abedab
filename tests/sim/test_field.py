"""Is tissue what physics says? Each law on homogeneous tissue, for every transducer where it may differ."""

import numpy as np
import pytest
from plain import PLAIN, envelope, plain_scanner

from sonosteer.benchmarks.simulator import numpy_tissue, tissue_view
from sonosteer.sim.field import TissueTexture, build_field
from sonosteer.sim.kernels import BLOCK, blend, convolve_row, gather
from sonosteer.sim.probe import Transducer, elevation_response, lateral_kernels, lateral_response
from sonosteer.sim.scanner import PAD

RAYLEIGH = 1.9131  # sqrt(pi / (4 - pi)): mean over sd of fully developed speckle


def stack(scanner, n=16):
    period = scanner.scene.period_mm
    return np.array([envelope(scanner, y)[:, 10:-10] for y in np.linspace(0.02, 0.97, n) * period])


def test_speckle_is_fully_developed_in_every_depth_band(plain):
    e = stack(plain)
    for band in np.array_split(np.arange(15, e.shape[1] - 15), 5):
        part = e[:, band]
        part = part / np.sqrt((part**2).mean((0, 2), keepdims=True))  # each depth by its own power
        assert part.mean() / part.std() == pytest.approx(RAYLEIGH, abs=0.03)


def test_speckle_amplitude_is_rayleigh(plain):
    """Kolmogorov-Smirnov over samples further apart than a resolution cell."""
    e = stack(plain, 8)
    part = e[:, 20:-20:6, ::7]
    part = np.sort((part / np.sqrt((part**2).mean((0, 2), keepdims=True))).ravel())
    cdf = (np.arange(len(part)) + 0.5) / len(part)
    assert np.abs(cdf - (1 - np.exp(-(part**2)))).max() < 1.36 / np.sqrt(len(part)) * 1.5  # half as many independent


def test_tissue_is_equally_bright_everywhere(plain):
    power = (stack(plain, 8)[:, 15:-15] ** 2).mean((0, 2))
    smooth = np.convolve(power, np.ones(60) / 60, "valid")
    assert 10 * np.log10(smooth.max() / smooth.min()) < 1.5


def test_speckle_is_as_wide_as_the_point_spread_function(plain):
    """Lateral autocorrelation of the envelope's square at the focus: that of the two-way kernel, squared."""
    a = plain.array
    kernel = lateral_kernels(a)[int(a.focus_mm / a.depth_mm * 64)]
    row = int(a.focus_mm / a.range_step_mm)
    power = stack(plain)[:, row - 20 : row + 20] ** 2
    power = power - power.mean()
    ours = [(power[..., k:] * power[..., : power.shape[2] - k]).mean() for k in range(5)]
    want = [abs((kernel[k:] * kernel[: len(kernel) - k].conj()).sum()) ** 2 for k in range(5)]
    np.testing.assert_allclose(np.array(ours) / ours[0], np.array(want) / want[0], atol=0.09)


def test_speckle_is_as_long_as_the_pulse(plain):
    a = plain.array
    power = stack(plain)[:, 30:-30] ** 2
    power = power - power.mean()
    ours = [(power[:, k:] * power[:, : power.shape[1] - k]).mean() for k in range(5)]
    g = a.pulse(a.range_step_mm / 2).astype(float)
    want = [(g[2 * k :] * g[: len(g) - 2 * k]).sum() ** 2 for k in range(5)]
    np.testing.assert_allclose(np.array(ours) / ours[0], np.array(want) / want[0], atol=0.06)


@pytest.mark.parametrize(("setup", "depth_mm"), [("in-plane-linear", 20.0), ("in-plane-linear", 40.0), ("axial", 25.0)])
def test_speckle_decorrelates_in_elevation_as_the_lens_says(setup, depth_mm):
    """Correlation of intensity after a shift: |autocorrelation of the elevation response|^2."""
    scanner = plain_scanner(setup, period_mm=6.0)
    a = scanner.array
    y = np.arange(-6, 6, 0.05)
    h = elevation_response(a, y, depth_mm)
    row = int(depth_mm / a.range_step_mm)
    starts = np.arange(0.1, 4.6, 0.25)
    for shift in (0.25, 0.5, 1.0):
        k = round(shift / 0.05)
        want = abs((h[k:] * h[: len(h) - k].conj()).sum() / (np.abs(h) ** 2).sum()) ** 2
        pairs = [[envelope(scanner, s + d)[row - 25 : row + 25, 12:-12] ** 2 for d in (0, shift)] for s in starts]
        first, second = (np.array([p[i] for p in pairs]) for i in (0, 1))
        got = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert got == pytest.approx(want, abs=0.05)


def shift_px(u, v, near):
    """Shift (rows, columns) of v against u: the peak of their correlation, evaluated between samples."""
    window = np.outer(np.hanning(u.shape[0]), np.hanning(u.shape[1]))
    cross = np.fft.fft2((u - u.mean()) * window).conj() * np.fft.fft2((v - v.mean()) * window)
    fr, fc = np.fft.fftfreq(u.shape[0]), np.fft.fftfreq(u.shape[1])
    fine = np.arange(-0.3, 0.301, 0.01)
    rows = np.exp(2j * np.pi * np.outer(near[0] + fine, fr))
    columns = np.exp(2j * np.pi * np.outer(fc, near[1] + fine))
    i, j = np.unravel_index(np.argmax((rows @ cross @ columns).real), (len(fine), len(fine)))
    return near[0] + fine[i], near[1] + fine[j]


@pytest.mark.parametrize("moved_mm", [(0.3, 0.0), (0.0, 0.17), (0.52, 0.26)])
def test_tissue_moves_as_the_probe_does_to_a_fraction_of_a_pixel(plain_linear, moved_mm):
    a = plain_linear.array
    x, z = moved_mm
    expected = (-z / a.range_step_mm, -x / a.line_step)
    found = []
    for y in (0.5, 1.5, 2.5, 3.5):
        still, moved = envelope(plain_linear, y), envelope(plain_linear, y, x, z)
        found.append(shift_px(still[30:-30, 20:-20], moved[30:-30, 20:-20], expected))
    residual = np.mean(found, axis=0) - expected
    assert np.abs(residual).max() < 0.03


def test_brightness_does_not_flicker_with_the_elevation(plain_linear):
    """Between stored slices, and across the end of a period, the mean power stays."""
    power = [(envelope(plain_linear, y)[30:-30] ** 2).mean() for y in np.arange(5.5, 6.5, 0.06)]
    assert 10 * np.log10(max(power) / min(power)) < 1.0


def test_a_long_sweep_never_meets_the_same_speckle(plain_linear):
    here, later = (envelope(plain_linear, y)[30:-30, 12:-12] for y in (1.0, 1.0 + plain_linear.scene.period_mm))
    assert abs(np.corrcoef(here.ravel(), later.ravel())[0, 1]) < 0.1


def test_gel_has_sparse_speckle():
    """K-distributed: heavier tails than Rayleigh, so mean over sd is smaller."""
    gel = plain_scanner("in-plane-linear", tissue=TissueTexture(fibres=0, modulation_db=0.0, sparsity=0.6))
    e = stack(gel, 6)[:, 30:-30]
    assert 0.9 < e.mean() / e.std() < 1.75


def test_three_looks_are_smoother_than_one():
    one, three = (plain_scanner("in-plane-linear", looks=n, look_deg=8.0) for n in (1, 3))
    ratios = [stack(s, 4)[:, 60:-60].mean() / stack(s, 4)[:, 60:-60].std() for s in (one, three)]
    assert ratios[1] > 1.4 * ratios[0]


def test_a_tissue_frame_equals_the_plain_numpy_statement(plain):
    view = tissue_view(plain, 1.37)
    plain.draw(view)
    ours, want = plain.envelope, numpy_tissue(plain, view)
    assert np.quantile(np.abs(ours - want), 0.999) < 0.02 * want.mean()
    assert want.std() > 0.3 * want.mean()


def test_a_wider_aperture_resolves_finer():
    x = np.linspace(-2, 2, 401)
    widths = []
    for f_number in (1.5, 2.5, 4.0):
        h = np.abs(lateral_response(Transducer(f_number_rx=f_number, rx_aperture_max_mm=30.0), x, 25.0))
        widths.append((h > h.max() / 2).sum())
    assert widths == sorted(widths)


def test_a_field_repeats_along_its_lines():
    f = build_field(Transducer(lines=64, depth_mm=10.0), PLAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(f.volume[:, :, f.period :], f.volume[:, :, : f.volume.shape[2] - f.period])


def grids(r, q, turns=0.0, level=1.0, haze=0.0):
    r, q = np.meshgrid(r, q, indexing="ij")
    return [np.broadcast_to(np.float32(v), r.shape).astype(np.float32) for v in (r, q, turns, level, haze)]


def test_gather_at_rest_gives_the_field_back():
    rng = np.random.default_rng(0)
    field = (rng.normal(size=(80, 60)) + 1j * rng.normal(size=(80, 60))).astype(np.complex64)
    out, bank = np.zeros((40, 32 + 2 * PAD), np.complex64), np.zeros((40, 32), np.complex64)
    at = grids(np.arange(6.0) * BLOCK + 3, np.arange(5.0) * BLOCK + 2, level=2.0)
    gather(field, 60, *at, bank, 0, 0, PAD, out)
    np.testing.assert_allclose(out[:, PAD:-PAD], 2 * field[3:43, 2:34], atol=5e-3)


def test_gather_wraps_around_the_lines_and_adds_haze():
    rng = np.random.default_rng(1)
    tile = (rng.normal(size=(80, 40)) + 1j * rng.normal(size=(80, 40))).astype(np.complex64)
    field = np.concatenate([tile, tile[:, :20]], axis=1)
    bank = np.ones((40, 32), np.complex64)
    plain, shifted = (np.zeros((40, 32 + 2 * PAD), np.complex64) for _ in range(2))
    rows = np.arange(6.0) * BLOCK
    gather(field, 40, *grids(rows, np.arange(5.0) * BLOCK), bank, 0, 0, PAD, plain)
    gather(field, 40, *grids(rows, np.arange(5.0) * BLOCK - 80, haze=0.5), bank, 0, 0, PAD, shifted)
    np.testing.assert_allclose(shifted[:, PAD:-PAD], plain[:, PAD:-PAD] + 0.5, atol=5e-3)


def test_gather_turns_the_phase_by_two_ways_of_the_displacement():
    field, bank = np.ones((80, 60), np.complex64), np.zeros((40, 32), np.complex64)
    out = np.zeros((40, 32 + 2 * PAD), np.complex64)
    gather(field, 60, *grids(np.arange(6.0) * BLOCK, np.arange(5.0) * BLOCK, 0.25), bank, 0, 0, PAD, out)
    np.testing.assert_allclose(out[:, PAD:-PAD], -1j, atol=2e-3)


def test_convolution_along_the_lines_equals_numpys():
    rng = np.random.default_rng(1)
    data = (rng.normal(size=40 + 2 * PAD) + 1j * rng.normal(size=40 + 2 * PAD)).astype(np.complex64)
    kernel = (rng.normal(size=9) + 1j * rng.normal(size=9)).astype(np.complex64)
    x, y = np.zeros(40 + 2 * PAD, np.float32), np.zeros(40 + 2 * PAD, np.float32)
    re, im = np.zeros(40, np.float32), np.zeros(40, np.float32)
    convolve_row(data, kernel, PAD - 4, x, y, re, im)
    np.testing.assert_allclose(re + 1j * im, np.convolve(data[PAD - 4 : PAD + 44], kernel, "valid"), atol=1e-3)


def test_blending_is_linear():
    a, b, out = (np.full((2, 4), v, np.complex64) for v in (1, 3j, 0))
    blend(a, b, 0.25, 2.0, out)
    np.testing.assert_allclose(out, 2 * (0.75 + 0.75j))
