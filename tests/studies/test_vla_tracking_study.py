"""Paper V's tracking study at its smallest: videos, networks, tracking, tables; and the figures it is made of."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.learning.data import make as making  # noqa: E402
from sonosteer.metrics.success import bootstrap, overlap, paired, precision, success_area, success_curve  # noqa: E402
from sonosteer.studies import vla_tracking  # noqa: E402
from sonosteer.studies.paper_v_numbers import TABLE_1  # noqa: E402
from sonosteer.studies.vla_networks import ENCODER, SEVEN, networks  # noqa: E402

REAL_PLAN = making.plan


def hurried(name, videos, seed):
    """The same scenes with a fast needle and no rest."""
    fast = {"speed_mm_s": 60.0, "rest_frames": 2, "end_rest_frames": 2}
    return [(n, dataclasses.replace(s, **fast)) for n, s in REAL_PLAN(name, videos, seed)]


def run(out, said):
    return vla_tracking.run(
        out=out, quick=True, seed=0, executor="serial", progress=lambda stage, done, total: said.append((stage, done))
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("vla-study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "plan", hurried)
        patch.setattr(vla_tracking, "CLASSIC", ("auto",))
        said = []
        summary = run(out, said)
        again = []
        assert run(out, again)["table"] == summary["table"]
    return out, summary, said, again


def test_tables_figures_and_page_are_written(written):
    out, summary, _, _ = written
    for name in (
        "README.md",
        "report.html",
        "table-1.csv",
        "all-frames.csv",
        "training.csv",
        "curves.svg",
        "summary.json",
    ):
        assert (out / name).stat().st_size > 100, name
    methods = [row["method"] for row in summary["table"]]
    assert methods == ["vla", "paper", "siamcar", "paper", "vla, shipped", "auto"]
    paper = summary["table"][1]
    assert (paper["mean AUC"], paper["mean P"], paper["mean Err mm"]) == (63.5, 88.9, "3.01 +- 2.2")
    assert "figures mean nothing" in (out / "README.md").read_text()
    assert json.loads((out / "summary.json").read_text())["networks"]["siamcar"]["samples"] == 96


def test_a_second_run_finds_everything_done(written):
    _, _, said, again = written
    tracked = [done for stage, done in again if stage == "videos tracked"]
    assert tracked == [max(done for stage, done in said if stage == "videos tracked")]


def test_the_model_that_ships_beats_networks_of_a_few_steps(written):
    _, summary, _, _ = written
    error = {
        row["method"]: float(row["mean Err mm"].split()[0]) for row in summary["table"] if row["method"] != "paper"
    }
    assert error["vla, shipped"] < min(error["vla"], error["siamcar"])


def test_every_compared_network_sees_the_same_number_of_samples():
    all_of_them = {n.name: n for n in networks(quick=False)}
    assert set(SEVEN) < set(all_of_them)
    assert set(SEVEN) | {"vla"} == set(TABLE_1)
    for name in (*SEVEN, "vla"):
        used = all_of_them[name].share
        if all_of_them[name].encoder:
            used += all_of_them[all_of_them[name].encoder].share
        assert used == pytest.approx(1.0), name
    order = list(all_of_them)
    for n in all_of_them.values():
        if n.encoder not in ("", "random"):
            assert order.index(n.encoder) < order.index(n.name)
    assert ENCODER in order


def test_success_and_precision_by_hand():
    iou = np.array([1.0, 0.52, 0.0, 0.26])
    assert success_curve(iou)[0] == 0.75  # nothing in common is no success, even at a threshold of 0
    assert success_curve(iou)[-1] == 0.0
    assert success_area(np.array([0.5])) == pytest.approx(100 * 10 / 21)
    assert precision(np.array([0.0, 20.0, 20.1, np.inf])) == 50.0
    a, b = np.array([0.0, 0.0, 2.0, 2.0]), np.array([1.0, 1.0, 3.0, 3.0])
    assert overlap(a, b) == pytest.approx(1 / 7)
    assert overlap(a, a) == 1.0


def test_an_interval_over_videos_is_wider_than_one_over_frames():
    rng = np.random.default_rng(0)
    videos = [rng.normal(rng.normal(), 0.1, 50) for _ in range(12)]
    low, high = bootstrap(videos, lambda v: float(v.mean()), np.random.default_rng(1))
    middle = float(np.concatenate(videos).mean())
    assert low < middle < high
    assert high - low > 4 * 2 * np.concatenate(videos).std() / np.sqrt(600)
    assert paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    better = np.linspace(0.1, 1.0, 12)
    assert paired(better.tolist(), (better + 0.1 + 0.01 * np.arange(12)).tolist()) < 0.01


def test_the_full_size_benchmark_runs_at_a_small_size_and_says_what_it_needs():
    from sonosteer.benchmarks import vla_gpu
    from sonosteer.core.errors import InputError

    result = vla_gpu.measure("tiny", "cpu", 0, lambda done: None, repeats=5)
    assert result["cases"][0]["case"] == "tiny, eager"
    assert result["cases"][0]["ratio"]["paper, A800"] > 0
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="needs a CUDA GPU"):
            vla_gpu.run(seed=0, progress=lambda done: None)
