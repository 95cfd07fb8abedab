"""Ours beside an independent simulator's figures (pymust.json, made by scripts/pymust-table)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from plain import PLAIN, envelope, plain_scanner

from sonosteer.sim import kernels
from sonosteer.sim.probe import ZONES, Transducer, lateral_kernels, lateral_response
from sonosteer.sim.scanner import PAD

TABLE = json.loads((Path(__file__).parent / "pymust.json").read_text())
PLANE = Transducer(
    centre_mhz=7.6, bandwidth=0.6, f_number_tx=0.0, f_number_rx=1.8, rx_window="rect", lines=512, range_step_mm=0.05
)
FOCUSED = Transducer(centre_mhz=7.6, bandwidth=0.6, f_number_tx=3.0, f_number_rx=1.8, rx_window="rect", focus_mm=25.0)


def profile(array, depth_mm):
    x = np.linspace(-2, 2, 1601)
    h = np.abs(lateral_response(array, x, depth_mm))
    return x, h / h.max()


@pytest.mark.parametrize("row", TABLE["plane_wave"] + TABLE["focused"], ids=str)
def test_the_point_spread_is_as_wide(row):
    """Within 15 %: ours has no element directivity, which narrows the receive aperture a little."""
    array = PLANE if row in TABLE["plane_wave"] else FOCUSED
    x, h = profile(array, row["depth_mm"])
    width = np.ptp(x[h > 0.5])
    assert width == pytest.approx(row["lateral_fwhm_mm"], rel=0.15)


@pytest.mark.parametrize("row", TABLE["plane_wave"] + TABLE["focused"], ids=str)
def test_the_first_side_lobes_are_as_high(row):
    array = PLANE if row in TABLE["plane_wave"] else FOCUSED
    x, h = profile(array, row["depth_mm"])
    for aside, level in list(zip((0.5, 1.0), row["level_db"], strict=False)):
        assert 20 * math.log10(np.interp(aside, x, h)) == pytest.approx(level, abs=6.0)


def test_the_pulse_is_as_long():
    """PyMUST's one-cycle burst lengthens its pulse beyond the transducer's 60 % band: as one of 45 % here."""
    want = np.mean([row["axial_fwhm_mm"] for row in TABLE["plane_wave"]])
    assert Transducer(centre_mhz=7.6, bandwidth=0.45).pulse_fwhm_mm == pytest.approx(want, rel=0.05)
    assert PLANE.pulse_fwhm_mm < want


def line_level_db(tilt_deg, echo):
    """rms of the brightest echo per line near the middle, over one scatterer's, for a tilted line of scatterers."""
    a = PLANE
    kernel = lateral_kernels(a)[None]
    zone = np.minimum(np.arange(a.samples) * a.range_step_mm / a.depth_mm * ZONES, ZONES - 1).astype(np.int64)
    silent = np.zeros((a.samples, a.lines), np.complex64)

    def image(x, z, amplitude):
        data = np.zeros((a.samples, a.lines + 2 * PAD), np.complex64)
        r, q = a.to_beam(x, z)
        once = np.zeros(1, np.float32), np.ones(1, np.complex64)
        turns, pulse = 2 * a.range_step_mm / a.wavelength_mm, a.pulse(a.range_step_mm)
        r = (r / a.range_step_mm).astype(np.float32)
        kernels.add_points(r, q.astype(np.float32), amplitude.astype(np.complex64), *once, turns, pulse, PAD, data)
        total = np.empty((a.samples, a.lines), np.float32)
        level, touched = np.zeros(a.samples, np.float32), np.zeros(a.samples, np.bool_)
        offsets = np.zeros((1, 2), np.int64)
        kernels.form_lines(data, kernel, zone, PAD, silent, touched, silent, offsets, level, total)
        return total

    one = image(np.array([0.0]), np.array([25.0]), np.ones(1)).max()
    t, tilt = np.arange(-5, 5, 0.03), math.radians(tilt_deg)
    peaks = image(t * math.cos(tilt), 25 + t * math.sin(tilt), echo(len(t))).max(0)
    x, _ = a.from_beam(np.full(a.lines, 25.0), np.arange(a.lines, dtype=float))
    return 20 * math.log10(math.sqrt((peaks[np.abs(x) <= 1.5] ** 2).mean()) / one)


@pytest.mark.parametrize("row", [r for r in TABLE["line"] if r["tilt_deg"] < 12], ids=str)
def test_a_smooth_line_shines_as_bright_within_the_aperture(row):
    assert line_level_db(row["tilt_deg"], np.ones) == pytest.approx(row["coherent_db"], abs=3.0)


def test_a_smooth_line_is_lost_beyond_the_aperture():
    """Below -10 dB both say: invisible."""
    for row in TABLE["line"]:
        if row["tilt_deg"] >= 25:
            assert row["coherent_db"] < -10
            assert line_level_db(row["tilt_deg"], np.ones) < -10


@pytest.mark.parametrize("row", TABLE["line"], ids=str)
def test_a_rough_line_is_as_bright_at_any_tilt(row):
    rng = np.random.default_rng(3)
    each = [line_level_db(row["tilt_deg"], lambda n: rng.choice([-1.0, 1.0], n)) for _ in range(8)]
    assert np.mean(each) == pytest.approx(row["rough_db"], abs=3.0)


def test_speckle_has_the_same_statistics():
    """SNR within the spread of PyMUST's four patches; autocorrelation within 20 % laterally."""
    scanner = plain_scanner(
        "in-plane-linear", array=Transducer(centre_mhz=7.6, bandwidth=0.45, f_number_tx=0.0, f_number_rx=1.8,
                                            rx_window="rect", range_step_mm=0.1), tissue=PLAIN,
    )  # fmt: skip
    patches = [envelope(scanner, y)[215:285, 60:196].astype(float) for y in (0.5, 1.5, 2.5, 3.5, 4.5)]
    snr = np.mean([e.mean() / e.std() for e in patches])
    assert snr == pytest.approx(np.mean(TABLE["speckle"]["snr"]), abs=0.1)
    assert width(patches, 1) * scanner.array.line_step == pytest.approx(
        TABLE["speckle"]["acf_lateral_fwhm_mm"], rel=0.2
    )
    assert width(patches, 0) * 0.1 == pytest.approx(TABLE["speckle"]["acf_axial_fwhm_mm"], rel=0.35)


def width(patches, axis):
    """FWHM in samples of the autocorrelation of the envelope along an axis."""
    curve = np.zeros(8)
    for e in patches:
        e = np.moveaxis(e - e.mean(), axis, 0)
        curve += [(e[k:] * e[: len(e) - k]).mean() for k in range(8)]
    curve /= curve[0]
    k = int(np.argmax(curve < 0.5))
    return 2 * (k - (0.5 - curve[k]) / (curve[k - 1] - curve[k]))
