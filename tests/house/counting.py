"""Counts what the house rules ask for, from the source as text.

python tests/house/counting.py [fields|names|calls] [ROOM ...] lists what is missing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "src" / "sonosteer"
UNIT = re.compile(
    r"(?<![\w-])(mm|mm\^?2|mm/s|mm/s\^?2|px|px/frame|s|ms|ns|rad|rad/s|deg|degrees?|Hz|MHz|dB|dB/mm|N|N/mm|GPa|MPa|kPa|"
    r"1/mm|per mm|1/s|percent|%|frames?|bytes?|bits?|pixels?|seconds?|no unit|index|"
    r"[Ss]eed|[Nn]umber of|[Hh]ow many|count|0 to 1|0\.\.1|0 to 255|"
    r"grey levels?|millimetres?|radians?|ids?|loss|tokens?|channels?|samples?|epochs?|steps?)"
    r"(?![\w])"
)
NUMBERS = re.compile(r"\b(float|int|F64|F32|F16|U8|I32|C64|Point|Vector|Box|Matrix|NDArray)\b")
FEW = frozenset("a an the of in on at to for and or is it its this that with by from as s".split())  # noqa: SIM905


@dataclass(frozen=True)
class Field:
    """A public field of a public class, and the line under it."""

    where: str
    name: str
    annotation: str
    line: str | None

    @property
    def fault(self) -> str | None:
        """What is wrong with its line, None if nothing."""
        if not self.line:
            return "no line"
        words = {w.rstrip("s") for w in re.findall(r"[a-z]+", self.line.lower())} - FEW
        own = {w.rstrip("s") for w in re.findall(r"[a-z]+", self.name.lower())}
        if not words - own:
            return "only repeats its name"
        if NUMBERS.search(self.annotation) and "Callable" not in self.annotation and not UNIT.search(self.line):
            return "a number without a unit (or the words 'no unit')"
        return None


def modules() -> tuple[tuple[str, ast.Module], ...]:
    """(path below the package, its tree) of every module."""
    return _parsed(ROOT)


@lru_cache(maxsize=2)
def _parsed(root: Path) -> tuple[tuple[str, ast.Module], ...]:
    return tuple((str(path.relative_to(root)), ast.parse(path.read_text())) for path in sorted(root.rglob("*.py")))


def fields() -> list[Field]:
    """Public fields of public classes: annotated in the class body, methods apart."""
    out = []
    for where, tree in modules():
        for cls in ast.walk(tree):
            if not isinstance(cls, ast.ClassDef) or cls.name.startswith("_"):
                continue
            for node, below in zip(cls.body, [*cls.body[1:], None], strict=True):
                if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                    continue
                if node.target.id.startswith("_") or "ClassVar" in ast.unparse(node.annotation):
                    continue
                said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
                line = said if isinstance(said, str) else None
                out.append(
                    Field(f"{where}:{node.lineno} {cls.name}", node.target.id, ast.unparse(node.annotation), line)
                )
    return out


def names() -> dict[str, list[str]]:
    """Public top-level name -> modules that define it. A package's face may hand names on: it defines none."""
    found: dict[str, list[str]] = defaultdict(list)
    for where, tree in modules():
        for node in tree.body:
            got: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                got = [node.name]
            elif isinstance(node, ast.Assign):
                got = [t.id for t in node.targets if isinstance(t, ast.Name)]
                got += [
                    e.id for t in node.targets if isinstance(t, ast.Tuple) for e in t.elts if isinstance(e, ast.Name)
                ]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                got = [node.target.id]
            for name in got:
                if not name.startswith("_"):
                    found[name].append(where)
    return found


def twice() -> dict[str, list[str]]:
    """Public names that more than one module defines."""
    return {name: sorted(set(where)) for name, where in names().items() if len(set(where)) > 1}


def _kernels() -> set[str]:
    """Names of functions that numba compiles."""
    out = set()
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(d) for d in node.decorator_list):
                out.add(node.name)
    return out


def _positional(call: ast.Call) -> int:
    count = 0
    for arg in call.args:
        inner = arg.value if isinstance(arg, ast.Starred) else None
        count += len(inner.elts) if isinstance(inner, ast.Tuple | ast.List) else 1
    return count


def long_calls(at_least: int = 7) -> list[str]:
    """Calls of our own functions with so many positional arguments, numba's kernels apart."""
    kernels, ours = _kernels(), set()
    trees = list(modules())
    for _, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                ours.add(node.name)
    out = []
    for where, tree in trees:
        compiled = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(d) for d in node.decorator_list)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or id(node) in compiled or _positional(node) < at_least:
                continue
            f = node.func
            name = f.id if isinstance(f, ast.Name) else f.attr if isinstance(f, ast.Attribute) else ""
            if name in ours - kernels or name in ("cls", "replace"):
                out.append(f"{where}:{node.lineno} {name}({_positional(node)} positional)")
    return out


def main(words: list[str]) -> None:
    """List what is missing, in some rooms or in all."""
    kinds = [w for w in words if w in ("fields", "names", "calls")] or ["fields", "names", "calls"]
    rooms = [w for w in words if w not in ("fields", "names", "calls")]

    def here(where: str) -> bool:
        return not rooms or any(where.startswith(r) for r in rooms)

    if "fields" in kinds:
        bad = [f for f in fields() if f.fault and here(f.where)]
        for f in bad:
            print(f"{f.where}.{f.name}: {f.annotation}: {f.fault}")
        print(f"{len(bad)} fields of {sum(here(f.where) for f in fields())}")
    if "names" in kinds:
        both = {n: w for n, w in twice().items() if any(here(x) for x in w)}
        for n, w in sorted(both.items(), key=lambda item: -len(item[1])):
            print(f"{n}: {' '.join(w)}")
        print(f"{len(both)} names defined twice, {len(twice())} of {len(names())} in all")
    if "calls" in kinds:
        found = [c for c in long_calls() if here(c)]
        print(*found, sep="\n")
        print(f"{len(found)} long calls")


if __name__ == "__main__":
    main(sys.argv[1:])
