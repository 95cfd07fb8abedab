__all__ = ["BridgeConfig", "Ros2Bridge", "TipListener", "TipPose", "pixels_of", "pose_covariance"]

from .bridge import BridgeConfig as BridgeConfig
from .bridge import Ros2Bridge as Ros2Bridge
from .pictures import pixels_of as pixels_of
from .poses import TipPose as TipPose
from .poses import pose_covariance as pose_covariance
from .tip_listener import TipListener as TipListener
