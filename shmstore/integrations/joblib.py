"""A store for joblib.Memory in shared memory, so that worker processes share results without files.

import shmstore.integrations.joblib  # makes the backend known

memory = joblib.Memory("shop", backend="shmstore", backend_options={"size": "1G"}, verbose=0)
"""

from __future__ import annotations

import datetime
import json
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

from joblib._store_backends import CacheItemInfo, StoreBackendBase, StoreBackendMixin
from joblib.memory import register_store_backend

from shmstore.integrations import _shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from shmstore.cache import Cache

__all__ = ["ShmStoreBackend"]

_ITEM = re.compile(r"(.*/[a-f0-9]{32})/output\.pkl", re.DOTALL)


class _Writer(BytesIO):
    """A file that becomes an entry when it is closed."""

    def __init__(self, cache: Cache[Any], key: str) -> None:
        super().__init__()
        self._cache, self._key = cache, key

    def close(self) -> None:
        if not self.closed:
            value = self.getvalue()
            super().close()
            self._cache.put(self._key, value)


class ShmStoreBackend(StoreBackendBase, StoreBackendMixin):
    """The cache that the location names. What joblib takes for files are entries, and their keys are the paths.

    backend_options: those of shmstore.Cache, and ``compress``, as for files.
    """

    def configure(self, location: str, verbose: int = 1, backend_options: Any = None) -> None:
        options = dict(backend_options or {})
        self.location, self.verbose = location, verbose
        self.compress = options.pop("compress", False)
        if options.pop("mmap_mode", None) is not None:
            warnings.warn("arrays in a cache in shared memory are copied: mmap_mode is ignored", stacklevel=2)
        self.mmap_mode = None
        self._name, self._options = location.removesuffix("/joblib"), options  # Memory adds that to the name

    @property
    def _cache(self) -> Cache[Any]:
        return _shared.handle(self._name, self._options)  # not an attribute, because workers unpickle this object

    def _open_item(self, f: str, mode: str) -> BytesIO:
        if "w" in mode:
            return _Writer(self._cache, f)
        value = self._cache.get(f)
        if value is None:
            raise FileNotFoundError(f)
        return BytesIO(value)

    def _item_exists(self, location: str) -> bool:
        return location in self._cache or bool(next(iter(self._cache.keys(f"{location}/")), None))

    object_exists = _item_exists

    def _move_item(self, src: str, dst: str) -> None:
        self._cache.put(dst, self._cache.pop(src))

    def _concurrency_safe_write(self, to_write: Any, filename: str, write_func: Callable[[Any, str], None]) -> None:
        write_func(to_write, filename)  # an entry is replaced as a whole

    def create_location(self, location: str) -> None:
        """Nothing: a path needs no folders."""

    def clear_location(self, location: str) -> None:
        self._cache.delete_many([location, *self._cache.keys(f"{location}/")])

    def get_items(self) -> list[Any]:
        """For reduce_size. The time of an item is that of its computation, because reading an entry writes no time."""
        items = []
        for key in list(self._cache.keys(f"{self.location}/")):
            found = _ITEM.fullmatch(str(key))
            if found:
                parts = self._cache.get_many([key, f"{found[1]}/metadata.json"])
                made = json.loads(parts.get(f"{found[1]}/metadata.json", b"{}")).get("time", 0.0)
                when = datetime.datetime.fromtimestamp(made)
                items.append(CacheItemInfo(found[1], sum([len(part) for part in parts.values()]), when))
        return items


register_store_backend("shmstore", ShmStoreBackend)
