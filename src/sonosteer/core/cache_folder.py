"""A folder for the caches of libraries where neither the package nor the home can be written to.

Numba keeps compiled functions beside the code or in the home, and fails where it can do neither: in a container whose
root is read-only, or as another user than the one who installed. A folder of this user among the temporary files takes
its place. Matplotlib's fonts go there, too.
"""

from __future__ import annotations

import atexit
import os
import stat
import sys
from pathlib import Path


def place_caches() -> None:
    """Choose the folder, if one is needed and the user has not. To be called before the libraries are imported."""
    if _writable(_cache_home()):
        return
    variables = ["MPLCONFIGDIR"] if os.access(Path(__file__).parent, os.W_OK) else ["MPLCONFIGDIR", "NUMBA_CACHE_DIR"]
    missing = [variable for variable in variables if variable not in os.environ]
    folder = _own_folder() if missing else None
    if folder is None:
        return
    for variable in missing:
        os.environ[variable] = str(folder / variable.lower())
    if "numba" in sys.modules and "NUMBA_CACHE_DIR" in missing:
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


def _cache_home() -> Path:
    """Where a user's caches are by the XDG specification."""
    said = os.environ.get("XDG_CACHE_HOME")
    if said:
        return Path(said)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return Path("/nonexistent")


def _writable(folder: Path) -> bool:
    """True if files can be made in a folder, which is made if it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _own_folder() -> Path | None:
    """A folder that only this user can write to, None if there is no place for one.

    What lies in it is run. So one that somebody else has made, or can write to, is not taken.
    """
    import shutil  # these take time that most runs need not spend
    import tempfile

    if not hasattr(os, "getuid"):
        return None
    try:
        folder = Path(tempfile.gettempdir()) / f"sonosteer-cache-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077:
            return folder
        folder = Path(tempfile.mkdtemp(prefix="sonosteer-cache-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
