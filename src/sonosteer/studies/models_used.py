"""Which models a study used: their names and hashes, for its report and its journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any


def models_used(settings: Mapping[str, Any]) -> dict[str, str]:
    """Name -> first 16 digits of the SHA-256 of all files, of each model that ships and each folder in the settings."""
    shipped = Path(str(resources.files("sonosteer"))) / "models"
    folders = {p.name: p for p in sorted(shipped.iterdir()) if p.is_dir()}
    folders |= {str(v): Path(v) for v in settings.values() if isinstance(v, str) and Path(v).is_dir()}
    out = {}
    for name, folder in folders.items():
        digest = hashlib.sha256()
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            digest.update(file.relative_to(folder).as_posix().encode())
            digest.update(file.read_bytes())
        out[name] = digest.hexdigest()[:16]
    return out
