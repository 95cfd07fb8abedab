"""Laws that a tracker, source, policy, robot or controller of your own can be held to: plain functions, no pytest.

Each raises AssertionError with a sentence that says which law is broken. The built-in ones keep the same laws.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
