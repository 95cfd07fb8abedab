"""Find what each room imports, and keep the table of ARCHITECTURE.md in step.

Run: python scripts/docs/rooms.py [--write]. Without --write it prints what differs, exit code 1.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "sonosteer"
PAGE = ROOT / "ARCHITECTURE.md"
TABLE = re.compile(r"(<!-- rooms -->\n)(.*?)(<!-- /rooms -->)", re.S)


def rooms() -> list[str]:
    """The packages below sonosteer."""
    return sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def imports(room: str) -> set[str]:
    """Other rooms that a room imports, anywhere in its files. Type stubs do not count."""
    found: set[str] = set()
    for path in (PACKAGE / room).rglob("*.py"):
        here = ["sonosteer", *path.relative_to(PACKAGE).parent.parts]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {_room(a.name) for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = ".".join(here[: len(here) - node.level + 1]) + "." if node.level else ""
                module = above + (node.module or "")
                found |= {_room(f"{module}.{a.name}") for a in node.names}
    return (found & set(rooms())) - {room}


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "sonosteer" and len(parts) > 1 else ""


def told() -> dict[str, tuple[str, str]]:
    """Room -> (what is in it, what it imports), as the table says."""
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found, "ARCHITECTURE.md has no table of rooms"
    rows = [[c.strip() for c in line.strip().strip("|").split(" |")] for line in found[2].splitlines()[2:]]
    return {row[0].strip("` "): (row[1].strip(), row[2].strip() if len(row) > 2 else "") for row in rows}


def faults() -> list[str]:
    """What the table says and the code does not, and the other way round."""
    table = told()
    out = [f"there is no row for {room}" for room in rooms() if room not in table]
    for room, (_, listed) in table.items():
        if room not in rooms():
            out.append(f"there is no room {room}")
        elif listed != listing(room):
            out.append(f"{room} imports {listing(room)}, and the table says {listed or 'nothing'}")
    return out


def listing(room: str) -> str:
    """The rooms that a room imports, in words. core goes without saying."""
    if room == "core":
        return "numpy only"
    others = sorted(imports(room) - {"core"})
    return ", ".join(others) or ("core" if "core" in imports(room) else "nothing")


def write() -> None:
    """Fill in the last column."""
    lines = ["| room | what is in it | imports, beside core |", "| --- | --- | --- |"]
    lines += [f"| `{room}` | {what} | {listing(room)} |" for room, (what, _) in told().items()]
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[3], text), encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    print("\n".join(faults()))
    sys.exit(bool(faults()))
