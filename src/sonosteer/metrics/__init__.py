"""How wrong a tracker or an insertion was: errors, coverage, success, latency, and tests of significance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
