"""Arrow tables and record batches, as Arrow's own IPC stream.

The stream keeps schema, metadata, dictionaries and chunks, except chunks without rows. A table that is read uses the
value's bytes in place. A class derived from ``pyarrow.Table`` is refused, and so is an extension type that pyarrow itself
does not know.

The writer of the stream is not trusted. Compressed bodies are refused, because they may claim any size, and so are buffers
that overlap. Every buffer is checked before the table is returned.
"""

from __future__ import annotations

import struct

from shmstore._base.foreign import is_foreign
from shmstore.codecs.buffers import pad_after, skip_pad
from shmstore.codecs.optional import need
from shmstore.codecs.unsupported import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shmstore.codecs.buffers import _Memory

__all__ = ["ARROW", "arrow_parts", "decode_arrow", "read_table", "refuse_unknown", "types", "write_table"]

ARROW = 20
TABLE, BATCH = 1, 2


def write_table(table: Any) -> Any:
    """Return the IPC stream of a table or record batch, as a buffer.

    Raises: Unsupported.
    """
    pa = need("pyarrow", "arrow")
    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write(table)
    except pa.ArrowException as error:
        if is_foreign(error):
            raise
        raise Unsupported(f"pyarrow does not write it: {str(error)[:200]}", "convert its columns") from None
    return sink.getvalue()


def read_table(data: _Memory) -> Any:
    """Return the table whose IPC stream this is; it stays in these bytes.

    Raises: ValueError and what pyarrow raises.
    """
    pa = need("pyarrow", "arrow")
    _check(memoryview(data))
    source = pa.BufferReader(pa.py_buffer(data))
    with pa.ipc.open_stream(source) as reader:
        table = reader.read_all()
    if source.tell() != len(data):
        raise ValueError("bytes are left over")
    if "_view" in str(table.schema):
        _check_views(pa, table, len(data))
    table.validate(full=True)
    _ = table.schema.names  # which older versions do not validate: a name that is no text is a ValueError
    return table


def arrow_parts(value: Any) -> tuple[list[Any], int]:
    """Write the kind, padding, and the IPC stream."""
    pa = need("pyarrow", "arrow")
    kind = BATCH if type(value) is pa.RecordBatch else TABLE
    stream = write_table(value)
    for field in value.schema:
        refuse_unknown(
            pa, field.type, f"column {field.name[:80]!r}", "store its storage: column.combine_chunks().storage"
        )
    pad = pad_after(2, stream.size)
    return [bytes((kind, len(pad))), pad, stream], 2 + len(pad) + stream.size


def refuse_unknown(pa: Any, kind: Any, what: str, remedy: str) -> None:
    """A type that Python code defined comes back only where that code has run."""
    if isinstance(kind, (pa.ExtensionType, pa.UnknownExtensionType)):
        raise Unsupported(f"{what} has the type {kind.extension_name[:80]!r} of its own", remedy)
    for number in range(kind.num_fields):
        refuse_unknown(pa, kind.field(number).type, what, remedy)


def decode_arrow(data: _Memory) -> Any:
    """Read a table or record batch."""
    kind, pad = data[:2]
    if kind not in (TABLE, BATCH):
        raise ValueError(f"unknown kind {kind}")
    table = read_table(memoryview(data)[skip_pad(data, 2, pad) :])
    if kind == TABLE:
        return table
    batches = table.to_batches()
    if len(batches) > 1:
        raise ValueError("a record batch is one")
    if batches:
        return batches[0]
    pa = need("pyarrow", "arrow")
    return pa.RecordBatch.from_pylist([], table.schema)


_VIEWED = 64  # times the size of the stream: so much text may its views be of


def _check_views(pa: Any, table: Any, size: int) -> None:
    """Refuse views that overlap more often than that, because the check of a table reads the text of each."""
    left = _VIEWED * size
    arrays = [chunk for column in table.columns for chunk in column.chunks]
    while arrays:
        array = arrays.pop()
        if str(array.type) in ("string_view", "binary_view"):
            memory = array.buffers()[1]
            lengths = (
                memoryview(memory).cast("i")[4 * array.offset : 4 * (array.offset + len(array)) : 4] if memory else []
            )
            left -= sum(lengths)  # the first of four numbers of 32 bits; those of nulls count, too
            if left < 0 or (len(array) and min(lengths) < 0):
                raise ValueError("its views overlap")
        arrays += _inside(pa, array)


def _inside(pa: Any, array: Any) -> list[Any]:
    """Return the arrays that an array is made of."""
    if isinstance(array, pa.ExtensionArray):
        return [array.storage]
    if isinstance(array, pa.DictionaryArray):
        return [array.dictionary]
    if isinstance(array, (pa.StructArray, pa.UnionArray)):
        return [array.field(at) for at in range(array.type.num_fields)]
    return [array.values] if hasattr(array, "values") else []  # lists of all kinds, maps, run-ends


# ---- a look at the messages --------------------------------------------------------------------------------

_RECORD_BATCH, _DICTIONARY_BATCH = 3, 2  # Message.header_type in Arrow's Message.fbs


def _check(stream: memoryview) -> None:
    """Refuse bodies that are compressed, and lengths that lead out of the stream."""
    at, end = 0, len(stream)
    while at + 8 <= end:
        mark, size = struct.unpack_from("<Ii", stream, at)
        if mark != 0xFFFFFFFF:
            raise ValueError("this is no IPC stream")
        at += 8
        if size == 0:
            break
        if not 0 < size <= end - at:
            raise ValueError("a message is cut short")
        body = _message(stream[at : at + size])
        at += size
        if not 0 <= body <= end - at:
            raise ValueError("a body is cut short")
        at += body
    else:
        raise ValueError("the stream has no end")
    if at != end:
        raise ValueError("bytes are left over")


def _message(metadata: memoryview) -> int:
    """Return the length of a message's body."""
    try:
        message = struct.unpack_from("<I", metadata, 0)[0]
        kind = _slot(metadata, message, 1)
        header = _slot(metadata, message, 2)
        body = _slot(metadata, message, 3)
        buffers = 0
        kind = metadata[kind] if kind else 0
        if kind in (_RECORD_BATCH, _DICTIONARY_BATCH) and header:
            batch = header + struct.unpack_from("<I", metadata, header)[0]
            if kind == _DICTIONARY_BATCH:
                data = _slot(metadata, batch, 1)
                if not data:
                    raise ValueError("a dictionary has no data")
                batch = data + struct.unpack_from("<I", metadata, data)[0]
            if _slot(metadata, batch, 3):
                raise ValueError("its bodies are compressed")
            buffers = _slot(metadata, batch, 2)
        length: int = struct.unpack_from("<q", metadata, body)[0] if body else 0
        if buffers and _sum(metadata, buffers) > length:
            raise ValueError("its buffers overlap")
        return length
    except (struct.error, IndexError) as error:
        if is_foreign(error):
            raise
        raise ValueError("a message is damaged") from None


def _sum(metadata: memoryview, field: int) -> int:
    """Add up the lengths in a vector of buffers: offset and length, 64 bits each."""
    vector = field + struct.unpack_from("<I", metadata, field)[0]
    count = struct.unpack_from("<I", metadata, vector)[0]
    numbers = metadata[vector + 4 : vector + 4 + 16 * count]
    if len(numbers) != 16 * count:
        raise ValueError("a message is damaged")
    lengths = memoryview(bytes(numbers)).cast("q")[1::2]
    if count and min(lengths) < 0:
        raise ValueError("a message is damaged")
    return sum(lengths)


def _slot(metadata: memoryview, table: int, number: int) -> int:
    """Return where a flatbuffer table has its field, 0 if it has none."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    if vtable < 0 or 4 + 2 * number + 2 > struct.unpack_from("<H", metadata, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", metadata, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def types() -> list[tuple[type, int, Callable[[Any], tuple[list[Any], int]]]]:
    """Return type, code and parts of what this module stores."""
    pa = need("pyarrow", "arrow")
    return [(pa.Table, ARROW, arrow_parts), (pa.RecordBatch, ARROW, arrow_parts)]
