"""`sonosteer compare` and `sonosteer.compare`: clips x methods, one scorer, a stranger's class beside ours."""

import csv
import json

import numpy as np
import pytest
from command_line import SHORT, one_line, run
from test_track_pictures import TIPS, folder_of

import sonosteer
from sonosteer.core.errors import InputError
from sonosteer.metrics.clip_scores import median_error_px

ROW = {
    *("method", "frames", "claimed", "lost", "median_px", "p95_px", "median_mm", "within", "wrong_while_tracking"),
}
STRANGER = """
import numpy as np
from sonosteer import TipEstimate, Track

class Corner:
    def start(self, hint):
        return None
    def step(self, state, frame):
        return None, TipEstimate(frame_index=frame.index, time_s=frame.time_s, tip_px=(0.0, 0.0), angle_rad=0.5,
            covariance_mm2=None, confidence=0.5, state=Track.TRACKING, entry_px=(0.0, 0.0))
"""


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two clips, their marks in a folder, and a stranger's class of ten lines in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corner.py").write_text(STRANGER)
    (tmp_path / "marks").mkdir()
    for name in ("one", "two"):
        folder_of(tmp_path / name, TIPS)
        lines = [f"{i},{x},{y}" for i, (x, y) in enumerate(TIPS)]
        (tmp_path / "marks" / f"{name}.csv").write_text("\n".join(["frame,tip_x_px,tip_y_px", *lines]) + "\n")
    return tmp_path


WORDS = ("--methods", "brightest:Brightest,corner:Corner", "--jobs", "1")


def test_a_strangers_class_stands_beside_another_in_one_table(capsys, two):
    code, stdout, _ = run(capsys, "compare", "one", "two", *WORDS, "--truth", "marks", "--out", "out", "--json")
    assert code == 0
    got = json.loads(stdout)
    assert set(got) == {"methods"}
    best, corner = got["methods"]
    assert set(best) == ROW
    assert best == {
        **{"method": "brightest:Brightest", "frames": 8, "claimed": 8, "lost": 0, "median_px": 0.0, "p95_px": 0.0},
        **{"median_mm": None, "within": {"5": 8, "15": 8, "30": 8}, "wrong_while_tracking": 0},
    }
    far = np.hypot(*np.array(TIPS).T)
    assert corner["median_px"] == pytest.approx(np.median(far))
    assert corner["within"] == {str(k): 2 * int((far <= k).sum()) for k in (5, 15, 30)}
    assert corner["wrong_while_tracking"] == 2 * int((far > 30).sum())
    out = two / "out"
    assert {"index.html", "compare.json", "compare.csv", "film-strip.png", "tips"} <= {p.name for p in out.iterdir()}
    rows = list(csv.DictReader((out / "compare.csv").read_text().splitlines()))
    assert [(r["clip"], r["method"]) for r in rows] == [
        (clip, m) for clip in ("one", "two") for m in ("brightest:Brightest", "corner:Corner")
    ]
    whole = json.loads((out / "compare.json").read_text())
    assert whole["pairs"][0]["mean_cost_by_clip_difference"] < 0
    assert whole["pairs"][0]["mean_cost_by_clip_difference_ci95"] is None  # two clips are too few
    page = (out / "index.html").read_text()
    assert "brightest:Brightest has the lowest cost, 0.000" in page
    assert 'src="film-strip.png"' in page


def test_what_was_tracked_is_not_tracked_again(capsys, two):
    words = ("compare", "one", "two", *WORDS, "--truth", "marks", "--out", "out", "--json")
    _, first, _ = run(capsys, *words)
    files = sorted((two / "out" / "tips").rglob("tips.csv"))
    made = [p.stat().st_mtime_ns for p in files]
    _, second, _ = run(capsys, *words)
    assert [p.stat().st_mtime_ns for p in files] == made
    assert first == second


def test_without_marks_there_are_claims_and_agreement_only(capsys, two):
    code, stdout, _ = run(capsys, "compare", "one", "two", *WORDS, "--out", "out", "--json")
    assert code == 0
    row = json.loads(stdout)["methods"][0]
    assert (row["claimed"], row["median_px"], row["wrong_while_tracking"]) == (8, None, None)
    assert row["within"] == {"5": None, "15": None, "30": None}
    pair = json.loads((two / "out" / "compare.json").read_text())["pairs"][0]
    assert (pair["both_claim"], pair["one_claims"]) == (8, 0)
    assert 0 <= pair["agree"] < 1
    assert "Nobody marked these clips" in (two / "out" / "index.html").read_text()


def test_opencvs_trackers_are_told_the_first_mark(capsys, two):
    words = ("--methods", "lk,brightest:Brightest", "--jobs", "1", "--truth", "marks", "--out", "out", "--json")
    code, _, stderr = run(capsys, "compare", "one", "two", *words)
    assert code == 0, stderr
    rows = list(csv.DictReader((two / "out" / "compare.csv").read_text().splitlines()))
    assert {(r["method"], r["given"]) for r in rows} == {
        ("lk", "click on the first mark"),
        ("brightest:Brightest", "nothing"),
    }


def test_without_a_click_and_marks_they_are_a_row_with_the_reason(capsys, two):
    words = ("--methods", "csrt,brightest:Brightest", "--jobs", "1", "--out", "out")
    code, _, stderr = run(capsys, "compare", "one", *words)
    assert code == 2
    assert "method csrt needs a click: give --start" in stderr
    rows = list(csv.DictReader((two / "out" / "compare.csv").read_text().splitlines()))
    assert [(r["method"], r["tracking"], r["lost"]) for r in rows] == [
        ("csrt", "0", "4"),
        ("brightest:Brightest", "4", "0"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("one", "--methods", "nothing"), "no tracking method called 'nothing'"),
        (("one", "--methods", ""), "give methods, each once"),
        (("one", "--methods", "df,df"), "give methods, each once"),
        (("one", "two", "--methods", "auto", "--truth", "marks/one.csv"), "1 tables of marks for 2 clips"),
        (("none.mp4", "--methods", "brightest:Brightest"), "none.mp4 does not exist"),
        (("one", "--methods", "brightest:Brightest", "--truth", "beyond.csv"), "marks frame 7, but the clip has 4"),
        (("one", "--methods", "brightest:Brightest", "--truth", "twice.csv"), "frame 1 stands in line 2, too"),
        (("one", "--methods", "brightest:Brightest", "--truth", "half.csv"), "tip_x_px and tip_y_px is empty"),
    ],
)
def test_a_mistake_is_one_line(capsys, two, words, said):
    head = "frame,tip_x_px,tip_y_px\n"
    for name, rows in (("beyond", "7,3,3\n"), ("twice", "1,3,3\n1,4,4\n"), ("half", "1,3,\n")):
        (two / f"{name}.csv").write_text(head + rows)
    code, stdout, stderr = run(capsys, "compare", *words, "--jobs", "1", "--out", "out", "--json")
    assert code == 2
    assert said in stderr
    assert one_line(stderr)
    assert stdout == ""


def test_five_lines_of_python_do_the_same(capsys, two):
    from corner import Corner

    table = sonosteer.compare(["one", "two"], ["brightest:Brightest", Corner], "marks")
    table.save("compared")
    run(capsys, "compare", "one", "two", *WORDS, "--truth", "marks", "--out", "out")
    said, typed = (json.loads((two / d / "compare.json").read_text()) for d in ("compared", "out"))
    leave = ("method", "median_ms")
    for a, b in zip(said["methods"], typed["methods"], strict=True):
        assert {k: v for k, v in a.items() if k not in leave} == {k: v for k, v in b.items() if k not in leave}
    assert [row["method"] for row in table.rows] == ["brightest:Brightest", "Corner"]
    assert table.rows[0]["median_px"] == 0.0
    assert median_error_px(table.scored.scores("Corner")) > 10
    with pytest.raises(InputError, match="no clip"):
        sonosteer.compare(7, ["brightest:Brightest"])


@pytest.mark.slow
def test_ten_simulated_clips_give_the_tracking_studys_figures():
    """The study and `compare` run the same methods on the same clips, and must find the same errors."""
    from sonosteer.sim.scenes import make_scene, planned_angles
    from sonosteer.studies.tracking.trials import TrackingTrial, run_tracking_trial

    methods = {"kf+f": "kf+f", "csrt": "csrt", "lk": "lucas-kanade"}
    for k in range(10):
        given = {"speed_mm_s": 15.0, "end_mm": 14.0, "angle_deg": (35.0, 45.0)[k % 2]}
        scene = make_scene("in-plane-linear/validation", 60 + k, **given)
        studied = run_tracking_trial(TrackingTrial(f"c{k}", "paper", scene, tuple(methods.values()), 1))
        clip = sonosteer.simulate("in-plane-linear/validation", 60 + k, **given)
        hint = sonosteer.Hint(angle_rad=planned_angles(scene), start_px=clip.truth(0).tip_px)
        table = sonosteer.compare(clip, list(methods), hint=hint)
        for ours, theirs in methods.items():
            run_ = studied["methods"][theirs]["runs"][0]
            (score,) = table.scored.scores(ours)
            assert int(score.claimed.sum()) == run_["claimed"]
            assert score.error_mm[score.compared] == pytest.approx(np.hypot(run_["en"], run_["ep"]), abs=2e-4)


def test_a_simulated_clip_brings_its_own_truth(capsys, tmp_path):
    words = ("--methods", "brightest:Brightest,csrt", "--out", tmp_path / "out", "--json")
    code, stdout, stderr = run(capsys, "compare", SHORT, *words)
    assert code == 0, stderr
    csrt = json.loads(stdout)["methods"][1]
    assert csrt["median_mm"] == pytest.approx(csrt["median_px"] * 0.1, rel=0.5)
    assert csrt["lost"] + csrt["claimed"] == csrt["frames"]
