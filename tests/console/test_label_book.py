"""Labels: on the disk before they count, undone step by step, never lost, and never overwritten unasked."""

import errno
import json
import os
import random

import pytest

import killing

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.label_book import LABEL_LOG, TABLE, ConflictError, LabelBook, ScaleSaid
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.datasets.importing import import_frames
from sonosteer.recording.truths import read_truth

INFO = SourceInfo("clip.mp4", "video", (100, 80), 50, 20.0, None)


def book(folder, info=INFO):
    return LabelBook(folder, info, today=lambda: "2026-11-28")


def test_a_label_is_in_the_log_and_in_the_table(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (10.5, 20.25), 0)
    labels.put("a", 1, "hidden", 0)
    assert labels.labels() == {1: "hidden", 3: (10.5, 20.25)}
    assert (tmp_path / TABLE).read_text() == "frame,tip_x_px,tip_y_px,visible\n1,,,0\n3,10.500,20.250,1\n"
    first, *changes = [json.loads(line) for line in (tmp_path / LABEL_LOG).read_text().splitlines()]
    assert first == {"labels": 1, "clip": "clip.mp4", "frames": 50, "size_px": [100, 80]}
    assert [(c["frame"], c["now"], c["at"]) for c in changes] == [
        (3, [10.5, 20.25], "2026-11-28"),
        (1, "hidden", "2026-11-28"),
    ]


def test_the_table_is_what_evaluate_reads(tmp_path):
    book(tmp_path).put("a", 3, (10.5, 20.25), 0)
    [truth] = read_truth(tmp_path / TABLE)
    assert (truth.frame_index, truth.tip_px, truth.visible) == (3, (10.5, 20.25), True)
    assert import_frames is not None


def test_labels_are_there_again_after_a_restart_with_their_history(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    labels.put("a", 3, (3.0, 4.0), labels.revision(3))
    labels.close()
    again = book(tmp_path)
    assert again.labels() == {3: (3.0, 4.0)}
    assert again.outside is None
    again.undo("a")
    assert again.labels() == {3: (1.0, 2.0)}
    assert again.can("a") == (True, True)
    again.redo("a")
    assert again.labels() == {3: (3.0, 4.0)}


def test_undo_goes_all_the_way_back_and_redo_all_the_way_on(tmp_path):
    labels = book(tmp_path)
    states = [{}]
    for i, tip in enumerate([(1.0, 1.0), (2.0, 2.0), "hidden", None, (5.0, 5.0)]):
        labels.put("a", i % 2, tip, labels.revision(i % 2))
        states.append(labels.labels())
    labels.put_scale("a", ScaleSaid(Spacing(0.1, 0.2), "typed"))
    labels.undo("a")
    assert labels.scale is None
    for state in reversed(states[:-1]):
        labels.undo("a")
        assert labels.labels() == state
    with pytest.raises(InputError, match="nothing to take back"):
        labels.undo("a")
    for state in states[1:]:
        labels.redo("a")
        assert labels.labels() == state
    labels.redo("a")
    assert labels.scale == ScaleSaid(Spacing(0.1, 0.2), "typed")
    with pytest.raises(InputError, match="nothing to do again"):
        labels.redo("a")


def test_random_undos_of_two_tabs_match_a_plain_model(tmp_path):
    """Each tab takes back its own last step. One that the other tab has built upon is refused, and nothing changes."""
    rng = random.Random(4)
    labels, seen = book(tmp_path), 0
    for _ in range(300):
        tab, frame = rng.choice("ab"), rng.randrange(4)
        before = labels.labels()
        try:
            match rng.randrange(3):
                case 0:
                    tip = rng.choice([None, "hidden", (float(rng.randrange(90)), 5.0)])
                    labels.put(tab, frame, tip, labels.revision(frame))
                    assert labels.labels().get(frame) == tip
                case 1:
                    change = labels.undo(tab)
                    assert labels.labels() == {
                        k: v for k, v in {**before, change.frame: change.now}.items() if v is not None
                    }
                case 2:
                    labels.redo(tab)
        except ConflictError:
            seen += 1
            assert labels.labels() == before
        except InputError:
            assert labels.labels() == before
    assert seen > 0
    assert book(tmp_path).labels() == labels.labels()


def test_a_label_that_another_tab_changed_is_not_overwritten(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    with pytest.raises(ConflictError, match="another tab"):
        labels.put("b", 3, (9.0, 9.0), 0)
    labels.put("b", 3, (9.0, 9.0), labels.revision(3))
    with pytest.raises(ConflictError, match="another tab"):
        labels.undo("a")
    assert labels.labels() == {3: (9.0, 9.0)}


@pytest.mark.parametrize(("frame", "tip"), [(50, (1.0, 1.0)), (-1, "hidden"), (0, (100.0, 1.0)), (0, (1.0, -1.0))])
def test_what_there_is_not_is_refused(tmp_path, frame, tip):
    labels = book(tmp_path)
    with pytest.raises(InputError):
        labels.put("a", frame, tip, 0)
    assert not (tmp_path / LABEL_LOG).exists()


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    labels.close()
    whole = (tmp_path / LABEL_LOG).read_bytes()
    (tmp_path / LABEL_LOG).write_bytes(whole + b'{"n": 2, "tab": "a", "do": "la')
    again = book(tmp_path)
    assert again.labels() == {3: (1.0, 2.0)}
    assert (tmp_path / LABEL_LOG).read_bytes() == whole
    again.put("a", 4, (5.0, 6.0), 0)
    assert book(tmp_path).labels() == {3: (1.0, 2.0), 4: (5.0, 6.0)}


def test_a_label_that_was_told_to_be_saved_survives_kill_9(tmp_path):
    """A process notes in another file what it was told is saved. Killed at random, the book has at least that."""
    told = tmp_path / "told"

    def work():
        labels = book(tmp_path)
        done = set(labels.labels())
        for frame in range(50):
            if frame not in done:
                labels.put("a", frame, (float(frame), 1.0), 0)
                with told.open("a") as f:
                    f.write(f"{frame}\n")

    killing.run_killed(work, random.Random(1), times=8, most_s=0.05)
    labels = book(tmp_path)
    assert {int(v) for v in told.read_text().split()} <= set(labels.labels())
    assert len(labels.labels()) == 50
    assert labels.outside is None


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_is_said_and_nothing_is_half_saved(tmp_path, monkeypatch, fails):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    whole = (tmp_path / LABEL_LOG).read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m:
        m.setattr(os, fails, full)
        with pytest.raises(InputError, match="the disk is full"):
            labels.put("a", 4, (5.0, 6.0), 0)
    assert labels.labels() == {3: (1.0, 2.0)}
    assert (tmp_path / LABEL_LOG).read_bytes() == whole
    labels.put("a", 4, (7.0, 8.0), 0)
    assert book(tmp_path).labels() == {3: (1.0, 2.0), 4: (7.0, 8.0)}


def test_a_table_that_cannot_be_replaced_is_said_and_the_label_counts(tmp_path, monkeypatch):
    labels = book(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m:
        m.setattr(os, "replace", full)
        labels.put("a", 3, (1.0, 2.0), 0)
    assert "disk is full" in labels.trouble
    assert labels.labels() == {3: (1.0, 2.0)}
    assert book(tmp_path).labels() == {3: (1.0, 2.0)}
    labels.put("a", 4, (5.0, 6.0), 0)
    assert labels.trouble is None
    assert len(read_truth(tmp_path / TABLE)) == 2


def test_a_table_changed_outside_is_said_and_left_alone(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    theirs = "frame,tip_x_px,tip_y_px,visible\n3,9.0,9.0,1\n7,5.0,5.0,1\n"
    (tmp_path / TABLE).write_text(theirs)
    assert labels.look()
    assert "2 labels differ" in labels.outside
    labels.put("a", 4, (3.0, 3.0), 0)
    assert (tmp_path / TABLE).read_text() == theirs
    labels.settle(take=True)
    assert labels.labels() == {3: (9.0, 9.0), 7: (5.0, 5.0)}
    assert labels.outside is None
    assert not labels.look()
    labels.undo("outside")
    assert book(tmp_path).labels() == labels.labels()


def test_mine_can_be_kept_and_theirs_stay_beside_them(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    (tmp_path / TABLE).write_text("nonsense\n")
    labels.look()
    assert "cannot be read" in labels.outside
    with pytest.raises(InputError):
        labels.settle(take=True)
    labels.settle(take=False)
    assert [t.tip_px for t in read_truth(tmp_path / TABLE)] == [(1.0, 2.0)]
    [kept] = tmp_path.glob("labels-outside-*.csv")
    assert kept.read_text() == "nonsense\n"


def test_a_removed_table_is_said(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    (tmp_path / TABLE).unlink()
    assert labels.look()
    assert "removed" in labels.outside
    labels.settle(take=False)
    assert len(read_truth(tmp_path / TABLE)) == 1


def test_labels_of_another_clip_are_refused(tmp_path):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    with pytest.raises(InputError, match="another clip"):
        book(tmp_path, SourceInfo("other.mp4", "video", (100, 80), 51, 20.0, None))


@pytest.mark.parametrize("line", ["{}", "[1]", "null", '{"n": 9}', "nonsense"])
def test_a_damaged_log_is_one_line_with_its_number(tmp_path, line):
    labels = book(tmp_path)
    labels.put("a", 3, (1.0, 2.0), 0)
    with (tmp_path / LABEL_LOG).open("a") as f:
        f.write(line + "\n")
    with pytest.raises(InputError, match="line 3 is damaged"):
        book(tmp_path)
