"""The objects of a CANopen drive that we use, their bits, and what its error codes mean.

Source: CiA 301 (communication) and CiA 402 (drives), as the library `canopen` knows them.
"""

from __future__ import annotations

import logging
from typing import Any

from sonosteer.core.errors import MissingExtraError
from sonosteer.robots.parts import FaultKind

DEVICE_TYPE, IDENTITY_OBJECT = 0x1000, 0x1018
CONSUMER_HEARTBEAT, PRODUCER_HEARTBEAT = 0x1016, 0x1017
ABORT_CONNECTION, ERROR_CODE, CONTROL, STATUS = 0x6007, 0x603F, 0x6040, 0x6041
QUICK_STOP_REACTION, FAULT_REACTION, MODE, MODE_SHOWN = 0x605A, 0x605E, 0x6060, 0x6061
POSITION, VELOCITY, TARGET_VELOCITY = 0x6064, 0x606C, 0x60FF
ACCELERATION, DECELERATION, STOP_DECELERATION = 0x6083, 0x6084, 0x6085
SUPPORTED_MODES = 0x6502

LISTEN_S = 0.05  # chosen: the library waits a second, which each end of a run would take

PROFILE_402 = 402  # lower half of DEVICE_TYPE
PROFILE_VELOCITY = 3  # of MODE
SUPPORTS_PROFILE_VELOCITY = 1 << 2  # of SUPPORTED_MODES
ABORT_IS_FAULT = 1  # of ABORT_CONNECTION: a lost heartbeat is a fault, which only somebody resets
REACT_BY_STOP_RAMP = 2  # of FAULT_REACTION: along STOP_DECELERATION
SWITCH_OFF_AFTER_STOP = 2  # of QUICK_STOP_REACTION: else a controlword that is repeated takes the quick stop back
INTERNAL_LIMIT = 1 << 11  # of STATUS
SLIPPED = 1 << 13  # of STATUS, in profile velocity mode: the shaft does not follow
RESET_FAULT = 0x80  # of CONTROL, as its bit rises

SWITCHED_OFF, QUICK_STOP, ENABLED = "SWITCH ON DISABLED", "QUICK STOP ACTIVE", "OPERATION ENABLED"
FAULT, FAULT_REACTING = "FAULT", "FAULT REACTION ACTIVE"

#: error code -> (mask, kind, what it means). The first that fits counts
ERRORS: tuple[tuple[int, int, FaultKind, str], ...] = (
    (0x8130, 0xFFFF, "watchdog", "it heard no heartbeat of ours in time and stopped itself"),
    (0x8611, 0xFFFF, "following error", "the axis did not follow its set-point"),
    (0x8500, 0xFF00, "following error", "the position is not as it should be"),
    (0x8600, 0xFF00, "following error", "the axis is not where it should be"),
    (0x8400, 0xFF00, "following error", "the speed is not as it should be"),
    (0x8100, 0xFF00, "watchdog", "its communication broke"),
    (0x2000, 0xF000, "drive fault", "current"),
    (0x3000, 0xF000, "drive fault", "voltage"),
    (0x4000, 0xF000, "drive fault", "temperature"),
    (0x7300, 0xFF00, "drive fault", "its encoder"),
    (0x0000, 0x0000, "drive fault", "see the manual of the drive"),
)

_UINT8, _UINT16, _UINT32, _INT8, _INT32 = 5, 6, 7, 2, 4  # data types of CiA 301
_VARIABLES = {
    DEVICE_TYPE: _UINT32,
    PRODUCER_HEARTBEAT: _UINT16,
    ABORT_CONNECTION: 3,  # int16
    ERROR_CODE: _UINT16,
    CONTROL: _UINT16,
    STATUS: _UINT16,
    QUICK_STOP_REACTION: 3,
    FAULT_REACTION: 3,
    MODE: _INT8,
    MODE_SHOWN: _INT8,
    POSITION: _INT32,
    VELOCITY: _INT32,
    TARGET_VELOCITY: _INT32,
    ACCELERATION: _UINT32,
    DECELERATION: _UINT32,
    STOP_DECELERATION: _UINT32,
    SUPPORTED_MODES: _UINT32,
}


def meaning_of(code: int) -> tuple[FaultKind, str]:
    """Kind and words of an error code of a drive."""
    for value, mask, kind, text in ERRORS:
        if code & mask == value:
            return kind, text
    raise AssertionError("the last one fits all")


def import_canopen() -> Any:
    """Import `canopen`. Raises MissingExtraError if it is not installed."""
    try:
        import canopen
    except ImportError:
        raise MissingExtraError("a CANopen drive", "canopen", "canopen") from None
    for name in ("canopen", "can"):  # what they warn of comes back as an exception, and is said once
        logging.getLogger(name).addHandler(logging.NullHandler())
    return canopen


def bus_arguments(
    interface: str, channel: str, *, bitrate: int | None = None, port: int | None = None
) -> dict[str, Any]:
    """What python-can is called with. A bus by multicast stays on this machine."""
    out: dict[str, Any] = {"interface": interface, "channel": channel}
    if interface == "udp_multicast":
        out["hop_limit"] = 0
    if bitrate is not None:
        out["bitrate"] = bitrate
    if port is not None:
        out["port"] = port
    return out


def make_network() -> Any:
    """Make a network of `canopen` that lets go of its bus soon once it is asked to."""
    network = import_canopen().Network()
    network.NOTIFIER_CYCLE = LISTEN_S
    return network


def drive_objects() -> Any:
    """An object dictionary of `canopen` with what this page names."""
    od = import_canopen().objectdictionary
    out = od.ObjectDictionary()
    for index, kind in _VARIABLES.items():
        out.add_object(_variable(od, index, 0, kind))
    _add_record(od, out, IDENTITY_OBJECT, {0: _UINT8, 1: _UINT32, 2: _UINT32, 3: _UINT32, 4: _UINT32})
    _add_record(od, out, CONSUMER_HEARTBEAT, {0: _UINT8, 1: _UINT32})
    for first in (0x1400, 0x1800):
        for k in range(2):
            _add_record(od, out, first + k, {0: _UINT8, 1: _UINT32, 2: _UINT8, 3: _UINT16, 5: _UINT16})
            _add_record(od, out, first + 0x200 + k, {0: _UINT8} | dict.fromkeys(range(1, 9), _UINT32))
    return out


def _add_record(od: Any, out: Any, index: int, kinds: dict[int, int]) -> None:
    record = od.ODRecord(f"object {index:04X}", index)
    for subindex, kind in kinds.items():
        record.add_member(_variable(od, index, subindex, kind))
    out.add_object(record)


def _variable(od: Any, index: int, subindex: int, kind: int) -> Any:
    variable = od.ODVariable(f"object {index:04X}:{subindex}", index, subindex)
    variable.data_type = kind
    variable.access_type = "rw"
    variable.default = 0
    return variable
