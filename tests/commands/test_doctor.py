"""`sonosteer doctor`: what is installed, what is missing, how to get it."""

import json
import subprocess

from command_line import run

from sonosteer.commands import doctor


def test_the_doctor_lists_what_there_is(capsys):
    code, stdout, _ = run(capsys, "doctor", "--json")
    assert code == 0
    got = json.loads(stdout)
    assert "kf+f" in got["methods"]
    assert "in-plane-linear" in got["setups"]
    assert got["h264_encoder"] is True
    assert {"policies", "controllers", "studies", "benches", "stages"} <= set(got)
    code, stdout, _ = run(capsys, "doctor")
    assert "not a medical device" in stdout


def test_what_is_missing_is_named_with_its_extra(capsys, monkeypatch):
    """The table once lost the brackets: it took them for markup."""

    def missing(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", missing)
    monkeypatch.setattr("sonosteer.recording.summary.versions", lambda: {})
    monkeypatch.setenv("COLUMNS", "200")
    code, stdout, _ = run(capsys, "doctor")
    assert code == 0
    for _, extra in doctor.EXTRAS.values():
        assert f"pip install 'sonosteer[{extra}]'" in stdout


def test_gpus_and_what_onnx_runtime_computes_on_are_listed(capsys, monkeypatch):
    def nvidia_smi(words, **_):
        assert words[0] == "nvidia-smi"
        return subprocess.CompletedProcess(words, 0, stdout="NVIDIA H100, 81559 MiB\n")

    monkeypatch.setattr(doctor.subprocess, "run", nvidia_smi)
    got = json.loads(run(capsys, "doctor", "--json")[1])
    assert got["gpu"] == ["NVIDIA H100, 81559 MiB"]
    assert "CPUExecutionProvider" in got["onnx_providers"]


def test_without_a_gpu_that_is_said(capsys, monkeypatch):
    def no_driver(words, **_):
        raise FileNotFoundError(words[0])

    monkeypatch.setattr(doctor.subprocess, "run", no_driver)
    monkeypatch.setenv("COLUMNS", "200")
    _, stdout, _ = run(capsys, "doctor")
    assert "none found" in stdout
    [line] = [line for line in stdout.splitlines() if "ONNX Runtime computes on" in line]
    assert "CPUExecutionProvider" in line
