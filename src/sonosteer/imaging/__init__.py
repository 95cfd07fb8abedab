"""Image mathematics without state, files or a clock: rays, ridge scores, lines, patches, crops."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
