"""`sonosteer doctor`: what is installed, what is missing, how to get it."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from typing import Any

import typer

from sonosteer.commands import terminal
from sonosteer.commands.names import PageCommand, names_of
from sonosteer.commands.parsing import AsJson
from sonosteer.core.notice import NOT_A_DEVICE

app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: what an extra is for -> (its packages, the extra)
EXTRAS = {
    "The console (sonosteer open)": (("starlette", "uvicorn", "websockets"), "console"),
    "Gymnasium environments": (("gymnasium",), "env"),
    "Segmented images as obstacles": (("SimpleITK",), "metaimage"),
    "DICOM ultrasound": (("pydicom", "python-gdcm", "pillow"), "dicom"),
    "Studies over a dask cluster": (("distributed",), "cluster"),
    "Results as pandas tables": (("pandas",), "pandas"),
    "Training networks, Qwen2.5-VL": (("torch", "transformers", "accelerate", "onnx", "onnxscript"), "vla"),
}
LISTED = ("sources", "methods", "setups", "policies", "controllers", "robots", "studies", "benches", "stages")
GPU_S = 10.0  # chosen: a driver that takes longer to answer does not work


@app.command(cls=PageCommand, epilog="Example: sonosteer doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Say what is installed, what is missing, how to get it."""
    from sonosteer.recording.summary import versions

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
