"""What every study must say of a quick run."""

import json
import re


def assert_quick(out, trials):
    """README.md, report.html, captions of figures and summary.json say that the run was quick and proves nothing."""
    words = (
        f"Quick run with {trials} trial{'' if trials == 1 else 's'}: it shows that the study runs and proves nothing."
    )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["quick"] is True
    assert (summary["trials"], summary["quick_run"]) == (trials, words)
    readme = (out / "README.md").read_text().splitlines()
    assert readme[0].startswith("# Quick run: ")
    assert readme[2] == f"**{words}**"
    page = (out / "report.html").read_text()
    assert "<title>Quick run: " in page
    assert re.search(r"<body>\s*<p><b>([^<]*)</b>", page).group(1) == words
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, flags=re.S)
    assert len(captions) == page.count("<figure")
    assert all(c.startswith("Quick run, proves nothing.") for c in captions)
