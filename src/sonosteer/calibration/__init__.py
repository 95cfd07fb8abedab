"""Calibrations and their own claimed error: pivot, image to probe, robot to tracker, lag, needle guide."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
