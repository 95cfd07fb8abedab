"""The scripts that make and check the documentation, as modules."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(path: str) -> ModuleType:
    """A script of this repository as a module."""
    name = "docs_" + path.replace("/", "_").replace("-", "_").removesuffix(".py")
    if name not in sys.modules:
        loader = SourceFileLoader(name, str(ROOT / path))
        spec = importlib.util.spec_from_loader(name, loader)
        assert spec
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    return script("scripts/docs/pages.py")


@pytest.fixture(scope="session")
def rooms() -> ModuleType:
    return script("scripts/docs/rooms.py")


@pytest.fixture(scope="session")
def check_docs() -> ModuleType:
    return script("scripts/check-docs")


@pytest.fixture(scope="session")
def measure_prose() -> ModuleType:
    return script("scripts/measure-prose")


@pytest.fixture(scope="session")
def readme_picture() -> ModuleType:
    return script("scripts/docs/readme-picture")
