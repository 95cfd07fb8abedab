"""RTDE 2: packages, recipes, texts, and whatever else may come down a wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.robots.ur.wire import (
    FIELD_TYPES,
    PackageReader,
    Recipe,
    RecipeError,
    RtdeError,
    agreed,
    message_text,
    package,
)

NUMBERS = {
    "BOOL": st.booleans(),
    "UINT8": st.integers(0, 255),
    "UINT32": st.integers(0, 2**32 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "DOUBLE": st.floats(allow_nan=False),
    "VECTOR3D": st.tuples(*[st.floats(allow_nan=False)] * 3),
    "VECTOR6D": st.tuples(*[st.floats(allow_nan=False)] * 6),
    "VECTOR6INT32": st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 6),
    "VECTOR6UINT32": st.tuples(*[st.integers(0, 2**32 - 1)] * 6),
}
FIELDS = st.lists(st.sampled_from(sorted(FIELD_TYPES)), min_size=1, max_size=6).flatmap(
    lambda kinds: st.tuples(st.just(tuple(kinds)), st.tuples(*[NUMBERS[k] for k in kinds]))
)


@given(FIELDS, st.integers(1, 255))
def test_what_is_packed_comes_out_again(fields, number):
    types, values = fields
    names = tuple(f"f{k}" for k in range(len(types)))
    recipe = Recipe(number, names, types)
    said = dict(zip(names, values, strict=True))
    ((kind, payload),) = PackageReader().fed(recipe.pack(said))
    assert kind == "U"
    assert recipe.unpack(payload) == said


def test_a_row_is_as_the_published_protocol_has_it():
    recipe = agreed(("timestamp", "robot_mode"), 1, "DOUBLE,INT32")
    row = recipe.pack({"timestamp": 1.5, "robot_mode": -1})
    assert row == bytes.fromhex("0010 55 01 3ff8000000000000 ffffffff".replace(" ", ""))


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ("DOUBLE,NOT_FOUND", r"b \(the controller does not know it\)"),
        ("IN_USE,DOUBLE", r"a \(another client writes to it\)"),
        ("DOUBLE", r"b \(the controller does not say its type\)"),
        ("DOUBLE,WIDE", r"b \(of type WIDE\)"),
        ("DOUBLE,DOUBLE,DOUBLE", "will not exchange"),
    ],
)
def test_a_field_that_is_not_exchanged_is_named(types, said):
    with pytest.raises(RecipeError, match=said):
        agreed(("a", "b"), 1, types)


def test_recipe_number_0_is_a_refusal():
    with pytest.raises(RecipeError):
        agreed(("a",), 0, "DOUBLE")


@pytest.mark.parametrize("payload", [b"", b"\x02" + bytes(12), b"\x01" + bytes(11), b"\x01" + bytes(13)])
def test_a_row_of_another_length_or_recipe_is_none(payload):
    with pytest.raises(RtdeError):
        agreed(("a", "b"), 1, "DOUBLE,INT32").unpack(payload)


@pytest.mark.parametrize("values", [{}, {"a": 1.0}, {"a": 1.0, "b": 2**31}, {"a": 1.0, "b": "x"}])
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(RtdeError):
        agreed(("a", "b"), 1, "DOUBLE,INT32").pack(values)


@given(st.lists(st.tuples(st.sampled_from("VvMUOISP"), st.binary(max_size=300)), max_size=8), st.data())
def test_packages_come_whole_however_the_stream_is_cut(packages, data):
    stream = b"".join(package(kind, payload) for kind, payload in packages)
    reader, out = PackageReader(), []
    while stream:
        n = data.draw(st.integers(1, len(stream)))
        out += reader.fed(stream[:n])
        stream = stream[n:]
    assert out == packages


@given(st.binary(max_size=600), st.data())
def test_any_bytes_at_all_are_packages_or_a_broken_stream(stream, data):
    reader, rest = PackageReader(), stream
    try:
        while rest:
            n = data.draw(st.integers(1, len(rest)))
            for kind, payload in reader.fed(rest[:n]):
                assert kind in "VvMUOISP"
                assert package(kind, payload) in stream
                message_text(payload)
            rest = rest[n:]
    except RtdeError:
        pass


@given(st.binary(max_size=60))
def test_any_answer_about_a_recipe_is_a_recipe_or_an_error(answer):
    try:
        recipe = agreed(("a", "b"), answer[0] if answer else 0, answer[1:].decode("ascii", "replace"))
    except RecipeError:
        return
    assert recipe.number > 0


def test_a_text_says_who_says_it_in_one_line():
    assert message_text(b"\x05a\nb c\x03RTC\x01") == "RTC: a b c"
    assert message_text(b"") == ""
