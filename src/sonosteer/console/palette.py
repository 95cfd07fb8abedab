"""The colours of the page: those of the reports, read from the reports' own style, so that both have one look."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

NAMES = re.compile(r"(--[a-z-]+)\s*:\s*([^;{}]+)")
ROOT = re.compile(r":root\s*\{([^}]*)\}")
DARK = re.compile(r"@media\s*\(prefers-color-scheme:\s*dark\)\s*\{\s*:root\s*\{([^}]*)\}")


def colours(style: str) -> tuple[dict[str, str], dict[str, str]]:
    """(light, dark) variables of a style sheet. Dark ones that are not said are the light ones."""
    dark_block = DARK.search(style)
    light_block = ROOT.search(style)
    light = dict(NAMES.findall(light_block[1])) if light_block else {}
    dark = dict(NAMES.findall(dark_block[1])) if dark_block else {}
    return light, {**light, **dark}


@cache
def palette_css() -> str:
    """A style sheet with the reports' variables: as the system wants, or as `data-theme` of the page says."""
    light, dark = colours((files("sonosteer.viz") / "report.css").read_text(encoding="utf-8"))

    def block(values: dict[str, str], scheme: str) -> str:
        return "{" + "".join(f"{k}:{v.strip()};" for k, v in values.items()) + f"color-scheme:{scheme}" + "}"

    return (
        f":root{block(light, 'light')}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){block(dark, 'dark')}}}\n"
        f":root[data-theme=dark]{block(dark, 'dark')}\n"
    )
