import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field

import numpy as np
import pytest

import sonosteer
from sonosteer.core.clock import RealClock, SimulatedClock
from sonosteer.core.config import from_dict, load_toml, save_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.registry import LazyTable
from sonosteer.core.types import Command, Frame, Lost, Track


def test_a_frame_cannot_be_written_to():
    frame = Frame(np.zeros((4, 5), np.uint8), 0, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        frame.time_s = 1.0  # type: ignore[misc]
    assert frame.size_px == (5, 4)


def test_grey_is_luminance_in_eight_bit():
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[..., 1] = 255
    assert Frame(rgb, 0, 0.0).grey()[0, 0] == 150
    deep = np.full((2, 2), 4095, np.uint16)
    assert Frame(deep, 0, 0.0, full_scale=4095.0).grey()[0, 0] == 255
    plain = np.arange(4, dtype=np.uint8).reshape(2, 2)
    assert Frame(plain, 0, 0.0).grey() is plain


@pytest.mark.parametrize(("now", "expired"), [(1.0, False), (1.2, False), (1.3, True), (math.nan, True)])
def test_a_command_expires_and_so_does_an_unknown_time(now, expired):
    assert Command(expires_at_s=1.2).expired(now) is expired


def test_a_command_that_never_knew_when_it_expires_is_expired():
    assert Command(expires_at_s=math.nan).expired(1.0)


def test_lost_is_a_state_with_a_reason():
    assert Lost(3, 0.1, "no needle").state is Track.LOST


def test_a_simulated_clock_moves_only_when_told():
    clock = SimulatedClock(5.0)
    clock.sleep_until(7.0)
    clock.sleep_until(6.0)
    clock.advance(0.5)
    assert clock.now_s() == 7.5
    for back in (-1.0, math.nan):
        with pytest.raises(ValueError, match="cannot go back"):
            clock.advance(back)


def test_a_real_clock_waits():
    clock = RealClock()
    target = clock.now_s() + 0.01
    clock.sleep_until(target)
    assert clock.now_s() >= target


def test_a_table_loads_by_name_and_suggests_the_nearest():
    table = LazyTable("tracker", {"kf+f": "sonosteer.core.types:Track"})
    assert table.load("kf+f") is Track
    with pytest.raises(InputError, match=r"no tracker called 'kff'.*did you mean 'kf\+f'"):
        table.load("kff")


@dataclass(frozen=True)
class Inner:
    a: float = 1.0


@dataclass(frozen=True)
class Outer:
    n: int = 2
    name: str = "x"
    inner: Inner = field(default_factory=Inner)
    pair: tuple[float, float] = (0.0, 1.0)


def test_a_configuration_survives_json(tmp_path):
    config = Outer(5, "y", Inner(2.5), (3.0, 4.0))
    save_json(config, tmp_path / "c.json")
    assert from_dict(Outer, json.loads((tmp_path / "c.json").read_text())) == config
    assert to_dict(config)["inner"] == {"a": 2.5}


@pytest.mark.parametrize(
    ("data", "said"),
    [({"m": 1}, "no setting 'm'"), ({"n": "two"}, "n is 'two'"), ({"n": True}, "must be of type int")],
)
def test_a_wrong_setting_is_named(data, said):
    with pytest.raises(InputError, match=said):
        from_dict(Outer, data)


def test_bad_toml_is_named(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("a = = 1")
    with pytest.raises(InputError, match="not valid TOML"):
        load_toml(path)
    with pytest.raises(InputError, match="does not exist"):
        load_toml(tmp_path / "b.toml")


def test_importing_sonosteer_loads_nothing_heavy():
    code = "import sonosteer, sys; print([m for m in ('torch', 'cv2', 'matplotlib', 'numba') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_resolve_and_others_do_not():
    for name in sonosteer.__all__:
        assert getattr(sonosteer, name) is not None
    with pytest.raises(AttributeError):
        _ = sonosteer.nonsense  # type: ignore[attr-defined]
