"""Homogeneous tissue under every transducer, drawn once per process."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that the tests here share plain.py

from plain import plain_scanner


@pytest.fixture(scope="session", params=["in-plane-linear", "axial", "in-plane-convex"])
def plain(request):
    return plain_scanner(request.param)


@pytest.fixture(scope="session")
def plain_linear():
    return plain_scanner("in-plane-linear")
