"""What `from sonosteer import ...` gives: one import, plain arguments, results that can be looked at and saved."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sonosteer
from sonosteer import Frame, Hint, Lost, Spacing, TipEstimate, Track
from sonosteer.core.errors import InputError, MissingExtraError
from sonosteer.recording.tips import read_tips

STUB = Path(sonosteer.__file__).with_suffix(".pyi")


@pytest.fixture(scope="module")
def clip():
    return sonosteer.simulate(
        "in-plane-linear/validation", 3, enters="left", angle_deg=40.0, speed_mm_s=15.0, frames=slice(0, 30)
    )


@pytest.fixture(scope="module")
def result(clip):
    return sonosteer.track(clip, "kf+f", angle_deg=(35, 45), enters="left")


def test_import_is_light_and_every_name_is_there():
    words = "import sys, sonosteer; assert not {'numpy', 'cv2', 'numba', 'scipy', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", words], check=True, timeout=60)
    assert set(dir(sonosteer)) >= {"track", "simulate", "evaluate", "compare", "draw", "testing"}
    for name in sonosteer.__all__:
        assert getattr(sonosteer, name) is not None
    assert sorted(sonosteer.__all__) == sorted(
        line.strip(' ",') for line in STUB.read_text().split("[")[1].split("]")[0].splitlines() if line.strip()
    )
    with pytest.raises(AttributeError):
        sonosteer.no_such_name  # noqa: B018


def test_a_result_is_arrays_with_a_row_a_frame(clip, result):
    assert len(result) == len(clip) == 30
    assert result.tip_mm.shape == result.tip_px.shape == (30, 2)
    assert np.array_equal(result.frame_index, np.arange(30))
    assert np.array_equal(result.times_s, [f.time_s for f in clip.frames()])
    assert {type(e) for e in result} == {Lost, TipEstimate}
    for estimate, state, px, mm in zip(result, result.states, result.tip_px, result.tip_mm, strict=True):
        assert state is estimate.state
        if isinstance(estimate, Lost):
            assert np.isnan(px).all()
        else:
            assert tuple(px) == estimate.tip_px
            assert tuple(mm) == clip.info.spacing.to_mm(estimate.tip_px)
    assert "30 frames" in repr(result)
    assert "<table>" in result._repr_html_()


def test_a_result_is_what_the_loop_says(clip, result):
    tracker = sonosteer.make_tracker("kf+f")
    state = tracker.start(Hint((math.radians(35), math.radians(45)), "left"))
    for frame, said in zip(clip.frames(), result, strict=True):
        state, estimate = tracker.step(state, frame)
        assert type(estimate) is type(said)
        if isinstance(estimate, TipEstimate):
            assert (estimate.tip_px, estimate.angle_rad) == (said.tip_px, said.angle_rad)


def test_a_result_is_json_and_files(clip, result, tmp_path):
    said = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert said["method"] == "kf+f"
    assert said["counts"]["frames"] == len(said["tips"]) == 30
    assert said["configuration"]["tip"]["sigma_max"] == 300.0
    assert said["tips"][0]["tip_px"] is None
    out = result.save(tmp_path / "a" / "b")
    assert [r.state for r in read_tips(out / "tips.csv")] == [s.value for s in result.states]
    assert json.loads((out / "summary.json").read_text())["versions"]["numpy"]
    clip.save(tmp_path / "clip.mp4", tmp_path / "truth.csv")
    for tips in (out, out / "tips.csv", result):
        assert sonosteer.evaluate(tips, tmp_path / "truth.csv")["mean_mm"] == pytest.approx(
            sonosteer.evaluate(result).mean_mm, abs=2e-3
        )
    assert sonosteer.track(tmp_path / "clip.mp4", "kf+f", enters="left").source.frames == 30


def test_results_become_tables_of_pandas(result, clip):
    pd = pytest.importorskip("pandas", reason="pandas is not installed: pip install 'sonosteer[pandas]'")
    table = sonosteer.compare(clip, ["kf+f"], enters="left").to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 1
    assert result.to_pandas()["state"].tolist() == [s.value for s in result.states]


def test_without_pandas_one_line_says_how_to_get_it(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sonosteer\[pandas\]'"):
        result.to_pandas()


def test_a_path_a_source_an_array_and_a_loop_are_tracked_alike(clip, result):
    known = {"angle_deg": (35, 45), "enters": "left"}
    given = {
        "array": (clip.pixels, {"spacing_mm": 0.1, "rate_hz": 20.0}),
        "array of 16 bit": (clip.pixels.astype(np.uint16) * 257, {"spacing_mm": (0.1, 0.1)}),
        "frames": (list(clip.frames()), {}),
        "generator": ((f for f in clip.frames()), {}),
        "images": ((f.pixels for f in clip.frames()), {"spacing_mm": Spacing(0.1, 0.1)}),
    }
    for what, (source, more) in given.items():
        got = sonosteer.track(source, "kf+f", **known, **more)
        assert got.states == result.states, what
        assert np.nanmax(np.abs(got.tip_px - result.tip_px)) < 1.0, what


def test_what_is_known_may_be_a_hint_or_its_parts(clip, result):
    hint = Hint((math.radians(35), math.radians(45)), "left")
    assert np.array_equal(sonosteer.track(clip, "kf+f", hint=hint).tip_px, result.tip_px, equal_nan=True)
    with pytest.raises(InputError, match="either `hint`"):
        sonosteer.track(clip, "kf+f", hint=hint, enters="left")
    part = sonosteer.track(clip, "kf+f", hint=hint, frames=slice(20, 25))
    assert part.frame_index.tolist() == [20, 21, 22, 23, 24]
    assert sonosteer.track(clip, "kfv+f", hint=hint, velocity_mm_s=15, frames=(0, 3)).counts["frames"] == 3


MISTAKES = {
    "no scale, which the method needs": (
        {"method": "kf+f", "enters": "left"},
        "the scale is unknown: give `spacing_mm`",
    ),
    "scale of a house": ({"spacing_mm": 20}, "no ultrasound image; check `spacing_mm`"),
    "scale of nothing": ({"spacing_mm": 0}, "positive number"),
    "scale of a word": ({"spacing_mm": "wide"}, "`spacing_mm` is 'wide'"),
    "frames upside down": ({"spacing_mm": 0.1, "frames": slice(4, 2)}, "`frames` is slice"),
    "frames beyond": (
        {"spacing_mm": 0.1, "frames": slice(70, None)},
        "`frames` starts at 70, but memory has 30 frames",
    ),
    "side": ({"spacing_mm": 0.1, "enters": "below"}, "`enters` is 'below'"),
    "angle": ({"spacing_mm": 0.1, "angle_deg": (40, 30)}, "`angle_deg` is"),
    "click": ({"spacing_mm": 0.1, "start": "here"}, "`start` is 'here'"),
    "method": ({"spacing_mm": 0.1, "method": "kff"}, "did you mean 'kf\\+f'"),
    "setting": ({"spacing_mm": 0.1, "settings": {"mood": 1}}, "there is no setting 'mood'"),
    "hint": ({"spacing_mm": 0.1, "method": "df"}, "give it with `angle_deg`"),
    "speed": ({"spacing_mm": 0.1, "method": "kfv", "enters": "left"}, "give `velocity_mm_s`"),
    "no frames": ({"source": [], "spacing_mm": 0.1}, "there are no frames"),
    "no clip": ({"source": 7}, "int is no clip"),
    "no array": ({"source": np.zeros((4, 4), np.uint8)}, "is no clip"),
    "no images": ({"source": [["a", "b"]], "spacing_mm": 0.1}, "frame 0 is"),
    "no file": ({"source": "nothing.mp4"}, "nothing.mp4 does not exist"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_pythons_words(clip, mistake):
    options, said = MISTAKES[mistake]
    with pytest.raises(InputError, match=said) as e:
        sonosteer.track(**{"source": clip.pixels, **options})
    assert "--" not in str(e.value)
    assert "\n" not in str(e.value)


def test_a_simulated_clip_is_the_same_for_the_same_seed(clip):
    again = sonosteer.simulate(
        "in-plane-linear/validation", 3, enters="left", angle_deg=40.0, speed_mm_s=15.0, frames=slice(0, 30)
    )
    assert np.array_equal(again.pixels, clip.pixels)
    assert [t.tip_px for t in again.truths] == [t.tip_px for t in clip.truths]
    assert isinstance(clip[3], Frame)
    assert clip.truth(3) is clip.truths[3]
    assert clip.scene.angle_deg == 40.0
    with pytest.raises(KeyError):
        clip.truth(30)
    with pytest.raises(InputError, match="no set-up called"):
        sonosteer.simulate("in-plane")


def test_errors_are_measured_against_whatever_holds_the_truth(clip, result):
    errors = sonosteer.evaluate(result)
    assert errors.to_dict() == sonosteer.evaluate(result, clip).to_dict()
    assert errors.to_dict() == sonosteer.evaluate(result, clip.truths).to_dict()
    assert 0 < errors.mean_mm < 3
    assert json.dumps(errors.to_dict(), allow_nan=False)
    assert "mm mean" in repr(errors)
    without = sonosteer.track(clip.pixels, "kf+f", spacing_mm=0.1, enters="left")
    with pytest.raises(InputError, match="`truth` is missing"):
        sonosteer.evaluate(without)
    assert sonosteer.evaluate(without, clip)["frames"] == 30


def test_methods_are_compared_row_by_row(clip, result):
    table = sonosteer.compare(clip, {"theirs": "kf+f", "ours": sonosteer.make_tracker("auto")}, enters="left")
    assert [row["method"] for row in table.rows] == ["theirs", "ours"]
    assert set(table.results) == {"theirs", "ours"}
    assert table.rows[0]["frames"] == 30
    assert json.dumps(table.to_dict(), allow_nan=False)
    assert repr(table).splitlines()[0].split()[:3] == ["method", "frames", "tracked"]
    assert "<table>" in table._repr_html_()
    assert sonosteer.compare(clip, [sonosteer.make_tracker("kf+f")], enters="left").rows[0]["method"] == "kf+f"
    with pytest.raises(InputError, match="`methods` is empty"):
        sonosteer.compare(clip, [])


class Brightest:
    """The tip is the brightest pixel. The state is the number of frames seen."""

    def start(self, hint):
        return 0

    def step(self, state, frame):
        y, x = np.unravel_index(int(frame.grey().argmax()), frame.grey().shape)
        return state + 1, TipEstimate(
            frame_index=frame.index,
            time_s=frame.time_s,
            tip_px=(float(x), float(y)),
            angle_rad=0.5,
            covariance_mm2=None if frame.spacing is None else np.eye(2),
            confidence=1 / (state + 1),
            state=Track.TRACKING,
            entry_px=(0.0, 0.0),
            covariance_px2=np.diag([9.0, 4.0]),
        )


def spots(*places, size=(40, 50)):
    """Pictures with a bright pixel at (x, y)."""
    out = []
    for x, y in places:
        pixels = np.full(size, 10, np.uint8)
        pixels[y, x] = 200
        out.append(pixels)
    return out


def test_without_a_scale_a_result_is_in_pixels(tmp_path):
    result = sonosteer.track(np.stack(spots((3, 4), (30, 20))), Brightest)
    assert (result.spacing, result.tip_mm) == (None, None)
    assert result.tip_px.tolist() == [[3.0, 4.0], [30.0, 20.0]]
    assert "`spacing_mm`" in result.to_dict()["scale"]
    (row, _) = result.rows()
    assert (row.tip_mm, row.sd_along_mm, row.sd_along_px, row.sd_across_px) == (None, None, 3.0, 2.0)
    assert read_tips(result.save(tmp_path) / "tips.csv")[0] == dataclasses.replace(row, angle_deg=28.648)
    marks = tmp_path / "marks.csv"
    marks.write_text("frame,tip_x_px,tip_y_px\n0,3,10\n1,30,20\n")
    for tips in (result, tmp_path):
        errors = sonosteer.evaluate(tips, marks)
        assert (errors.mean_mm, errors.mean_px) == (None, 3.0)
        assert "3.00 px mean" in repr(errors)
    assert sonosteer.evaluate(result, marks, spacing_mm=0.5).mean_mm == 1.5
    table = sonosteer.compare(np.stack(spots((3, 4), (30, 20))), {"mine": Brightest}, marks)
    assert (table.rows[0]["mean_mm"], table.rows[0]["mean_px"]) == (None, 3.0)
    assert "mean_px" in repr(table)
    assert "mean_mm" not in repr(table)


def test_what_is_drawn_without_a_scale_has_its_ellipse_in_pixels():
    (pixels,) = spots((25, 20))
    frame = Frame(pixels, 0, 0.0)
    _, estimate = Brightest().step(0, frame)
    with_claim = sonosteer.draw(frame, dataclasses.replace(estimate, covariance_px2=np.diag([36.0, 16.0])))
    without = sonosteer.draw(frame, dataclasses.replace(estimate, covariance_px2=None))
    assert (with_claim[:30] != without[:30]).any()


def test_a_part_of_the_picture_is_tracked_in_places_of_the_whole():
    images = np.stack(spots((3, 4), (30, 20)))
    images[:, 0, 0] = 255
    result = sonosteer.track(images, Brightest, spacing_mm=0.5, crop=(2, 2, 40, 30))
    assert result.tip_px.tolist() == [[3.0, 4.0], [30.0, 20.0]]
    assert result.tip_mm.tolist() == [[1.5, 2.0], [15.0, 10.0]]
    for crop, said in (
        ((20, 0, 40, 10), "memory: `crop` 20,0,40,10 .* outside the picture, which is 50x40 px"),
        ((0, 0, 0, 10), "1 px or more"),
        ((0, 0, 5), "give \\(x, y, width, height\\) in whole pixels"),
        ((0.5, 0, 5, 5), "in whole pixels"),
        ("left", "in whole pixels"),
    ):
        with pytest.raises(InputError, match=said):
            sonosteer.track(images, Brightest, crop=crop)


def test_stills_are_a_folder_files_or_images(tmp_path):
    import cv2

    places, names = [(3, 4), (20, 10), (5, 30)], ("p1.png", "p2.png", "p10.png")
    images = [image[: 40 - 3 * i] for i, image in enumerate(spots(*places))]
    for name, image in zip(names, images, strict=True):
        cv2.imwrite(str(tmp_path / name), image)
    files = [tmp_path / name for name in reversed(names)]
    for source, named in ((tmp_path, names), (files, names), (images, ()), ((i for i in images), ())):
        result = sonosteer.track(source, Brightest, stills=True)
        assert [e.tip_px for e in result] == places
        assert {e.confidence for e in result} == {1.0}
        assert result.names == named
    with pytest.raises(InputError, match="is 50x37"):
        sonosteer.track(images, Brightest)
    alone = sonosteer.track(tmp_path / "p2.png", Brightest)
    assert (alone.names, alone.rows()[0].name) == (("p2.png",), "p2.png")
    (tmp_path / "p2.png").write_bytes(b"")
    result = sonosteer.track(tmp_path, Brightest, stills=True)
    assert [s.value for s in result.states] == ["tracking", "lost", "tracking"]
    assert result.estimates[1].reason == f"{tmp_path / 'p2.png'} is empty (0 bytes)"
    assert result.counts["bad"] == 1


def test_a_frame_is_drawn_with_what_is_believed_of_it(clip, result):
    picture = sonosteer.draw(clip[25], result.estimates[25], clip.truths[25])
    assert (picture.shape, picture.dtype) == ((*clip[25].pixels.shape, 3), np.uint8)
    assert result.states[25] is not Track.LOST
    assert (picture != np.repeat(clip[25].pixels[..., None], 3, 2)).any()
