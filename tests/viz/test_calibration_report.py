"""The page of a calibration: readable without a network, with its verdict first."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from sonosteer.calibration.verdict import Bounds, Check
from sonosteer.viz.calibration_report import CalibrationStory, render_calibration, residual_plot

CHECK = Check(
    observations=3,
    used=2,
    rms=0.5,
    held_out_rms=0.7,
    max_held_out=0.9,
    unit="mm",
    sd=0.2,
    jackknife_sd=0.22,
    sd_unit="mm",
    condition=8.0,
)


def story(*refused: str) -> CalibrationStory:
    return CalibrationStory(
        title="Pivot <of> a tool",
        refused=refused,
        found=(("tip", "1, 2, 3 mm"),),
        notes=("A note.",),
        check=asdict(CHECK),
        bounds=asdict(Bounds(max_rms=0.4 if refused else 1.0, max_sd=0.5)),
        labels=(0, 1, 2),
        residual=np.array([0.4, 0.6, 30.0]),
        held_out=np.array([0.5, 0.9, 30.0]),
        used=np.array([True, True, False]),
        summary={"kind": "pivot"},
    )


@pytest.mark.parametrize("refused", [(), ("the residual is large (`max_rms_mm`)",)])
def test_the_page_says_the_verdict_the_numbers_and_what_is_allowed(refused):
    told = story(*refused)
    page = render_calibration(told, residual_plot(told))
    assert ("Accepted. 2 of 3 observations agree within 0.5 mm rms" in page) == (not refused)
    assert ("<p>The residual is large (--max-rms-mm).</p>" in page) == bool(refused)
    assert ("<b>refused</b>" in page) == bool(refused)
    assert "Pivot &lt;of&gt; a tool" in page
    assert "without its own" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_what_was_left_out_stays_inside_the_picture():
    svg = residual_plot(story())
    assert "left out" in svg
