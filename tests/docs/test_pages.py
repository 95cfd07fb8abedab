"""README and docs: links lead somewhere, commands and Python in them exist, sentences are plain, README is short."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_README_WORDS = 350


def texts() -> Iterator[tuple[str, str]]:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for name, text in texts():
        for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            yield name, block


def test_every_link_and_anchor_in_the_repository_exists(check_docs: ModuleType) -> None:
    assert [fault for path in check_docs.markdown_files() for fault in check_docs.markdown_faults(path)] == []


def test_a_link_to_nothing_is_noticed(check_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n[a](#one-two) [b](#three) [c](gone.md) `[d](code.md)`\n")
    assert [f.partition(": ")[2] for f in check_docs.markdown_faults(page)] == [
        "#three: there is no such heading",
        "gone.md does not exist",
    ]


def test_readme_is_short_and_its_links_work_anywhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", re.sub(r"https?://\S+", "", text), flags=re.S | re.M)
    assert len(prose.split()) <= MAX_README_WORDS
    assert [t for t in re.findall(r"\]\(([^)]+)\)", text) if not t.startswith("https://")] == []
    assert "not a medical device" in text


def test_sentences_are_short_and_have_no_semicolons(measure_prose: ModuleType) -> None:
    found = [s for path in measure_prose.pages() for s in measure_prose.sentences(path.read_text(encoding="utf-8"))]
    count, median, semicolons = measure_prose.measure(found)
    assert count > 500
    assert median <= measure_prose.MAX_MEDIAN_WORDS
    assert semicolons < measure_prose.MAX_SEMICOLON_FRACTION


def test_python_in_the_pages_compiles_and_imports_what_there_is() -> None:
    wrong = []
    for name, block in blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("sonosteer"):
                continue
            module = importlib.import_module(str(node.module))
            wrong += [f"{name}: {node.module}.{a.name}" for a in node.names if not hasattr(module, a.name)]
    assert not wrong


def test_commands_in_the_pages_exist_with_their_options(pages: ModuleType) -> None:
    known = {
        command.name: {n for p in command.parameters for n in pages.option_names(p)} for command in pages.commands()
    }
    wrong = []
    for name, block in [*blocks("sh"), *blocks("bash")]:
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "sonosteer" not in [w.rpartition("/")[2] for w in words] or words[0] in ("git", "cd", "pip"):
                continue
            words = words[[w.rpartition("/")[2] for w in words].index("sonosteer") + 1 :]
            command = next((c for c in (" ".join(words[:2]), words[0]) if c in known), None) if words else None
            if command is None:
                wrong.append(f"{name}: {line}")
                continue
            options = {w.partition("=")[0] for w in words if w.startswith("--") and w != "--"}
            wrong += [f"{name}: sonosteer {command} has no {o}" for o in options - known[command] - {"--help"}]
    assert not wrong


@pytest.mark.parametrize(
    ("page", "methods"),
    [("auto", ["auto"]), ("mathiassen2017", ["kf+f", "kfv+f", "pf+f", "pfv+f"]), ("axial", ["axial"])],
)
def test_settings_in_the_pages_are_settings(page: str, methods: list[str]) -> None:
    from sonosteer import make_tracker

    text = (ROOT / "docs" / "explanation" / f"{page}.md").read_text(encoding="utf-8").partition("## Settings\n")[2]
    rows = re.findall(r"^\| (`[^|]*) \|", text.partition("\n## ")[0], re.M)
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    known = set().union(*(settings(make_tracker(method)) for method in methods))
    assert told <= known


def settings(owner: object, above: str = "") -> set[str]:
    """Names that --set takes."""
    found = set()
    for field in dataclasses.fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, field.name)
        found.add(above + field.name)
        if dataclasses.is_dataclass(value):
            found |= settings(value, f"{above}{field.name}.")
    return found


def test_the_tracker_of_the_tutorial_runs_and_keeps_the_laws() -> None:
    from sonosteer.testing import check_tracker

    text = (ROOT / "docs" / "tutorials" / "own-tracker.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)[0]
    made: dict[str, object] = {"__name__": "mine"}
    exec(compile(code, "mine.py", "exec"), made)
    check_tracker(made["Brightest"])
