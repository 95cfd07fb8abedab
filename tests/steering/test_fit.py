import json
import math

import numpy as np
import pytest

from sonosteer.commands.main import main
from sonosteer.core.errors import InputError
from sonosteer.needle.bicycle import Bicycle, Plan
from sonosteer.steering.fit import TipMeasurements, fit_needle, read_tip_measurements

PLAN = Plan((0.0, 40.0, 80.0), (0.0, 0.05, -0.02))


def measurements(k, theta0, phi0, noise, seed=0, plan=PLAN, last=100.0, n=60):
    rng = np.random.default_rng(seed)
    depth = np.linspace(5.0, last, n)
    path = Bicycle(k, theta0, phi0).path(plan, depth)
    return TipMeasurements(depth, path[:, 1] + rng.normal(0, noise, n), path[:, 2] + rng.normal(0, noise, n))


@pytest.mark.parametrize(("k", "theta0"), [(1 / 500, 0.0), (1 / 3000, 0.1), (1 / 1000, -0.05), (-1 / 800, 0.02)])
def test_without_noise_the_truth_comes_back(k, theta0):
    found = fit_needle(measurements(k, theta0, 0.3, 0.0), PLAN, 0.3)
    assert found.curvature_per_mm == pytest.approx(k, abs=1e-7)
    assert found.theta0_rad == pytest.approx(theta0, abs=1e-5)
    assert found.outliers == 0


def test_the_roll_is_found_if_asked_for():
    found = fit_needle(measurements(0.0015, 0.03, 0.8, 0.02), PLAN, 0.0, fit_phi0=True)
    assert found.phi0_rad == pytest.approx(0.8, abs=0.05)
    assert found.curvature_per_mm == pytest.approx(0.0015, rel=0.05)
    assert found.phi0_sd_rad > 0


def test_a_fifth_of_outliers_does_no_harm():
    seen = measurements(0.001, 0.05, 0.0, 0.1, seed=1)
    y = seen.y_mm.copy()
    y[::5] += 8.0
    found = fit_needle(TipMeasurements(seen.depth_mm, y, seen.z_mm), PLAN, noise_mm=0.1)
    assert found.outliers == 12
    assert found.curvature_per_mm == pytest.approx(0.001, abs=5 * found.curvature_sd_per_mm)


@pytest.mark.slow
def test_the_posterior_is_calibrated():
    z, n = [], 150
    rng = np.random.default_rng(2)
    for seed in range(n):
        k, theta0 = rng.uniform(1e-4, 2e-3), rng.uniform(0, 0.17)
        found = fit_needle(measurements(k, theta0, 0.0, 0.15, seed=100 + seed, n=40), PLAN)
        z.append(
            (
                (found.curvature_per_mm - k) / found.curvature_sd_per_mm,
                (found.theta0_rad - theta0) / found.theta0_sd_rad,
            )
        )
    inside = (np.abs(z) < 1.645).mean(0)
    assert inside == pytest.approx([0.9, 0.9], abs=0.07)
    assert np.std(z, axis=0) == pytest.approx([1.0, 1.0], abs=0.15)


def test_nothing_but_noise_is_wide_and_too_little_is_refused():
    seen = measurements(0.001, 0.0, 0.0, 0.1, last=100.0)
    short = TipMeasurements(seen.depth_mm[:3], seen.y_mm[:3], seen.z_mm[:3])
    assert fit_needle(short, PLAN).curvature_sd_per_mm > 20 * fit_needle(seen, PLAN).curvature_sd_per_mm
    with pytest.raises(InputError, match="noise_mm"):
        fit_needle(seen, PLAN, noise_mm=0.0)


def test_missing_tips_are_left_out_and_too_few_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("depth_mm,y_mm,z_mm\n10,0.1,0\n20,,\n30,0.5,0\n40,0.9,0\n")
    assert len(read_tip_measurements(path).depth_mm) == 3
    path.write_text("depth_mm,y_mm,z_mm\n10,0.1,0\n20,,\n")
    with pytest.raises(InputError, match=r"1 positions of the tip\. A fit needs at least 3"):
        read_tip_measurements(path)


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def test_the_commands_agree_with_each_other(capsys, tmp_path):
    plan = "0:0.0,30:0.05,80:-0.02"
    needle = ["--curvature", "0.001", "--theta0-deg", "3", "--phi0-deg", "20", "--plan", plan]
    rows = []
    for depth in range(10, 121, 10):
        code, out, _ = run(capsys, "steer", "predict", *needle, "--depth-mm", depth, "--json")
        assert code == 0
        got = json.loads(out)
        assert set(got) == {"x_mm", "y_mm", "z_mm", "theta_rad", "phi_rad"}
        rows.append(f"{depth},{got['y_mm']},{got['z_mm']}")
    path = tmp_path / "path.csv"
    path.write_text("depth_mm,y_mm,z_mm\n" + "\n".join(rows) + "\n")
    code, out, _ = run(capsys, "steer", "fit", path, "--plan", plan, "--phi0-deg", "20", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["curvature_per_mm"] == pytest.approx(0.001, abs=1e-6)
    assert found["theta0_rad"] == pytest.approx(math.radians(3), abs=1e-4)
    assert found["residual_mm"] < 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "--curvature", "0.001", "--depth-mm", "-1"], "the depth not below 0"),
        (["predict", "--curvature", "nan", "--depth-mm", "10"], "must be numbers"),
        (["predict", "--curvature", "0.001", "--depth-mm", "10", "--plan", "five"], "depth_mm:rate_rad_per_mm"),
        (["predict", "--curvature", "0.001", "--depth-mm", "10", "--plan", "5:0.1"], "rise from 0"),
        (["fit", "nowhere.csv"], "does not exist"),
    ],
)
def test_mistakes_get_one_clear_line(capsys, words, said):
    code, _, err = run(capsys, "steer", *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
