"""Writes summary.json: what was run, with which versions and settings, and how it went."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sonosteer.core.config import load_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.recording.tables import writing_failed


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute, and the machine."""
    out = {"python": platform.python_version(), "platform": platform.platform(), "processor": _processor()}
    for name in ("sonosteer", "numpy", "numba", "opencv-contrib-python-headless", "av", "mcap", "onnxruntime"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            out[name] = "not installed"
    return out


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or sys.platform


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write atomically: the old file stays, or the whole new one is there. Raises InputError if the disk is full."""
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(to_dict(summary), indent=2, allow_nan=False) + "\n")
        part.replace(path)
    except OSError as e:
        part.unlink(missing_ok=True)
        raise writing_failed(path, e, "the other results are kept") from None


def read_summary(path: Path) -> dict[str, Any]:
    """Read a summary.json. Raises InputError if it is none."""
    said = load_json(path)
    if not isinstance(said, dict):
        raise InputError(f"{path} is no summary: it holds no object")
    return said
