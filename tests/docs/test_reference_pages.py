"""The generated reference names every command, every option, every scene field and every public name."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType

import pytest

from sonosteer.policies.table import POLICIES
from sonosteer.robots.rig_file import LARGER_IS_TIGHTER, NARROWER_IS_TIGHTER, PARTS, SMALLER_IS_TIGHTER
from sonosteer.sim.scenes import Scene
from sonosteer.trackers.table import TRACKERS


def test_every_command_and_every_option_is_on_the_page(pages: ModuleType) -> None:
    text = pages.commands_page()
    commands = pages.commands()
    assert {"track", "steer run", "dataset make", "insert", "replay", "doctor"} <= {c.name for c in commands}
    for command in commands:
        assert f"## sonosteer {command.name}\n" in text
        part = text.partition(f"## sonosteer {command.name}\n")[2].partition("\n## ")[0]
        for parameter in command.parameters:
            if parameter.name == "help" or getattr(parameter, "hidden", False):
                continue
            assert all(f"`{name}`" in part for name in pages.option_names(parameter)), (command.name, parameter.name)


def test_lists_of_names_are_filled_in(pages: ModuleType) -> None:
    assert "kf+f" in pages.commands_page()
    assert "{methods}" not in pages.commands_page()


def test_every_scene_field_is_on_the_page_with_its_line(pages: ModuleType) -> None:
    text = pages.scene_page()
    missing = []
    for prefix, cls in [("", Scene), *((f"{name}.", kind) for name, kind in pages.parts(Scene).items())]:
        lines = {f.name: f.line for f in pages.field_lines(cls)}
        for field in dataclasses.fields(cls):
            if not field.init or field.name.startswith("_"):
                continue
            assert f"| `{prefix}{field.name}` |" in text, field.name
            if not lines[field.name]:
                missing.append(prefix + field.name)
    assert not missing, f"fields without a line: {missing}"


def test_every_tracker_and_policy_has_its_settings(pages: ModuleType) -> None:
    text = pages.settings_page()
    assert [name for name in (*TRACKERS.built_in, *POLICIES.built_in) if f"### {name}\n" not in text] == []


def test_every_key_of_a_rig_file_is_on_the_page_with_its_line(pages: ModuleType) -> None:
    text = pages.rig_page()
    for name in PARTS.built_in:
        settings = PARTS.load(name).Settings
        part = text.partition(f'## kind = "{name}"\n')[2].partition("\n## ")[0]
        assert all(f"| `{f.name}` |" in part and f.line for f in pages.field_lines(settings)), name
    limits = text.partition("## limits\n")[2]
    assert all(f"| `{n}` |" in limits for n in (*SMALLER_IS_TIGHTER, *LARGER_IS_TIGHTER, *NARROWER_IS_TIGHTER))


def test_the_faces_that_are_told_are_those_that_can_be_imported(pages: ModuleType) -> None:
    for room in pages.rooms_with_a_face():
        module = importlib.import_module(pages.import_name(room))
        text = pages.api_page(room)
        for name, where in pages.face(room):
            if room in ("learning", "sonosteer.learning"):  # needs torch
                continue
            assert f"::: {where}\n" in text
            assert getattr(module, name) is not None


@pytest.mark.parametrize("room", ["sonosteer", "trackers", "filters", "metrics"])
def test_there_is_a_page_for_the_package_and_its_rooms(pages: ModuleType, room: str) -> None:
    assert f"reference/api/{room}.md" in pages.generated()
