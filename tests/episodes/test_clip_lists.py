"""Several clips named at once."""

import pytest

from sonosteer.core.errors import InputError
from sonosteer.episodes.clip_lists import (
    clip_names,
    is_pattern,
    marks_of,
    named_sources,
    stamps_of,
    with_stills_together,
)


def test_a_pattern_is_filled_in_in_natural_order_and_each_source_stands_once(tmp_path):
    for name in ("c10.mp4", "c2.mp4", "d.mha"):
        (tmp_path / name).touch()
    words = [str(tmp_path / "*.mp4"), str(tmp_path / "c2.mp4"), str(tmp_path / "d.mha")]
    assert [p.rpartition("/")[2] for p in named_sources(words)] == ["c2.mp4", "c10.mp4", "d.mha"]
    with pytest.raises(InputError, match="no file matches"):
        named_sources([str(tmp_path / "*.avi")])


def test_a_simulated_clip_and_a_file_with_brackets_are_no_patterns(tmp_path):
    odd = tmp_path / "a[1].mp4"
    odd.touch()
    assert not is_pattern("sim:in-plane-linear?speed_mm_s=15")
    assert not is_pattern(str(odd))
    assert is_pattern(str(tmp_path / "*.mp4"))


def test_names_are_unique_stable_and_fit_for_folders():
    sources = ["/a/x.mp4", "/b/x.mha", "/b/y z.igs.mha", "/c/q.mp4", "/d/Q.mp4", "sim:axial?seed=1", "/e/index.mp4"]
    names = clip_names(sources)
    assert names[:3] == ["x.mp4", "x.mha", "y-z"]
    assert len({n.lower() for n in names}) == len(names)
    assert names[3].startswith("q-")
    assert names[5] == "axial"
    assert names[6] != "index"
    assert dict(zip(sources, names, strict=True)) == dict(zip(sources[::-1], clip_names(sources[::-1]), strict=True))
    assert all("/" not in n and n.strip(". ") == n for n in names)


def test_two_simulated_clips_of_one_set_up_are_told_apart():
    one, two = clip_names(["sim:axial?angle_deg=1", "sim:axial?angle_deg=2"])
    assert one != two


def test_marks_go_by_order_or_by_name(tmp_path):
    (tmp_path / "b.csv").touch()
    sources, names = ["/x/a.mp4", "/x/b.mp4"], ["a", "b"]
    assert marks_of(sources, names, []) == [None, None]
    assert marks_of(sources, names, [tmp_path]) == [None, tmp_path / "b.csv"]
    given = [tmp_path / "1.csv", tmp_path / "2.csv"]
    assert marks_of(sources, names, given) == given
    with pytest.raises(InputError, match="1 tables of marks for 2 clips"):
        marks_of(sources, names, given[:1])
    (tmp_path / "b.csv").unlink()
    with pytest.raises(InputError, match=r"would be called a\.csv"):
        marks_of(sources, names, [tmp_path])


def test_folders_of_stills_are_sets_and_named_files_are_one(tmp_path):
    (tmp_path / "f.png").mkdir()
    folder = str(tmp_path / "f.png")
    assert with_stills_together(["a.png", folder, "b.jpg"]) == [("a.png", "b.jpg"), (folder,)]


def test_a_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("x")
    before = stamps_of([str(path), str(tmp_path), "sim:axial", str(tmp_path / "none")])
    assert set(before) == {str(path), str(tmp_path)}
    path.write_text("xy")
    assert stamps_of([str(path)])[str(path)] != before[str(path)]
