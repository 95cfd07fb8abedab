"""A simulated world that answers like the real one: probe, tissue, needle echoes, display, and the truth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
