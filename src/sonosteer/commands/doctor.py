"""`sonosteer doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from sonosteer.commands import parsing, terminal
from sonosteer.commands.names import PageCommand, names_of
from sonosteer.commands.parsing import AsJson
from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.notice import NOT_A_DEVICE

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: what an extra is for -> (its packages, the extra)
EXTRAS = {
    "The console (sonosteer open)": (("starlette", "uvicorn", "websockets"), "console"),
    "Gymnasium environments": (("gymnasium",), "env"),
    "Segmented images as obstacles": (("SimpleITK",), "metaimage"),
    "DICOM ultrasound": (("pydicom", "python-gdcm", "pillow"), "dicom"),
    "Another planner beside ours in the obstacle study": (("ompl",), "peers"),
    "Studies over a dask cluster": (("distributed",), "cluster"),
    "OpenIGTLink: PLUS, 3D Slicer, scanners": (("fastcrc",), "live"),
    "The bridge to ROS 2 (sonosteer bridge)": (("ros-rclpy", "ros-rmw-fastrtps-cpp"), "ros2"),
    "A needle axis over CANopen": (("canopen", "python-can"), "canopen"),
    "A needle axis on a serial port": (("pyserial",), "serial"),
    "Results as pandas tables": (("pandas",), "pandas"),
    "Training networks, Qwen2.5-VL": (("torch", "transformers", "accelerate", "onnx", "onnxscript"), "vla"),
}
LISTED = ("sources", "methods", "setups", "policies", "controllers", "robots", "studies", "benches", "stages")
LOOK_S = 3.0  # chosen: a few dozen pictures
GPU_S = 10.0  # chosen: a driver that takes longer to answer does not work


@app.command(cls=PageCommand, epilog="Example: sonosteer doctor igtl://scanner:18944")
def doctor_command(
    where: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE|RIG.toml",
            help="A live source to try, igtl://HOST:PORT[/DEVICE] or video:..., or a rig file.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long to look at a live source.")
    ] = LOOK_S,
    reset: Annotated[
        str | None,
        typer.Option("--reset", metavar="PART", help="Reset the fault of a rig's part, once its reason is found."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what is missing, how to get it. Or try a live source or a rig and say what comes.

    A live source is connected to for a few seconds. Said are size, scale, orientation, rate, time stamps, offset of the
    clocks, transforms with their age, and everything that is wrong.

    Each part of a rig is tried in turn, without motion, and said is what is seen of it. A part that does not work makes
    the exit code 1.
    """
    from sonosteer.recording.summary import versions

    if where is not None and where.endswith(".toml"):
        _look_at_rig(Path(where), reset, as_json=as_json)
        return
    if reset is not None:
        raise InputError("--reset needs a rig file: sonosteer doctor rig.toml --reset needle")
    if where is not None:
        _look(where, seconds, as_json=as_json)
        return
    result: dict[str, Any] = {
        "versions": versions(),
        "h264_encoder": _has_encoder(),
        "gpu": _gpus(),
        "onnx_providers": _onnx_providers(),
        "extras": {what: _state(packages, extra) for what, (packages, extra) in EXTRAS.items()},
        **{kind: names_of(kind) for kind in LISTED},
        "notice": NOT_A_DEVICE,
    }
    if as_json:
        terminal.print_json(result)
        return
    rows = list(result["versions"].items())
    rows.append(("H.264 encoder for overlays", "yes" if result["h264_encoder"] else "no: pip install --upgrade av"))
    rows.append(("GPU", ", ".join(result["gpu"]) or "none found (nvidia-smi names none)"))
    rows.append(("ONNX Runtime computes on", ", ".join(result["onnx_providers"])))
    rows += result["extras"].items()
    rows += [(kind, ", ".join(result[kind])) for kind in LISTED]
    terminal.print_table("sonosteer doctor", ("what", "state"), rows)
    terminal.print_notice()


def _look(where: str, seconds: float, *, as_json: bool) -> None:
    """Try a live source."""
    from sonosteer.sources.looking import look_at
    from sonosteer.sources.opening import is_live_address

    if not is_live_address(where):
        raise InputError(f"{where} is no live source: give igtl://HOST:PORT[/DEVICE] or video:...")
    parsing.parse_seconds(seconds)
    with terminal.shown_progress(f"looking at {where}", quiet=as_json) as progress:
        seen = look_at(where, seconds, lambda done: progress("", done, 0))
    if as_json:
        terminal.print_json(seen | {"notice": NOT_A_DEVICE})
        return
    terminal.print_table(f"sonosteer doctor {where}", ("what", "seen"), _rows_of(seen))
    terminal.print_notice()


def _look_at_rig(path: Path, reset: str | None, *, as_json: bool) -> None:
    """Try each part of a rig, after resetting the fault of one if that is asked for."""
    from sonosteer.core.clock import RealClock
    from sonosteer.robots.rig_check import look_at_rig, reset_part

    was_reset = None if reset is None else reset_part(path, reset, RealClock())
    rig_file, parts = look_at_rig(path, RealClock())
    if as_json:
        said = {"rig": str(path), "name": rig_file.name, "reset": was_reset, "parts": parts, "notice": NOT_A_DEVICE}
        from sonosteer.core.config import to_dict

        terminal.print_json(to_dict(said))
    else:
        rows = [] if was_reset is None else [(f"{reset} was reset", was_reset)]
        rows += [(f"{p.name} ({p.kind})", p.seen if p.works else f"does not work: {p.seen}") for p in parts]
        rows += [(f"calibration {kind}", f"{c.method}, accepted") for kind, c in rig_file.calibrations.items()]
        terminal.print_table(f"sonosteer doctor {path}", ("part", "seen, without motion"), rows)
        terminal.print_notice()
    broken = [part.name for part in parts if not part.works]
    if broken:
        raise BrokenError(f"{path}: {', '.join(broken)} cannot be used as it is")


def _rows_of(seen: dict[str, Any]) -> list[tuple[str, str]]:
    """What was seen of a live source, in words."""
    igtl = "header_versions" in seen
    spacing, rate, age = seen["spacing_mm"], seen["rate_hz"], seen["age_median_ms"]
    unknown = "unknown: give --spacing-mm, or track in pixels"
    scale = unknown if spacing is None else f"{spacing[0]:.5g} x {spacing[1]:.5g}"
    rows = [
        ("source", seen["source"]),
        ("pictures", f"{seen['size_px'][0]}x{seen['size_px'][1]} px, {seen['pixels'] or 'none came while looking'}"),
        ("mm per pixel", scale),
        ("pictures a second", "too few came" if rate is None else f"{rate:.1f}"),
        ("age when taken", "-" if age is None else f"{age:.0f} ms, without the least delay on the way"),
    ]
    if igtl:
        offset, drift = seen["clock_offset_s"], seen["clock_drift_ppm"]
        rows += [
            ("orientation", seen["orientation"] or "not said: give --orientation to track"),
            ("header version", ", ".join(map(str, seen["header_versions"]))),
            ("time stamps", "yes" if seen["stamped"] else "none, or not in every picture: arrival is taken"),
            ("our clock minus the sender's", "-" if offset is None else f"{offset:+.3f} s, with the least delay"),
            ("drift of the clocks", "too short to tell" if drift is None else f"{drift:+.0f} ppm"),
            ("place in space", "yes" if seen["tracked"] else "none: the picture is not tracked"),
        ]
        ages = seen["transforms_age_s"].items()
        rows += [(f"transform {n}", "not valid" if a is None else f"{a:.2f} s old") for n, a in ages]
        rows += [(f"metadata {name}", value) for name, value in seen["metadata"].items()]
    else:
        rows.append(("coded as", f"{seen['codec']}, held back in here {1e3 * (seen['decoder_holds_s'] or 0.0):.0f} ms"))
    bad = sum(seen["bad"].values())
    parts = f"{seen['seen']} seen + {seen['overwritten']} overwritten + {bad} bad"
    rows.append(("received", f"{seen['received']} = {parts}"))
    rows += [(f"bad: {why}", str(n)) for why, n in seen["bad"].items()]
    rows += [(f"fault: {what}", str(n)) for what, n in seen["faults"].items()]
    rows += [("also came", f"{n} {what}") for what, n in seen["other"].items()]
    rows += [("note", note) for note in seen["notes"]]
    rows += [("warning", text) for text in (seen.get("warning"), seen["complaint"]) if text]
    return rows


def _state(packages: tuple[str, ...], extra: str) -> str:
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"missing: pip install 'sonosteer[{extra}]'"
    return "installed"


def _has_encoder() -> bool:
    import av

    return "libx264" in av.codecs_available


def _gpus() -> list[str]:
    """Names of the NVIDIA GPUs with their memory. None where there is no driver."""
    words = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=GPU_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _onnx_providers() -> list[str]:
    """What ONNX Runtime can compute on."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # nothing leaves the machine
    import onnxruntime

    return list(onnxruntime.get_available_providers())
