import pytest

from sonosteer.core.config import MAX_NESTING, MAX_TOML_BYTES, load_json, load_toml, parse_json
from sonosteer.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a = " + b"[" * 5000, "nested more than"),
        (b"a." * 3000 + b"a = 1", "nested more than"),
        (b"[" + b".".join([b"t"] * 500) + b"]", "nested more than"),
        (b"a = 1\n" + b"#" * MAX_TOML_BYTES, "more than 1048576 bytes"),
        (b"a = \xff", "not text in UTF-8"),
        (b"a = ", "not valid TOML"),
        (b"a = 1979-99-99", "not valid TOML"),
    ],
)
def test_a_damaged_toml_file_is_one_line(tmp_path, text, said):
    (tmp_path / "a.toml").write_bytes(text)
    with pytest.raises(InputError, match=said) as e:
        load_toml(tmp_path / "a.toml")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 100_000, "nested more than"),
        (b"[" * (MAX_NESTING + 2) + b"]" * (MAX_NESTING + 2), "nested more than"),
        (b"\xff", "not text in UTF-8"),
        (b"{", "is damaged"),
        (b"9" * 5000, "is damaged"),
    ],
)
def test_a_damaged_json_file_is_one_line(tmp_path, text, said):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=said) as e:
        load_json(tmp_path / "a.json")
    assert "\n" not in str(e.value)


def test_files_of_usual_depth_are_read():
    assert parse_json("[" * MAX_NESTING + "]" * MAX_NESTING, "a") != []
