"""Training stages by name: what `sonosteer train` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

STAGES = LazyTable(
    "training stage",
    {
        "tip-weights": "sonosteer.learning.tip_weights:train",
    },
)
