__all__ = [
    "Episode",
    "EpisodeResult",
    "InsertionConfig",
    "SteeringConfig",
    "SteeringEpisode",
    "SteeringResult",
    "build_episode",
    "build_steering_episode",
    "run_episode",
    "run_steering_episode",
]

from .insertion import Episode as Episode
from .insertion import EpisodeResult as EpisodeResult
from .insertion import InsertionConfig as InsertionConfig
from .insertion import build_episode as build_episode
from .insertion import run_episode as run_episode
from .steering import SteeringConfig as SteeringConfig
from .steering import SteeringEpisode as SteeringEpisode
from .steering import SteeringResult as SteeringResult
from .steering import build_steering_episode as build_steering_episode
from .steering import run_steering_episode as run_steering_episode
