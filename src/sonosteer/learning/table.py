"""Training stages by name: what `sonosteer train` takes."""

from __future__ import annotations

from sonosteer.core.registry import LazyTable

TRAINING_STAGES = LazyTable(
    "training stage",
    {
        "tip-weights": "sonosteer.learning.training.tip_weights:train_tip_weights",
        "encoder": "sonosteer.learning.training.tracking_stages:train_encoder",
        "tracking": "sonosteer.learning.training.tracking_stages:train_tracking",
        "detector": "sonosteer.learning.training.detector_stage:train_detector",
        "policy": "sonosteer.learning.training.policy_stages:train_policy",
    },
    group="sonosteer.stages",
)

#: sizes of a network
PRESET_NAMES = ("tiny", "edge", "base", "qwen3b", "qwen7b")
#: stages that train a network and take the options for that
NETWORK_STAGES = ("detector", "encoder", "tracking", "policy")
