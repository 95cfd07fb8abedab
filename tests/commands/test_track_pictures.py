"""`sonosteer track` where little is known: no scale, a part of the picture, stills, and pictures that are damaged."""

import csv
import json

import av
import cv2
import numpy as np
import pytest
from command_line import one_line, run

from sonosteer.recording.tips import TIPS_CSV_COLUMNS, read_tips

BRIGHTEST = ("--method", "brightest:Brightest")
HEAD = ",".join(TIPS_CSV_COLUMNS)


def picture(x, y, size=(64, 48)):
    """Dark grey with one bright pixel."""
    pixels = np.full((size[1], size[0]), 20, np.uint8)
    pixels[y, x] = 250
    return pixels


def folder_of(path, tips, size=(64, 48)):
    path.mkdir()
    for i, (x, y) in enumerate(tips):
        cv2.imwrite(str(path / f"frame{i}.png"), picture(x, y, size))
    return path


def track(capsys, *words, out):
    """(summary, rows as dictionaries, stdout, stderr without progress) of a track by the brightest pixel."""
    code, stdout, stderr = run(capsys, "track", *words, *BRIGHTEST, "--out", out)
    assert code == 0, stderr
    rows = list(csv.DictReader((out / "tips.csv").read_text().splitlines()))
    told = "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("tracking: "))
    return json.loads((out / "summary.json").read_text()), rows, stdout, told


TIPS = [(5, 6), (10, 12), (20, 24), (30, 36)]


# -- without a scale -------------------------------------------------------------------------------------------


def test_a_clip_without_a_scale_is_tracked_in_pixels(capsys, tmp_path):
    out = tmp_path / "out"
    summary, rows, stdout, _ = track(capsys, folder_of(tmp_path / "clip", TIPS), out=out)
    assert (out / "tips.csv").read_text().splitlines()[0] == HEAD + ",sd_along_px,sd_across_px"
    assert [(float(r["tip_x_px"]), float(r["tip_y_px"])) for r in rows] == TIPS
    empty = ("tip_x_mm", "tip_y_mm", "sd_along_mm", "sd_across_mm")
    assert {r[c] for r in rows for c in empty} == {""}
    assert {(r["sd_along_px"], r["sd_across_px"]) for r in rows} == {("4.000", "2.000")}
    assert [r.sd_along_px for r in read_tips(out / "tips.csv")] == [4.0] * 4
    assert summary["scale"].startswith("unknown: positions are in px; --spacing-mm")
    assert "scale unknown: positions are in px; --spacing-mm" in stdout
    page = (out / "report.html").read_text()
    assert "positions are in pixels" in page
    assert "--spacing-mm X[,Y]" in page
    assert "x (px)" in page
    assert "sd along (px)" in page
    assert "(mm)" not in page
    assert (out / "overlay.mp4").stat().st_size > 0


def test_with_a_scale_the_columns_are_those_of_always(capsys, tmp_path):
    out = tmp_path / "out"
    clip = folder_of(tmp_path / "clip", TIPS)
    summary, _, stdout, _ = track(capsys, clip, "--spacing-mm", "0.5,0.25", out=out)
    lines = (out / "tips.csv").read_text().splitlines()
    assert lines[:2] == [HEAD, "0,0.000000,5.000,6.000,2.5000,1.5000,28.648,1.4142,0.7071,1.000,tracking"]
    assert summary["scale"] == "0.5 x 0.25 mm per pixel"
    assert "px" not in stdout
    page = (out / "report.html").read_text()
    assert "unknown" not in page
    assert "x (mm)" in page


def test_marks_of_ones_own_measure_a_track_without_a_scale(capsys, tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks.csv"
    marks.write_text("frame,tip_x_px,tip_y_px\n0,5,9\n1,14,12\n3,30,36\n")
    summary, _, stdout, _ = track(capsys, folder_of(tmp_path / "clip", TIPS), "--truth", marks, out=out)
    assert "tip error 2.33 px mean" in stdout
    assert "2.33 px on average" in (out / "report.html").read_text()
    code, stdout, _ = run(capsys, "evaluate", out / "tips.csv", marks, "--json")
    assert code == 0
    got = json.loads(stdout)
    assert got == summary["error"]
    assert (got["frames"], got["tracked"], got["mean_px"], got["max_px"]) == (3, 3, pytest.approx(7 / 3), 4.0)
    assert {got[k] for k in got if k.endswith("_mm")} == {None}
    assert (got["angle_mean_deg"], got["angle_sd_deg"], got["mean_ci95_px"], got["within_uncertainty"]) == (None,) * 4
    assert got["coverage_95"] == 1.0
    code, stdout, _ = run(capsys, "evaluate", out / "tips.csv", marks, "--spacing-mm", "0.5", "--json")
    assert json.loads(stdout)["mean_mm"] == pytest.approx(7 / 6)


# -- a part of the picture -------------------------------------------------------------------------------------


def test_in_a_crop_only_that_part_counts_and_places_are_those_of_the_whole(capsys, tmp_path):
    clip = tmp_path / "clip"
    clip.mkdir()
    for i in range(3):
        pixels = picture(40 + i, 30)
        pixels[2, 3] = 255  # brighter, outside the crop
        cv2.imwrite(str(clip / f"{i}.png"), pixels)
    whole = track(capsys, clip, "--spacing-mm", "0.5", out=tmp_path / "whole")[1]
    assert [(r["tip_x_px"], r["tip_y_px"]) for r in whole] == [("3.000", "2.000")] * 3
    summary, part, *_ = track(capsys, clip, "--spacing-mm", "0.5", "--crop", "20,10,44,38", out=tmp_path / "part")
    assert [(r["tip_x_px"], r["tip_y_px"]) for r in part] == [(f"{40 + i}.000", "30.000") for i in range(3)]
    assert [(r["tip_x_mm"], r["tip_y_mm"]) for r in part] == [(f"{20 + i / 2:.4f}", "15.0000") for i in range(3)]
    assert summary["options"]["crop"] == "20,10,44,38"
    assert summary["source"]["size_px"] == [64, 48]


@pytest.mark.parametrize("crop", ["0,0,65,48", "60,0,10,10", "0,40,10,10", "-1,0,10,10", "100,100,5,5"])
def test_a_crop_outside_the_picture_is_refused_with_its_size(capsys, tmp_path, crop):
    clip = folder_of(tmp_path / "clip", TIPS)
    for source in (clip, clip / "frame0.png"):
        code, _, stderr = run(capsys, "track", source, *BRIGHTEST, "--crop", crop, "--out", tmp_path / "out")
        assert code == 2
        assert one_line(stderr)
        assert "64x48" in stderr
        assert f"--crop {crop}" in stderr
        assert not (tmp_path / "out").exists()


def test_a_click_outside_the_crop_is_refused_before_anything_is_written(capsys, tmp_path):
    clip = folder_of(tmp_path / "clip", TIPS)
    words = ("--crop", "10,10,20,20", "--start", "40,15", "--out", tmp_path / "out")
    code, _, stderr = run(capsys, "track", clip, *BRIGHTEST, *words)
    assert code == 2
    assert one_line(stderr)
    assert "--start 40,15 lies outside --crop 10,10,20,20" in stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("crop", ["1,2,3", "a,b,c,d", "0.5,0,10,10", "0,0,0,10", "0,0,10,-1", ""])
def test_a_crop_that_is_none_is_told_how_to_give_one(capsys, tmp_path, crop):
    clip = folder_of(tmp_path / "clip", TIPS)
    code, _, stderr = run(capsys, "track", clip, *BRIGHTEST, "--crop", crop, "--out", tmp_path / "out")
    assert code == 2
    assert one_line(stderr)
    assert "--crop" in stderr


# -- stills ----------------------------------------------------------------------------------------------------


def stills_in(path):
    path.mkdir()
    cv2.imwrite(str(path / "b10.png"), picture(10, 11, (80, 40)))
    cv2.imwrite(str(path / "b2.png"), picture(2, 3))
    cv2.imwrite(str(path / "a, the first.png"), picture(7, 8, (50, 60)))
    return path


def test_stills_are_tracked_each_on_its_own_in_natural_order(capsys, tmp_path):
    out = tmp_path / "out"
    summary, rows, stdout, _ = track(capsys, stills_in(tmp_path / "stills"), "--stills", out=out)
    assert (out / "tips.csv").read_text().splitlines()[0] == HEAD + ",sd_along_px,sd_across_px,name"
    assert [r["name"] for r in rows] == ["a, the first.png", "b2.png", "b10.png"]
    assert [r["frame"] for r in rows] == ["0", "1", "2"]
    assert [(float(r["tip_x_px"]), float(r["tip_y_px"])) for r in rows] == [(7, 8), (2, 3), (10, 11)]
    assert {r["confidence"] for r in rows} == {"1.000"}  # the state is a fresh one for each picture
    assert [r.name for r in read_tips(out / "tips.csv")] == [r["name"] for r in rows]
    assert summary["timing"]["track"]["median_ms"] >= 0
    assert "3 pictures: 3 tracking" in stdout
    assert {p.name for p in out.iterdir()} == {"tips.csv", "overlay", "report.html", "summary.json"}
    drawn = {p.name: cv2.imread(str(p)).shape[:2] for p in (out / "overlay").iterdir()}
    assert drawn == {"a-the-first.png": (60, 50), "b2.png": (48, 64), "b10.png": (40, 80)}
    page = (out / "report.html").read_text()
    assert page.count('src="data:image/jpeg') == 3
    assert "a, the first.png, tracking" in page
    assert "over time" not in page


def test_stills_may_be_named_one_by_one(capsys, tmp_path):
    folder = stills_in(tmp_path / "stills")
    words = (folder / "b10.png", folder / "b2.png", "--stills", "--spacing-mm", "0.5")
    _, rows, *_ = track(capsys, *words, out=tmp_path / "out")
    assert [r["name"] for r in rows] == ["b2.png", "b10.png"]
    assert list(rows[0]) == [*TIPS_CSV_COLUMNS, "name"]
    assert rows[1]["tip_x_mm"] == "5.0000"


def test_pictures_of_the_same_name_are_told_apart(capsys, tmp_path):
    one, two = (folder_of(tmp_path / name, [(5, 6)]) for name in ("one", "two"))
    _, rows, *_ = track(capsys, one / "frame0.png", two / "frame0.png", "--stills", out=tmp_path / "out")
    assert [r["name"] for r in rows] == [str(one / "frame0.png"), str(two / "frame0.png")]
    assert len(list((tmp_path / "out" / "overlay").iterdir())) == 2


def test_a_picture_alone_is_a_still(capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "still.png"), picture(9, 4))
    _, rows, *_ = track(capsys, tmp_path / "still.png", out=tmp_path / "out")
    assert [(r["frame"], r["name"], r["tip_x_px"]) for r in rows] == [("0", "still.png", "9.000")]
    assert (tmp_path / "out" / "overlay" / "still.png").exists()


def test_several_clips_and_stills_that_are_none_are_refused(capsys, tmp_path):
    folder = stills_in(tmp_path / "stills")
    for words, said in (
        ((folder, folder), "--stills"),
        ((tmp_path / "nothing.png", "--stills"), "nothing.png does not exist"),
        (("sim:in-plane-linear", "--stills"), "does not exist"),
        ((folder,), "frame 1 is 64x48, the frames before it 50x60; --stills tracks each"),
    ):
        code, _, stderr = run(capsys, "track", *words, *BRIGHTEST, "--out", tmp_path / "out")
        assert code == 2
        assert said in stderr
        assert one_line(stderr)


def test_a_still_that_is_too_small_for_the_crop_is_lost_and_the_rest_goes_on(capsys, tmp_path):
    words = (stills_in(tmp_path / "stills"), "--stills", "--crop", "0,0,64,40")
    summary, rows, _, stderr = track(capsys, *words, out=tmp_path / "out")
    assert [r["state"] for r in rows] == ["lost", "tracking", "tracking"]
    assert summary["bad"] == 1
    assert one_line(stderr)
    assert "a, the first.png" in stderr
    assert "50x60" in stderr


# -- pictures that cannot be read ------------------------------------------------------------------------------


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


#: index of the picture -> how it is damaged, and what is said of it
DAMAGES = {
    0: (cut, "frame0.png cannot be read: the file is cut off"),
    2: (lambda p: p.write_bytes(b""), "frame2.png is empty (0 bytes)"),
    4: (lambda p: p.write_text("no picture\n" * 20), "frame4.png is not a picture"),
    7: (lambda p: p.write_bytes(p.read_bytes()[:20]), "frame7.png cannot be read"),
}


@pytest.mark.parametrize("words", [(), ("--stills",)])
def test_bad_pictures_are_lost_with_their_reasons_and_the_rest_goes_on(capfd, tmp_path, words):
    clip = folder_of(tmp_path / "clip", [(5 * i, 4 * i) for i in range(8)])
    for index, (spoil, _) in DAMAGES.items():
        spoil(clip / f"frame{index}.png")
    summary, rows, _, stderr = track(capfd, clip, *words, out=tmp_path / "out")
    assert [r["state"] for r in rows] == ["lost" if i in DAMAGES else "tracking" for i in range(8)]
    assert [r["tip_x_px"] for r in rows] == ["" if i in DAMAGES else f"{5 * i}.000" for i in range(8)]
    assert summary["bad"] == summary["counts"]["bad"] == summary["counts"]["lost"] == len(DAMAGES)
    lines, reasons = stderr.splitlines(), list(summary["counts"]["bad_because"])
    assert len(lines) == len(reasons) == len(DAMAGES)  # nothing of OpenCV's own in between
    for line, reason, (_, said) in zip(lines, reasons, DAMAGES.values(), strict=True):
        assert said in reason
        assert line == f"sonosteer: {reason}; it is lost, the rest goes on"
        assert summary["counts"]["lost_because"][reason] == 1
    assert "4 of the lost ones could not be read at all" in (tmp_path / "out" / "report.html").read_text()


def test_a_bad_picture_is_one_line_on_stderr_and_json_stays_json(capfd, tmp_path):
    """Nothing of OpenCV's own comes in between."""
    clip = folder_of(tmp_path / "clip", TIPS)
    cut(clip / "frame1.png")
    code, stdout, stderr = run(capfd, "track", clip, *BRIGHTEST, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(stdout)["bad"] == 1
    assert one_line(stderr)
    assert "frame1.png cannot be read: the file is cut off; it is lost, the rest goes on" in stderr


@pytest.mark.parametrize("words", [(), ("--stills",)])
def test_pictures_that_are_all_bad_are_refused(capsys, tmp_path, words):
    clip = folder_of(tmp_path / "clip", TIPS)
    for file in clip.iterdir():
        cut(file)
    code, _, stderr = run(capsys, "track", clip, *words, *BRIGHTEST, "--out", tmp_path / "out")
    assert code == 2
    assert one_line(stderr)
    assert "no picture can be read, the first because" in stderr
    assert not (tmp_path / "out").exists()
    code, _, stderr = run(capsys, "track", clip / "frame0.png", *BRIGHTEST, "--out", tmp_path / "out")
    assert code == 2
    assert "frame0.png cannot be read: the file is cut off" in stderr


def test_asked_for_bad_pictures_only_the_run_is_refused(capsys, tmp_path):
    clip = folder_of(tmp_path / "clip", TIPS)
    for i in (1, 2):
        cut(clip / f"frame{i}.png")
    code, _, stderr = run(capsys, "track", clip, *BRIGHTEST, "--frames", "1:3", "--out", tmp_path / "out")
    assert code == 2
    assert "no picture can be used" in stderr


def test_a_frame_of_a_video_that_cannot_be_decoded_is_lost(capsys, tmp_path):
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as c:
        s = c.add_stream("mjpeg", rate=20)
        s.width, s.height, s.pix_fmt = 64, 48, "yuvj420p"
        for i in range(8):
            c.mux(s.encode(av.VideoFrame.from_ndarray(picture(8 * i, 20), format="gray").reformat(format="yuvj420p")))
        c.mux(s.encode(None))
    with av.open(str(path)) as c:
        bad = [p for p in c.demux(video=0) if p.size][5]
        at, size = bad.pos, bad.size
    data = bytearray(path.read_bytes())
    data[at : at + size] = bytes(size)
    path.write_bytes(bytes(data))
    summary, rows, _, stderr = track(capsys, path, out=tmp_path / "out")
    assert [r["state"] for r in rows] == ["tracking"] * 5 + ["lost"] + ["tracking"] * 2
    assert [float(r["time_s"]) for r in rows] == pytest.approx([i / 20 for i in range(8)])
    assert summary["bad"] == 1
    assert one_line(stderr)
    assert "clip.avi: frame 5 cannot be decoded" in stderr
