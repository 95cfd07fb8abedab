"""Pages of studies have the head of all pages, and figures that can be read in the dark."""

import re
from pathlib import Path

import pytest

from sonosteer.studies.pages import html_table, study_page
from sonosteer.viz.page import figure, html_page

ROOT = Path(__file__).parents[2]


def test_a_study_has_the_head_of_all_pages():
    body = ["<h1>A</h1>", html_table([{"method": "paper", "x": 1}])]
    assert study_page("A & B", body) == html_page("A & B", body)
    quick = study_page("A", body, "It proves nothing.")
    assert "<title>Quick run: A</title>" in quick
    assert quick.index("It proves nothing.") < quick.index("<h1>A</h1>")


def test_a_figure_takes_on_the_colours_of_the_page():
    drawn = figure('<svg><path style="stroke: #000000; fill: #ffffff"/></svg>', "")
    assert "#000000" not in drawn
    assert "var(--ink)" in drawn
    assert "figcaption" not in drawn


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "results").glob("*/*.html")), ids=lambda p: p.parent.name)
def test_committed_pages_load_nothing_and_can_be_read_in_the_dark(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("Content-Security-Policy") == 1
    assert not re.search(r"<script|https?://[^\"' <]+\.(js|css|png|svg)", text)
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        assert ": #000000" not in svg
