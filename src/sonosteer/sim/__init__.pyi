__all__ = [
    "SETUPS",
    "NeedleTruth",
    "RigLimits",
    "Scene",
    "World",
    "make_scene",
    "planned_angles",
    "steering_scene",
]

from .rig import RigLimits as RigLimits
from .scenes import SETUPS as SETUPS
from .scenes import Scene as Scene
from .scenes import make_scene as make_scene
from .scenes import planned_angles as planned_angles
from .steering_scenes import steering_scene as steering_scene
from .truth import NeedleTruth as NeedleTruth
from .world import World as World
