"""`sonosteer insert` and `sonosteer replay`: options -> rig, deciders, gate -> runtime -> recording and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonosteer.app import NOTICE, make_folder, say
from sonosteer.core.config import from_dict, save_json
from sonosteer.core.errors import BrokenError, InputError, InterruptedRunError
from sonosteer.options import parse_settings

RECORDING = "recording.mcap"


@dataclass(frozen=True, slots=True)
class InsertOptions:
    """What was typed. forbid: circle:X,Y,RADIUS in mm of the first frame. settings, tracker_settings: of --set."""

    policy: str = "vla"
    mode: str = "ips"
    seed: int = 0
    method: str = "vla"
    scene: str = "in-plane-convex/test"
    live: bool = False
    synchronous: bool = False
    forbid: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    tracker_settings: tuple[str, ...] = ()


def insert(options: InsertOptions, out: Path | None, *, as_json: bool) -> dict[str, Any]:
    """`sonosteer insert`: one simulated robotic insertion, recorded."""
    from contextlib import ExitStack

    from sonosteer.episodes.insertion import EpisodeResult, build_episode, run_episode
    from sonosteer.recording.run_log import RunLog
    from sonosteer.recording.summary import versions

    episode = build_episode(_setup(options))
    if out is not None:
        make_folder(out)
    done: EpisodeResult
    with ExitStack() as open_files:
        log = None
        if out is not None:
            log = RunLog(out / RECORDING, _configuration(options, episode), live=options.live)
            open_files.enter_context(log)
        done = run_episode(episode, recorder=log, button=_button(options))
        if log is not None:
            log.write("/ledger", done.run.time_s, done.run.fates.counts())
            log.close(done.run.ended)
    result = done.summary()
    if not math.isfinite(result["final_error_mm"]):
        result["final_error_mm"] = None
    if out is not None:
        summary = {
            **result,
            "ended": done.run.ended,
            "held_because": dict(done.held_because),
            "counts": done.run.fates.counts(),
            "timing": _latency(done),
            "recorder": {"failed": log.failed, "pictures_dropped": dict(log.dropped)} if log is not None else {},
            "configuration": {k: getattr(options, k) for k in options.__dataclass_fields__},
            "versions": versions(),
        }
        save_json(summary, out / "summary.json")
        write_pictures(out, done, options, summary)
    if done.run.ended == "interrupted":
        kept = f"; what was done is in {out}" if out else ""
        raise InterruptedRunError(f"interrupted after {done.run.time_s:.1f} s{kept}")
    if as_json:
        say(result, as_json)
        return result
    _tell(done, result, out, options)
    return result


def _button(options: InsertOptions) -> Any:
    """The terminal's keys, where a live run has a terminal."""
    import sys

    from sonosteer.runtime.button import Button, listen

    if not options.live or not sys.stdin.isatty():
        return None
    print("stop: s and Enter; release the stop: r and Enter", file=sys.stderr)
    button = Button()
    listen(button, sys.stdin)
    return button


def _setup(options: InsertOptions) -> Any:
    from sonosteer.episodes.insertion import InsertionConfig
    from sonosteer.runtime.insertion import Pace

    if options.mode not in ("ips", "ipm"):
        raise InputError(f"--mode {options.mode}: ips (the probe stands still) and ipm (it moves along) are possible")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}: it must be 0 or more")
    return InsertionConfig(
        options.policy,
        "ips" if options.mode == "ips" else "ipm",
        options.seed,
        options.scene,
        options.method,
        parse_settings(options.settings),
        parse_settings(options.tracker_settings),
        pace=Pace(asynchronous=not options.synchronous),
        regions=tuple(_circle(i, text) for i, text in enumerate(options.forbid)),
        live=options.live,
    )


def _circle(i: int, text: str) -> Any:
    from sonosteer.safety.regions import Circle

    kind, _, numbers = text.partition(":")
    try:
        x, y, radius = (float(v) for v in numbers.split(","))
    except ValueError:
        kind = ""
        x = y = radius = math.nan
    if kind != "circle" or not all(map(math.isfinite, (x, y, radius))):
        raise InputError(f"--forbid {text}: give circle:X,Y,RADIUS in mm of the first frame")
    return Circle(f"forbidden region {i + 1}", (x, y), radius)


def _configuration(options: InsertOptions, episode: Any) -> dict[str, Any]:
    """All that a replay needs to build the same deciders again."""
    return {
        "command": {k: getattr(options, k) for k in options.__dataclass_fields__},
        "task": episode.task,
        "hint": episode.hint,
        "limits": episode.setup.limits,
        "regions": [
            {"name": r.name, "center_mm": r.center_mm, "radius_mm": r.radius_mm} for r in episode.setup.regions
        ],
    }


def replay(recording: Path, *, as_json: bool) -> dict[str, Any]:
    """`sonosteer replay`: decide everything of a recorded run again. BrokenError if anything is decided otherwise."""
    from sonosteer.policies.table import make_policy
    from sonosteer.recording.run_reader import RunReader
    from sonosteer.runtime.replay import Replay
    from sonosteer.safety.gate import Gate
    from sonosteer.safety.regions import Circle
    from sonosteer.trackers.table import make_tracker

    path = recording / RECORDING if recording.is_dir() else recording
    recorded_run = RunReader(path)
    said = recorded_run.configuration
    try:
        command, task, hint = said["command"], said["task"], said["hint"]
        limits = {k: v for k, v in said["limits"].items() if k != "_type"}
        regions = tuple(Circle(r["name"], tuple(r["center_mm"]), r["radius_mm"]) for r in said["regions"])
        policy, method = command["policy"], command["method"]
    except (KeyError, TypeError, AttributeError) as e:
        raise InputError(f"{path} does not say what decided ({e}): it is no recording of sonosteer insert") from None
    tracker = make_tracker(method, **parse_settings(command["tracker_settings"]))
    decider = make_policy(policy, **parse_settings(command["settings"]))
    tracker.prepare()
    decider.prepare()
    gate = Gate(_limits(limits), regions, task.spacing)
    done = Replay(tracker, decider, gate, task, hint).run(recorded_run)
    result: dict[str, Any] = {
        "equal": done.first is None and done.decisions > 0,
        "decisions": done.decisions,
        "estimates": done.equal["estimate"],
        "actions": done.equal["action"],
        "verdicts": done.equal["verdict"],
        "different": sum(done.different.values()),
        "skipped": dict(done.skipped),
        "complete": recorded_run.complete,
        "cut": recorded_run.cut,
        "until_s": round(recorded_run.until_s, 3),
        "ended": recorded_run.ended,
    }
    if as_json:
        say(result, as_json)
    else:
        print(f"{path}: {done.decisions} decisions up to {recorded_run.until_s:.2f} s decided again")
        for name in ("estimates", "actions", "verdicts"):
            print(f"  {name:10} {result[name]} equal")
        for why, count in done.skipped.items():
            print(f"  skipped    {count}: {why}")
        if not recorded_run.complete:
            print(f"  the recording was {recorded_run.cut}")
        print(NOTICE)
    if done.first is not None:
        raise BrokenError(f"{result['different']} decisions differ from the recorded ones; the first: {done.first}")
    if not done.decisions:
        raise BrokenError(f"{path} holds no decision that could be made again")
    return result


def _limits(said: Mapping[str, Any]) -> Any:
    from sonosteer.safety.limits import Limits

    return from_dict(Limits, {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}, "recorded limits")


# -- what is shown ---------------------------------------------------------------------------------------------


def _latency(done: Any) -> dict[str, dict[str, float]]:
    from sonosteer.metrics.latency import percentiles_ms

    return {episode: percentiles_ms(times) for episode, times in done.run.fates.times_ms.items() if times}


def _tell(done: Any, result: dict[str, Any], out: Path | None, options: InsertOptions) -> None:
    word = "reached" if result["success"] else "missed"
    who = f"{options.policy}{' (simulated operator)' if options.policy == 'operator' else ''}"
    error = "" if result["final_error_mm"] is None else f", tip {result['final_error_mm']:.2f} mm from it"
    asked = f"{who}, {options.mode}, seed {options.seed}"
    print(f"target {word}: {result['reason']}{error}, {result['time_s']:.1f} s ({asked})")
    print(f"tracking {result['tracking_hz']:.1f} a second, actions {result['action_hz']:.1f} a second")
    for episode, t in _latency(done).items():
        numbers = f"p50 {t['median_ms']:.1f}, p95 {t['p95_ms']:.1f}, p99 {t['p99_ms']:.1f} ms"
        print(f"capture to {episode:9} {numbers}")
    counts = done.run.fates.counts()
    print("frames: " + ", ".join(f"{counts[k]} {k}" for k in ("captured", "used", "late", "dropped", "refused")))
    for rule, count in result["refused"].items():
        print(f"refused by the gate: {count} x {rule}")
    if out is not None:
        for name in (RECORDING, "overlay.mp4", "report.html", "summary.json"):
            print(f"  {out / name}")
    print(NOTICE)


def write_pictures(out: Path, done: Any, options: InsertOptions, summary: Mapping[str, Any]) -> None:
    """overlay.mp4 and report.html of a run, from its recording."""
    import numpy as np

    from sonosteer.viz.insertion_plots import speed_and_visibility
    from sonosteer.viz.insertion_report import write_insertion_report
    from sonosteer.viz.plots import standalone

    rows = np.array(done.run.rows, np.float64).reshape(-1, 7)
    title = f"{options.policy}, {options.mode}, seed {options.seed}: {done.outcome.reason}"
    figure = speed_and_visibility(rows, done.errors_mm, title) if len(rows) else ""
    if figure:
        (out / "insertion.svg").write_text(standalone(figure))
    sheet = _overlay(out, done)
    write_insertion_report(out / "report.html", title, summary, figure, sheet)


def _overlay(out: Path, done: Any) -> Sequence[tuple[str, Any]]:
    """Write overlay.mp4 from the recording; returns a dozen of its pictures with captions."""
    from sonosteer.core.protocols import SourceInfo
    from sonosteer.core.types import Lost
    from sonosteer.recording.clips import open_clip
    from sonosteer.recording.run_reader import RunReader
    from sonosteer.viz.insertion_overlay import draw_insertion

    recorded_run = RunReader(out / RECORDING)
    estimates = {m.what["estimate"].frame_index: m.what["estimate"] for m in recorded_run.messages("/estimate")}
    robot_states = {
        m.what["observation"].frame_index: m.what["observation"] for m in recorded_run.messages("/decision")
    }
    truths = {t.frame_index: t for t in done.truths}
    total = max(len(truths), 1)
    kept = {round(i * (total - 1) / 11) for i in range(12)}
    clip, sheet, last = None, [], None
    for frame in recorded_run.frames():
        if clip is None:
            info = SourceInfo("insertion", "simulated", frame.size_px, None, None, frame.spacing)
            clip = open_clip(out / "overlay.mp4", info)
        last = estimates.get(frame.index, last)
        estimate = last or Lost(frame.index, frame.time_s, "not tracked yet")
        truth = truths.get(frame.index)
        probe = (0.0, 0.0, 0.0) if truth is None else truth.probe_mm
        picture = draw_insertion(frame, estimate, done.task.target_at(probe), truth)
        clip.add(picture, frame.time_s)
        if frame.index in kept:
            seen = robot_states.get(frame.index)
            speed = "" if seen is None else f", {seen.robot_state.speed_mm_s:.1f} mm/s"
            sheet.append((f"{frame.time_s:.2f} s{speed}", picture))
    if clip is not None:
        clip.close()
    return sheet
