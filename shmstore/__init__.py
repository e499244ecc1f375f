"""A shared object store: unrelated processes on one host put and get objects by key, without a server.

>>> import shmstore
>>> with shmstore.open("example") as store:
...     version = store.put("greeting", {"hello": "world"})
...     print(store["greeting"])
...     store.destroy()
{'hello': 'world'}
"""

try:
    from shmstore import _core as _core
except ImportError as _error:
    if _error.name == "_cffi_backend":
        import sys

        if getattr(sys, "frozen", False):
            raise ImportError(
                "this program was packed without cffi's module _cffi_backend, which the compiled part of shmstore imports; "
                "PyInstaller finds it by itself, cx_Freeze needs --includes=_cffi_backend --packages=shmstore"
            ) from _error
        raise ImportError("shmstore needs the package cffi: run `pip install cffi`") from _error
    from os.path import isdir

    if not isdir(__path__[0]):
        raise ImportError(
            f"shmstore cannot be imported from within the file {__path__[0].removesuffix('/shmstore')}: its compiled module must be "
            "a file of its own; make the program with pex or PyInstaller, which unpack it, instead of zipapp"
        ) from None
    if "subinterpreters" in str(_error):
        raise ImportError(
            "shmstore cannot be used in an isolated sub-interpreter, which may have a GIL of its own: its engine relies on "
            "one GIL, and cffi's _cffi_backend does not support this, either; use a sub-interpreter that shares the main one's "
            f"GIL (as mod_wsgi and uWSGI make them), a thread, or a process of its own ({_error})"
        ) from None
    raise ImportError(
        "this is shmstore's source without its compiled module: start Python from another directory than the checkout; "
        f"if it is not installed yet, run `pip install .` there first (it needs a C compiler) ({_error})"
    ) from None

from shmstore._base.imports import late
from shmstore._store.derived_keys import key, typed_key
from shmstore._store.records import ClientInfo, EntryInfo, Found, Removed, Stats, Stored, StoreInfo
from shmstore.cache import Cache
from shmstore.codecs.registry import register
from shmstore.errors import (
    BackingError,
    BackingUnavailable,
    CodecError,
    FormatMismatch,
    InvalidKey,
    InvalidTag,
    KeyCollision,
    LeaseLost,
    LockTimeout,
    NotACache,
    NotAStore,
    OutcomeUnknown,
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
    TooManyClients,
    TooManyNamespaces,
    UnencodableKey,
    ValueTooLarge,
)
from shmstore.store import DEFAULT, KEEP, PRIVATE, Store, destroy, open, stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore.shared_memory import ShareableList, SharedMemory
else:
    _LATE = dict.fromkeys(("ShareableList", "SharedMemory"), late("shmstore.shared_memory"))

    def __getattr__(name):
        """Import what few programs need when it is first asked for."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(_LATE[name], name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "DEFAULT",
    "KEEP",
    "PRIVATE",
    "BackingError",
    "BackingUnavailable",
    "Cache",
    "ClientInfo",
    "CodecError",
    "EntryInfo",
    "FormatMismatch",
    "Found",
    "InvalidKey",
    "InvalidTag",
    "KeyCollision",
    "LeaseLost",
    "LockTimeout",
    "NotACache",
    "NotAStore",
    "OutcomeUnknown",
    "ReadOnlyStore",
    "Removed",
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
    "Stored",
    "TooManyClients",
    "TooManyNamespaces",
    "UnencodableKey",
    "ValueTooLarge",
    "destroy",
    "key",
    "open",
    "register",
    "stores",
    "typed_key",
]
