"""Cache the pages of a Flask site for all its workers.

    python flask_cache.py

Four workers answer requests for four thousand pages. All of them use one cache of a megabyte, which holds some two
hundred pages. A full cache evicts what is asked for least, so no request meets an error. In the middle of the work the
cache is removed, as by a deploy, and the workers go on. Needs flask.
"""

import multiprocessing
import os
import random
import signal
import sys
from multiprocessing import resource_tracker

import shmstore

try:
    import flask
except ImportError:
    sys.exit("this example needs flask: pip install flask")

PAGES, REQUESTS, WORKERS = 4000, 2000, 4
SIGNALS = {signal.SIGINT, signal.SIGTERM}


def make_site(name: str) -> flask.Flask:
    """The site, as each worker of gunicorn would make it."""
    site = flask.Flask(__name__)
    cache: shmstore.Cache[str] = shmstore.Cache(name, size="1M", ttl=3600, on_error="miss")

    @site.get("/page/<int:number>")
    def page(number: int) -> str:
        found = cache.get(flask.request.path)
        if found is None:
            found = cache[flask.request.path] = f"<h1>Page {number}</h1>".ljust(4000, ".")
        return found

    @site.get("/purge")
    def purge() -> str:
        cache.destroy()
        return "the next request makes a new cache"

    return site


def begin() -> None:
    """In each worker, before it works."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the creator of the pool ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def work(name: str, seed: int) -> int:
    """Send requests to a worker's site, more for some pages than for others. Return how many were answered."""
    client, answered = make_site(name).test_client(), 0
    popularity = [1 / (number + 1) for number in range(PAGES)]
    for request, number in enumerate(random.Random(seed).choices(range(PAGES), popularity, k=REQUESTS)):
        answer = client.get(f"/page/{number}")
        answered += answer.status_code == 200 and answer.text.startswith(f"<h1>Page {number}</h1>")
        if seed == 0 and request == REQUESTS // 2:
            client.get("/purge")
    return answered


def main() -> None:
    name = f"flask-cache-{os.getpid()}"
    with shmstore.Cache(name, size="1M") as cache:
        try:
            # a signal amid the making of a Pool would leave its threads running
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            with multiprocessing.Pool(WORKERS, begin) as pool:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
                answered = sum(pool.starmap(work, [(name, seed) for seed in range(WORKERS)]))
            stats = cache.stats()
            print(f"{answered} of {WORKERS * REQUESTS} requests were answered")
            print(f"{stats.entries} pages are in the cache, {stats.evictions} were evicted")
            print(f"hit ratio: {stats.hit_ratio or 0:.0%}")
        finally:
            cache.destroy()


if __name__ == "__main__":
    resource_tracker.ensure_running()  # a signal that comes while Python starts it would leave a semaphore behind
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # through every "finally"
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
