"""Where compiled kernels are kept when neither the package nor the user's home can be written to.

numba keeps them beside the source, else in the user's cache folder, and gives up where it can write to neither: in a
container with a read-only root, for a service account without a home. Then they go to a folder of the user's own among
the temporary files. Its owner and mode are checked, since kernels are loaded as code.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def choose_kernel_cache() -> None:
    """Set NUMBA_CACHE_DIR if numba would find no place. Before numba is imported. matplotlib's files go there, too."""
    if os.environ.get("NUMBA_CACHE_DIR") or os.access(PACKAGE / "core", os.W_OK) or _can_make(_users_cache()):
        return
    folder = _temporary()
    os.environ["NUMBA_CACHE_DIR"] = folder
    os.environ.setdefault("MPLCONFIGDIR", folder)


def _users_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    return Path(base) / "numba"


def _can_make(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK)
    return False


def _temporary() -> str:
    """A folder that is the same next time, if nobody else could have put anything there, or a new one."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"sonosteer-kernels-{user}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid == user and found.st_mode & 0o170777 == 0o040700:
            return str(folder)
    return tempfile.mkdtemp(prefix="sonosteer-kernels-")
