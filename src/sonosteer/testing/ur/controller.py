"""Stand-in of a controller with its arm: RTDE, dashboard, a port that takes programs, and a hand that breaks it.

It interprets `robots/ur/sonosteer.script`, a cycle of 2 ms at a time, in a time of its own. As a process:
`python -m sonosteer.testing.ur.controller [--host 127.0.0.1] [--port 0] [--depth-mm 20] [--empty]`. It says its ports
and obeys the words of `UR_HAND` on its input.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sonosteer.calibration.poses import rotation_of
from sonosteer.robots.ur import program as ur
from sonosteer.robots.ur.wire import FieldValue
from sonosteer.testing.axis_model import STEP_S, OwnTime
from sonosteer.testing.stand_in import obey_input
from sonosteer.testing.ur.arm_model import ArmModel
from sonosteer.testing.ur.fields import OUTPUT_TYPES
from sonosteer.testing.ur.rtde_server import CYCLE_HZ, RtdeServer
from sonosteer.testing.ur.urscript import MotionWord, Program, ScriptError, ScriptWord

CONTROLLER_CYCLE_S = 1.0 / CYCLE_HZ
HARD_M_S2 = 5.0  # chosen: how an arm brakes at a stop of its own
DELAY_S = 0.3
NORMAL, PROTECTIVE, EMERGENCY = 1, 3, 7
POWER_OFF, STOPPED, PAUSED = 3, 1, 4
#: what the hand can do to the controller
UR_HAND = {
    "protect": "a protective stop, as after a collision",
    "unlock": "somebody unlocks it at the pendant",
    "estop": "somebody presses the emergency stop",
    "release": "somebody releases it, and switches the arm on",
    "pause": "somebody pauses the program at the pendant",
    "play": "somebody plays it",
    "halt": "somebody stops the program at the pendant",
    "slow": "the speed slider goes to 50 %",
    "fast": "it goes to 100 %",
    "freeze": "rows stop coming",
    "thaw": "they come again",
    "deaf": "what clients write is lost",
    "hear": "it is taken again",
    "delay": "rows come 0.3 s late",
    "prompt": "they come at once",
    "mute": "the link is closed",
    "link": "it is there again, with what was held up in it",
    "drop": "all connections are closed",
    "jam": "the arm cannot move any more",
    "free": "it can again",
    "push": "somebody pushes the arm 3 mm aside",
    "local": "somebody switches to local control",
    "remote": "somebody switches to remote control",
    "old": "a program of another version is loaded and played",
    "gone": "the arm is switched off",
}


class StandInController:
    """A controller with its arm. `start` runs it in a thread.

    empty: no program is loaded yet. pace: how much of its own time passes in a second. Below 1, whoever speaks to it
    has longer, so that a busy machine does not trip its deadlines.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, depth_mm: float = 20.0, empty: bool = False, pace: float = 1.0
    ) -> None:
        self._pace = pace
        self.arm = ArmModel()
        self.rtde = RtdeServer(host, port, self.wrote)
        self.safety_mode, self.robot_mode, self.runtime_state, self.slider = NORMAL, ur.POWERED, STOPPED, 1.0
        self.remote = True
        self.broke: str | None = None
        self.text = "" if empty else ur.program_text()
        self._start_mm, self._depth_mm = 1e3 * self.arm.place_m, depth_mm
        self._needle = rotation_of(self.arm.turn_rad)[:, 2]
        self._registers: dict[str, FieldValue] = {}
        self._program: Iterator[MotionWord] | None = None
        self._motion: MotionWord | None = None
        self._left = self._cycles = 0
        self._largest_tick = -(2**31)
        integer: Callable[[int], int] = lambda k: int(self._number(f"input_int_register_{k}"))  # noqa: E731
        self._words = {
            "get_steptime": ScriptWord(lambda: CONTROLLER_CYCLE_S, (), "number"),
            "get_target_tcp_speed": ScriptWord(lambda: self.arm.twist.tolist(), (), "list"),
            "read_input_integer_register": ScriptWord(integer, ("whole number",), "whole number"),
            "read_input_float_register": ScriptWord(
                lambda k: self._number(f"input_double_register_{k}"), ("whole number",), "number"
            ),
            "write_output_integer_register": ScriptWord(
                self._write_integer, ("whole number", "whole number"), "nothing"
            ),
        }
        self._lock, self._over = threading.RLock(), threading.Event()
        self._began_s = time.perf_counter()
        self._dashboard, self._scripts = (socket.create_server((host, 0)) for _ in range(2))
        self._others: dict[socket.socket, bytes] = {}
        self.ports = {
            "port": self.rtde.port,
            "dashboard_port": int(self._dashboard.getsockname()[1]),
            "script_port": int(self._scripts.getsockname()[1]),
        }
        self._asked: set[socket.socket] = set()
        if not empty:
            self._play()

    @property
    def zero_mm(self) -> list[float]:
        """Where depth is 0, in the base frame, mm."""
        zero: list[float] = (self._start_mm - self._depth_mm * self._needle).tolist()
        return zero

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop running, and hang up."""
        self._over.set()
        self._thread.join(2.0)
        self.rtde.close()
        for sock in (self._dashboard, self._scripts, *self._others):
            sock.close()

    def report(self) -> dict[str, Any]:
        """What the arm did, and what the controller and the program say."""
        with self._lock:
            depth_mm = float((1e3 * self.arm.place_m - np.asarray(self.zero_mm)) @ self._needle)
            state = self._said(27)
            return self.arm.report() | {
                "depth_mm": depth_mm,
                "along_mm_s": 1e3 * float(self.arm.actual[:3] @ self._needle),
                "state": ur.ProgramState(state).name,
                "why": self._said(28),
                "session": self._said(26),
                "tick": self._said(29),
                "refused": self._said(30),
                "runtime": ur.RUNTIME_STATES[self.runtime_state],
                "safety": ur.SAFETY_MODES[self.safety_mode],
                "clients": len(self.rtde.clients),
                "broke": self.broke,
            }

    def hand(self, word: str) -> None:
        """Do one of `UR_HAND`. Raises ValueError for another word."""
        if word not in UR_HAND:
            raise ValueError(f"there is no {word!r}")
        with self._lock:
            self._do(word)

    def _do(self, word: str) -> None:
        rtde = self.rtde
        if word == "protect":
            self.safety_mode = PROTECTIVE
            self.runtime_state = PAUSED if self.runtime_state == ur.PLAYING else self.runtime_state
        elif word in ("unlock", "release"):
            self.safety_mode, self.robot_mode = NORMAL, ur.POWERED
        elif word in ("estop", "gone"):
            self.safety_mode = EMERGENCY if word == "estop" else NORMAL
            self.robot_mode = POWER_OFF
            self._halt()
        elif word == "pause":
            self.runtime_state = PAUSED if self.runtime_state == ur.PLAYING else self.runtime_state
        elif word == "play":
            self._play()
        elif word == "halt":
            self._halt()
        elif word in ("slow", "fast"):
            self.slider = 0.5 if word == "slow" else 1.0
        elif word in ("freeze", "thaw"):
            rtde.frozen = word == "freeze"
        elif word in ("deaf", "hear"):
            rtde.deaf = word == "deaf"
        elif word in ("delay", "prompt"):
            rtde.delay_s = DELAY_S if word == "delay" else 0.0
        elif word in ("mute", "link"):
            rtde.muted = word == "mute"
        elif word == "drop":
            rtde.drop_all()
        elif word in ("jam", "free"):
            self.arm.jammed = word == "jam"
        elif word == "push":
            self.arm.place_m = self.arm.place_m + np.array([0.003, 0.0, 0.0])
        elif word in ("local", "remote"):
            self.remote = word == "remote"
        else:
            self._halt()
            self.text = ur.program_text().replace(f"version = {ur.PROGRAM_VERSION}", "version = 99")
            self._play()

    # -- the program -------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """Go on where it was paused, or begin. Not in a stop, and not without power."""
        if self.safety_mode != NORMAL or self.robot_mode != ur.POWERED:
            return
        if self.runtime_state != PAUSED or self._program is None:
            if not self.text:
                return
            try:
                self._program, self._motion = Program(self.text, self._words).run(), None
            except ScriptError as e:
                self.broke = str(e)
                return
        self.runtime_state = ur.PLAYING

    def _halt(self) -> None:
        self.runtime_state, self._program, self._motion = STOPPED, None, None

    def _write_integer(self, number: int, value: int) -> None:
        self._registers[f"output_int_register_{number}"] = value

    def _number(self, name: str) -> float:
        value = self._registers.get(name, 0)
        assert not isinstance(value, tuple)
        return float(value)

    def _said(self, number: int) -> int:
        value = self._registers.get(f"output_int_register_{number}", 0)
        assert isinstance(value, int)
        return value

    def wrote(self, values: dict[str, FieldValue]) -> None:
        """Take registers that a client wrote. A later tick in an order that the program will take is a renewal."""
        self._registers |= values
        last, session = (int(self._number(f"input_int_register_{k}")) for k in (26, 24))
        moves = self._number("input_int_register_27") == 1
        armed = self._said(27) in (ur.ProgramState.HOLDS, ur.ProgramState.MOVES) and session == self._said(26)
        if moves and armed and last > max(self._largest_tick, self._said(29)):
            self.arm.heard()
        self._largest_tick = last if moves else self._largest_tick

    # -- its time ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve, and let its time pass, until it is closed."""
        own, due, steps = OwnTime(), 0, round(CONTROLLER_CYCLE_S / (STEP_S * self._pace))
        while not self._over.is_set():
            listened = [*self.rtde.listened(), self._dashboard, self._scripts, *self._others]
            try:
                ready, _, _ = select.select(listened, [], [], CONTROLLER_CYCLE_S)
            except (OSError, ValueError):
                continue  # a word of the hand closed one of them
            with self._lock:
                self.rtde.serve(ready)
                self._serve_others(ready)
                due += own.steps()
                for _ in range(due // steps):
                    self.cycle()
                due %= steps

    def cycle(self) -> None:
        """Let one cycle of the controller pass."""
        self._cycles += 1
        moves = self.runtime_state == ur.PLAYING and self.safety_mode == NORMAL
        if moves:
            self._run_program()
        else:
            self.arm.toward(np.zeros(6), HARD_M_S2, CONTROLLER_CYCLE_S)
        self.arm.advance(CONTROLLER_CYCLE_S, holds=not moves or self._said(27) != ur.ProgramState.MOVES)
        self.rtde.cycle(self._cycles, time.perf_counter() - self._began_s, self.value)

    def _run_program(self) -> None:
        """Go on with the word of motion, and let the program run to the next one where that is over."""
        if self._motion is None:
            assert self._program is not None
            try:
                self._motion = next(self._program)
            except (StopIteration, ScriptError) as e:
                self.broke = str(e) or None
                self._halt()
                self.rtde.say(self.broke or "the program ended")
                return
            name, said = self._motion
            self._left = max(round(said[2] / CONTROLLER_CYCLE_S), 1) if name == "speedl" else 1
        name, said = self._motion
        if name == "speedl":
            self.arm.toward(self.slider * np.asarray(said[0], float), float(said[1]), CONTROLLER_CYCLE_S)
            self._left -= 1
        else:
            self.arm.toward(np.zeros(6), float(said[0]) if name == "stopl" else HARD_M_S2, CONTROLLER_CYCLE_S)
            self._left = int(name == "stopl" and bool(np.any(self.arm.twist)))
        if self._left == 0:
            self._motion = None

    def value(self, name: str) -> FieldValue:
        """What a field says now."""
        if name == "timestamp":
            return time.perf_counter() - self._began_s
        if name in ("actual_TCP_pose", "target_TCP_pose"):
            return self.arm.pose
        if name in ("actual_TCP_speed", "target_TCP_speed"):
            return tuple((self.arm.actual if name[0] == "a" else self.arm.twist).tolist())
        own: dict[str, FieldValue] = {
            "robot_mode": self.robot_mode,
            "safety_mode": self.safety_mode,
            "safety_status": self.safety_mode,
            "safety_status_bits": {NORMAL: 0b1, PROTECTIVE: 0b100}.get(self.safety_mode, 0b1000000),
            "runtime_state": self.runtime_state,
            "robot_status_bits": (self.robot_mode == ur.POWERED) | (self.runtime_state == ur.PLAYING) << 1,
            "target_speed_fraction": self.slider,
            "speed_scaling": self.slider,
        }
        if name in own:
            return own[name]
        kind = OUTPUT_TYPES.get(name, "")
        if kind.startswith("VECTOR"):
            return (0.0 if kind.endswith("D") else 0,) * int(kind[6])
        return self._registers.get(name, 0)

    # -- dashboard and programs ----------------------------------------------------------------------------------------

    def _serve_others(self, ready: list[socket.socket]) -> None:
        for server in (self._dashboard, self._scripts):
            if server in ready:
                sock, _ = server.accept()
                self._others[sock] = b""
                if server is self._dashboard:
                    self._asked.add(sock)
                    sock.sendall(b"Connected: stand-in of a dashboard\n")
        for sock in [s for s in self._others if s in ready]:
            data = b""
            with contextlib.suppress(OSError):
                data = sock.recv(65536)
            self._others[sock] += data
            if sock in self._asked:
                self._answer_dashboard(sock)
            if not data:
                self._take_program(sock)

    def _answer_dashboard(self, sock: socket.socket) -> None:
        *lines, self._others[sock] = self._others[sock].split(b"\n")
        answers = {
            "is in remote control": str(self.remote).lower(),
            "PolyscopeVersion": "stand-in 5.19",
            "robotmode": f"Robotmode: {ur.ROBOT_MODES[self.robot_mode]}",
            "safetystatus": f"Safetystatus: {ur.SAFETY_MODES[self.safety_mode]}",
        }
        for line in lines:
            with contextlib.suppress(OSError):
                said = answers.get(line.decode("ascii", "replace").strip(), "could not understand")
                sock.sendall(said.encode() + b"\n")

    def _take_program(self, sock: socket.socket) -> None:
        """Whoever sent a program has hung up: play it. In local control it is thrown away."""
        text = self._others.pop(sock).decode("ascii", "replace")
        if sock not in self._asked and text.strip() and self.remote:
            self._halt()
            self.text = text
            self._play()
        self._asked.discard(sock)
        sock.close()


def main() -> None:
    """Run as a process until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--depth-mm", type=float, default=20.0)
    parser.add_argument("--empty", action="store_true")
    asked = parser.parse_args()
    controller = StandInController(asked.host, asked.port, depth_mm=asked.depth_mm, empty=asked.empty)
    controller.start()
    obey_input(controller.hand, controller.report, UR_HAND, zero_mm=controller.zero_mm, **controller.ports)
    controller.close()


if __name__ == "__main__":
    main()
