"""The world is frozen: what was trained and measured belongs to this hash."""

import dataclasses

import numpy as np
import pytest

from sonosteer.sim import wild_hash
from sonosteer.sim.wild import draw_wild_scene, wild_still

FROZEN = "2b2c09fa786f400d39bb4883089f6cfcd747751c7743b796b17bb85305a5711b"
#: stills of the training split: seed -> size, mean grey level, tip in px, can a person see it
RENDERED = {
    2: ((461, 309), 19.7, None, False),
    5: ((467, 283), 51.74, (217.53, 151.80), True),
    10: ((298, 483), 46.59, (102.50, 150.60), False),
}


def test_the_world_is_frozen_what_was_trained_and_measured_belongs_to_this_hash():
    assert wild_hash.wild_world_hash() == FROZEN


@pytest.mark.parametrize("seed", sorted(RENDERED))
def test_the_same_fields_still_give_the_same_pictures(seed):
    size, grey, tip, visible = RENDERED[seed]
    frame, _, truth = wild_still(seed, "train")
    assert frame.size_px == size
    assert frame.grey().mean() == pytest.approx(grey, abs=0.3)
    assert truth.tip_px == (None if tip is None else pytest.approx(tip, abs=0.1))
    assert truth.visible is visible


def changed(monkeypatch, change):
    def draw(seed, split):
        fields = draw_wild_scene(seed, split)
        return change(fields) if (seed, split) == (7, "validation") else fields

    monkeypatch.setattr(wild_hash, "HASHED_SEEDS", 9)
    plain = wild_hash.wild_world_hash()
    monkeypatch.setattr(wild_hash, "draw_wild_scene", draw)
    return wild_hash.wild_world_hash() != plain


def test_a_small_change_anywhere_changes_the_hash(monkeypatch):
    def lower(fields):
        array = fields["array"]
        return fields | {"array": dataclasses.replace(array, depth_mm=array.depth_mm * (1 - 1e-7))}

    assert changed(monkeypatch, lower)


def test_the_last_bits_of_a_number_do_not(monkeypatch):
    def last_bit(fields):
        return fields | {"spacing_mm": float(np.nextafter(fields["spacing_mm"], 1.0))}

    assert not changed(monkeypatch, last_bit)
