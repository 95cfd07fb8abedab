"""Markups of 3D Slicer: what is written comes back to the last bit, and its own readers take it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.recording.markups import MarkupPoint, read_markups, turned, write_markups

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
points = st.lists(
    st.tuples(st.integers(0, 10**6), st.tuples(finite, finite, finite), st.booleans()),
    min_size=1,
    max_size=20,
    unique_by=lambda p: p[0],
)


@given(points, st.sampled_from(["LPS", "RAS"]), st.sampled_from(["LPS", "RAS"]))
def test_points_come_back_exactly_whichever_axes_the_file_has(tmp_path_factory, drawn, axes, stored):
    path = tmp_path_factory.mktemp("m") / "tips.mrk.json"
    said = [MarkupPoint(frame=f, position_mm=p, axes=axes, sure=s) for f, p, s in drawn]
    assert write_markups(path, said, axes=stored) == len(said)
    back = read_markups(path)
    assert [(b.frame, turned(b.position_mm, b.axes, axes), b.sure) for b in back] == [
        (p.frame, p.position_mm, p.sure) for p in said
    ]


def some(path, **change):
    write_markups(path, [MarkupPoint(3, (1.0, 2.0, 3.0), "LPS"), MarkupPoint(4, (2.0, 2.0, 3.0), "LPS")], axes="LPS")
    whole = json.loads(path.read_text())
    whole["markups"][0].update(change)
    path.write_text(json.dumps(whole))
    return path


def test_left_and_posterior_are_the_negative_of_right_and_anterior(tmp_path):
    path = tmp_path / "a.mrk.json"
    write_markups(path, [MarkupPoint(0, (1.0, 2.0, 3.0), "LPS")], axes="RAS")
    markup = json.loads(path.read_text())["markups"][0]
    assert markup["coordinateSystem"] == "RAS"
    assert markup["controlPoints"][0]["position"] == [-1.0, -2.0, 3.0]


def test_a_file_that_slicerio_made_is_read(tmp_path):
    slicerio = pytest.importorskip("slicerio")
    points = "vtkMRMLMarkupsFiducialNode_{0},{1},2.5,-3.25,0,0,0,1,1,1,0,frame {0},,\n"
    head = (
        "# Markups fiducial file version = 4.10\n# CoordinateSystem = {}\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    )
    (tmp_path / "a.fcsv").write_text(head.format("LPS") + points.format(12, 1.5) + points.format(13, 1.75))
    slicerio.fcsv_to_markups_json(str(tmp_path / "a.fcsv"), str(tmp_path / "a.mrk.json"))
    back = read_markups(tmp_path / "a.mrk.json")
    assert [(p.frame, p.axes, p.position_mm) for p in back] == [
        (12, "LPS", (1.5, 2.5, -3.25)),
        (13, "LPS", (1.75, 2.5, -3.25)),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"coordinateSystem": "XYZ"}, "LPS and RAS are known"),
        ({"coordinateUnits": "um"}, "mm is read"),
        ({"controlPoints": []}, "no control point"),
        ({"controlPoints": [{"label": "F-1", "position": [0, 0, 0]}]}, "which frame it is of"),
        ({"controlPoints": [{"label": "frame 1", "position": [0, 0]}]}, "is no file of markups"),
        ({"controlPoints": [{"label": "frame 1", "position": [0, 0, 0]}] * 2}, "is of frame 1, too"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        read_markups(some(tmp_path / "a.mrk.json", **change))


def test_no_tip_is_no_markup(tmp_path):
    with pytest.raises(InputError, match="no frame has a tip"):
        write_markups(tmp_path / "a.mrk.json", [], axes="LPS")
    assert not (tmp_path / "a.mrk.json").exists()
