"""OpenIGTLink: messages as bytes, a receiver that always drains, a publisher that never waits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
