"""Stored stills: what lies where, what is kept, and what a damaged shard says."""

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.types import Frame
from sonosteer.datasets import make_stills
from sonosteer.datasets.make_stills import draw_stills
from sonosteer.datasets.stills import STILL_FIELDS, STORED_POINTS, STORED_PX, Stills, load_stills, shard_path
from sonosteer.sim.wild import wild_still

SIZES = ((272, 522), (673, 450), (90, 120))  # rows and columns: reduced, reduced, enlarged
NO_NEEDLE = SimpleNamespace(tip_px=None, shaft_px=(), shaft_seen=(), width_px=None, visible=False)


def dotted(rows, columns, x, y):
    """A dark picture with a bright dot."""
    picture = np.full((rows, columns), 20, np.uint8)
    cv2.circle(picture, (round(x * 16), round(y * 16)), 8 * 16, 240, -1, cv2.LINE_AA, 4)
    return Frame(picture, 0, 0.0)


def dotted_still(seed, split):
    """A still whose seed is in the tip's place. Every fourth has no needle, every fourth one that is not drawn."""
    rows, columns = SIZES[seed % len(SIZES)]
    tip = 30.0 + seed, 40.5
    frame, earlier = dotted(rows, columns, *tip), dotted(rows, columns, tip[0], 60.0)
    if seed % 4 == 3:
        return frame, earlier, NO_NEEDLE
    shaft = tuple((tip[0] - k, tip[1] + 2 * k) for k in range(STORED_POINTS))
    truth = SimpleNamespace(
        tip_px=tip, shaft_px=shaft, shaft_seen=(True,) * 5 + (False,) * 11, width_px=6.0, visible=seed % 2 == 0
    )
    if seed % 4 == 2:
        truth.shaft_px, truth.shaft_seen, truth.width_px = (), (), None
    return frame, earlier, truth


@pytest.fixture
def small(monkeypatch):
    """Shards of four stills that cost nothing. Gives the seeds that were drawn."""
    drawn = []

    def still(seed, split):
        drawn.append((split, seed))
        return dotted_still(seed, split)

    monkeypatch.setattr(make_stills, "SHARD", 4)
    monkeypatch.setattr(make_stills, "wild_still", still)
    return drawn


@pytest.fixture
def one_still(small, monkeypatch, tmp_path):
    """The bytes of a shard of one still."""
    monkeypatch.setattr(make_stills, "SHARD", 1)
    draw_stills(tmp_path / "one", "train", range(1), executor="serial")
    return shard_path(tmp_path / "one", "train", 0).read_bytes()


def centre_of_light(picture):
    weight = np.clip(picture.astype(float) - 130, 0, None)
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()


def test_places_and_sizes_are_those_of_the_stored_picture(small, tmp_path):
    draw_stills(tmp_path, "train", range(3), executor="serial")
    stills = load_stills(tmp_path, "train", range(3))
    assert len(stills) == 12
    for seed in range(12):
        rows, columns = SIZES[seed % 3]
        scale = STORED_PX / max(rows, columns)
        width, height = stills.size[seed]
        assert max(width, height) == STORED_PX
        assert width / height == pytest.approx(columns / rows, rel=0.003)
        assert not stills.pixels[seed, :, height:].any()
        assert not stills.pixels[seed, :, :, width:].any()
        now, earlier = (centre_of_light(p) for p in stills.pixels[seed])
        assert earlier[1] - now[1] == pytest.approx(19.5 * scale, abs=0.5)
        if seed % 4 == 3:
            assert np.isnan(stills.tip[seed]).all()
            assert not stills.visible[seed]
        else:
            assert now == pytest.approx(tuple(stills.tip[seed]), abs=0.3)
            assert stills.visible[seed] == (seed % 2 == 0)
        if seed % 4 >= 2:
            assert np.isnan(stills.shaft[seed]).all()
            assert np.isnan(stills.width[seed])
            assert not stills.seen[seed].any()
        else:
            assert stills.width[seed] == pytest.approx(6.0 * scale, rel=0.003)
            assert stills.shaft[seed, 0] == pytest.approx(stills.tip[seed], abs=1e-3)
            back = stills.shaft[seed, -1] - stills.shaft[seed, 0]
            assert back == pytest.approx(np.array([-15.0, 30.0]) * scale, rel=0.01)
            assert stills.seen[seed].tolist() == [True] * 5 + [False] * 11


def test_the_shards_of_a_split_are_scenes_in_a_row(small, tmp_path):
    told = []
    draw_stills(tmp_path, "validation", range(2, 4), executor="serial", progress=lambda *said: told.append(said))
    assert small == [("validation", seed) for seed in range(8, 16)]
    assert told == [("validation stills", done, 8) for done in (0, 4, 8)]
    both = load_stills(tmp_path, "validation", range(2, 4))
    for k in (0, 1):
        one = load_stills(tmp_path, "validation", range(2 + k, 3 + k))
        for f in dataclasses.fields(Stills):
            part = getattr(both, f.name)[4 * k : 4 * k + 4]
            assert np.array_equal(part, getattr(one, f.name), equal_nan=part.dtype.kind == "f"), f.name


def test_pictures_that_are_too_many_for_memory_stay_on_the_disk(small, tmp_path, monkeypatch):
    draw_stills(tmp_path, "train", range(3), executor="serial")
    in_memory = load_stills(tmp_path, "train", range(3))
    monkeypatch.setattr("sonosteer.datasets.stills.MAX_IN_MEMORY", 1000)
    on_disk = load_stills(tmp_path, "train", range(3))
    assert isinstance(on_disk.pixels, np.memmap)
    assert np.array_equal(on_disk.pixels, in_memory.pixels)
    assert len(list(tmp_path.iterdir())) == 3  # its file has no name


def test_drawing_goes_on_where_it_was_interrupted(small, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    draw_stills(whole, "train", range(3), executor="serial")
    small.clear()
    steady = make_stills.wild_still

    def stopped(seed, split):
        if seed == 6:
            raise KeyboardInterrupt
        return steady(seed, split)

    monkeypatch.setattr(make_stills, "wild_still", stopped)
    with pytest.raises(KeyboardInterrupt):
        draw_stills(tmp_path, "train", range(3), executor="serial")
    assert not shard_path(tmp_path, "train", 1).exists()
    monkeypatch.setattr(make_stills, "wild_still", steady)
    draw_stills(tmp_path, "train", range(3), executor="serial")
    assert [seed for _, seed in small] == [0, 1, 2, 3, 4, 5, *range(4, 12)]
    for n in range(3):
        assert shard_path(tmp_path, "train", n).read_bytes() == shard_path(whole, "train", n).read_bytes()


def test_a_still_of_the_set_up_is_stored_as_the_world_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(make_stills, "SHARD", 1)
    draw_stills(tmp_path, "train", range(1), executor="serial")
    stills = load_stills(tmp_path, "train", range(1))
    frame, earlier, truth = wild_still(0, "train")
    width, height = stills.size[0].tolist()
    for stored, shown in zip(stills.pixels[0], (frame, earlier), strict=True):
        again = cv2.resize(stored[:height, :width], frame.size_px, interpolation=cv2.INTER_LINEAR)
        assert np.abs(again.astype(float) - shown.pixels).mean() < 8
    assert truth.tip_px is not None
    scale = STORED_PX / max(frame.size_px)
    assert stills.tip[0] == pytest.approx(np.array(truth.tip_px) * scale, abs=1.0)
    assert len(truth.shaft_px) == STORED_POINTS
    assert tuple(stills.seen[0]) == truth.shaft_seen
    assert stills.visible[0] == truth.visible


def test_every_field_is_stored_and_nothing_else():
    assert list(STILL_FIELDS) == [f.name for f in dataclasses.fields(Stills)]


def test_what_cannot_be_read_is_one_line(small, tmp_path):
    with pytest.raises(InputError, match=r"train-0000\.npz does not exist"):
        load_stills(tmp_path, "train", range(1))
    draw_stills(tmp_path, "train", range(2), executor="serial")
    path = shard_path(tmp_path, "train", 1)
    whole = path.read_bytes()
    fields = dict(np.load(path))
    for damaged in (b"", b"PK", whole[:100], whole[: len(whole) // 2], whole[:-30], b"no stills"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"train-0001\.npz cannot be read .*; remove it, and it is drawn again"):
            load_stills(tmp_path, "train", range(2))
    for name, other in [
        ("pixels", fields["pixels"][:, :, ::2, ::2]), ("tip", fields["tip"][:3]), ("visible", fields["width"]),
        ("width", np.float32(3.0)),
    ]:  # fmt: skip
        with path.open("wb") as file:
            np.savez(file, **{**fields, name: other})
        with pytest.raises(InputError, match=r"train-0001\.npz holds stills of another form .*; remove it"):
            load_stills(tmp_path, "train", range(2))
    with path.open("wb") as file:
        np.savez(file, pixels=fields["pixels"])
    with pytest.raises(InputError, match="cannot be read"):
        load_stills(tmp_path, "train", range(2))
    path.unlink()
    draw_stills(tmp_path, "train", range(2), executor="serial")
    assert path.read_bytes() == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(0, 400), st.booleans(), st.integers(1, 255))
def test_whatever_byte_of_a_shard_s_heads_is_wrong_it_is_one_line_or_no_matter(one_still, tmp_path, at, back, change):
    damaged = bytearray(one_still)
    damaged[-1 - at if back else at] ^= change
    shard_path(tmp_path, "train", 0).write_bytes(damaged)
    try:
        said = f"{len(load_stills(tmp_path, 'train', range(1)))} still"
    except InputError as e:
        said = str(e).rpartition("; ")[2]
    assert said in ("1 still", "remove it, and it is drawn again")


def test_a_folder_that_is_none_is_one_line(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        draw_stills(tmp_path / "file", "train", range(1), executor="serial")
    assert small == []
