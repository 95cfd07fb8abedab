"""Hooks of the site's build: generated pages, the pages at the repository's top, and links that leave docs/."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import pages
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "https://github.com/sonosteer/sonosteer/blob/main/"
#: pages that lie at the repository's top, and where the site shows them
TOP = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "SAFETY.md": "explanation/safety.md",
    "CONVENTIONS.md": "explanation/conventions.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def on_config(config: Any) -> Any:
    """Name the rooms' pages in the navigation."""
    api: list[Any] = ["reference/api/index.md"]
    api += [{pages.import_name(room): f"reference/api/{room}.md"} for room in pages.rooms_with_a_face()]
    for section in config.nav:
        for entry in section.get("Reference", []):
            if "Python API" in entry:
                entry["Python API"] = api
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that have no file below docs/."""
    made = pages.generated()
    for name, site in TOP.items():
        made[site] = rewrite((ROOT / name).read_text(encoding="utf-8"), name, site)
    for site, text in made.items():
        files.append(File.generated(config, site, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links that leave docs/ to the site's own page or to the source."""
    site = page.file.src_uri
    if site in TOP.values():
        return markdown
    text = rewrite(markdown, f"docs/{site}", site)
    if site.startswith("results/"):  # a mean and its deviation stay on one line of a narrow table
        text = re.sub(r"(?<=\d) (±|\+-) (?=\d)", r"&nbsp;±&nbsp;", text)
    return text


def rewrite(markdown: str, path: str, site: str) -> str:
    """Links of the page at `path` in the repository, as they must be on the page `site` below docs/."""

    def turned(match: re.Match[str]) -> str:
        target, hash_, anchor = match.group(1).partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match.group(0)
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if where.startswith("docs/"):
            to = where.removeprefix("docs/")
        elif where in TOP:
            to = TOP[where]
        elif where == "README.md":
            to = "index.md"
        elif (ROOT / where).exists():
            return f"{SOURCE}{where}{hash_}{anchor}"
        else:
            return match.group(0)  # the strict build says so
        return posixpath.relpath(to, posixpath.dirname(site) or ".") + hash_ + anchor

    out = []
    for piece in re.split(r"(^ *```.*?^ *```)", markdown, flags=re.S | re.M):
        out.append(piece if piece.lstrip().startswith("```") else LINK.sub(turned, piece))
    return "".join(out)
