"""The study `in-the-wild`: does a tracker find the needle in pictures from any scanner, with nothing given?

All pictures are of the set-up `in-the-wild`, whose every seed is another scanner, display, body and needle. The default
is the test split, on which nothing is trained and no choice is made. During development set `split=validation`.

* Stills whose tip a person could see, each as a fresh start. Stills without a needle.
* Clips as they come, followed from their first frame, counted from the second second on.
* A frame comes without scale, probe and speed.

The world is frozen. Its hash and those of the shipped models stand in the report. A journal of another world or another
model is not gone on with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np

from sonosteer.core.config import from_dict, save_json, to_dict
from sonosteer.core.errors import InputError
from sonosteer.core.progress import StageProgress
from sonosteer.recording.summary import versions
from sonosteer.sim.setups import Split
from sonosteer.sim.wild import TISSUE_SEEDS, draw_wild_scene, wild_still
from sonosteer.sim.wild_hash import wild_world_hash
from sonosteer.studies.journal import Journal, run_missing
from sonosteer.studies.models_used import models_used
from sonosteer.studies.pages import quick_facts, writing
from sonosteer.studies.wild.figures import WildSample
from sonosteer.studies.wild.report import write_wild_study
from sonosteer.studies.wild.trials import WildClip, WildStill, WildTrial, clips_of, run_wild_trial, stills_of
from sonosteer.viz.still_sheet import StillTile, write_stills

SEEDS_APART = 600_000  # between the first stills of two study seeds. The clips begin half way
STILLS_A_BLOCK = 3  # chosen: about so many stills of a scanner show their tip, to guess how many blocks are needed
SHEET_STILLS, SHEET_WRONG = 24, 12  # number of stills on the sheets


@dataclass(frozen=True, slots=True)
class WildConfig:
    """What is measured. The defaults are the published study."""

    split: Split = "test"
    """Split that the pictures come from. The test split is for the end."""
    method: str = "auto"
    """Tracking method: a name, or package.module:Class."""
    stills: int = 1000
    """Number of stills whose tip a person could see. 1 or more."""
    needle_free: int = 500
    """Number of stills without a needle. 1 or more."""
    clips: int = 300
    """Number of clips. 1 or more."""
    scaled: bool = False
    """True if the frames keep their scale, for methods that need one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method, by name. Typed as method.NAME=VALUE."""

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise InputError(f"split is {self.split!r}; there are: {', '.join(get_args(Split))}")
        for name in ("stills", "needle_free", "clips"):
            if not getattr(self, name) >= 1:
                raise InputError(f"{name} is {getattr(self, name)}, but must be 1 or more")


#: a quick run never touches the test split
QUICK = WildConfig(split="validation", stills=12, needle_free=4, clips=2)


def run_wild_study(
    *,
    out: Path,
    quick: bool,
    seed: int,
    executor: str,
    progress: StageProgress,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`sonosteer study in-the-wild`: render, track, write tables and figures. Goes on where it stopped.

    settings: fields of `WildConfig`, and `method.NAME` for those of the method. Raises InputError for an unknown one.
    """
    config = wild_config(settings or {})
    if quick:
        config = dataclasses.replace(QUICK, method=config.method, scaled=config.scaled, settings=config.settings)
    question = {
        "study": "in-the-wild",
        "quick": quick,
        "seed": seed,
        "config": to_dict(config),
        "world": wild_world_hash(),
        "models": models_used(config.settings),
    }
    study = _Study(config, SEEDS_APART * seed, Journal(out / "trials.jsonl", question), executor, progress)
    try:
        drawn = study.drawn_stills()
        free = study.needle_free(drawn)
        clips = study.clips()
    finally:
        study.journal.close()
    visible = [s for s in drawn if s.judged.visible][: config.stills]
    drawn = [s for s in drawn if s.seed <= visible[-1].seed]
    sample = WildSample(config.split, tuple(visible), tuple(free), tuple(drawn), tuple(clips))
    trials = len(study.journal.done)
    _draw_sheets(sample, out, seed, progress)
    with writing(progress):
        typed = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in (settings or {}).items()]
        about = {
            **question,
            "set": typed,
            **quick_facts(trials, quick=quick),
            "versions": versions(),
            "executor": executor,
        }
        tables = write_wild_study(sample, out, about)
        summary = {**about, "tables": tables}
        save_json(summary, out / "summary.json")
    return summary


def wild_config(settings: Mapping[str, Any]) -> WildConfig:
    """Read settings as typed. Raises InputError for an unknown one."""
    prefix = "method."
    own = {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
    rest = {key: value for key, value in settings.items() if not key.startswith(prefix)}
    return from_dict(WildConfig, {**rest, "settings": own}, "study in-the-wild")


@dataclass(frozen=True)
class _Study:
    """The trials of one run of the study."""

    config: WildConfig
    first: int
    journal: Journal
    executor: str
    progress: StageProgress

    def _trial(self, kind: Any, seeds: Sequence[int]) -> WildTrial:
        c = self.config
        return WildTrial(kind, c.split, tuple(seeds), method=c.method, settings=c.settings, scaled=c.scaled)

    def _run(self, todo: Sequence[WildTrial], tell: Callable[[int], None]) -> list[Any]:
        """What is found of each trial's seeds, in order."""
        for done in run_missing(run_wild_trial, todo, self.journal, self.executor):
            tell(done)
        return [row for trial in todo for row in self.journal.done[trial.name]]

    def drawn_stills(self) -> list[WildStill]:
        """Stills of all seeds in a row, until enough of them show their tip. A few more are drawn."""
        wanted, drawn, begin = self.config.stills, list[WildStill](), self.first
        while (seen := sum(s.judged.visible for s in drawn)) < wanted:
            blocks = -(-(wanted - seen) // STILLS_A_BLOCK)
            ends = [begin + TISSUE_SEEDS * k for k in range(blocks + 1)]
            todo = [self._trial("stills", range(a, a + TISSUE_SEEDS)) for a in ends[:-1]]

            def tell(_: int, todo: Sequence[WildTrial] = todo, seen: int = seen) -> None:
                rows = [row for t in todo for row in self.journal.done.get(t.name, ())]
                self.progress("stills", min(seen + sum(r["judged"]["visible"] for r in rows), wanted), wanted)

            drawn += stills_of(self._run(todo, tell))
            begin = ends[-1]
        return drawn

    def needle_free(self, drawn: Sequence[WildStill]) -> list[WildStill]:
        """Stills without a needle: those already drawn, then those of the seeds behind."""
        wanted = self.config.needle_free
        found = [s for s in drawn if not s.needle]
        blocks: dict[int, list[int]] = {}
        missing, seeds = wanted - len(found), count(drawn[-1].seed + 1)
        while missing > 0:
            seed = next(seeds)
            if not draw_wild_scene(seed, self.config.split)["needle"]:
                blocks.setdefault(seed // TISSUE_SEEDS, []).append(seed)
                missing -= 1
        todo = [self._trial("stills", block) for block in blocks.values()]
        found += stills_of(
            self._run(todo, lambda _: self.progress("stills without a needle", self._done(todo), len(todo)))
        )
        return found[:wanted]

    def clips(self) -> list[WildClip]:
        """Clips as they come, each of another scanner."""
        start = self.first + SEEDS_APART // 2
        todo = [self._trial("clip", [start + TISSUE_SEEDS * k]) for k in range(self.config.clips)]
        return clips_of(self._run(todo, lambda _: self.progress("clips", self._done(todo), len(todo))))

    def _done(self, todo: Sequence[WildTrial]) -> int:
        return sum(t.name in self.journal.done for t in todo)


def _draw_sheets(sample: WildSample, out: Path, seed: int, progress: StageProgress) -> None:
    """Draw some stills by chance, and some of those that went wrong."""
    rng = np.random.default_rng([seed, 9])
    wrong = [s for s in (*sample.stills, *sample.free) if s.judged.outcome() == "wrong"]
    sheets = {
        "stills.png": (sample.stills, SHEET_STILLS, f"Stills drawn by chance, {sample.split} split"),
        "wrong.png": (wrong, SHEET_WRONG, f"Wrong stills drawn by chance, {sample.split} split"),
    }
    for file, (stills, most, title) in sheets.items():
        (out / file).unlink(missing_ok=True)
        if stills:
            picked = sorted(rng.choice(len(stills), min(most, len(stills)), replace=False).tolist())
            tiles = []
            for k, i in enumerate(picked):
                progress(f"drawing {file}", k, len(picked))
                tiles.append(_tile(stills[i], sample.split))
            write_stills(out / file, title, tiles)


def _tile(still: WildStill, split: Split) -> StillTile:
    """The still drawn again, with what was said of it."""
    frame, _, truth = wild_still(still.seed, split)
    return StillTile(
        grey=frame.grey(),
        true_tip_px=truth.tip_px,
        true_shaft_px=truth.shaft_px,
        tip_px=still.tip_px,
        shaft_px=still.shaft_px,
        outcome=still.judged.outcome(),
        name=f"seed {still.seed}" + ("" if still.needle else ", no needle"),
    )
