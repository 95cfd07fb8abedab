"""Studies by name: what `sonosteer study` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

STUDIES = LazyTable(
    "study",
    {
        "insertion": "sonosteer.studies.insertion.run:run",
        "steering": "sonosteer.studies.steering.run:run",
        "tracking": "sonosteer.studies.tracking.run:run",
        "vla-tracking": "sonosteer.studies.vla_tracking.run:run",
    },
)
