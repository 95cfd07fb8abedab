"""The habits of the house, counted: fields described, names unique, arguments by name, no import circle."""

from __future__ import annotations

import ast
from pathlib import Path

import counting
import pytest

ROOT = counting.ROOT


def test_every_public_field_says_what_it_is_and_its_unit():
    wrong = [f"{f.where}.{f.name}: {f.fault}" for f in counting.fields() if f.fault]
    assert not wrong, "\n".join(wrong)


def test_a_public_name_is_defined_in_one_module():
    twice, names = counting.twice(), counting.names()
    assert len(twice) < 0.03 * len(names), "\n".join(f"{n}: {' '.join(w)}" for n, w in sorted(twice.items()))


def test_no_call_of_ours_has_seven_positional_arguments():
    assert counting.long_calls(7) == []


def test_a_house_of_at_most_26_rooms():
    packages = [p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()]
    modules = [p.stem for p in ROOT.glob("*.py") if not p.stem.startswith("__")]
    assert len(packages) + len(modules) <= 26, sorted(packages + modules)


def test_no_function_is_longer_than_100_lines():
    long = [
        f"{where}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for where, tree in counting.modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 100
    ]
    assert not long, "\n".join(long)


def _imports(path: Path) -> set[str]:
    """Modules of ours that a file imports, also inside functions; not what only a type checker sees."""
    tree = ast.parse(path.read_text())
    seen_by_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    out: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in seen_by_types:
            continue
        if isinstance(node, ast.Import):
            out |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return {name for name in out if name.startswith("sonosteer")}


def test_no_import_goes_in_a_circle_not_even_inside_a_function():
    files = {
        "sonosteer." + ".".join(p.relative_to(ROOT).with_suffix("").parts): p
        for p in ROOT.rglob("*.py")
        if p.name != "__init__.py"
    }
    arrows = {name: _imports(path) & set(files) - {name} for name, path in files.items()}
    done: set[str] = set()
    way: list[str] = []

    def walk(name: str) -> None:
        if name in way:
            pytest.fail(" -> ".join([*way[way.index(name) :], name]))
        if name in done:
            return
        way.append(name)
        for after in sorted(arrows[name]):
            walk(after)
        way.pop()
        done.add(name)

    for name in files:
        walk(name)


def test_the_counters_count(tmp_path, monkeypatch):
    """Each counter finds what it looks for: a test that cannot fail would be none."""
    (tmp_path / "a.py").write_text(
        "class A:\n    speed_mm_s: float\n    depth: float\n    'Depth.'\n    way: float\n    'How far it went.'\n"
        "    name: str\n    'What people call it.'\n\ndef f(*x): ...\n\nf(1, 2, 3, *(4, 5, 6, 7))\n"
    )
    (tmp_path / "b.py").write_text("def f(): ...\n")
    monkeypatch.setattr(counting, "ROOT", tmp_path)
    assert [f.fault for f in counting.fields()] == [
        "no line",
        "only repeats its name",
        "a number without a unit (or the words 'no unit')",
        None,
    ]
    assert list(counting.twice()) == ["f"]
    assert counting.long_calls() == ["a.py:12 f(7 positional)"]
