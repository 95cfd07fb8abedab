"""A sequence of PLUS with poses of a probe and of a stylus, and the marks of its tip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sonosteer.calibration.simulated import PointRecording


def write_stylus_sequence(path: Path, r: PointRecording, invalid: int) -> Path:
    """Black pictures of 8 x 8 px. The stylus' pose of one frame is called invalid."""
    n = len(r.px)
    lines = ["ObjectType = Image", "NDims = 3", f"DimSize = 8 8 {n}", "Kinds = domain domain list"]
    lines += ["ElementSpacing = 1 1 1", "ElementType = MET_UCHAR", "UltrasoundImageOrientation = MF"]
    for i in range(n):
        for name, T in (("Probe", r.T_world_probe[i]), ("Stylus", r.T_world_stylus[i])):
            lines.append(f"Seq_Frame{i:04}_{name}ToTrackerTransform = {' '.join(f'{v:.9g}' for v in np.ravel(T))}")
            status = "INVALID" if (i, name) == (invalid, "Stylus") else "OK"
            lines.append(f"Seq_Frame{i:04}_{name}ToTrackerTransformStatus = {status}")
        lines.append(f"Seq_Frame{i:04}_Timestamp = {0.1 * i}")
    path.write_bytes(("\n".join([*lines, "ElementDataFile = LOCAL"]) + "\n").encode() + bytes(64 * n))
    return path
