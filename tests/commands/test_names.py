"""The names a user can choose from: read from the tables, in help texts and in completion."""

import pytest
from command_line import run

from sonosteer.commands.names import LISTS, complete, filled, names_of

HELP = {
    ("track",): ("methods",),
    ("insert",): ("policies", "methods", "setups", "splits"),
    ("simulate",): ("setups",),
    ("study",): ("studies", "executors"),
    ("bench",): ("benches",),
    ("train",): ("stages", "presets", "devices", "precisions"),
    ("steer", "run"): ("controllers", "tissues", "bevel-forces"),
    ("steer", "plan"): ("tissues",),
    ("dataset", "make"): ("operators", "simulated-sets"),
    ("dataset", "export"): ("formats", "splits"),
}


@pytest.mark.parametrize("kind", list(LISTS))
def test_every_list_has_names(kind):
    names = names_of(kind)
    assert names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_lists_every_name_of_its_tables(capsys, words):
    code, stdout, _ = run(capsys, *words, "--help")
    assert code == 0
    assert "{" not in stdout.partition("Options:")[2]
    said = "".join(stdout.split())  # however the lines are broken
    for kind in HELP[words]:
        assert all("".join(name.split()) in said for name in names_of(kind)), kind


def test_a_table_that_is_open_says_so():
    assert filled("{methods}").endswith(", or package.module:Name of your own")
    assert filled("{splits}") == "train, validation, test"
    assert filled("{nothing-of-ours") == "{nothing-of-ours"


def test_completion_gives_the_names_that_begin_as_typed():
    assert complete("methods")("kf") == ["kf", "kf+f", "kfv", "kfv+f"]
    assert complete("studies")("x") == []


def test_the_sizes_that_help_lists_are_those_there_are():
    pytest.importorskip("torch")
    from sonosteer.learning.nets.presets import TRACKING_PRESETS

    assert names_of("presets") == list(TRACKING_PRESETS)
