"""`sonosteer replay`: decides everything of a recorded insertion again, steered or robotic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand
from sonosteer.commands.parsing import AsJson
from sonosteer.commands.steering_aim import steering_deciders
from sonosteer.core.errors import BrokenError, InputError

if TYPE_CHECKING:
    from sonosteer.core.protocols import Policy, Tracker
    from sonosteer.recording.run_reader import RunReader
    from sonosteer.runtime.replay import ExpectedDigest, Replay

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PageCommand, epilog="Example: sonosteer replay insertion --digest 3f1c...")
def replay_command(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="recording.mcap, or the folder it is in.")],
    digest: Annotated[
        str | None,
        typer.Option("--digest", metavar="HEX", help="Digest that the run printed. Default: the one in summary.json."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recorded insertion again: tracker, policy and gate must decide as they did.

    A recording is equal only if it is whole and unaltered, and every decision is the same. Otherwise the exit code is
    1, and what is wrong is said. One whose process was killed is replayed up to its end, and is not equal.

    Whoever alters a recording can make it look unaltered. Only the digest of the run tells: give it by --digest, or
    keep summary.json beside the recording.
    """
    from sonosteer.recording.run_reader import AlteredRecordingError, RunReader

    path = recording / parsing.RECORDING if recording.is_dir() else recording
    expected = _expected_digest(digest, path)
    result: dict[str, Any]
    try:
        recorded = RunReader(path)
    except AlteredRecordingError as e:
        result = {"equal": False, "complete": False, "decisions": 0, "equal_until_s": 0.0, "wrong": [str(e)]}
    else:
        with terminal.shown_progress("replaying", quiet=as_json):
            result = _replayed(recorded, path, expected)
    if as_json:
        terminal.print_json(result)
    elif "verdicts" in result:
        _tell(path, result)
    if not result["equal"]:
        raise BrokenError(f"{path} is not equal to its run: {'; '.join(result['wrong'])}")


def _expected_digest(typed: str | None, path: Path) -> ExpectedDigest | None:
    """The digest that the run said, None if nobody knows it."""
    from sonosteer.recording.hash_chain import DIGEST
    from sonosteer.recording.summary import read_summary
    from sonosteer.runtime.replay import ExpectedDigest

    if typed is not None:
        if not DIGEST.fullmatch(typed.strip().lower()):
            raise InputError(f"--digest {typed}: a digest has 64 hexadecimal digits, as the run printed it")
        return ExpectedDigest(typed.strip().lower(), "--digest")
    beside = path.with_name("summary.json")
    said = read_summary(beside).get("digest") if beside.exists() else None
    return None if said is None else ExpectedDigest(str(said), str(beside))


def _replayed(recorded: RunReader, path: Path, expected: ExpectedDigest | None) -> dict[str, Any]:
    """Decide again, and say what is wrong with the recording."""
    from sonosteer.runtime.replay import Replayed, is_another_run, what_is_wrong

    try:
        done = _rebuilt(recorded, path).run(recorded)
    except InputError as e:
        if recorded.complete and not is_another_run(recorded, expected):
            raise
        done = Replayed(lacks=str(e))
    wrong, equal_until_s = what_is_wrong(recorded, done, expected)
    return {
        "equal": not wrong,
        "decisions": done.decisions,
        "estimates": done.equal["estimate"],
        "actions": done.equal["action"],
        "verdicts": done.equal["verdict"],
        "different": sum(done.different.values()),
        "skipped": dict(done.skipped),
        "complete": recorded.complete,
        "cut": recorded.cut,
        "wrong": wrong,
        "until_s": round(recorded.until_s, 3),
        "equal_until_s": round(equal_until_s, 3),
        "ended": recorded.ended,
        "digest": recorded.digest if recorded.complete else None,
        "digest_compared": expected is not None,
    }


def _rebuilt(recorded: RunReader, path: Path) -> Replay:
    """Tracker, policy and gate as the recorded configuration has them, ready to decide."""
    from sonosteer.core.config import from_dict
    from sonosteer.runtime.replay import Replay
    from sonosteer.safety.gate import Gate
    from sonosteer.safety.limits import Limits
    from sonosteer.safety.memory import EXACT
    from sonosteer.safety.regions import Circle

    said = recorded.configuration
    try:
        task, hint = said["task"], said["hint"]
        limits = {k: tuple(v) if isinstance(v, list) else v for k, v in said["limits"].items() if k != "_type"}
        regions = tuple(Circle(r["name"], tuple(r["center_mm"]), r["radius_mm"]) for r in said["regions"])
        xx, xy, yy = (float(v) for v in said.get("calibration_mm2", EXACT))
        shows_depth = said.get("shows_depth", True)
        if not isinstance(shows_depth, bool):
            raise TypeError(f"shows_depth is {shows_depth!r}")
        tracker, decider = steering_deciders(said) if "steered" in said else _inserting_deciders(said)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(
            f"{path} does not say what decided ({e}): it is no recording of sonosteer insert or steer run"
        ) from None
    tracker.prepare()
    decider.prepare()
    checked = from_dict(Limits, limits, "recorded limits")
    gate = Gate(checked, regions, task.spacing, shows_depth=shows_depth, calibration_mm2=(xx, xy, yy))
    return Replay(tracker, decider, gate, task, hint)


def _inserting_deciders(said: Mapping[str, Any]) -> tuple[Tracker[Any], Policy[Any]]:
    """Tracker and policy of `sonosteer insert`."""
    from sonosteer.policies.table import make_policy
    from sonosteer.trackers.table import make_tracker

    command = said["command"]
    policy, method = command["policy"], command["method"]
    tracker = make_tracker(method, **parsing.parse_settings(command["tracker_settings"]))
    return tracker, make_policy(policy, **parsing.parse_settings(command["settings"]))


def _tell(path: Path, result: dict[str, Any]) -> None:
    print(f"{path}: {result['decisions']} decisions up to {result['until_s']:.2f} s decided again")
    for name in ("estimates", "actions", "verdicts"):
        print(f"  {name:10} {result[name]} equal")
    for why, count in result["skipped"].items():
        print(f"  skipped    {count}: {why}")
    if not result["complete"]:
        print(f"  the recording was {result['cut']}")
    if not result["equal"]:
        print(f"  equal up to {result['equal_until_s']:.2f} s")
    elif not result["digest_compared"]:
        print(f"  digest     {result['digest']}: compare it with the one that the run printed")
    terminal.print_notice()
