"""Episodes: a scene, a tracker, a decider and a rig, put together once and run to the end."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
