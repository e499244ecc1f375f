"""A cache of responses for Starlette, FastAPI and other ASGI applications, shared by all workers on the host.

    app.add_middleware(ResponseCache, name="shop-pages", size="256M")

It is a shared cache as RFC 9111 has them: what Cache-Control, Vary, ETag and the request say decides what is stored and what is
answered from the cache. It never answers what is stale.

The entry of a URL is the response; or, if that varies, the names of the request's headers that count, and a token that is part of the
keys of the variants; or a mark: PASS, because the response must not be stored, or GONE, because a POST has changed the page. A
response is stored only if the entry is still what it was before the application was asked. So a page that was computed before
a change is not stored after it.

On a miss, one request has the lease of the URL and asks the application. The others wait for what it stores. As soon as it shows that
nothing will be stored, they all go on at once, and the next ones do not wait.
"""

from __future__ import annotations

import hashlib
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore.integrations import _shared
from shmstore.integrations._http import Headers, Stored, directives, lifetime, not_modified, reusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shmstore.cache import Cache

    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Receive, Send], Awaitable[None]]

__all__ = ["ResponseCache"]

_PASS, _GONE, _VARY, _RESPONSE = "pass", "gone", "vary", "response"
_PASS_TTL = 60  # seconds
_GONE_TTL = 3600  # longer than a page may take: one that was begun before the change must find the mark
_LONGEST = 1000  # characters of a URL that is a key as it is
_CONDITIONS = (b"if-none-match", b"if-modified-since")


class ResponseCache:
    """Middleware: the cache of this *name* in front of an application. *options* are those of shmstore.Cache.

    ttl: seconds for responses that do not say how long they are fresh. None: they are not stored. It does not apply to requests
        with a cookie or authorization.
    max_body: bytes. A longer response goes through, and is not stored.
    wait: seconds that a request waits for another one that asks for the same page, before it asks the application itself.
    """

    def __init__(
        self, app: App, name: str, *, ttl: float | None = None, max_body: int = 1 << 20, wait: float = 5.0, **options: Any
    ) -> None:  # fmt: skip
        self.app = app
        self._ttl, self._max_body, self._wait = ttl, max_body, wait
        self._name, self._options = name, {"on_error": "miss", "timeout": 0.2, **options}  # calls run in the event loop

    @cached_property
    def _cache(self) -> Cache[Any]:
        return _shared.handle(self._name, self._options)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        url, asked = _url(scope), Headers(scope["headers"])
        if scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, self._forgetting(url, scope["method"], send))
            return
        wants = directives(asked.get(b"cache-control") or asked.get(b"pragma"))
        if "no-store" in wants or b"range" in asked:
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, url, asked, scope["method"] == "HEAD", send)
        if await exchange.answer(wants):
            return
        if "only-if-cached" in wants:
            await send({"type": "http.response.start", "status": 504, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        await exchange.ask(scope, receive, wants)

    def _forgetting(self, url: str, method: str, send: Send) -> Send:
        """A request that may have changed the page, and was no error, puts an end to what is stored of it."""

        async def forgetting(message: Message) -> None:
            if (
                message["type"] == "http.response.start"
                and message["status"] < 400
                and method not in ("OPTIONS", "TRACE")
            ):
                self._cache.put(url, (_GONE,), ttl=_GONE_TTL)
            await send(message)

        return forgetting


class _Exchange:
    """One GET or HEAD."""

    def __init__(self, cache: ResponseCache, url: str, asked: Headers, head: bool, send: Send) -> None:
        self._of, self._cache = cache, cache._cache
        self._url, self._asked, self._head, self._send = url, asked, head, send
        self._entry = url  # or that of the variant
        self._mark: tuple[Any, ...] = (_GONE,)
        self._version = 0
        self._found: Stored | None = None
        self._lease: Any = None
        self._taken: Stored | None = None  # what will be stored when its body is complete
        self._silent = False  # the client has its answer, and the rest is for the cache

    # ---- from the cache

    async def answer(self, wants: dict[str, str]) -> bool:
        """Whether the cache had a response that this request may have, and it was sent."""
        found = self._found = self._look()
        if found is None or "no-cache" in wants or not reusable(found, self._asked, wants):
            return False
        headers = [pair for pair in found.headers if pair[0] != b"age"] + [(b"age", str(found.age()).encode())]
        if not_modified(found, self._asked):
            await self._send_whole(304, Headers(headers).for_304(), b"")
        else:
            await self._send_whole(found.status, headers, b"" if self._head else found.body)
        return True

    def _look(self) -> Stored | None:
        found = _shared.versioned(self._cache, self._url)
        self._mark, self._version = ((_GONE,), 0) if found is None or not isinstance(found[0], tuple) else found
        if self._mark[0] == _VARY:
            self._entry = self._variant(*self._mark[1:])
            value = self._cache.get(self._entry)
            return None if value is None else Stored(*value)
        return Stored(*self._mark[1:]) if self._mark[0] == _RESPONSE else None

    def _variant(self, token: str, names: tuple[bytes, ...]) -> str:
        values = repr([self._asked.all(name) for name in names])
        return f"{token}#{hashlib.blake2b(values.encode(), digest_size=16).hexdigest()}"

    async def _send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    # ---- from the application

    async def ask(self, scope: Any, receive: Receive, wants: dict[str, str]) -> None:
        """Ask the application, unless another request does so and stores what this one may have."""
        if self._head:
            await self._of.app(scope, receive, self._send)
            return
        try:
            if self._found is None and self._mark[0] != _PASS:
                await self._take_lease()
                if await self.answer(wants):
                    return
                if self._mark[0] == _PASS:
                    self._release()
            # The whole response is stored, whatever this client has.
            whole = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in _CONDITIONS]}
            await self._of.app(whole, receive, self._take)
        finally:
            self._release()

    async def _take_lease(self) -> None:
        try:
            lease = self._cache.lease(self._entry, timeout=self._of._wait)
            if await lease.aacquire():
                self._lease = lease
        except errors.ShmStoreError as error:  # without the cache, every request asks for itself
            if is_foreign(error):
                raise

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            try:
                lease.release()
            except errors.ShmStoreError as error:
                if is_foreign(error):
                    raise

    async def _take(self, message: Message) -> None:
        """Pass on what the application sends, and keep it."""
        if message["type"] == "http.response.start":
            await self._take_start(message)
            return
        if self._taken is not None:
            if message["type"] == "http.response.body":
                self._keep(message)
            else:  # of an extension: the body is a file
                self._give_up()
        if not self._silent:
            await self._send(message)

    async def _take_start(self, message: Message) -> None:
        headers = Headers(message.get("headers", ()))
        seconds = lifetime(message["status"], headers, self._asked, self._of._ttl)
        if seconds > 0 and not message.get("trailers"):
            self._taken = Stored(message["status"], tuple(headers.pairs), b"", time.time(), seconds)
        else:
            if self._mark[0] == _GONE:
                self._cache.cas(self._url, (_PASS,), self._version, ttl=_PASS_TTL)
            self._release()
        if not_modified(Stored(message["status"], tuple(headers.pairs), b"", 0.0, 0.0), self._asked):
            self._silent = True
            await self._send_whole(304, headers.for_304(), b"")
        else:
            await self._send(message)

    def _keep(self, message: Message) -> None:
        stored = self._taken
        assert stored is not None
        body = stored.body + message.get("body", b"")
        self._taken = stored = stored._replace(body=body)
        if len(body) > self._of._max_body:
            self._give_up()
        elif not message.get("more_body"):
            self._taken = None
            if stored.is_complete():
                self._store(stored.with_etag())
            self._release()

    def _give_up(self) -> None:
        self._taken = None
        self._release()

    def _store(self, stored: Stored) -> None:
        """Store it, if the entry of the URL is what it was before the application was asked."""
        names = tuple(sorted(Headers(stored.headers).names(b"vary")))
        if not names:
            self._cache.cas(self._url, (_RESPONSE, *stored), self._version, ttl=stored.seconds)
            return
        mark = self._mark if self._mark[0] == _VARY and self._mark[2] == names else (_VARY, os.urandom(8).hex(), names)
        # The mark outlives the variants. Another variant may have been stored meanwhile, and then it is there.
        ttl = max(stored.seconds, self._time_left())
        if self._cache.cas(self._url, mark, self._version, ttl=ttl) or self._cache.get(self._url) == mark:
            self._cache.put(self._variant(*mark[1:]), tuple(stored), ttl=stored.seconds)

    def _time_left(self) -> float:
        try:
            return self._cache.ttl(self._url) or 0.0
        except KeyError as error:
            if is_foreign(error):
                raise
            return 0.0


def _url(scope: Any) -> str:
    path = scope.get("raw_path") or scope["path"].encode()
    host = Headers(scope["headers"]).get(b"host")
    url = f"{scope.get('scheme', 'http')}://{host}{path.decode('latin-1')}?{scope.get('query_string', b'').decode('latin-1')}"
    return url if len(url) <= _LONGEST else hashlib.blake2b(url.encode(), digest_size=20).hexdigest()
