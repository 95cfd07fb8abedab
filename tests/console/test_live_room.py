"""What a tab may do in the live room: STOP always, and what moves something only after a second of holding."""

import contextlib
import json
import random

import numpy as np
import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.holding import GAP_S, HELD_S
from sonosteer.console.live_room import UNHEARD_S, LiveRoom
from sonosteer.console.live_state import LiveAbout
from sonosteer.console.mirror import Mirrored
from sonosteer.console.words import (
    ClearRegions,
    Grip,
    HoldRun,
    KeepOut,
    LetGo,
    PlaceTarget,
    PressStop,
    SeekFrame,
    Undo,
    parse_word,
)
from sonosteer.core.geometry import Spacing

RUN = "this run"
STOPPED = {"kind": "operator", "reason": "the operator pressed stop", "at": 1.0}
ABOUT = LiveAbout(name="fake", moves=True, size_px=(100, 80), spacing=Spacing(0.5, 0.5), drawn_before=True)


class Tab:
    """A tab that notes what it is told."""

    def __init__(self, name="tab"):
        self.name, self.told, self.wanted = name, [], []

    def tell(self, said):
        self.told.append(said)

    def want(self, wish):
        self.wanted.append(wish.index)

    def answer(self):
        return next(said for said in reversed(self.told) if said["t"] == "said")


class Held:
    """A mirror within this process: `test_mirror` has the one between processes."""

    def __init__(self):
        self.newest = Mirrored(0, {}, b"")

    def put(self, header, payload=b""):
        self.newest = Mirrored(self.newest.serial + 1, json.loads(json.dumps(header)), bytes(payload))

    def newer(self, than):
        return self.newest if self.newest.serial > than else None

    def close(self):
        pass


class Loop:
    """A loop that shows what a test says, and notes what is pressed. Time is the test's."""

    def __init__(self, about=ABOUT):
        self.now, self.pressed = 0.0, []
        self.pictures, self.states = Held(), Held()
        self.room = LiveRoom(
            about=about.told(),
            run=RUN,
            pictures=self.pictures,
            states=self.states,
            press=lambda word: self.pressed.append((self.now, *word)),
            wall=lambda: self.now,
        )
        self.said = {"stop": None, "held": None, "phase": "running"}

    def say(self, **what):
        self.said |= what
        state = {"at": self.now, "tick": 1, "counts": None, "target": None, "regions": [], "wall": self.now}
        self.states.put(state | self.said)
        self.room.step()

    def show(self, index):
        grey = np.full((80, 100), index, np.uint8)
        head = {"index": index, "time_s": self.now, "shape": [80, 100], "dtype": "uint8", "full_scale": 255.0}
        self.pictures.put(head | {"shift": None}, grey.data.cast("B"))
        self.room.step()

    def hear(self, tab, word):
        with contextlib.suppress(StopIteration):
            self.room.hear(tab, word).send(None)  # it waits for nothing
        return tab.answer()

    def hold(self, tab, what, seconds, *, every=0.1, run=RUN):
        """Hold a key, the loop going on. Returns the last answer."""
        end, answer = self.now + seconds, None
        while self.now <= end + 1e-9:
            self.say()
            answer = self.hear(tab, Grip(1, run, what))
            self.now += every
        return answer

    def words(self):
        return [word for _, word, *_ in self.pressed]


@pytest.fixture
def loop():
    made = Loop()
    made.say()
    return made


def test_stop_is_passed_on_at_once_whoever_presses_and_told_to_all(loop):
    tab, other = Tab("a"), Tab("b")
    loop.room.tabs |= {tab, other}
    assert loop.hear(tab, PressStop(1))["ok"]
    loop.room.press_stop("POST /stop")
    assert loop.words() == ["stop", "stop"]
    assert [s["by"] for s in other.told if s["t"] == "pressed"] == ["tab a", "POST /stop"]


def test_stop_is_passed_on_also_where_nothing_is_heard_of_the_run(loop):
    loop.now += 10 * UNHEARD_S
    assert loop.hear(Tab(), PressStop(1))["ok"]
    loop.room.end("over", killed=False)
    assert loop.hear(Tab(), PressStop(2))["ok"]
    assert loop.words() == ["stop", "stop"]


def test_a_latched_stop_is_released_after_a_second_of_holding_and_only_once(loop):
    loop.say(stop=STOPPED)
    tab = Tab()
    assert not loop.hold(tab, "release", HELD_S - 0.11)["done"]
    assert loop.words() == []
    loop.hold(tab, "release", 3.0)
    assert loop.words() == ["release"]
    loop.hear(tab, LetGo(1))
    loop.hold(tab, "release", HELD_S + 0.1)
    assert loop.words() == ["release", "release"]


@pytest.mark.parametrize("between", [PressStop(1), HoldRun(1, RUN), LetGo(1), Grip(1, RUN, "start"), HoldRun(1, "old")])
def test_anything_in_between_begins_the_holding_anew(loop, between):
    loop.say(stop=STOPPED)
    tab = Tab()
    loop.hold(tab, "release", HELD_S - 0.15)
    loop.hear(tab, between)
    loop.hold(tab, "release", HELD_S - 0.15)
    assert "release" not in loop.words()


def test_a_gap_or_another_stop_begins_it_anew(loop):
    loop.say(stop=STOPPED)
    tab = Tab()
    loop.hold(tab, "release", 0.8)
    loop.now += GAP_S
    loop.hold(tab, "release", 0.8)
    loop.say(stop=STOPPED | {"at": 5.0})
    loop.hold(tab, "release", 0.8)
    assert loop.words() == []


def test_a_tab_that_comes_back_begins_anew_and_releases_nothing_by_itself(loop):
    loop.say(stop=STOPPED)
    loop.hold(Tab("same name"), "release", HELD_S - 0.15)
    again = Tab("same name")
    loop.room.hello(again)
    loop.hold(again, "release", HELD_S - 0.15)
    assert loop.words() == []
    assert [s["t"] for s in again.told[:2]] == ["hello", "state"]
    assert again.told[1]["stop"] == STOPPED


@pytest.mark.parametrize(
    ("state", "word", "why"),
    [
        ({}, Grip(1, RUN, "release"), "no stop is latched"),
        ({"stop": STOPPED | {"kind": "ended"}}, Grip(1, RUN, "release"), "start a new one"),
        ({"stop": STOPPED, "held": "waits"}, Grip(1, RUN, "start"), "release it first"),
        ({}, Grip(1, RUN, "start"), "goes on already"),
        ({"stop": STOPPED}, Grip(1, "yesterday", "release"), "of another run"),
        ({}, HoldRun(1, "yesterday"), "of another run"),
        ({}, PlaceTarget(1, RUN, (5.0, 5.0)), "before the start only"),
        ({"phase": "before"}, PlaceTarget(1, RUN, (100.0, 5.0)), "outside the picture"),
        ({"phase": "before"}, KeepOut(1, RUN, (-1.0, 5.0), 3.0), "outside the picture"),
        ({"phase": "before"}, KeepOut(1, RUN, (5.0, 5.0), 0.0), "above 0"),
        ({}, Undo(1), "no word of this room"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(loop, state, word, why):
    loop.say(**state)
    answer = loop.hear(Tab(), word)
    assert not answer["ok"]
    assert why in answer["reason"]
    assert loop.pressed == []


def test_nothing_but_stop_is_passed_on_while_the_run_is_not_heard_or_over(loop):
    loop.say(stop=STOPPED)
    tab = Tab()
    for _ in range(30):
        loop.now += 0.1
        answer = loop.hear(tab, Grip(1, RUN, "release"))
    assert "nothing is heard" in answer["reason"]
    loop.say()
    loop.room.end("all is done", killed=False)
    assert "all is done" in loop.hear(tab, HoldRun(1, RUN))["reason"]
    assert loop.pressed == []


def test_hold_start_target_and_regions_are_passed_on(loop):
    tab = Tab()
    loop.hear(tab, HoldRun(1, RUN))
    loop.say(held="the operator lets it wait")
    loop.hold(tab, "start", HELD_S + 0.1)
    loop.say(held=None, phase="before")
    loop.hear(tab, PlaceTarget(1, RUN, (5.0, 6.0)))
    loop.hear(tab, KeepOut(1, RUN, (7.0, 8.0), 2.5))
    loop.hear(tab, ClearRegions(1, RUN))
    loop.hear(tab, LetGo(1))
    loop.hold(tab, "start", HELD_S + 0.1)
    said = [tuple(word) for _, *word in loop.pressed]
    assert said == [("pause",), ("resume",), ("target", 5.0, 6.0), ("region", 7.0, 8.0, 2.5), ("clear",), ("resume",)]


def test_where_nothing_moves_there_is_nothing_to_press():
    loop = Loop(LiveAbout(name="clip", moves=False, size_px=(100, 80), spacing=None))
    loop.say(stop=STOPPED)
    for word in (PressStop(1), Grip(1, RUN, "release"), HoldRun(1, RUN)):
        assert "nothing moves here" in loop.hear(Tab(), word)["reason"]
    assert loop.pressed == []


def random_word(rng):
    run = rng.choice([RUN, RUN, RUN, "yesterday"])
    return rng.choice(
        [
            PressStop(1),
            HoldRun(1, run),
            LetGo(1),
            *[Grip(1, run, "release")] * 6,
            *[Grip(1, run, "start")] * 2,
            PlaceTarget(1, run, (3.0, 3.0)),
            ClearRegions(1, run),
            Undo(1),
        ]
    )


def was_held(log, tab, at):
    """Whether this tab said without a break for a second before that it holds for the release, and nobody said stop.

    log: (time, tab, word). It knows nothing of the room.
    """
    until, last = at, at
    for time, who, word in reversed([row for row in log if row[0] <= at]):
        if isinstance(word, PressStop | HoldRun) or (who is tab and word != Grip(1, RUN, "release")):
            break
        if who is tab:
            if last - time > GAP_S + 1e-9:
                break
            last = time
    return until - last >= HELD_S - 1e-9


def test_a_thousand_random_sequences_never_release_without_the_operators_holding():
    """Tabs come and go, words are of this run and of another, stops are pressed in between."""
    released = 0
    for seed in range(1000):
        rng, loop = random.Random(seed), Loop()
        tabs, log = [Tab("a"), Tab("b")], []
        loop.say(stop=STOPPED, held=None)
        holding = 0
        for _ in range(60):
            loop.now += rng.choice([0.02, 0.1, 0.1, 0.3, 0.5])
            loop.say()
            tab = rng.choice(tabs) if holding == 0 else tabs[0]
            word = random_word(rng) if holding == 0 else Grip(1, RUN, "release")
            holding = max(holding - 1, 0) or (rng.random() < 0.03) * 12
            if rng.random() < 0.03:
                tabs[tabs.index(tab)] = Tab(tab.name)  # it is loaded again
            before = len(loop.pressed)
            log.append((loop.now, tab, word))
            loop.hear(tab, word)
            for at, pressed, *_ in loop.pressed[before:]:
                assert pressed in ("stop", "release", "pause")
                if pressed == "release":
                    released += 1
                    assert was_held(log, tab, at), seed
    assert released > 10  # some were held long enough, so that the law is not empty


def test_a_tab_without_a_single_grip_releases_nothing_whatever_it_says():
    for seed in range(200):
        rng, loop, tab = random.Random(seed), Loop(), Tab()
        loop.say(stop=STOPPED)
        for _ in range(60):
            loop.now += rng.choice([0.01, 0.1, 2.0])
            loop.say()
            word = random_word(rng)
            if not isinstance(word, Grip):
                loop.hear(tab, word)
        assert {"release", "resume"}.isdisjoint(loop.words())


@pytest.mark.parametrize("name", ["release", "resume", "start"])
def test_there_is_no_word_that_releases_or_starts(name):
    with pytest.raises(Exception, match="there is no word"):
        parse_word(f'{{"t":"{name}","id":1}}')


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_a_picture_is_offered_to_every_tab_and_encoded_once(loop):
    tabs = [Tab("a"), Tab("b")]
    loop.room.tabs |= set(tabs)
    for index in range(3):
        loop.show(index)
    assert [tab.wanted for tab in tabs] == [[1, 2, 3]] * 2
    newest = loop.room.picture(SeekFrame(3))
    assert (newest.index, newest.size_px, newest.kind) == (2, (100, 80), "jpeg")
    assert loop.room.picture(SeekFrame(3)) is newest
    assert loop.room.picture(SeekFrame(1)).index == 0
    for index in range(3, 20):
        loop.show(index)
    assert loop.room.picture(SeekFrame(1)).index == 19  # it is gone: the newest instead


def test_a_change_of_stop_is_told_at_once_and_the_rest_twenty_times_a_second(loop):
    tab = Tab()
    loop.room.tabs.add(tab)
    for _ in range(100):
        loop.now += 0.01
        loop.say()
    assert 15 <= len(tab.told) <= 21
    count = len(tab.told)
    loop.now += 0.001
    loop.say(stop=STOPPED)
    assert len(tab.told) == count + 1
    assert tab.told[-1]["stop"] == STOPPED


def test_the_time_of_the_run_goes_on_between_its_words(loop):
    loop.now = 7.0
    loop.say()
    loop.now = 7.25
    assert loop.room.now_s() == pytest.approx(7.25)


def test_the_end_is_told_once_to_each_and_to_who_comes_later(loop):
    tab, late = Tab(), Tab()
    loop.room.tabs.add(tab)
    loop.room.end("the loop's process has ended without a word", killed=True)
    loop.room.step()
    loop.room.step()
    loop.room.hello(late)
    for each in (tab, late):
        assert [s for s in each.told if s["t"] == "over"] == [
            {"t": "over", "why": "the loop's process has ended without a word", "killed": True}
        ]
