"""`sonosteer open` from outside: what it prints, what it serves, what it refuses, how it ends."""

import contextlib
import http.client
import subprocess
import sys
from pathlib import Path

import browser as b
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.serving import PAGE, listening_socket
from sonosteer.core.errors import InputError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return b.write_clip(tmp_path_factory.mktemp("clip") / "spot.mp4", [b.dot()] * 20)


@pytest.fixture(scope="module")
def served(clip):
    with b.console(clip) as running:
        yield running


def get(served, path, method="GET", **headers):
    link = http.client.HTTPConnection("127.0.0.1", served.port, timeout=b.PATIENCE_S)
    with contextlib.closing(link):
        link.request(method, path, headers={"Cookie": served.cookie, **headers})
        answer = link.getresponse()
        return answer.status, answer.read()


def run(*words):
    done = subprocess.run(
        [sys.executable, "-m", "sonosteer", "open", *words],
        capture_output=True,
        text=True,
        timeout=b.PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_every_file_of_the_page_is_served(served):
    files = [p.relative_to(PAGE).as_posix() for p in PAGE.rglob("*") if p.is_file()]
    assert len(files) > 12
    for name in files:
        assert get(served, f"/{name}") == (200, (PAGE / name).read_bytes())
    assert get(served, "/") == get(served, "/index.html")
    assert b"--ink" in get(served, "/palette.css")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/../door.py",
        "/%2e%2e/door.py",
        "/export/..%2flabels.csv",
        "/export/%2e%2e",
        "/export/",
        "/export/labels.jsonl",
        "/nothing",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served(served, path):
    assert get(served, path)[0] == 404


def test_a_link_out_of_the_folder_is_not_followed(served, clip, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("secret")
    link = Path(f"{clip}.labels") / "tips-x.csv"
    link.symlink_to(secret)
    assert get(served, "/export/tips-x.csv")[0] == 404
    link.unlink()


def test_nobody_comes_in_without_the_cookie(served):
    assert get(served, "/", Cookie="")[0] == 401
    assert get(served, "/", Host="evil.example")[0] == 421


def test_a_second_console_of_the_same_clip_is_refused(served, clip):
    code, out, err = run(str(clip), "--no-browser")
    assert (code, out) == (2, "")
    assert "another command writes to" in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(served, tmp_path, clip):
    code, out, err = run(str(clip), "--no-browser", "--port", str(served.port), "--out", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert f"--port {served.port} cannot be had" in err
    assert err.count("\n") == 1
    with pytest.raises(InputError, match="cannot be had"):
        listening_socket(70_000)


def test_a_clip_that_cannot_be_read_is_one_line(tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    code, out, err = run(str(bad), "--no-browser")
    assert (code, out) == (2, "")
    assert err.startswith("sonosteer: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [bad]


def test_ctrl_c_ends_it_and_leaves_no_empty_folder(clip, tmp_path):
    with b.console(clip, "--out", str(tmp_path / "out")) as running:
        assert running.end() == 0
    assert not (tmp_path / "out").exists()


def test_importing_sonosteer_brings_no_web_server():
    code = (
        "import sys, sonosteer, sonosteer.console; from sonosteer import track; "
        "assert not {'starlette', 'uvicorn', 'websockets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=b.PATIENCE_S)
