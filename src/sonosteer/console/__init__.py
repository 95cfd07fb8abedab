"""The console: a page on this machine that shows a clip, tracks it, and keeps the labels that a person makes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
