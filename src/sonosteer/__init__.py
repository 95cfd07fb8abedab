"""sonosteer: see the needle, steer the needle. Research software, not a medical device."""

from __future__ import annotations

import lazy_loader

from sonosteer.core.cache_folder import place_caches

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

place_caches()
