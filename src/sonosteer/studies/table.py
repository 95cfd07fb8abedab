"""Studies by name: what `sonosteer study` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

STUDIES = LazyTable(
    "study",
    {
        "insertion": "sonosteer.studies.insertion:run",
        "steering": "sonosteer.studies.steering:run",
        "tracking": "sonosteer.studies.tracking:run",
        "vla-tracking": "sonosteer.studies.vla_tracking:run",
    },
)
