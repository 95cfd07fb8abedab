"""The site builds without a warning, its links lead somewhere, and it loads nothing from other servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the documentation tools are not installed (extra docs)")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_links_lead_somewhere_and_nothing_comes_from_elsewhere(site: Path, check_docs: ModuleType) -> None:
    assert list(check_docs.site_faults(site)) == []


def test_search_works_from_files(site: Path) -> None:
    assert (site / "search" / "search_index.js").read_text(encoding="utf-8").startswith("var __index")
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text(encoding="utf-8")


def test_pictures_of_the_studies_are_there(site: Path) -> None:
    assert (site / "results" / "tracking" / "fig-4.svg").is_file()
    assert 'src="fig-4.svg"' in (site / "results" / "tracking" / "index.html").read_text(encoding="utf-8")


def test_a_field_s_line_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "api" / "sonosteer.html").read_text(encoding="utf-8")
    assert "insertion_speed_mm_s" in text
    assert "Speed of the needle along itself, mm/s." in text


def test_something_from_another_server_is_noticed(check_docs: ModuleType, tmp_path: Path) -> None:
    page = '<script src="https://unpkg.com/x"></script><a href="gone.html">a</a><a href="#nowhere">b</a>'
    (tmp_path / "index.html").write_text(page)
    faults = "\n".join(check_docs.site_faults(tmp_path))
    assert "another server" in faults
    assert "gone.html does not exist" in faults
    assert "#nowhere: there is no such anchor" in faults
