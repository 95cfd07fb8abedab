"""needlebench: frozen tracks, honest costs, a leaderboard on which those that know nothing come last."""

import dataclasses
import hashlib
import json
import sys
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.types import Frame, Hint, Lost, TipEstimate, Track
from sonosteer.studies.needlebench import run as bench
from sonosteer.studies.needlebench import tracks as frozen
from sonosteer.studies.needlebench.dummies import AlwaysCentre, AlwaysLost, AtRandom
from sonosteer.studies.needlebench.figures import entries_of, leaderboard, track_rows
from sonosteer.studies.needlebench.freeze import tier_of
from sonosteer.studies.needlebench.real import read_manifest
from sonosteer.studies.needlebench.report import latex, tex
from sonosteer.studies.needlebench.tracks import (
    CLICK_SD,
    GROUPS,
    SCORINGS,
    BenchTrack,
    load_version,
    pack_track,
    priced_digest,
    unpack_track,
)
from sonosteer.studies.needlebench.trials import CLICK, DUMMIES, NOTHING, BenchTrial, run_bench_trial

MINE = """
from sonosteer import Lost, TipEstimate, Track
import cv2, numpy as np


class Mine:
    def start(self, hint):
        return hint.start_px

    def step(self, state, frame):
        _, grey, _, at = cv2.minMaxLoc(cv2.GaussianBlur(frame.grey(), (15, 15), 0))
        tip = state or (float(at[0]), float(at[1]))
        return state, TipEstimate(frame.index, frame.time_s, tip, 0.8, None, 0.5, Track.TRACKING, tip)
"""


def quiet(*_):
    pass


# -- what is frozen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1", "2"])
def test_a_version_is_what_its_hash_says(name):
    version = load_version(name)
    assert version.digest == frozen.VERSION_HASHES[name]
    assert version.tracks_digest == frozen.VERSION_HASHES["1"]
    assert len(version.tracks) == 48
    assert len({t.name for t in version.tracks}) == 48
    assert [t.group for t in version.tracks] == sorted((t.group for t in version.tracks), key=list(GROUPS).index)
    assert all(t.seed >= frozen.FIRST_SEED for t in version.tracks)
    assert all(t.setup.endswith("/test") for t in version.tracks)


def test_a_version_that_was_changed_is_refused(monkeypatch):
    monkeypatch.setitem(frozen.VERSION_HASHES, "1", "0" * 64)
    load_version.cache_clear()
    with pytest.raises(InputError, match="was changed"):
        load_version("1")
    load_version.cache_clear()
    with pytest.raises(InputError, match="no version '7'"):
        load_version("7")


def test_prices_that_were_changed_are_refused(monkeypatch):
    other = dataclasses.replace(SCORINGS["2"], reader_off=0.01)
    assert priced_digest("0", other) != priced_digest("0", SCORINGS["2"])
    monkeypatch.setitem(frozen.SCORINGS, "2", other)
    load_version.cache_clear()
    with pytest.raises(InputError, match="version 2 was changed"):
        load_version("2")
    load_version.cache_clear()


def test_a_hash_does_not_depend_on_how_the_file_is_laid_out():
    packed = {"b": [1, {"d": 2.5, "c": None}], "a": "x"}
    assert frozen.content_digest(packed) == frozen.content_digest(json.loads(json.dumps(packed, indent=3)))
    assert frozen.content_digest(packed) != frozen.content_digest({**packed, "a": "y"})


def test_tracks_go_through_their_file_unchanged():
    for track in load_version().tracks[::7]:
        assert unpack_track(json.loads(json.dumps(pack_track(track)))) == track


def test_needle_free_tracks_have_no_tip_and_all_others_show_theirs():
    for track in load_version().tracks:
        free = track.group == "needle-free"
        assert (track.first_seen is None) == free
        assert (track.click_px is None) == free
        assert all((t is None) for t in track.tips_px) == free
        if not free:
            x, y = track.tips_px[track.first_seen]
            off = np.hypot(track.click_px[0] - x, track.click_px[1] - y) / max(track.size_px)
            assert off < 0.02


def one(group="older", setup="in-plane-linear"):
    return next(t for t in load_version().tracks if t.group == group and t.setup.startswith(setup))


def test_frames_are_still_those_that_were_frozen():
    track = one()
    first = next(iter(track.frames()))
    assert first.size_px == track.size_px
    assert first.time_s == pytest.approx(track.times_s[0])


def test_another_picture_is_noticed():
    track = dataclasses.replace(one(), seed=frozen.FIRST_SEED + 77)
    with pytest.raises(InputError, match="drawn otherwise than it was frozen"):
        next(iter(track.frames()))


@pytest.mark.slow
def test_every_frozen_track_is_drawn_as_it_was():
    for track in load_version().tracks:
        assert next(iter(track.frames())).size_px == track.size_px


@pytest.mark.parametrize(
    ("contrast", "seen", "clutter", "tier"),
    [(12.0, 0.8, 0.02, "clear"), (11.9, 1.0, 0.0, "usual"), (20.0, 0.79, 0.0, "usual"), (6.9, 1.0, 0.0, "hard")],
)
def test_tiers_have_sharp_borders(contrast, seen, clutter, tier):
    assert tier_of(contrast, seen, clutter) == tier
    assert tier_of(20.0, 1.0, 0.081) == "hard"


# -- scores --------------------------------------------------------------------------------------------------


def drawn(name="t", visible=(1, 1, 1, 1), tips=((50.0, 50.0),) * 4, group="clear"):
    tips = tuple(tips)
    return BenchTrack(
        name=name,
        group=group,
        setup="in-the-wild/test",
        seed=1,
        overrides={},
        size_px=(100, 80),
        enters="left",
        times_s=tuple(0.1 * i for i in range(len(tips))),
        tips_px=tips,
        visible=tuple(map(bool, visible)),
        click_px=(50.0, 50.0),
    )


def words(states, tips, begin=0, confidence=None):
    sure = confidence or [None if t is None else 0.5 for t in tips]
    return {"given": [], "begin": begin, "states": states, "tips": tips, "confidence": sure}


def cost(track, said, protocol=NOTHING, version="1"):
    (entry,) = entries_of([track], ["m"], {track.name: {"m": {protocol: said}}}, protocol, SCORINGS[version])
    return entry.cost


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words("tttt", [[50, 50]] * 4), 0.0),
        (words("tccl", [[50, 50], [52.5, 50], [55, 50], None]), (0 + 0.5 + 1 + 0.5) / 4),
        (words("llll", [None] * 4), 0.5),
        (words("tttt", [[90, 50]] * 4), 1.0),
    ],
)
def test_a_claim_costs_its_error_to_the_cap_and_silence_half(said, expected):
    assert cost(drawn(), said) == pytest.approx(expected)


def test_silence_costs_nothing_where_no_tip_can_be_seen_and_a_claim_without_a_needle_all():
    free = drawn(visible=(0,) * 4, tips=(None,) * 4, group="needle-free")
    assert cost(free, words("llll", [None] * 4)) == 0.0
    assert cost(free, words("ttll", [[1, 1], [1, 1], None, None])) == 0.5
    hidden = drawn(visible=(0,) * 4)
    assert cost(hidden, words("llll", [None] * 4)) == 0.0
    assert cost(hidden, words("tttt", [[51.25, 50]] * 4)) == pytest.approx(0.25)


def test_the_frame_of_the_click_has_no_score():
    said = words("ttt", [[90, 50], [50, 50], [50, 50]], begin=1)
    assert cost(drawn(), said, CLICK) == 0.0


@given(
    st.lists(st.tuples(st.sampled_from("rws"), st.booleans()), min_size=8, max_size=8),
    st.lists(st.floats(0.0, 0.0079), min_size=8, max_size=8),
)
@settings(max_examples=100)
def test_silence_everywhere_ranks_below_whoever_is_right_more_often_than_wrong(answers, off):
    """Of the frames whose tip can be seen, and right being as near as a reader could say. The others change nothing."""
    tips = [{"r": [50 + 100 * e, 50], "w": [5, 5], "s": None}[a] for (a, _), e in zip(answers, off, strict=True)]
    said = words("t" + "".join("l" if a == "s" else "t" for a, _ in answers), [[50, 50], *tips])
    track = drawn(visible=(1, *(seen for _, seen in answers)), tips=((50.0, 50.0),) * 9)
    silent = cost(track, words("t" + "l" * 8, [[50, 50]] + [None] * 8), CLICK, "2")
    shown = [a for a, seen in answers if seen]
    if not shown:
        assert silent is None
        return
    assert (cost(track, said, CLICK, "2") < silent) == (shown.count("r") > shown.count("w"))


def test_version_2_takes_off_what_a_reader_may_be_off_by():
    said = words("tttt", [[50.8, 50], [52.8, 50], [58, 50], [50, 50]])
    assert cost(drawn(), said, version="1") == pytest.approx((0.16 + 0.56 + 1 + 0) / 4)
    assert cost(drawn(), said, version="2") == pytest.approx((0 + 0.4 + 1 + 0) / 4)
    assert SCORINGS["2"].reader_off == 2 * CLICK_SD


def test_version_2_prices_hidden_tips_only_where_nothing_is_given():
    track = drawn(visible=(1, 1, 0, 0))
    far, silent = words("tttt", [[50, 50]] * 2 + [[90, 50]] * 2), words("ttll", [[50, 50]] * 2 + [None] * 2)
    assert (cost(track, far, version="2"), cost(track, silent, version="2")) == (0.5, 0.0)
    assert (cost(track, far, CLICK, "2"), cost(track, silent, CLICK, "2")) == (0.0, 0.0)
    assert cost(track, far, CLICK, "1") == pytest.approx(2 / 3)


def test_the_row_says_whether_a_method_is_better_than_silence():
    far = [[90, 50]] * 4
    mixed = [words("tttt", [[50, 50]] * 4 if i % 2 else far) for i in range(6)]
    tracks = [drawn(f"t{i}") for i in range(6)]
    given_ = {"right": [words("tttt", [[50, 50]] * 4)] * 6, "wrong": [words("tttt", far)] * 6, "mixed": mixed}
    given_["always lost"] = [words("llll", [None] * 4)] * 6
    table = {t.name: {m: {NOTHING: each[i]} for m, each in given_.items()} for i, t in enumerate(tracks)}
    nudged = table["t0"]["right"][NOTHING]
    table["t0"]["right"] = {NOTHING: {**nudged, "tips": [[51, 50], *nudged["tips"][1:]]}}  # intervals need some spread
    table["t0"]["wrong"] = {NOTHING: words("tttl", [*far[:3], None])}
    rows = leaderboard(entries_of(tracks, list(given_), table, NOTHING, SCORINGS["2"]))
    assert {r["method"]: r["than silence"] for r in rows} == {
        "right": "better",
        "mixed": "not told apart",
        "wrong": "worse",
        "always lost": "",
    }


def test_another_version_prices_the_same_answers(small, tmp_path, monkeypatch):
    carried_out(tmp_path / "out", "test_needlebench:Right")

    def never(trial):
        raise AssertionError(trial.name)

    monkeypatch.setattr(bench, "run_bench_trial", never)
    first = dataclasses.replace(bench.load_version("2"), name="1", scoring=SCORINGS["1"])
    monkeypatch.setattr(bench, "load_version", lambda name: first)
    summary = carried_out(tmp_path / "out", "test_needlebench:Right", version="1")
    assert summary["prices"] == {"reader_off": 0.0, "hidden_after_click": True}


def board(*said):
    tracks = [drawn(f"t{i}") for i in range(6)]
    methods = [f"m{i}" for i in range(len(said))]
    table = {t.name: {m: {NOTHING: s, CLICK: None} for m, s in zip(methods, said, strict=True)} for t in tracks}
    return tracks, methods, table


def test_the_best_is_first_and_who_refuses_is_not_in_the_table():
    tracks, methods, table = board(
        words("llll", [None] * 4),
        words("tttt", [[51, 50]] * 4),
        {"refused": "needs a click"},
        words("tttt", [[50, 50]] * 4),
    )
    entries = entries_of(tracks, methods, table, NOTHING, SCORINGS["1"])
    assert [e.method for e in entries] == ["m3", "m1", "m0", "m2"]
    rows = leaderboard(entries)
    assert [(r["rank"], r["method"], r["cost"]) for r in rows] == [
        (1, "m3", "0.000"),
        (2, "m1", "0.200"),
        (3, "m0", "0.500"),
    ]
    assert rows[0]["first right, s"] == "0.00 (6 of 6)"
    assert rows[2]["first right, s"] == "- (0 of 6)"
    assert len(track_rows(tracks, {NOTHING: entries, CLICK: []})) == 6


def test_a_table_for_a_paper_holds_what_latex_can_read():
    assert tex("kf_1 & 50 % to 60") == r"kf\_1 \& 50 \%--60" or tex("50 % to 60") == r"50 \%--60"
    tracks, methods, table = board(words("tttt", [[50, 50]] * 4))
    rows = leaderboard(entries_of(tracks, methods, table, NOTHING, SCORINGS["1"]))
    text = latex({NOTHING: rows}, {"version": "1", "digest": "ab"})
    assert text.count(r"\\") == 3
    assert text.startswith("% needlebench version 1")
    assert all(line.count("&") == 7 for line in text.splitlines() if line.startswith("m0"))


# -- those that know nothing ---------------------------------------------------------------------------------


def test_three_trackers_know_nothing_and_say_so_every_time():
    frame = Frame(np.zeros((80, 100), np.uint8), 3, 0.3)
    assert isinstance(AlwaysLost().step(None, frame)[1], Lost)
    assert AlwaysCentre().step(None, frame)[1].tip_px == (49.5, 39.5)
    a, b = (AtRandom().step(AtRandom().start(Hint()), frame)[1] for _ in range(2))
    assert a.tip_px == b.tip_px
    assert AtRandom(seed=1).step(None, frame)[1].tip_px != a.tip_px


@lru_cache(maxsize=1)
def known():
    """Pixels of the first frames of one track, and the tip in each."""
    return {f.pixels.tobytes(): tip for f, tip in zip(one().frames(), one().tips_px[:3], strict=False)}


class Right:
    """Knows the truth of one track, and says nothing of others."""

    def start(self, hint):
        return None

    def step(self, state, frame):
        tip = known().get(frame.pixels.tobytes())
        if tip is None:
            return state, Lost(frame.index, frame.time_s, "never seen")
        return state, TipEstimate(frame.index, frame.time_s, tip, 0.8, None, 0.5, Track.TRACKING, tip)


@pytest.fixture
def small(monkeypatch):
    """Two tracks of three frames."""
    tracks = (
        one(),
        next(t for t in load_version().tracks if t.name.startswith("in-plane-linear") and t.group == "needle-free"),
    )
    version = dataclasses.replace(load_version(), tracks=tracks)
    monkeypatch.setattr(bench, "load_version", lambda name: version)
    monkeypatch.setattr(bench, "QUICK_FRAMES", 3)
    return tracks


def carried_out(out, *methods, **more):
    return bench.run_needlebench(out=out, methods=methods, quick=True, executor="serial", progress=quiet, **more)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_entry.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_entry:Mine"
    sys.modules.pop("my_entry", None)


def test_a_strangers_class_of_ten_lines_takes_part(small, mine, tmp_path):
    summary = carried_out(tmp_path / "out", mine)
    rows = {p: {r["method"]: r for r in rows} for p, rows in summary["leaderboards"].items()}
    assert set(rows[NOTHING]) == {mine, *DUMMIES}
    assert rows[NOTHING][mine]["rank"] == 1
    assert float(rows[CLICK][mine]["cost"]) < float(rows[CLICK]["random"]["cost"])  # it stays at the click
    for name in ("leaderboard.html", "README.md", "leaderboard.tex", "tracks.csv", "leaderboard-one-click.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    assert "Quick run" in (tmp_path / "out" / "leaderboard.html").read_text()


def test_those_that_know_nothing_come_last(small, tmp_path):
    summary = carried_out(tmp_path / "out", "test_needlebench:Right")
    for protocol in (NOTHING, CLICK):
        order = [r["method"] for r in summary["leaderboards"][protocol]]
        assert order[0] == "test_needlebench:Right"
        assert set(order[1:]) == set(DUMMIES)
    assert summary["leaderboards"][NOTHING][0]["cost"] == "0.000"


def test_what_is_done_is_not_done_again_and_gives_the_same_table(small, tmp_path, monkeypatch):
    first = carried_out(tmp_path / "out", "test_needlebench:Right")
    page = (tmp_path / "out" / "leaderboard.html").read_bytes()

    def never(trial):
        raise AssertionError(trial.name)

    monkeypatch.setattr(bench, "run_bench_trial", never)
    assert carried_out(tmp_path / "out", "test_needlebench:Right") == first
    assert (tmp_path / "out" / "leaderboard.html").read_bytes() == page
    with pytest.raises(AssertionError):
        carried_out(tmp_path / "out", "om")


def test_a_stopped_run_goes_on_behind_its_last_track(small, tmp_path, monkeypatch):
    calls = []

    def once(trial):
        calls.append(trial.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_bench_trial(trial)

    monkeypatch.setattr(bench, "run_bench_trial", once)
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path / "out", "test_needlebench:Right")
    carried_out(tmp_path / "out", "test_needlebench:Right")
    assert len(calls) == 3
    assert calls[1] == calls[2] != calls[0]


def test_grey_levels_of_another_processor_move_no_rank(small, tmp_path, monkeypatch):
    before = carried_out(tmp_path / "a", "kf+f")
    plain = BenchTrack.frames

    def noisy(self):
        rng = np.random.default_rng(0)
        for f in plain(self):
            shifted = f.pixels.astype(int) + rng.integers(-1, 2, f.pixels.shape)
            yield dataclasses.replace(f, pixels=np.clip(shifted, 0, 255).astype(np.uint8))

    monkeypatch.setattr(BenchTrack, "frames", noisy)
    after = carried_out(tmp_path / "b", "kf+f")
    for protocol in (NOTHING, CLICK):
        a, b = before["leaderboards"][protocol], after["leaderboards"][protocol]
        assert [r["method"] for r in a] == [r["method"] for r in b]
        assert all(abs(float(x["cost"]) - float(y["cost"])) < 0.02 for x, y in zip(a, b, strict=True))


def test_who_needs_more_is_given_it_and_the_table_says_so(small):
    said = run_bench_trial(BenchTrial(small[0], ("kfv+f", "csrt", "df"), 3))
    assert said["kfv+f"][CLICK]["given"] == ["scale", "speed"]
    assert said["df"][CLICK]["given"] == ["scale", "side"]
    assert said["csrt"][CLICK]["given"] == []
    assert "click" in said["csrt"][NOTHING]["refused"]
    assert "refused" in said["df"][NOTHING]


@pytest.mark.parametrize(
    ("methods", "said"), [(["always lost"], "takes part in every run"), (["none"], "no tracking method called 'none'")]
)
def test_an_entrant_that_cannot_be_is_one_line(small, tmp_path, methods, said):
    with pytest.raises(InputError, match=said):
        carried_out(tmp_path / "out", *methods)


# -- real tracks ---------------------------------------------------------------------------------------------


@pytest.fixture
def real(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path / "real"
    folder.mkdir()
    rng = np.random.default_rng(0)
    path = folder / "clip.tif"
    cv2.imwritemulti(str(path), [rng.integers(0, 255, (48, 64), np.uint8) for _ in range(5)])
    (folder / "m.csv").write_text("frame,tip_x_px,tip_y_px,uncertainty_px\n1,10,12,3\n3,20,12,3\n")
    digests = {k: hashlib.sha256((folder / f).read_bytes()).hexdigest() for k, f in (("s", "clip.tif"), ("m", "m.csv"))}
    manifest = f"""
[[track]]
name = "own-1"
source = "clip.tif"
sha256 = "{digests["s"]}"
marks = "m.csv"
marks_sha256 = "{digests["m"]}"
licence = "MIT"
origin = "https://example.org"
"""
    (folder / "manifest.toml").write_text(manifest)
    return folder


def test_real_tracks_are_scored_on_their_marks_alone(real):
    (track,) = read_manifest(real)
    assert (track.first_seen, track.click_px, track.size_px) == (1, (10.0, 12.0), (64, 48))
    said = run_bench_trial(BenchTrial(track, ("always centre", "kf")))
    assert len(said["always centre"][NOTHING]["tips"]) == 5
    assert "needs a scale" in said["kf"][CLICK]["refused"]
    (entry,) = entries_of([track], ["always centre"], {"own-1": said}, NOTHING, SCORINGS["2"])
    assert entry.frozen == []  # they change no rank
    (score,) = entry.scores["real"]
    assert score.seen.sum() == 2
    (clicked,) = entries_of([track], ["always centre"], {"own-1": said}, CLICK, SCORINGS["2"])
    assert clicked.scores["real"][0].seen.sum() == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "own-1"', "", "says no name"),
        ('sha256 = "', 'sha256 = "0', "has the SHA-256"),
        ("clip.tif", "other.tif", "there is no file"),
        ("licence", "license", "says no licence"),
        ("origin", "frames = [7, 9]\norigin", "frames 7 to 9 are not in"),
        ("origin", "needle = false\norigin", "has marks"),
        ("origin", 'enters = "below"\norigin', "left, right and top"),
        ("[[track]]", "[tracks]", "names no track"),
    ],
)
def test_a_manifest_that_is_wrong_is_one_line(real, old, new, said):
    path = real / "manifest.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_manifest(real)


def test_a_folder_without_a_manifest_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"has no manifest\.toml"):
        read_manifest(tmp_path)
