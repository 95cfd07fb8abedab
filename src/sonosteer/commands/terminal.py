"""What a command says while it works and when it is done: progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonosteer.core.errors import BrokenError, InterruptedRunError, SonosteerError, with_options
from sonosteer.core.notice import NOT_A_DEVICE
from sonosteer.core.progress import StageProgress

if TYPE_CHECKING:
    from sonosteer.core.protocols import SourceInfo
    from sonosteer.runtime.button import Button
    from sonosteer.runtime.insertion import Run

QUICK_RUN = "A quick run: too few trials to conclude from."
EVERY_S = 10.0  # chosen: a line often enough to see that work goes on, and seldom enough for a log

# -- progress ------------------------------------------------------------------------------------------------


class PlainLines:
    """Progress for a pipe or a log file: a line every ten seconds and one at the end, without control characters."""

    def __init__(
        self,
        what: str,
        write: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._write, self._now_s = what, write, now_s
        self._began_s = self._said_s = now_s()
        self._last = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is. A total of 0 is not known."""
        count = f"{done} of {total}" if total else str(done) if done else ""
        self._last = ", ".join(filter(None, (stage, count)))
        if self._now_s() - self._said_s >= EVERY_S:
            self._say(self._last)

    def finish(self) -> None:
        """Say that the work is done."""
        self._say("done")

    def _say(self, text: str) -> None:
        self._said_s = self._now_s()
        self._write(f"{self._what}: {text} ({self._said_s - self._began_s:.0f} s)")


@contextmanager
def shown_progress(what: str, *, quiet: bool) -> Iterator[StageProgress]:
    """Show how far work is: a bar on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        with _bar(what) as progress:
            yield progress
    else:
        lines = PlainLines(what)
        yield lines
        lines.finish()


@contextmanager
def _bar(what: str) -> Iterator[StageProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, shown = bar.add_task(what, total=None), ""

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal task, shown
            if stage != shown:  # a new stage begins its own count and its own estimate of the time left
                bar.remove_task(task)
                task, shown = bar.add_task(f"{what}: {stage}", total=total or None), stage
            bar.update(task, completed=done, total=total or None)

        yield progress


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Turn Ctrl-C into an InterruptedRunError that says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted; {kept}") from None


def raise_what_ended(run: Run, failed: SonosteerError | None, out: Path | None) -> None:
    """Give the end of a closed-loop run its exit code (docs/reference/exit-codes.md). One that is done raises nothing.

    failed: what the recorder says of itself. out: where the results are.
    """
    kept = f"; what was done is in {out}" if out else ""
    if failed is not None:
        raise failed
    if run.interrupted:
        raise InterruptedRunError(f"{run.ended} after {run.time_s:.1f} s{kept}")
    if run.broke is not None:
        raise BrokenError(f"the run broke off after {run.time_s:.1f} s: {run.broke}{kept}")


def operators_button(*, live: bool, button: Button | None = None) -> Button | None:
    """Let the terminal's keys press a button, where a live run has a terminal.

    button: one that something else presses, too. Returns it, or None where there is none and no terminal.
    """
    from sonosteer.runtime.button import Button, listen

    if not live or not sys.stdin.isatty():
        return button
    print("stop: s and Enter; release the stop: r; pause: p; continue: c", file=sys.stderr)
    print("by hand, while the tip is lost: back b, forth f", file=sys.stderr)
    button = button or Button()
    listen(button, sys.stdin)
    return button


# -- results -------------------------------------------------------------------------------------------------


def print_json(result: Any) -> None:
    """Print one JSON object. NaN is refused, since JSON has none."""
    from sonosteer.core.config import to_dict

    print(json.dumps(to_dict(result), allow_nan=False))


def print_notice() -> None:
    """Print what this software is not."""
    print(NOT_A_DEVICE)


def print_numbers(result: Mapping[str, Any]) -> None:
    """Print a line for every number that is known, and the notice."""
    print_lines(result)
    print_notice()


def print_lines(result: Mapping[str, Any]) -> None:
    """Print a line for every number that is known."""
    for key, value in result.items():
        if value is not None:
            print(f"{key:22} {value:.6g}")


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table. Brackets in its cells are text, not markup."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def print_files(out: Path, names: Iterable[str]) -> None:
    """Print where results are, a line for every file."""
    for name in names:
        print(f"  {out / name}")


def tell_line(line: str) -> None:
    """Say one thing on stderr, with parameters spelled as options."""
    print(f"sonosteer: {' '.join(with_options(line).split())}", file=sys.stderr)


def tell_notes(info: SourceInfo) -> None:
    """Say on stderr what was left out or turned while a source was read, a line each."""
    for note in info.notes:
        print(f"sonosteer: {info.name}: {note}", file=sys.stderr)


def tell_bad(summary: Mapping[str, Any]) -> None:
    """Say on stderr which pictures could not be read, a line for each reason."""
    for reason in summary["counts"]["bad_because"]:
        print(f"sonosteer: {' '.join(reason.split())}; it is lost, the rest goes on", file=sys.stderr)


def tell_tracked(out: Path, summary: Mapping[str, Any], *, as_json: bool, stills: bool = False) -> None:
    """Say how a clip was tracked and where the results are."""
    if as_json:
        print_json(summary)
        return
    counts = summary["counts"]
    bad = f" ({counts['bad']} of them cannot be read)" if counts["bad"] else ""
    print(
        f"{counts['frames']} {'pictures' if stills else 'frames'}: {counts['tracking']} tracking, "
        f"{counts['coasting']} coasting, {counts['lost']} lost{bad}, {counts['dropped']} dropped"
    )
    if "received" in summary:
        _tell_stream(summary)
    from sonosteer.episodes.advice import what_to_try

    for advice in what_to_try(summary):
        print(f"  {advice}")
    unscaled = summary["source"]["spacing"] is None
    if unscaled:
        print(f"scale {summary['scale']}")
    error, unit = summary["error"], "px" if unscaled else "mm"
    if error and error[f"mean_{unit}"] is not None:
        mean, p95 = error[f"mean_{unit}"], error[f"p95_{unit}"]
        print(f"tip error {mean:.2f} {unit} mean, {p95:.2f} {unit} at 95 % against the truth")
    timing = summary["timing"].get("track")
    if timing:
        print(f"tracking took {timing['median_ms']:.2f} ms a frame (p99 {timing['p99_ms']:.2f} ms)")
    print_files(out, ("report.html", "overlay" if stills else "overlay.mp4", "tips.csv", "summary.json"))
    print_notice()


def _tell_stream(summary: Mapping[str, Any]) -> None:
    """Say what became of everything that a live source sent, and how old pictures were."""
    bad = sum(summary["bad"].values())
    print(
        f"received {summary['received']} = {summary['seen']} seen + {summary['overwritten']} overwritten + {bad} bad"
        + (f" ({', '.join(f'{n} {why}' for why, n in summary['bad'].items())})" if bad else "")
    )
    for what, n in summary["faults"].items():
        print(f"fault: {what} ({n} times)")
    age = summary["timing"].get("age")
    if age:
        print(f"age when tracked: median {age['median_ms']:.0f} ms, 95 % {age['p95_ms']:.0f} ms")
    warning = summary["lag"].get("warning")
    if warning:
        print(f"lag: {warning}")


def tell_many(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say how many clips were tracked and where the results are."""
    done = [row for row in rows if row["outcome"] == "done"]
    states = ", ".join(f"{sum(row[s] or 0 for row in done)} {s}" for s in ("tracking", "coasting", "lost"))
    print(f"{len(done)} of {len(rows)} clips tracked: {states} frames")
    print_files(out, ("index.html", "summary.csv"))
    print_notice()
