"""The file of a rig: read strictly, each mistake one line with the file and the key."""

import dataclasses
from pathlib import Path

import pytest

from sonosteer.core.errors import InputError
from sonosteer.robots.fixed import FixedSettings
from sonosteer.robots.rig_file import (
    LARGER_IS_TIGHTER,
    NARROWER_IS_TIGHTER,
    PARTS,
    SMALLER_IS_TIGHTER,
    read_rig,
    tightened,
)
from sonosteer.safety.limits import Limits

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("rig_*.toml"))
HEAD = 'format = "sonosteer rig"\nversion = 1\n'
NEEDLE = '[needle]\nkind = "line"\naddress = "tcp://127.0.0.1:9"\nzero = "here"\n'
GUIDE = '[guide]\nkind = "fixed"\nangle_rad = 0.6\nroll_rad = 0.0\nprobe = true\n'
CALIBRATION = """format = "sonosteer calibration"
version = 1
kind = "image"
method = "points"
inputs = ["a.csv"]
parameters = ["x_mm"]
covariance = [[0.01]]
spacing_mm = [0.2, 0.2]
gate_mm2 = [0.04, 0.0, 0.09]
[check]
unit = "mm"
observations = 10
used = 10
rms = 0.1
held_out_rms = 0.1
max_held_out = 0.2
sd = 0.1
sd_unit = "mm"
condition = 1.0
jackknife_sd = 0.1
[[transforms]]
to = "probe"
of = "image"
matrix_mm = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "rig.toml"
        path.write_text(text)
        return path

    return write


def test_a_rig_file_says_its_parts_with_their_settings(written):
    rig = read_rig(written(HEAD + 'name = "bench"\n' + NEEDLE + GUIDE))
    assert rig.name == "bench"
    assert [(part.name, part.kind) for part in rig.parts] == [("needle", "line"), ("guide", "fixed")]
    assert rig.parts[1].settings == FixedSettings(angle_rad=0.6, roll_rad=0.0, probe=True)
    assert rig.limits == Limits()
    assert rig.calibration_mm2 == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no rig file: it must begin with format"),
        ('format = "sonosteer rig"\nversion = 2\n', "is no rig file: it must begin with format"),
        (HEAD + GUIDE, r"lacks \[needle\]"),
        (HEAD + NEEDLE + GUIDE + "[needel]\n", r"there is no setting 'needel' \(did you mean 'needle'\?\)"),
        (HEAD + "needle = 3\n", "needle is 3, but must be a table"),
        (HEAD + "[needle]\n", "needle lacks kind: give one of cia402, fixed, line"),
        (
            HEAD + '[needle]\nkind = "cia420"\n',
            r"needle.kind: there is no part called 'cia420' \(did you mean 'cia402'",
        ),
        (HEAD + '[needle]\nkind = "cia402"\n', "needle lacks interface"),
        (HEAD + NEEDLE + "bautd = 3\n", r"needle: there is no setting 'bautd' \(did you mean 'baud'\?\)"),
        (HEAD + NEEDLE + "margin_ms = 20\n", "needle: margin_ms has the wrong unit: give margin_s, in s"),
        (HEAD + NEEDLE + "stop_m_s2 = 1\n", r"needle: stop_m_s2 has the wrong unit: give stop_mm_s2, in mm/s\^2"),
        (HEAD + NEEDLE + 'baud = "fast"\n', "needle.baud is 'fast', but must be int"),
        (HEAD + NEEDLE + "following_mm = nan\n", "needle: line: following_mm is nan"),
        (HEAD + NEEDLE.replace('"here"', '"there"'), "needle.zero is 'there', but must be 'absolute' or 'here'"),
        (HEAD + NEEDLE + GUIDE.replace("0.6", '"0.6"'), "guide.angle_rad is '0.6', but must be float"),
        (HEAD + NEEDLE + '[guide]\nkind = "fixed"\n', "guide: nothing is clamped"),
        (
            HEAD + NEEDLE + '[guide]\nkind = "fixed"\nangle_deg = 35\n',
            "angle_deg has the wrong unit: give angle_rad, in rad",
        ),
        (HEAD + NEEDLE + NEEDLE.replace("needle", "arm"), "needle and arm both move insertion"),
        (HEAD + "state_age_s = 0.5\n" + NEEDLE, "state_age_s is 0.5; more than 0 and at most 0.2 s"),
        (HEAD + NEEDLE + '[calibrations]\nimage = "gone.toml"\n', r"calibrations.image: .*gone.toml does not exist"),
        (HEAD + NEEDLE + '[calibrations]\nimages = "gone.toml"\n', r"calibrations: there is no setting 'images'"),
        (HEAD + NEEDLE + "[calibrations]\nimage = 3\n", "calibrations.image is 3, but must be the path"),
        (
            HEAD + NEEDLE + "[limits]\nforward_mm_s = 30\n",
            "limits.forward_mm_s is 30, which is wider than the gate's 25",
        ),
        (HEAD + NEEDLE + "[limits]\ndepth_mm = [-5, 100]\n", r"limits.depth_mm is \(-5, 100\), which is wider"),
        (HEAD + NEEDLE + "[limits]\nclearance = 0.9\n", "limits.clearance is 0.9, which is wider than the gate's 0.99"),
        (
            HEAD + NEEDLE + "[limits]\nheartbeat_s = 0.1\n",
            "limits.heartbeat_s is the gate's own and no rig file sets it",
        ),
        (HEAD + NEEDLE + "[limits]\nforward_m_s = 0.01\n", "limits: forward_m_s has the wrong unit: give forward_mm_s"),
        (HEAD + NEEDLE + "[limits]\nforward_mm_s = nan\n", "forward_mm_s is nan"),
        (HEAD + '[needle]\nkind = "nowhere:Part"\n', "needle.kind: part nowhere:Part: there is no module 'nowhere'"),
        (HEAD + '[needle]\nkind = "json:JSONDecoder"\n', "needle.kind: json:JSONDecoder has no Settings"),
    ],
)
def test_each_mistake_is_one_line_with_the_file_and_the_key(written, text, said):
    path = written(text)
    with pytest.raises(InputError, match=said) as e:
        read_rig(path)
    assert str(e.value).startswith(str(path))
    assert "\n" not in str(e.value)


def test_a_calibration_of_another_kind_is_refused(written, tmp_path):
    (tmp_path / "c.toml").write_text(CALIBRATION)
    with pytest.raises(InputError, match=r"c.toml is a calibration of kind 'image', not 'guide'"):
        read_rig(written(HEAD + NEEDLE + '[calibrations]\nguide = "c.toml"\n'))


def test_the_error_of_the_calibrations_is_what_the_gate_is_told(written, tmp_path):
    (tmp_path / "c.toml").write_text(CALIBRATION)
    rig = read_rig(written(HEAD + NEEDLE + '[calibrations]\nimage = "c.toml"\n'))
    assert rig.calibration_mm2 == (0.04, 0.0, 0.09)


def test_a_part_that_needs_a_calibration_names_it(written, monkeypatch):
    monkeypatch.setattr(PARTS.load("line"), "needs", frozenset({"robot"}), raising=False)
    with pytest.raises(InputError, match=r"needle \(line\) needs calibrations.robot, which is absent"):
        read_rig(written(HEAD + NEEDLE))


@pytest.mark.parametrize("name", [*SMALLER_IS_TIGHTER, *LARGER_IS_TIGHTER, *NARROWER_IS_TIGHTER])
def test_a_limit_may_be_as_tight_as_one_likes_and_no_wider_than_the_gate_s(name):
    gate = getattr(Limits(), name)
    tighter, wider = (0.999, 1.001) if name not in LARGER_IS_TIGHTER else (1.0 / 0.999, 0.999)
    if name in NARROWER_IS_TIGHTER:
        low, high = gate
        span = high - low
        tight, wide = (low + 0.1 * span, high - 0.1 * span), (low, high + 0.1 * span)
    elif isinstance(gate, tuple):
        tight, wide = tuple(tighter * v for v in gate), (*gate[:-1], wider * gate[-1])
    else:
        tight, wide = tighter * gate, wider * gate
    assert getattr(tightened({name: tight}), name) == tight
    with pytest.raises(InputError, match=f"limits.{name} .* wider"):
        tightened({name: wide})


def test_every_limit_is_either_one_that_a_rig_file_sets_or_the_gate_s_own():
    assert set(SMALLER_IS_TIGHTER) | set(LARGER_IS_TIGHTER) | set(NARROWER_IS_TIGHTER) <= {
        f.name for f in dataclasses.fields(Limits)
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_files_are_read(path):
    rig = read_rig(path)
    assert rig.limits.forward_mm_s < Limits().forward_mm_s


def test_there_are_two_examples():
    assert len(EXAMPLES) >= 2
