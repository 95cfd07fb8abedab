"""The study on one short insertion: what it computes and what it writes."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from quick_runs import assert_quick

from sonosteer.core.errors import InputError
from sonosteer.core.types import Frame
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.world import World
from sonosteer.studies.tracking import run as tracking
from sonosteer.studies.tracking.general_trackers import GeneralRun
from sonosteer.studies.tracking.readings import READINGS
from sonosteer.studies.tracking.trials import (
    HARD,
    OPTICAL,
    PAPER_METHODS,
    TrackingTrial,
    hard_scene,
    run_tracking_trial,
    tracking_trials,
    visible_length_mm,
)

pytestmark = pytest.mark.slow


def short(k, kind="paper"):
    scene = make_scene(
        "in-plane-linear/validation", 60 + k, speed_mm_s=15.0, end_mm=18.0, angle_deg=(35.0, 45.0)[k % 2]
    )
    methods = (*PAPER_METHODS, "auto", "auto, angle given", "kcf", "lucas-kanade", OPTICAL)
    if kind == "readings":
        return TrackingTrial(f"readings-{k}", kind, scene, tuple(READINGS), 1)
    if kind == "grabbed":
        return TrackingTrial(f"grabbed-{k}", kind, dataclasses.replace(scene, rate_hz=15.9), ("om", "kf+f"), 1)
    if kind == "needle-free":
        return TrackingTrial("free", kind, dataclasses.replace(scene, needle=False), ("auto", "auto, side given"), 1)
    return TrackingTrial(f"{kind}-{k}", kind, scene, methods, 2)


def few():
    return [
        short(0),
        short(1),
        short(2, "curved"),
        short(3, "needle-free"),
        short(0, "readings"),
        short(1, "readings"),
        short(0, "grabbed"),
        short(1, "grabbed"),
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    patch = pytest.MonkeyPatch()
    patch.setattr(tracking, "tracking_trials", lambda **_: few())
    said = []
    summary = tracking.run_tracking_study(
        out=out, quick=True, seed=0, executor="serial", progress=lambda *each: said.append(each)
    )
    patch.undo()
    return out, summary, said


def test_all_tables_and_figures_are_written(written):
    out, _, said = written
    names = {p.name for p in out.iterdir()}
    wanted = {f"table-{n}.csv" for n in (1, 3, 4, 5, 6)} | {f"fig-{n}.svg" for n in (4, 5, 6)}
    assert wanted | {"report.html", "README.md", "summary.json", "harder.csv", "calibration.csv"} <= names
    more = ("reductions", "within", "readings", "causes", "causes-by-speed", "grabbed", "auto", "table-3-tests")
    assert {f"{n}.csv" for n in (*more, "table-4-pairs", "table-5-pairs", "table-4-agreement")} <= names
    assert ("trials", 8, 8) in said
    assert said[-2:] == [("writing the report", 0, 1), ("writing the report", 1, 1)]


def test_table_3_is_the_errors_of_the_frames(written):
    out, summary, _ = written
    with (out / "table-3.csv").open() as f:
        rows = {r["method"]: r for r in csv.DictReader(f)}
    assert {m.rstrip("†") for m in rows} >= set(PAPER_METHODS) | {"auto", "kcf"}
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()[1:]]
    runs = [line["result"]["methods"]["kf+f"]["runs"][0] for line in lines if line["trial"].startswith("paper")]
    e = np.concatenate([np.hypot(r["en"], r["ep"]) for r in runs])
    assert float(rows["kf+f"]["e_mean"]) == pytest.approx(e.mean(), abs=1e-3)
    assert float(rows["kf+f"]["e_p95"]) == pytest.approx(np.percentile(e, 95), abs=1e-3)
    assert int(rows["pf†"]["runs"]) == 2
    assert summary["insertions"] == 2


def test_the_page_stands_alone_and_names_the_paper_s_numbers(written):
    page = (written[0] / "report.html").read_text()
    assert "1.68 ± 1.72" in page  # KF+F in Table III
    assert "not a medical device" in page
    assert "Quick run" in page
    assert not re.search(r'(src|href)="http', page)
    assert page.count("<svg") == 4


def test_a_quick_run_says_everywhere_that_it_is_one(written):
    assert_quick(written[0], 8)


def test_a_second_run_does_nothing_again(written, monkeypatch):
    out, summary, _ = written
    monkeypatch.setattr(tracking, "tracking_trials", lambda **_: few())
    monkeypatch.setattr(tracking, "run_tracking_trial", None)  # would break if it were called
    again = tracking.run_tracking_study(out=out, quick=True, seed=0, executor="serial", progress=lambda *_: None)
    assert again["table_3"] == summary["table_3"]


def test_the_report_can_be_written_anew_without_tracking(written, monkeypatch, tmp_path):
    out, summary, _ = written
    shutil.copy(out / "trials.jsonl", tmp_path / "trials.jsonl")
    monkeypatch.setattr(tracking, "run_tracking_trial", None)
    asked = {"report_only": True}
    again = tracking.run_tracking_study(
        out=tmp_path, quick=False, seed=5, executor="serial", progress=lambda *_: None, settings=asked
    )
    assert again["table_3"] == summary["table_3"]
    assert (again["quick"], again["seed"]) == (True, 0)  # as the trials were made
    assert (tmp_path / "table-4-pairs.csv").read_bytes() == (out / "table-4-pairs.csv").read_bytes()


def test_a_report_without_trials_is_refused(tmp_path):
    with pytest.raises(InputError, match="run the study first"):
        tracking.run_tracking_study(
            out=tmp_path,
            quick=False,
            seed=0,
            executor="serial",
            progress=lambda *_: None,
            settings={"report_only": True},
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kinds": "grabbed"}, "must name paper"),
        ({"kinds": "paper,beef"}, "no kind 'beef'"),
        ({"leave_out": "optitrack"}, "no method 'optitrack'"),
        ({"particle_runs": 0}, "1 or more"),
        ({"runs": 5}, "no setting 'runs'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words, tmp_path):
    with pytest.raises(InputError, match=words):
        tracking.run_tracking_study(
            out=tmp_path, quick=True, seed=0, executor="serial", progress=lambda *_: None, settings=settings
        )


def test_part_of_the_study_says_what_was_left_out():
    config = tracking.TrackingConfig(particle_runs=5, kinds=("paper", "grabbed"), leave_out=("mil",))
    trials = config.chosen(tracking_trials(quick=False))
    assert {t.kind for t in trials} == {"paper", "grabbed"}
    assert {t.particle_runs for t in trials} == {2, 5}
    assert not any("mil" in t.methods for t in trials)
    assert all(word in config.told() for word in ("5 runs", "paper, grabbed", "mil"))
    assert tracking.TrackingConfig().told() == ""


def test_particle_runs_differ_and_are_repeatable():
    trial = dataclasses.replace(short(0), methods=("pf+f", "kf+f"), particle_runs=2)
    a, b = run_tracking_trial(trial), run_tracking_trial(trial)
    first, second = a["methods"]["pf+f"]["runs"]
    assert first["en"] != second["en"]
    assert a["methods"]["pf+f"]["runs"] == b["methods"]["pf+f"]["runs"]


def test_the_full_study_is_the_paper_s_and_stays_on_the_test_split():
    full = tracking_trials(quick=False)
    paper = [t for t in full if t.kind == "paper"]
    assert len(paper) == 18
    assert {(round(t.scene.angle_deg / 5) * 5, t.scene.speed_mm_s) for t in paper} == {
        (a, v) for a in (35, 45) for v in (5.0, 10.0, 15.0)
    }
    assert {t.scene.split for t in full} == {"test"}
    assert {t.kind for t in full} == {"paper", "readings", "grabbed", *HARD, "needle-free"}
    assert len(tracking_trials(quick=True)) <= 12
    assert {t.particle_runs for t in paper} == {50}
    by_name = {t.name: t.scene for t in full}
    for k in range(18):
        assert by_name[f"readings-{k:02d}"] == by_name[f"paper-{k:02d}"]
        assert by_name[f"grabbed-{k:02d}"] == dataclasses.replace(by_name[f"paper-{k:02d}"], rate_hz=15.9)


def test_curved_scenes_bend_as_far_as_promised():
    for seed in range(3):
        clip = list(World(hard_scene("curved", seed, "validation")).frames())
        p = np.array(clip[-1][1].shaft_px) * 0.1
        chord = p[-1] - p[0]
        length = np.hypot(*chord)
        sag = np.abs((p - p[0]) @ np.array([-chord[1], chord[0]]) / length).max()
        assert 60**2 * 4 * sag / length**2 > 3.0  # mm off after 60 mm


def test_the_visible_length_begins_at_the_edge_of_the_view():
    scene = make_scene("in-plane-linear/test", 1)
    frame, truth = next(iter(World(scene).frames()))
    assert 9.0 < visible_length_mm(frame, truth) < 13.5


@pytest.mark.parametrize("name", ["csrt", "kcf", "mil", "lucas-kanade"])
def test_general_trackers_follow_a_patch_that_moves(name):
    import cv2

    rng = np.random.default_rng(0)
    big = cv2.GaussianBlur(rng.integers(0, 255, (300, 300)).astype(np.uint8), (0, 0), 2.0)
    big = cv2.normalize(big, None, 0, 255, cv2.NORM_MINMAX)  # at low contrast KCF loses it on some processors (IPP)
    frames = [np.ascontiguousarray(big[20 + i : 220 + i, 20 + 2 * i : 220 + 2 * i]) for i in range(8)]
    run = GeneralRun(name, (100.0, 90.0))
    for i, image in enumerate(frames):
        said = run.step(Frame(image, i, i / 20))
    assert said.tip_px == pytest.approx((100 - 14, 90 - 7), abs=4)
