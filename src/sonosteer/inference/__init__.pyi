from .action_encoding import encode_action as encode_action
from .action_encoding import encode_inputs as encode_inputs
from .needle_detector import Detection as Detection
from .needle_detector import DetectorAnswer as DetectorAnswer
from .needle_detector import NeedleDetector as NeedleDetector
from .onnx_graphs import model_folder as model_folder
from .policy_network import PolicyNetwork as PolicyNetwork
from .policy_network import PolicyReply as PolicyReply
from .policy_network import load_policy_network as load_policy_network
from .policy_network import policy_folder as policy_folder
from .prompt import instruction as instruction
from .tip_network import TipNetwork as TipNetwork
from .tip_network import TipReply as TipReply
from .tip_network import load_tip_network as load_tip_network

__all__ = [
    "Detection",
    "DetectorAnswer",
    "NeedleDetector",
    "PolicyNetwork",
    "PolicyReply",
    "TipNetwork",
    "TipReply",
    "encode_action",
    "encode_inputs",
    "instruction",
    "load_policy_network",
    "load_tip_network",
    "model_folder",
    "policy_folder",
]
