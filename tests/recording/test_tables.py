import errno
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Lost, TipEstimate, Track, Truth
from sonosteer.recording.tables import writing_failed
from sonosteer.recording.tips import TIPS_CSV_COLUMNS, TipRow, TipsWriter, read_tips
from sonosteer.recording.truths import TruthWriter, read_truth

SPACING = Spacing(0.1, 0.2)


def estimate(i, x=100.25, y=50.5):
    covariance = np.diag([0.25, 0.04])
    return TipEstimate(i, i / 20, (x, y), math.radians(35), covariance, 0.9, Track.TRACKING, (0.0, 0.0))


def write(path, estimates):
    with TipsWriter(path, SPACING) as w:
        for e in estimates:
            w.add(e)


def test_tips_have_the_contracts_columns_and_read_back(tmp_path):
    path = tmp_path / "tips.csv"
    write(path, [Lost(0, 0.0, "no needle"), estimate(1)])
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(TIPS_CSV_COLUMNS)
    assert lines[1] == "0,0.000000,,,,,,,,,lost"
    lost, tip = read_tips(path)
    assert lost.tip_px is None
    assert lost.state == "lost"
    assert tip.tip_px == (100.25, 50.5)
    assert tip.tip_mm == pytest.approx((10.025, 10.1))
    assert (tip.angle_deg, tip.sd_along_mm, tip.sd_across_mm, tip.confidence) == pytest.approx((35, 0.5, 0.2, 0.9))


def test_without_a_scale_there_are_columns_in_px(tmp_path):
    path = tmp_path / "tips.csv"
    unscaled = replace(estimate(1), covariance_mm2=None, covariance_px2=np.diag([25.0, 4.0]))
    with TipsWriter(path, None) as w:
        w.add(Lost(0, 0.0, "no needle"))
        w.add(unscaled)
        w.add(replace(unscaled, frame_index=2, covariance_px2=None))
    assert path.read_text().splitlines() == [
        ",".join((*TIPS_CSV_COLUMNS, "sd_along_px", "sd_across_px")),
        "0,0.000000,,,,,,,,,lost,,",
        "1,0.050000,100.250,50.500,,,35.000,,,0.900,tracking,5.000,2.000",
        "2,0.050000,100.250,50.500,,,35.000,,,0.900,tracking,,",
    ]
    lost, tip, silent = read_tips(path)
    assert (lost.tip_px, lost.sd_along_px, lost.name) == (None, None, None)
    assert (tip.tip_px, tip.tip_mm, tip.sd_along_mm) == ((100.25, 50.5), None, None)
    assert (tip.sd_along_px, tip.sd_across_px, silent.sd_along_px) == (5.0, 2.0, None)
    assert TipRow.of(unscaled, None) == tip


def test_an_estimate_without_mm_leaves_them_empty_also_with_a_scale(tmp_path):
    path = tmp_path / "tips.csv"
    write(path, [replace(estimate(0), covariance_mm2=None)])
    assert path.read_text().splitlines()[1] == "0,0.000000,100.250,50.500,10.0250,10.1000,35.000,,,0.900,tracking"


NAMES = ("a.png", "b, c.png", 'd "e".png', "two\nlines.png", " f.png")


def test_stills_have_their_names_in_the_last_column_whatever_they_are(tmp_path):
    path = tmp_path / "tips.csv"
    with TipsWriter(path, SPACING, NAMES) as w:
        for i in range(len(NAMES)):
            w.add(estimate(i) if i % 2 else Lost(i, 0.0, "no"))
    assert path.read_text().splitlines()[0] == ",".join((*TIPS_CSV_COLUMNS, "name"))
    assert tuple(r.name for r in read_tips(path)) == NAMES


def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path):
    path = tmp_path / "tips.csv"
    with TipsWriter(path, SPACING) as w:
        w.add(estimate(0))
        assert len(read_tips(path)) == 1


def test_a_row_cut_by_a_killed_process_is_left_out(tmp_path):
    path = tmp_path / "tips.csv"
    write(path, [estimate(i) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-20])
    assert [r.frame for r in read_tips(path)] == [0, 1]


def test_a_full_disk_leaves_whole_rows_and_one_clear_line(tmp_path, monkeypatch):
    path = tmp_path / "tips.csv"
    real_write, room = os.write, [900]

    def small_disk(fd, data):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = real_write(fd, data[: room[0]])
        room[0] -= n
        return n

    with TipsWriter(path, SPACING) as w:
        monkeypatch.setattr(os, "write", small_disk)
        with pytest.raises(InputError, match=r"the disk is full: .*tips.csv cannot grow; the first \d+ rows are kept"):
            for i in range(100):
                w.add(estimate(i))
    monkeypatch.undo()
    assert path.read_text().endswith("\n")
    assert len(read_tips(path)) == w.rows > 5


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, InputError, "disk is full"),
        (errno.EACCES, InputError, "cannot be written"),
        (errno.EIO, BrokenError, "failed"),
    ],
)
def test_a_failed_write_says_whose_fault_it_is(tmp_path, number, kind, said):
    error = writing_failed(tmp_path, OSError(number, os.strerror(number)), "nothing was written")
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("frame,time_s\n0,0\n", "lacks the column 'tip_x_px'"),
        (",".join(TIPS_CSV_COLUMNS) + "\n0,0,abc,2,,,35,,,,tracking\n", "line 2: tip_x_px is 'abc'"),
        (",".join(TIPS_CSV_COLUMNS) + "\n0,0,nan,2,,,35,,,,tracking\n", "line 2: tip_x_px is nan"),
        (",".join(TIPS_CSV_COLUMNS) + "\n0,0,1,2,,,35,,,,dreaming\n", "line 2: state is 'dreaming'"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "tips.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_tips(path)


def test_truth_reads_back_with_and_without_a_tip(tmp_path):
    path = tmp_path / "truth.csv"
    truths = [
        Truth(0, 0.0, None, 0.5, False, 0.0, 0.0),
        Truth(1, 0.05, (3.5, 4.25), math.radians(145), True, 12.0, 5.0),
    ]
    with TruthWriter(path) as w:
        for t in truths:
            w.add(t)
    got = read_truth(path)
    assert got[0].tip_px is None
    assert not got[0].visible
    assert got[1].tip_px == (3.5, 4.25)
    assert got[1].angle_rad == pytest.approx(truths[1].angle_rad)


def test_marks_need_frame_and_tip_only(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("frame,tip_x_px,tip_y_px,note\n3,10.5,20,here\n4,,,none\n5.0,1,2,\n")
    seen, none, third = read_truth(path)
    assert seen == Truth(3, None, (10.5, 20.0), None, True, None, None)
    assert none == Truth(4, None, None, None, False, None, None)
    assert third.frame_index == 5


def test_marks_may_say_what_can_be_seen_and_how_sure_they_are(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("frame,tip_x_px,tip_y_px,visible,uncertainty_px\n0,1,2,0,15\n1,1,2,1,\n2,1,2,,0\n")
    marks = read_truth(path)
    assert [m.visible for m in marks] == [False, True, True]
    assert [m.uncertainty_px for m in marks] == [15.0, None, 0.0]
    with TruthWriter(tmp_path / "again.csv") as w:
        for m in marks:
            w.add(m)
    assert (tmp_path / "again.csv").read_text().splitlines()[1] == "0,,1.000,2.000,,0,,"
    assert [m.tip_px for m in read_truth(tmp_path / "again.csv")] == [(1.0, 2.0)] * 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("0,1,,", "one of tip_x_px and tip_y_px is empty"),
        ("0.5,1,2,", "frame is 0.5, which is not a whole number"),
        ("x,1,2,", "frame is 'x', which is not a number"),
        ("0,1,2,-3", "uncertainty_px is -3; it must be 0 or more"),
    ],
)
def test_a_mark_that_is_none_is_named_with_its_line(tmp_path, row, said):
    path = tmp_path / "marks.csv"
    path.write_text(f"frame,tip_x_px,tip_y_px,uncertainty_px\n0,5,5,\n{row}\n")
    with pytest.raises(InputError, match=f"line 3: {said}"):
        read_truth(path)


def test_an_unwritable_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        TipsWriter(tmp_path / "nowhere" / "tips.csv", SPACING)


MARKS = "frame,tip_x_px,tip_y_px,uncertainty_px\n0,1.5,2,0.25\n1,10,20.75,\n"


def as_spreadsheets_write(kind):
    """MARKS, as bytes."""
    parted = MARKS.replace(",", ";").replace(".", ",")
    return {
        "decimal frames": MARKS.replace("\n0,", "\n0.0,").replace("\n1,", "\n1.0,").encode(),
        "empty rows": (MARKS.replace("\n1", "\n,,,\n1") + ",,,\n , ,,\n\n").encode(),
        "spaces": MARKS.replace(",", ", ").encode(),
        "semicolons": parted.encode(),
        "semicolons of Windows": b"\xef\xbb\xbf" + parted.replace("\n", "\r\n").encode(),
        "tabs": MARKS.replace(",", "\t").encode(),
        "Unicode text": MARKS.replace(",", "\t").encode("utf-16"),
        "old Macintosh": MARKS.replace("\n", "\r").encode(),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "decimal frames",
        "empty rows",
        "spaces",
        "semicolons",
        "semicolons of Windows",
        "tabs",
        "Unicode text",
        "old Macintosh",
    ],
)
def test_marks_of_a_spreadsheet_are_read(tmp_path, kind):
    (tmp_path / "a.csv").write_bytes(as_spreadsheets_write(kind))
    first, second = read_truth(tmp_path / "a.csv")
    assert (first.frame_index, first.tip_px, first.uncertainty_px) == (0, (1.5, 2.0), 0.25)
    assert (second.frame_index, second.tip_px, second.uncertainty_px) == (1, (10.0, 20.75), None)


def test_a_table_that_pandas_wrote_is_read(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame({"frame": [0, 1, None], "tip_x_px": [1.5, 2, None], "tip_y_px": [3, 4, None]})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert [t.tip_px for t in read_truth(tmp_path / "a.csv")] == [(1.5, 3.0), (2.0, 4.0)]
    table.to_csv(tmp_path / "b.csv", sep=";", decimal=",", index=False)
    assert [t.tip_px for t in read_truth(tmp_path / "b.csv")] == [(1.5, 3.0), (2.0, 4.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MARKS.encode() + "2,3,4,Gerät\n".encode("cp1252"), r"in UTF-8: byte \d+, in line 4.*save it as CSV UTF-8"),
        (MARKS.encode() + b"0,3,4,\n", "line 4: frame 0 stands in line 2, too"),
        (MARKS.encode() + b"0.0,3,4,\n", "line 4: frame 0 stands in line 2, too"),
        (MARKS.encode() + b"2,3,,\n", "line 4: one of tip_x_px and tip_y_px is empty"),
        (MARKS.encode() + b"2.5,3,4,\n", "line 4: frame is 2.5, which is not a whole number"),
        (MARKS.encode() + b"1e400,3,4,\n", "line 4: frame is 1e400, which is not a finite number"),
        (MARKS.encode() + b"2,\0,4,\n", "bytes 0"),
        (MARKS.encode() + b'2,"' + b"3" * 200_000 + b'",4,\n', "line"),
        (b"frame,frame,tip_x_px,tip_y_px\n", "the column 'frame' twice"),
        (b"frame;tip_x_px\n", "lacks the column 'tip_y_px'"),
    ],
)
def test_marks_that_cannot_be_used_are_one_line(tmp_path, text, said):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(InputError, match=said) as e:
        read_truth(tmp_path / "a.csv")
    assert "\n" not in str(e.value)


def test_a_track_with_a_frame_twice_is_refused(tmp_path):
    write(tmp_path / "tips.csv", [estimate(0), estimate(1), estimate(0, x=5.0)])
    with pytest.raises(InputError, match="line 4: frame 0 stands in line 2, too"):
        read_tips(tmp_path / "tips.csv")
