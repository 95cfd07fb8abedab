"""`sonosteer bench live-insertion [--robot ur]`: ten insertions in five processes, the same in one, and a dry run.

The way from picture to order is read from the recordings: from a frame's acquisition, stamped by the scanner on this
machine's clock, to the first control period that cleared an order of it. Everything runs in real time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.progress import CountProgress
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.run_reader import RunReader
from sonosteer.recording.summary import versions
from sonosteer.testing.stand_in import StandIn

HERE = "sonosteer.testing.live_insertion"
INSERTIONS = 10
RATE_HZ = 10.0  # chosen: two busy cores draw, track and decide so often
LONGEST_S = 60.0
DRY_S = 8.0
GIVEN_UP_S = 240.0  # chosen: start and report take their time on a busy machine
RIG = """format = "sonosteer rig"
version = 1
name = "stand-ins"
state_age_s = 0.2

[guide]
kind = "sonosteer.testing.live_insertion.robot:GuidePart"
address = "tcp://127.0.0.1:{guide}"

[needle]
zero = "absolute"
"""
RobotKind: TypeAlias = Literal["line", "ur"]
#: what pushes the needle -> the rest of its table
PUSHES: Mapping[RobotKind, str] = {
    "line": """kind = "line"
address = "tcp://127.0.0.1:{drive}"
margin_s = 0.024
""",
    "ur": """kind = "ur"
host = "127.0.0.1"
moves = "insertion"
zero_mm = {zero_mm}
rtde_port = {port}
dashboard_port = {dashboard_port}
script_port = {script_port}
""",
}


@dataclass(frozen=True, slots=True)
class LiveTrial:
    """What came of one insertion in five processes."""

    seed: int
    """Seed of scene, target and click."""
    success: bool
    """Whether the needle stopped within reach of the target, by the scanner's truth."""
    reason: str
    """How it ended, by the truth, or why the run ended."""
    final_error_mm: float | None
    """True distance from the target at the end, mm."""
    moved_mm: float
    """How far the scanner's needle moved in all, mm."""
    orders_ms: tuple[float, ...]
    """From acquisition to the first order that came of a frame, ms."""
    replayed: bool
    """Whether `sonosteer replay` found the recording equal."""
    summary: dict[str, Any]
    """summary.json of the run."""


def live_trial(
    seed: int,
    folder: Path,
    *,
    policy: str = "vla",
    tracker: str = "vla",
    rate_hz: float = RATE_HZ,
    dry_run: bool = False,
    robot_kind: RobotKind = "line",
) -> LiveTrial:
    """Do one insertion in five processes. robot_kind: what pushes the needle.

    Raises BrokenError if sonosteer did not come to an end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"seed": seed, "policy": policy, "tracker": tracker, "scene_fields": {"rate_hz": rate_hz}}
    (folder / "scanner.json").write_text(json.dumps(asked), encoding="utf-8")
    episode = build_episode(InsertionConfig(**asked))  # type: ignore[arg-type]
    rig = episode.world.rig
    port = _free_port()
    with ExitStack() as started:

        def start(page: str, *words: object) -> StandIn:
            stand_in = StandIn(f"{HERE}.{page}", *map(str, words))
            started.callback(stand_in.close)
            return stand_in

        robot = start("robot", rig.depth_mm, rig.insertion_angle_rad, rig.roll_rad, robot_kind)
        scanner = start("scanner", folder / "scanner.json", port)
        start("encoders", robot.first["guide"], scanner.first["encoder_port"])
        link = start("link", port)
        (folder / "rig.toml").write_text((RIG + PUSHES[robot_kind]).format(**robot.first), encoding="utf-8")
        before_mm = robot.ask()["depth_mm"]
        words = _words(episode, link.first["port"], folder, dry_run=dry_run)
        ended = _sonosteer(words)
        seen, moved_mm = scanner.ask(), robot.ask()["depth_mm"] - before_mm
    out = folder / "run"
    if not (out / "summary.json").exists():
        raise BrokenError(f"sonosteer insert ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    outcome = seen["judged"] or (seen["if_stopped"] if summary["stopped"] else None)
    return LiveTrial(
        seed=seed,
        success=outcome is not None and bool(outcome["success"]),
        reason=summary["reason"] if outcome is None else outcome["reason"],
        final_error_mm=None if outcome is None else outcome["final_error_mm"],
        moved_mm=max(seen["moved_mm"], abs(moved_mm)),
        orders_ms=tuple(1e3 * each for each in capture_to_order_s(RunReader(out / "recording.mcap"))),
        replayed=_sonosteer(["replay", str(out), "--json"]).returncode == 0,
        summary=summary,
    )


def capture_to_order_s(recorded: RunReader) -> Iterator[float]:
    """From each frame's acquisition to the first order that came of it, s. Of a dry run: that would have come."""
    captured_s: dict[int, float] = {}
    ordered: set[int] = set()
    for message in recorded.messages("/decision", "/tick"):
        what = message.what
        if message.topic == "/decision":
            captured_s[what["action"].frame_index] = what["action"].capture_time_s
            continue
        verdict, frame = what.get("would") or what["verdict"], what["action"]
        if "command" in verdict and frame in captured_s and frame not in ordered:
            ordered.add(frame)
            yield message.time_s - captured_s[frame]


def _words(episode: Any, port: int, folder: Path, *, dry_run: bool) -> list[str]:
    """The command as anybody would type it."""
    config, task = episode.config, episode.task
    x_mm, y_mm = task.spacing.to_mm(task.target_px)
    words = ["insert", "--live", f"igtl://127.0.0.1:{port}/Image?clock=shared", "--orientation", "MF"]
    words += ["--rig", str(folder / "rig.toml"), "--out", str(folder / "run"), "--json"]
    words += ["--enters", task.enters, "--target-mm", f"{x_mm:.4f},{y_mm:.4f}"]
    words += ["--start", "{:.2f},{:.2f}".format(*episode.hint.start_px)]
    words += ["--policy", config.policy, "--method", config.tracker, "--mode", config.mode]
    return [*words, "--seconds", str(DRY_S), "--dry-run"] if dry_run else [*words, "--seconds", str(LONGEST_S)]


def _sonosteer(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command. It has a session of its own, which has its own share of a busy machine."""
    command = [sys.executable, "-m", "sonosteer", *words]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        return subprocess.run(command, **quiet, timeout=GIVEN_UP_S, start_new_session=True)
    except subprocess.TimeoutExpired:
        raise BrokenError(f"sonosteer {words[0]} did not end within {GIVEN_UP_S:g} s") from None


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def in_process_trial(seed: int, *, rate_hz: float = RATE_HZ) -> dict[str, Any]:
    """The same insertion in one process on the simulated clock."""
    return run_episode(build_episode(InsertionConfig(seed=seed, scene_fields={"rate_hz": rate_hz}))).summary()


def bench_live_insertion(
    *, seed: int, progress: CountProgress, robot: RobotKind = "line", insertions: int = INSERTIONS
) -> dict[str, Any]:
    """`sonosteer bench live-insertion`. robot: what pushes the needle. Raises InputError if there is no such robot."""
    if robot not in PUSHES:
        raise InputError(f"there is no robot {robot!r} for this: give {' or '.join(PUSHES)}")
    trials, within, load = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(insertions):
            within.append(in_process_trial(seed + k))
            trials.append(live_trial(seed + k, Path(folder) / f"live-{k}", robot_kind=robot))
            load.append(os.getloadavg()[0])
            progress(k + 1)
        dry = live_trial(seed, Path(folder) / "dry", dry_run=True, robot_kind=robot)
        progress(insertions + 1)
    return {
        "name": "live insertion",
        "machine": versions() | {"load": max(load), "cores": os.cpu_count()},
        "rate_hz": RATE_HZ,
        "robot": robot,
        "insertions": insertions,
        "success": sum(t.success for t in trials),
        "success_in_process": sum(bool(each["success"]) for each in within),
        "replayed_equal": sum(t.replayed for t in trials),
        "dry_run": {"moved_mm": dry.moved_mm, "replayed_equal": dry.replayed, "orders": len(dry.orders_ms)},
        "trials": [_row(t, inside) for t, inside in zip(trials, within, strict=True)],
        "cases": _cases(trials, dry),
        "notes": (
            f"{sum(t.success for t in trials)} of {insertions} insertions reached the target in five processes, "
            f"{sum(bool(each['success']) for each in within)} in one. "
            f"{sum(t.replayed for t in trials)} replayed equal. "
            f"The dry run moved {dry.moved_mm:.3f} mm. {RATE_HZ:g} pictures a second, in real time. "
            f"Load of the machine: {min(load):.1f} to {max(load):.1f} on {os.cpu_count()} cores."
        ),
    }


def _row(trial: LiveTrial, inside: dict[str, Any]) -> dict[str, Any]:
    return {
        "seed": trial.seed,
        "success": trial.success,
        "reason": trial.reason,
        "final_error_mm": trial.final_error_mm,
        "time_s": trial.summary["time_s"],
        "replayed_equal": trial.replayed,
        "success_in_process": inside["success"],
        "final_error_in_process_mm": inside["final_error_mm"],
        "frames": {k: trial.summary["counts"][k] for k in ("captured", "used", "late")},
        "held_because": trial.summary["held_because"],
    }


def _cases(trials: Sequence[LiveTrial], dry: LiveTrial) -> list[dict[str, Any]]:
    orders = [each for t in trials for each in t.orders_ms]
    named = {"capture to order": orders, "capture to order, dry run": list(dry.orders_ms)}
    return [{"case": n, **percentiles_ms(ms), "n": len(ms), "ratio": {}} for n, ms in named.items() if ms]
