"""Studies by name: what `sonosteer study` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

STUDIES = LazyTable(
    "study",
    {
        "in-the-wild": "sonosteer.studies.wild.run:run_wild_study",
        "insertion": "sonosteer.studies.insertion.run:run_insertion_study",
        "obstacles": "sonosteer.studies.obstacles.run:run_obstacle_study",
        "steering": "sonosteer.studies.steering.run:run_steering_study",
        "tracking": "sonosteer.studies.tracking.run:run_tracking_study",
        "vla-tracking": "sonosteer.studies.vla_tracking.run:run_vla_tracking_study",
    },
    group="sonosteer.studies",
)
