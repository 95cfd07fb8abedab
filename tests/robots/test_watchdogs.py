"""Each way to lose the process that pushes, on each axis: the needle stops in time, and stays."""

import re

import numpy as np
import pytest

from sonosteer.testing.watchdogs import (
    AXIS_KINDS,
    SPEED_MM_S,
    WATCHDOG_S,
    WAYS_TO_END,
    bound_mm,
    standing_in,
    stop_once,
)

pytestmark = pytest.mark.slow

#: ending -> what is said, of which one always is. A busy machine decides which net holds first
REFUSALS = {
    "kill": r"needle cannot be made ready: the drive (is in FAULT|has a fault, watchdog).*--reset needle",
    "freeze": r"needle: (watchdog|silent): |stopped \((encoders|heartbeat)\): |robot state age",
    "link": r"needle: (watchdog|silent|no link): |stopped \((encoders|heartbeat)\): ",
}


#: an arm: its own program says why, and whoever looks at it is told
ARM_REFUSALS = {
    "kill": r"sonosteer.script 1 is latched \(the program stopped the arm, since no order was renewed in time\)",
    "freeze": r"needle: (watchdog|silent|no link): |stopped \((encoders|heartbeat)\): |robot state age",
    "link": REFUSALS["link"],
}


def multicast_works():
    import can

    where = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": 43299, "hop_limit": 0}
    with can.Bus(**where) as one, can.Bus(**where) as other:
        one.send(can.Message(arbitration_id=1, data=[1], is_extended_id=False))
        return other.recv(2.0) is not None


@pytest.fixture(scope="module", params=AXIS_KINDS)
def stood_in(request, tmp_path_factory):
    if request.param == "cia402":
        pytest.importorskip("canopen")
        try:
            works = multicast_works()
        except OSError as e:
            works = False
            print(e)
        if not works:
            pytest.skip("no bus between processes: this machine has no UDP multicast")
    with standing_in(request.param, tmp_path_factory.mktemp("rig")) as (stand_in, rig):
        yield request.param, stand_in, rig


@pytest.mark.parametrize("ending", WAYS_TO_END)
def test_a_needle_at_full_speed_stops_within_its_bound_and_never_moves_again_by_itself(stood_in, ending):
    kind, stand_in, rig = stood_in
    stopped = stop_once(kind, ending, stand_in, rig, np.random.default_rng(0))
    assert stopped.travel_mm <= stopped.bound_mm
    assert stopped.crept_mm == 0.0
    assert stopped.state == ("LATCHED" if kind == "ur" else "FAULT")
    said = (ARM_REFUSALS if kind == "ur" else REFUSALS)[ending]
    assert re.search(said, stopped.refusal), stopped.refusal


@pytest.mark.parametrize("kind", AXIS_KINDS)
def test_the_bound_is_what_the_drive_may_do(kind):
    assert bound_mm(kind) == pytest.approx(SPEED_MM_S * (WATCHDOG_S[kind] + 0.01) + SPEED_MM_S**2 / 2000.0)
