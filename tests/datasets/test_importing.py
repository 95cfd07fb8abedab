"""Marks of other programs become data sets, and what is exported as COCO comes back exactly."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.datasets.exporting import export_set
from sonosteer.datasets.importing import import_frames
from sonosteer.datasets.videos import DataSet

SIZE = (40, 32)


def quiet(*_):
    pass


def pictures(folder, count=4):
    folder.mkdir(parents=True)
    grey = np.random.default_rng(0).integers(0, 255, (count, SIZE[1], SIZE[0]), np.uint8)
    for i, picture in enumerate(grey):
        cv2.imwrite(str(folder / f"img_{i:03d}.png"), picture)
    return folder


def imported(folder, labels, out, **more):
    more = {"spacing": Spacing(0.2, 0.3), "rate_hz": 20.0, "seed": 0, "command": "c", "progress": quiet, **more}
    return import_frames(folder, labels, out=out, **more)


def tips(folder):
    return {
        (v.entry.name, i): (label.tip_px, label.visible, v.frames[i].tobytes())
        for v in DataSet(folder).videos()
        for i, label in enumerate(v.labels)
    }


places = st.none() | st.tuples(
    st.floats(0, SIZE[0] - 1).map(lambda v: round(v, 3)), st.floats(0, SIZE[1] - 1).map(lambda v: round(v, 3))
)


@given(st.lists(st.tuples(places, st.booleans()), min_size=4, max_size=4).filter(lambda m: any(t for t, _ in m)))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_set_exported_as_coco_comes_back_exactly(tmp_path_factory, marks):
    root = tmp_path_factory.mktemp("r")
    folder = pictures(root / "p")
    rows = [
        f"img_{i:03d}.png,{'' if t is None else t[0]},{'' if t is None else t[1]},{int(v)},vid,train"
        for i, (t, v) in enumerate(marks)
    ]
    (root / "m.csv").write_text("\n".join(["image,tip_x_px,tip_y_px,visible,video,split", *rows]))
    imported(folder, root / "m.csv", root / "set")
    export_set(root / "set", out=root / "coco", form="coco", splits=(), progress=quiet)
    imported(root / "coco" / "train", root / "coco" / "train" / "annotations.json", root / "again")
    assert tips(root / "again") == tips(root / "set")


def test_pycocotools_reads_what_is_exported(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    folder = pictures(tmp_path / "p")
    (tmp_path / "m.csv").write_text(
        "image,tip_x_px,tip_y_px,visible,video,split\nimg_000.png,10.5,12.25,1,v,train\nimg_001.png,,,0,v,train\n"
    )
    imported(folder, tmp_path / "m.csv", tmp_path / "set")
    export_set(tmp_path / "set", out=tmp_path / "coco", form="coco", splits=(), progress=quiet)
    read = coco.COCO(str(tmp_path / "coco" / "train" / "annotations.json"))
    (annotation,) = read.loadAnns(read.getAnnIds(catIds=read.getCatIds(["needle tip"])))
    assert annotation["keypoints"] == [10.5, 12.25, 2]
    assert annotation["num_keypoints"] == 1
    assert read.loadCats(read.getCatIds())[0]["keypoints"] == ["tip"]
    assert len(read.getImgIds()) == 2


CVAT = '<annotations><image id="0" name="{}"><points label="tip" points="{}"/></image></annotations>'


def test_marks_of_cvat_become_a_set_in_our_pixels(tmp_path):
    folder = pictures(tmp_path / "p")
    (tmp_path / "a.xml").write_text(CVAT.format("img_002.png", "10.5,12.5"))
    imported(folder, tmp_path / "a.xml", tmp_path / "set")
    (label,) = DataSet(tmp_path / "set").videos()[0].labels
    assert label.tip_px == (10.0, 12.0)


def test_the_name_that_label_studio_gives_an_upload_is_taken_off(tmp_path):
    folder = pictures(tmp_path / "p")
    value = {"x": 50, "y": 50, "keypointlabels": ["tip"]}
    result = {"type": "keypointlabels", "original_width": 40, "original_height": 32, "value": value}
    task = {"id": 1, "data": {"img": "/data/upload/1/0a1b2c3d-img_001.png"}, "annotations": [{"result": [result]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    imported(folder, tmp_path / "a.json", tmp_path / "set")
    assert DataSet(tmp_path / "set").videos()[0].labels[0].tip_px == (19.5, 15.5)


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (CVAT.format("img_009.png", "1,1"), "image img_009.png: there is no picture"),
        (CVAT.format("img_001.png", "99,1"), "image img_001.png: the tip 98.5,0.5 lies outside"),
        (
            '<annotations><track id="0" label="tip"><points frame="1" points="1,1"/></track></annotations>',
            "name the clip",
        ),
    ],
)
def test_what_does_not_fit_the_pictures_is_one_line(tmp_path, marks, said):
    folder = pictures(tmp_path / "p")
    (tmp_path / "a.xml").write_text(marks)
    with pytest.raises(InputError, match=said):
        imported(folder, tmp_path / "a.xml", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_set_exported_for_slicer_comes_back(tmp_path):
    """Pixels and tips. A picture without a tip has no point, so it is left out."""
    folder = pictures(tmp_path / "p")
    rows = ["img_000.png,10.5,12.25,1,v,train", "img_001.png,,,0,v,train", "img_002.png,3.125,30.5,1,v,train"]
    (tmp_path / "m.csv").write_text("\n".join(["image,tip_x_px,tip_y_px,visible,video,split", *rows]))
    imported(folder, tmp_path / "m.csv", tmp_path / "set")
    export_set(tmp_path / "set", out=tmp_path / "slicer", form="slicer", splits=(), progress=quiet)
    there = tmp_path / "slicer" / "train"
    imported(there / "v.mha", there / "v.mrk.json", tmp_path / "again")
    again = [(tip, pixels) for tip, _, pixels in tips(tmp_path / "again").values() if tip is not None]
    before = [(tip, pixels) for tip, _, pixels in tips(tmp_path / "set").values() if tip is not None]
    assert [pixels for _, pixels in again] == [pixels for _, pixels in before]
    assert np.allclose([tip for tip, _ in again], [tip for tip, _ in before], atol=1e-3)
