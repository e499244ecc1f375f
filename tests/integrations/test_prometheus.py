"""Metrics of prometheus_client in one store: what its own tests do not ask."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shmstore

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: pip install '.[integrations]'")

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest, values

from shmstore.integrations import prometheus


@pytest.fixture(autouse=True)
def shared(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "ValueClass", None)
    prometheus.share_metrics(key, size="4M")


@pytest.fixture
def workers() -> Iterator[Callable[..., int]]:
    """Start a process that does something and then waits to be killed."""
    started: list[int] = []

    def start(work: Callable[[], object]) -> int:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                work()
                os.write(write, b"x")
                signal.pause()
            finally:
                os._exit(1)
        os.close(write)
        assert os.read(read, 1) == b"x"
        os.close(read)
        started.append(child)
        return child

    yield start
    for child in started:
        kill(child)


def kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def scraped() -> CollectorRegistry:
    registry = CollectorRegistry()
    prometheus.ShmCollector(registry)
    return registry


def sample(name: str, **labels: str) -> float | None:
    return scraped().get_sample_value(name, labels)


def test_every_worker_answers_for_all(workers: Any) -> None:
    """Metrics are made before the fork, as by a server that preloads, and each worker shows the sums."""
    counter = Counter("hits", "help", ["page"], registry=None)
    histogram = Histogram("seconds", "help", registry=None, buckets=[1, 2])
    summary = Summary("bytes", "help", registry=None)
    counter.labels("/").inc(5)

    def work() -> None:
        counter.labels("/").inc(2)
        histogram.observe(1.5)
        summary.observe(10)
        os.write(write, generate_latest(scraped()))

    read, write = os.pipe()
    workers(work)
    assert b'hits_total{page="/"} 7.0' in os.read(read, 65536)
    workers(work)
    last = os.read(read, 65536)
    for handle in (read, write):
        os.close(handle)
    assert last == generate_latest(scraped())
    assert sample("hits_total", page="/") == 9
    assert sample("seconds_bucket", le="2.0") == 2 and sample("seconds_bucket", le="1.0") == 0
    assert sample("seconds_sum") == 3 and sample("bytes_sum") == 20 and sample("bytes_count") == 2


def test_counts_of_dead_workers_stay_and_take_no_room(workers: Any, key: str) -> None:
    """Workers come and go (max_requests). Counters never go backwards, and the store does not grow with each worker."""
    counter, histogram = Counter("hits", "help", registry=None), Histogram("seconds", "help", registry=None)
    seen = []
    sizes = []
    for _ in range(6):
        child = workers(lambda: (counter.inc(2), histogram.observe(0.3)))
        seen.append(sample("hits_total"))
        kill(child)
        seen.append(sample("hits_total"))
        assert scraped().get_sample_value("seconds_count") == seen[-1] / 2  # type: ignore[operator]
        with shmstore.Store[Any](key) as store:
            sizes.append(len(store))
    assert seen == [2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("mode", ["liveall", "all"])
def test_gauges_by_process_disappear_with_it(workers: Any, mode: Any) -> None:
    gauge = Gauge("jobs", "help", registry=None, multiprocess_mode=mode)
    gauge.set(1)
    child = workers(lambda: gauge.set(7))
    assert sample("jobs", pid=str(child)) == 7 and sample("jobs", pid=str(os.getpid())) == 1
    kill(child)
    assert sample("jobs", pid=str(child)) is None and sample("jobs", pid=str(os.getpid())) == 1


@pytest.mark.parametrize(
    "mode, alive, dead",
    [("sum", 9, 9), ("livesum", 9, 2), ("max", 7, 7), ("livemax", 7, 2), ("min", 2, 2), ("livemin", 2, 2), ("mostrecent", 7, 7), ("livemostrecent", 7, 2)],
)  # fmt: skip
def test_gauges_of_all_processes(workers: Any, mode: Any, alive: float, dead: float) -> None:
    gauge = Gauge("jobs", "help", registry=None, multiprocess_mode=mode)
    gauge.set(2)
    child = workers(lambda: gauge.set(7))
    assert sample("jobs") == alive
    kill(child)
    assert sample("jobs") == dead and sample("jobs") == dead


def test_a_low_of_a_dead_worker_stays_the_minimum(workers: Any) -> None:
    gauge = Gauge("free", "help", registry=None, multiprocess_mode="min")
    gauge.set(5)
    kill(workers(lambda: gauge.set(-3)))
    assert sample("free") == -3 == sample("free")


def test_a_process_id_is_used_again(workers: Any, key: str) -> None:
    """Two processes with one id, as in two containers or one after another: their counts are kept apart."""
    values.ValueClass = prometheus.shared_value(key, lambda: 7)
    counter = Counter("hits", "help", registry=None)
    gauge = Gauge("jobs", "help", registry=None, multiprocess_mode="livesum")
    counter.inc()
    gauge.set(1)

    def work() -> None:
        values.ValueClass = prometheus.shared_value(key, lambda: 7)
        Counter("hits", "help", registry=None).inc(10)
        Gauge("jobs", "help", registry=None, multiprocess_mode="livesum").set(10)

    child = workers(work)
    assert sample("hits_total") == 11 and sample("jobs") == 11
    kill(child)
    counter.inc()
    assert sample("hits_total") == 12 and sample("jobs") == 1


@pytest.mark.parametrize("step", ["modify", "delete"])
def test_a_scrape_that_is_killed_counts_nothing_twice(workers: Any, step: str) -> None:
    counter = Counter("hits", "help", registry=None)
    kill(workers(lambda: counter.inc(3)))

    def scrape_and_die() -> None:
        store = type(values.ValueClass.metrics.store)  # type: ignore[attr-defined]
        real = getattr(store, step)

        def then_die(*arguments: Any, **options: Any) -> None:
            real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(store, step, then_die)
        scraped().get_sample_value("hits_total")

    scraper = os.fork()
    if scraper == 0:
        scrape_and_die()
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(scraper, 0)[1]) == signal.SIGKILL
    assert [sample("hits_total") for _ in range(3)] == [3, 3, 3]


def test_metrics_survive_a_removed_store(key: str) -> None:
    counter, gauge = Counter("hits", "help", registry=None), Gauge("jobs", "help", registry=None)
    counter.inc(3)
    gauge.set(2)
    shmstore.destroy(key)
    Counter("made_later", "help", registry=None).inc()
    counter.inc()
    assert sample("made_later_total") == 1 and sample("hits_total") == 4 and sample("jobs", pid=str(os.getpid())) == 2


def test_a_scrape_of_a_removed_store_makes_it_anew(workers: Any, key: str) -> None:
    counter = Counter("hits", "help", registry=None)
    counter.inc(3)
    shmstore.destroy(key)
    assert sample("hits_total") == 3
    shmstore.destroy(key)
    read, write = os.pipe()
    workers(
        lambda: (os.write(write, str(sample("hits_total")).encode()), counter.inc())
    )  # it has counted nothing itself
    assert os.read(read, 10) == b"0.0" and sample("hits_total") == 4
    counter.inc()
    assert sample("hits_total") == 5
    os.close(read)
    os.close(write)


def test_a_fold_that_finds_no_room_loses_nothing(workers: Any, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter("hits", "help", registry=None)
    kill(workers(lambda: counter.inc(3)))

    def full(*arguments: Any, **options: Any) -> None:
        raise shmstore.StoreFull("full")

    with caplog.at_level(logging.WARNING, "shmstore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(shmstore.Store, "modify", full)
        assert [sample("hits_total") for _ in range(2)] == [3, 3]
    assert "full" in caplog.text and [sample("hits_total") for _ in range(2)] == [3, 3]


def test_a_full_store_is_logged_and_harms_no_request(key: str, caplog: pytest.LogCaptureFixture) -> None:
    counter = Counter("hits", "help", ["page"], registry=None)
    with shmstore.Store[Any](key) as store:
        with caplog.at_level(logging.WARNING, "shmstore"):
            for number in range(100_000):
                counter.labels(f"{number}" * 100).inc()
                if caplog.records:
                    break
        counter.labels("last").inc()
        store.delete_many([next(iter(store.keys("counter")))])
        counter.labels("last").inc()
    assert "not shared" in caplog.text and len(caplog.records) == 1
    assert sample("hits_total", page="last") == 2


def test_a_metric_that_is_made_again_goes_on() -> None:
    Counter("hits", "help", registry=None).inc(2)
    Counter("hits", "help", registry=None).inc(2)
    assert sample("hits_total") == 4


def test_a_signal_handler_may_count() -> None:
    counter = Counter("hits", "help", registry=None)
    with values.ValueClass.metrics.lock:  # type: ignore[attr-defined]
        counter.inc()
    assert sample("hits_total") == 1


def test_a_collector_needs_shared_metrics() -> None:
    values.ValueClass = values.MutexValue
    with pytest.raises(RuntimeError, match="call share_metrics"):
        prometheus.ShmCollector(CollectorRegistry())
