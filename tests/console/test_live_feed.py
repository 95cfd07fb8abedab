"""The loop's side of a console: what it shows, what it hears, and that a console that dies changes nothing."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from browser import until

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
import websockets

from sonosteer.console.live_feed import LiveFeed
from sonosteer.console.live_state import DrawnAim, LiveAbout, MomentTeller, rates_of, told_counts, told_verdict
from sonosteer.core.errors import InputError
from sonosteer.core.geometry import Spacing
from sonosteer.core.types import Frame, Lost
from sonosteer.episodes.insertion import InsertionConfig, build_episode, run_episode
from sonosteer.recording.frame_ledger import FrameLedger
from sonosteer.recording.run_log import RunLog
from sonosteer.recording.run_reader import RunReader
from sonosteer.runtime.button import Button
from sonosteer.runtime.insertion import Pace
from sonosteer.safety.gate_input import Refused
from sonosteer.safety.regions import Circle

ABOUT = LiveAbout(name="fake", moves=True, size_px=(64, 48), spacing=Spacing(0.5, 0.25), target_px=(3.0, 4.0))


def bare(about=ABOUT):
    """A feed without a process."""
    return LiveFeed(about, Button(), "", "run", DrawnAim(about.target_px, about.regions))


# -- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["stop", "release", "pause", "resume"])
def test_words_of_the_page_press_the_operators_button(word):
    feed = bare()
    feed.press((word,))
    assert feed.button.taken() == [word]


@pytest.mark.parametrize("word", [("back",), ("forth",), ("send", 25.0), ("target", 1.0, 2.0), ("",)])
def test_no_other_word_presses_anything(word):
    feed = bare()
    feed.press(word)
    assert feed.button.taken() == []
    assert not feed.drawn


def test_target_and_regions_are_drawn_before_the_start_only_in_mm_of_the_picture():
    kept = Circle("vessel", (9.0, 9.0), 1.0)
    feed = bare(LiveAbout(name="x", moves=True, size_px=(64, 48), spacing=Spacing(0.5, 0.25), regions=(kept,)))
    feed.phase = "before"
    for word in (("target", 10.0, 20.0), ("region", 4.0, 8.0, 3.0), ("region", 6.0, 8.0, 2.0)):
        feed.press(word)
    feed.take_drawn()
    assert feed.aim.target_px == (10.0, 20.0)
    assert feed.aim.regions == (kept, Circle("region 2", (2.0, 2.0), 3.0), Circle("region 3", (3.0, 2.0), 2.0))
    feed.press(("clear",))
    feed.take_drawn()
    assert feed.aim.regions == (kept,)


# -- what is told -----------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_with_rule_value_and_bound():
    told = told_verdict(Refused("tip sd", 3.5, 3.0, "mm", "tip sd 3.5 mm is above 3 mm"))
    assert told["cleared"] is False
    assert [told[k] for k in ("rule", "value", "bound", "unit")] == ["tip sd", 3.5, 3.0, "mm"]
    assert told_verdict(Refused("x", float("nan"), None, "", "no number"))["value"] is None


def test_counts_add_up_while_another_thread_books():
    ledger, over = FrameLedger(), threading.Event()

    def book():
        for index in range(20_000):
            ledger.captured(index)
            if index % 3 == 0:
                ledger.used(index)
        over.set()

    thread = threading.Thread(target=book)
    thread.start()
    while not over.is_set():
        told = told_counts(ledger)
        assert abs(told["captured"] - sum(v for k, v in told.items() if k != "captured")) <= 4
    thread.join()
    told = told_counts(ledger)
    assert told["captured"] == 20_000 == sum(v for k, v in told.items() if k != "captured")


def test_rates_are_those_between_two_states():
    earlier = {"at": 1.0, "tick": 10, "decisions": 0, "counts": {"captured": 5, "used": 5}}
    later = {"at": 3.0, "tick": 210, "decisions": 20, "counts": {"captured": 65, "used": 55}}
    assert rates_of(earlier, later) == {"camera": 30.0, "tracker": 25.0, "policy": 10.0, "control": 100.0}
    assert rates_of(later, later) is None


def test_what_is_no_number_becomes_null():
    told = MomentTeller(None).told_estimate(Lost(3, float("nan"), "behind a bone"))
    assert told == {"time": None, "row": [3, "lost", "behind a bone"], "away": None, "visible": None}


# -- the process ------------------------------------------------------------------------------------------------------


def test_a_picture_too_large_breaks_the_feed_and_not_the_run(capsys):
    class Full:
        def put(self, header, payload=b""):
            raise ValueError("does not fit")

    feed = bare()
    feed._pictures = feed._states = Full()
    for index in range(2):
        frame = Frame(np.zeros((48, 64), np.uint8), index, 0.0)
        feed.show_tracked(frame, Lost(index, 0.0, "x"), now_s=0.0, counts={"frames": 1})
    said = capsys.readouterr().err
    assert said.count("does not fit") == 1
    assert "the run goes on" in said


@pytest.mark.slow
def test_a_port_that_is_taken_is_said():
    with contextlib.closing(LiveFeed.open(ABOUT)) as feed:
        port = urlsplit(feed.address).port
        with pytest.raises(InputError, match=f"{port} cannot be had"):
            LiveFeed.open(ABOUT, port=port)


async def talk(address, words):
    """What a tab is told after it said some words, until `until` is true of it."""
    parts = urlsplit(address)
    cookie = f"sonosteer_{parts.port}={parse_qs(parts.query)['token'][0]}"
    return await websockets.connect(
        f"ws://127.0.0.1:{parts.port}/ws?tab=t",
        origin=f"http://127.0.0.1:{parts.port}",
        additional_headers={"Cookie": cookie},
        max_size=None,
    )


async def told(web, kind):
    """The next message of a kind."""
    while True:
        said = await web.recv()
        if isinstance(said, str) and json.loads(said)["t"] == kind:
            return json.loads(said)


@pytest.mark.slow
def test_a_tab_presses_stop_and_hears_the_end():
    feed = LiveFeed.open(ABOUT)

    async def tab():
        async with await talk(feed.address, []) as web:
            hello = await told(web, "hello")
            await web.send('{"t":"stop","id":1}')
            said = await told(web, "said")
            await asyncio.to_thread(until, lambda: feed.button._words, "the press")
            feed.end("all is done")
            return hello, said, await told(web, "over")

    hello, said, over = asyncio.run(tab())
    assert (hello["run"], hello["about"]["name"], said["ok"]) == (feed.run, "fake", True)
    assert feed.button.taken() == ["stop"]
    assert over == {"t": "over", "why": "all is done", "killed": False}
    feed.close()
    assert not feed._process.is_alive()


def recorded(path, viewer, watch=None):
    """All that is recorded of a second of an insertion on the simulated clock, but when it was started."""
    episode = build_episode(InsertionConfig(policy="constant", tracker="kf", seed=3, pace=Pace(longest_s=1.5)))
    with RunLog(path, {"command": {}, "task": episode.task, "regions": []}, live=False) as log:
        result = run_episode(episode, recorder=log, viewer=viewer, watch=watch)
        log.close(result.run.ended)
    reader = RunReader(path)
    said = [(m.topic, m.time_s, repr(m.what)) for m in reader.messages() if m.topic != "/configuration"]
    return said, [(index, bytes(png)) for index, _, png in reader.coded_pictures()]


@pytest.mark.slow
def test_the_record_is_the_same_without_a_console_with_one_and_with_one_that_is_killed(tmp_path):
    without = recorded(tmp_path / "without.mcap", None)
    ticks = sum(topic == "/tick" for topic, _, _ in without[0])
    assert ticks > 100
    assert len(without[1]) > 20
    with contextlib.closing(LiveFeed.open(about_simulated())) as feed:
        assert (recorded(tmp_path / "with.mcap", feed) == without) is True  # pytest shows no long difference
        assert feed.lost is None
        assert feed._states.newer(0).header["tick"] == ticks  # it was shown every period
    lost, frames = [], []
    with contextlib.closing(LiveFeed.open(about_simulated(), told_lost=lost.append)) as feed:

        def kill(frame, seen):
            frames.append(frame.index)
            if len(frames) == 8:
                os.kill(feed._process.pid, signal.SIGKILL)

        assert (recorded(tmp_path / "killed.mcap", feed, kill) == without) is True
        assert len(frames) > 20
        until(lambda: lost, "the death is said")
    assert lost == ["the console has ended; the run goes on"]


def about_simulated():
    episode = build_episode(InsertionConfig(policy="constant", tracker="kf", seed=3))
    return LiveAbout(
        name="simulated", moves=True, size_px=episode.first_picture().size_px, spacing=episode.task.spacing
    )
