import errno
import shutil

import av
import numpy as np
import pytest

from sonosteer.core.errors import InputError
from sonosteer.core.geometry import LinearProbe, Spacing
from sonosteer.core.protocols import SourceInfo
from sonosteer.recording.clips import VideoWriter, cut_to_whole_fragments, open_clip
from sonosteer.recording.summary import versions, write_summary
from sonosteer.sources.opening import open_source

PROBE = LinearProbe((31.5, 0.0), 38.0, 50.0)


def info(size=(64, 48), frames=20):
    return SourceInfo("x", "test", size, frames, 20.0, Spacing(0.1, 0.12), PROBE)


def pictures(n=20, h=48, w=64):
    ramp = np.linspace(0, 255, w).astype(np.uint8)
    return np.array([np.tile(np.roll(ramp, 3 * i), (h, 1)) for i in range(n)])


@pytest.mark.parametrize(("name", "tolerance"), [("a.mp4", 6), ("a.mkv", 0), ("a.avi", 0), ("a.mha", 0), ("folder", 0)])
def test_what_is_written_reads_back_with_levels_times_and_scale(tmp_path, name, tolerance):
    frames = pictures()
    times = np.cumsum([0.0] + [0.05, 0.06, 0.04] * 6 + [0.05])
    writer = open_clip(tmp_path / name, info())
    for f, t in zip(frames, times, strict=True):
        writer.add(f, t)
    writer.close()
    source = open_source(tmp_path / name)
    got = list(source.frames())
    assert source.info.spacing == Spacing(0.1, 0.12)
    assert len(got) == len(frames)
    for f, want in zip(got, frames, strict=True):
        difference = np.abs(f.grey().astype(int) - want)
        assert np.quantile(difference, 0.98) <= tolerance
    if name != "a.avi":  # avi has no frame times of its own
        np.testing.assert_allclose([f.time_s for f in got], times, atol=2e-3)
    if name in ("a.mp4", "a.mkv", "folder"):
        assert source.info.probe == PROBE


@pytest.mark.parametrize("size", [(63, 47), (200, 150), (17, 16)])
def test_odd_sizes_are_padded_for_browsers(tmp_path, size):
    writer = VideoWriter(tmp_path / "a.mp4", info(size))
    for i in range(5):
        writer.add(np.full((size[1], size[0], 3), 40 * i, np.uint8), i / 20)
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as c:
        stream = c.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) in (("h264", "yuv420p"), ("h264", "yuvj420p"))
        assert stream.width % 2 == stream.height % 2 == 0
        assert sum(1 for _ in c.decode(stream)) == 5


@pytest.mark.parametrize("name", ["a.mp4", "a.mha", "folder"])
def test_what_a_killed_process_leaves_is_readable(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (70, 48, 64), dtype=np.uint8)
    writer = open_clip(tmp_path / name, info(frames=70))
    for i, f in enumerate(noise):
        writer.add(f, i / 20)
    # the process dies here: nothing is closed
    left = tmp_path / f"left_{name}"
    (shutil.copytree if name == "folder" else shutil.copy)(tmp_path / name, left)
    if name == "a.mp4":
        cut_to_whole_fragments(left)
    assert len(list(open_source(left).frames())) >= (48 if name == "a.mp4" else 70)
    writer.close()


def test_a_full_disk_while_writing_a_video_leaves_a_playable_one(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, info())
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64), dtype=np.uint8)
    for i in range(48):
        writer.add(noise[i], i / 20)

    def no_room(packet):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def __init__(self, file):
            self.file = file
            self.mux = no_room

        def close(self):
            self.file.close()

    writer._file = Full(writer._file)
    with pytest.raises(InputError, match="disk is full"):
        for i in range(48, 60):
            writer.add(noise[i], i / 20)
    with pytest.raises(InputError, match="disk is full"):
        writer.close()
    with av.open(str(path)) as c:
        assert sum(1 for _ in c.decode(video=0)) >= 24


@pytest.mark.parametrize(("name", "said"), [("a.gif", "not as .gif"), ("no/such/folder/a.mp4", "cannot be written")])
def test_a_clip_that_cannot_be_written_is_refused(tmp_path, name, said):
    with pytest.raises(InputError, match=said):
        open_clip(tmp_path / name, info())


def test_a_summary_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, {"a": 1})
    write_summary(path, {"a": np.float64(2.5), "path": tmp_path})
    assert '"a": 2.5' in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]
    with pytest.raises(ValueError, match="Out of range"):
        write_summary(path, {"a": float("nan")})
    assert versions()["sonosteer"] != "not installed"
