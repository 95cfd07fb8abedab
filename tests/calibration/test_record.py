"""The file of a calibration: written, read back, and refused where it is damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sonosteer.calibration.record import (
    Calibration,
    gate_covariance,
    read_calibration,
    rows_of,
    stored,
    write_calibration,
)
from sonosteer.calibration.verdict import Check
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.safety.gate import Gate

CHECK = Check(
    observations=20,
    used=18,
    rms=0.5,
    held_out_rms=0.6,
    max_held_out=1.2,
    unit="mm",
    sd=0.2,
    jackknife_sd=0.22,
    sd_unit="mm",
    condition=8.0,
)
IMAGE = Calibration(
    kind="image",
    method="points",
    inputs=('marks "of" today.csv',),
    parameters=("x_mm", "y_mm"),
    covariance=rows_of(np.array([[0.04, 0.01], [0.01, 0.09]])),
    check=CHECK,
    transforms=(stored("probe", "image", np.eye(4)),),
    spacing_mm=(0.1, 0.12),
    size_px=(640, 480),
    gate_mm2=(0.04, 0.01, 0.09),
)
CLOCK = Calibration(
    kind="clock",
    method="motion",
    inputs=(),
    parameters=("lag_s",),
    covariance=((4e-6,),),
    check=replace(CHECK, unit="fraction", sd_unit="s"),
    lag_s=0.083,
)


@pytest.mark.parametrize("calibration", [IMAGE, CLOCK])
def test_what_is_written_is_read_back(tmp_path, calibration):
    write_calibration(tmp_path / "c.toml", calibration)
    assert read_calibration(tmp_path / "c.toml") == calibration


def test_a_transform_is_told_both_ways():
    T = np.eye(4)
    T[:3, 3] = (1.0, 2.0, 3.0)
    image = replace(IMAGE, transforms=(stored("probe", "image", T),))
    assert image.transform("probe", "image").matrix[0, 3] == 1.0
    assert image.transform("image", "probe").matrix[0, 3] == -1.0
    with pytest.raises(InputError, match="T_probe_image, not T_world_probe"):
        image.transform("world", "probe")
    assert image.spacing == Spacing(0.1, 0.12)
    with pytest.raises(InputError, match="clock calibration has no spacing"):
        _ = CLOCK.spacing


def test_the_gate_takes_the_sum_and_a_lag_counts_by_the_speed():
    xx, xy, yy = gate_covariance([IMAGE, IMAGE, CLOCK], speed_mm_s=25.0)
    late = 25.0**2 * 4e-6
    assert (xx, xy, yy) == pytest.approx((0.08 + late, 0.02, 0.18 + late))
    assert Gate(calibration_mm2=(xx, xy, yy)).calibration_mm2 == (xx, xy, yy)
    assert gate_covariance([CLOCK]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sonosteer calibration", "something", "no calibration"),
        ("version = 1", "version = 2", "version 2"),
        ('kind = "image"', 'kind = "moon"', "not known"),
        ("spacing_mm = [0.1, 0.12]", "spacing_mm = [0.1]", "1 numbers"),
        ("spacing_mm = [0.1, 0.12]", "spacing_mm = [0.1, -0.12]", "positive"),
        ("spacing_mm = [0.1, 0.12]", "", "lacks spacing_mm"),
        ("gate_mm2 = [0.04, 0.01, 0.09]", "gate_mm2 = [0.04, 0.9, 0.09]", "no covariance"),
        ("gate_mm2 = [0.04, 0.01, 0.09]", "gate_mm2 = [0.04, nan, 0.09]", "no finite number"),
        ("gate_mm2 = [0.04, 0.01, 0.09]", 'gate_mm2 = [0.04, "a", 0.09]', "no number"),
        ("[0.04, 0.01],", "[0.04, 0.05],", "covariance"),
        ("[1.0, 0.0, 0.0, 0.0],", "[-1.0, 0.0, 0.0, 0.0],", "left-handed"),
        ('method = "points"', "", "lacks method"),
        ('to = "probe"', 'to = "world"', "not T_probe_image"),
        ("version = 1", "version = 1\nmore = 2", "no setting 'more'"),
        ("[check]", "[check", "TOML"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, old, new, said):
    path = tmp_path / "c.toml"
    write_calibration(path, IMAGE)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=said) as e:
        read_calibration(path)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)
