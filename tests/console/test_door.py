"""Who may come in: tried as browsers, other pages and other programs would."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="no console: pip install 'sonosteer[console]'")
from sonosteer.console.door import CSP, Door

PORT, TOKEN = 8123, "the-token"
HOST, ORIGIN = b"127.0.0.1:8123", b"http://127.0.0.1:8123"
COOKIE = b"sonosteer_8123=the-token"


async def _inside(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inside", b"1")]})
    await send({"type": "http.response.body", "body": b"in"})


def ask(*, kind="http", method="GET", query=b"", **headers):
    """What the door sends: its messages."""
    sent = []

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    named = [(k.encode(), v) for k, v in {"host": HOST, **headers}.items() if v is not None]
    scope = {"type": kind, "headers": named, "query_string": query}
    if kind == "http":
        scope["method"] = method
    asyncio.run(Door(_inside, PORT, TOKEN)(scope, receive, send))
    return sent


def status(**asked):
    return ask(**asked)[0]["status"]


def test_the_token_is_asked_for_once_and_leads_to_an_address_without_it():
    start = ask(query=b"token=the-token")[0]
    headers = dict(start["headers"])
    assert start["status"] == 303
    assert headers[b"location"] == b"/"
    assert headers[b"set-cookie"] == COOKIE + b"; Path=/; HttpOnly; SameSite=Strict"
    assert status(cookie=COOKIE) == 200


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, 401),
        ({"query": b"token=wrong"}, 401),
        ({"cookie": b"sonosteer_8123=wrong"}, 401),
        ({"cookie": b"sonosteer_9999=the-token"}, 401),
        ({"cookie": b'"; ='}, 401),
        ({"cookie": COOKIE, "host": b"evil.example:8123"}, 421),
        ({"cookie": COOKIE, "host": b"127.0.0.1:80"}, 421),
        ({"cookie": COOKIE, "host": None}, 421),
        ({"cookie": COOKIE, "origin": b"http://evil.example"}, 403),
        ({"cookie": COOKIE, "method": "POST"}, 403),
        ({"cookie": COOKIE, "method": "POST", "origin": b"null"}, 403),
        ({"cookie": COOKIE, "method": "POST", "origin": b"http://127.0.0.1:8124"}, 403),
        ({"cookie": COOKIE, "method": "POST", "origin": ORIGIN}, 200),
        ({"cookie": COOKIE, "host": b"localhost:8123"}, 200),
    ],
    ids=str,
)
def test_only_our_page_with_its_cookie_is_let_in(asked, wanted):
    assert status(**asked) == wanted


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"cookie": COOKIE},
        {"origin": ORIGIN},
        {"cookie": COOKIE, "origin": b"http://evil.example"},
        {"cookie": COOKIE, "origin": ORIGIN, "host": b"evil.example:8123"},
        {"origin": ORIGIN, "query": b"token=the-token"},
    ],
    ids=str,
)
def test_a_socket_needs_our_host_our_origin_and_the_cookie(asked):
    [message] = ask(kind="websocket", **asked)
    assert message["type"] == "websocket.close"


def test_our_own_socket_is_accepted():
    assert ask(kind="websocket", cookie=COOKIE, origin=ORIGIN)[0]["type"] == "websocket.accept"


def test_every_answer_says_what_the_page_may_load():
    for asked in ({}, {"cookie": COOKIE}, {"query": b"token=the-token"}):
        headers = dict(ask(**asked)[0]["headers"])
        assert headers[b"content-security-policy"].decode() == CSP
        assert headers[b"cache-control"] == b"no-store"
        assert b"access-control-allow-origin" not in headers
    assert CSP.startswith("default-src 'none'")
    assert "unsafe" not in CSP
    assert "http" not in CSP


def test_each_console_has_a_token_of_its_own():
    assert Door(_inside, PORT).token != Door(_inside, PORT).token
    assert len(Door(_inside, PORT).token) >= 32
