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
    "paper-s": "Carriere et al. 2019: genetic fit and genetic plan of event points, one generation per frame",
    "paper-s-fit": "as paper-s, with our least-squares fit",
    "paper-s-plan": "as paper-s, with our gradient search",
    "bicycle": "as paper-s, with both of ours",
    "open-loop": "one plan before the insertion, never looked at again",
    "none": "no control",
}
