"""The one place where everything meets: options -> objects -> runtime -> files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sonosteer.core.clock import RealClock
from sonosteer.core.config import to_dict
from sonosteer.core.errors import InputError, InterruptedRunError, SonosteerError
from sonosteer.core.protocols import Source
from sonosteer.core.types import Hint, Truth
from sonosteer.learning.training.options import TrainOptions
from sonosteer.options import (
    TrackOptions,
    nested,
    parse_frames,
    parse_hint,
    parse_settings,
    parse_spacing,
    parse_velocity,
)
from sonosteer.recording.tables import writing_failed

NOTICE = "Research software, not a medical device."
#: ours: an image smaller or larger than this has a wrong scale
SMALLEST_MM, LARGEST_MM = 4.0, 500.0


def make_folder(path: Path) -> None:
    """Create the output folder and see that it can be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as e:
        raise writing_failed(path, e, "nothing was written") from None


# -- commands ------------------------------------------------------------------------------------------------


def track(options: TrackOptions, *, as_json: bool) -> dict[str, Any]:
    """`sonosteer track`: tips.csv, overlay.mp4, report.html, summary.json in `options.out`."""
    from sonosteer.recording.truths import read_truth
    from sonosteer.sources.opening import open_source
    from sonosteer.sources.simulated import SimulatedSource
    from sonosteer.sources.velocity import WithVelocity

    velocity = parse_velocity(options.velocity_mm_s)
    spacing = parse_spacing(options.spacing_mm)
    start, stop = parse_frames(options.frames)
    hint = parse_hint(options.angle_deg, options.enters, options.start)
    tracker = _tracker(options)
    tracker.start(hint)  # a hint that is not enough is refused before anything is written
    source = open_source(options.source, spacing=spacing, seed=options.seed)
    _check_source(source, start)
    truths = {t.frame_index: t for t in read_truth(options.truth)} if options.truth else {}
    truth_of: Callable[[int], Truth | None] = truths.get
    if isinstance(source, SimulatedSource):
        truth_of = source.truth
    feed = source if velocity is None else WithVelocity(source, velocity)
    make_folder(options.out)
    summary = _run(options, source, feed, tracker, hint, start, stop, truth_of, quiet=as_json)
    if as_json:
        print(json.dumps(to_dict(summary), allow_nan=False))
    else:
        _tell(options.out, summary)
    return summary


def _tracker(options: TrackOptions) -> Any:
    """The method with its settings: defaults, then --config, then --set."""
    from sonosteer.core.config import from_dict, load_toml
    from sonosteer.trackers.table import TRACKERS

    settings = nested(parse_settings(options.settings), load_toml(options.config) if options.config else {})
    return from_dict(TRACKERS.load(options.method), settings, f"method {options.method}")


def _check_source(source: Source, start: int) -> None:
    info = source.info
    if info.spacing is None:
        raise InputError(f"{info.name}: the scale is unknown; give it with --spacing-mm X[,Y] in millimetres per pixel")
    width_mm, height_mm = info.spacing.to_mm((float(info.size_px[0]), float(info.size_px[1])))
    if not (min(width_mm, height_mm) >= SMALLEST_MM and max(width_mm, height_mm) <= LARGEST_MM):
        raise InputError(
            f"{info.name}: at {info.spacing.x_mm:g},{info.spacing.y_mm:g} mm per pixel the image would be "
            f"{width_mm:.4g} x {height_mm:.4g} mm, which is no ultrasound image; check --spacing-mm"
        )
    if info.frames == 1 and info.kind in ("video", "images"):
        raise InputError(f"{info.name} has one frame only: a clip of two or more is needed to track in")
    if info.frames is not None and start >= info.frames:
        raise InputError(
            f"--frames starts at {start}, but {info.name} has {info.frames} frames (0 to {info.frames - 1})"
        )


def _run(
    options: TrackOptions,
    source: Source,
    feed: Source,
    tracker: Any,
    hint: Hint,
    start: int,
    stop: int | None,
    truth_of: Callable[[int], Truth | None],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from sonosteer.recording.tips import TipsWriter
    from sonosteer.runtime.ledger import Ledger
    from sonosteer.runtime.tracking import Background
    from sonosteer.runtime.tracking import track as run_loop
    from sonosteer.viz.overlay import OverlayVideo

    info = source.info
    assert info.spacing is not None
    expected = None if info.frames is None else min(stop or info.frames, info.frames) - start
    ledger = Ledger(expected)
    tracker.prepare()
    keep = frozenset(round(i * ((expected or 12) - 1) / 11) for i in range(12))
    video = OverlayVideo(options.out / "overlay.mp4", info, truth_of, keep)
    broke: SonosteerError | None = None
    began_s = time.perf_counter()
    with TipsWriter(options.out / "tips.csv", info.spacing) as tips:
        try:
            with _progress("tracking", expected, quiet) as advance, Background(video) as background:
                watchers = (_Rows(tips), background)
                run_loop(
                    feed,
                    tracker,
                    hint,
                    RealClock(),
                    ledger,
                    start=start,
                    stop=stop,
                    watchers=watchers,
                    progress=advance,
                )
        except SonosteerError as e:
            broke = e
        except KeyboardInterrupt:
            ledger.interrupted = True
    try:
        video.close()
    except SonosteerError as e:
        broke = broke or e
    try:
        summary = _finish(options, source, tracker, ledger, video, truth_of, time.perf_counter() - began_s)
    except SonosteerError as e:
        raise broke or e from None
    if broke is not None:
        raise broke
    if ledger.interrupted:
        raise InterruptedRunError(f"interrupted; the {ledger.frames} frames done so far are in {options.out}")
    return summary


class _Rows:
    """Watches a run and writes tips.csv."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def saw(self, frame: Any, estimate: Any) -> None:
        self._writer.add(estimate)


def _finish(
    options: TrackOptions,
    source: Source,
    tracker: Any,
    ledger: Any,
    video: Any,
    truth_of: Callable[[int], Truth | None],
    elapsed_s: float,
) -> dict[str, Any]:
    """summary.json and report.html from what there is, also after a run that broke off."""
    from sonosteer.metrics.latency import percentiles_ms
    from sonosteer.metrics.tip_error import summarise, tip_errors
    from sonosteer.recording.summary import versions, write_summary
    from sonosteer.recording.tips import read_tips
    from sonosteer.viz.report import Story, write_report

    info = source.info
    assert info.spacing is not None
    rows = read_tips(options.out / "tips.csv")
    known = [t for t in (_truth_or_none(truth_of, r.frame) for r in rows) if t is not None]
    comparable = bool(rows) and any(t.tip_px is not None for t in known)
    errors = tip_errors(rows, known, info.spacing) if comparable else None
    summary: dict[str, Any] = {
        "command": "track",
        "counts": ledger.counts(),
        "dropped": ledger.dropped.total(),
        "timing": {stage: percentiles_ms(ms) for stage, ms in ledger.times_ms.items()},
        "elapsed_s": round(elapsed_s, 3),
        "error": summarise(errors) if errors is not None else None,
        "source": to_dict(info),
        "method": options.method,
        "seed": options.seed,
        "options": to_dict(options),
        "configuration": _public(to_dict(tracker)),
        "scene": to_dict(getattr(source, "scene", None)),
        "versions": versions(),
        "notice": NOTICE,
    }
    write_summary(options.out / "summary.json", summary)
    path = [(t.time_s, *info.spacing.to_mm(t.tip_px)) for t in known if t.tip_px is not None]
    story = Story(
        title=f"Needle tip in {Path(options.source).name} by {options.method}",
        summary=summary,
        tips=rows,
        times_ms=ledger.times_ms,
        sheet=video.sheet,
        video="overlay.mp4",
        errors=errors,
        error_numbers=summary["error"],
        truth=path,
    )
    write_report(options.out / "report.html", story)
    return summary


def _truth_or_none(truth_of: Callable[[int], Truth | None], frame: int) -> Truth | None:
    try:
        return truth_of(frame)
    except KeyError:
        return None


def _public(config: Any) -> Any:
    """Settings without the workspaces, whose names begin with an underscore."""
    if isinstance(config, dict):
        return {k: _public(v) for k, v in config.items() if not k.startswith("_")}
    return config


def simulate(
    setup: str,
    out: Path,
    truth: Path | None,
    *,
    seed: int,
    settings: list[str],
    frames: str | None,
    mode: str | None = None,
    as_json: bool,
) -> None:
    """`sonosteer simulate`: a clip and its truth."""
    from sonosteer.recording.clips import open_clip
    from sonosteer.recording.tables import LineWriter
    from sonosteer.recording.truths import TruthWriter
    from sonosteer.sources.simulated import SimulatedSource

    source = SimulatedSource(setup, seed=seed, **parse_settings(settings), **({"mode": mode} if mode else {}))
    start, stop = parse_frames(frames)
    _check_source(source, start)
    total = min(stop or source.info.frames or 0, source.info.frames or 0) - start
    for folder in (out.parent, truth.parent if truth else out.parent):
        make_folder(folder)
    clip = open_clip(out, source.info)
    table = TruthWriter(truth) if truth else None
    more = LineWriter(truth.with_suffix(".jsonl")) if truth else None
    done = 0
    try:
        with _progress("simulating", total, as_json) as advance:
            for frame in source.frames(start, stop):
                clip.add(frame.grey(), frame.time_s)
                if table is not None and more is not None:
                    table.add(source.truth(frame.index))
                    more.line(json.dumps(to_dict(source.truth(frame.index)), allow_nan=False))
                done += 1
                advance(done)
    finally:
        clip.close()
        for writer in (table, more):
            if writer is not None:
                writer.close()
    from sonosteer.core.config import save_json

    beside = out.with_name(out.name + ".json")
    result = {"clip": out, "truth": truth, "frames": done, "seed": seed, "scene": source.scene}
    save_json(result, beside)
    if as_json:
        print(json.dumps(to_dict(result), allow_nan=False))
    else:
        also = f" and {truth}" if truth else ""
        print(f"{done} frames of {source.scene.name} in {out}{also}; the scene is in {beside}")


def evaluate(tips: Path, truth: Path, *, spacing_mm: str | None, as_json: bool) -> dict[str, Any]:
    """`sonosteer evaluate`: errors of a track against truth."""
    from rich.table import Table

    from sonosteer.metrics.tip_error import summarise, tip_errors
    from sonosteer.recording.tips import read_tips
    from sonosteer.recording.truths import read_truth

    numbers = summarise(tip_errors(read_tips(tips), read_truth(truth), parse_spacing(spacing_mm)))
    if as_json:
        print(json.dumps(numbers, allow_nan=False))
        return numbers
    table = Table("measure", "value", title=f"{tips} against {truth}", title_justify="left")
    for key, value in numbers.items():
        if value is not None:
            said = " to ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else f"{value:.4g}"
            table.add_row(key, said)
    Console().print(table)
    return numbers


def demo(out: Path, *, seed: int, as_json: bool) -> None:
    """`sonosteer demo`: one simulated insertion from frames to report."""
    from sonosteer.sim.scenes import make_scene, planned_angles

    low, high = (round(math.degrees(a)) for a in planned_angles(make_scene("in-plane-linear", seed)))
    track(TrackOptions("sim:in-plane-linear", out, angle_deg=f"{low}:{high}", seed=seed), as_json=as_json)


def say(result: dict[str, Any], as_json: bool) -> None:
    """Print a result: as JSON, or a line for every number and the notice."""
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    for key, value in result.items():
        if value is not None:
            print(f"{key:22} {value:.6g}")
    print(NOTICE)


def study(name: str, out: Path, *, quick: bool, executor: str, seed: int, as_json: bool) -> None:
    """`sonosteer study`: published tables and figures."""
    from sonosteer.studies.table import STUDIES

    summary = _long(
        STUDIES.load(name),
        f"study {name}",
        f"interrupted; the trials done so far are in {out}: run it again to go on",
        out=out,
        quick=quick,
        executor=executor,
        seed=seed,
        as_json=as_json,
    )
    if summary is not None:
        for path in ("report.html", "README.md", "summary.json"):
            print(f"  {out / path}")
        print(NOTICE)


def train_options(
    data: Sequence[Path],
    preset: str,
    recipe: str,
    start: Path | None,
    device: Any,
    precision: Any,
    settings: list[str],
) -> TrainOptions:
    """What was typed, checked. InputError for what is not possible."""
    return TrainOptions(tuple(data), preset, recipe, start, device, precision, nested(parse_settings(settings), {}))


def train(
    stage: str, out: Path, options: TrainOptions, *, quick: bool, executor: str, seed: int, as_json: bool
) -> None:
    """`sonosteer train`: a training stage."""
    from sonosteer.learning.table import NETWORK_STAGES, STAGES

    run = STAGES.load(stage)
    more: dict[str, Any] = {"options": options} if stage in NETWORK_STAGES else {"executor": executor}
    report = _long(
        run,
        f"train {stage}",
        f"interrupted; what was learnt so far is in {out}: run it again to go on"
        if stage in NETWORK_STAGES
        else "interrupted; nothing had been learnt yet",
        out=out,
        quick=quick,
        seed=seed,
        as_json=as_json,
        **more,
    )
    if report is not None:
        for path in sorted(out.iterdir()):
            print(f"  {path}")


def _long(
    run: Callable[..., Any], what: str, interrupted: str, *, out: Path, as_json: bool, **options: Any
) -> Any | None:
    """Run long work into `out` under a progress bar; its result, or None once it has been printed as JSON."""
    make_folder(out)
    try:
        with _stages(what, as_json) as progress:
            result = run(out=out, progress=progress, **options)
    except KeyboardInterrupt:
        raise InterruptedRunError(interrupted) from None
    if as_json:
        print(json.dumps(to_dict(result), allow_nan=False))
        return None
    return result


def bench(name: str, *, seed: int, as_json: bool) -> None:
    """`sonosteer bench`: speed as ratios to references measured in the same run."""
    from rich.table import Table

    from sonosteer.benchmarks.table import BENCHMARKS

    with _progress(f"bench {name}", None, as_json) as advance:
        result = BENCHMARKS.load(name)(seed=seed, progress=advance)
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    table = Table("case", "median ms", "p95", "p99", "max", "times faster than", title=f"bench {name}, one thread")
    for case in result["cases"]:
        ratios = ", ".join(f"{k} {v:.1f}x" for k, v in case["ratio"].items())
        numbers = [f"{case[k]:.3f}" for k in ("median_ms", "p95_ms", "p99_ms", "max_ms")]
        table.add_row(case["case"], *numbers, ratios)
    Console().print(table)
    Console().print(result["notes"])


def doctor(*, as_json: bool) -> None:
    """`sonosteer doctor`: what is installed, what is missing, how to get it."""
    from importlib import metadata

    from rich.table import Table

    from sonosteer.recording.summary import versions
    from sonosteer.sim.scenes import SETUPS
    from sonosteer.sources.opening import SOURCES
    from sonosteer.trackers.table import TRACKERS

    needs = {
        "Gymnasium environments": (["gymnasium"], "env"),
        "MetaImage and NRRD sequences": (["SimpleITK"], "metaimage"),
        "DICOM ultrasound": (["pydicom", "python-gdcm", "pillow"], "dicom"),
        "Studies over a dask cluster": (["distributed"], "cluster"),
        "Method vla": (["onnxruntime", "safetensors"], "onnx"),
        "Training networks, Qwen2.5-VL": (["torch", "transformers", "accelerate", "onnx", "onnxscript"], "vla"),
    }
    extras = {}
    for what, (packages, extra) in needs.items():
        missing = []
        for package in packages:
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                missing.append(package)
        extras[what] = "installed" if not missing else f"missing: pip install 'sonosteer[{extra}]'"
    result = {
        "versions": versions(),
        "h264_encoder": _has_encoder(),
        "extras": extras,
        "sources": list(SOURCES),
        "methods": list(TRACKERS),
        "setups": list(SETUPS),
        "notice": NOTICE,
    }
    if as_json:
        print(json.dumps(result))
        return
    table = Table("what", "state", title="sonosteer doctor", title_justify="left")
    for key, value in result["versions"].items():  # type: ignore[attr-defined]
        table.add_row(key, value)
    table.add_row("H.264 encoder for overlays", "yes" if result["h264_encoder"] else "no: pip install --upgrade av")
    for what, state in extras.items():
        table.add_row(what, state)
    for key in ("sources", "methods", "setups"):
        table.add_row(key, ", ".join(result[key]))  # type: ignore[arg-type]
    Console().print(table)
    print(NOTICE)


def _has_encoder() -> bool:
    import av

    return "libx264" in av.codecs_available


# -- talking to the user -------------------------------------------------------------------------------------


@contextmanager
def _progress(what: str, total: int | None, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields a function that takes the number of things done."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def _stages(what: str, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar whose stages have names; yields a function (stage, done, total)."""
    console = Console(stderr=True, quiet=quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=None)
        yield lambda stage, done, total: progress.update(
            task, description=f"{what}: {stage}", completed=done, total=total
        )


def _tell(out: Path, summary: dict[str, Any]) -> None:
    counts = summary["counts"]
    print(
        f"{counts['frames']} frames: {counts['tracking']} tracking, {counts['coasting']} coasting, "
        f"{counts['lost']} lost, {counts['dropped']} dropped"
    )
    error = summary["error"]
    if error and error["mean_mm"] is not None:
        print(f"tip error {error['mean_mm']:.2f} mm mean, {error['p95_mm']:.2f} mm at 95 % against the truth")
    timing = summary["timing"].get("track")
    if timing:
        print(f"tracking took {timing['median_ms']:.2f} ms a frame (p99 {timing['p99_ms']:.2f} ms)")
    for name in ("report.html", "overlay.mp4", "tips.csv", "summary.json"):
        print(f"  {out / name}")
    print(NOTICE)
