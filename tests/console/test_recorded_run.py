import cv2
import numpy as np
import pytest
from written_runs import FRAMES, HELD, STOPPED, TARGET, picture, write_run

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.recorded_run import RecordedRun, word_of
from sonosteer.core.errors import InputError
from sonosteer.core.types import Command


@pytest.fixture
def run(tmp_path):
    made = RecordedRun(write_run(tmp_path / "recording.mcap"))
    yield made
    made.close()


def test_all_that_was_said_is_there_by_time(run):
    parts = run.parts()
    assert [row[0] for row in parts["frames"]] == list(range(FRAMES))
    assert all(row[2:] == ["used", True] for row in parts["frames"])
    assert len(parts["estimates"]) == len(parts["decisions"]) == FRAMES
    known_s, captured_s, row = parts["estimates"][3]
    assert (known_s, captured_s) == pytest.approx((0.35, 0.3))
    assert row == [3, "lost", "behind a bone"]
    assert parts["decisions"][0][-1] == list(TARGET)
    assert parts["events"] == [[0.0, "the gate starts"]]


def test_refusals_and_stops_are_spans_with_their_reasons(run):
    words = [(word, rule) for _, _, word, rule, _ in run.parts()["spans"]]
    assert words == [("cleared", ""), ("held", "tip sd"), ("cleared", ""), ("stopped", "stop")]
    held, stopped = run.parts()["spans"][1], run.parts()["spans"][3]
    assert held[:2] == pytest.approx(HELD, abs=0.021)
    assert held[4] == "tip sd 3.5 mm is above 3 mm"
    assert stopped[0] == pytest.approx(STOPPED, abs=0.021)


def test_the_curve_has_no_speed_while_nothing_is_cleared(run):
    for time_s, speed, depth, sd, away in run.parts()["curve"]:
        held = HELD[0] <= time_s < HELD[1] or time_s >= STOPPED
        assert speed == (0.0 if held else 10.0)
        assert depth == pytest.approx(5.0 + time_s, abs=0.11)
        if time_s > 0.5:
            assert sd == pytest.approx(0.5)
            assert 0.0 < away < 30.0


@pytest.mark.parametrize("exact", [True, False])
def test_each_picture_is_that_of_its_frame(run, exact):
    for k in (7, 0, FRAMES - 1):
        shown = run.picture(k, exact=exact)
        pixels = cv2.imdecode(np.frombuffer(shown.payload, np.uint8), cv2.IMREAD_UNCHANGED)
        assert shown.kind == ("png" if exact else "jpeg")
        assert np.abs(pixels.astype(int) - picture(k)).max() <= (0 if exact else 40)
    assert run.about()["size_px"] == [100, 80]


def test_a_run_without_pictures_says_so(tmp_path):
    run = RecordedRun(write_run(tmp_path / "recording.mcap", pictures=False))
    assert run.about()["pictures"] == 0
    assert run.picture(2, exact=False).wrong == "the picture of this frame was not recorded"
    run.close()


@pytest.mark.parametrize("part", [0.5, 0.999])
def test_a_recording_that_was_cut_is_shown_as_far_as_it_counts_and_says_so(tmp_path, part):
    path = write_run(tmp_path / "recording.mcap")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    run = RecordedRun(path)
    assert "cut off" in run.about()["cut"]
    assert len(run.frames) == run.about()["frames"] <= FRAMES
    run.close()


def test_what_is_no_recording_is_one_line(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"no recording at all")
    with pytest.raises(InputError, match="is no recording") as said:
        RecordedRun(tmp_path / "a.mcap")
    assert "\n" not in str(said.value)


def test_a_policy_that_stops_and_an_order_that_was_bounded_have_words():
    order = Command(expires_at_s=1.0, insertion_speed_mm_s=5.0, insertion_angle_rad=0.5)
    cleared = {"_type": "Cleared", "command": order, "bounded": ["speed 5 mm/s instead of 9: near the end"]}
    assert word_of({"verdict": cleared})[0] == "bounded"
    assert word_of({"verdict": cleared | {"command": Command(expires_at_s=1.0, stop=True)}})[0] == "held"
    assert word_of({"verdict": cleared, "stop": "pressed"}) == ("stopped", "stop", "pressed")
