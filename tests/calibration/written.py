"""Tables for calibrations, written from simulated recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation


def write_poses(path: Path, T: np.ndarray, *, unit: str = "mm") -> Path:
    """Quaternions and positions."""
    lines = [f"frame,qw,qx,qy,qz,x_{unit},y_{unit},z_{unit}"]
    factor = 1.0 if unit == "mm" else 1e-3
    for i, M in enumerate(T):
        x, y, z, w = Rotation.from_matrix(M[:3, :3]).as_quat()
        lines.append(",".join(f"{v:.10g}" for v in (i, w, x, y, z, *(factor * M[:3, 3]))))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_matrices(path: Path, T: np.ndarray) -> Path:
    """Whole matrices."""
    names = ",".join(f"m{i}{j}" for i in range(4) for j in range(4))
    rows = [f"{i}," + ",".join(f"{v:.10g}" for v in M.ravel()) for i, M in enumerate(T)]
    path.write_text("\n".join([f"frame,{names}", *rows]) + "\n")
    return path


def write_rows(path: Path, columns: str, rows) -> Path:
    """A table of numbers and words."""
    said = [",".join(v if isinstance(v, str) else f"{v:.10g}" for v in row) for row in rows]
    path.write_text("\n".join([columns, *said]) + "\n")
    return path
