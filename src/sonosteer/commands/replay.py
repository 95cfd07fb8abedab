"""`sonosteer replay`: decides everything of a recorded insertion again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson
from sonosteer.core.errors import BrokenError, InputError

if TYPE_CHECKING:
    from sonosteer.recording.run_reader import RunReader
    from sonosteer.runtime.replay import Replay

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer replay insertion/recording.mcap")
def replay_command(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="recording.mcap, or the folder it is in.")],
    as_json: AsJson = False,
) -> None:
    """Run a recorded insertion again: tracker, policy and gate must decide as they did.

    A recording whose process was killed is replayed up to its end. Exit code 1 if a decision differs.
    """
    from sonosteer.recording.run_reader import RunReader

    path = recording / parsing.RECORDING if recording.is_dir() else recording
    recorded = RunReader(path)
    with terminal.shown_progress("replaying", quiet=as_json):
        done = _rebuilt(recorded, path).run(recorded)
    result: dict[str, Any] = {
        "equal": done.first is None and done.decisions > 0,
        "decisions": done.decisions,
        "estimates": done.equal["estimate"],
        "actions": done.equal["action"],
        "verdicts": done.equal["verdict"],
        "different": sum(done.different.values()),
        "skipped": dict(done.skipped),
        "complete": recorded.complete,
        "cut": recorded.cut,
        "until_s": round(recorded.until_s, 3),
        "ended": recorded.ended,
    }
    if as_json:
        terminal.print_json(result)
    else:
        _tell(path, result, until_s=recorded.until_s)
    if done.first is not None:
        raise BrokenError(f"{result['different']} decisions differ from the recorded ones; the first: {done.first}")
    if not done.decisions:
        raise BrokenError(f"{path} holds no decision that could be made again")


def _rebuilt(recorded: RunReader, path: Path) -> Replay:
    """Tracker, policy and gate as the recorded configuration has them, ready to decide."""
    from sonosteer.core.config import from_dict
    from sonosteer.policies.table import make_policy
    from sonosteer.runtime.replay import Replay
    from sonosteer.safety.gate import Gate
    from sonosteer.safety.limits import Limits
    from sonosteer.safety.regions import Circle
    from sonosteer.trackers.table import make_tracker

    said = recorded.configuration
    try:
        command, task, hint = said["command"], said["task"], said["hint"]
        limits = {k: tuple(v) if isinstance(v, list) else v for k, v in said["limits"].items() if k != "_type"}
        regions = tuple(Circle(r["name"], tuple(r["center_mm"]), r["radius_mm"]) for r in said["regions"])
        policy, method = command["policy"], command["method"]
    except (KeyError, TypeError, AttributeError) as e:
        raise InputError(f"{path} does not say what decided ({e}): it is no recording of sonosteer insert") from None
    tracker = make_tracker(method, **parsing.parse_settings(command["tracker_settings"]))
    decider = make_policy(policy, **parsing.parse_settings(command["settings"]))
    tracker.prepare()
    decider.prepare()
    gate = Gate(from_dict(Limits, limits, "recorded limits"), regions, task.spacing)
    return Replay(tracker, decider, gate, task, hint)


def _tell(path: Path, result: dict[str, Any], *, until_s: float) -> None:
    print(f"{path}: {result['decisions']} decisions up to {until_s:.2f} s decided again")
    for name in ("estimates", "actions", "verdicts"):
        print(f"  {name:10} {result[name]} equal")
    for why, count in result["skipped"].items():
        print(f"  skipped    {count}: {why}")
    if not result["complete"]:
        print(f"  the recording was {result['cut']}")
    terminal.print_notice()
