"""Values come out in order, however they are packed and shared among files."""

import bz2
import gzip
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonosteer.sources.sequence_header import DataPlace
from sonosteer.sources.stored_values import StoredValues

ALL = np.random.default_rng(0).integers(0, 9, 3000, dtype=np.uint8).tobytes()
PACK = {
    "raw": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "text": lambda data: " ".join(map(str, data)).encode(),
    "hex": lambda data: data.hex().encode(),
}
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 1200)), max_size=8)


@given(packing=st.sampled_from(sorted(PACK)), files=st.sampled_from([0, 1, 2, 3, 10, 30]), steps=STEPS)
def test_reading_and_skipping_in_any_steps_gives_the_bytes_in_order(tmp_path_factory, packing, files, steps):
    folder = tmp_path_factory.mktemp("values")
    each = len(ALL) // max(1, files)
    names = tuple(f"{i}.raw" for i in range(files))
    for i, name in enumerate(names or ("a.mha",)):
        (folder / name).write_bytes(b"\nskip\n" + PACK[packing](ALL[i * each : (i + 1) * each]))
    place = DataPlace(names, packing, begin=1, skip_lines=1)
    values = StoredValues(folder / "a.mha", place, np.dtype("u1"), len(ALL), 30)
    values.check()
    at = 0
    with values.open() as reader:
        for skips, n in steps:
            if skips:
                reader.skip(n)
            else:
                assert reader.read(n) == ALL[at : at + n]
            at += n


@given(packing=st.sampled_from(["zlib", "gzip", "bzip2", "text", "hex"]), data=st.binary(max_size=200))
def test_damaged_bytes_end_the_values_and_raise_nothing(tmp_path_factory, packing, data):
    path = tmp_path_factory.mktemp("values") / "a.mha"
    path.write_bytes(data)
    with StoredValues(path, DataPlace((), packing), np.dtype("u1"), 1000, 10).open() as reader:
        assert len(reader.read(1000)) <= 1000
        assert len(reader.read(1000)) <= 1000
