"""Marks of other programs: each format in, its pixels as it counts them, and one line for whatever is wrong."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.recording.marks import marks_format, read_foreign_marks
from sonosteer.recording.truths import read_truth

COCO = {
    "images": [
        {"id": 7, "file_name": "a/frame_000003.png", "width": 640, "height": 480},
        {"id": 8, "file_name": "a/frame_000004.png", "width": 640, "height": 480},
        {"id": 9, "file_name": "a/frame_000005.png", "width": 640, "height": 480, "no_needle": True},
        {"id": 10, "file_name": "a/frame_000006.png", "width": 640, "height": 480},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "keypoints": [5, 6, 2, 100.25, 50.5, 2]},
        {"id": 2, "image_id": 8, "category_id": 1, "keypoints": [5, 6, 2, 101, 51, 1]},
        {"id": 3, "image_id": 10, "category_id": 1, "keypoints": [5, 6, 2, 0, 0, 0]},
    ],
    "categories": [{"id": 1, "name": "needle", "keypoints": ["hub", "tip"]}],
}
CVAT_IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="s/img_12.png" width="640" height="480">
  <points label="tip" occluded="0" points="10.5,20.5"/><box label="probe" xtl="1" ytl="1" xbr="5" ybr="5"/></image>
<image id="1" name="s/img_13.png" width="640" height="480">
  <points label="tip" occluded="1" points="11.00,21.25"/></image>
<image id="2" name="s/img_14.png" width="640" height="480"></image>
</annotations>"""
CVAT_VIDEO = """<annotations><track id="0" label="tip">
<points frame="4" outside="0" occluded="0" keyframe="1" points="10.5,20.5"/>
<points frame="5" outside="0" occluded="1" keyframe="0" points="12.5,20.5"/>
<points frame="6" outside="1" occluded="0" keyframe="1" points="12.5,20.5"/></track></annotations>"""


def label_studio(*tasks):
    return [
        {
            "id": n,
            "data": {"image": f"/data/upload/3/0a1b2c3d-frame_{n:03d}.png"},
            "annotations": [{"was_cancelled": False, "result": results}],
        }
        for n, results in tasks
    ]


def key_point(x, y, label="tip", **more):
    value = {"x": x, "y": y, "width": 0.4, "keypointlabels": [label]}
    return {
        "type": "keypointlabels",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "value": value,
        **more,
    }


DLC = """scorer,me,me,me,me
bodyparts,hub,hub,tip,tip
coords,x,y,x,y
labeled-data/clip/img007.png,1.5,2.5,10.25,20.75
labeled-data/clip/img011.png,1.5,2.5,,
labeled-data/clip/img012.png,1.5,2.5,11.0,21.0
"""
DLC_SPLIT = """scorer,,,me,me
bodyparts,,,tip,tip
coords,,,x,y
labeled-data,clip,img007.png,10.25,20.75
"""
DLC_TRACK = """scorer,DLC_resnet,DLC_resnet,DLC_resnet
bodyparts,tip,tip,tip
coords,x,y,likelihood
0,10.25,20.75,0.99
1,11.0,21.0,0.98
"""


def written(tmp_path: Path, content, name="marks") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (COCO, "coco", {3: ((100.25, 50.5), True), 4: ((101, 51), False), 5: (None, False)}),
        (CVAT_IMAGES, "cvat", {12: ((10.0, 20.0), True), 13: ((10.5, 20.75), False)}),
        (CVAT_VIDEO, "cvat", {4: ((10.0, 20.0), True), 5: ((12.0, 20.0), False), 6: (None, False)}),
        (
            label_studio((3, [key_point(50, 25)]), (4, [])),
            "label-studio",
            {3: ((319.5, 119.5), True), 4: (None, False)},
        ),
        (DLC, "deeplabcut", {7: ((10.25, 20.75), True), 12: ((11.0, 21.0), True)}),
        (DLC_SPLIT, "deeplabcut", {7: ((10.25, 20.75), True)}),
        (DLC_TRACK, "deeplabcut", {0: ((10.25, 20.75), True), 1: ((11.0, 21.0), True)}),
        ("frame,tip_x_px,tip_y_px\n5,1.5,2.5\n", "csv", {5: ((1.5, 2.5), True)}),
    ],
)
def test_each_format_gives_the_tip_of_each_frame_in_our_pixels(tmp_path, content, kind, expected):
    path = written(tmp_path, content)
    assert marks_format(path) == kind
    assert {t.frame_index: (t.tip_px, t.visible) for t in read_truth(path)} == expected


def test_a_picture_without_a_mark_is_left_out_and_keeps_its_place_in_others(tmp_path):
    marks = read_foreign_marks(written(tmp_path, COCO))
    assert [m.image for m in marks] == [f"a/frame_00000{n}.png" for n in (3, 4, 5)]
    (mark,) = read_foreign_marks(written(tmp_path, label_studio((3, [key_point(50, 25)]))))
    assert mark.images == ("0a1b2c3d-frame_003.png", "frame_003.png")


def test_a_point_that_is_not_called_tip_is_named_by_the_user(tmp_path):
    hub_first = DLC.replace(",tip", ",needle end")
    path = written(tmp_path, hub_first)
    with pytest.raises(InputError, match=r"which of its points is the tip\? .*hub, needle end"):
        read_truth(path)
    assert read_truth(path, point="needle end")[0].tip_px == (10.25, 20.75)
    with pytest.raises(InputError, match="has no point 'top'; there are: hub, needle end"):
        read_truth(path, point="top")


BOXES = {**COCO, "categories": [{"id": 1, "name": "needle tip"}]}
TWICE = {**COCO, "annotations": [COCO["annotations"][0], {**COCO["annotations"][0], "id": 5}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOXES, "boxes and no keypoints"),
        (TWICE, "annotation 5: annotation 1 marks the same picture"),
        ({**COCO, "annotations": [{"id": 1, "image_id": 99, "category_id": 1, "keypoints": [1, 1, 2]}]}, "no image 99"),
        (
            {**COCO, "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "keypoints": [1, 1, 2, 5, 5, 9]}]},
            "is 9",
        ),
        ({**COCO, "images": 3}, "is damaged"),
        ({"a": 1}, "holds no marks"),
        ([{"image": "a.png", "kp": []}], "not as JSON-MIN"),
        ('{"images": [', "is damaged"),
        (CVAT_IMAGES.replace("10.5,20.5", "10.5,20.5;3,4"), "2 points are marked"),
        (CVAT_IMAGES.replace("10.5,20.5", "10.5,nan"), "not a finite number"),
        (CVAT_IMAGES.replace("points", "polygon"), "has no points"),
        (CVAT_IMAGES.replace("annotations", "notes"), "not CVAT's"),
        (CVAT_IMAGES[:200], "damaged XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "defines entities"),
        (label_studio((3, [key_point(50, 25, image_rotation=90)])), "was turned"),
        (label_studio((3, [{"type": "rectanglelabels"}])), "has no key points"),
        ([{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": []}, {"result": []}]}], "annotated 2 times"),
        (DLC.replace("bodyparts", "parts"), "no rows bodyparts"),
        (DLC.replace("10.25", "ten"), "is damaged"),
        (DLC.replace("img012", "img007"), "marks the same picture"),
    ],
)
def test_whatever_is_wrong_is_one_line_that_names_the_file(tmp_path, content, said):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=said) as caught:
        read_foreign_marks(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_pictures_with_the_same_number_are_no_frames_of_a_clip(tmp_path):
    path = written(tmp_path, CVAT_IMAGES.replace("img_13", "other_12"))
    with pytest.raises(InputError, match="frame 12 is marked by"):
        read_truth(path)
    with pytest.raises(InputError, match="nothing says which frame"):
        read_truth(written(tmp_path, CVAT_IMAGES.replace("img_13", "other")))


@given(st.text(max_size=300), st.sampled_from(["", "{", "[{", "<annotations>", "scorer,a\nbodyparts,tip\ncoords,x\n"]))
def test_any_text_gives_marks_or_one_line(text, begin):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        path.write_text(begin + text, encoding="utf-8")
        said = ""
        try:
            read_truth(path)
        except InputError as e:
            said = str(e)
        assert "\n" not in said.replace(text, "")
