"""A shared object store: unrelated processes on one host put and get objects by name, with no server.

>>> import shmstore
>>> with shmstore.open("docs-example") as store:
...     version = store.put("greeting", {"hello": "world"})
...     print(store["greeting"])
...     store.destroy()
{'hello': 'world'}
"""

try:
    from shmstore import _core as _core
except ImportError as _error:
    raise ImportError(
        "shmstore's compiled module is missing: run `pip install .` in the project (it needs a C compiler), and "
        f"start Python from another directory than the checkout ({_error})"
    ) from _error

from shmstore._records import ClientInfo, Stats, StoreInfo
from shmstore.codecs.registry import register
from shmstore.errors import (
    CodecError,
    FormatMismatch,
    KeyCollision,
    LockTimeout,
    NotAStore,
    ReadOnlyStore,
    ShmStoreError,
    StoreClosed,
    StoreCorrupt,
    StoreDestroyed,
    StoreExists,
    StoreForeign,
    StoreFull,
    StoreNotFound,
    StoreSystemError,
    ValueTooLarge,
)
from shmstore.store import DEFAULT, Store, destroy, open, stores

__version__ = "0.1.0"

__all__ = [
    "DEFAULT",
    "ClientInfo",
    "CodecError",
    "FormatMismatch",
    "KeyCollision",
    "LockTimeout",
    "NotAStore",
    "ReadOnlyStore",
    "ShmStoreError",
    "Stats",
    "Store",
    "StoreClosed",
    "StoreCorrupt",
    "StoreDestroyed",
    "StoreExists",
    "StoreForeign",
    "StoreFull",
    "StoreInfo",
    "StoreNotFound",
    "StoreSystemError",
    "ValueTooLarge",
    "destroy",
    "open",
    "register",
    "stores",
]
