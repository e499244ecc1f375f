"""What C offers to Python besides cffi's functions: the base type of stores, and the walks of the codec.

It is a second module in the file of ``_core``. So a process has one engine, however often the package is imported. This file
loads the module. Each import, and each interpreter, gets its own module state (csrc/python/module.c).
"""

from __future__ import annotations

import atexit
from _frozen_importlib import ModuleSpec  # as importlib.machinery has them, which takes long to import
from _frozen_importlib_external import ExtensionFileLoader

from shmstore import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "DEPTH", "Memory", "NODES", "Sized", "StoreCalls", "check", "create", "forget_types", "is_plain", "kept", "make_shm_open", "mmap", "pack",
    "set_codec", "set_ttls", "set_result", "shmat", "unpack", "unpack_extension",
]  # fmt: skip


def _load() -> Any:
    loader = ExtensionFileLoader(__name__, _core.__file__)  # the name chooses the module: PyInit_calls
    module = loader.create_module(ModuleSpec(__name__, loader, origin=_core.__file__))
    loader.exec_module(module)
    return module


_module = _load()
atexit.register(_module.leave)  # closes nothing: daemon threads may still be inside or about to be

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import final

    from typing_extensions import Self, disjoint_base

    kept: dict[str, Any]  # the same for all imports of the package in this interpreter
    DEPTH: int  # containers inside one another; a scalar alone has depth 0
    NODES: int
    pack: Callable[[object], bytes | None]  # None: it is to be written in parts
    is_plain: Callable[[object], bool]
    unpack: Callable[[bytes | bytearray], Any]
    unpack_extension: Callable[[int, bytes], Any]
    check: Callable[[bytes], str | None]
    set_codec: Callable[..., None]
    forget_types: Callable[[], None]
    set_ttls: Callable[[object, object], None]
    set_result: Callable[[Any, Any], None]
    shmat: Callable[[int, int, int], Memory | tuple[str, int, Memory]]
    create: Callable[[int, int, int], Memory | tuple[str, int, Memory]]
    mmap: Callable[[int, int, int, int, int, int, bool], Memory | tuple[str, int, Memory]]

    make_shm_open: Callable[
        [Callable[..., tuple[bytes, int, int]], Callable[[int, Any], Exception]], Callable[..., int]
    ]

    @final
    class Memory:
        """The one owner of a view's pin or of a mapping (csrc/python/memory.h)."""

        address: int
        size: int
        readonly: bool
        ended: bool
        segment: int

        def view(self) -> memoryview: ...
        def end(self, holder: object, attribute: str, /) -> int | None: ...
        def keep(self, whether: bool, /) -> None: ...

    class Sized:
        """Its length is that of its _sized, or self._count() if that is None."""

        __slots__ = ()

        def __len__(self) -> int: ...

    @disjoint_base
    class StoreCalls:
        """The hot calls, in C (csrc/store_type.c), without the type of the values."""

        _handle: int
        _copies: dict[Any, Any]

        def get(self, key: Any, default: Any = None, *, type: Any = None, touch: Any = ...) -> Any: ...
        def get_into(self, key: Any, buffer: Any, /) -> int: ...
        def __getitem__(self, key: Any, /) -> Any: ...
        def __contains__(self, key: Any, /) -> bool: ...
        def put(self, key: Any, value: Any, *, ttl: Any = ...) -> int: ...
        def __setitem__(self, key: Any, value: Any, /) -> None: ...
        def delete(self, key: Any, version: int | None = None) -> bool: ...
        def __delitem__(self, key: Any, /) -> None: ...
        def incr(self, key: Any, by: int = 1, *, initial: int = 0, create: bool = True, ttl: Any = ...) -> int: ...
        def decr(self, key: Any, by: int = 1, *, initial: int = 0, create: bool = True, ttl: Any = ...) -> int: ...
        def view(self, key: Any) -> memoryview: ...
        def wait(self, key: Any, *, after: Any = None, timeout: Any = None, spin: Any = 0.0) -> int: ...
        def _get_versioned(self, key: Any, /) -> tuple[int, int | str, bytes] | None: ...
        def _version(self, key: Any, /) -> int: ...
        def _time_left(self, key: Any, /) -> int | None: ...
        def add(self, key: Any, value: Any, *, ttl: Any = ...) -> bool: ...
        def replace(self, key: Any, value: Any, *, ttl: Any = ...) -> bool: ...
        def cas(self, key: Any, value: Any, version: int, *, ttl: Any = ...) -> bool: ...
        def get_versioned(self, key: Any, /) -> tuple[Any, int]: ...
        def get_with_ttl(self, key: Any, /) -> tuple[Any, float | None]: ...
        def _value_and_version(self, key: Any, /) -> tuple[Any, int] | None: ...
        def _put_if_(
            self, key: Any, body: bytes, ttl: Any, mode: int, expected: int, keep: bool, codec: int | str, /
        ) -> int: ...
        def _describe(self, key: Any, /) -> tuple[int, int | str, int, float | None] | None: ...
        def _touch(self, key: Any, ttl: Any, version: int, /) -> bool: ...
        def close(self) -> None: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, *exc: object) -> None: ...
        def _open_handle(self, request: int, result: int, /) -> int: ...
        def __len__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def _walk(self, prefix: bytes, kind: int, cursor: int = 0, end: int = ..., most: int = ..., /) -> Any: ...
        def _keys(self, prefix: bytes, kind: int, /) -> Any: ...
        def _get_many(self, keys: tuple[Any, ...], /) -> dict[Any, Any]: ...
        def _put_many(self, keys: tuple[Any, ...], values: tuple[Any, ...], ttl: Any, mode: int, /) -> Any: ...
        def _delete_many(self, keys: tuple[Any, ...], /) -> Any: ...
else:
    StoreCalls = _module.StoreCalls
    kept = _module.kept
    DEPTH, NODES = _module.DEPTH, _module.NODES
    pack, is_plain, set_codec = _module.pack, _module.is_plain, _module.set_codec
    forget_types = _module.forget_types
    unpack, unpack_extension, check = _module.unpack, _module.unpack_extension, _module.check
    set_ttls = _module.set_ttls
    set_result = _module.set_result
    Sized, make_shm_open = _module.Sized, _module.make_shm_open
    Memory, shmat, create, mmap = _module.Memory, _module.shmat, _module.create, _module.mmap
