"""Recorded steering runs, opened for the console's steer room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sonosteer.commands import parsing
from sonosteer.core.errors import InputError

if TYPE_CHECKING:
    from sonosteer.episodes.steering_story import SteeringStory
    from sonosteer.recording.run_reader import RunReader


def recording_in(path: str) -> Path | None:
    """The recording that a path names, itself or the folder that it is in. None if it names none."""
    whole = Path(path)
    inside = whole / parsing.RECORDING if whole.is_dir() else whole
    return inside if inside.suffix == ".mcap" and (inside.is_file() or not whole.is_dir()) else None


def is_steering_run(path: Path) -> bool:
    """True if a recording is of `steer run`. Raises InputError if it is none of ours."""
    from sonosteer.recording.run_reader import RunReader

    return "steered" in RunReader(path).configuration


def open_steering_run(path: Path) -> tuple[RunReader, SteeringStory]:
    """Read a recording of `steer run`, and let its controller plan again.

    Raises InputError if it is another recording, and BrokenError if nothing in it is to be believed.
    """
    import math

    from sonosteer.commands.steering_aim import read_config, steering_deciders
    from sonosteer.episodes.steering_story import tell_story
    from sonosteer.recording.run_reader import RunReader
    from sonosteer.steering.obstacles import combine_obstacles, parse_obstacle

    recorded = RunReader(path)
    said = recorded.configuration
    if "steered" not in said:
        raise InputError(f"{path} is no steering run: `sonosteer steer run --out DIR` records one")
    try:
        typed = said["command"]
        config = read_config(typed)
        _, policy = steering_deciders(said)
        obstacles = [combine_obstacles((parse_obstacle(o),), config.depth_mm) for o in typed["obstacle"] or ()]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise InputError(f"{path} does not say what decided ({e}): it is no recording of sonosteer steer run") from None
    story = tell_story(recorded, policy, math.radians(typed["budget_deg"]), obstacles)
    story.words = {
        "tissue": config.tissue,
        "controller": config.controller,
        "seed": config.seed,
        "ended": recorded.ended or "not closed",
    }
    if recorded.cut is not None:
        story.notes.append(f"the recording was {recorded.cut}: it is shown as far as it is to be believed")
    return recorded, story
