"""The README's moving picture: real, small, looping, with its licence beside it, and its stretch chosen by the rule."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from sonosteer import Lost, TipEstimate, Track, TrackResult
from sonosteer.core.protocols import SourceInfo
from sonosteer.viz.overlay import STATE_COLOURS

ROOT = Path(__file__).resolve().parents[2]


def told(states: str, rate_hz: float = 10.0) -> TrackResult:
    """A result with a state for each letter: t, c or l."""
    said: list[TipEstimate | Lost] = []
    for i, letter in enumerate(states):
        if letter == "l":
            said.append(Lost(i, i / rate_hz, "not seen"))
        else:
            state = Track.TRACKING if letter == "t" else Track.COASTING
            said.append(TipEstimate(i, i / rate_hz, (5.0, 5.0), 0.5, None, 0.9, state, (0.0, 0.0)))
    info = SourceInfo("clip", "video", (64, 48), len(said), rate_hz, None)
    return TrackResult(info, "auto", tuple(said))


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ("l" * 30 + "t" * 5 + "l" * 30, (20, 45)),
        ("tttccc" + "l" * 20 + "t" * 4 + "c" * 8 + "l" * 20, (16, 40)),  # coasting is no tracking
        ("ttt" + "l" * 40 + "ttt", (0, 13)),  # of equals the first
        ("l" * 5 + "t" * 3 + "l", (0, 9)),  # as much as there is
        ("l" * 30, (0, 11)),
        ("t" * 300, (0, 121)),
    ],
)
def test_the_longest_run_of_tracking_is_shown_with_a_second_around_it(
    readme_picture: ModuleType, states: str, shown: tuple[int, int]
) -> None:
    assert readme_picture.stretch(told(states)) == shown


def test_the_strip_tells_every_frame_of_the_clip(readme_picture: ModuleType) -> None:
    strip = readme_picture.strip(told("l" * 30 + "t" * 30), 30, 45, 40)
    assert strip.shape == (readme_picture.STRIP_PX, readme_picture.WIDTH_PX, 3)
    assert (strip[:, 200] == STATE_COLOURS[Track.TRACKING]).all()
    for column, state in ((100, Track.LOST), (300, Track.TRACKING)):
        assert np.abs(strip[0, column] - 0.45 * np.array(STATE_COLOURS[state])).max() <= 1.0
    assert (strip[0] == 255).all(1).nonzero()[0].tolist() == [240, 241]


def test_the_picture_is_small_loops_and_has_its_licence_beside_it(readme_picture: ModuleType) -> None:
    path = ROOT / "docs" / "images" / "real-needle.webp"
    assert path.stat().st_size <= readme_picture.MAX_BYTES
    with Image.open(path) as picture:
        assert picture.size[0] == readme_picture.WIDTH_PX
        assert getattr(picture, "n_frames", 1) > 20
        assert picture.info["loop"] == 0
    licence = path.with_name("real-needle.LICENSE.txt").read_text(encoding="utf-8")
    assert readme_picture.SOURCE in licence
    assert "MIT License" in licence
    assert "Copyright (c) 2025" in licence


def test_the_readme_shows_it_and_names_its_licence() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/images/real-needle.webp" in text
    assert "docs/images/real-needle.LICENSE.txt" in text


def test_a_clip_without_its_licence_is_refused(
    readme_picture: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    monkeypatch.setattr("sys.argv", ["readme-picture", str(clip), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="LICENSE does not exist"):
        readme_picture.main()
    assert not (tmp_path / "out").exists()
