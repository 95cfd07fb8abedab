"""Whatever stands in a header, it is read or refused in one line."""

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from written_clips import meta_header, nrrd_header

from sonosteer.core.errors import InputError
from sonosteer.sources.sequence_header import axis_times_s, read_header, shown

NUMBERS = st.sampled_from(["0", "1", "-1", "3", "16", "17", "1e9", "nan", "99999999999999999999", "4 4 4", "", "\0"])
WORDS = st.sampled_from(["LOCAL", "LIST", "s%03d.raw 0 3 1", "%", "% 0 1", "../x", "MET_UCHAR", "uchar", "raw", "gzip"])
VALUES = st.one_of(NUMBERS, WORDS, st.text(max_size=12))
META = ["NDims", "DimSize", "ElementType", "HeaderSize", "ElementNumberOfChannels", "ElementSpacing", "ElementDataFile"]
NRRD = ["type", "dimension", "sizes", "encoding", "kinds", "spacings", "space directions", "units", "byte skip"]
FRAME = ["Seq_Frame0000_Timestamp", "Seq_Frame999999999_ImageStatus", "Seq_Frame0001_ImageToXTransform"]


def read_or_refused(path, data):
    path.write_bytes(data)
    header, said = None, ""
    try:
        header = read_header(path)
    except InputError as e:
        said = str(e).replace(str(path), "")
    assert "\n" not in said
    assert len(said) < 300
    if header is None:
        return
    assert len(header.sizes) == len(header.steps_mm)
    assert len(header.kinds) in (0, len(header.sizes))
    assert min(header.sizes) > 0
    axis_times_s(header)


@given(fields=st.dictionaries(st.sampled_from([*META, *FRAME, "Kinds", "CompressedData"]), VALUES, max_size=6))
def test_any_fields_of_metaimage(tmp_path_factory, fields):
    data = meta_header(**{k: v for k, v in fields.items() if k != "ElementDataFile"})
    data = data.replace(b"LOCAL", fields.get("ElementDataFile", "LOCAL").encode("utf-8", "surrogatepass"))
    read_or_refused(tmp_path_factory.mktemp("h") / "a.mha", data)


@given(fields=st.dictionaries(st.sampled_from([*NRRD, "data file", "line skip"]), VALUES, max_size=6))
def test_any_fields_of_nrrd(tmp_path_factory, fields):
    pairs = [(FRAME[0], value) for value in fields.values()]
    data = nrrd_header(pairs=pairs, **{k.replace(" ", "_"): v for k, v in fields.items()})
    read_or_refused(tmp_path_factory.mktemp("h") / "a.nrrd", data)


@given(st.binary(max_size=300))
@example(b"NRRD")
@example(b"NRRD0004")
@example(b"NRRD0004\n\n")
@example(b"ElementDataFile")
@example(b"=\n" * 100)
def test_any_bytes(tmp_path_factory, data):
    read_or_refused(tmp_path_factory.mktemp("h") / "a.mha", data)


def test_lines_may_end_as_on_windows_and_have_colons(tmp_path):
    (tmp_path / "a.mha").write_bytes(meta_header().replace(b"\n", b"\r\n").replace(b"NDims =", b"NDims :"))
    header = read_header(tmp_path / "a.mha")
    assert header.sizes == (6, 5, 4)
    assert header.data.begin == (tmp_path / "a.mha").stat().st_size
    (tmp_path / "a.nrrd").write_bytes(nrrd_header().replace(b"\n", b"\r\n"))
    assert read_header(tmp_path / "a.nrrd").sizes == (6, 5, 4)


def test_many_lines_that_nobody_knows_take_no_memory(tmp_path):
    lines = b"".join(b"Field%d = value\n" % i for i in range(100_000))
    (tmp_path / "a.mha").write_bytes(lines + meta_header())
    tracemalloc.start()
    assert read_header(tmp_path / "a.mha").sizes == (6, 5, 4)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("said", "wanted"), [("plain", "'plain'"), ("a\nb", "'a\\nb'"), ("é", "'\\xe9'"), ("x" * 99, f"'{'x' * 57}...'")]
)
def test_text_of_a_file_is_shown_on_one_short_line(said, wanted):
    assert shown(said) == wanted
