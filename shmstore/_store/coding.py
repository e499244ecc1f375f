"""Values of a store: the codecs of a handle, and the part of reading and writing that is in Python."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.durations import check_ttl
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._base.sentinels import KEEP
from shmstore._core import lib
from shmstore._store.control import require_writing
from shmstore._store.records import EntryInfo
from shmstore.codecs import msgpack, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore._store.keys import EntryKey
    from shmstore.codecs import arrays
    from shmstore.store import Store
else:
    arrays = late("shmstore.codecs.arrays", needs="numpy")

_CODECS = {"raw": lib.SHMS_CODEC_RAW, "msgpack": lib.SHMS_CODEC_MSGPACK, "pickle": lib.SHMS_CODEC_PICKLE}
NAMES_OF_CODECS = {number: name for name, number in _CODECS.items()}
_CODECS["msgspec"] = lib.SHMS_CODEC_MSGPACK  # the same bytes: a handle that reads msgpack reads them


def set_codecs(store: Store[Any]) -> None:
    """Give a handle the codecs that its options name."""
    store._codec, store._codecs = resolve(store._options.codec, store._options.decoders)
    store._parts = getattr(store._codec, "encode_parts", store._codec.encode)
    store._typed = store._codecs.get("msgspec")  # reads msgpack, also as a given type
    store._codec_number = _CODECS.get(store._codec.name, store._codec.name)


def get_typed(store: Store[Any], key: EntryKey, default: Any, kind: Any, touch: Any = KEEP) -> Any:
    """The value as a type; touched, if it still is the value once it is known to be of that type."""
    if store._typed is None:
        raise TypeError(
            f"store {store._key.shown}: type= is for handles opened with codec='msgspec' "
            "(or decoders=('msgspec',)); this one is not"
        )
    if touch is not KEEP:
        check_ttl(touch, "touch")
        require_writing(store)
    while True:
        found = store._get_versioned(key)
        if found is None:
            return default
        version, codec, data = found
        value = _typed(store, key, codec, data, kind)
        if touch is KEEP or store._touch(key, touch, version):
            return value


def _typed(store: Store[Any], key: EntryKey, codec: int | str, data: bytes, kind: Any) -> Any:
    value = None if codec == lib.SHMS_CODEC_MSGPACK else decode(store, codec, data, key)
    try:
        if codec == lib.SHMS_CODEC_MSGPACK:
            return store._typed.decode_as(data, kind)
        return store._typed.convert(value, kind)
    except errors.CodecError as error:
        if is_foreign(error):
            raise
        name_entry(store, key, error)
        raise


def name_entry(store: Store[Any], key: EntryKey, error: errors.CodecError) -> None:
    """Add the store and the key to the error of a codec, which knows only the value."""
    said, *more = error.args or ("",)
    error.args = (f"store {store._key.shown}, entry {key!r}: {said}", *more)


def _name_of(codec: int | str) -> str:
    return codec if isinstance(codec, str) else NAMES_OF_CODECS.get(codec, f"number {codec}")


def decode(store: Store[Any], number: int | str, data: bytes, key: EntryKey) -> Any:
    try:
        if number == lib.SHMS_CODEC_MSGPACK:
            return (store._typed or msgpack).decode(data)
        codec = _name_of(number)
        reader = store._codecs.get(codec)
        if reader is not None:
            return reader.decode(data)
        raise errors.CodecError(
            f"the value was put with the codec {codec!r}, and this handle reads "
            f"{', '.join(sorted(store._codecs))}; if you trust the process that put it, open the store with "
            f"decoders=({codec!r},)"
        )
    except errors.CodecError as error:
        if is_foreign(error):
            raise
        name_entry(store, key, error)
        raise


def describe(store: Store[Any], key: EntryKey) -> EntryInfo:
    found = store._describe(key)
    if found is None:
        raise KeyError(key)
    size, codec, version, left, frequency, tags, created = found
    return EntryInfo(
        size=size,
        codec=_name_of(codec),
        version=version,
        ttl=left,
        frequency=frequency,
        tags=tags,
        created=created or None,
    )


def unencodable(store: Store[Any], key: EntryKey, value: object, cause: Exception) -> Exception:
    """For csrc/python: the exception for a value, if a Python function raised *cause* while packing it."""
    return named(store, key, msgpack.refused(value, cause))


def undecodable(
    store: Store[Any], key: EntryKey, size: int, code: int, part: int, why: str | None, cause: Exception | None
) -> Exception:
    """For csrc/python: the exception for bytes that are not a value."""
    return named(store, key, msgpack.undecodable(size, code, part, why, cause))


def named(store: Store[Any], key: EntryKey, error: Exception) -> Exception:
    if isinstance(error, errors.CodecError) and not is_foreign(error, caught_in_c=True):
        name_entry(store, key, error)
    return error


def encode_parts(store: Store[Any], value: object, key: EntryKey) -> Any:
    """For csrc/python/store_type.c: bytes, or a head and the memory that follows it."""
    try:
        return store._parts(value)
    except errors.CodecError as error:
        if is_foreign(error):
            raise
        name_entry(store, key, error)
        raise


def memory_of(store: Store[Any], buffer: Any) -> tuple[bytes, Any]:
    """For get_into with a numpy array: the bytes with which a matching value begins, and the memory of the elements."""
    if type(buffer).__module__.partition(".")[0] != "numpy":
        return b"", buffer
    return arrays.head_and_memory(buffer)


def unfit(store: Store[Any], key: EntryKey, buffer: object, length: int, room: int) -> Exception:
    if length:
        return ValueError(f"store {store._key.shown}: {key!r} has {length} bytes, and the buffer {room}")
    wanted = "bytes or a bytearray"
    if type(buffer).__module__ == "numpy":
        wanted = f"an array of the buffer's dtype ({buffer.dtype}), shape {buffer.shape} and order"  # type: ignore[attr-defined]
    return TypeError(
        f"store {store._key.shown}: {key!r} is not {wanted}, so it cannot be copied into the buffer; use get()"
    )


def text(store: Store[Any], raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if is_foreign(error):
            raise
        raise store._no_text(raw) from None
