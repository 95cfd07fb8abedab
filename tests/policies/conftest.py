"""The tests here share lane.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
