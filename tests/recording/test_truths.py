"""Tables of marks."""

from pathlib import Path

import pytest

from sonosteer.core.errors import InputError
from sonosteer.recording.truths import check_truth, read_truth


def marks(tmp_path, *rows, head="frame,tip_x_px,tip_y_px"):
    path = tmp_path / "marks.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def checked(path, frames=10, size=(100, 80)):
    check_truth(path, read_truth(path), frames=frames, size_px=size)


def test_three_columns_are_enough(tmp_path):
    (mark,) = read_truth(marks(tmp_path, "3,10,20"))
    assert (mark.frame_index, mark.tip_px, mark.visible, mark.uncertainty_px) == (3, (10.0, 20.0), True, None)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (("3,10,20", "3,50,20"), "line 3: frame 3 stands in line 2, too"),
        (("3,10,",), "one of tip_x_px and tip_y_px is empty"),
        (("10,10,20",), r"marks frame 10, but the clip has 10 frames \(0 to 9\): are the marks of another clip"),
        (("-1,10,20",), "marks frame -1"),
        (("3,150,20",), "at 150,20 px, outside the pictures of 100x80 px: are the marks of another clip"),
        (("3,20,-9",), "outside the pictures"),
    ],
)
def test_rows_twice_half_tips_and_another_clips_marks_are_one_line(tmp_path, rows, said):
    with pytest.raises(InputError, match=said) as e:
        checked(marks(tmp_path, *rows))
    assert "\n" not in str(e.value)


def test_a_mark_at_the_edge_may_be_off_by_its_uncertainty(tmp_path):
    head = "frame,tip_x_px,tip_y_px,uncertainty_px,visible"
    checked(marks(tmp_path, "3,110,20,15,1", head=head))
    checked(marks(tmp_path, "3,400,20,,0", head=head))  # a tip that has left the picture cannot be seen
    with pytest.raises(InputError, match="outside"):
        checked(marks(tmp_path, "3,110,20,5,1", head=head))


def test_what_is_not_known_is_not_checked():
    path = Path("m.csv")
    check_truth(path, [], frames=None, size_px=None)
