"""What RFC 9110 and 9111 say about storing, reusing and revalidating responses in a shared cache."""

from __future__ import annotations

import hashlib
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from shmstore._base.foreign import is_foreign

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Headers", "Stored", "directives", "lifetime", "not_modified", "reusable"]

_STORABLE = (200, 203, 204, 300, 301, 308, 404, 410)
_BY_DEFAULT = (200, 203, 204, 301, 308)  # with a lifetime that the response does not give itself
_TAGS = re.compile(r'\*|"[^"]*"')  # weak ones are compared as strong ones
_IN_304 = (b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"age")


class Headers:
    """Pairs of names and values, as ASGI has them."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self.pairs = [(bytes(name).lower(), bytes(value)) for name, value in pairs]

    def __contains__(self, name: bytes) -> bool:
        return any([found == name for found, _ in self.pairs])

    def all(self, name: bytes) -> list[bytes]:
        return [value for found, value in self.pairs if found == name]

    def get(self, name: bytes) -> str:
        return b", ".join(self.all(name)).decode("latin-1")

    def names(self, name: bytes) -> set[bytes]:
        return {word.strip().lower().encode("latin-1") for word in self.get(name).split(",") if word.strip()}

    def for_304(self) -> list[tuple[bytes, bytes]]:
        return [pair for pair in self.pairs if pair[0] in _IN_304]


class Stored(NamedTuple):
    """A response: when it was received, and for how many seconds from then on it is fresh."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received: float
    seconds: float

    def age(self) -> int:
        return max(0, int(time.time() - self.received)) + _number(Headers(self.headers).get(b"age"), 0)

    def is_complete(self) -> bool:
        length = Headers(self.headers).get(b"content-length")
        return not length or length == str(len(self.body))

    def with_etag(self) -> Stored:
        """With a validator of its own, if the application gave none, and with its length."""
        headers = Headers(self.headers)
        more: list[tuple[bytes, bytes]] = []
        if self.status == 200 and b"etag" not in headers:
            more.append((b"etag", f'"{hashlib.blake2b(self.body, digest_size=16).hexdigest()}"'.encode()))
        if self.status not in (204, 304) and b"content-length" not in headers:
            more.append((b"content-length", str(len(self.body)).encode()))
        kept = [pair for pair in headers.pairs if pair[0] != b"transfer-encoding"]
        return self._replace(headers=(*kept, *more))


def directives(value: str) -> dict[str, str]:
    """The directives of Cache-Control, with their arguments. A comma in a quoted argument parts no directives."""
    found: dict[str, str] = {}
    quoted, word = False, ""
    for letter in value + ",":
        if letter == "," and not quoted:
            name, _, argument = word.partition("=")
            found.setdefault(name.strip().lower(), argument.strip().strip('"'))
            word = ""
        else:
            quoted ^= letter == '"'
            word += letter
    found.pop("", None)
    return found


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() else otherwise


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError) as error:
        if is_foreign(error):
            raise
        return None


def lifetime(status: int, headers: Headers, asked: Headers, default: float | None) -> float:
    """For how many seconds a response to a GET may be stored; 0: it must not."""
    says = directives(headers.get(b"cache-control"))
    forbidden = says.keys() & {"no-store", "private", "no-cache"} or b"set-cookie" in headers
    if status not in _STORABLE or forbidden or b"*" in headers.names(b"vary"):
        return 0
    if b"authorization" in asked and not says.keys() & {"public", "s-maxage", "must-revalidate"}:
        return 0
    seconds: float
    if "s-maxage" in says:
        seconds = _number(says["s-maxage"], 0)
    elif "max-age" in says:
        seconds = _number(says["max-age"], 0)
    elif b"expires" in headers:
        expires, date = _date(headers.get(b"expires")), _date(headers.get(b"date"))
        seconds = 0 if expires is None else expires - (time.time() if date is None else date)
    elif default is None or status not in _BY_DEFAULT or b"cookie" in asked or b"authorization" in asked:
        return 0
    else:
        seconds = default
    return seconds - _number(headers.get(b"age"), 0)


def reusable(found: Stored, asked: Headers, wants: dict[str, str]) -> bool:
    """Whether this response answers the request: both may limit its age, and some responses are not for everybody."""
    says = directives(Headers(found.headers).get(b"cache-control"))
    if b"authorization" in asked and not says.keys() & {"public", "s-maxage", "must-revalidate"}:
        return False
    explicit = says.keys() & {"s-maxage", "max-age"} or b"expires" in Headers(found.headers)
    if not explicit and b"cookie" in asked:
        return False
    age, left = found.age(), found.received + found.seconds - time.time()
    return age <= _number(wants.get("max-age", ""), age) and left > _number(wants.get("min-fresh", ""), 0)


def not_modified(found: Stored, asked: Headers) -> bool:
    """Whether the client has this response already. If-None-Match counts, and If-Modified-Since only without it."""
    if found.status != 200:
        return False
    headers = Headers(found.headers)
    if b"if-none-match" in asked:
        tags = _TAGS.findall(asked.get(b"if-none-match"))
        return "*" in tags or headers.get(b"etag").removeprefix("W/") in tags
    since, modified = _date(asked.get(b"if-modified-since")), _date(headers.get(b"last-modified"))
    return since is not None and modified is not None and modified <= since
