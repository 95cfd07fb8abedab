"""Signed distances, exact and on the grid; what the command line takes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonosteer.core.errors import InputError
from sonosteer.steering.obstacles import (
    NO_OBSTACLES,
    Cuboid,
    Mask,
    Sphere,
    combine_obstacles,
    parse_obstacle,
    read_mask,
)

BALL, BRICK = Sphere((60.0, 2.0, -1.0), 4.0), Cuboid((30.0, -3.0, -2.0), (40.0, 1.0, 2.0))
place = st.tuples(st.floats(1, 119), st.floats(-20, 20), st.floats(-20, 20))


@settings(deadline=None)
@given(place)
def test_the_grid_is_the_nearest_of_all(point):
    at = np.array([point])
    exact = min(BALL.distance(at)[0], BRICK.distance(at)[0])
    assert FIELD.clearance_mm(at)[0] == pytest.approx(exact, abs=0.2)


FIELD = combine_obstacles([BALL, BRICK])


def test_a_box_is_signed_and_rounded_at_its_corners():
    assert BRICK.distance(np.array([[35.0, -1.0, 0.0]]))[0] == -2.0
    assert BRICK.distance(np.array([[43.0, 5.0, 0.0]]))[0] == 5.0


def test_a_mask_of_a_ball_is_the_ball():
    step = np.array([0.5, 0.5, 1.0])
    origin = np.array([50.0, -8.0, -11.0])
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip((41, 41, 21), step, strict=True)), indexing="ij"), -1
    )
    mask = Mask(BALL.distance(grid + origin) < 0, tuple(origin), tuple(step))
    points = np.random.default_rng(0).uniform([45, -10, -12], [75, 14, 11], (300, 3))
    error = mask.distance(points) - BALL.distance(points)
    assert error.max() < 0.6  # what the mask itself cuts off the ball, in voxels of 1 mm
    assert error.min() > -4.0  # beyond the image's corners


def test_a_mask_comes_from_an_image(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    voxels = np.zeros((5, 6, 7), np.uint8)  # z, y, x
    voxels[2, 3, 4] = 1
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 1.0, 0.5))
    image.SetOrigin((10.0, -3.0, -1.0))
    sitk.WriteImage(image, str(tmp_path / "mask.mha"))
    mask = parse_obstacle(f"mask:{tmp_path / 'mask.mha'}")
    assert mask.distance(np.array([[18.0, 0.0, 0.0]]))[0] < 0
    assert mask.distance(np.array([[22.0, 0.0, 0.0]]))[0] > 2
    (tmp_path / "no.mha").write_text("nothing")
    for path, said in ((tmp_path / "no.mha", "cannot be read"), (tmp_path / "none.mha", "no such file")):
        with pytest.raises(InputError, match=said):
            read_mask(path)


def write_header(path, data="LOCAL", size="7 6 5", body=bytes(210)):
    lines = ["ObjectType = Image", f"NDims = {len(size.split())}", f"DimSize = {size}", "ElementType = MET_UCHAR"]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {data}\n"]).encode() + body)
    return path


@pytest.mark.parametrize("data", ["/etc/passwd", "../voxels.raw", "link.raw", "none.raw", "v%d.raw", "a\0b"])
def test_a_mask_keeps_its_voxels_in_its_own_folder(tmp_path, data):
    pytest.importorskip("SimpleITK")
    folder = tmp_path / "masks"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "voxels.raw").write_bytes(bytes(210))
    (folder / "link.raw").symlink_to(tmp_path / "voxels.raw")
    with pytest.raises(InputError, match="not in its own folder"):
        read_mask(write_header(folder / "mask.mhd", data))
    assert read_mask(write_header(folder / "mask.mhd", "voxels.raw")).voxels.shape == (7, 6, 5)


def test_a_mask_that_asks_for_too_much_is_one_line(tmp_path):
    pytest.importorskip("SimpleITK")
    with pytest.raises(InputError, match="cannot be read as an image") as e:
        read_mask(write_header(tmp_path / "a.mha", size="30000 30000 30000"))
    assert "\n" not in str(e.value)


def test_a_mask_is_read_within_the_bounds_of_a_process_of_its_own(tmp_path, monkeypatch):
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.Image(600, 600, 600, sitk.sitkUInt8), str(tmp_path / "a.nrrd"), useCompression=True)
    monkeypatch.setenv("SONOSTEER_MAX_DECODE_BYTES", "400000000")
    with pytest.raises(InputError, match=r"needs more than 400000000 bytes|cannot be read as an image"):
        read_mask(tmp_path / "a.nrrd")


def test_none_is_none():
    assert combine_obstacles([]) is NO_OBSTACLES
    assert not NO_OBSTACLES.present


@pytest.mark.parametrize(
    "text", ["ball:1,2,3,4", "sphere:1,2,3", "sphere:a,b,c,d", "sphere:1,2,3,-1", "box:1,1,1,0,2,2", "sphere:nan,0,0,1"]
)
def test_nonsense_is_said(text):
    with pytest.raises(InputError, match="obstacle"):
        parse_obstacle(text)
