"""Every registered tracker keeps the laws of `sonosteer.testing`, on one small clip."""

import pytest

from sonosteer.testing import check_tracker, simulated_clip
from sonosteer.trackers.table import TRACKERS


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_keeps_the_laws(name):
    check_tracker(name, clip=simulated_clip("axial" if name == "axial" else "in-plane"))
