"""The names a user can choose from, read from the tables: for help texts and for shell completion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from typer.core import TyperCommand

from sonosteer.core.registry import LazyTable

#: kind of name -> the table that holds the names
LISTS = LazyTable(
    "list of names",
    {
        "methods": "sonosteer.trackers.table:TRACKERS",
        "policies": "sonosteer.policies.table:POLICIES",
        "operators": "sonosteer.policies.expert:OPERATOR_MODELS",
        "setups": "sonosteer.sim.setups:SETUPS",
        "splits": "sonosteer.sim.setups:Split",
        "sources": "sonosteer.sources.opening:SOURCES",
        "controllers": "sonosteer.steering.controllers:CONTROLLERS",
        "robots": "sonosteer.robots.table:ROBOTS",
        "tissues": "sonosteer.sim.setups:TISSUES",
        "bevel-forces": "sonosteer.sim.setups:RECIPES",
        "plants": "sonosteer.sim.setups:PLANTS",
        "studies": "sonosteer.studies.table:STUDIES",
        "benches": "sonosteer.benchmarks.table:BENCHMARKS",
        "stages": "sonosteer.learning.table:TRAINING_STAGES",
        "presets": "sonosteer.learning.table:PRESET_NAMES",
        "devices": "sonosteer.learning.training.options:Device",
        "precisions": "sonosteer.learning.training.options:Precision",
        "simulated-sets": "sonosteer.datasets.make_videos:SETS",
        "formats": "sonosteer.datasets.exporting:FORMATS",
        "executors": "sonosteer.runtime.executor:KINDS",
    },
)


def names_of(kind: str) -> list[str]:
    """All names of a kind, in the order of their table."""
    table = LISTS.load(kind)
    return [str(name) for name in get_args(table) or table]


def complete(kind: str) -> Callable[[str], list[str]]:
    """A completion for the shell: the names of a kind that begin as typed."""

    def begin_with(incomplete: str) -> list[str]:
        return [name for name in names_of(kind) if name.startswith(incomplete)]

    return begin_with


def filled(text: str) -> str:
    """Help text with `{kind}` replaced by the names of that kind."""
    return re.sub(r"\{([a-z-]+)\}", lambda found: _listed(found[1]), text)


def _listed(kind: str) -> str:
    table = LISTS.load(kind)
    open_to_all = isinstance(table, LazyTable) and table.group is not None
    return ", ".join(names_of(kind)) + (", or package.module:Name of your own" if open_to_all else "")


class PageCommand(TyperCommand):
    """A command whose help lists names from the tables. They are read when the help is shown, not at start-up."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fill in the lists, then show the help."""
        self.help = filled(self.help or "")
        for parameter in self.params:
            told = getattr(parameter, "help", None)
            if told:
                parameter.help = filled(told)  # type: ignore[attr-defined]
            if parameter.param_type_name == "argument":  # typer adds <list[str]> where several words may stand
                parameter.display_type = lambda ctx: None  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
