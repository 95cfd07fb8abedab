"""The interpreter of URScript: what it does, and what it refuses before anything runs."""

import pytest

from sonosteer.testing.ur.urscript import Program, ScriptError, ScriptWord


def ran(body, **words):
    """What a program notes, and its words of motion."""
    noted = []
    notes = {
        "note": ScriptWord(noted.append, ("number",), "nothing"),
        "tell": ScriptWord(noted.append, ("truth value",), "nothing"),
        "show": ScriptWord(lambda v: noted.append(list(v)), ("list",), "nothing"),
    }
    text = "def p():\n" + "\n".join("  " + line for line in body.strip().splitlines()) + "\nend\n"
    return noted, list(Program(text, notes | words).run())


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        ("x = 1 + 2 * 3\nnote(x)", [7]),
        ("x = 7.0 / 2.0\nnote(x)", [3.5]),
        ("note(floor(7.9))\nnote(-floor(0.5))", [7, 0]),
        ("note(sqrt(9.0))", [3.0]),
        ("i = 0\nwhile i < 3:\n  note(i)\n  i = i + 1\nend", [0, 1, 2]),
        ("x = 2\nif x == 1:\n  note(1)\nelif x == 2:\n  note(2)\nelse:\n  note(3)\nend", [2]),
        ("x = 3\nif x == 1:\n  note(1)\nelif x == 2:\n  note(2)\nelse:\n  note(3)\nend", [3]),
        ("x = 3\nif x == 1:\n  note(1)\nend\nnote(4)", [4]),
        ("tell(1 < 2 and not (2 < 1))\ntell(False or 1 != 1)", [True, False]),
        ("v = [1.0, 2.0]\nw = v\nv[0] = 5.0\nshow(w)\nshow(v)", [[1.0, 2.0], [5.0, 2.0]]),
        ("def twice(x):\n  return x * 2\nend\nnote(twice(4))", [8]),
        ("def first(v):\n  if v[0] > 0.0:\n    return v[0]\n  end\n  return 0.0\nend\nnote(first([2.0]))", [2.0]),
        ("x = 1 # and nothing else\n# a line\n\nnote(x)", [1]),
    ],
)
def test_it_does_what_is_written(body, noted):
    assert ran(body)[0] == noted


def test_words_of_motion_come_out_one_by_one_with_what_they_were_told():
    _, motions = ran("v = [0.1, 0.0]\nspeedl(v, 0.5, 0.002)\nv[0] = 0.2\nstopl(1.0, 10.0)\nsync()")
    assert motions == [("speedl", ([0.1, 0.0], 0.5, 0.002)), ("stopl", (1.0, 10.0)), ("sync", ())]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("x = 1\nx = 1.0", "line 3: x is a whole number, and cannot become a number"),
        ("if 1:\n  note(1)\nend", "line 2: '1' is a whole number, where a truth value is needed"),
        ("x = 1 / 2", "only numbers with a point are divided"),
        ("note(y)", "y has no value yet"),
        ("movej([0.0])", "there is no movej"),
        ("x = speedl([0.0], 1.0, 1.0)", "stands alone in its line"),
        ("speedl(1.0, 1.0, 1.0)", "argument 1 of speedl cannot be a number"),
        ("speedl([0.0])", "speedl takes 3 to 4 arguments"),
        ("note(True)", "note takes"),
        ("x = note(1)", "that has no value"),
        ("x = 1 < 2 < 3", "is not known here"),
        ("x = 'text'", "is not known here"),
        ("x = 1 if True else 2", "is not known here"),
        ("import os", "is not known here"),
        ("x = (1).real", "is not known here"),
        ("note = 1", "note is a word already"),
        ("v = [1.0]\nv[0] = 1", "lists hold numbers with a point"),
        ("x = [1.0] + 1.0", "reckons with a list"),
        ("while True:\n  note(1)", "an end is missing"),
        ("def f(x):\n  speedl([x], 1.0, 1.0)\n  return x\nend\nnote(f(1.0))", "stands in the program itself"),
        ("def f(x):\n  return x\nend\nnote(f(1.0))\nnote(f(1))", "is called with"),
        ("def f(x):\n  y = x\nend\nnote(f(1.0))", "f returns nothing"),
        ("def f(x):\n  return f(x)\nend\nnote(f(1.0))", "f is called with"),
        ("return 1", "a return stands in a def"),
        ("lambda: 1", "is not known here"),
    ],
)
def test_what_a_controller_would_not_run_is_refused_before_anything_runs(body, said):
    with pytest.raises(ScriptError, match=said) as e:
        ran("if False:\n" + body + "\nend" if "line" not in said and "def" not in body and "end" not in said else body)
    assert str(e.value).startswith("line ")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("v = [1.0]\nnote(v[1])", "line 3: list index out of range"),
        ("v = [1.0]\ni = 0 - 1\nnote(v[i])", "line 4: there is no element -1"),
        ("note(sqrt(0.0 - 1.0))", "line 2: "),
        ("x = 1.0 / 0.0", "line 2: "),
        ("if False:\n  x = 1\nend\nnote(x)", "line 5: "),
        ("while True:\n  x = 1\nend", "computes for too long"),
    ],
)
def test_what_goes_wrong_while_it_runs_says_its_line(body, said):
    with pytest.raises(ScriptError, match=said):
        ran(body)


@pytest.mark.parametrize("text", ["", "x = 1", "def p(x):\nend", "def p():\nend\np()", "def p(:\nend", "def p():"])
def test_a_file_that_is_no_program_is_refused(text):
    with pytest.raises(ScriptError):
        Program(text, {})
