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
from shmstore.store import DEFAULT, PRIVATE, Store, destroy, open, stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore.shared_memory import ShareableList, SharedMemory
else:

    def __getattr__(name):
        """Import what few programs need when it is first asked for."""
        if name not in ("ShareableList", "SharedMemory"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from shmstore import shared_memory

        globals()[name] = value = getattr(shared_memory, name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "DEFAULT",
    "PRIVATE",
    "ClientInfo",
    "CodecError",
    "FormatMismatch",
    "KeyCollision",
    "LockTimeout",
    "NotAStore",
    "ReadOnlyStore",
    "ShareableList",
    "SharedMemory",
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
