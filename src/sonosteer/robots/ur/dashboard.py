"""The controller's dashboard (port 29999): what it is, and whether it may be told from here. And sending the program.

Nothing that unlocks, powers or plays anything is ever said to it: these are for people at the pendant.
"""

from __future__ import annotations

import socket

from sonosteer.core.errors import InputError, RobotError

_ALLOWED = frozenset({"is in remote control", "PolyscopeVersion", "robotmode", "safetystatus"})


def asked(host: str, port: int, question: str, answer_s: float) -> str:
    """Ask the dashboard one of the questions that change nothing. Raises RobotError if it does not answer."""
    if question not in _ALLOWED:
        raise RobotError(f"{question!r} is not asked from here")
    try:
        with socket.create_connection((host, port), answer_s) as sock, sock.makefile("rwb") as lines:
            greeting = lines.readline(1000)
            lines.write(question.encode("ascii") + b"\n")
            lines.flush()
            said = lines.readline(1000)
    except OSError as e:
        raise RobotError(f"the dashboard at {host}:{port} does not answer: {e}") from None
    if not greeting or not said:
        raise RobotError(f"the dashboard at {host}:{port} hung up")
    return said.decode("utf-8", "replace").strip()


def check_remote(host: str, port: int, answer_s: float) -> None:
    """Raise InputError unless the controller takes programs from here."""
    said = asked(host, port, "is in remote control", answer_s)
    if said.lower() != "true":
        raise InputError(
            "the controller is in local mode and takes no program from here: switch it to remote control at the "
            'pendant, or set start = "pendant" and play the program there'
        )


def send_program(host: str, port: int, text: str, answer_s: float) -> None:
    """Send a program, which begins at once, and moves nothing yet. Raises RobotError if nobody is there."""
    try:
        with socket.create_connection((host, port), answer_s) as sock:
            sock.sendall(text.encode("ascii") + b"\n")
    except OSError as e:
        raise RobotError(f"the program cannot be sent to {host}:{port}: {e}") from None
