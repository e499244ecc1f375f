"""memoize: results of a function as entries, under keys made of the function and its arguments.

A key is the function's part, its generation, and the arguments as shmstore.key() writes them:
``report.sales:monthly#5f0c3b1d(2026,'eur')``. The function's part has its module and qualified name, the caller's version,
and a hash of the compiled code with the constants that it refers to. So two functions, or two versions of one, have no key in
common. Functions that it calls are not part of it: there *version* helps.

The generation is a number that cache_clear() raises, in an entry of the store's own. So clearing takes constant time, and
what is computed meanwhile is stored under the former generation, where no call looks for it.
"""

from __future__ import annotations

import functools
import os
from time import time_ns

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import imported, late
from shmstore._base.record import Record
from shmstore._base.sentinels import MISSING
from shmstore._store import computing
from shmstore._store.derived_keys import MUTABLE, TYPED, text_of
from shmstore._store.keys import kept_key
from shmstore.codecs.error_path import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    import inspect
    from collections.abc import Callable
    from typing import Any

    from shmstore._store.keys import KeptKey
    from shmstore.store import Store
else:
    hashlib, inspect = late("hashlib"), late("inspect")

__all__ = ["CacheInfo", "memoize"]

_COROUTINE, _GENERATOR = 0x80 | 0x100, 0x20 | 0x200  # of co_flags: async def and types.coroutine; yield


class CacheInfo(Record):
    """Figures of a memoized function: *hits* and *misses* of this process, and how many results the store has now."""

    __slots__ = ("currsize", "hits", "misses")
    hits: int
    misses: int
    currsize: int


class _Memo:
    """What a memoized function has beside it."""

    __slots__ = ("arguments", "generation", "hits", "identity", "misses", "plan", "store", "tags")

    def __init__(
        self,
        store: Store[Any],
        arguments: Callable[..., str],
        identity: str,
        generation: KeptKey,
        plan: computing.Plan,
        tags: Any,
    ) -> None:
        self.store = store
        self.arguments = arguments
        self.identity = identity
        self.generation = generation
        self.tags = tags if callable(tags) else None
        self.plan = plan if callable(tags) else plan.with_tags(tags if isinstance(tags, (str, bytes)) else tuple(tags))
        self.hits = self.misses = 0

    def prefix(self) -> str:
        generation = self.store.get(self.generation)
        return self.identity if generation is None else f"{self.identity}~{generation}"

    def cache_key(self, *args: Any, **kwargs: Any) -> str:
        """The key of the entry for these arguments; of a method, they begin with self."""
        return self.prefix() + self.arguments(*args, **kwargs)

    def cache_info(self) -> CacheInfo:
        """Hits and misses of this process, and the number of results in the store. Cost: a walk through the store."""
        prefix = self.prefix()
        size = len(self.store.keys(prefix + "(")) + len(self.store.keys(prefix + "blake2b:"))
        return CacheInfo(hits=self.hits, misses=self.misses, currsize=size)

    def cache_clear(self) -> None:
        """Forget all results of this function, in all processes. In a store that evicts nothing, they are also deleted."""
        former = self.prefix()
        self.store.incr(self.generation, initial=time_ns() // 1000, ttl=None)
        self.hits = self.misses = 0
        if not self.store._EVICTS:
            self.store.delete_many([*self.store.keys(former + "("), *self.store.keys(former + "blake2b:")])

    def plan_of(self, args: Any, kwargs: Any) -> computing.Plan:
        """For one computation."""
        return self.plan if self.tags is None else self.plan.with_tags(self.tags(*args, **kwargs))

    def look(self) -> Callable[[str, Any], Any]:
        """What returns the value of a key, if there is one that is not due, or else its second argument."""
        store, plan = self.store, self.plan

        def look(key: str, instead: Any) -> Any:
            found = store._value_and_life(key)
            return instead if found is None or plan.is_due(store, key, found[1]) else found[0]

        return store.get if plan.plain else look


def memoize(
    store: Store[Any],
    function: Callable[..., Any],
    *,
    plan: computing.Plan,
    key: Callable[..., Any] | None,
    version: str | int | None,
    ignore: Any,
    typed: bool,
    name: str | None,
    tags: Any,
) -> Any:
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if not callable(function):
        raise TypeError(
            f"memoize is for functions, not {type_name(type(function))}; put it below @classmethod, next to def"
        )
    if flags & _GENERATOR and not flags & _COROUTINE:
        raise TypeError("memoize is for functions that return a value; a generator cannot be stored: return a list")
    identity = _identity(function, name, version)
    how = MUTABLE | (TYPED if typed else 0)
    arguments = _by_key(key, how) if key is not None else _by_signature(function, ignore, how)
    generation = kept_key("generation", identity, f"store {store._key.shown}")
    memo = _Memo(store, arguments, identity, generation, plan, tags)
    wrapper = _coroutine(function, memo) if flags & _COROUTINE else _plain(function, memo)
    functools.update_wrapper(wrapper, function)
    wrapper.cache_info, wrapper.cache_clear = memo.cache_info, memo.cache_clear
    wrapper.cache_key = memo.cache_key
    return wrapper


def _plain(function: Callable[..., Any], memo: _Memo) -> Any:
    store, look, arguments = memo.store, memo.look(), memo.arguments
    get, identity, generation_key = store.get, memo.identity, memo.generation

    def memoized(*args: Any, **kwargs: Any) -> Any:
        generation = get(generation_key)
        key = (identity if generation is None else f"{identity}~{generation}") + arguments(*args, **kwargs)
        value = look(key, MISSING)
        if value is not MISSING:
            memo.hits += 1
            return value
        memo.misses += 1
        return store._compute(key, lambda: function(*args, **kwargs), memo.plan_of(args, kwargs))

    return memoized


def _coroutine(function: Callable[..., Any], memo: _Memo) -> Any:
    store, look, cache_key = memo.store, memo.look(), memo.cache_key

    async def memoized(*args: Any, **kwargs: Any) -> Any:
        key = cache_key(*args, **kwargs)
        value = look(key, MISSING)
        if value is not MISSING:
            memo.hits += 1
            return value
        memo.misses += 1
        return await store._acompute(key, lambda: function(*args, **kwargs), memo.plan_of(args, kwargs))

    return memoized


# ---- the function's part of a key


def _identity(function: Any, name: str | None, version: str | int | None) -> str:
    after = "" if version is None else f"@{version}"
    if name is not None:
        return f"{name}{after}"
    module, of = getattr(function, "__module__", None), getattr(function, "__self__", None)
    if not hasattr(function, "__qualname__") or not (of is None or isinstance(of, type(os))):
        raise TypeError(
            f"nothing says which function {function!r:.60} is in another process: memoize needs its name=, or the function "
            "that it calls"
        )
    if module in ("__main__", "__mp_main__"):
        module = _program()
    return f"{module}:{function.__qualname__}{after}#{_code_hash(function)}"


def _program() -> str:
    """What tells the module __main__ of one program from that of another; children that multiprocessing spawns agree."""
    main = imported("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    return f"__main__[{os.path.realpath(file)}]" if file else "__main__"


def _code_hash(function: Any) -> str:
    """Of the compiled code, and of constants that an enclosing function gave it: those tell closures of one code apart."""
    code = getattr(function, "__code__", None)
    if code is None:
        return "0"  # in C: its name says which it is
    given = [_constant(_content(cell)) for cell in function.__closure__ or ()]
    return hashlib.blake2b(repr((_code(code), given)).encode(), digest_size=6).hexdigest()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError as error:  # not bound yet
        if is_foreign(error):
            raise
        return None


def _code(code: Any) -> Any:
    constants = [_code(value) if isinstance(value, type(code)) else _constant(value) for value in code.co_consts]
    return code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags


def _constant(value: Any) -> str:
    try:
        return text_of((value,), {}, TYPED)
    except (TypeError, ValueError) as error:  # not the same in every process: it tells nothing
        if is_foreign(error):
            raise
        return "?"


# ---- the arguments


def _by_key(key: Callable[..., Any], how: int) -> Callable[..., str]:
    def arguments(*args: Any, **kwargs: Any) -> str:
        return text_of((key(*args, **kwargs),), {}, how)

    return arguments


def _by_signature(function: Callable[..., Any], ignore: Any, how: int) -> Callable[..., str]:
    """A function with the parameters of *function*, so that Python itself sorts arguments, by position or by name, and fills
    in defaults: calls that are the same have the same key."""
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    parameters = list(inspect.signature(function).parameters.values())
    unknown = ignored - {parameter.name for parameter in parameters}
    if unknown:
        raise ValueError(f"ignore names {sorted(unknown)}, and the function has no such parameters")
    defaults: dict[str, Any] = {}
    listed: list[str] = []
    positional: list[str] = []
    named: list[str] = []
    kinds = inspect.Parameter
    for number, parameter in enumerate(parameters):
        name, kind = parameter.name, parameter.kind
        stars = "*" if kind is kinds.VAR_POSITIONAL else "**" if kind is kinds.VAR_KEYWORD else ""
        if kind is kinds.KEYWORD_ONLY and "*" not in "".join(listed):
            listed.append("*")
        if parameter.default is not kinds.empty:
            defaults[f"_default{number}_"] = parameter.default
        listed.append(f"{stars}{name}" + (f"=_default{number}_" if parameter.default is not kinds.empty else ""))
        if kind is kinds.POSITIONAL_ONLY and (
            number + 1 == len(parameters) or parameters[number + 1].kind is not kinds.POSITIONAL_ONLY
        ):
            listed.append("/")
        if name in ignored:
            continue
        if kind is kinds.KEYWORD_ONLY:
            named.append(f"{name!r}: {name}")
        elif kind is kinds.VAR_KEYWORD:
            named.append(f"**{name}")
        else:
            positional.append(f"*{name}" if stars else name)
    given = f"({', '.join(positional)}{',' if positional else ''})"
    source = f"def arguments({', '.join(listed)}): return _text_({given}, {{{', '.join(named)}}}, _how_)"
    room = {**defaults, "_text_": text_of, "_how_": how}
    exec(source, room)  # of names that are Python's own identifiers
    made: Callable[..., str] = room["arguments"]
    made.__name__ = made.__qualname__ = getattr(function, "__name__", "arguments")
    return made
