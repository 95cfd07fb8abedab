"""Labelled frames as stills of the detector: the tip is learnt, and nothing that nobody said."""

import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.datasets.detector_samples import PLAIN_LOOK, UNSEEN, DetectorSampler
from sonosteer.datasets.importing import import_frames
from sonosteer.datasets.own_stills import drawn_places, joined_stills, labelled_stills
from sonosteer.datasets.stills import STORED_PX
from sonosteer.imaging.detector_planes import CELL_PX


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A set of three frames for training, one of which shows no tip, and one for testing."""
    import cv2

    root = tmp_path_factory.mktemp("own")
    rows = ["image,tip_x_px,tip_y_px,visible,video,split"]
    for k, (mark, video, split) in enumerate(
        [("600,300,1", "a", "train"), ("200,150,1", "a", "train"), (",,0", "a", "train"), ("10,10,1", "b", "test")]
    ):
        picture = np.zeros((400, 800), np.uint8)
        if k < 2:
            x, y = map(int, mark.split(",")[:2])
            cv2.circle(picture, (x, y), 6, 255, -1)
        (root / "pictures").mkdir(exist_ok=True)
        cv2.imwrite(str(root / "pictures" / f"{k}.png"), picture)
        rows.append(f"{k}.png,{mark},{video},{split}")
    (root / "marks.csv").write_text("\n".join(rows))
    import_frames(
        root / "pictures",
        root / "marks.csv",
        out=root / "set",
        spacing=Spacing(0.1, 0.1),
        rate_hz=20.0,
        seed=0,
        command="test",
        progress=lambda *_: None,
    )
    return root / "set"


def test_visible_tips_of_training_are_taken_and_those_for_testing_are_not(labelled):
    stills = labelled_stills([labelled])
    assert len(stills) == 2
    assert stills.size.tolist() == [[STORED_PX, STORED_PX // 2]] * 2
    for k in range(2):
        y, x = np.unravel_index(int(stills.pixels[k, 0].argmax()), (STORED_PX, STORED_PX))
        assert np.hypot(x - stills.tip[k, 0], y - stills.tip[k, 1]) < 4.0


def test_nothing_is_asked_of_a_shaft_that_nobody_drew(labelled):
    batch = DetectorSampler(labelled_stills([labelled]), 96, 0, PLAIN_LOOK).batch(0, 2)
    assert (batch.shaft == UNSEEN).all()
    assert np.isnan(batch.direction).all()
    assert np.isnan(batch.width).all()
    assert batch.visible.tolist() == [1.0, 1.0]
    for k in range(2):
        bright = np.unravel_index(int(batch.planes[k, 0].argmax()), (96, 96))
        assert np.hypot(*(batch.tip[k] * CELL_PX - np.array(bright[::-1]))) < 8.0


def test_their_loss_teaches_the_tip_and_neither_direction_nor_width(labelled):
    torch = pytest.importorskip("torch")
    from sonosteer.learning.nets.dense_detector import detector_loss

    batch = DetectorSampler(labelled_stills([labelled]), 96, 0, PLAIN_LOOK).batch(0, 2)
    answers = torch.zeros(2, 8, 24, 24, requires_grad=True)
    loss, _ = detector_loss(answers, batch)
    loss.backward()
    moved = answers.grad.abs().amax(dim=(0, 2, 3))
    assert (moved[1:4] > 0).all()
    assert moved[0] == 0
    assert (moved[4:7] == 0).all()


@pytest.mark.parametrize(("simulated", "own", "fraction"), [(240, 20, 0.5), (1000, 7, 0.25), (36, 30, 0.1)])
def test_own_frames_are_about_their_fraction_of_all(simulated, own, fraction):
    places = drawn_places(simulated, own, fraction)
    assert set(places.tolist()) == set(range(simulated + own))
    share = (places >= simulated).mean()
    least = own / (simulated + own)  # each comes once at least
    assert abs(share - max(fraction, least)) < 0.05


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_a_fraction_that_leaves_nothing_of_the_other_is_refused(fraction):
    with pytest.raises(InputError, match=r"stills\.own"):
        drawn_places(10, 10, fraction)


def test_joined_stills_keep_their_order(labelled):
    one = labelled_stills([labelled])
    both = joined_stills(one, one)
    assert len(both) == 4
    assert np.array_equal(both.tip[:2], both.tip[2:])


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no data set"):
        labelled_stills([tmp_path])
