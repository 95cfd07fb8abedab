"""What a tab may say, and that everything else is answered with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.words import Grip, KeepOut, PlaceLabel, PressStop, SeekFrame, StartTrack, TypeScale, parse_word
from sonosteer.core.errors import InputError


def test_words_are_read():
    assert parse_word('{"t":"seek","index":3}') == SeekFrame(3)
    assert parse_word('{"t":"label","id":1,"frame":2,"tip":[3,4.5],"base":0}') == PlaceLabel(1, 2, (3.0, 4.5), 0)
    assert parse_word('{"t":"label","id":1,"frame":2,"tip":"hidden","base":0}') == PlaceLabel(1, 2, "hidden", 0)
    assert parse_word('{"t":"label","id":1,"frame":2,"tip":null,"base":0}') == PlaceLabel(1, 2, None, 0)
    assert parse_word('{"t":"scale","id":1,"spacing":null}') == TypeScale(1, None)
    assert parse_word('{"t":"stop","id":1}') == PressStop(1)
    assert parse_word('{"t":"grip","id":1,"run":"r","what":"release"}') == Grip(1, "r", "release")
    assert parse_word('{"t":"keep out","id":1,"run":"r","center":[1,2],"radius_mm":3}') == KeepOut(1, "r", (1, 2), 3)
    said = '{"t":"track","id":1,"method":"auto","enters":"left","angle_deg":[30,40],"crop":[0,1,2,3]}'
    assert parse_word(said) == StartTrack(id=1, method="auto", enters="left", angle_deg=(30.0, 40.0), crop=(0, 1, 2, 3))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "too long"),
        ("[1]", "without a word"),
        ('{"t":3}', "without a word"),
        ('{"t":"steer"}', "no word 'steer'"),
        ('{"t":"stop"}', "id is missing"),
        ('{"t":"grip","id":1,"run":"r","what":"push"}', "what is"),
        ('{"t":"grip","id":1,"what":"release"}', "run is missing"),
        ('{"t":"grip","id":1,"run":"r","what":"release","held_s":9}', "no field 'held_s'"),
        ('{"t":"keep out","id":1,"run":"r","center":[1,2],"radius_mm":NaN}', "radius_mm is"),
        ('{"t":"seek"}', "index is missing"),
        ('{"t":"seek","index":"3"}', "index is"),
        ('{"t":"seek","index":true}', "index is"),
        ('{"t":"seek","index":1.5}', "index is"),
        ('{"t":"seek","index":1e999}', "index is"),
        ('{"t":"seek","index":3,"more":1}', "no field 'more'"),
        ('{"t":"label","id":1,"frame":2,"tip":[NaN,1],"base":0}', "tip is"),
        ('{"t":"label","id":1,"frame":2,"tip":[1],"base":0}', "tip is"),
        ('{"t":"label","id":1,"frame":2,"tip":"gone","base":0}', "tip is"),
        ('{"t":"track","id":1,"method":"auto","enters":"below"}', "enters is"),
        ('{"t":"ping","at":1' + "0" * 400 + "}", "too large"),
    ],
)
def test_what_is_wrong_is_said(text, why):
    with pytest.raises(InputError, match=why):
        parse_word(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["t", "id", "frame", "tip", "base"]) | st.text(), inner)
        ),
    )
)
def test_whatever_comes_is_a_word_or_an_input_error(said):
    text = json.dumps(said)
    try:
        why = type(parse_word(text)).__name__
    except InputError as e:
        why = str(e)
    assert "\n" not in why
    assert 0 < len(why) < 300
