"""`sonosteer doctor`: what is installed, what is missing, how to get it."""

import json
import subprocess

import pytest
from command_line import run

from sonosteer.commands import doctor
from sonosteer.testing.line_drive import SimulatedLineDrive


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


@pytest.fixture
def line_rig(tmp_path):
    """A stand-in of a drive, and a rig file for it."""
    drive = SimulatedLineDrive()
    drive.start()
    path = tmp_path / "rig.toml"
    path.write_text(
        'format = "sonosteer rig"\nversion = 1\nname = "bench"\n'
        f'[needle]\nkind = "line"\naddress = "tcp://127.0.0.1:{drive.port}"\nzero = "here"\nsilent_s = 1.0\n'
        '[guide]\nkind = "fixed"\nangle_rad = 0.6\nroll_rad = 0.0\nprobe = true\n'
    )
    yield drive, path
    drive.close()


def test_each_part_of_a_rig_is_tried_without_motion(capsys, line_rig, monkeypatch):
    drive, path = line_rig
    monkeypatch.setenv("COLUMNS", "200")
    code, stdout, _ = run(capsys, "doctor", str(path))
    assert code == 0
    assert "needle (line)" in stdout
    assert "stand-in 1, state OFF, depth 0.00 mm" in stdout
    assert "clamped, as the rig file says: angle 0.6 rad, roll 0 rad, the probe" in stdout
    assert drive.report()["state"] == "OFF"
    assert drive.report()["depth_mm"] == 20.0


def test_a_part_that_does_not_work_is_named_and_the_others_are_tried(capsys, line_rig):
    drive, path = line_rig
    path.write_text(path.read_text().replace(str(drive.port), "9"))
    code, stdout, stderr = run(capsys, "doctor", str(path), "--json")
    assert code == 1
    parts = {part["name"]: part for part in json.loads(stdout)["parts"]}
    assert parts["needle"]["works"] is False
    assert "nobody answers at 127.0.0.1:9" in parts["needle"]["seen"]
    assert parts["guide"]["works"] is True
    assert "needle cannot be used as it is" in stderr


def test_a_fault_is_reset_where_a_person_says_so(capsys, line_rig):
    drive, path = line_rig
    drive.hand("limit")
    code, stdout, _ = run(capsys, "doctor", str(path), "--json")
    assert code == 1 or "end of travel" in stdout
    assert drive.report()["state"] == "FAULT"
    code, stdout, _ = run(capsys, "doctor", str(path), "--reset", "needle", "--json")
    assert code == 0
    assert json.loads(stdout)["reset"] == "OFF"
    assert drive.report()["state"] == "OFF"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reset", "needle"], "--reset needs a rig file"),
        (["gone.toml"], "gone.toml does not exist"),
        (["{rig}", "--reset", "arm"], "has no part 'arm'; it has: needle, guide"),
        (["{rig}", "--reset", "guide"], "guide (fixed) has no fault that is reset from here"),
    ],
)
def test_what_cannot_be_tried_is_said_in_one_line(capsys, line_rig, words, said):
    code, _, stderr = run(capsys, "doctor", *(word.format(rig=line_rig[1]) for word in words))
    assert code == 2
    assert said in stderr
