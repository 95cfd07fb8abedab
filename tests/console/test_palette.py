"""The page has the colours of the reports."""

import re

import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.palette import colours, palette_css
from sonosteer.console.serving import PAGE

SHARED = {"--ink", "--soft", "--paper", "--card", "--line"}


def test_light_and_dark_are_read():
    style = (
        ":root { --ink: #111; --paper: #fff; }\n@media (prefers-color-scheme: dark) {\n :root { --ink: #eee; } p { } }"
    )
    assert colours(style) == ({"--ink": "#111", "--paper": "#fff"}, {"--ink": "#eee", "--paper": "#fff"})


def test_the_reports_say_every_colour_that_the_page_takes_from_them():
    told = palette_css()
    assert set(re.findall(r"(--[a-z]+):", told)) >= SHARED
    ours = "".join(p.read_text() for p in PAGE.rglob("*.css"))
    used, defined = set(re.findall(r"var\((--[a-z0-9-]+)", ours)), set(re.findall(r"(--[a-z0-9-]+):", ours))
    assert used - defined - SHARED == set()


def test_no_page_file_asks_for_anything_from_elsewhere_or_holds_style_or_script():
    for path in PAGE.rglob("*"):
        if path.suffix in (".js", ".css", ".html", ".svg"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert "http" not in text, path
            assert "eval(" not in text, path
            assert "innerHTML" not in text, path
    index = (PAGE / "index.html").read_text()
    assert "style=" not in index
    assert not re.search(r"<script(?![^>]*src=)", index)
