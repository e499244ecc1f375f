"""What a Cache does about a call that has failed: the one place where it opens itself again, and where failures become misses.

Every public method of a Cache comes here with its exception: those in C through csrc/python/rescue.c, the others through
``guarded``. Only what the cache itself says is considered: its exceptions carry its mark (``mark``). An exception of a
function of the user, of a signal handler, or of another store never has the mark, and passes.

1. A value that cannot be read is absent: the call returns what it returns for an absent key.
2. The cache was removed (``destroy``, ``ipcrm``, ``rm``): it is opened or created again, and the call is done again. A
   thread that comes here finds it open if another thread was faster. Nothing is locked, so nothing stays locked in a
   forked child.
3. With ``on_error="miss"``, whatever else is wrong with the cache is a miss. A value that finds no room leaves no old one.
"""

from __future__ import annotations

from operator import index
from time import monotonic

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.sentinels import MISSING
from shmstore._core import lib
from shmstore._store.failures import logger
from shmstore._store.opening import open_handle
from shmstore._store.options import ATTACHING
from shmstore._store.records import Found, Removed, Stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore._store.names import Key
    from shmstore._store.options import Options
    from shmstore.cache import Cache

    _Arguments = tuple[Any, ...]
    _Keywords = dict[str, Any]

__all__ = [
    "CLOSED_BY_USER",
    "attach",
    "awaited",
    "guarded",
    "mark",
    "mark_unreadable",
    "open_or_lose",
    "reopen",
    "rescue",
    "unreadable",
]

CLOSED_BY_USER = -1  # SHMS_CLOSED_BY_USER in csrc/python/call.h
_PRIVATE = 4  # the kind of a key
_TRIES = 100  # how often one call is done again: as often others must have removed the cache at just that moment
_PAUSE = 1.0  # seconds: with on_error="miss", a cache that cannot be opened is tried again after them
_EVERY = 60.0  # seconds between two log lines of a kind


def mark(cache: Cache[Any], error: Exception) -> Exception:
    """Say in *error* that *cache* has raised it."""
    error._cache = id(cache)  # type: ignore[attr-defined]
    return error


def mark_unreadable(cache: Cache[Any], error: Exception) -> Exception:
    """Say in *error* that it is about a value that *cache* cannot read."""
    error._unreadable = True  # type: ignore[attr-defined]
    return mark(cache, error)


def _is_own(cache: Cache[Any], error: Exception) -> bool:
    return getattr(error, "_cache", 0) == id(cache)


def guarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a Cache for that of a Store."""

    def call(self: Cache[Any], /, *arguments: Any, **keywords: Any) -> Any:
        if arguments and hasattr(arguments[0], "__next__"):
            arguments = (list(arguments[0]), *arguments[1:])  # which can be read again
        tries = 0
        while True:
            try:
                return method(self, *arguments, **keywords)
            except errors.ShmStoreError as error:
                if not _is_own(self, error) and is_foreign(error):
                    raise
                instead = rescue(self, name, error, arguments, keywords, tries)
                if instead is not None:
                    return instead[0]
                tries += 1

    call.__name__, call.__doc__, call.__wrapped__ = name, method.__doc__, method  # type: ignore[attr-defined]
    call.__qualname__ = f"Cache.{name}"
    return call


async def awaited(cache: Cache[Any], name: str, method: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """The result of a method that is a coroutine function, of a Store, as a Cache has it."""
    tries = 0
    while True:
        try:
            return await method(*arguments, **keywords)
        except errors.ShmStoreError as error:
            if not _is_own(cache, error) and is_foreign(error):
                raise
            instead = rescue(cache, name, error, arguments, keywords, tries)
            if instead is not None:
                result = instead[0]
                return await result if hasattr(type(result), "__await__") else result
            tries += 1


def rescue(
    cache: Cache[Any], method: str, error: Exception, arguments: _Arguments, keywords: _Keywords, tries: int
) -> tuple[Any] | None:
    """Return None if *method* is to be called again, or a tuple with what it returns instead. Raises: *error*, what ended the
    attempt to open the cache again, or the KeyError of an absent key."""
    if not _is_own(cache, error):
        raise error
    if hasattr(error, "_unreadable"):
        return (_instead_of_unreadable(cache, method, error, arguments, keywords),)
    if isinstance(error, (errors.StoreDestroyed, errors.StoreClosed)):
        problem = _open_again(cache, error) if tries < _TRIES else error
        if problem is None:
            return None
        error = problem
    if cache._options.on_error == "raise" or method not in _MISSES or not _is_miss(cache, error):
        raise error
    _log(cache, type(error).__name__, f'{error}; with on_error="miss", calls find and store nothing meanwhile')
    if isinstance(error, errors.StoreFull):
        _remove_outdated(cache, method, error, arguments, keywords)
    return (_MISSES[method](arguments, keywords, error),)


def _remove_outdated(
    cache: Cache[Any], method: str, error: errors.StoreFull, arguments: _Arguments, keywords: _Keywords
) -> None:
    """Remove the old values that the call has not replaced, for want of room: to read them now would be worse than a miss."""
    if method in ("put", "__setitem__", "replace", "incr", "decr", "modify"):
        cache.delete(_given(arguments, keywords, 0, "key", None))
    elif method == "cas":
        cache.delete(_given(arguments, keywords, 0, "key", None), _given(arguments, keywords, 2, "version", None))
    elif method in ("put_many", "update"):
        cache.delete_many(error.failed)


def _is_miss(cache: Cache[Any], error: Exception) -> bool:
    """Is something wrong with the cache, and not with the call?"""
    if error is cache._problem:
        return True
    if isinstance(error, errors.ReadOnlyStore):
        return not cache._options.readonly
    if isinstance(error, errors.StoreClosed):
        return cache._handle != CLOSED_BY_USER
    return isinstance(error, errors.ShmStoreError) and not isinstance(error, (errors.CodecError, errors.InvalidKey))


# ---- opening


def open_or_lose(cache: Cache[Any], key: Key, options: Options) -> None:
    """Open a new cache. With on_error="miss" it may stay unopened; then later calls try again."""
    try:
        _open(cache, key, options)
    except (errors.ShmStoreError, MemoryError) as error:
        if options.on_error == "raise" or (is_foreign(error) and not isinstance(error, MemoryError)):
            raise
        if isinstance(error, errors.StoreExists):
            raise
        _lose(cache, error)


def attach(cache: Cache[Any], key: Key, options: Options, uuid: bytes) -> None:
    """Open a cache that was pickled: that very cache, if it is still there, else the one that has its name by now."""
    if not uuid:  # it was never open
        open_or_lose(cache, key, options)
        return
    try:
        _open(cache, key, options.replaced(**ATTACHING, uuid=uuid))
        cache._options = options
    except errors.ShmStoreError as error:
        if is_foreign(error) or key.kind == _PRIVATE:
            raise
        open_or_lose(cache, key, options)


def _open(cache: Cache[Any], key: Key, options: Options) -> None:
    """What the caller did not ask for will be, in a cache that is created again, as it is now."""
    result = open_handle(cache, key, options)
    kept = {"create": None if options.create else options.create}
    if not options.size_given:
        kept["size"] = result.store_size
    if options.max_entries is None:
        kept["max_entries"] = result.max_entries or None
    cache._options = options.replaced(**kept)
    cache._problem = None
    cache._rescues = True


def _lose(cache: Cache[Any], problem: Exception) -> None:
    cache._problem = mark(cache, problem)
    if cache._options.on_error == "miss":  # it is kept, and must keep nothing of the call
        problem.__traceback__ = problem.__context__ = None
    cache._retry_at = monotonic() + _PAUSE
    cache._rescues = True


def reopen(cache: Cache[Any], error: Exception) -> None:
    """Open a cache that was removed: *error* says that. Raises: *error*, or what is wrong."""
    is_gone = isinstance(error, (errors.StoreDestroyed, errors.StoreClosed))
    problem = _open_again(cache, error) if is_gone else error
    if problem is not None:
        raise problem


def _open_again(cache: Cache[Any], error: Exception) -> Exception | None:
    """None: the cache is open. Otherwise what is wrong with it."""
    if cache._handle == CLOSED_BY_USER:
        return error
    if lib.shms_usable(cache._handle) == lib.SHMS_OK:
        return None  # another thread was faster
    if cache._key.kind == _PRIVATE:
        return error  # no other process could find a new one
    problem = cache._problem
    if problem is not None and cache._options.on_error == "miss" and monotonic() < cache._retry_at:
        problem.__traceback__ = problem.__context__ = None
        return problem
    try:
        _open(cache, cache._key, cache._options)
        return None
    except (errors.ShmStoreError, ValueError, MemoryError) as problem:
        if is_foreign(problem) and not isinstance(problem, MemoryError):
            raise
        _lose(cache, problem)
        if isinstance(problem, errors.StoreNotFound) and isinstance(error, errors.StoreDestroyed):
            return error  # and this handle must not create one
        return problem


# ---- what a call returns that finds nothing, because of what is wrong with the cache


def unreadable(cache: Cache[Any], error: Exception) -> None:
    """Count and log a value that cannot be read."""
    lib.shms_count_unreadable(cache._handle)  # which has counted it as a hit
    _log(cache, "unreadable", f"{error}; a Cache treats such a value as absent, and the next put replaces it")


def _instead_of_unreadable(
    cache: Cache[Any], method: str, error: Exception, arguments: _Arguments, keywords: _Keywords
) -> Any:
    if method == "_value_and_version":
        return cache._look_again(arguments[0])
    if method == "_value_and_life":
        unreadable(cache, error)
        return None
    if method not in _MISSES:
        raise error
    unreadable(cache, error)
    return _MISSES[method](arguments, keywords, error)


def _given(arguments: _Arguments, keywords: _Keywords, at: int, name: str, otherwise: Any) -> Any:
    return arguments[at] if len(arguments) > at else keywords.get(name, otherwise)


def _absent(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    raise KeyError(_given(arguments, keywords, 0, "key", None)) from None


def _default(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    return _given(arguments, keywords, 1, "default", None)


def _popped(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    default = _given(arguments, keywords, 1, "default", MISSING)
    return _absent(arguments, keywords, error) if default is MISSING else default


def _modified(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    default = _given(arguments, keywords, 2, "default", MISSING)
    if default is MISSING:
        return _absent(arguments, keywords, error)
    return _given(arguments, keywords, 1, "function", None)(default)


def _computed(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    return arguments[1]()


def _counted(sign: int) -> Callable[..., Any]:
    def count(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
        if not keywords.get("create", True):
            return _absent(arguments, keywords, error)
        return index(keywords.get("initial", 0)) + sign * index(_given(arguments, keywords, 1, "by", 1))

    return count


def _waited(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    if keywords.get("after"):
        return 0  # the version of what is absent
    raise TimeoutError(f"{error}; waited for {_given(arguments, keywords, 0, 'key', None)!r}") from None


def _found(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
    return Found() if keywords.get("on_error") == "skip" else {}


def _so_many(kind: Any) -> Callable[..., Any]:
    """The result of a call on many entries: how many were done before it failed."""

    def count(arguments: _Arguments, keywords: _Keywords, error: Exception) -> Any:
        done = getattr(error, "stored", None) or 0
        skipping = keywords.get("on_error") == "skip"
        return kind.of(done, dict.fromkeys(getattr(error, "failed", ()), error)) if skipping else done

    return count


def _nothing(result: Any) -> Callable[..., Any]:
    return lambda arguments, keywords, error: result


# Those that are not here say what is wrong, whatever on_error is: they are for people, or for those who administrate.
_MISSES: dict[str, Callable[[_Arguments, _Keywords, Exception], Any]] = {
    **dict.fromkeys(("get", "setdefault"), _default),
    **dict.fromkeys(
        ("__getitem__", "__delitem__", "get_versioned", "get_with_ttl", "get_into", "view", "ttl", "describe"), _absent
    ),
    **dict.fromkeys(("__contains__", "__bool__", "add", "replace", "cas", "delete", "touch", "expire"), _nothing(False)),
    **dict.fromkeys(("put", "__setitem__", "__len__", "clear", "expire_due"), _nothing(0)),
    **dict.fromkeys(("update", "__next__", "evict_tag", "_generations", "_inside"), _nothing(None)),
    "pop": _popped,
    "popitem": _absent,
    "modify": _modified,
    **dict.fromkeys(("_compute", "_acompute"), _computed),
    "incr": _counted(1),
    "decr": _counted(-1),
    "wait": _waited,
    "get_many": _found,
    "put_many": _so_many(Stored),
    "add_many": _so_many(Stored),
    "delete_many": _so_many(Removed),
}  # fmt: skip


_logged: dict[tuple[str, str], tuple[float, int]] = {}  # of a store and a kind: when, and how often since


def _log(cache: Cache[Any], kind: str, text: str) -> None:
    """Log one line for each kind and minute, and the number of those that were left out."""
    now = monotonic()
    then, more = _logged.get((cache._key.shown, kind), (-_EVERY, 0))
    if now - then < _EVERY:
        _logged[cache._key.shown, kind] = then, more + 1
        return
    _logged[cache._key.shown, kind] = now, 0
    log = logger()
    if log is not None:
        log.warning("shmstore %s: %s%s", cache._key.shown, text, f" ({more} more of this kind before)" if more else "")
