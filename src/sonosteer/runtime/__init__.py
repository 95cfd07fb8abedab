"""Runs trackers, policies and the gate in a loop, on a simulated clock or a real one, and replays what was recorded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
