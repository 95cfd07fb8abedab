"""Paper V's tracking study at its smallest: videos, networks, tracking, tables; and the figures it is made of."""

import dataclasses
import json

import numpy as np
import pytest
from quick_runs import assert_quick

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from sonosteer.core.geometry import Spacing
from sonosteer.datasets import make_videos as making
from sonosteer.datasets.videos import Entry
from sonosteer.metrics.success import bootstrap, overlap, paired, precision, success_area, success_curve
from sonosteer.studies.vla_tracking import figures as vla_tracking_report
from sonosteer.studies.vla_tracking import film_strip as vla_film_strip
from sonosteer.studies.vla_tracking import run as vla_tracking
from sonosteer.studies.vla_tracking import speed as vla_speed
from sonosteer.studies.vla_tracking.networks import ENCODER, SEVEN, networks
from sonosteer.studies.vla_tracking.published import ZHANG2026_TABLE_1
from sonosteer.viz.film_strip import FilmStripCell, FilmStripRow, write_strip

pytestmark = pytest.mark.slow

REAL_PLAN = making.plan_videos


def hurried(name, videos, seed):
    """The same scenes with a fast needle and no rest."""
    fast = {"speed_mm_s": 60.0, "rest_frames": 2, "end_rest_frames": 2}
    return [(n, dataclasses.replace(s, **fast)) for n, s in REAL_PLAN(name, videos, seed)]


def run(out, said):
    return vla_tracking.run_vla_tracking_study(
        out=out, quick=True, seed=0, executor="serial", progress=lambda stage, done, total: said.append((stage, done))
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("vla-study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "plan_videos", hurried)
        patch.setattr(vla_tracking, "CLASSIC", ("auto",))
        said = []
        summary = run(out, said)
        patch.setattr(vla_film_strip, "write_hard_cases", lambda *_: summary["film_strip"])  # drawn by the first run
        patch.setattr(vla_speed, "time_networks", lambda *_: summary["speed"])
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
        "intervals.csv",
        "differences.csv",
        "networks.csv",
        "curves.svg",
        "film-strip.png",
        "summary.json",
    ):
        assert (out / name).stat().st_size > 100, name
    methods = [row["method"] for row in summary["table"]]
    assert methods == ["vla", "paper", "siamcar", "paper", "vla, shipped", "auto"]
    paper = summary["table"][1]
    assert (paper["mean AUC"], paper["mean P"], paper["mean Err mm"]) == ("63.5", "88.9", "3.01 +- 2.20")
    readme = (out / "README.md").read_text()
    assert "proves nothing" in readme
    for said in ("film-strip.png", vla_film_strip.RULE, vla_speed.SAID, "Against vla, video by video"):
        assert said in readme
    assert json.loads((out / "summary.json").read_text())["networks"]["siamcar"]["samples"] == 96


def test_a_quick_run_says_everywhere_that_it_is_one(written):
    out, summary, said, _ = written
    assert_quick(out, 4 * len(summary["videos"]))
    assert said[-2:] == [("writing the report", 0), ("writing the report", 1)]


def test_the_film_strip_shows_what_the_trials_recorded(written):
    out, summary, _, _ = written
    film = summary["film_strip"]
    assert film["trackers"] == ["vla", "siamcar", "auto"]
    assert {case["video"] for case in film["cases"]} <= set(summary["videos"])
    assert film["cells"] == sum(len(case["frames"]) for case in film["cases"]) > 0
    assert film["differs_mm"] <= 0.001
    assert (out / "film-strip.png").read_bytes()[:4] == b"\x89PNG"


def test_every_network_that_tracks_has_its_size_and_speed(written):
    out, summary, _, _ = written
    assert set(summary["speed"]) == {"vla", "siamcar", "vla, shipped"}
    assert summary["speed"]["vla"]["ratio"] == 1.0
    for name, speed in summary["speed"].items():
        assert speed["ms"] > 0
        assert speed["parameters"] > 1e4
        assert f"\n{name}," in (out / "networks.csv").read_text().replace('"vla, shipped"', "vla, shipped")
    assert summary["speed"]["siamcar"]["parameters"] == summary["networks"]["siamcar"]["parameters"]


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
    assert set(SEVEN) | {"vla"} == set(ZHANG2026_TABLE_1)
    for name in (*SEVEN, "vla"):
        used = all_of_them[name].fraction
        if all_of_them[name].encoder:
            used += all_of_them[all_of_them[name].encoder].fraction
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

    result = vla_gpu.time_full_size("tiny", "cpu", 0, lambda done: None, repeats=5)
    names = [c["case"] for c in result["cases"]]
    assert names[:2] == ["tiny, tracking, eager", "tiny, deciding, eager"]
    assert names[2:] == ["tiny, tracking while both run", "tiny, deciding while both run"]
    assert all(c["ratio"]["paper, A800"] > 0 and c["n"] > 0 for c in result["cases"])
    assert result["tracking_hz"] > 0
    assert result["action_hz"] > 0
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="needs a CUDA GPU"):
            vla_gpu.bench_vla_gpu(seed=0, progress=lambda done: None)


def trial(error_mm, visible=None, state=None, iou=0.5):
    """What a trial says of frames with these errors."""
    n = len(error_mm)
    return {
        "error_mm": list(error_mm),
        "visible": [1] * n if visible is None else list(visible),
        "state": [2] * n if state is None else list(state),
        "iou": [iou] * n,
    }


GOOD, BAD = [0.5] * 40, [0.5] * 10 + [9.0] * 5 + [0.5] * 5 + [8.0] * 20


def test_hard_cases_are_those_that_the_rule_names():
    results = {
        "vla": {"a": trial(GOOD), "b": trial(BAD), "c": trial([0.6] * 40), "d": trial([0.7] * 40)},
        "lorat": {"a": trial(GOOD), "b": trial(GOOD), "c": trial(BAD), "d": trial(GOOD)},
        "siamcar": {"a": trial(GOOD), "b": trial(GOOD), "c": trial(GOOD), "d": trial(GOOD)},
    }
    trackers = vla_film_strip.shown_trackers(results)
    assert trackers == ["vla", "siamcar", "lorat"]  # by their mean error
    worst, divided = vla_film_strip.choose_hard_cases(results, trackers, most=1)
    assert (worst.video, worst.at, worst.why.split(":")[0]) == ("b", 20, "ours errs most")
    assert (divided.video, divided.at, divided.why.split(":")[0]) == ("c", 20, "they disagree most")
    more = vla_film_strip.choose_hard_cases(results, trackers, most=3)
    assert [m.video for m in more] == ["b", "d", "c"]  # of four videos two each, and no others divide them


def test_hidden_frames_choose_nothing_and_a_silent_tracker_is_off():
    hidden = [0] * 20 + [1] * 20
    results = {
        "vla": {"a": trial([50.0] * 20 + GOOD[:20], hidden), "b": trial([1.0] * 40)},
        "siamcar": {"a": trial(GOOD), "b": trial(GOOD, state=[2] * 30 + [0] * 10)},
    }
    (worst,) = vla_film_strip.choose_hard_cases(results, ["vla", "siamcar"])
    assert worst.video == "b"
    results["vla"]["c"] = trial([2.0] * 40)
    results["siamcar"]["c"] = trial(GOOD)
    found = vla_film_strip.choose_hard_cases(results, ["vla", "siamcar"], most=1)
    assert [(m.video, m.at) for m in found] == [("c", 0), ("b", 30)]


def test_a_window_shows_the_moment_and_stays_in_its_video():
    for frames in (1, 4, 6, 17, 31, 200):
        for at in range(frames):
            drawn = vla_film_strip.drawn_frames(frames, at)
            assert at in drawn
            assert drawn[0] >= 0
            assert drawn[-1] < frames
            assert len(drawn) <= vla_film_strip.STRIP_COLUMNS
            assert (
                frames < vla_film_strip.STRIP_COLUMNS * vla_film_strip.APART
                or len(drawn) == vla_film_strip.STRIP_COLUMNS
            )
    assert vla_film_strip.drawn_frames(200, 100)[vla_film_strip.BEFORE] == 100


def test_a_strip_has_a_cell_for_every_frame(tmp_path):
    grey = np.zeros((32, 32), np.uint8)
    cell = FilmStripCell(grey, (16.0, 16.0), {"vla": (19.0, 20.0), "auto": None, "kf+f": (900.0, -4.0)}, 0.5, "0 s")
    assert (cell.error_mm("vla"), cell.error_mm("auto")) == (2.5, None)
    cases = [FilmStripRow("a", [cell] * 3), FilmStripRow("b", [cell] * 2)]
    assert write_strip(tmp_path / "strip.png", "hard", ["vla", "auto", "kf+f"], cases) == 5
    assert (tmp_path / "strip.png").stat().st_size > 1000


def test_a_tip_keeps_its_distance_from_the_truth_in_a_cut_of_an_image_with_oblong_pixels():
    from sonosteer.imaging.crops import step_of

    spacing, truth, tip = Spacing(0.2, 0.4), (100.0, 50.0), (110.0, 60.0)
    step = np.array(step_of(spacing, vla_film_strip.CUT_MM_PER_PX))
    at = vla_film_strip.in_cut(tip, truth, step, 63.5)
    gap_mm = np.hypot(*(np.array(at) - 63.5)) * vla_film_strip.CUT_MM_PER_PX
    assert gap_mm == pytest.approx(np.hypot(10 * 0.2, 10 * 0.4))


def test_a_network_twice_as_slow_has_twice_the_ratio(monkeypatch):
    ticks = iter(range(10**9))
    nets = {"vla": 1, "slow": 2}

    class Fake(torch.nn.Linear):
        def __init__(self, cost):
            super().__init__(2, 2)
            self.cost = cost

    monkeypatch.setattr(
        vla_speed, "_search_step", lambda net: lambda: [next(ticks) for _ in range(net.cost * 1000 - 1)]
    )
    monkeypatch.setattr(vla_speed.time, "perf_counter_ns", lambda: next(ticks) * 1000)
    said = []
    speed = vla_speed.time_networks({k: Fake(v) for k, v in nets.items()}, lambda *each: said.append(each), rounds=3)
    assert speed["slow"]["ratio"] == pytest.approx(2.0, abs=0.01)
    assert speed["slow"]["parameters"] == 6
    assert said[-1] == ("networks timed", 3, 3)


def test_differences_are_by_video_and_have_the_sign_of_the_method():
    entry = Entry("a", "test", 10, (0.25, 0.25), "ips")
    entries = {f"{i}": dataclasses.replace(entry, name=f"{i}") for i in range(8)}
    results = {
        "vla": {n: trial([1.0] * 10, iou=0.9) for n in entries},
        "siamcar": {n: trial([2.0 + int(n) / 10] * 10, iou=0.4) for n in entries},
    }
    (row,) = vla_tracking_report.differences(results, entries, ["vla", "siamcar"])
    assert row["Err mm"].startswith("+1.35 (")
    assert row["AUC"].startswith("-")
    assert float(row["p, Err"]) < 0.05
    assert row["vla ahead in Err"] == "8 of 8"
    assert "in AUC of all; in P not of siamcar; in Err of all" in vla_tracking_report.ahead(
        results, entries, ["siamcar"]
    )


def test_figures_are_the_means_of_what_each_frame_adds():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.exponential(3, 200), rng.exponential(12, 200), rng.random(200), rng.integers(0, 3, 200)], 1)
    f = vla_tracking_report.figures([rows])
    assert vla_tracking_report.scores(rows).mean(0) == pytest.approx([f["AUC"], f["P"], f["Err"]])
