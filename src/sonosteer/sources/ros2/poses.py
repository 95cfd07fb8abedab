"""A tip as ROS has it: metres, a quaternion, and a covariance of six numbers a row. Nothing of ROS is needed here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonosteer.core.geometry import Matrix

UNKNOWN_M2 = 1.0  # chosen: a standard deviation of a metre. No picture is as large, so a filter takes nothing from it.
UNKNOWN_RAD2 = 10.0  # chosen: pi squared. No direction is known less.
MM = 1e-3  # metres


@dataclass(frozen=True, slots=True, eq=False)
class TipPose:
    """Where the tip is, as one TRANSFORM says it."""

    name: str
    """Name of the transform: TipToImage or TipToReference."""
    T: Matrix
    """4x4 matrix, needle -> that space, mm. x runs along the needle."""
    stamp_s: float | None
    """When the picture was acquired, s since 1970. None where the sender does not say."""
    sd_along_mm: float | None
    """Standard deviation along the needle, mm. None where the sender does not say."""
    sd_across_mm: float | None
    """Standard deviation across the needle in the picture, mm. None where the sender does not say."""


def read_sd(beside: Mapping[str, str], name: str) -> float | None:
    """A standard deviation of a message's metadata, mm. None where there is none, or it is no number of use."""
    try:
        value = float(beside[name])
    except (KeyError, ValueError):
        return None
    return value if 0.0 <= value < math.inf else None


def pose_covariance(pose: TipPose) -> NDArray[np.float64]:
    """Return the (6, 6) covariance of geometry_msgs/PoseWithCovariance: m^2 and rad^2, axes of the space.

    Along and across the needle it is the tracker's. Nobody measures the tip across the picture's plane, nor how well
    the direction is known: UNKNOWN_M2 and UNKNOWN_RAD2 stand there, and where the sender gives no deviation.
    """
    sides = [UNKNOWN_M2 if sd is None else (MM * sd) ** 2 for sd in (pose.sd_along_mm, pose.sd_across_mm)]
    R = pose.T[:3, :3]
    covariance = np.diag([0.0, 0.0, 0.0, UNKNOWN_RAD2, UNKNOWN_RAD2, UNKNOWN_RAD2])
    place = R @ np.diag([*sides, UNKNOWN_M2]) @ R.T
    covariance[:3, :3] = 0.5 * (place + place.T)
    return covariance


def position_m(T: Matrix) -> tuple[float, float, float]:
    """Place of a transform, m. T: 4x4, mm."""
    x, y, z = (MM * float(v) for v in T[:3, 3])
    return x, y, z


def quaternion(T: Matrix) -> tuple[float, float, float, float]:
    """Rotation of a rigid transform as ROS has it: x, y, z, w, no unit, w >= 0. T: 4x4."""
    R = np.asarray(T[:3, :3], np.float64)
    # The largest eigenvector of this matrix is the quaternion, also for what is not quite a rotation (Bar-Itzhack 2000)
    K = np.empty((4, 4))
    K[:3, :3] = R + R.T - np.trace(R) * np.eye(3)
    K[3, :3] = K[:3, 3] = R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    K[3, 3] = np.trace(R)
    q = np.linalg.eigh(K)[1][:, -1]
    x, y, z, w = (float(v) for v in (q if q[3] >= 0 else -q))
    return x, y, z, w
