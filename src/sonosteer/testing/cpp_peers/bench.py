"""`sonosteer bench live-peer`: pictures that a C++ peer of others sends, beside a C++ client of others on the same.

The sender stamps a picture before it packs it and computes its check sum, so that this is in the ages of both.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sonosteer.core.errors import BrokenError, InputError
from sonosteer.core.progress import CountProgress
from sonosteer.metrics.latency import percentiles_ms
from sonosteer.recording.summary import versions
from sonosteer.sources.igtlink.source import OpenIGTLinkSource
from sonosteer.testing.cpp_peers.building import build_peer, new_port, running_sender

_SIZE_PX = (640, 480)
ACCOUNT_HZ, _ACCOUNT_S = 60.0, 60.0
TRANSPORT_HZ = (30.0, 60.0, 100.0)
TURN_S, _TURNS = 4.0, 3
FIRST = 10  # pictures of a connection that are not counted in its ages
LEFT_S = 2.0  # chosen: what was sent is here by then, or was lost


def bench_cpp_peer(*, seed: int, progress: CountProgress, seconds: float = _ACCOUNT_S) -> dict[str, Any]:
    """Measure the account of a long run, and ages beside a C++ client's. seed: nothing is drawn here.

    seconds: how long the account is; each turn of the ages takes TURN_S, or seconds where that is less. Raises
    InputError without g++ and libopenigtlink.
    """
    turn_s = min(TURN_S, seconds)
    with tempfile.TemporaryDirectory() as folder:
        sender, client = (build_peer(name, Path(folder)) for name in ("igtl_sender", "igtl_client"))
        cases = [_account(sender, seconds)]
        progress(1)
        for rate_hz in TRANSPORT_HZ:
            cases += _beside(sender, client, rate_hz, turn_s)
            progress(len(cases))
    return {
        "name": "live-peer",
        "machine": versions() | {"load": os.getloadavg()[0], "cores": os.cpu_count()},
        "cases": cases,
        "notes": (
            f"640x480 grey, packed, stamped and sent by libopenigtlink in C++, check sums compared by both readers. "
            f"account: {seconds:g} s at {ACCOUNT_HZ:g} Hz. ages: {_TURNS} turns of {turn_s:g} s of each reader. "
            f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. {_said(cases)}"
        ),
    }


def _said(cases: list[dict[str, Any]]) -> str:
    """The account in words, and by how much our medians differ from those of the C++ client."""
    account = cases[0]
    differences = [f"{c['slower_by_ms']:+.2f} ms at {c['rate_hz']:g} Hz" for c in cases if "slower_by_ms" in c]
    sums = "adds up" if account["adds_up"] else "DOES NOT ADD UP"
    return (
        f"The peer sent {account['sent']}; {account['received']} received = {account['seen']} seen + "
        f"{account['overwritten']} overwritten + {sum(account['bad'].values())} bad: it {sums}. "
        f"Our median less that of the C++ client: {', '.join(differences)}."
    )


def _account(sender: Path, seconds: float) -> dict[str, Any]:
    """Read everything that the peer sends, and compare the account with what it says it sent."""
    port, count = new_port(), max(round(seconds * ACCOUNT_HZ), 2)
    ages: list[float] = []
    with running_sender(sender, port, ACCOUNT_HZ, count, size_px=_SIZE_PX) as process:
        source = _opened(port)
        end_s = time.monotonic() + 3.0 * seconds + 30.0
        while process.poll() is None and time.monotonic() < end_s:
            _read(source, ages, 0.2)
        said = re.fullmatch(r"sent (\d+) and (\d+) transforms\n", process.stdout.read() if process.stdout else "")
        end_s = time.monotonic() + LEFT_S
        while said is not None and source.counts().received < int(said[1]) and time.monotonic() < end_s:
            _read(source, ages, 0.05)
        source.close()
    if said is None:
        raise BrokenError("the C++ peer did not say how many pictures it sent")
    sent, transforms = int(said[1]), int(said[2])
    counts = source.counts()
    bad = sum(counts.bad.values())
    poses = sum(n for name, n in counts.other.items() if name.startswith("TRANSFORM"))
    return {
        "case": f"account, {seconds:g} s at {ACCOUNT_HZ:g} Hz",
        **percentiles_ms(ages[FIRST:] or ages),
        "sent": sent,
        "received": counts.received,
        "seen": counts.seen,
        "overwritten": counts.overwritten,
        "bad": dict(counts.bad),
        "transforms_sent": transforms,
        "transforms_received": poses,
        "adds_up": sent == counts.received == counts.seen + counts.overwritten + bad and transforms == poses,
        "ratio": {},
    }


def _beside(sender: Path, client: Path, rate_hz: float, turn_s: float) -> list[dict[str, Any]]:
    """Ages of our reader and of the C++ client, in turn, so that both meet the same load."""
    count = max(round(2.0 * turn_s * rate_hz), 2 * FIRST)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(_TURNS):
        port = new_port()
        with running_sender(sender, port, rate_hz, count, size_px=_SIZE_PX):
            ours += _ages_of_ours(port, turn_s)[FIRST:]
        port = new_port()
        with running_sender(sender, port, rate_hz, count, size_px=_SIZE_PX):
            words = [str(client), "127.0.0.1", str(port), str(turn_s)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BrokenError(f"the C++ client ended with {done.returncode}")
            theirs += [float(line) for line in done.stdout.split()][FIRST:]
    if not ours or not theirs:
        raise InputError(f"too short at {rate_hz:g} Hz: the first {FIRST} pictures of a connection are not counted")
    a, b = percentiles_ms(ours), percentiles_ms(theirs)
    slower_ms = round(a["median_ms"] - b["median_ms"], 3)
    ratio = {"C++ client": round(b["median_ms"] / a["median_ms"], 2)}
    about = {"rate_hz": rate_hz}
    return [
        {
            "case": f"{rate_hz:g} Hz, sonosteer",
            **a,
            **about,
            "seen": len(ours),
            "slower_by_ms": slower_ms,
            "ratio": ratio,
        },
        {"case": f"{rate_hz:g} Hz, C++ client", **b, **about, "seen": len(theirs), "ratio": {}},
    ]


def _ages_of_ours(port: int, seconds: float) -> list[float]:
    source, ages = _opened(port), list[float]()
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        _read(source, ages, 0.2)
    source.close()
    return ages


def _opened(port: int) -> OpenIGTLinkSource:
    return OpenIGTLinkSource(f"igtl://127.0.0.1:{port}/Image_Reference?clock=shared", orientation="MF")


def _read(source: OpenIGTLinkSource, ages: list[float], wait_s: float) -> None:
    frame = source.next_frame(wait_s)
    if frame is not None:
        ages.append(1e3 * (source.clock.now_s() - frame.time_s))
