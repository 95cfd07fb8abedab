"""The insertion study: its quick form, and its tables on constructed outcomes."""

import json

import pytest
from quick_runs import assert_quick

from sonosteer.episodes.insertion import InsertionConfig, build_episode
from sonosteer.metrics.proportions import mcnemar
from sonosteer.studies.insertion import failures as insertion_failures
from sonosteer.studies.insertion import run as insertion
from sonosteer.studies.insertion.report import details, failures, reachable_targets, table_2
from sonosteer.studies.insertion.trials import AS_THEY_COME

pytestmark = pytest.mark.slow


def outcome(success, time_s=10.0, judged="hit", error_mm=1.0):
    return {
        "success": success,
        "judged": judged if success or judged != "hit" else "off the line",
        "time_s": time_s,
        "final_error_mm": error_mm,
        "tracking_hz": 25.0,
        "action_hz": 10.0,
        "refused": {},
        "unseen": 0.1,
        "rows": [],
        "error_mm": [],
    }


RESULTS = {
    "vla": {"ips": [outcome(True, 8.0), outcome(True, 12.0)], "ipm": [outcome(True), outcome(False)]},
    "constant speed": {"ips": [outcome(False), outcome(True, 6.0)], "ipm": [outcome(False), outcome(False)]},
}
PAPERS = {"vla": "ours", "constant speed": "constant"}


def test_table_2_counts_successes_and_their_times_and_has_the_papers_rows_below():
    rows = table_2(RESULTS, PAPERS)
    assert [r["method"] for r in rows] == ["vla", "paper", "constant speed", "paper"]
    ours, paper, constant, _ = rows
    assert ours["IPS success %"].startswith("100.0 (")
    assert ours["IPS T s"] == "10.0 ± 2.0"
    assert ours["both success %"].startswith("75.0 (")
    assert (ours["IPS n"], ours["both n"]) == (2, 4)
    assert (paper["both success %"], paper["IPM T s"]) == ("80.0", "23.9")
    assert constant["IPM T s"] is None
    assert constant["p"] == f"{mcnemar([True, True, True, False], [False, True, False, False]):.2g}"


def test_every_method_has_the_papers_targets_and_some_further_ones_with_an_acoustic_window(tmp_path):
    todo = insertion.insertion_trials(list(insertion.METHODS), tmp_path, 0, each=20, ours=10, others=6)
    names = [t.name for t in todo]
    assert len(set(names)) == len(names) == 20 * 2 * len(insertion.METHODS) + 2 * (10 + 6 * 3)
    window = [t for t in todo if t.condition == insertion.WITH_WINDOW]
    assert {t.method.name for t in window} == {"vla", "simulated operator", "synchronous", "constant speed"}
    assert not {t.seed for t in window} & {t.seed for t in todo if t.condition == AS_THEY_COME}
    scene = build_episode(window[0].setup()).world.scene
    assert (scene.artefacts.occluders, scene.artefacts.contact_loss) == (0, 0.0)


def test_targets_that_nobody_reached_are_left_out_and_pairs_stay_pairs():
    kept = reachable_targets(RESULTS)
    assert [len(kept[m]["ips"]) for m in kept] == [2, 2]
    assert [len(kept[m]["ipm"]) for m in kept] == [1, 1]
    assert kept["vla"]["ipm"][0]["success"]
    assert table_2(kept, PAPERS)[0]["both success %"].startswith("100.0")


def test_a_method_with_fewer_targets_is_compared_on_those():
    few = {**RESULTS, "few": {"ips": [outcome(False)], "ipm": [outcome(True)]}}
    row = next(r for r in table_2(few, PAPERS) if r["method"] == "few")
    assert row["both n"] == 2
    assert row["p"] == f"{mcnemar([True, True], [False, True]):.2g}"
    assert len(details(few)) == 3


def test_reasons_of_failure_add_up_to_the_failures():
    for row in failures(RESULTS):
        reasons = [v for k, v in row.items() if k not in ("method", "failed")]
        assert row["failed"] == sum(v or 0 for v in reasons)
    assert details(RESULTS)[0]["tracking /s"] == 25.0


def test_of_every_reason_of_failure_one_is_looked_at_first():
    def trial(seed, judged):
        return InsertionConfig(seed=seed), outcome(judged == "hit", judged=judged)

    trials = [
        trial(k, why) for k, why in enumerate(["hit", "time out", "time out", "hit", "off the line", "lost from sight"])
    ]
    assert [s.seed for s in insertion_failures.choose_failures(trials)] == [1, 4, 5, 2]
    assert [s.seed for s in insertion_failures.choose_failures(trials, most=2)] == [1, 4]
    assert insertion_failures.choose_failures(trials[:1]) == []


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The quick study with an ablation whose networks have not been trained."""
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(insertion, "QUICK_METHODS", ("weaker tracker", "visibility rule"))
        patch.setattr(insertion, "MODES", ("ips",))
        summary = insertion.run_insertion_study(
            out=out, quick=True, seed=0, executor="serial", progress=lambda *a: None
        )
        patch.setattr(insertion, "write_failures", lambda *_: 0)  # the first run has drawn them
        again = insertion.run_insertion_study(out=out, quick=True, seed=0, executor="serial", progress=lambda *a: None)
    return out, summary, again


def test_the_quick_study_writes_its_tables_and_says_what_it_could_not_run(studied):
    out, summary, _ = studied
    for name in ("README.md", "report.html", "summary.json", "success-come.svg", "trials.jsonl"):
        assert (out / name).stat().st_size > 0
    rows = summary["tables"]["Table II, scenes as they come"]
    assert [r["method"] for r in rows] == ["visibility rule"]
    assert rows[0]["IPS n"] == 1
    assert any(line.startswith("weaker tracker: there is no") for line in summary["missing"])
    assert "Not run: weaker tracker: there is no" in (out / "README.md").read_text()


def test_a_quick_run_says_everywhere_that_it_is_one(studied):
    assert_quick(studied[0], 1)


def test_a_study_that_is_run_again_takes_what_is_there(studied):
    out, summary, again = studied
    assert again["tables"] == summary["tables"]
    assert len((out / "trials.jsonl").read_text().splitlines()) == 2
    trial = json.loads((out / "trials.jsonl").read_text().splitlines()[1])
    assert trial["result"]["judged"] in ("hit", *("stopped elsewhere", "passed the target", "off the line"), "gave up")
