"""The study in-the-wild: how a frame is judged, which figures come of it, what a quick run writes."""

import csv
import dataclasses
import json
import math
from typing import ClassVar

import numpy as np
import pytest
from quick_runs import assert_quick

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Lost, TipEstimate, Track
from sonosteer.inference.needle_detector import RIGHT_WITHIN, WRONG_BEYOND
from sonosteer.sim.scenes import make_scene
from sonosteer.sim.wild import TISSUE_SEEDS, wild_still
from sonosteer.studies.wild import run as wild_run
from sonosteer.studies.wild.figures import (
    GROUPINGS,
    WildSample,
    aims_table,
    outcome_rates,
    rate_of,
    reliability_table,
    scanner_family,
    unseen_table,
    where_it_fails,
)
from sonosteer.studies.wild.trials import (
    WildClip,
    WildFrame,
    WildStill,
    WildTrial,
    _pack,
    clips_of,
    judge_frame,
    max_clip_frames,
    measure_clips,
    measure_stills,
    run_wild_trial,
    shaft_begins_inside,
    stills_of,
    tip_inside_ellipse,
)

SEEN = 5  # a validation still whose tip can be seen


class Oracle:
    """A tracker that knows where the tips are, by the size and mean of a picture, and lies as told."""

    known: ClassVar[dict] = {}
    seeds = (2, 5, 6, 14)

    def prepare(self):
        for seed in self.seeds:
            frame, _, truth = wild_still(seed, "validation")
            self.known[frame.pixels.tobytes()] = truth

    def start(self, hint):
        assert hint.angle_rad is None
        assert hint.enters is None
        assert hint.start_px is None
        return 0

    def step(self, state, frame):
        assert frame.spacing is None
        assert frame.probe is None
        assert frame.velocity_mm_s is None
        truth = self.known.get(frame.pixels.tobytes())
        if truth is None or truth.tip_px is None:
            return state + 1, Lost(frame.index, frame.time_s, "there is none")
        return state + 1, estimate_at(truth.tip_px)


class QuickOracle(Oracle):
    """It knows the stills of a quick run."""

    seeds = range(30)


def estimate_at(tip_px, state=Track.TRACKING, angle_rad=0.0, covariance=(4.0, 1.0), confidence=0.83):
    return TipEstimate(
        frame_index=0,
        time_s=0.0,
        tip_px=tip_px,
        angle_rad=angle_rad,
        covariance_mm2=np.diag(covariance),
        confidence=confidence,
        state=state,
        entry_px=(0.0, 0.0),
        covariance_px2=np.diag(covariance) * 9,
    )


def frame_of(outcome="right", *, visible=True, present=True, time_s=2.0, state="tracking", **more):
    error = {"right": 0.01, "near": 0.03, "wrong": 0.2, "lost": None}[outcome] if present else None
    fields = {
        "confidence": None if outcome == "lost" else 0.95,
        "inside": None if outcome == "lost" else outcome == "right",
        "contrast_db": 10.0,
        "width_px": 4.0,
        "begins_inside": False,
    }
    state = "lost" if outcome == "lost" else state
    return WildFrame(time_s=time_s, visible=visible, present=present, state=state, error=error, **{**fields, **more})


@pytest.fixture(scope="module")
def still():
    frame, _, truth = wild_still(SEEN, "validation")
    return make_scene("in-the-wild/validation", SEEN), frame, truth


# -- one frame --


def test_right_near_and_wrong_are_fractions_of_the_longer_side(still):
    scene, frame, truth = still
    longer = max(frame.size_px)
    for fraction, outcome in [(0.0, "right"), (0.019, "right"), (0.03, "near"), (0.049, "near"), (0.06, "wrong")]:
        x, y = truth.tip_px
        judged = judge_frame(scene, frame, estimate_at((x, y + fraction * longer)), truth, shown=frame)
        assert judged.error == pytest.approx(fraction, abs=1e-4)
        assert judged.outcome() == outcome
    lost = judge_frame(scene, frame, Lost(0, 0.0, "nothing"), truth, shown=frame)
    assert (lost.outcome(), lost.error, lost.confidence, lost.inside) == ("lost", None, None, None)
    assert (RIGHT_WITHIN, WRONG_BEYOND) == (0.02, 0.05)


def test_coasting_is_a_claim_unless_only_tracking_counts(still):
    scene, frame, truth = still
    judged = judge_frame(scene, frame, estimate_at(truth.tip_px, Track.COASTING), truth, shown=frame)
    assert judged.outcome() == "right"
    assert judged.outcome(sure=True) == "lost"


def test_any_claim_without_a_needle_is_wrong():
    seed = next(s for s in range(40) if not make_scene("in-the-wild/validation", s).needle)
    frame, _, truth = wild_still(seed, "validation")
    scene = make_scene("in-the-wild/validation", seed)
    judged = judge_frame(scene, frame, estimate_at((10.0, 10.0)), truth, shown=frame)
    assert (judged.present, judged.visible, judged.outcome()) == (False, False, "wrong")
    assert judge_frame(scene, frame, Lost(0, 0.0, "none"), truth, shown=frame).outcome() == "lost"


def test_the_ellipse_lies_along_the_needle_in_mm():
    along = estimate_at((100.0, 100.0), angle_rad=math.pi / 2, covariance=(4.0, 0.01))
    spacing = Spacing(0.5, 0.5)
    assert tip_inside_ellipse(along, (100.0, 109.0), spacing)  # 4.5 mm along, 2.25 standard deviations
    assert not tip_inside_ellipse(along, (100.0, 110.0), spacing)
    assert tip_inside_ellipse(along, (100.4, 100.0), spacing)  # 0.2 mm across, 2 standard deviations
    assert not tip_inside_ellipse(along, (100.6, 100.0), spacing)


def test_the_ellipse_is_in_px_without_a_scale():
    across = estimate_at((100.0, 100.0), covariance=(4.0, 1.0))  # deviations of 6 and 3 px
    assert tip_inside_ellipse(across, (114.0, 100.0), None)
    assert not tip_inside_ellipse(across, (115.0, 100.0), None)
    assert tip_inside_ellipse(across, (100.0, 93.0), None)
    assert not tip_inside_ellipse(across, (100.0, 92.0), None)
    assert tip_inside_ellipse(dataclasses.replace(across, covariance_px2=None), (100.0, 100.0), None) is None


def test_a_needle_from_the_edge_does_not_begin_inside_and_a_faded_one_does(still):
    scene, frame, truth = still
    assert shaft_begins_inside(scene, frame, truth) is False
    k = len(truth.shaft_px) // 2
    faded = dataclasses.replace(truth, shaft_seen=tuple(i < k for i in range(len(truth.shaft_px))))
    assert shaft_begins_inside(scene, frame, faded) is True
    unseen = dataclasses.replace(truth, shaft_seen=(False,) * len(truth.shaft_px))
    assert shaft_begins_inside(scene, frame, unseen) is None


def test_a_clip_is_bounded_in_time_and_frames():
    assert [max_clip_frames(rate) for rate in (5.0, 12.5, 20.0, 33.0, 60.0)] == [40, 100, 100, 100, 180]


# -- many --


def test_a_method_is_measured_with_nothing_given_and_comes_back_in_the_order_of_the_seeds(monkeypatch):
    monkeypatch.setattr("sonosteer.trackers.table.make_tracker", lambda method, **settings: Oracle())
    seeds = [14, 5, 6, 2]
    assert sorted(seeds) == sorted(Oracle.seeds)
    stills = measure_stills("oracle of this test", "validation", seeds, executor="serial")
    assert [s.seed for s in stills] == seeds
    for s in stills:
        scene = make_scene("in-the-wild/validation", s.seed)
        assert s.needle is scene.needle
        assert s.judged.outcome() == ("right" if scene.needle else "lost")
        assert bool(s.reason) is not scene.needle
    assert stills[1].judged.visible


class Watcher:
    """A tracker that keeps what it is given."""

    def __init__(self):
        self.given = []

    def prepare(self):
        pass

    def start(self, hint):
        return 0

    def step(self, state, frame):
        assert state == frame.index
        self.given.append(frame)
        return state + 1, Lost(frame.index, frame.time_s, "never looked")


@pytest.mark.parametrize("scaled", [False, True])
def test_a_clip_is_followed_from_its_first_frame_and_has_a_scale_only_if_asked(monkeypatch, scaled):
    watcher = Watcher()
    monkeypatch.setattr("sonosteer.trackers.table.make_tracker", lambda method, **settings: watcher)
    monkeypatch.setattr("sonosteer.studies.wild.trials.CLIP_S", 0.5)
    (clip,) = measure_clips(f"watcher {scaled}", "validation", [300_006], scaled=scaled, executor="serial")
    rate_hz = make_scene("in-the-wild/validation", 300_006).rate_hz
    assert 2 <= len(clip.frames) <= math.ceil(0.5 * rate_hz)
    assert [f.index for f in watcher.given] == list(range(len(clip.frames)))
    assert [round(f.time_s, 4) for f in watcher.given] == [f.time_s for f in clip.frames]
    assert {f.spacing is not None for f in watcher.given} == {scaled}
    assert {(f.probe, f.velocity_mm_s) for f in watcher.given} == {(None, None)}


def test_what_the_journal_keeps_is_what_was_found(monkeypatch):
    monkeypatch.setattr("sonosteer.trackers.table.make_tracker", lambda method, **settings: Oracle())
    rows = run_wild_trial(WildTrial("stills", "validation", (5, 6), "oracle of the journal"))
    kept = json.loads(json.dumps(rows))
    assert stills_of(kept) == stills_of(rows)
    assert stills_of(kept)[0].judged.outcome() == "right"
    clip = WildClip(seed=4, needle=True, frames=(frame_of("right"), frame_of("lost", time_s=3.0)))
    assert clips_of([json.loads(json.dumps(_pack(clip)))]) == [clip]


# -- figures --


def sample_of(stills, free, clips):
    some = tuple(
        WildStill(6 * k, True, (400, 300), judged, None, (), "") for k, judged in enumerate(stills)
    )  # another scanner each
    none = tuple(WildStill(60_000 + 6 * k, False, (400, 300), judged, None, (), "") for k, judged in enumerate(free))
    return WildSample(
        split="validation",
        stills=tuple(s for s in some if s.judged.visible),
        free=none,
        drawn=some + none,
        clips=tuple(WildClip(300_000 + 6 * k, needle, tuple(frames)) for k, (needle, frames) in enumerate(clips)),
    )


@pytest.fixture(scope="module")
def made_up():
    stills = [frame_of("right")] * 7 + [frame_of("near"), frame_of("wrong"), frame_of("lost")]
    stills += [frame_of("wrong", visible=False), frame_of("lost", visible=False)]
    nothing = {"visible": False, "present": False, "contrast_db": None, "width_px": None, "begins_inside": None}
    free = [frame_of("lost", **nothing)] * 3 + [frame_of("wrong", **nothing)]
    clips = [
        (True, [frame_of("wrong", time_s=0.5)] * 20 + [frame_of("right", time_s=1.0)] * 8 + [frame_of("lost")] * 2),
        (True, [frame_of("right", state="coasting")] * 9 + [frame_of("wrong", state="coasting", visible=False)]),
        (True, [frame_of("lost", **nothing)] * 4 + [frame_of("wrong", **nothing)]),
        (False, [frame_of("lost", **nothing)] * 5),
    ]
    return sample_of(stills, free, clips)


def test_the_aims_are_told_with_and_without_coasting(made_up):
    rows = {r["what"]: r for r in aims_table(made_up)}
    assert rows["stills, right"]["% (95 % interval)"].startswith("70.0 (")
    assert rows["stills, right"]["met"] == "no"
    assert rows["stills, wrong"]["% (95 % interval)"].startswith("10.0 (")
    assert rows["stills without a needle, claimed"]["% (95 % interval)"].startswith("25.0 (")
    right = rows["clips, right"]
    assert right["of"] == 19  # the first second does not count
    assert right["% (95 % interval)"].startswith(f"{100 * 17 / 19:.1f} (")
    assert right["`tracking` alone %"].startswith(f"{100 * 8 / 19:.1f} (")
    assert rows["clips, wrong"]["met"] == "yes"
    assert rows["clips, tip in the 95 % ellipse of `tracking`"]["of"] == 8


def test_what_is_claimed_without_a_visible_tip_is_told_apart(made_up):
    rows = {r["frames"]: r for r in unseen_table(made_up)}
    assert rows["stills with a hidden tip"]["number"] == 2
    assert rows["stills with a hidden tip"]["far from the tip %"].startswith("50.0")
    assert rows["clips without a needle"]["number"] == 5
    assert rows["clips without a needle"]["claimed %"].startswith("0.0")
    assert rows["clips, needle not in the picture"]["claimed %"].startswith("20.0")
    hidden = rows["clips, tip hidden"]
    assert (hidden["number"], hidden["claimed %"][:5]) == (1, "100.0")
    assert hidden["`tracking` far from the tip %"].startswith("0.0")


def test_an_interval_draws_whole_units_and_is_never_of_no_width():
    alike = rate_of([[True] * 50, [False] * 50] * 5)
    single = rate_of([[k % 2 == 0] for k in range(500)])
    assert alike.percent == single.percent == 50.0
    assert alike.high - alike.low > 4 * (single.high - single.low)
    none = rate_of([[False] * 100] * 10)
    assert (none.hits, none.trials, none.low) == (0, 1000, 0.0)
    assert 20 < none.high < 35  # of ten clips, not of a thousand frames
    assert rate_of([]).percent is None


def test_reliability_counts_a_claim_without_a_needle_as_not_right(made_up):
    last = reliability_table(made_up)[-1]
    assert last["stills, claims"] == 11  # seven right, one near, three wrong, one of them without a needle
    assert last["stills, right"] == pytest.approx(7 / 11, abs=1e-3)
    assert last["stills, stated"] == 0.95
    assert last["clips, claims"] == 8 + 10 + 1


def test_where_it_fails_adds_up_in_every_grouping(made_up):
    rows = where_it_fails(made_up)
    for grouping in GROUPINGS:
        some = [r for r in rows if r["by"] == grouping.title]
        assert [r["group"] for r in some] == list(grouping.values)
        assert sum(r["frames"] or 0 for r in some) == 19, grouping.title
        assert sum(r["stills"] or 0 for r in some) in (0, 10), grouping.title
    bands = {r["group"]: r for r in rows if r["by"] == "contrast of the tip"}
    assert bands["6 to 12 dB"]["stills: right %"] == 70.0
    assert bands["6 to 12 dB"]["frames: lost %"] == round(100 * 2 / 19, 1)


def test_every_kind_of_scanner_is_told_by_its_array():
    found = {}
    for seed in range(0, 400, TISSUE_SEEDS):
        scene = make_scene("in-the-wild/train", seed)
        found.setdefault(scanner_family(scene), []).append(scene.array)
    assert set(found) == {"linear", "convex", "micro-convex", "phased"}
    assert all(a.radius_mm >= 38 for a in found["convex"])
    assert all(9 <= a.radius_mm <= 18 for a in found["micro-convex"])
    assert all(0 < a.radius_mm <= 7 for a in found["phased"])


def test_rates_of_the_four_outcomes_add_up(made_up):
    rates = outcome_rates([clip.frames for clip in made_up.clips])
    assert sum(r.hits for r in rates.values()) == rates["right"].trials


# -- the study --


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "exam"}, "split is 'exam'"),
        ({"stills": 0}, "stills is 0"),
        ({"frames": 3}, "no setting 'frames'"),
        ({"method": "axial", "method.nonsense": 3}, "no setting 'nonsense'"),
    ],
)
def test_nonsense_is_refused(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        wild_run.run_wild_study(
            out=tmp_path, quick=False, seed=0, executor="serial", progress=lambda *_: None, settings=settings
        )


def test_the_published_study_is_the_issue_s_and_a_quick_run_leaves_the_test_split_alone():
    full = wild_run.WildConfig()
    assert (full.split, full.stills, full.needle_free, full.clips) == ("test", 1000, 500, 300)
    assert (full.method, full.scaled) == ("auto", False)
    assert wild_run.QUICK.split == "validation"


def test_settings_of_the_method_are_typed_with_its_prefix_and_a_model_of_one_s_own_is_hashed(tmp_path):
    config = wild_run.wild_config({"stills": 3, "method.model": str(tmp_path), "method.threads": 2})
    assert (config.stills, config.settings) == (3, {"model": str(tmp_path), "threads": 2})
    (tmp_path / "model.safetensors").write_bytes(b"one")
    shipped = wild_run.models_used({})
    before = wild_run.models_used(config.settings)
    assert set(before) - set(shipped) == {str(tmp_path)}
    assert "edge" in shipped
    (tmp_path / "model.safetensors").write_bytes(b"two")
    after = wild_run.models_used(config.settings)
    assert {name for name in after if after[name] != before[name]} == {str(tmp_path)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("wild")
    patch = pytest.MonkeyPatch()
    patch.setattr("sonosteer.trackers.table.make_tracker", lambda method, **settings: QuickOracle())
    said = []
    summary = wild_run.run_wild_study(
        out=out,
        quick=True,
        seed=0,
        executor="serial",
        progress=lambda *each: said.append(each),
        settings={"method": "oracle of a quick run"},
    )
    patch.undo()
    return out, summary, said


@pytest.mark.slow
def test_a_quick_run_writes_everything_and_says_that_it_is_quick(written):
    out, summary, said = written
    names = {p.name for p in out.iterdir()}
    assert {"README.md", "report.html", "summary.json", "stills.csv", "clips.csv", "where-it-fails.csv",
            "reliability.csv", "errors.svg", "reliability.svg", "stills.png"} <= names  # fmt: skip
    assert_quick(out, summary["trials"])
    assert said[-1] == ("writing the report", 1, 1)
    readme = (out / "README.md").read_text()
    assert summary["world"] in readme
    assert summary["models"]["edge"] in readme
    assert "validation split" in readme


@pytest.mark.slow
def test_an_oracle_has_every_still_right(written):
    out, summary, _ = written
    with (out / "stills.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [r["outcome"] for r in rows if r["needle"] == "1"] == ["right"] * 12
    assert [r["outcome"] for r in rows if r["needle"] == "0"] == ["lost"] * 4
    first = summary["tables"]["What was to be shown"][0]
    assert (first["what"], first["% (95 % interval)"][:5], first["met"]) == ("stills, right", "100.0", "yes")


@pytest.mark.slow
def test_a_second_run_does_nothing_again(written, monkeypatch):
    out, summary, _ = written
    monkeypatch.setattr(wild_run, "run_wild_trial", None)  # would break if it were called
    again = wild_run.run_wild_study(
        out=out,
        quick=True,
        seed=0,
        executor="serial",
        progress=lambda *_: None,
        settings={"method": "oracle of a quick run"},
    )
    assert again["tables"] == summary["tables"]
