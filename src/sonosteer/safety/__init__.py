"""What stands between a decision and a robot: limits, the gate, the latched stop. Imports nothing but core."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
