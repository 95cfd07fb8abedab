"""ARCHITECTURE.md has a row for every room, and says what it imports. Each big room has an import contract."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]

MOST_ROOMS = 26
BIG = ("studies", "learning", "datasets", "episodes", "inference", "sim", "trackers", "policies", "steering", "runtime")


def contracts() -> list[dict[str, object]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["tool"]["importlinter"]["contracts"]


def test_the_table_of_rooms_is_what_the_code_is(rooms: ModuleType) -> None:
    faults = rooms.faults()
    assert not faults, "run python scripts/docs/rooms.py --write:\n" + "\n".join(faults)


def test_every_room_says_what_is_in_it(rooms: ModuleType) -> None:
    assert all(len(what.split()) >= 5 for what, _ in rooms.told().values())


def test_there_are_no_more_rooms_than_a_reader_can_keep_in_mind(rooms: ModuleType) -> None:
    assert len(rooms.rooms()) <= MOST_ROOMS


def test_every_room_with_code_has_a_place_in_the_layers(rooms: ModuleType) -> None:
    [layers] = [c["layers"] for c in contracts() if c["name"] == "Arrows point down"]
    placed = {name.strip().removeprefix("sonosteer.") for layer in layers for name in layer.split("|")}
    assert placed == {r for r in rooms.rooms() if list((rooms.PACKAGE / r).rglob("*.py"))}


def test_each_big_room_has_a_contract_of_its_own() -> None:
    named = " ".join(
        str(c.get("source_modules", "")) + str(c.get("modules", ""))
        for c in contracts()
        if c["name"] != "PyTorch lives in learning"
    )
    assert [room for room in BIG if f"sonosteer.{room}" not in named] == []
