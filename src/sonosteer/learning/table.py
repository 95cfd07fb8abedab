"""Training stages by name: what `sonosteer train` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

STAGES = LazyTable(
    "training stage",
    {
        "tip-weights": "sonosteer.learning.tip_weights:train",
        "encoder": "sonosteer.learning.tracking_stages:train_encoder",
        "tracking": "sonosteer.learning.tracking_stages:train_tracking",
        "policy": "sonosteer.learning.policy_stages:train_policy",
    },
)

#: stages that train a network and take the options for that
NETWORK_STAGES = ("encoder", "tracking", "policy")
