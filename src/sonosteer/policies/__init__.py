"""Policies that decide on an action from an observation, learned or scripted. They only propose: the gate decides."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
