"""A folder of `track --out` is opened again: its clip, its scale and its track."""

from __future__ import annotations

import json
import math

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.commands.main import main
from sonosteer.console.tracked_folder import read_tracked
from sonosteer.core.errors import InputError
from sonosteer.core.types import Lost, TipEstimate
from sonosteer.recording.tips import read_tips
from sonosteer.sources.opening import open_source


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A spot, tracked from a click."""
    folder = tmp_path_factory.mktemp("tracked")
    clip = b.write_clip(folder / "spot.mp4", [b.dot()] * 8)
    words = ["track", clip, "--method", "kcf", "--start", "301,187", "--spacing-mm", "0.1", "--out", folder / "out"]
    with pytest.raises(SystemExit) as ended:
        main([str(w) for w in words])
    assert ended.value.code == 0
    return folder / "out"


def test_its_track_is_what_the_table_says(tracked):
    found = read_tracked(tracked)
    source = open_source(found.source, spacing=found.spacing)
    track = found.track(source.info)
    source.close()
    assert found.spacing.x_mm == 0.1
    assert (track.method, track.state) == ("kcf", "done")
    for row in read_tips(tracked / "tips.csv"):
        e = track.estimates[row.frame]
        if row.tip_px is None:
            assert isinstance(e, Lost)
        else:
            assert isinstance(e, TipEstimate)
            assert e.tip_px == row.tip_px
            assert math.degrees(e.angle_rad) == pytest.approx(row.angle_deg or 0.0)
            assert e.sd_along_mm == row.sd_along_mm or e.sd_along_mm == pytest.approx(row.sd_along_mm)


def test_other_folders_are_none(tmp_path):
    assert read_tracked(tmp_path) is None
    (tmp_path / "summary.json").write_text(json.dumps({"command": "insert"}))
    (tmp_path / "tips.csv").write_text("frame\n")
    assert read_tracked(tmp_path) is None


def changed(tracked, tmp_path, **said):
    summary = json.loads((tracked / "summary.json").read_text())
    for key, value in said.items():
        summary["options"][key] = value
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "tips.csv").write_bytes((tracked / "tips.csv").read_bytes())
    return tmp_path


def test_a_clip_that_is_gone_is_said(tracked, tmp_path):
    with pytest.raises(InputError, match=r"is not there: go to the folder"):
        read_tracked(changed(tracked, tmp_path, source="gone.mp4"))


def test_stills_are_no_clip(tracked, tmp_path):
    with pytest.raises(InputError, match="stills"):
        read_tracked(changed(tracked, tmp_path, stills=True))


def test_a_track_of_a_longer_clip_is_refused(tracked, tmp_path):
    short = b.write_clip(tmp_path / "short.mp4", [b.dot()] * 3)
    source = open_source(str(short))
    with pytest.raises(InputError, match="another clip"):
        read_tracked(tracked).track(source.info)
    source.close()


@pytest.mark.slow
def test_the_page_shows_it_without_tracking_again(tracked, tmp_path):
    with b.browser() as chrome, b.console(tracked, "--out", str(tmp_path)) as served:
        tab = b.Page(chrome, served.address)
        tab.until("document.querySelector('.tracks')?.textContent.includes('kcf, of out')")
        assert tab.errors == []
