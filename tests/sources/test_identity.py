"""A patient's name does not leave with the results: not in pixels, not in paths, unless a person asks for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pydicom")
from test_dicom import cine

from sonosteer.commands.main import main
from sonosteer.core.errors import InputError
from sonosteer.sources.identity import WITHHELD, identity_words, without_identity, words_of
from sonosteer.sources.opening import open_source

BRIGHT = np.full((3, 60, 80), 200, np.uint8)  # the region of `cine` is 64 x 48


def test_what_is_burned_in_is_black_outside_of_the_ultrasound_regions(tmp_path):
    path = cine(tmp_path / "a.dcm", BRIGHT, region=(0.01, 0.01), BurnedInAnnotation="YES")
    source = open_source(path, keep_identity=False)
    frame = next(iter(source.frames())).pixels
    assert (frame[:48, :64] == 200).all()
    assert not frame[48:].any()
    assert not frame[:, 64:].any()
    assert any("burned into" in note for note in source.info.notes)
    assert (next(iter(open_source(path).frames())).pixels == 200).all()


def test_burned_in_and_nowhere_said_where_is_refused(tmp_path):
    path = cine(tmp_path / "a.dcm", BRIGHT, BurnedInAnnotation="YES")
    with pytest.raises(InputError, match="`keep_identity` passes them on"):
        open_source(path, keep_identity=False)


def test_a_missing_tag_warns_and_a_no_is_believed(tmp_path):
    unsaid = open_source(cine(tmp_path / "a.dcm", BRIGHT), keep_identity=False)
    assert any("look at them" in note for note in unsaid.info.notes)
    no = open_source(cine(tmp_path / "b.dcm", BRIGHT, BurnedInAnnotation="NO"), keep_identity=False)
    assert no.info.notes == ()
    for source in (unsaid, no):
        assert (next(iter(source.frames())).pixels == 200).all()


def test_words_of_the_identity_are_known_and_short_ones_are_not(tmp_path):
    path = cine(tmp_path / "a.dcm", BRIGHT, PatientName="Doe^Jane^X", PatientID="HOSP-77431", StudyID="7")
    assert identity_words(open_source(path)) == ("77431", "doe", "hosp", "jane")
    assert words_of(["Li^O"]) == ()


@given(
    st.recursive(st.text(max_size=9) | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(max_size=3), v))
)
def test_no_value_keeps_a_word_of_the_identity(value):
    left = [text.lower() for text in _texts(without_identity(value, ["abc", "01"]))]
    assert not any("abc" in text or "01" in text for text in left)
    assert without_identity(value, []) is value


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _texts(v)
    elif isinstance(value, list):
        for v in value:
            yield from _texts(v)


def test_no_result_of_a_track_holds_the_name_in_its_path(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 90, (4, 64, 80), np.uint8)
    folder = tmp_path / "clips"
    folder.mkdir()
    clip = cine(folder / "Doe_Jane_1.dcm", noise, PatientName="Doe^Jane", BurnedInAnnotation="NO", FrameTime=50.0)
    for more, kept in ([], False), (["--keep-identity"], True):
        out = tmp_path / f"out{kept}"
        with pytest.raises(SystemExit) as e:
            main(["track", str(clip), "--out", str(out), *more])
        assert e.value.code == 0, capsys.readouterr().err
        texts = [(p.name, p.read_bytes()) for p in out.rglob("*") if p.is_file()]
        holding = [name for name, data in texts if b"doe_jane" in data.lower() or b"jane" in data.lower()]
        assert bool(holding) == kept, holding
        assert (WITHHELD.encode() in (out / "summary.json").read_bytes()) != kept
