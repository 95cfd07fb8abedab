"""Chains of transforms: named or unambiguous, never guessed, and the tip in world mm at the end of them."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_clips import pictures, write_meta

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing, rigid
from sonosteer.core.types import Lost, TipEstimate, Track
from sonosteer.recording.tips import WORLD_COLUMNS, TipsWriter, read_tips, write_tips_parquet
from sonosteer.sources.opening import open_source
from sonosteer.sources.poses import image_in_mm, parse_poses, place_in

PIXELS = "0.2 0 0 5 0 0.1 0 -3 0 0 0.15 1 0 0 0 1"  # of a picture of 0.2 x 0.1 mm per pixel


def sequence(tmp_path, *, spacing=(0.2, 0.1, 1.0), **transforms):
    keys = {}
    for i in range(3):
        for name, text in transforms.items():
            keys[f"Seq_Frame{i:04d}_{name}Transform"] = text.format(i)
            keys[f"Seq_Frame{i:04d}_{name}TransformStatus"] = "OK"
    return write_meta(tmp_path / "a.mha", pictures(3), spacing=spacing, **keys)


MOVED = "1 0 0 {} 0 1 0 0 0 0 1 0 0 0 0 1"


def test_a_probe_without_its_calibration_is_no_pose_of_the_picture(tmp_path):
    source = open_source(sequence(tmp_path, ProbeToTracker=MOVED))
    assert source.info.world is None
    assert all(f.T_world_image is None for f in source.frames())
    (note,) = source.info.notes
    assert "ProbeToTracker" in note
    assert "`poses` names the chain" in note


def test_several_ways_to_the_world_are_not_chosen_from(tmp_path):
    path = sequence(tmp_path, ImageToReference=MOVED, ImageToTracker=MOVED)
    assert open_source(path).info.world is None
    chosen = open_source(path, poses="ImageToTracker")
    assert chosen.info.world == "Tracker"
    assert [f.T_world_image[0, 3] for f in chosen.frames()] == [0.0, 1.0, 2.0]


def test_the_only_pose_of_the_picture_is_taken_and_pixels_become_millimetres(tmp_path):
    source = open_source(sequence(tmp_path, ImageToTracker=PIXELS))
    frame = next(iter(source.frames()))
    tip = source.info.spacing.to_mm((10.0, 20.0))
    at = frame.T_world_image @ [*tip, 0.0, 1.0]
    assert np.allclose(at[:3], [0.2 * 10 + 5, 0.1 * 20 - 3, 1.0])


def test_a_chain_ends_where_its_matrices_say(tmp_path):
    path = sequence(tmp_path, ProbeToTracker=MOVED, TrackerToReference="0 -1 0 0 1 0 0 0 0 0 1 7 0 0 0 1")
    (tmp_path / "c.txt").write_text(PIXELS.replace(" ", "\n"))
    source = open_source(path, poses=f"ImageToProbe={tmp_path}/c.txt,ProbeToTracker,TrackerToReference")
    assert source.info.world == "Reference"
    frame = list(source.frames())[2]
    at = frame.T_world_image @ [2.0, 2.0, 0.0, 1.0]
    x, y = 2.0 + 5 + 2, 2.0 - 3
    assert np.allclose(at[:3], [-y, x, 1.0 + 7])


def test_the_scale_that_a_file_lacks_is_that_of_its_poses(tmp_path):
    source = open_source(sequence(tmp_path, spacing=(1.0, 1.0, 1.0), ImageToTracker=PIXELS))
    assert source.info.spacing == Spacing(0.2, 0.1)


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("ProbeToTracker", "begins at Probe, but the tip is in the Image"),
        ("ImageToProbe,TrackerToReference", "ImageToProbe ends in Probe, but TrackerToReference begins in Tracker"),
        ("ImageToProbe,ProbeToTracker", "has no transform ImageToProbe; there are: ProbeToTracker"),
        ("Tracker", "name transforms such as ImageToProbe"),
        ("ImageToProbe=none.txt", "none.txt cannot be read"),
        ("", "name transforms"),
    ],
)
def test_a_chain_that_does_not_hold_together_is_one_line(tmp_path, chain, said):
    with pytest.raises(InputError, match=said):
        open_source(sequence(tmp_path, ProbeToTracker=MOVED), poses=chain)


@pytest.mark.parametrize("text", ["1 2 3", "a b", " ".join(["0"] * 16), " ".join(["nan"] * 16)])
def test_a_calibration_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(InputError, match=r"c\.txt"):
        parse_poses(f"ImageToProbe={tmp_path}/c.txt")


def test_a_calibration_of_another_scale_is_refused(tmp_path):
    path = sequence(tmp_path, ImageToTracker=PIXELS)
    with pytest.raises(InputError, match=r"is 0\.2 x 0\.1 mm in the world, but the scale is 0\.3"):
        list(open_source(path, spacing=Spacing(0.3, 0.3)).frames())


def test_a_video_has_no_poses(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match="has no poses"):
        open_source(tmp_path / "a.mp4", poses="ImageToTracker")


@given(st.floats(-3.0, 3.0), st.floats(0.01, 0.9), st.floats(0.01, 0.9), st.tuples(*[st.floats(-100, 100)] * 3))
def test_a_matrix_from_pixels_and_one_from_millimetres_say_the_same(angle, x_mm, y_mm, offset):
    c, s = math.cos(angle), math.sin(angle)
    T = rigid(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), offset)
    of_pixels = T @ np.diag([x_mm, y_mm, 1.0, 1.0])
    assert np.allclose(image_in_mm(of_pixels, Spacing(x_mm, y_mm), "a"), T, atol=1e-9)
    assert np.allclose(image_in_mm(T, Spacing(x_mm, y_mm), "a"), T)


def test_a_place_of_the_world_comes_back_to_its_pixel_in_both_axes(tmp_path):
    source = open_source(sequence(tmp_path, ImageToTracker=PIXELS))
    frame = list(source.frames())[1]
    x, y, z = (frame.T_world_image @ [*source.info.spacing.to_mm((11.0, 21.0)), 0.0, 1.0])[:3].tolist()
    place = place_in(source)
    assert place(1, (x, y, z), "RAS") == pytest.approx((11.0, 21.0))
    assert place(1, (-x, -y, z), "LPS") == pytest.approx((11.0, 21.0))
    assert place(9, (x, y, z), "RAS") is None
    with pytest.raises(InputError, match="off its picture"):
        place(1, (x, y, z + 5), "RAS")


def test_without_poses_a_place_is_in_millimetres_of_the_picture(tmp_path):
    place = place_in(open_source(sequence(tmp_path)))
    assert place(0, (2.2, 2.1, 0.0), "LPS") == pytest.approx((11.0, 21.0))
    assert place(0, (-2.2, -2.1, 0.0), "RAS") == pytest.approx((11.0, 21.0))


def estimate(i, x, y):
    return TipEstimate(i, 0.1 * i, (x, y), 0.5, np.eye(2), 0.9, Track.TRACKING, (0.0, 0.0))


finite = st.floats(-1000, 1000)


@given(st.lists(st.none() | st.tuples(finite, finite), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_world_columns_and_parquet_come_back_exactly(tmp_path_factory, tips, scaled, world):
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("t")
    T = rigid(np.eye(3), (1.0, 2.0, 3.0))
    with TipsWriter(folder / "tips.csv", Spacing(0.2, 0.1) if scaled else None, world=world) as out:
        for i, tip in enumerate(tips):
            out.add(Lost(i, 0.1 * i, "gone") if tip is None else estimate(i, *tip), T if world and i % 2 else None)
    rows = read_tips(folder / "tips.csv")
    head = next(csv.reader((folder / "tips.csv").read_text().splitlines()))
    assert (set(WORLD_COLUMNS) <= set(head)) == world
    for row, tip in zip(rows, tips, strict=True):
        if world and scaled and row.frame % 2 and tip is not None:
            assert row.tip_world_mm == pytest.approx((0.2 * tip[0] + 1, 0.1 * tip[1] + 2, 3.0), abs=1e-3)
        else:
            assert row.tip_world_mm is None
    write_tips_parquet(folder / "tips.parquet", folder / "tips.csv")
    assert read_tips(folder / "tips.parquet") == rows
