"""Limits are stated where people look, and hold."""

from pathlib import Path

import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.limits import LIMITS, check_limit, limit_of
from sonosteer.sources.endings import VIDEO_ENDINGS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "sources.md").read_text()


@pytest.mark.parametrize("variable", LIMITS)
def test_a_limit_is_documented_holds_and_can_be_raised(variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    stated, what = LIMITS[variable]
    assert f"| `{variable}` | {stated} " in PAGE
    check_limit(Path("a"), stated, variable)
    with pytest.raises(InputError, match=f"a says it has {stated + 1} {what}: .* set {variable} to raise that"):
        check_limit(Path("a"), stated + 1, variable)
    monkeypatch.setenv(variable, str(stated + 1))
    check_limit(Path("a"), stated + 1, variable)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "9" * 19, "\u00b2"])
def test_a_limit_that_is_no_number_is_refused(text, monkeypatch):
    monkeypatch.setenv("SONOSTEER_MAX_FRAMES", text)
    with pytest.raises(InputError, match="must be a whole number of frames"):
        limit_of("SONOSTEER_MAX_FRAMES")


def test_the_page_lists_the_endings_of_videos():
    listed = PAGE[PAGE.index("## Videos") : PAGE.index("are read.\n")]
    assert set(listed.replace("`", " ").split()) - {"##", "Videos"} == VIDEO_ENDINGS
