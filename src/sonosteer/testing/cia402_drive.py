"""A stand-in of a CANopen drive of profile CiA 402, on any bus that python-can knows.

Communication is `canopen`'s own LocalNode. State machine, heartbeat consumer and ramps are ours, after CiA 402.
As a process, `python -m sonosteer.testing.cia402_drive udp_multicast 239.74.163.2 5 43113`, it obeys the words of
`stand_in.HAND` on its input.
"""

from __future__ import annotations

import struct
import sys
import threading
import time
from typing import Any

from sonosteer.robots import cia402_objects as co
from sonosteer.testing.axis_model import STEP_S, AxisModel, OwnTime
from sonosteer.testing.stand_in import obey_input

COUNTS_PER_MM = 4000.0
_DISABLED, _READY, _ON = "SWITCH ON DISABLED", "READY TO SWITCH ON", "SWITCHED ON"
_HEARTBEAT_LOST = 0x8130


class SimulatedCia402Drive:
    """A drive on a bus, with its axis. `run` in a thread, or `start`."""

    def __init__(
        self, interface: str, channel: str, node: int = 5, *, port: int | None = None, axis: AxisModel | None = None
    ) -> None:
        canopen = co.import_canopen()
        self.axis = axis or AxisModel()
        self.state, self.error, self.limit_switch = _DISABLED, 0, False
        self.keeps_heartbeat = True
        self._words = canopen.profiles.p402.State402.SW_MASK
        self._where, self._number = co.bus_arguments(interface, channel, port=port), node
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._control, self._mode, self._velocity, self._watched = 0, 0, 0, 0
        self._heard_s: float | None = None  # in the axis's time. None before the first heartbeat
        self._due_s = 0.0
        self._network = co.make_network()
        self._network.connect(**self._where)
        self._linked = True
        self._node = self._network.create_node(node, co.drive_objects())
        for index, value in ((co.DEVICE_TYPE, 0x00020192), (co.SUPPORTED_MODES, co.SUPPORTS_PROFILE_VELOCITY)):
            self._node.object_dictionary[index].default = value
        self._node.object_dictionary[co.IDENTITY_OBJECT][1].default = 0x515
        self._node.nmt.state = "PRE-OPERATIONAL"
        self._node.add_read_callback(self._reads)
        self._node.add_write_callback(self._writes)
        self._network.subscribe(0x200 + node, self._told)

    # -- the hand that breaks it ---------------------------------------------------------------------------------------

    def hand(self, word: str) -> None:
        """Do one of `stand_in.HAND`. Raises ValueError for another word."""
        with self._lock:
            if word == "jam":
                self.axis.jammed = True
            elif word == "free":
                self.axis.jammed = False
            elif word == "stop":
                self._go(co.QUICK_STOP)
            elif word == "fault":
                self._fail(0x2310)
            elif word == "limit":
                self.limit_switch = True
            elif word == "off":
                self._go(_DISABLED)
            elif word == "mute":
                self._linked = False
            elif word == "link":
                self._linked = True
            else:
                raise ValueError(f"there is no {word!r}")
        if word == "mute":
            self._network.disconnect()
        elif word == "link":
            self._network.connect(**self._where)

    def report(self) -> dict[str, Any]:
        """What the axis did, and the state of the drive."""
        with self._lock:
            return self.axis.report() | {"state": self.state, "fault": f"0x{self.error:04X}" if self.error else "-"}

    # -- its time --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop running, and leave the bus."""
        self._over.set()
        self._thread.join(2.0)
        self._network.disconnect()

    def run(self) -> None:
        """Let its time pass until it is closed."""
        own = OwnTime()
        while not self._over.is_set():
            time.sleep(0.002)
            with self._lock:
                for _ in range(own.steps()):
                    self._advance()

    def _advance(self) -> None:
        watch_s = 1e-3 * (self._watched & 0xFFFF)
        if watch_s and self._heard_s is not None and self.axis.time_s - self._heard_s > watch_s:
            self._heard_s = None
            self._fail(_HEARTBEAT_LOST)
            self._node.nmt.state = "PRE-OPERATIONAL"
        moves = self.state == co.ENABLED and self._mode == co.PROFILE_VELOCITY
        self.axis.target_mm_s = self._velocity / COUNTS_PER_MM if moves else 0.0
        self.axis.advance(STEP_S)
        if self.state == co.FAULT_REACTING and self.axis.speed_mm_s == 0.0:
            self._go(co.FAULT)
        if self.state == co.QUICK_STOP and self.axis.speed_mm_s == 0.0 and not self._stays_stopped():
            self._go(_DISABLED)
        if self._linked and self._node.nmt.state == "OPERATIONAL" and self.axis.time_s >= self._due_s:
            self._due_s = self.axis.time_s + 1e-3 * max(self._event_ms(), 1)
            self._say()

    def _say(self) -> None:
        for k in range(2):
            mapped = self._mapped(0x1A00 + k)
            data = b"".join(self._value(index).to_bytes(bits // 8, "little", signed=True) for index, bits in mapped)
            if mapped:
                self._put(0x180 + 0x100 * k + self._number, data)

    def _put(self, cob_id: int, data: bytes) -> None:
        if self._linked:
            self._network.send_message(cob_id, data)

    def _event_ms(self) -> int:
        return self._stored(0x1800, 5) or 10

    def _mapped(self, index: int) -> list[tuple[int, int]]:
        """(object, bits) of what a PDO carries."""
        entries = [self._stored(index, k) for k in range(1, self._stored(index, 0) + 1)]
        return [(each >> 16, each & 0xFF) for each in entries]

    def _stored(self, index: int, subindex: int) -> int:
        return int.from_bytes(self._node.data_store.get(index, {}).get(subindex, b""), "little")

    def _value(self, index: int) -> int:
        value = self._reads(index=index)
        return 0 if value is None else value - (1 << 16 if index == co.STATUS and value >= 1 << 15 else 0)

    # -- what it hears ---------------------------------------------------------------------------------

    def _reads(self, *, index: int, **_: Any) -> int | None:
        """Value of an object that changes by itself, None for one that was written."""
        with self._lock:
            if index == co.STATUS:
                limit = co.INTERNAL_LIMIT if self.limit_switch else 0
                return int(self._words[self.state][1]) | limit
            counts = {co.POSITION: self.axis.depth_mm, co.VELOCITY: self.axis.speed_mm_s}
            if index in counts:
                return round(counts[index] * COUNTS_PER_MM)
            return {co.MODE_SHOWN: self._mode, co.ERROR_CODE: self.error}.get(index)

    def _writes(self, *, index: int, data: bytes, **_: Any) -> None:
        value = int.from_bytes(data, "little", signed=index in (co.TARGET_VELOCITY, co.MODE))
        with self._lock:
            if index == co.CONTROL:
                self._obey(value)
            elif index == co.TARGET_VELOCITY:
                self._velocity = value
            elif index == co.MODE:
                self._mode = value
            elif index == co.ACCELERATION:
                self.axis.up_mm_s2 = value / COUNTS_PER_MM
            elif index == co.STOP_DECELERATION:
                self.axis.down_mm_s2 = value / COUNTS_PER_MM
            elif index == co.CONSUMER_HEARTBEAT:
                self._watch(value)

    def _watch(self, value: int) -> None:
        if not self.keeps_heartbeat:
            raise co.import_canopen().SdoAbortedError(0x06020000)
        self._watched, self._heard_s = value, None
        if value:
            cob_id = 0x700 + (value >> 16 & 0x7F)
            self._network.unsubscribe(cob_id) if cob_id in self._network.subscribers else None
            self._network.subscribe(cob_id, self._heartbeat)

    def _heartbeat(self, cob_id: int, data: bytes, timestamp: float) -> None:
        with self._lock:
            self._heard_s = self.axis.time_s
            if self.state == co.ENABLED:
                self.axis.heard()

    def _told(self, cob_id: int, data: bytes, timestamp: float) -> None:
        if self._node.nmt.state != "OPERATIONAL":
            return
        at = 0
        for index, bits in self._mapped(0x1600):
            self._writes(index=index, data=bytes(data[at : at + bits // 8]))
            at += bits // 8

    def _obey(self, word: int) -> None:
        """Go to the state that a controlword asks for."""
        rose, self._control = word & ~self._control, word
        powered = (_READY, _ON, co.ENABLED, co.QUICK_STOP)
        if self.state == co.FAULT:
            if rose & co.RESET_FAULT:
                self.error = 0
                self._go(_DISABLED)
        elif not word & 0b0010:
            self._go(_DISABLED if self.state in powered else self.state)
        elif not word & 0b0100:
            self._go(co.QUICK_STOP if self.state == co.ENABLED else self.state)
        elif word & 0b0111 == 0b0110 and self.state in (_DISABLED, _ON, co.ENABLED):
            self._go(_READY)
        elif word & 0b1111 == 0b0111 and self.state in (_READY, co.ENABLED):
            self._go(_ON)
        elif word & 0b1111 == 0b1111 and (self.state == _ON or (self.state == co.QUICK_STOP and self._stays_stopped())):
            self._go(co.ENABLED)

    def _stays_stopped(self) -> bool:
        """True where a quick stop ends in QUICK STOP ACTIVE, from which a controlword leads on."""
        return self._stored(co.QUICK_STOP_REACTION, 0) >= 5

    def _go(self, state: str) -> None:
        self.state = state

    def _fail(self, code: int) -> None:
        if self.state in (co.FAULT, co.FAULT_REACTING):
            return
        self.error = code
        self._go(co.FAULT_REACTING)
        self._put(0x80 + self._number, struct.pack("<HB5s", code, 1, b""))


def main() -> None:
    """Run as a process: interface, channel, number of the node, UDP port."""
    interface, channel, node, port = sys.argv[1:5]
    drive = SimulatedCia402Drive(interface, channel, int(node), port=int(port))
    drive.start()
    obey_input(drive.hand, drive.report)
    drive.close()


if __name__ == "__main__":
    main()
