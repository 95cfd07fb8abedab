"""What users type, read once into values. Every mistake names the option."""

import math
from pathlib import Path

import pytest

from sonosteer.commands import parsing
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Hint


def test_spacing_is_one_number_or_two():
    assert parsing.parse_spacing(None) is None
    assert parsing.parse_spacing("0.1") == Spacing(0.1, 0.1)
    assert parsing.parse_spacing("0.1,0.12") == Spacing(0.1, 0.12)


def test_frames_may_lack_either_end():
    assert parsing.parse_frames(None) == (0, None)
    assert parsing.parse_frames("3:9") == (3, 9)
    assert parsing.parse_frames(":9") == (0, 9)
    assert parsing.parse_frames("3:") == (3, None)


def test_a_hint_is_typed_in_degrees_and_pixels():
    assert parsing.parse_hint(None, None, None) == Hint()
    hint = parsing.parse_hint("30:40", "left", "5,7.5")
    assert hint.angle_rad == (math.radians(30), math.radians(40))
    assert (hint.enters, hint.start_px) == ("left", (5.0, 7.5))


def test_angles_from_the_right_are_mirrored_and_that_is_said(capsys):
    hint = parsing.parse_hint("30:40", "right", None)
    assert hint.angle_rad == (math.radians(140), math.radians(150))
    assert capsys.readouterr().err == "sonosteer: with --enters right, 30:40 is read as 140:150\n"


def test_a_speed_is_a_number_or_a_file():
    assert parsing.parse_velocity(None) is None
    assert parsing.parse_velocity("2.5") == 2.5
    assert parsing.parse_velocity("v.csv") == Path("v.csv")


def test_settings_have_types_and_parts():
    assert parsing.parse_settings(None) == {}
    got = parsing.parse_settings(["a=1", "part.b = 0.5", "c=true", "d=x=y"])
    assert got == {"a": 1, "part.b": 0.5, "c": True, "d": "x=y"}
    under = {"part": {"b": 2, "e": 3}, "f": 4}
    assert parsing.nested(got, under) == {"a": 1, "part": {"b": 0.5, "e": 3}, "c": True, "d": "x=y", "f": 4}
    assert under == {"part": {"b": 2, "e": 3}, "f": 4}


def test_a_plan_is_depths_and_rates():
    plan = parsing.parse_plan("0:0.0,30:0.05")
    assert (plan.starts_mm, plan.rates_rad_per_mm) == ((0.0, 30.0), (0.0, 0.05))


def test_forbidden_regions_are_circles():
    (region,) = parsing.parse_forbidden(["circle:1,2,3"])
    assert (region.name, region.center_mm, region.radius_mm) == ("forbidden region 1", (1.0, 2.0), 3.0)


@pytest.mark.parametrize(
    ("read", "option"),
    [
        (lambda: parsing.parse_spacing("wide"), "--spacing-mm"),
        (lambda: parsing.parse_spacing("1,2,3"), "--spacing-mm"),
        (lambda: parsing.parse_frames("7"), "--frames"),
        (lambda: parsing.parse_frames("-1:4"), "--frames"),
        (lambda: parsing.parse_hint("30", None, None), "--angle-deg"),
        (lambda: parsing.parse_hint(None, "below", None), "--enters"),
        (lambda: parsing.parse_hint(None, None, "nan,1"), "--start"),
        (lambda: parsing.parse_hint(None, None, "here"), "--start"),
        (lambda: parsing.parse_velocity("inf"), "--velocity-mm-s"),
        (lambda: parsing.parse_settings(["a"]), "--set"),
        (lambda: parsing.parse_settings(["a"], option="--set-tracker"), "--set-tracker"),
        (lambda: parsing.nested({"f.a": 1}, {"f": 4}), "--set"),
        (lambda: parsing.parse_plan("0"), "--plan"),
        (lambda: parsing.parse_target("1"), "--target"),
        (lambda: parsing.parse_target("1,inf"), "--target"),
        (lambda: parsing.parse_forbidden(["ball:1,2,3"]), "--forbid"),
        (lambda: parsing.parse_mode("sideways"), "--mode"),
        (lambda: parsing.parse_demonstrated_split("test"), "--split"),
    ],
)
def test_a_mistake_names_the_option(read, option):
    with pytest.raises(InputError) as e:
        read()
    assert str(e.value).startswith(option)
