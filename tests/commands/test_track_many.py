"""`sonosteer track` of many clips: a folder each, one table and page, what fails, and going on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from command_line import run
from test_track_pictures import BRIGHTEST, TIPS, folder_of, picture


def video(path, tips=TIPS, size=(64, 48)):
    with av.open(str(path), "w") as c:
        s = c.add_stream("libx264", rate=20)
        s.width, s.height, s.pix_fmt = *size, "yuv420p"
        for i, (x, y) in enumerate(tips):
            f = av.VideoFrame.from_ndarray(picture(x, y, size), format="gray")
            f.pts = i
            c.mux(s.encode(f))
        c.mux(s.encode(None))
    return path


def metaimage(path, n=4, size=(80, 60)):
    header = ["NDims = 3", f"DimSize = {size[0]} {size[1]} {n}", "ElementType = MET_UCHAR", "ElementDataFile = LOCAL"]
    pixels = np.stack([picture(*TIPS[i % 4], size) for i in range(n)])
    path.write_bytes("\n".join([*header, ""]).encode() + pixels.tobytes())
    return path


@pytest.fixture
def clips(tmp_path):
    """A video, a MetaImage and a folder of pictures of three sizes, and a video that is none."""
    (tmp_path / "in").mkdir()
    broken = tmp_path / "in" / "broken.mp4"
    broken.write_text("hello\n" * 50)
    return [
        video(tmp_path / "in" / "a.mp4"),
        broken,
        metaimage(tmp_path / "in" / "b.mha"),
        folder_of(tmp_path / "in" / "c", TIPS, (70, 50)),
    ]


def rows_of(out):
    return list(csv.DictReader((out / "summary.csv").read_text().splitlines()))


def test_clips_of_several_kinds_and_sizes_get_a_folder_each_and_a_page(capsys, clips, tmp_path):
    out = tmp_path / "out"
    code, stdout, stderr = run(capsys, "track", *clips, *BRIGHTEST, "--jobs", "1", "--out", out)
    assert code == 2
    failures = [line for line in stderr.splitlines() if "the rest goes on" in line]
    assert len(failures) == 1
    assert failures[0].startswith("sonosteer: ")
    assert "broken.mp4" in failures[0]
    assert "3 of 4 clips tracked" in stdout
    rows = rows_of(out)
    assert [(r["name"], r["outcome"], r["frames"]) for r in rows] == [
        ("a", "done", "4"),
        ("broken", "refused", ""),
        ("b", "done", "4"),
        ("c", "done", "4"),
    ]
    assert [(r["width_px"], r["height_px"]) for r in rows if r["frames"]] == [("64", "48"), ("80", "60"), ("70", "50")]
    assert "not a video" in rows[1]["why"]
    for name in ("a", "b", "c"):
        assert {"tips.csv", "overlay.mp4", "report.html", "summary.json"} <= {p.name for p in (out / name).iterdir()}
    page = (out / "index.html").read_text()
    assert "3 of 4 clips are tracked, 1 could not be" in page
    assert 'href="a/report.html"' in page
    assert 'href="broken/report.html"' not in page
    assert "not a video" in page


def test_what_is_done_is_not_done_again_unless_something_changed(capsys, clips, tmp_path):
    out = tmp_path / "out"
    words = [*clips[:1], *clips[2:], *BRIGHTEST, "--jobs", "1", "--out", out]
    assert run(capsys, "track", *words)[0] == 0
    files = {name: out / name / "tips.csv" for name in "abc"}

    def made():
        return {name: path.stat().st_mtime_ns for name, path in files.items()}

    first, table = made(), (out / "summary.csv").read_text()
    assert run(capsys, "track", *words)[0] == 0
    assert made() == first
    assert (out / "summary.csv").read_text() == table
    video(clips[0], TIPS[::-1])  # another clip under the same name
    assert run(capsys, "track", *words)[0] == 0
    second = made()
    assert [second[n] == first[n] for n in "abc"] == [False, True, True]
    assert run(capsys, "track", *words, "--frames", "0:3")[0] == 0
    assert [made()[n] == second[n] for n in "abc"] == [False] * 3
    (files["a"]).unlink()
    assert run(capsys, "track", *words, "--frames", "0:3")[0] == 0
    assert files["a"].exists()


def test_a_quoted_pattern_names_clips(capsys, clips, tmp_path):
    code, stdout, _ = run(
        capsys, "track", tmp_path / "in" / "?.m*", *BRIGHTEST, "--jobs", "1", "--out", tmp_path / "o", "--json"
    )
    assert code == 0
    got = json.loads(stdout)["clips"]
    assert [(r["name"], r["tracking"], r["coasting"], r["lost"]) for r in got] == [("a", 4, 0, 0), ("b", 4, 0, 0)]
    code, _, stderr = run(capsys, "track", tmp_path / "in" / "*.nothing", *BRIGHTEST, "--out", tmp_path / "p")
    assert code == 2
    assert "no file matches" in stderr


def test_a_tracker_that_breaks_on_one_clip_ends_with_1_and_keeps_the_others(capsys, clips, tmp_path, monkeypatch):
    import brightest

    real = brightest.Brightest.step

    def step(self, state, frame):
        if frame.size_px == (80, 60):
            raise RuntimeError("no")
        return real(self, state, frame)

    monkeypatch.setattr(brightest.Brightest, "step", step)
    words = [clips[0], clips[2], *BRIGHTEST, "--jobs", "1", "--out", tmp_path / "out"]
    code, _, stderr = run(capsys, "track", *words)
    assert code == 1
    assert "RuntimeError: no" in stderr
    assert [r["outcome"] for r in rows_of(tmp_path / "out")] == ["done", "broke"]
    monkeypatch.undo()
    assert run(capsys, "track", *words)[0] == 0  # what failed is tried again


def test_folders_of_stills_are_sets_of_their_own(capsys, tmp_path):
    one, two = (folder_of(tmp_path / name, TIPS[:n]) for name, n in (("one", 2), ("two", 3)))
    cv2.imwrite(str(tmp_path / "alone.png"), picture(9, 4))
    words = (one, two, tmp_path / "alone.png", "--stills", *BRIGHTEST, "--jobs", "1", "--out", tmp_path / "out")
    assert run(capsys, "track", *words)[0] == 0
    assert [(r["name"], r["frames"]) for r in rows_of(tmp_path / "out")] == [("one", "2"), ("two", "3"), ("alone", "1")]
    assert len(list((tmp_path / "out" / "two" / "overlay").iterdir())) == 3


def test_marks_in_a_folder_go_to_their_clips(capsys, clips, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / "b.csv").write_text("frame,tip_x_px,tip_y_px\n0,5,6\n1,10,15\n")
    words = (clips[0], clips[2], *BRIGHTEST, "--truth", marks, "--jobs", "1", "--out", tmp_path / "out")
    assert run(capsys, "track", *words)[0] == 0
    assert [r["mean_error_px"] for r in rows_of(tmp_path / "out")] == ["", "1.5"]


def test_one_source_is_tracked_as_before(capsys, clips, tmp_path):
    assert run(capsys, "track", clips[0], *BRIGHTEST, "--out", tmp_path / "out")[0] == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tips.csv", "overlay.mp4", "report.html", "summary.json"}


def cine(path):
    """A DICOM cine of four grey pictures."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'sonosteer[dicom]'")
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    kind = pydicom.uid.UltrasoundMultiFrameImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    pixels = np.stack([picture(x, y) for x, y in TIPS])
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.PixelRepresentation = "US", "MONOCHROME2", 1, 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.FrameTime = 50
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


def twenty(folder):
    """Twenty clips of five kinds, of which two are broken: simulated, mp4, mha, PNG, DICOM."""
    folder.mkdir()
    out = []
    for i in range(4):
        out += [video(folder / f"v{i}.mp4"), metaimage(folder / f"m{i}.mha"), folder_of(folder / f"p{i}", TIPS)]
    out += [cine(folder / f"d{i}.dcm") for i in range(2)]
    (folder / "cut.mp4").write_bytes(video(folder / "whole.mp4").read_bytes()[:500])
    (folder / "text.mha").write_text("not a header")
    out += [folder / "cut.mp4", folder / "text.mha"]
    out += [f"sim:in-plane-linear?speed_mm_s=15&end_mm=14&angle_deg={35 + i}&enters=left" for i in range(3)]
    out += ["sim:axial?start_mm=10&end_mm=12"]
    assert len(out) == 20
    return [str(each) for each in out]


@pytest.mark.slow
def test_twenty_clips_of_five_kinds_two_broken_killed_and_gone_on_with(tmp_path):
    sources, out = twenty(tmp_path / "in"), tmp_path / "out"
    words = [sys.executable, "-m", "sonosteer", "track", *sources, *BRIGHTEST, "--jobs", "2", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, cwd=tmp_path)
    while process.poll() is None:  # however busy the machine is
        time.sleep(0.1)
        if (out / "summary.csv").exists() and sum(r["outcome"] == "done" for r in rows_of(out)) >= 3:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [r for r in rows_of(out) if r["outcome"] == "done"]
    assert 3 <= len(before) < 18, "it was to be killed in the middle"
    made = {r["name"]: (out / r["name"] / "tips.csv").stat().st_mtime_ns for r in before}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    rows = rows_of(out)
    assert len(rows) == 20
    assert {r["source"].rpartition("/")[2] for r in rows if r["outcome"] != "done"} == {"cut.mp4", "text.mha"}
    assert {name: (out / name / "tips.csv").stat().st_mtime_ns for name in made} == made
    assert "18 of 20 clips are tracked, 2 could not be" in (out / "index.html").read_text()
    assert done.stderr.count("the rest goes on") == 2


KILLED = """
import os, signal
from pathlib import Path
from brightest import Brightest

class Hungry(Brightest):
    def step(self, state, frame):
        if frame.size_px == (80, 60) and not Path("memory").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(state, frame)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["track", "compare"])
def test_a_worker_killed_for_its_memory_fails_one_clip_and_the_rest_goes_on(tmp_path, clips, command):
    """As the system does that runs out of memory: SIGKILL to one process of the pool."""
    (tmp_path / "hungry.py").write_text(KILLED)
    method = ("--method" if command == "track" else "--methods", "hungry:Hungry")
    sources = [str(clips[0]), *map(str, clips[2:])]
    words = [sys.executable, "-m", "sonosteer", command, *sources, *method, "--jobs", "2", "--out", "out", "--json"]
    places = [str(tmp_path), str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    first = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    (line,) = [line for line in first.stderr.splitlines() if "was killed (out of memory?)" in line]
    assert "the rest goes on" in line
    tips = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("tips.csv") if whole(p))
    assert len(tips) == 2
    made = {p: (tmp_path / "out" / p).stat().st_mtime_ns for p in tips}
    (tmp_path / "memory").touch()
    again = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {p: (tmp_path / "out" / p).stat().st_mtime_ns for p in tips} == made
    assert len([p for p in (tmp_path / "out").rglob("tips.csv") if whole(p)]) == 3


def whole(tips):
    """True for a table of all four frames."""
    return len(tips.read_text().splitlines()) == 1 + 4
