"""Values that msgpack would write without asking: each is exchanged for an object that it does ask about.

A packer never calls ``default`` for bytearray and memoryview, and the walk in C refuses what derives from a
built-in type (numpy.str_, a registered named tuple), wherever it lies. For such values, and only for them,
the containers around them are copied here.
"""

from __future__ import annotations

from shmstore._imports import once
from shmstore.codecs import extensions, registry
from shmstore.codecs.buffers import LARGE, ext_head
from shmstore.codecs.scan import DEPTH, derives_from_builtin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["stand_in", "whole"]

_AS_THEY_ARE = {id(kind) for kind in (str, int, float, bool, bytes, type(None))}
_ASKED = {id(bytearray), id(memoryview)}


@once
class Refused(Exception):
    """Something is not stored; ``codecs/explain.py`` will find it."""


def whole(value: Any) -> bytes | tuple[bytes, Any] | None:
    """Pack a value that is one leaf of memory, copying it once; None if it is something else.

    From LARGE bytes up nothing is copied: what comes back is a head and the memory to follow it.

    Raises: Unsupported.
    """
    kind = type(value)
    found = extensions.ENCODERS.get(id(kind)) or extensions.find(kind)
    parts = registry.PARTS.get(id(kind))
    if found is None or parts is None:
        return None
    pieces, size = parts(value)
    pieces.insert(0, ext_head(found[0], size))
    if size < LARGE:
        return b"".join(pieces)
    memory = pieces.pop()
    return b"".join(pieces), memory


def stand_in(value: Any) -> Any:
    """Return a copy of *value* in which nothing is left that a packer would take for something else.

    Cost: a Python walk.

    Raises: Refused; RuntimeError if a dict or set changes its size; RecursionError.
    """
    return _walk(value, 0, {})


class _Carrier:
    """Stands for an object; there is a subclass for each extension code."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


_carriers: dict[int, type[_Carrier]] = globals().get("_carriers", {})


def _carrier(kind: type) -> type[_Carrier]:
    found = _carriers.get(id(kind))
    if found is None:
        entry = extensions.find(kind)
        if entry is None:
            raise Refused
        code, encode = entry
        found = type("_Carrier", (_Carrier,), {"__slots__": ()})
        extensions.register(found, code, _unwrapping(encode))
        _carriers[id(kind)] = found
    return found


def _unwrapping(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def unwrapped(carrier: _Carrier) -> bytes:
        return encode(carrier.value)

    return unwrapped


def _walk(node: Any, depth: int, met: dict[int, Any]) -> Any:
    """*met* has containers and their copies by id: what is shared stays shared."""
    kind = type(node)
    if id(kind) in _AS_THEY_ARE:
        return node
    if kind is not dict and kind is not list and kind is not tuple and kind is not set:
        if kind is not frozenset and kind is not slice:
            return _carrier(kind)(node) if id(kind) in _ASKED or derives_from_builtin(kind) else node
    if depth == DEPTH:
        raise Refused
    done = met.get(id(node))
    if done is not None:
        found = done[1]
    else:
        depth += 1
        if kind is dict:
            found = {_walk(key, depth, met): _walk(part, depth, met) for key, part in node.items()}
        elif kind is slice:
            found = slice(*[_walk(part, depth, met) for part in (node.start, node.stop, node.step)])
        else:
            found = kind([_walk(part, depth, met) for part in node])
        met[id(node)] = node, found  # the node too, lest its id be used again
    return found
