"""The names of the steering controllers. Imports nothing heavy, so that help can list them."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

CONTROLLERS = LazyTable(
    "steering controller",
    {
        "moves": "sonosteer.steering.planner:MovePlanner",
        "paper-s": "sonosteer.steering.event_triggered:EventTriggered",
        "paper-s-fit": "sonosteer.steering.event_triggered:EventTriggered",
        "paper-s-plan": "sonosteer.steering.event_triggered:EventTriggered",
        "bicycle": "sonosteer.steering.event_triggered:EventTriggered",
        "open-loop": "sonosteer.steering.event_triggered:EventTriggered",
        "none": "sonosteer.steering.event_triggered:Straight",
    },
    group="sonosteer.controllers",
)
#: what each is, for --help and the studies
ABOUT_CONTROLLERS = {
    "moves": "recommended: few turns planned anew as the needle goes, on a model with the beam's transient",
    "paper-s": "Paper S: its genetic fit and genetic plan of event points, one generation a frame",
    "paper-s-fit": "Paper S with our least-squares fit",
    "paper-s-plan": "Paper S with our gradient search",
    "bicycle": "Paper S with both of ours",
    "open-loop": "one plan before the insertion, never looked at again",
    "none": "no control",
}
