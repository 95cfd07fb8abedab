"""Trained networks answer here, through ONNX Runtime and without PyTorch.

There are two networks of one kind. `TipNetwork` finds the tip in a crop. `PolicyNetwork` chooses an action. Each has a
reply, a table of runtimes and a loader. `NeedleDetector` finds needles in whole pictures.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
