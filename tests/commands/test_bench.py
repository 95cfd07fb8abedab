"""`sonosteer bench`: ratios to references measured in the same run."""

import json
import sys

import pytest
from command_line import one_line, run

pytestmark = pytest.mark.slow


def test_the_simulators_bench_reports_frames_per_second_and_a_ratio(capsys, monkeypatch):
    from sonosteer.benchmarks import simulator

    monkeypatch.setattr(simulator, "TIMED_FRAMES", 8)
    monkeypatch.setattr(simulator, "TISSUE_REPEATS", 3)
    monkeypatch.setattr(simulator, "WIDTHS_PX", (256,))
    monkeypatch.setattr(simulator, "PLAINER", {"no needle": simulator.PLAINER["no needle"]})
    code, stdout, _ = run(capsys, "bench", "simulator", "--json")
    assert code == 0
    cases = {c["case"]: c for c in json.loads(stdout)["cases"]}
    for setup in ("in-plane-linear", "axial", "in-plane-convex"):
        assert cases[setup]["size_px"] == [512, 512]
        assert cases[setup]["fps"] > 0
        assert cases[setup]["memory_mb"] < 200
        assert cases[setup]["ratio"]["numpy (tissue only)"] > 0
    assert "in-plane-convex, no needle" in cases


def test_the_bench_reports_ratios(capsys, monkeypatch):
    from sonosteer.benchmarks import tracking

    monkeypatch.setattr(tracking, "SPEED_MM_S", 30.0)
    monkeypatch.setattr(tracking, "CLIP_REPEATS", 1)
    monkeypatch.setattr(tracking, "NUMPY_EVERY", 40)
    code, stdout, _ = run(capsys, "bench", "tracking", "--json")
    assert code == 0
    got = json.loads(stdout)
    case = next(c for c in got["cases"] if c["case"] == "kf+f")
    assert case["case"] == "kf+f"
    assert set(case["ratio"]) == {"numpy", "csrt", "kcf"}
    assert all(v > 0 for v in case["ratio"].values())
    assert {"median_ms", "p95_ms", "p99_ms", "max_ms"} <= set(case)


def test_the_environments_bench_scales(capsys, monkeypatch):
    from sonosteer.benchmarks import environments

    monkeypatch.setattr(environments, "MANY", 3)
    monkeypatch.setattr(environments, "TIMED_STEPS", 3)
    code, stdout, _ = run(capsys, "bench", "environments", "--json")
    assert code == 0
    cases = json.loads(stdout)["cases"]
    assert cases[0]["case"] == "1 processes"
    assert cases[-1]["steps_per_s"] > 0


def test_the_account_of_a_cpp_peer_is_exact_and_its_client_is_beside_ours(capsys, monkeypatch):
    from sonosteer.testing.cpp_peers import bench, building

    if not (building.HEADERS / "igtlImageMessage.h").exists():
        pytest.skip(building.NEEDED)
    monkeypatch.setattr(bench, "_TURNS", 1)
    monkeypatch.setattr(bench, "TRANSPORT_HZ", (60.0,))
    code, stdout, stderr = run(capsys, "bench", "live-peer", "--seconds", "3", "--json")
    assert code == 0, stderr
    result = json.loads(stdout)
    account, ours, theirs = result["cases"]
    assert account["adds_up"] is True
    assert account["sent"] == 180 == account["received"]
    assert account["received"] == account["seen"] + account["overwritten"] + sum(account["bad"].values())
    assert account["transforms_sent"] == account["transforms_received"] == 18
    assert ours["slower_by_ms"] == pytest.approx(ours["median_ms"] - theirs["median_ms"], abs=0.01)
    assert theirs["seen"] > 0
    assert "it adds up" in result["notes"]


def test_without_a_compiler_one_line_says_what_a_cpp_peer_needs(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, _, stderr = run(capsys, "bench", "live-peer", "--json")
    assert code == 2
    assert "apt-get install g++ libopenigtlink-dev" in stderr
    assert one_line(stderr)


def test_without_gymnasium_one_line_says_how_to_get_it(capsys, monkeypatch):
    for name in [
        n
        for n in sys.modules
        if n.startswith(("gymnasium", "sonosteer.episodes.environments", "sonosteer.benchmarks.env"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    code, _, stderr = run(capsys, "bench", "environments")
    assert code == 2
    assert "sonosteer[env]" in stderr
    assert one_line(stderr)


def test_the_bench_has_its_references(capsys, monkeypatch):
    from sonosteer.benchmarks import steering as bench

    monkeypatch.setattr(bench, "fit_chunk", lambda seed: None)
    monkeypatch.setattr(bench, "NEEDLES", 50)
    code, stdout, stderr = run(capsys, "bench", "steering", "--json")
    assert code == 0, stderr
    ratios = {name for case in json.loads(stdout)["cases"] for name in case["ratio"]}
    assert ratios == {"discrete step", "solve ivp", "numpy", "genetic 300 generations", "opencv"}
