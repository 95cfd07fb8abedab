"""ur-rtde, a client that others wrote, reads the stand-in. It has wheels for Python 3.11 and 3.12.

It runs in a process of its own, since it holds the interpreter while it connects.
"""

import importlib.util
import json
import socket
import subprocess
import sys

import pytest
from orders import WAIT_S, wait_until

from sonosteer.testing.ur.controller import StandInController

if importlib.util.find_spec("rtde_receive") is None:
    pytest.skip("no ur-rtde here: pip install ur-rtde, which has no wheel for Python 3.13", allow_module_level=True)

HOST = "127.0.0.87"  # ur-rtde knows one port only, so the stand-in has an address of its own
READER = """
import json, sys, rtde_receive
r = rtde_receive.RTDEReceiveInterface(sys.argv[1], 125.0)
print("connected", flush=True)
for line in sys.stdin:
    print(json.dumps({
        "connected": r.isConnected(),
        "pose": r.getActualTCPPose(),
        "speed": r.getActualTCPSpeed(),
        "robot_mode": r.getRobotMode(),
        "safety_mode": r.getSafetyMode(),
        "runtime_state": r.getRuntimeState(),
        "protective": r.isProtectiveStopped(),
        "slider": r.getTargetSpeedFraction(),
        "time": r.getTimestamp(),
    }), flush=True)
"""


@pytest.fixture
def controller():
    with socket.socket() as probe:
        try:
            probe.bind((HOST, 30004))
        except OSError as e:
            pytest.skip(f"{HOST}:30004 cannot be had here: {e}")
    made = StandInController(HOST, 30004)
    made.start()
    yield made
    made.close()


def test_ur_rtde_connects_and_reads_what_the_stand_in_does(controller):
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, HOST],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def asked():
        reader.stdin.write("?\n")
        reader.stdin.flush()
        line = reader.stdout.readline()
        assert line, f"ur-rtde ended with {reader.wait(WAIT_S)}"
        return json.loads(line)

    try:
        assert reader.stdout.readline() == "connected\n"
        said = asked()
        assert said["connected"]
        assert said["pose"] == pytest.approx(controller.arm.pose, abs=1e-12)
        assert (said["robot_mode"], said["safety_mode"], said["runtime_state"]) == (7, 1, 2)
        assert (said["protective"], said["slider"]) == (False, 1.0)
        wait_until(lambda: asked()["time"] > said["time"], "more rows")
        controller.hand("push")
        wait_until(lambda: asked()["pose"][0] == pytest.approx(0.403), "the pose to change")
        controller.hand("slow")
        wait_until(lambda: asked()["slider"] == 0.5, "the slider to change")
        controller.hand("protect")
        wait_until(lambda: asked()["protective"], "the protective stop")
        assert asked()["safety_mode"] == 3
    finally:
        reader.kill()
        reader.communicate()
