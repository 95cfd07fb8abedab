"""What `sonosteer insert` records, writes and says, on the simulated rig and on a live source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sonosteer.commands import parsing, terminal
from sonosteer.core.errors import SonosteerError

if TYPE_CHECKING:
    from sonosteer.console.live_feed import LiveFeed
    from sonosteer.core.types import Frame, Hint, Observation, Task
    from sonosteer.episodes.insertion_files import DrawnRun
    from sonosteer.recording.run_log import RunLog
    from sonosteer.runtime.button import Button
    from sonosteer.runtime.viewing import RunViewer
    from sonosteer.safety.gate import Gate

    class DoneRun(DrawnRun, Protocol):
        """What came of an insertion."""

        refused: Counter[str]
        """Number of actions that the gate refused, by rule."""
        held_because: Counter[str]
        """Number of control periods at hold, by rule."""

        def summary(self) -> dict[str, Any]:
            """Return its numbers."""
            ...

    Watching = Callable[[Frame, Observation | None], None]
    #: (recorder, watch, button, viewer) -> what came of it
    CarryOut = Callable[[RunLog | None, Watching, Button | None, RunViewer | None], DoneRun]


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """An insertion that is ready to begin, and what its recording says of it."""

    insert: CarryOut
    """Does it."""
    title: Callable[[DoneRun], str]
    """Title of its report."""
    configuration: Mapping[str, Any]
    """All that a replay needs to build tracker, policy and gate again."""
    typed: Mapping[str, Any]
    """The command's words as typed."""
    live: bool
    """True on a real clock."""
    feed: LiveFeed | None = None
    """The console that looks at it. None where no page is shown."""


def configuration_of(
    typed: Mapping[str, Any], gate: Gate, task: Task, hint: Hint, **more: Mapping[str, Any]
) -> dict[str, Any]:
    """All that a replay needs to build tracker, policy and gate again."""
    from sonosteer.safety.regions import Circle

    circles = [r for r in gate.regions if isinstance(r, Circle)]
    regions = [{"name": r.name, "center_mm": r.center_mm, "radius_mm": r.radius_mm} for r in circles]
    return {
        "command": typed,
        "task": task,
        "hint": hint,
        "limits": gate.limits,
        "regions": regions,
        "calibration_mm2": gate.calibration_mm2,
        "shows_depth": gate.shows_depth,
        **more,
    }


def carried_out(
    insertion: Insertion, out: Path | None, *, as_json: bool, tell: Callable[[DoneRun, Mapping[str, Any]], None]
) -> None:
    """Insert, record, write the results and say what came of it. Raises what ended the run, if anything did."""
    from sonosteer.recording.output_folder import claimed_folder

    quiet = as_json or insertion.live  # nothing disturbs a live run
    with claimed_folder(out), terminal.shown_progress("inserting", quiet=quiet) as progress:
        frames = 0

        def count(*_: object) -> None:
            nonlocal frames
            frames += 1
            progress("frames", frames, 0)

        done, log = _recorded(insertion, out, count)
        result = done.summary() | ({} if log is None else {"digest": log.digest})
        if out is not None and log is not None:
            progress("writing the report", 0, 0)
            _write_results(out, done, result, log, insertion)
    if as_json:
        terminal.print_json(result)
    else:
        tell(done, result)
        _tell_run(done, result)
        if out is not None:
            terminal.print_files(out, (parsing.RECORDING, "overlay.mp4", "report.html", "summary.json"))
            print(f"digest of the recording: {result['digest'] or 'none, since it is not whole'}")
        terminal.print_notice()
    terminal.raise_what_ended(done.run, None if log is None else log.error, out)


def _recorded(insertion: Insertion, out: Path | None, watch: Watching) -> tuple[DoneRun, RunLog | None]:
    """Insert and record. Returns the result and the closed recorder, None where nothing is recorded."""
    from sonosteer.recording.run_log import RunLog

    live, feed = insertion.live, insertion.feed
    with ExitStack() as opened:
        log = None
        if out is not None:
            log = opened.enter_context(RunLog(out / parsing.RECORDING, insertion.configuration, live=live))
        button = terminal.operators_button(live=live) if feed is None else feed.button
        done = insertion.insert(log, watch, button, feed)
        if feed is not None:
            feed.end(done.run.ended)
        if log is not None:
            log.write("/ledger", done.run.time_s, done.run.ledger.counts())
            log.close(done.run.ended)
    return done, log


def _write_results(out: Path, done: DoneRun, result: Mapping[str, Any], log: RunLog, insertion: Insertion) -> None:
    """Write summary.json, overlay.mp4, insertion.svg and report.html. If the recorder failed, its error is raised."""
    from sonosteer.episodes.insertion_files import write_insertion_files
    from sonosteer.recording.summary import versions, write_summary

    summary = {
        **result,
        "ended": done.run.ended,
        "held_because": dict(done.held_because),
        "counts": done.run.ledger.counts(),
        "timing": _latency(done),
        "recorder": {"failed": log.failed, "pictures_dropped": dict(log.dropped)},
        "configuration": insertion.typed,
        "versions": versions(),
    }
    try:
        write_summary(out / "summary.json", summary)
        recording = out / parsing.RECORDING
        write_insertion_files(out, done, title=insertion.title(done), summary=summary, recording=recording)
    except (SonosteerError, OSError) as e:
        raise log.error or e from None


def _latency(done: DoneRun) -> dict[str, dict[str, float]]:
    from sonosteer.metrics.latency import percentiles_ms

    return {stage: percentiles_ms(times) for stage, times in done.run.ledger.times_ms.items() if times}


def _tell_run(done: DoneRun, result: Mapping[str, Any]) -> None:
    print(f"tracking {result['tracking_hz']:.1f} a second, actions {result['action_hz']:.1f} a second")
    for stage, t in _latency(done).items():
        numbers = f"p50 {t['median_ms']:.1f}, p95 {t['p95_ms']:.1f}, p99 {t['p99_ms']:.1f} ms"
        print(f"capture to {stage:9} {numbers}")
    counts = done.run.ledger.counts()
    print("frames: " + ", ".join(f"{counts[k]} {k}" for k in ("captured", "used", "late", "dropped", "refused")))
    for rule, count in result["refused"].items():
        print(f"refused by the gate: {count} x {rule}")
