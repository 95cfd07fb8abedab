"""How the tip's roll follows the base's: friction winds up the shaft before the tip turns.

    phi_tip = play(phi_base; +-delta(l)),   delta(l) = tau l^2 / (2 GJ) + tau l (L - l) / GJ

This is a play (hysteresis) and not a lag. At rest the tip stays where it was left.

| symbol | name | unit |
| --- | --- | --- |
| tau | `friction`, Coulomb torque per length of inserted shaft | N mm / mm |
| GJ | `torsional_stiffness` | N mm^2 / rad |
| l, L | inserted and whole length | mm |
"""

from __future__ import annotations


def play_rad(friction: float, torsional_stiffness: float, inserted_mm: float, length_mm: float) -> float:
    """Half width delta of the play, rad."""
    wound = inserted_mm**2 / 2 + inserted_mm * max(length_mm - inserted_mm, 0.0)
    return friction * wound / torsional_stiffness


def roll_with_play(tip_rad: float, base_rad: float, half_width_rad: float) -> float:
    """The tip's new roll, rad. It moves only as far as the base drags it along."""
    behind = base_rad - tip_rad
    return base_rad - min(max(behind, -half_width_rad), half_width_rad)
