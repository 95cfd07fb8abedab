"""Whether an axis follows its set-points: where these would have it, within its ramps, against where it says it is."""

from __future__ import annotations

REACTION_S = 0.05  # chosen: a set-point may take so long until it acts, and a position until it comes
SLOPE = 0.02  # chosen: the speed may be off by two hundredths, as a unit that was rounded makes it


class FollowingWatch:
    """The span in which an axis can be. It is led by the set-points and narrowed by what is measured."""

    def __init__(self, up_mm_s2: float, down_mm_s2: float, allowed_mm: float) -> None:
        self._ramp_s = REACTION_S
        self._up_mm_s2, self._down_mm_s2, self._allowed_mm = up_mm_s2, down_mm_s2, allowed_mm
        self._told: list[tuple[float, float]] = []  # (since, speed), oldest first
        self._at: tuple[float, float, float] | None = None  # (time, low, high)

    def told(self, now_s: float, speed_mm_s: float) -> None:
        """Note a set-point."""
        if not self._told or self._told[-1][1] != speed_mm_s:
            self._told.append((now_s, speed_mm_s))

    def measured(self, now_s: float, depth_mm: float) -> float:
        """Return how far the axis is outside of where it can be, mm. 0 inside. Positive: too deep."""
        if self._at is None:
            self._at = (now_s, depth_mm, depth_mm)
            return 0.0
        before_s, low, high = self._at
        slowest, fastest = self._speeds(before_s, now_s)
        lasts_s = now_s - before_s
        low += (slowest - SLOPE * abs(slowest)) * lasts_s
        high += (fastest + SLOPE * abs(fastest)) * lasts_s
        out = max(depth_mm - high, 0.0) - max(low - depth_mm, 0.0)
        if out == 0.0:
            low, high = max(low, depth_mm - self._allowed_mm), min(high, depth_mm + self._allowed_mm)
        self._at = (now_s, low, high)
        return out

    def _speeds(self, since_s: float, now_s: float) -> tuple[float, float]:
        """Least and largest speed that set-points of late can have led to, the ramps from one to the next included."""
        speeds = [speed for _, speed in self._told]
        steepest = min(self._up_mm_s2, self._down_mm_s2)
        ramp_s = (max(speeds, default=0.0) - min(speeds, default=0.0)) / steepest
        first_s = since_s - REACTION_S - ramp_s
        while len(self._told) > 1 and self._told[1][0] <= first_s:
            self._told.pop(0)
        speeds = [speed for _, speed in self._told] or [0.0]
        if self._told and self._told[0][0] > first_s:
            speeds.append(0.0)
        return min(speeds), max(speeds)
