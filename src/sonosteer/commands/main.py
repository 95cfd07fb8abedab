"""The `sonosteer` command: finds the page of a command, and turns every failure into one line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sonosteer import __version__
from sonosteer.commands.ending import INTERRUPTED, ends_in_order
from sonosteer.core.errors import SonosteerError, with_options
from sonosteer.recording.tables import FULL, writing_failed

#: The commands in the order of help. Each is a module of this package with a typer app called `app`.
PAGES = (
    *("demo", "simulate", "track", "compare", "open", "evaluate", "needlebench", "bench", "study", "train"),
    *("insert", "replay", "doctor", "dataset", "steer", "calibrate", "bridge"),
)


class CommandPages(TyperGroup):
    """Imports the page of a command when the command is asked for, so that start-up stays quick."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(dict.fromkeys(PAGES))  # type: ignore[arg-type]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a page, or None if there is no such page."""
        if cmd_name not in PAGES:
            return None
        command = typer.main.get_command(import_module(f"sonosteer.commands.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=CommandPages,
    name="sonosteer",
    help="See the needle, steer the needle. Research software, not a medical device.",
    epilog="First steps: sonosteer demo, then sonosteer track clip.mp4 --spacing-mm 0.1 --out results",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def sonosteer(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Print the version if that is all that was asked for."""
    if version:
        print(f"sonosteer {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run a command. A failure is one line on stderr and exit code 2 (wrong input), 1 (it broke) or 130 (stopped)."""
    warnings.formatwarning = lambda message, *_, **__: f"sonosteer: {message}\n"
    command: Any = typer.main.get_command(app)
    try:
        with ends_in_order():
            code = command.main(args=arguments, prog_name="sonosteer", standalone_mode=False)
    except SonosteerError as e:
        if os.environ.get("SONOSTEER_TRACEBACK") and e.__cause__ is not None:
            raise
        _fail(with_options(str(e)), e.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as e:
        if hasattr(e, "format_message"):  # click's own usage errors
            _fail(f"{e.format_message()} (see sonosteer --help)", 2)
        if type(e).__name__ == "Abort":  # what click makes of Ctrl-C
            _fail("interrupted", INTERRUPTED)
        if type(e).__name__ == "Exit":
            sys.exit(getattr(e, "exit_code", 0))
        if os.environ.get("SONOSTEER_TRACEBACK"):
            raise
        if isinstance(e, OSError) and e.errno in FULL:  # whatever was written
            failure = writing_failed(Path(e.filename or "a file"), e, "what was written before is kept")
            _fail(with_options(str(failure)), failure.exit_code)
        _fail(f"broke with {type(e).__name__}: {e} (SONOSTEER_TRACEBACK=1 shows where)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # whoever would read it may be gone
        print("sonosteer: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
