"""The default codec: msgpack on the wire, objects back equal and of the same type.

``encode(obj) -> bytes`` and ``decode(bytes) -> obj`` keep None, bool, int of any size, float, str, bytes,
list, dict, tuple, set, frozenset, complex, range, slice, datetime, date, time, timedelta, Decimal, Fraction,
UUID, bytearray, memoryview, array.array, what numpy, pyarrow and pandas bring, and what was registered. The
type is looked at exactly: everything else (subclasses and named tuples, enums, dataclasses ...) is
``CodecError``, with the path to it, and never comes back as something that looks like it.
So are cycles and containers more than 256 deep, and whatever bytes are no such object. Shared parts are
written once for each reference to them, as msgpack has no references.

A plain value costs one walk in C and one call of a packer that is kept for it. Threads, signal handlers and
finalizers may call at any moment: a packer is taken out of its pool while it works.
"""

from __future__ import annotations

import struct
from functools import partial

from msgpack import ExtType, Packer, Unpacker, unpackb  # type: ignore[import-untyped]

from shmstore import _calls
from shmstore._foreign import is_foreign
from shmstore.codecs import extensions, registry, scan
from shmstore.codecs.refusal import Unsupported
from shmstore.errors import CodecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Pack = Callable[[object], bytes]
    _Scan = Callable[[Any], int]

__all__ = ["UNCHECKED", "UNPACK_OPTIONS", "check", "decode", "encode", "encode_parts", "failure", "name", "refusal",
           "scan_bytes", "scan_value"]  # fmt: skip

name = "msgpack"

UNCHECKED = scan.DEPTH  # so many bytes cannot nest deeper than is allowed, nor claim much

if Packer.__module__ == "msgpack.fallback":  # the compiled one serves a single interpreter of a process
    # Without this hook it interns keys, which fails for those that derive from str.
    unpackb = partial(unpackb, object_pairs_hook=dict)
    Unpacker = partial(Unpacker, object_pairs_hook=dict)

_scan: _Scan = _calls.scan
_scan_packed: _Scan = _calls.scan_packed


def scan_value(value: object) -> int:
    """Say how *value* can be packed: the walk that is installed."""
    return _scan(value)


def scan_bytes(packed: bytes) -> int:
    """Say whether *packed* is sound: the walk that is installed."""
    return _scan_packed(packed)


# ---- encoding ----------------------------------------------------------------------------------------------

# Bound pack methods of idle packers. Two kinds: a packer without `default` is asked for plain values alone,
# one with it is not re-entrant. A packer that raised is dropped, and so is one whose buffer (256 KiB at
# first) had to grow: otherwise one large value would hold its size for as long as the process lives.
_plain: list[_Pack] = []
_take_plain = _plain.pop
_keep_plain = _plain.append
_extended: list[_Pack] = []
_KEEP_BYTES = 256 * 1024
_KEEP_PACKERS = 16

_BIN32 = struct.Struct(">BI")
_new_ext = tuple.__new__  # ExtType's own __new__ is Python, and four times slower


def encode(obj: object) -> bytes:
    """Return *obj* packed.

    Cost: for a dict of five plain fields, half as much again as msgpack's own packing.

    Raises: CodecError naming the path to what cannot be stored, the cause and the remedy.
    """
    kind = _scan(obj)
    if kind:
        found = _encode_other(obj, kind)
        return b"".join(found) if isinstance(found, tuple) else found
    try:
        pack = _take_plain()
    except IndexError as error:
        if is_foreign(error):
            raise
        pack = Packer(strict_types=True).pack
    try:
        packed = pack(obj)
    except Exception as error:
        if is_foreign(error):
            raise
        raise _explain(obj, kind, error) from error
    if len(packed) <= _KEEP_BYTES:
        _keep_plain(pack)
    return packed


def encode_parts(obj: object) -> bytes | tuple[bytes, Any]:
    """Return *obj* packed: bytes, or, of what is one large piece of memory, a head and that memory as it lies."""
    kind = _scan(obj)
    return _encode_other(obj, kind) if kind else encode(obj)


def _encode_other(obj: Any, kind: int) -> bytes | tuple[bytes, Any]:
    """Encode what the walk did not find plain."""
    if kind == scan.BLOB and len(obj) < 2**32:
        return _BIN32.pack(0xC6, len(obj)) + obj  # type: ignore[no-any-return]
    if kind != scan.EXTENDED and kind != scan.REFUSED:
        raise _explain(obj, kind)
    from shmstore.codecs import standin  # as everything that plain values do without

    try:
        whole = standin.whole(obj)
        if whole is not None:
            return whole
        value = obj
        if kind == scan.REFUSED:
            value = standin.stand_in(obj)
            verdict = _scan(value)
            if verdict > scan.EXTENDED:
                raise _explain(obj, verdict)
        packed = _pack_extended(value)
    except Exception as error:
        if is_foreign(error) or isinstance(error, CodecError):
            raise
        if isinstance(error, (Unsupported, standin.Refused)):
            raise _explain(obj, kind) from None
        raise _explain(obj, kind, error) from error
    verdict = _scan_packed(packed)  # what decode refuses must not be stored
    if verdict == scan.TOO_MANY_COPIES:
        raise CodecError(
            f"cannot encode $: {len(packed)} bytes, most of them in tuples, sets or slices inside one "
            "another, each of which copies what it holds; use lists on the way to the large parts"
        )
    if verdict != scan.SOUND:  # msgpack's own Timestamp, or a list that another thread changed meanwhile
        raise _explain(obj, scan.REFUSED)
    return packed


def _explain(*arguments: Any) -> CodecError:
    from shmstore.codecs.explain import explain

    return explain(*arguments)


def _pack_extended(obj: object) -> bytes:
    try:
        pack = _extended.pop()
    except IndexError as error:
        if is_foreign(error):
            raise
        pack = Packer(strict_types=True, default=_extension).pack
    packed = pack(obj)
    if len(packed) <= _KEEP_BYTES and len(_extended) < _KEEP_PACKERS:
        _extended.append(pack)
    return packed


def _extension(obj: Any) -> Any:
    """Turn what msgpack does not know into an extension; msgpack calls this in the midst of packing."""
    kind = type(obj)
    if kind is tuple:
        code = extensions.TUPLE
        elements = list(obj)
    elif kind is set or kind is frozenset:
        code = extensions.SET if kind is set else extensions.FROZENSET
        elements = list(obj)
    elif kind is slice:
        code = extensions.SLICE
        elements = [obj.start, obj.stop, obj.step]
    else:
        found = extensions.ENCODERS.get(id(kind)) or extensions.find(kind)
        if found is None:
            raise Unsupported(_type_name(kind), "")
        return _new_ext(ExtType, (found[0], found[1](obj)))
    # What follows is _pack_extended, written out: 256 tuples inside one another take as many Python frames.
    try:
        pack = _extended.pop()
    except IndexError as error:
        if is_foreign(error):
            raise
        pack = Packer(strict_types=True, default=_extension).pack
    packed = pack(elements)
    if len(packed) <= _KEEP_BYTES and len(_extended) < _KEEP_PACKERS:
        _extended.append(pack)
    return _new_ext(ExtType, (code, packed))


def _type_name(kind: type) -> str:
    from shmstore.codecs.explain import type_name

    return type_name(kind)


# ---- decoding ----------------------------------------------------------------------------------------------


def _hook(inner: Callable[[int, bytes], Any] | None) -> Callable[[int, bytes], Any]:
    """Return the function that turns an extension into its object; *inner* does so for those inside it.

    unpackb keeps 40 KB of the C stack while it calls its hook, so two hundred tuples inside one another would
    end the process. It serves the outer levels, being the fast one; further in an Unpacker, whose state lies
    on the heap, does (*inner* None).
    """

    def ext_hook(code: int, data: bytes) -> Any:
        try:
            leaf = extensions.LEAVES.get(code)
            if leaf is None and not extensions.TUPLE <= code <= extensions.SLICE:
                leaf = registry.leaf(code)
                if leaf is None:
                    raise CodecError(f"cannot decode: {registry.unknown(code)}")
            if leaf is not None:
                return leaf(data)
            if inner is not None:
                elements = unpackb(data, ext_hook=inner, strict_map_key=False)
            else:
                unpacker = Unpacker(ext_hook=ext_hook, strict_map_key=False, max_buffer_size=len(data) + 1)
                unpacker.feed(data)
                elements = unpacker.unpack()
                if unpacker.tell() != len(data):
                    raise ValueError("bytes are left over")
            if type(elements) is not list:
                raise ValueError("it does not hold an array")
            if code == extensions.TUPLE:
                return tuple(elements)
            if code == extensions.SLICE:
                start, stop, step = elements
                return slice(start, stop, step)
            members = set(elements) if code == extensions.SET else frozenset(elements)
            if len(members) != len(elements):
                raise ValueError("a member comes twice")
            return members
        except Exception as error:
            if is_foreign(error) or isinstance(error, CodecError):
                raise
            what = f"extension {code} ({extensions.NAMES[code]}) of {len(data)} bytes"
            raise CodecError(f"cannot decode: {what}: {_cause(error)}") from error

    return ext_hook


ext_hook = _hook(None)
for _ in range(3):
    ext_hook = _hook(ext_hook)

UNPACK_OPTIONS: dict[str, Any] = {"ext_hook": ext_hook, "strict_map_key": False}


def decode(data: bytes | bytearray) -> Any:
    """Return the object that *data* holds.

    Cost: what msgpack takes for it; above 256 bytes a walk in C before that, some 5 %.

    Raises: CodecError for bytes that are no such object, unknown extension codes, and what exceeds the
    limits.
    """
    if len(data) > UNCHECKED:
        # Nothing but one extension: its memory need not be copied out. Of the large ones it may be written to.
        if data[0] == 0xC9 and data[5] in extensions.LARGE and int.from_bytes(data[1:5], "big") == len(data) - 6:
            return ext_hook(data[5], memoryview(data)[6:])  # type: ignore[arg-type]
        check(data)  # type: ignore[arg-type]
    try:
        return unpackb(data, ext_hook=ext_hook, strict_map_key=False)
    except Exception as error:
        if is_foreign(error):
            raise
        raise failure(data, error) from error  # type: ignore[arg-type]


def check(data: bytes) -> None:
    """Raise the CodecError for bytes that would nest too deeply or take memory out of all proportion."""
    if _scan_packed(data) > 1:
        raise refusal(data)


_FOREIGN = "it was not written by this codec, or it is damaged: put it again or delete it"


def refusal(data: bytes) -> CodecError:
    """Return the CodecError for bytes that would nest too deeply or take memory out of all proportion."""
    verdict = _scan_packed(data)
    if verdict == scan.DEEP:
        return CodecError(f"cannot decode: more than {scan.DEPTH} containers inside one another; {_FOREIGN}")
    if verdict == scan.TOO_MANY_COPIES:
        return CodecError(f"cannot decode: tuples and sets inside one another copy too much; {_FOREIGN}")
    return CodecError(f"cannot decode: {len(data)} bytes are not one msgpack object; {_FOREIGN}")


def failure(data: bytes, error: Exception) -> CodecError:
    """Return the CodecError for what unpackb raised on *data*."""
    if isinstance(error, CodecError):
        return error
    return CodecError(f"cannot decode: {len(data)} bytes: {_cause(error)}; {_FOREIGN}")


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__
