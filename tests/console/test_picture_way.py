"""The way of pictures to a tab: newest only, few on the way, all of them counted."""

import asyncio
import json
import random
import struct

import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.picture_way import WINDOW, PictureWay, pack


def test_a_tab_that_draws_nothing_is_sent_two_and_then_none():
    async def run():
        way = PictureWay()
        sent = []

        async def send():
            while True:
                sent.append(await way.next())

        task = asyncio.create_task(send())
        for i in range(500):
            way.want(i)
            await asyncio.sleep(0)
        assert len(sent) == WINDOW
        assert way.asked == way.sent + way.passed_by + (way.waiting is not None) == 500
        way.drawn(sent[0][0])
        await asyncio.sleep(0.01)
        assert sent[-1] == (3, 499)  # the newest, not the next
        task.cancel()

    asyncio.run(run())


def test_random_tabs_never_have_more_than_the_window_and_the_counts_add_up():
    async def run():
        rng, way, sent = random.Random(2), PictureWay(), []

        async def send():
            while True:
                sent.append(await way.next())
                assert len(way.on_way) <= WINDOW

        task = asyncio.create_task(send())
        for i in range(3000):
            if rng.random() < 0.6:
                way.want(i)
            elif way.on_way:
                way.drawn(rng.choice(sorted(way.on_way)))
            if rng.random() < 0.1:
                way.drawn(10**6)  # of a picture that never was
            await asyncio.sleep(0)
            assert way.asked == way.sent + way.passed_by + (way.waiting is not None)
        assert [wish for _, wish in sent] == sorted(wish for _, wish in sent)
        task.cancel()

    asyncio.run(run())


def test_a_message_is_length_header_and_payload():
    message = pack({"t": "picture", "index": 3}, b"pixels")
    length = struct.unpack("<I", message[:4])[0]
    assert length % 4 == 0
    assert json.loads(message[4 : 4 + length]) == {"t": "picture", "index": 3}
    assert message[4 + length :] == b"pixels"
