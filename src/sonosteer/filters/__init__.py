"""Filters that follow the tip along the axis: `begin`, `predict`, `update`, frozen beliefs, no hidden state."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
