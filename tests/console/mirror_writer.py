"""A process that writes to a mirror as fast as it can, until it is told to end."""

import sys

from sonosteer.console.mirror import Mirror

BYTES = 200_000

mirror = Mirror(BYTES)
print(mirror.name, flush=True)
serial = 0
while serial < int(sys.argv[1]):
    serial += 1
    mirror.put({"serial": serial, "filler": "x" * (serial % 900)}, bytes([serial % 251]) * (BYTES - serial % 1000))
sys.stdin.read()
mirror.close()
