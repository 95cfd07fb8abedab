"""The exceptions that sonosteer raises, and their exit codes."""

from __future__ import annotations

import re


class SonosteerError(Exception):
    """Root of all of them. The message is one line: what was wrong, with which value, and what to do."""

    exit_code = 1
    """Exit code of a command that ends by it, no unit."""
    kept: object | None = None
    """What was done before it was raised, where that is of use: a TrackResult from `sonosteer.track`."""


class InputError(SonosteerError):
    """The user's input cannot be used as it is (exit code 2)."""

    exit_code = 2


class PictureError(InputError):
    """One picture of a clip cannot be read, but those after it can: `frames(index + 1)` goes on."""

    def __init__(self, message: str, index: int, time_s: float) -> None:
        super().__init__(message)
        self.index = index
        """Number of the frame in its source, from 0."""
        self.time_s = time_s
        """When it was acquired, s."""


class MissingExtraError(InputError):
    """A file or method needs an optional dependency that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs {package}, which is not installed: pip install 'sonosteer[{extra}]'")


class InterruptedRunError(SonosteerError):
    """The user stopped a run. The message says what is kept (exit code 130, as in shells)."""

    exit_code = 130


class BrokenError(SonosteerError):
    """Something failed that the user could not have prevented, such as a device that went away (exit code 1)."""


class RobotError(BrokenError):
    """A robot refused an order, or is gone."""


def with_options(message: str) -> str:
    """A message with its parameters, which stand in backticks, spelled as options: `spacing_mm` -> --spacing-mm."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda found: "--" + found[1].replace("_", "-"), message)
