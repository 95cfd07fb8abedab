"""Many clips named after patients: no name in folders, tables, pages and strips, unless a person asks for it."""

import csv

import cv2
import numpy as np
import pytest
from command_line import run
from test_track_pictures import TIPS, folder_of, picture

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: pip install 'sonosteer[dicom]'")

BRIGHTEST = ("--method", "brightest:Brightest", "--jobs", "1")
REGION = (0, 0, 63, 47)


def cine(path, *, name="Zebulon^Jane", burned="NO", region=REGION):
    """A cine of 80 x 60 px whose picture is 64 x 48, with a bright stripe where a name would be burned in."""
    pixels = np.zeros((4, 60, 80), np.uint8)
    pixels[:, 52:58] = 255
    for i, (x, y) in enumerate(TIPS):
        pixels[i, :48, :64] = picture(x, y)
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    kind = pydicom.uid.UltrasoundMultiFrameImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3.4"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel, ds.PixelRepresentation = "US", "MONOCHROME2", 1, 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.FrameTime = 8, 8, 7, 50
    ds.PatientName = name
    if burned:
        ds.BurnedInAnnotation = burned
    if region:
        item = pydicom.Dataset()
        item.RegionSpatialFormat, item.RegionDataType = 1, 1
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX = item.PhysicalDeltaY = 0.02
        item.RegionLocationMinX0, item.RegionLocationMinY0 = region[:2]
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = region[2:]
        ds.SequenceOfUltrasoundRegions = [item]
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A cine named after its patient, one that is not, one that is refused, and a folder of pictures."""
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "zebulon"
    here.mkdir()
    return [
        cine(here / "Jane_Zebulon.dcm", burned="YES"),
        cine(here / "IM0002.dcm", burned=""),
        cine(here / "zebulon-nowhere.dcm", burned="YES", region=None),
        folder_of(tmp_path / "plain", TIPS),
    ]


def holding(folder, *words):
    """Names of files that hold one of the words, in their names or in what is in them."""
    found = []
    for path in folder.rglob("*"):
        text = (path.read_bytes() if path.is_file() else b"") + str(path.relative_to(folder)).encode()
        if any(word.encode() in text.lower() for word in words):
            found.append(str(path.relative_to(folder)))
    return found


def test_a_batch_says_no_name(capsys, clips, tmp_path):
    out = tmp_path / "out"
    code, _, stderr = run(capsys, "track", *clips, *BRIGHTEST, "--out", out)
    assert code == 2
    assert holding(out, "jane", "zebulon") == []
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    names = [r["name"] for r in rows]
    assert names[0].startswith("clip-")
    assert names[2].startswith("clip-")
    assert [names[1], names[3]] == ["IM0002", "plain"]
    assert [r["outcome"] for r in rows] == ["done", "done", "refused", "done"]
    assert "burned into its pictures, and not where" in rows[2]["why"]
    lines = stderr.splitlines()
    assert any(
        f"Jane_Zebulon.dcm is called {names[0]} in the results" in line and "--keep-identity" in line for line in lines
    )
    assert any("IM0002.dcm: the file does not say whether names are burned" in line for line in lines)
    assert any("Jane_Zebulon.dcm: names are burned into its pictures" in line for line in lines)
    small = cv2.imread(str(out / names[0] / "picture.jpg"), cv2.IMREAD_GRAYSCALE)
    assert small[53:57, 70:].max() < 60  # the stripe is black
    made = {n: (out / n / "tips.csv").stat().st_mtime_ns for n in names if (out / n / "tips.csv").exists()}
    run(capsys, "track", *clips, *BRIGHTEST, "--out", out)
    assert {n: (out / n / "tips.csv").stat().st_mtime_ns for n in made} == made  # it goes on


def test_a_batch_keeps_names_when_it_is_asked_to(capsys, clips, tmp_path):
    code, _, stderr = run(capsys, "track", *clips, *BRIGHTEST, "--keep-identity", "--out", tmp_path / "out")
    assert code == 0, stderr
    assert (tmp_path / "out" / "Jane_Zebulon" / "tips.csv").exists()
    assert holding(tmp_path / "out", "jane")
    assert "is called" not in stderr


def test_compare_says_no_name_and_shows_none(capsys, clips, tmp_path):
    words = ("--methods", "brightest:Brightest,lk", "--jobs", "1")
    out = tmp_path / "out"
    code, _, stderr = run(capsys, "compare", *clips, *words, "--out", out)
    assert code == 2, stderr
    assert holding(out, "jane", "zebulon") == []
    names = [p.name for p in (out / "tips").iterdir()]
    assert any(name.startswith("clip-") for name in names)
    assert "--keep-identity" in stderr
    tips = next(p for p in (out / "tips").glob("clip-*/*Brightest/tips.csv"))
    rows = list(csv.DictReader(tips.read_text().splitlines()))
    assert [(float(r["tip_x_px"]), float(r["tip_y_px"])) for r in rows] == [(float(x), float(y)) for x, y in TIPS]
    kept = tmp_path / "kept"
    code, _, stderr = run(capsys, "compare", *clips, *words, "--keep-identity", "--out", kept)
    assert (kept / "tips" / "Jane_Zebulon").exists(), stderr
    rows = list(csv.DictReader((kept / "tips/Jane_Zebulon/brightest-Brightest/tips.csv").read_text().splitlines()))
    assert {float(r["tip_y_px"]) for r in rows} == {52.0}  # the stripe is brighter than the tip


def test_a_name_that_is_withheld_hangs_on_the_place_alone(tmp_path):
    from sonosteer.episodes.clip_identity import ClipIdentity, identities_of
    from sonosteer.episodes.clip_lists import clip_names

    known = {
        "a/Zebulon.dcm": ClipIdentity(("zebulon",)),
        "b/zebulon.dcm": ClipIdentity(("zebulon",)),
        "zebulon/c.dcm": ClipIdentity(("zebulon",)),
    }
    first = clip_names(["a/Zebulon.dcm", "b/zebulon.dcm", "zebulon/c.dcm", "d.mp4"], known)
    assert first == clip_names(["d.mp4", "zebulon/c.dcm", "b/zebulon.dcm", "a/Zebulon.dcm"], known)[::-1]
    assert len(set(first)) == 4
    assert first[2:] == ["c", "d"]
    assert not any("zebulon" in name.lower() for name in first)
    assert identities_of([str(cine(tmp_path / "x.dcm"))], keep=True) == {}
