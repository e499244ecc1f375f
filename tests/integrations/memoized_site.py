"""The site that test_servers.py starts: pages that are computed once among all workers, and marks of who computed what.

A process p is asked for page n (`asked:n:p`), it begins to compute the page (`begun:n:p`), and the page is in the cache
(`stored:n:p`) before its request is answered. Page 0 is computed until the entry "go" is there.
"""

import asyncio
import os
import time

import shmstore

SECONDS, REPEATS = 0.03, 20

cache = shmstore.Cache(os.environ["SITE_CACHE"], size="16M")


def body(number):
    """As benchmarks/load.lua expects it."""
    return f"<h1>Page {number}</h1>" + f"\n{number} is tea." * REPEATS


def mark(what, number):
    cache.incr(f"{what}:{number}:{os.getpid()}")


@cache.memoize(ignore="computed")
def page(number, computed):
    mark("begun", number)
    computed.append(True)
    time.sleep(SECONDS) if number else cache.wait("go")
    return body(number)


@cache.memoize(ignore="computed")
async def page_async(number, computed):
    mark("begun", number)
    computed.append(True)
    await (asyncio.sleep(SECONDS) if number else cache.wait_async("go"))
    return body(number)


def asked(path):
    number = int(path.rpartition("/")[2])
    mark("asked", number)
    return number


def head(number, text, computed):
    if computed:
        mark("stored", number)
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    return headers + [("X-Computed", "1")] * len(computed)


def application(environ, start_response):
    number, computed = asked(environ["PATH_INFO"]), []
    text = page(number, computed).encode()
    start_response("200 OK", head(number, text, computed))
    return [text]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(scope["type"])  # there is nothing to start or to stop
    number, computed = asked(scope["path"]), []
    text = (await page_async(number, computed)).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in head(number, text, computed)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
