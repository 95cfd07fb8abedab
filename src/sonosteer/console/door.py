"""Who may come in: this machine only, the right Host and Origin, the token once, then a cookie. Plain ASGI.

A page of the web can make a browser ask a server on this machine, by DNS rebinding or by a WebSocket across sites. Its
Host or its Origin is then not ours. Both are compared with a fixed list, never with each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: what every answer says, that to a stranger, too
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
REFUSED_CODE = 4403  # chosen: of the range that WebSocket leaves to applications


class Door:
    """ASGI middleware that lets in whoever holds the token.

    port: the one that is served. The page at `/?token=...` sets the cookie, and leads to an address without the token.
    """

    def __init__(self, app: Application, port: int, token: str | None = None) -> None:
        self._app = app
        self.token = token or secrets.token_urlsafe(24)
        self._cookie = f"sonosteer_{port}"
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost", "[::1]")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application behind the door answer."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        said = dict(scope["headers"])
        if said.get(b"host") not in self._hosts:
            return await _refuse(scope, receive, send, 421, "this address is not served here")
        origin = said.get(b"origin")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if (origin is not None or changes) and origin not in self._origins:
            return await _refuse(scope, receive, send, 403, "asked from another page")
        if self._has_cookie(said):
            return await self._app(scope, receive, _with_headers(scope, send))
        if scope["type"] == "http" and self._has_token(scope):
            return await self._let_in(send)
        await _refuse(scope, receive, send, 401, "open the address that the command printed: it holds the token")

    def _has_cookie(self, said: dict[bytes, bytes]) -> bool:
        try:
            kept = SimpleCookie(said.get(b"cookie", b"").decode("latin-1")).get(self._cookie)
        except CookieError:
            return False
        return kept is not None and secrets.compare_digest(kept.value.encode(), self.token.encode())

    def _has_token(self, scope: Scope) -> bool:
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return secrets.compare_digest(asked.encode(), self.token.encode())

    async def _let_in(self, send: Send) -> None:
        cookie = f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        head = [(b"location", b"/"), (b"set-cookie", cookie.encode()), *HEADERS]
        await send({"type": "http.response.start", "status": 303, "headers": head})
        await send({"type": "http.response.body", "body": b""})


def _with_headers(scope: Scope, send: Send) -> Send:
    async def signed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return send if scope["type"] == "websocket" else signed


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": REFUSED_CODE, "reason": why})
        return
    body = why.encode()
    head = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
