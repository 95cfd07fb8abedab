"""Controllers that steer a bevel-tip needle: they fit a model of the needle, plan its turns, and order its roll."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
