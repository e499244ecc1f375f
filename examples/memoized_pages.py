"""Compute a page once for all workers of a web server.

    gunicorn --workers 4 memoized_pages:application
    uvicorn --workers 4 memoized_pages:asgi
    curl http://127.0.0.1:8000/report/7

A report takes a second. The first request for it waits that long, and so do others that ask for it meanwhile, in whatever
worker they are: one of them computes it. From then on each worker answers at once. If the worker that computes is killed,
another one that waits computes the report in its place. No worker has a copy of the reports, and they outlive the server:
remove them with `shmstore rm memoized-pages`.

The first application is for WSGI servers, the second one for ASGI servers. Neither needs a framework: in Flask, Django or
FastAPI, put `@cache.memoize` above the function that is expensive.
"""

import asyncio
import os
import time

import shmstore

# Opened by the import: in each worker, or with `gunicorn --preload` once, before the workers are forked.
cache: shmstore.Cache[str] = shmstore.Cache(os.environ.get("PAGES", "memoized-pages"), size="64M", ttl=3600)


@cache.memoize
def report(number: int) -> str:
    cache.incr("computed")
    time.sleep(1)  # the expensive part
    return f"<h1>Report {number}</h1>\n"


@cache.memoize
async def report_async(number: int) -> str:
    cache.incr("computed")
    await asyncio.sleep(1)  # the expensive part; the event loop answers other requests meanwhile
    return f"<h1>Report {number}</h1>\n"


def number_in(path):
    """7 of "/report/7", or None."""
    start, _, number = path.rpartition("/")
    return int(number) if start == "/report" and number.isdecimal() else None


def application(environ, start_response):
    """The WSGI application."""
    number = number_in(environ.get("PATH_INFO", ""))
    body = b"no such page\n" if number is None else report(number).encode()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("404 Not Found" if number is None else "200 OK", headers)
    return [body]


async def asgi(scope, receive, send):
    """The ASGI application."""
    if scope["type"] != "http":
        raise ValueError(f"nothing for {scope['type']} here")  # a server takes this as "no lifespan events, please"
    number = number_in(scope["path"])
    body = b"no such page\n" if number is None else (await report_async(number)).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 404 if number is None else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
