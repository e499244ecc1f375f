"""Metrics of prometheus_client that all workers on the host keep in one store, so that each worker can answer /metrics.

    from shmstore.integrations.prometheus import ShmCollector, share_metrics

    share_metrics("shop-metrics")  # before the first metric is made
    ...
    registry = CollectorRegistry()
    ShmCollector(registry)
    generate_latest(registry)

Each process has an entry for each sample, which it alone writes: an increment waits for no other process. The key names the
owner, as the engine names a client, so the store can prove that the owner is gone. A scrape then folds the entries of the dead
into one sum for each sample:

1. modify the sum: add the value, and note the owner. If the owner is noted already, the value is in the sum: change nothing.
2. delete the owner's entry.
3. in a later scrape, take the owner off the note, because its entry is gone for good.

A scrape that is killed between two steps has counted no value twice, and none is lost. A lock keeps scrapes apart: otherwise one
could read the sum before step 1, and miss the entry after step 2, so that a counter went backwards.
"""

from __future__ import annotations

import json
import logging
import os
import time
import weakref
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ShmCollector", "mark_process_dead", "share_metrics", "shared_value"]

_log = logging.getLogger("shmstore")
_COMBINE: dict[str, Callable[[float, float], float]] = {"min": min, "max": max}  # of gauges; the others are added up


class _Metrics:
    """The samples of this process, and the store that all processes keep theirs in."""

    def __init__(self, name: Any, options: dict[str, Any], process_identifier: Callable[[], Any]) -> None:
        self._open: Callable[[], Store[Any]] = lambda: Store[Any](name, **{"timeout": 0.2, **options})
        self._process_identifier = process_identifier
        self._identity: tuple[Any, bytes] | None = None
        self._logged_at = float("-inf")
        self.store = self._open()
        self.values: weakref.WeakSet[Any] = weakref.WeakSet()
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self.lock = RLock()  # a signal handler may count, too

    def check(self) -> None:
        """Begin at zero in a forked child, and where this process was held for dead, because its values are in the sums."""
        try:
            try:
                identity = self._process_identifier(), self.store._owner()
            except errors.StoreDestroyed as error:
                if is_foreign(error):
                    raise
                self._open_again()
                return
            if identity != self._identity:
                known, self._identity = self._identity, identity
                if known is not None:
                    self._begin()
                    self._put(self.values)
        except errors.ShmStoreError as error:
            if is_foreign(error) and not isinstance(error, errors.StoreFull):
                raise
            self._report(error)

    def _begin(self) -> None:
        for value in self.values:
            value.now = (0.0, 0.0)

    def write(self, value: Any) -> None:
        """A value that cannot be written stays in the process, and is written whole the next time."""
        try:
            try:
                self._put((value,))
            except errors.StoreDestroyed as error:
                if is_foreign(error):
                    raise
                self._open_again()
        except errors.ShmStoreError as error:
            if is_foreign(error) and not isinstance(error, errors.StoreFull):
                raise
            self._report(error)

    def _open_again(self) -> None:
        """Make the store that was removed anew, with all that this process has counted."""
        known, self.store = self._identity, self._open()
        self._identity = self._process_identifier(), self.store._owner()
        if known is not None and known[0] != self._identity[0]:  # what a forked child has is its parent's
            self._begin()
        self._put(self.values)

    def _put(self, changed: Iterable[Any]) -> None:
        for value in list(changed):
            self.store.put(self._mine(value.parts).key, value.now, ttl=None)

    def _mine(self, parts: _Parts) -> _Parts:
        process, owner = self._identity or ("", b"")
        return parts._replace(process=str(process), owner=owner.hex())

    def found(self, parts: _Parts) -> tuple[float, float]:
        try:
            value = self.store.get(self._mine(parts).key) if self._identity is not None else None
        except errors.ShmStoreError as error:
            if is_foreign(error):
                raise
            value = None
        return (0.0, 0.0) if value is None else (value[0], value[1])

    def _report(self, error: Exception) -> None:
        if time.monotonic() - self._logged_at > 60:
            self._logged_at = time.monotonic()
            _log.warning("metrics of process %s are not shared: %s", os.getpid(), error)

    def read(self) -> list[tuple[_Parts, list[Any]]]:
        """Each sample, with its value and time. Those of dead processes are added up."""
        try:
            return self._read()
        except errors.StoreDestroyed as error:
            if is_foreign(error):
                raise
        with self.lock:
            self._open_again()
        return self._read()

    def _read(self) -> list[tuple[_Parts, list[Any]]]:
        lock = self.store.lock("prometheus")
        alone = lock.acquire(timeout=5.0)  # if another scrape is stopped, nothing is folded here, and nothing moves
        try:
            samples = self.entries()
            owners = {parts.owner for parts in samples if parts.owner}
            gone = {owner for owner in owners if self.store._is_gone(bytes.fromhex(owner), True)}
            for parts in sorted([parts for parts in samples if parts.owner in gone], key=_Parts.stays):
                # Read it now: the owner may have counted between the walk and its death.
                value = self.store.get(parts.key, samples.pop(parts))
                done = alone
                if parts.stays():
                    samples[parts.total], done = self._fold(samples.get(parts.total), parts, value, alone)
                if done:
                    self.store.delete(parts.key)
            for parts in [parts for parts in samples if not parts.owner and alone]:
                self._forget(parts, samples[parts], owners)
            return sorted(samples.items(), key=lambda item: item[0].sample)
        finally:
            if alone:
                lock.release()

    def entries(self) -> dict[_Parts, list[Any]]:
        found = self.store.items(on_error="skip")
        return {
            _Parts(*key.split("|", 4)): value for key, value in found if isinstance(key, str) and key.count("|") >= 4
        }

    def _fold(self, total: list[Any] | None, parts: _Parts, value: list[Any], alone: bool) -> tuple[list[Any], bool]:
        """The new sum, and whether it is stored."""

        def fold(total: list[Any] | None) -> list[Any]:
            if total is None:
                return [*value, [parts.owner]]
            number, when, owners = total
            if parts.owner in owners:
                return total
            if parts.mode == "mostrecent":
                number, when = max((number, when), tuple(value), key=lambda pair: pair[1])
            else:
                number = _COMBINE.get(parts.mode, float.__add__)(number, value[0])
            return [number, when, [*owners, parts.owner]]

        if alone:
            try:
                return self.store.modify(parts.total.key, fold, None, ttl=None), True
            except errors.StoreFull as error:
                if is_foreign(error) and not isinstance(error, errors.StoreFull):
                    raise
                self._report(error)
        return fold(total), False

    def _forget(self, parts: _Parts, total: list[Any], owners: set[str]) -> None:
        """Step 3, for owners that had no entry any more when this scrape began."""
        if not owners.issuperset(total[2]):
            self.store.modify(
                parts.key, lambda old: [*old[:2], [owner for owner in old[2] if owner in owners]], [0.0, 0.0, []]
            )


class _Parts(NamedTuple):
    """The parts of a key. Without process and owner, it is that of a sum of dead processes."""

    kind: str
    mode: str
    process: str
    owner: str
    sample: str

    @property
    def key(self) -> str:
        return "|".join(self)

    def stays(self) -> bool:
        """Whether it counts after the death of its process."""
        return self.mode != "all" and not self.mode.startswith("live")

    @property
    def total(self) -> _Parts:
        return self._replace(process="", owner="")


class ShmValue:
    """A float of this process, and its entry in the store."""

    _multiprocess = True
    metrics: _Metrics  # of a subclass

    def __init__(
        self, typ: str, metric_name: str, name: str, labelnames: Any, labelvalues: Any, help_text: str,
        multiprocess_mode: str = "", **_: Any,
    ) -> None:  # fmt: skip
        mode = multiprocess_mode if typ == "gauge" else ""
        self.parts = _Parts(typ, mode, "", "", mmap_key(metric_name, name, labelnames, labelvalues, help_text))
        self.now = (0.0, 0.0)
        with self.metrics.lock:
            self.metrics.check()
            self.now = self.metrics.found(self.parts)  # of a metric that was unregistered, or a label that was removed
            self.metrics.values.add(self)
            self.metrics.write(self)

    def inc(self, amount: float) -> None:
        with self.metrics.lock:
            self.metrics.check()
            self.now = (self.now[0] + amount, 0.0)
            self.metrics.write(self)

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self.metrics.lock:
            self.metrics.check()
            self.now = (float(value), float(timestamp or 0.0))
            self.metrics.write(self)

    def get(self) -> float:
        """Of this process alone."""
        with self.metrics.lock:
            self.metrics.check()
            return self.now[0]

    def set_exemplar(self, exemplar: Any) -> None:
        """Not shared, as with prometheus_client's files."""

    def get_exemplar(self) -> None:
        return None


def shared_value(name: Any, process_identifier: Callable[[], Any] = os.getpid, **options: Any) -> type[ShmValue]:
    """A class for ``prometheus_client.values.ValueClass``: values in the store of this name."""
    return type("ShmValue", (ShmValue,), {"metrics": _Metrics(name, options, process_identifier)})


def share_metrics(name: Any, **options: Any) -> None:
    """Keep all metrics that are made from now on in the store of this name. *options* are those of shmstore.Store."""
    values.ValueClass = shared_value(name, **options)


def _current() -> _Metrics:
    found: _Metrics | None = getattr(values.ValueClass, "metrics", None)
    if found is None:
        raise RuntimeError("no metrics are shared: call share_metrics(name) before the first metric is made")
    return found


class ShmCollector(MultiProcessCollector):
    """Collects the metrics of all processes. It belongs into a registry of its own, without the metrics themselves."""

    def __init__(self, registry: Any, shared: Any = None) -> None:
        """*shared*: what shared_value() returned; None: what share_metrics() was called with."""
        self._shared = _current() if shared is None else shared.metrics
        if registry:
            registry.register(self)

    def collect(self) -> Any:
        metrics: dict[str, Any] = {}
        for (kind, mode, process, _, sample), (value, when, *_) in self._shared.read():
            metric_name, name, labels, help_text = json.loads(sample)
            metric = metrics.setdefault(metric_name, Metric(metric_name, help_text, kind))
            pairs = tuple(sorted(labels.items()))
            if kind == "gauge":
                metric._multiprocess_mode = mode
                metric.add_sample(name, (*pairs, ("pid", process)), value, when)
            else:
                metric.add_sample(name, pairs, value)
        accumulate: Any = self._accumulate_metrics  # typed or not, with the release
        return accumulate(metrics, True)


def mark_process_dead(process: Any, shared: Any = None) -> None:
    """Forget the gauges of a process with a mode that begins with "live". Needed only where its death cannot be proved."""
    metrics = _current() if shared is None else shared.metrics
    for parts in metrics.entries():
        if parts.process == str(process) and parts.mode.startswith("live"):
            metrics.store.delete(parts.key)
