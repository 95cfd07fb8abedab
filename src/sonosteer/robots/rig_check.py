"""Tries each part of a rig without motion, and says what it sees. `reset_part` resets a drive's fault, for a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sonosteer.core.clock import Clock
from sonosteer.core.errors import InputError, RobotError, SonosteerError
from sonosteer.core.plugins import describe_error
from sonosteer.robots.rig import open_part
from sonosteer.robots.rig_file import RigFile, read_rig


@dataclass(frozen=True, slots=True)
class PartSeen:
    """What was seen of one part."""

    name: str
    """Name of its table: arm, needle or guide."""
    kind: str
    """What it is, as the file says."""
    seen: str
    """In one line."""
    works: bool
    """False where it could not be opened, or has a fault."""


def look_at_rig(path: Path, clock: Clock) -> tuple[RigFile, tuple[PartSeen, ...]]:
    """Open, describe and close each part in turn. Nothing is made ready, and nothing moves.

    Raises InputError for what is wrong with the file.
    """
    rig_file = read_rig(path)
    out = []
    for table in rig_file.parts:
        try:
            part = open_part(rig_file, table, clock)
        except SonosteerError as e:
            line = str(e).removeprefix(f"{path}: {table.name} ({table.kind}): ")
            out.append(PartSeen(table.name, table.kind, line, works=False))
            continue
        try:
            line, fault = part.describe(), part.state().fault
        except Exception as e:  # noqa: BLE001  a part may be a stranger's, and the others are still looked at
            out.append(PartSeen(table.name, table.kind, f"broke: {describe_error(e, part)}", works=False))
        else:
            out.append(PartSeen(table.name, table.kind, line, works=fault is None))
        finally:
            part.close()
    return rig_file, tuple(out)


def reset_part(path: Path, name: str, clock: Clock) -> str:
    """Reset the fault of a part's device. Whoever calls this has found its reason. Nothing moves.

    Returns the state that the device is in then. Raises InputError if there is no such part, or it has no fault that
    could be reset from here, and RobotError if the device refuses.
    """
    rig_file = read_rig(path)
    tables = {table.name: table for table in rig_file.parts}
    if name not in tables:
        raise InputError(f"{path} has no part {name!r}; it has: {', '.join(tables)}")
    part = open_part(rig_file, tables[name], clock)
    try:
        reset = getattr(part, "reset_fault", None)
        if reset is None:
            raise InputError(f"{path}: {name} ({tables[name].kind}) has no fault that is reset from here")
        try:
            return str(reset())
        except RobotError as e:
            raise RobotError(f"{path}: {name}: {e}") from None
    finally:
        part.close()
