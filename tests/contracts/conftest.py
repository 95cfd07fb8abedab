"""The tests of policies share a needle on paper."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "policies"))
